/**
 * RTSP over HTTP on its way to the camera. FFmpeg follows redirects of the HTTP requests and of the RTSP within, and gives
 * the account to whoever asks for it there. This is the proxy of all its requests: they reach the camera, or nobody.
 * Bytes pass unread, because neither side keeps to the length that a tunnel's request says.
 */
import { once } from 'node:events';
import { connect as connectTcp, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { redirectedTo, unreachable, type Problem } from './failure.ts';
import { HEAD_MS, MAX_CONNECTIONS, ProxySecret } from './proxy-secret.ts';

const MAX_HEAD = 16 * 1024;
/** For the camera to take a connection. */
const CONNECT_MS = 8000;

export interface TunnelEnd {
  /** A name or an IP address, IPv6 without brackets. */
  host: string;
  port: number;
  tls: boolean;
}

export class RtspTunnel {
  private readonly camera: TunnelEnd;
  private readonly headMs: number;
  /** As FFmpeg writes it. */
  private readonly authority: string;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly secret = new ProxySecret();
  private failure: Problem | null = null;

  private constructor(camera: TunnelEnd, headMs: number) {
    this.camera = camera;
    this.headMs = headMs;
    const host = camera.host.includes(':') ? `[${camera.host}]` : camera.host;
    this.authority = new URL(`http://${host}:${camera.port}`).host;
    this.server = createServer((client) => this.serve(client));
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.on('error', () => undefined); // a connection that could not be taken: FFmpeg tells what it missed
  }

  /**
   * @param headMs for a request to be complete
   * Rejects when no port can be had.
   */
  static async open(camera: TunnelEnd, { headMs = HEAD_MS } = {}): Promise<RtspTunnel> {
    const tunnel = new RtspTunnel(camera, headMs);
    tunnel.server.listen(0, '127.0.0.1');
    await once(tunnel.server, 'listening');
    return tunnel;
  }

  /** For FFmpeg's environment. */
  get env(): Record<string, string> {
    return this.secret.env((this.server.address() as AddressInfo).port);
  }

  /** Why the camera could not be asked, or where it wanted to lead us. */
  get problem(): Problem | null {
    return this.failure;
  }

  /** Pictures come: what went wrong until now did not keep them away. */
  forget(): void {
    this.failure = null;
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
