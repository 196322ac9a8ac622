/**
 * RTSP over HTTP on its way to the camera. FFmpeg follows redirects of the HTTP requests and of the RTSP within, and gives
 * the account to whoever asks for it there. This is the proxy of all its requests: they reach the camera, or nobody.
 * Bytes pass unread, because neither side keeps to the length that a tunnel's request says.
 */
import { connect as connectTcp, createServer, type Server, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { redirectedTo, unreachable } from './failure.ts';
import { HEAD_MS, LoopbackProxy } from './loopback-proxy.ts';

const MAX_HEAD = 16 * 1024;
/** For the camera to take a connection. */
const CONNECT_MS = 8000;

export interface TunnelEnd {
  /** A name or an IP address, IPv6 without brackets. */
  host: string;
  port: number;
  tls: boolean;
}

export class RtspTunnel extends LoopbackProxy {
  private readonly camera: TunnelEnd;
  private readonly headMs: number;
  /** As FFmpeg writes it. */
  private readonly authority: string;
  protected readonly server: Server;
  private readonly sockets = new Set<Socket>();

  private constructor(camera: TunnelEnd, headMs: number) {
    super();
    this.camera = camera;
    this.headMs = headMs;
    const host = camera.host.includes(':') ? `[${camera.host}]` : camera.host;
    this.authority = new URL(`http://${host}:${camera.port}`).host;
    this.server = createServer((client) => this.serve(client));
  }

  /**
   * @param headMs for a request to be complete
   * Rejects when no port can be had.
   */
  static async open(camera: TunnelEnd, { headMs = HEAD_MS } = {}): Promise<RtspTunnel> {
    return new RtspTunnel(camera, headMs).listen();
  }

  close(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  private hold(socket: Socket): void {
    this.sockets.add(socket);
    socket.on('error', () => undefined); // `close` follows
    socket.once('close', () => this.sockets.delete(socket));
  }

  private serve(client: Socket): void {
    this.hold(client);
    const timer = setTimeout(() => client.destroy(), this.headMs);
    client.once('close', () => clearTimeout(timer));
    let head = Buffer.alloc(0);
    const read = (chunk: Buffer): void => {
      head = Buffer.concat([head, chunk]);
      const end = head.indexOf('\r\n\r\n');
      if (end < 0 && head.length <= MAX_HEAD) return;
      clearTimeout(timer);
      client.off('data', read).pause();
      if (end < 0) client.destroy();
      else this.admit(client, head.toString('latin1', 0, end), head.subarray(end + 4));
    };
    client.on('data', read);
  }

  private admit(client: Socket, head: string, rest: Buffer): void {
    const request = readProxyRequest(head);
    if (!this.secret.isIn(request?.authorization)) {
      client.end('HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="Flow NVR"\r\n\r\n');
      return;
    }
    if (request?.authority !== this.authority) {
      this.failure ??= { reason: 'redirect', detail: redirectedTo(request?.authority ?? '') };
      client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
      return;
    }
    this.pass(client, Buffer.concat([Buffer.from(request.forwarded, 'latin1'), rest]));
  }

  private pass(client: Socket, first: Buffer): void {
    const { host, port, tls } = this.camera;
    // Cameras make their own certificates: FFmpeg takes them, too.
    const upstream = tls ? connectTls({ host, port, rejectUnauthorized: false }) : connectTcp({ host, port });
    this.hold(upstream);
    const timer = setTimeout(
      () => upstream.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' })),
      CONNECT_MS,
    );
    let connected = false;
    upstream.once(tls ? 'secureConnect' : 'connect', () => {
      connected = true;
      clearTimeout(timer);
      upstream.write(first);
      upstream.pipe(client);
      client.pipe(upstream);
    });
    upstream.once('error', (error: NodeJS.ErrnoException) => {
      if (!connected) this.failure ??= unreachable(error);
    });
    // What was said last is still passed on.
    upstream.once('close', () => {
      clearTimeout(timer);
      client.destroySoon();
    });
    client.once('close', () => upstream.destroySoon());
    if (client.destroyed) upstream.destroy();
  }
}

/** A request to a proxy, and as the camera is to get it. Null for what is none. Pure. */
export function readProxyRequest(
  head: string,
): { authority: string; authorization: string | undefined; forwarded: string } | null {
  const [first = '', ...lines] = head.split('\r\n');
  const [, method, authority = '', path = '', version] =
    /^(GET|POST) http:\/\/([^/?#\s]+)([^\s#]*) (HTTP\/1\.[01])$/.exec(first) ?? [];
  const url = URL.parse(`http://${authority}`);
  if (!url || url.username || url.password) return null;
  const proxys = /^proxy-[\w-]*:/i;
  const authorization = lines.find((line) => /^proxy-authorization:/i.test(line))?.replace(proxys, '');
  const kept = lines.filter((line) => !proxys.test(line));
  return {
    authority: url.host,
    authorization: authorization?.trim(),
    forwarded: [`${method} ${path.startsWith('/') ? path : `/${path}`} ${version}`, ...kept, '', ''].join('\r\n'),
  };
}
