/**
 * Tells FFmpeg the address of a camera, with its account, where nobody else hears it: FFmpeg is given an address on loopback,
 * and is redirected from there (RTSP 302) to the camera. Its command line can be read by every user of the computer; what it
 * says and hears cannot. No media passes through here, so it costs nothing once the camera is connected.
 */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { EngineError } from '../types.ts';

/** FFmpeg reads lines of about a thousand bytes. */
const MAX_ADDRESS = 900;
const MAX_REQUEST = 4096;
/** FFmpeg asks within milliseconds; nobody else has to. */
const PATIENCE_MS = 5000;
const MAX_CONNECTIONS = 8;

export class RtspIntroduction {
  /** What FFmpeg is told to open. */
  readonly url: string;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();

  private constructor(server: Server, path: string) {
    this.server = server;
    this.url = `rtsp://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  }

  /**
   * @param address with an account
   * Rejects with `bad-url` when it is too long to be told, and when no port can be had.
   */
  static async open(address: string): Promise<RtspIntroduction> {
    if (Buffer.byteLength(address) > MAX_ADDRESS)
      throw new EngineError('bad-url', `the address, with its account, is longer than ${MAX_ADDRESS} characters`);
    const path = `/nvr-${randomBytes(16).toString('hex')}`;
    const server = createServer();
    server.maxConnections = MAX_CONNECTIONS;
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const introduction = new RtspIntroduction(server, path);
    server.on('error', () => undefined); // a connection that could not be taken: FFmpeg tells what it missed
    server.on('connection', (socket) => introduction.take(socket, address));
    return introduction;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private take(socket: Socket, address: string): void {
    this.sockets.add(socket);
    socket.setTimeout(PATIENCE_MS, () => socket.destroy());
    socket.on('error', () => undefined); // it is gone
    socket.once('close', () => this.sockets.delete(socket));
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0 && text.length < MAX_REQUEST) return;
      socket.pause();
      const head = text.slice(0, Math.max(end, 0));
      const cseq = /^CSeq: *(\d{1,9})\s*$/im.exec(head)?.[1];
      const [, asked] = head.split(' ', 2);
      if (asked !== this.url || cseq === undefined) {
        socket.destroy();
        return;
      }
      // Who sees the command line sees this address, too: it is for our own user only.
      isOurs(socket).then(
        (ours) => {
          if (ours) socket.end(`RTSP/1.0 302 Found\r\nCSeq: ${cseq}\r\nLocation: ${address}\r\n\r\n`);
          else socket.destroy();
        },
        () => socket.destroy(),
      );
    });
  }
}

/** Whether the other side of a loopback connection is a process of our user. True where the system does not say. */
async function isOurs(socket: Socket): Promise<boolean> {
  const uid = process.getuid?.();
  if (process.platform !== 'linux' || uid === undefined) return true;
  return uidOf(await readFile('/proc/net/tcp', 'latin1'), socket.remotePort ?? 0, socket.localPort ?? 0) === uid;
}

/**
 * Whose socket it is, by the kernel's table of TCP over IPv4 (proc_net_tcp(5)). Pure.
 *
 * @param table text of `/proc/net/tcp`
 * @param port of the socket, on 127.0.0.1
 * @param peerPort of the other side, there too
 * @returns the user's id, or null if there is no such socket
 */
export function uidOf(table: string, port: number, peerPort: number): number | null {
  const loopback = (number: number): string => `0100007F:${number.toString(16).toUpperCase().padStart(4, '0')}`;
  const [local, remote] = [loopback(port), loopback(peerPort)];
  for (const line of table.split('\n')) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === local && fields[2] === remote) return Number(fields[7]);
  }
  return null;
}
