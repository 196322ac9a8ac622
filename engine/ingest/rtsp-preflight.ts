/**
 * Asks a camera whether it sends us elsewhere, before FFmpeg does. FFmpeg follows every RTSP redirect and gives the
 * account to whoever it leads to: here it goes to the host that it was set for, and to no other.
 */
import { connect as connectTcp, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { authorization, parseChallenges } from '../onvif/digest.ts';
import { EngineError } from '../types.ts';
import { redirectedTo } from './failure.ts';
import { RtspReader, rtspRequest, type RtspResponse } from './rtsp-message.ts';

interface Account {
  username: string;
  password: string;
}

/** For all questions of one address. FFmpeg, which asks the same, tells why a camera does not answer. */
const TIMEOUT_MS = 4000;
const MAX_REDIRECTS = 4;
const PORTS: Readonly<Record<string, number>> = { 'rtsp:': 554, 'rtsps:': 322 };

/**
 * The address at which the camera's stream is: the one given, unless the camera redirects within its host. An address
 * that does not answer in time, or not in RTSP, is returned as it is.
 * @param address without an account
 * Rejects with `redirect` when the camera leads to another host, or from an encrypted connection to a plain one.
 */
export async function resolveRtsp(address: string, account: Account | null, signal?: AbortSignal): Promise<string> {
  let url = address;
  for (let i = 0; i <= MAX_REDIRECTS; i++) {
    const next = await askForRedirect(url, account, signal);
    if (next === null) return url;
    url = next;
  }
  throw new EngineError('redirect', 'the camera redirects in circles: enter the address at which its stream is');
}

/** Where the camera at this address sends us; null for nowhere. */
async function askForRedirect(url: string, account: Account | null, signal?: AbortSignal): Promise<string | null> {
  const target = URL.parse(url);
  if (!target || !(target.protocol in PORTS)) return null;
  const connection = await Connection.open(target, signal);
  if (!connection) return null;
  try {
    // Some servers begin to film at DESCRIBE, and who asks them next is late by the time in between: it is for accounts alone.
    for (const method of account ? ['OPTIONS', 'DESCRIBE'] : ['OPTIONS']) {
      const response = await connection.ask(method, url, account);
      if (!response) return null;
      const location = response.headers.get('location')?.[0];
      if (response.status >= 300 && response.status < 400 && location) {
        return follow(url, location, connection.remoteAddress);
      }
    }
    return null;
  } finally {
    connection.close();
  }
}

/**
 * The address that a redirect leads to. Pure. Throws `redirect` when it may not be followed.
 * @param remoteAddress of the camera that sent it, which may call itself by that
 */
export function follow(from: string, location: string, remoteAddress: string | undefined): string {
  const source = URL.parse(from)!;
  const to = URL.parse(location, from);
  if (!to || !(to.protocol in PORTS))
    throw new EngineError('redirect', 'the camera redirects to what is no RTSP address');
  const isSame = to.hostname.toLowerCase() === source.hostname.toLowerCase() || bare(to.hostname) === remoteAddress;
  if (!isSame) throw new EngineError('redirect', redirectedTo(to.host));
  if (source.protocol === 'rtsps:' && to.protocol === 'rtsp:') {
    throw new EngineError('redirect', 'the camera redirects from an encrypted connection to a plain one');
  }
  // An account of theirs is not ours, and what follows # is for nobody.
  to.username = to.password = to.hash = '';
  return to.href;
}

function bare(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, '');
}

class Connection {
  private readonly socket: Socket;
  private readonly reader = new RtspReader();
  private sequence = 0;
  private waiting: ((response: RtspResponse | null) => void) | null = null;
  private closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const response of this.reader.push(chunk)) this.answer(response);
      } catch {
        this.close(); // it does not speak RTSP: FFmpeg says what it thinks of it
      }
    });
  }

  /** Null when nothing is there, or nothing in time. */
  static open(target: URL, signal?: AbortSignal): Promise<Connection | null> {
    return new Promise((resolve) => {
      const options = { host: bare(target.hostname), port: Number(target.port) || PORTS[target.protocol]! };
      // Cameras make their own certificates: FFmpeg takes them, too.
      const socket =
        target.protocol === 'rtsps:' ? connectTls({ ...options, rejectUnauthorized: false }) : connectTcp(options);
      const connection = new Connection(socket);
      const close = (): void => connection.close();
      const timer = setTimeout(close, TIMEOUT_MS);
      signal?.addEventListener('abort', close, { once: true });
      socket.once(target.protocol === 'rtsps:' ? 'secureConnect' : 'connect', () => resolve(connection));
      socket.on('error', close);
      socket.once('close', () => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', close);
        close();
        resolve(null);
      });
      if (signal?.aborted) close();
    });
  }

  get remoteAddress(): string | undefined {
    return this.socket.remoteAddress?.replace(/^::ffff:/, '');
  }

  /** With the account, if it is asked for. Null when no answer comes. */
  async ask(method: string, url: string, account: Account | null): Promise<RtspResponse | null> {
    const response = await this.send(method, url, {});
    if (response?.status !== 401 || !account) return response;
    const headers = response.headers.get('www-authenticate') ?? [];
    const challenge = parseChallenges(headers);
    const { username, password } = account;
    if (challenge) {
      return this.send(method, url, { Authorization: authorization(challenge, { method, path: url, ...account }, 1) });
    }
    if (!headers.some((header) => /^\s*Basic\b/i.test(header))) return response;
    const basic = Buffer.from(`${username}:${password}`).toString('base64');
    return this.send(method, url, { Authorization: `Basic ${basic}` });
  }

  close(): void {
    this.closed = true;
    this.socket.destroy();
    this.answer(null);
  }

  private send(method: string, url: string, headers: Record<string, string>): Promise<RtspResponse | null> {
    return new Promise((resolve) => {
      if (this.closed) {
        resolve(null);
        return;
      }
      this.waiting = resolve;
      const accept = method === 'DESCRIBE' ? { Accept: 'application/sdp' } : {};
      const common = { CSeq: String(++this.sequence), 'User-Agent': 'Flow NVR', ...accept };
      this.socket.write(rtspRequest(method, url, { ...common, ...headers }));
    });
  }

  private answer(response: RtspResponse | null): void {
    const { waiting } = this;
    this.waiting = null;
    waiting?.(response);
  }
}
