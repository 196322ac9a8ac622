/** Cameras that try to lead us elsewhere, and whom they would lead us to. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { systemClock } from '../../engine/clock.ts';
import { spawnFfmpeg } from '../../engine/ingest/ffmpeg-process.ts';
import { StreamIngest, type IngestState } from '../../engine/ingest/stream-ingest.ts';
import type { RtspTransport } from '../../engine/types.ts';

export const USER = 'viewer';
export const SECRET = 'S3cr/t p@ss';
export const FORMS = [SECRET, encodeURIComponent(SECRET), Buffer.from(`${USER}:${SECRET}`).toString('base64')];
/** The camera, and a computer that it has no business to lead us to. */
export const CAMERA = '127.0.0.2';
export const OTHER = '127.0.0.3';

const H264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '5', '-pix_fmt', 'yuv420p'];
export function made(format: string, ...more: string[]): Buffer {
  const picture = ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=5', '-t', '12', ...H264];
  const { stdout, status, stderr } = spawnSync('ffmpeg', ['-v', 'error', ...picture, ...more, '-f', format, 'pipe:1'], {
    maxBuffer: 2 ** 26,
  });
  assert.equal(status, 0, stderr.toString());
  return stdout;
}

/** Cameras, and others, that end with the test. */
export class Servers {
  private readonly all: Server[] = [];
  private readonly sockets = new Set<Socket>();

  async listen(server: Server, host: string): Promise<number> {
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined); // FFmpeg hangs up as it likes
      socket.once('close', () => this.sockets.delete(socket));
    });
    server.listen(0, host);
    await once(server, 'listening');
    this.all.push(server);
    return (server.address() as AddressInfo).port;
  }

  /** Notes who calls, and what is said to it. */
  async canary(host = OTHER): Promise<{ port: number; heard: string[] }> {
    const heard: string[] = [];
    const server = createServer((socket) => {
      heard.push('');
      const index = heard.length - 1;
      socket.on('data', (chunk: Buffer) => (heard[index] = (heard[index] ?? '') + chunk.toString('latin1')));
    });
    return { port: await this.listen(server, host), heard };
  }

  close(): void {
    for (const server of this.all) server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

type Answer = (method: string, headers: string, url: string) => string | null;

/** An RTSP camera; what `answer` gives is its status line and headers, null for no answer. */
export function rtspCamera(answer: Answer): { server: Server; asked: string[] } {
  const asked: string[] = [];
  const server = createServer((socket) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end);
        text = text.slice(end + 4);
        asked.push(head);
        const [method = '', url = ''] = head.split(' ');
        const cseq = /CSeq: *(\d+)/i.exec(head)?.[1] ?? '0';
        const given = answer(method, head, url);
        if (given !== null) socket.write(`RTSP/1.0 ${given}\r\nCSeq: ${cseq}\r\n\r\n`);
      }
    });
  });
  return { server, asked };
}

/** Runs the ingest of an address until it says something that `enough` waits for. */
export async function ingest(
  address: string,
  enough: (state: IngestState) => boolean,
  { transport = 'tcp', account = true }: { transport?: RtspTransport; account?: boolean } = {},
): Promise<IngestState> {
  const told = Promise.withResolvers<IngestState>();
  const camera = {
    ...{ id: 'front', name: 'front', mainUrl: address, subUrl: null, transport, audio: false },
    ...(account ? { username: USER, password: SECRET } : {}),
  };
  const stream = new StreamIngest(
    camera as never,
    'main',
    {
      state: (state) => {
        if (enough(state)) told.resolve(state);
      },
      run: () => undefined,
      fragment: () => undefined,
      clockStep: () => undefined,
    },
    { clock: systemClock, spawn: spawnFfmpeg, ffmpegPath: 'ffmpeg', random: () => 0.5 },
  );
  stream.start();
  try {
    return await told.promise;
  } finally {
    await stream.stop();
  }
}
/** Sends a file as a camera does, and does not end. */
export function play(response: ServerResponse, file: Buffer): void {
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < file.length) response.write(file.subarray(sent, (sent += Math.ceil(file.length / 120))));
  }, 50);
  response.once('close', () => clearInterval(timer));
}
export const isOffline = (state: IngestState): boolean => state.state === 'offline';
export const isOnline = (state: IngestState): boolean => state.state === 'online';
