/**
 * Fetches for FFmpeg what a camera serves over HTTP. A playlist, a key or a redirect can name any address, and FFmpeg
 * would call it: behind this relay it has no way to hosts but the camera's, and does not know the account at all.
 * FFmpeg is told the relay as its proxy, in its environment, with a secret that only this user can read.
 */
import { randomBytes } from 'node:crypto';
import {
  createServer,
  Agent,
  request as requestHttp,
  validateHeaderValue,
  type ClientRequest,
  type IncomingMessage,
  type OutgoingHttpHeaders,
  type Server,
  type ServerResponse,
} from 'node:http';
import { Agent as TlsAgent, request as requestHttps } from 'node:https';
import { authorization, parseChallenges, type Challenge } from '../onvif/digest.ts';
import { EngineError } from '../types.ts';
import { unreachable } from './failure.ts';
import { plain, plainPlaylist, Targets, type Target } from './http-target.ts';
import { HEAD_MS, LoopbackProxy } from './loopback-proxy.ts';

/** No byte for so long: the camera is gone. */
const IDLE_MS = 8000;
/** A playlist that is longer is cut off. */
const MAX_PLAYLIST = 4 * 1024 * 1024;
const MAX_DRAINED = 64 * 1024;
const REQUEST_HEADERS = ['accept', 'icy-metadata', 'range', 'user-agent'];
const RESPONSE_HEADERS = ['accept-ranges', 'content-length', 'content-range', 'content-type', 'icy-metaint'];

export interface HttpAccount {
  username: string;
  password: string;
}

export class HttpRelay extends LoopbackProxy {
  /** What FFmpeg is told to open: without an account, and without what else in it could be a secret. */
  readonly url: string;
  private readonly targets: Targets;
  private readonly account: HttpAccount | null;
  protected readonly server: Server;
  /** What FFmpeg is not told of the address, by what stands for it there. */
  private readonly hidden: ReadonlyMap<string, string>;
  private readonly agents = { plain: new Agent({ keepAlive: true }), tls: new TlsAgent({ keepAlive: true }) };
  private readonly idleMs: number;
  private login: { basic: true } | { challenge: Challenge; count: number } | null = null;

  private constructor(address: string, account: HttpAccount | null, secrets: readonly string[], idleMs: number) {
    super();
    this.idleMs = idleMs;
    const url = new URL(address);
    this.targets = new Targets(url);
    this.account = account;
    const hidden = new Map<string, string>();
    const hide = (text: string): string => {
      const token = randomBytes(12).toString('hex');
      hidden.set(token, text);
      return token;
    };
    let path = url.pathname;
    for (const secret of secrets) if (path.includes(secret)) path = path.replaceAll(secret, hide(secret));
    const { host, port } = this.targets.own;
    this.url = `http://${host}:${port}${path}${url.search ? `?${hide(url.search.slice(1))}` : ''}`;
    this.hidden = hidden;
    const limits = { requestTimeout: 0, headersTimeout: HEAD_MS, connectionsCheckingInterval: HEAD_MS / 2 };
    this.server = createServer({ ...limits, keepAliveTimeout: 60_000 }, (request, response) =>
      this.safely(response, () => this.serve(request, response)),
    );
    // Without a listener Node closes what asks for a tunnel or another protocol.
    this.server.on('clientError', (_, socket) => socket.destroy());
  }

  /**
   * @param address http: or https:, without an account
   * @param secrets that may stand in its path; FFmpeg is not told them
   * @param idleMs without a byte after which the camera is gone
   * Rejects when no port can be had.
   */
  static async open(
    address: string,
    account: HttpAccount | null,
    secrets: readonly string[],
    { idleMs = IDLE_MS } = {},
  ): Promise<HttpRelay> {
    return new HttpRelay(address, account, secrets, idleMs).listen();
  }

  close(): void {
    this.server.close();
    this.server.closeAllConnections();
    this.agents.plain.destroy();
    this.agents.tls.destroy();
  }

  /** What a camera sends must not end more than its own answer: these are callbacks of sockets, and nobody catches for them. */
  private safely(response: ServerResponse, work: () => void): void {
    try {
      work();
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error);
      this.failure ??= { reason: 'error', detail: detail.slice(0, 200) };
      response.destroy();
    }
  }

  private serve(request: IncomingMessage, response: ServerResponse): void {
    response.on('error', () => undefined); // FFmpeg has gone; its end is seen elsewhere
    if (!this.secret.isIn(request.headers['proxy-authorization'])) {
      response.writeHead(407, { 'Proxy-Authenticate': 'Basic realm="Flow NVR"' }).end();
      return;
    }
    const url = URL.parse(request.url ?? '');
    const target = url && this.targets.find(url);
    if (!target) {
      this.refuse(url?.host ?? '', response);
      return;
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.writeHead(405).end();
      return;
    }
    this.fetch(target, this.reveal(url, target), request, response, true);
  }

  private refuse(host: string, response: ServerResponse): void {
    const other = host.slice(0, 100);
    this.failure ??= {
      reason: 'redirect',
      detail: `the camera leads to ${other}: if that is right, enter that address, or write #also=${other} behind this one`,
    };
    response.writeHead(403).end();
  }

  /** The path as the camera knows it. */
  private reveal(url: URL, target: Target): string {
    let path = url.pathname + url.search;
    if (!this.targets.isOwn(target)) return path;
    // The last first: a short secret can be found in what stands for the one before.
    for (const [token, text] of [...this.hidden].reverse()) path = path.replaceAll(token, () => text);
    return path;
  }

  private fetch(
    target: Target,
    path: string,
    request: IncomingMessage,
    response: ServerResponse,
    mayLogIn: boolean,
  ): void {
    const { host, port, tls } = target;
    const method = request.method!;
    const options = {
      ...{ host: host.replace(/^\[|\]$/g, ''), port, method, path, timeout: this.idleMs },
      headers: {
        ...pick(request, REQUEST_HEADERS),
        // FFmpeg sends cookies to every host; one can be as good as the account.
        ...(this.targets.isOwn(target) ? pick(request, ['cookie']) : {}),
        ...{ host: port === (tls ? 443 : 80) ? host : `${host}:${port}` },
        ...this.loginFor(target, method, path),
      },
      // Cameras are not strict about what they send, and make their own certificates.
      ...{ insecureHTTPParser: true, rejectUnauthorized: false },
    };
    let upstream: ClientRequest;
    try {
      const { plain, tls: encrypted } = this.agents;
      upstream = tls ? requestHttps({ ...options, agent: encrypted }) : requestHttp({ ...options, agent: plain });
    } catch {
      response.writeHead(400).end(); // characters in the path that no request can have
      return;
    }
    response.once('close', () => upstream.destroy());
    upstream.once('timeout', () => {
      // It may be FFmpeg that takes nothing: it has a limit of its own.
      if (!response.writableNeedDrain) {
        upstream.destroy(Object.assign(new Error('timed out'), { code: 'ETIMEDOUT' }));
      }
    });
    let told = false;
    const safe =
      <A extends unknown[]>(work: (...given: A) => void): ((...given: A) => void) =>
      (...given) =>
        this.safely(response, () => work(...given));
    const onError = (error: NodeJS.ErrnoException): void => {
      told = true;
      // One that was cut off ends for FFmpeg as it ended for us.
      if (response.headersSent || response.destroyed) {
        response.destroy();
        return;
      }
      if (upstream.reusedSocket && error.code === 'ECONNRESET') {
        // The camera closed it while nothing was asked.
        this.fetch(target, path, request, response, mayLogIn);
        return;
      }
      this.failure ??= unreachable(error);
      response.writeHead(502).end();
    };
    const onAnswer = (answer: IncomingMessage): void => {
      told = true;
      if (target.host === this.targets.own.host) this.targets.ownAddress = answer.socket.remoteAddress ?? null;
      if (answer.statusCode === 401 && mayLogIn && this.canLogIn(target, answer)) {
        const again = (): void => {
          if (!response.destroyed) this.fetch(target, path, request, response, false);
        };
        drain(answer, safe(again));
        return;
      }
      this.pass(target, path, answer, response);
    };
    /** It wants to speak something else: Node ends that without a word. */
    const onClose = (): void => {
      if (!told && !response.headersSent) response.writeHead(502).end();
    };
    upstream.on('error', safe(onError)).on('response', safe(onAnswer)).on('close', safe(onClose));
    upstream.end();
  }

  private loginFor(target: Target, method: string, path: string): { authorization?: string } {
    const { login, account } = this;
    if (!login || !account || !this.targets.isOwn(target)) return {};
    if ('challenge' in login) {
      return { authorization: authorization(login.challenge, { method, path, ...account }, ++login.count) };
    }
    return { authorization: `Basic ${Buffer.from(`${account.username}:${account.password}`).toString('base64')}` };
  }

  private canLogIn(target: Target, answer: IncomingMessage): boolean {
    if (!this.account || !this.targets.isOwn(target)) return false;
    const headers = answer.headersDistinct['www-authenticate'] ?? [];
    const challenge = parseChallenges(headers);
    if (!challenge && !headers.some((header) => /^\s*Basic\b/i.test(header))) return false;
    this.login = challenge ? { challenge, count: 0 } : { basic: true };
    return true;
  }

  private pass(target: Target, path: string, answer: IncomingMessage, response: ServerResponse): void {
    // Node reads any three digits, and writes no more than are a status.
    const given = answer.statusCode ?? 0;
    const status = given >= 200 && given <= 599 ? given : 502;
    const headers = {
      ...pick(answer, RESPONSE_HEADERS),
      ...(this.targets.isOwn(target) ? pick(answer, ['set-cookie']) : {}),
    };
    const location = answer.headers.location;
    if (status >= 300 && status < 400 && location) {
      const { host, port, tls } = target;
      const to = URL.parse(plain(URL.parse(location, `http${tls ? 's' : ''}://${host}:${port}${path}`)?.href ?? ''));
      answer.destroy();
      if (!to || !this.targets.find(to)) this.refuse(to?.host ?? '', response);
      else response.writeHead(status, { location: to.href }).end();
      return;
    }
    answer.on('error', () => response.destroy());
    if (isPlaylist(path, answer)) {
      void passPlaylist(answer, status, headers, response).catch(() => response.destroy());
      return;
    }
    response.writeHead(status, headers);
    answer.pipe(response);
  }
}

/** Reads the rest of an answer that nobody wants, so that its connection can be used again; gives it up where that is long. */
function drain(answer: IncomingMessage, done: () => void): void {
  let bytes = 0;
  answer.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > MAX_DRAINED) answer.destroy();
  });
  answer.on('error', () => undefined); // `close` follows
  answer.once('close', done);
}

function isPlaylist(path: string, answer: IncomingMessage): boolean {
  return /mpegurl|dash\+xml/i.test(answer.headers['content-type'] ?? '') || /\.(m3u8?|mpd)(\?|$)/i.test(path);
}

async function passPlaylist(
  answer: IncomingMessage,
  status: number,
  headers: OutgoingHttpHeaders,
  response: ServerResponse,
): Promise<void> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_PLAYLIST) throw new EngineError('error', 'a playlist without an end');
    chunks.push(chunk);
  }
  // All of it was read, and it has another length now.
  delete headers['content-range'];
  delete headers['accept-ranges'];
  const body = Buffer.from(plainPlaylist(Buffer.concat(chunks).toString('latin1')), 'latin1');
  response.writeHead(status === 206 ? 200 : status, { ...headers, 'content-length': body.length }).end(body);
}

/** Some headers of a message, those left out that Node would not send. */
function pick(message: IncomingMessage, names: readonly string[]): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = {};
  for (const name of names) {
    const value = message.headers[name];
    if (value === undefined) continue;
    try {
      for (const one of [value].flat()) validateHeaderValue(name, one);
      headers[name] = value;
    } catch {
      // Characters that no header may have: FFmpeg does without it.
    }
  }
  return headers;
}
