/**
 * Tells FFmpeg an address that no other user may read. FFmpeg is started with a place on loopback; what asks there is
 * redirected to the camera, with its account. FFmpeg then talks to the camera as if it had been told the address at once:
 * nothing is between them (its concat demuxer would cost 10 to 20 % of its work).
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { HEAD_MS, MAX_CONNECTIONS } from './loopback-proxy.ts';

const MAX_HEAD = 8 * 1024;
/** FFmpeg cuts header lines off at 4096 bytes. */
const MAX_ADDRESS = 4000;
/** Sockets of this machine with their owners, where the system tells them (Linux). */
const SOCKETS = '/proc/net/tcp';

export class RtspHandover {
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();

  private constructor(address: string) {
    this.server = createServer((socket) => this.serve(socket, address));
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.on('error', () => undefined); // a connection that could not be taken: FFmpeg tells what it missed
  }

  /**
   * Null where it cannot be told who asks, and for addresses that FFmpeg would cut off.
   * @param address with the account; without control characters
   * Rejects when no port can be had.
   */
  static async open(address: string): Promise<RtspHandover | null> {
    if (process.getuid === undefined || Buffer.byteLength(address) > MAX_ADDRESS) return null;
    const isTold = await readFile(SOCKETS).then(
      () => true,
      () => false,
    );
    if (!isTold) return null;
    const handover = new RtspHandover(address);
    handover.server.listen(0, '127.0.0.1');
    await once(handover.server, 'listening');
    return handover;
  }

  /** What FFmpeg is told to open. */
  get url(): string {
    return `rtsp://127.0.0.1:${(this.server.address() as AddressInfo).port}/`;
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private serve(socket: Socket, address: string): void {
    this.sockets.add(socket);
    const timer = setTimeout(() => socket.destroy(), HEAD_MS);
    socket.on('error', () => undefined); // `close` follows
    socket.once('close', () => {
      clearTimeout(timer);
      this.sockets.delete(socket);
    });
    let head = '';
    const read = (chunk: Buffer): void => {
      head += chunk.toString('latin1');
      const end = head.indexOf('\r\n\r\n');
      if (end < 0 && head.length <= MAX_HEAD) return;
      socket.off('data', read).pause();
      const sequence = /\r\nCSeq: *(\d{1,9})\r\n/i.exec(`${head.slice(0, end)}\r\n`)?.[1];
      if (end < 0 || !sequence) socket.destroy();
      else void answer(socket, `RTSP/1.0 302 Found\r\nCSeq: ${sequence}\r\nLocation: ${address}\r\n\r\n`);
    };
    socket.on('data', read);
  }
}

async function answer(socket: Socket, text: string): Promise<void> {
  const { remotePort, localPort } = socket;
  // One that cannot be looked up is not ours.
  const table = await readFile(SOCKETS, 'latin1').catch(() => '');
  if (ownerOf(table, remotePort ?? -1, localPort ?? -1) === process.getuid?.()) socket.end(text);
  else socket.destroy();
}

/**
 * The user whose socket is connected from one port of this machine to another; null for none. Pure.
 * @param table `/proc/net/tcp` (proc_net_tcp in the kernel's documentation)
 */
export function ownerOf(table: string, from: number, to: number): number | null {
  const port = (number: number): string => number.toString(16).toUpperCase().padStart(4, '0');
  const [ours, theirs] = [`:${port(from)}`, `:${port(to)}`];
  for (const line of table.split('\n').slice(1)) {
    const [, local, remote, state, , , , uid] = line.trim().split(/\s+/);
    const isLoopback = /^(0100007F|7F000001):/.test(local ?? '') && /^(0100007F|7F000001):/.test(remote ?? '');
    if (isLoopback && state === '01' && local!.endsWith(ours) && remote!.endsWith(theirs)) return Number(uid);
  }
  return null;
}
