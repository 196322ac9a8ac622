/**
 * SOAP calls to one ONVIF device, over connections that stay open. It finds out by itself how the device wants to be
 * logged in to, and what its clock says, and remembers both: a command is one request.
 *
 * The account goes to the device's own host and port only: redirects are not followed, and a service address that names
 * another host (a device behind a NAT) is called at the host that was configured.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { orNull, readAddress, writeAddress } from '../ingest/camera-address.ts';
import { EngineError } from '../types.ts';
import { authorization, parseChallenges, type Challenge } from './digest.ts';
import { NS } from './names.ts';
import { envelope, isUnauthorized, parseEnvelope, securityHeader, type Account, type Fault } from './soap.ts';
import { find, numberAt, type XmlElement } from './xml.ts';

export interface ClientOptions {
  /** `http://host[:port][/path]` or `https:`; without a path the standard's. */
  address: string;
  account?: Account;
  /** For an answer that has nothing to wait for. */
  timeoutMs?: number;
  /** Also one that nobody vouches for, as cameras come with. */
  anyCertificate?: boolean;
}

export interface CallOptions {
  /** Above the client's own, for calls that wait at the device. */
  timeoutMs?: number;
  /** More header parts, as XML. */
  headers?: string;
  signal?: AbortSignal;
}

const DEFAULT_PATH = '/onvif/device_service';
const DEFAULT_TIMEOUT_MS = 10_000;
/** Commands, the long poll for events and its renewal go at the same time. */
const MAX_SOCKETS = 4;
/** A device's clock is asked for anew when it refuses a token, at most this often. */
const CLOCK_MS = 30_000;
/** Of an answer; a large picture has about so much. What is read as XML has a smaller limit of its own. */
const MAX_BYTES = 4_000_000;
/** Codes of OpenSSL and Node for a certificate that is not to be trusted. */
const CERTIFICATE = /CERT|^UNABLE_TO_|SELF_SIGNED/;

type Mode = 'token' | 'digest' | 'both';

export class OnvifClient {
  readonly base: URL;
  private readonly account: Account | null;
  private readonly timeoutMs: number;
  private readonly agent: HttpAgent;
  private mode: Mode = 'token';
  private challenge: Challenge | null = null;
  private uses = 0;
  private clock: Promise<void> | null = null;
  private clockAt = -Infinity;
  private offsetMs = 0;

  /** Throws `bad-address`. */
  constructor(options: ClientOptions) {
    this.base = parseAddress(options.address);
    this.account = options.account ?? null;
    this.timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    const settings = { keepAlive: true, maxSockets: MAX_SOCKETS, maxFreeSockets: MAX_SOCKETS, noDelay: true };
    this.agent =
      this.base.protocol === 'https:'
        ? new HttpsAgent({ ...settings, rejectUnauthorized: !options.anyCertificate })
        : new HttpAgent(settings);
  }

  /** By how much the device's clock is ahead of ours, as far as known. */
  get clockOffsetMs(): number {
    return this.offsetMs;
  }

  close(): void {
    this.agent.destroy();
  }

  /** The address at which a service of this device is called. */
  resolve(xaddr: string): URL {
    const url = new URL(this.base);
    try {
      const given = new URL(xaddr);
      url.pathname = given.pathname;
      url.search = given.search;
      // A service may have a port of its own; that of a host we do not call says nothing.
      if (given.hostname === this.base.hostname && given.protocol === this.base.protocol) url.port = given.port;
    } catch {
      // An empty or broken XAddr: devices with one address for everything.
    }
    return url;
  }

  /**
   * The element in the answer's body. Rejects with `auth`, `refused`, `host`, `timeout`, `certificate`, `bad-xml`,
   * `unsupported`, `device` (the device's own words of why not) or `network`.
   */
  async call(url: URL, body: string, options: CallOptions = {}): Promise<XmlElement> {
    if (this.account) await this.syncClock(false);
    for (let attempt = 0; ; attempt++) {
      const answer = await retryStale(() => this.attempt(url, body, options));
      if ('body' in answer) return answer.body;
      if (!this.account || attempt >= 3 || !(await this.adapt(answer))) throw this.errorOf(answer);
    }
  }

  /** Asks the device for its time, which needs no account. */
  syncClock(anew: boolean): Promise<void> {
    if (anew && performance.now() - this.clockAt > CLOCK_MS) this.clock = null;
    this.clock ??= this.readClock().catch((error: unknown) => {
      this.clock = null;
      throw error;
    });
    return this.clock;
  }

  /** {@link clockOffsetMs} is up to date then. */
  async readClock(): Promise<void> {
    const asked = Date.now();
    const body = envelope(`<GetSystemDateAndTime xmlns="${NS.device}"/>`);
    const { status, text } = await retryStale(() => this.post(this.base, body));
    this.clockAt = performance.now();
    // Some devices want an account for this too: their clock is taken to be right.
    if (status !== 200) return;
    const answer = await parseEnvelope(text);
    const utc = 'body' in answer ? find(answer.body, 'SystemDateAndTime', 'UTCDateTime') : undefined;
    const at = (...path: string[]): number => numberAt(utc, ...path) ?? NaN;
    const date = [at('Date', 'Year'), at('Date', 'Month') - 1, at('Date', 'Day')] as const;
    const time = Date.UTC(...date, at('Time', 'Hour'), at('Time', 'Minute'), at('Time', 'Second'));
    // Its seconds are whole ones: on average it is half a second later there.
    if (Number.isFinite(time)) this.offsetMs = time + 500 - (asked + Date.now()) / 2;
  }

  private async attempt(url: URL, body: string, options: CallOptions): Promise<Answer> {
    const { account, mode } = this;
    const nonce = mode === 'token' ? null : (this.challenge?.nonce ?? null);
    const token = account && mode !== 'digest' ? securityHeader(account, Date.now() + this.offsetMs) : '';
    const headers: Record<string, string> = {};
    if (account && mode !== 'token' && this.challenge) {
      const path = url.pathname + url.search;
      headers['Authorization'] = authorization(this.challenge, { method: 'POST', path, ...account }, ++this.uses);
    }
    const text = envelope(body, token + (options.headers ?? ''));
    const reply = await this.post(url, text, headers, options);
    const { status } = reply;
    const challenge = parseChallenges(reply.challenges);
    if (status === 401) return { fault: { codes: ['NotAuthorized'], reason: '' }, challenge, mode, nonce };
    if (status !== 200 && !reply.text.trim())
      return { fault: { codes: [`HTTP ${status}`], reason: `HTTP ${status}` }, challenge, mode, nonce };
    const answer = await parseEnvelope(reply.text);
    return 'body' in answer ? answer : { ...answer, challenge, mode, nonce };
  }

  /** Whether to try once more, in another way. */
  private async adapt({ fault, challenge, mode, nonce }: Refusal): Promise<boolean> {
    if (!isUnauthorized(fault)) return false;
    if (challenge) {
      // The same nonce again, though it was answered: the account is wrong.
      if (challenge.nonce === nonce) return false;
      if (challenge.nonce !== this.challenge?.nonce) this.uses = 0;
      this.challenge = challenge;
      if (this.mode === 'token') this.mode = 'digest';
      return true;
    }
    if (mode === 'digest') {
      this.mode = 'both';
      return true;
    }
    const before = this.offsetMs;
    await this.syncClock(true);
    return Math.abs(this.offsetMs - before) > 2000;
  }

  private errorOf({ fault }: Refusal): EngineError {
    const { host } = this.base;
    if (isUnauthorized(fault)) {
      return this.account
        ? new EngineError(
            'auth',
            `${host} refuses the account: check user name and password, and that ONVIF is allowed for it`,
          )
        : new EngineError('auth', `${host} wants an account: enter user name and password`);
    }
    const said = fault.reason || fault.codes.join(' ');
    if (fault.codes.includes('ActionNotSupported'))
      return new EngineError('unsupported', `${host} cannot do that: ${said}`);
    if (fault.codes.includes('NoEnvelope'))
      return new EngineError('bad-xml', `${host}: ${said}; is this its ONVIF address?`);
    return Object.assign(new EngineError('device', `${host} refuses: ${said}`), { codes: fault.codes });
  }

  /** What the device has at an address of its own, such as a snapshot. Rejects as {@link call}. */
  async get(url: URL): Promise<Buffer> {
    const about = { method: 'GET', path: url.pathname + url.search };
    for (let attempt = 0; ; attempt++) {
      const { account, challenge } = this;
      const login: OutgoingHttpHeaders =
        account && challenge ? { Authorization: authorization(challenge, { ...about, ...account }, ++this.uses) } : {};
      const reply = await retryStale(() => this.send(url, 'GET', null, login, {}));
      if (reply.status === 200) return reply.data;
      const asked = reply.status === 401 ? parseChallenges(reply.challenges) : null;
      // The same nonce again, though it was answered: the account is wrong.
      if (!account || !asked || attempt > 1 || asked.nonce === challenge?.nonce) {
        const fault = { codes: [reply.status === 401 ? 'NotAuthorized' : `HTTP ${reply.status}`], reason: '' };
        throw this.errorOf({ fault, challenge: asked, mode: this.mode, nonce: null });
      }
      [this.challenge, this.uses] = [asked, 0];
    }
  }

  private async post(
    url: URL,
    body: string,
    headers: Record<string, string> = {},
    options: CallOptions = {},
  ): Promise<Reply & { text: string }> {
    const type = { 'Content-Type': 'application/soap+xml; charset=utf-8', 'Content-Length': Buffer.byteLength(body) };
    const reply = await this.send(url, 'POST', body, { ...type, ...headers }, options);
    return { ...reply, text: reply.data.toString('utf8') };
  }

  private send(
    url: URL,
    method: 'GET' | 'POST',
    body: string | null,
    headers: OutgoingHttpHeaders,
    options: CallOptions,
  ): Promise<Reply> {
    const timeoutMs = options.timeoutMs ?? this.timeoutMs;
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    return new Promise<Reply>((resolve, reject) => {
      const request = send(url, {
        ...{ method, headers, agent: this.agent },
        ...(options.signal ? { signal: options.signal } : {}),
      });
      // Not of the socket's silence: a device that sends a byte now and then would never be late.
      const timer = setTimeout(() => {
        request.destroy(new EngineError('timeout', `${url.host} gave no answer in ${timeoutMs / 1000} s`));
      }, timeoutMs);
      const end = (): void => clearTimeout(timer);
      request.on('error', (error: NodeJS.ErrnoException) => {
        end();
        // A connection that was kept open may be gone at the other end just when it is used again.
        const stale = request.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
        reject(stale ? new EngineError('stale', `${url.host} closed the connection`) : networkError(error, url.host));
      });
      request.on('response', (response) => {
        readAll(response).then(
          (data) => {
            end();
            const challenges = response.headersDistinct['www-authenticate'] ?? [];
            resolve({ status: response.statusCode ?? 0, data, challenges });
          },
          (error: unknown) => {
            end();
            request.destroy();
            reject(networkError(error as NodeJS.ErrnoException, url.host));
          },
        );
      });
      request.end(body ?? undefined);
    });
  }
}

interface Reply {
  status: number;
  data: Buffer;
  challenges: string[];
}

interface Refusal {
  fault: Fault;
  challenge: Challenge | null;
  /** How the request was logged in. */
  mode: Mode;
  nonce: string | null;
}

type Answer = { body: XmlElement } | Refusal;

/** Anew, with a fresh login, while it is a connection from before that broke: at most as often as there are such. */
async function retryStale<T>(attempt: () => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof EngineError && error.code === 'stale')) throw error;
      if (tries > MAX_SOCKETS) throw new EngineError('network', error.message);
    }
  }
}

async function readAll(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_BYTES) throw new EngineError('bad-xml', 'the device sent no valid XML: it is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function networkError(error: NodeJS.ErrnoException, host: string): Error {
  if (error instanceof EngineError || error.name === 'AbortError') return error;
  const { code = '' } = error;
  if (code === 'ECONNREFUSED') return new EngineError('refused', `nothing answers at ${host}: check the port of ONVIF`);
  if (['ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code))
    return new EngineError('host', `${host} was not found: check its address and the network`);
  if (CERTIFICATE.test(code)) {
    const text = `the certificate of ${host} cannot be trusted (${code}): allow any certificate if this is your camera`;
    return new EngineError('certificate', text);
  }
  if (code === 'ETIMEDOUT') return new EngineError('timeout', `${host} does not answer`);
  return new EngineError('network', `the connection to ${host} broke (${code || error.message})`);
}

/** Throws `bad-address`. */
export function parseAddress(address: string): URL {
  const text = address.trim();
  const given = /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`;
  // Not by URL alone: it takes a backslash for a slash, and so finds another host than everything else here.
  const read = orNull(() => readAddress(given));
  const written = read && writeAddress(read);
  if (!read || !written || !['http', 'https'].includes(read.scheme) || !URL.canParse(written)) {
    throw new EngineError('bad-address', 'this is no ONVIF address: use host, host:port or http://host:port/path');
  }
  if (read.username !== undefined || read.password !== undefined) {
    throw new EngineError('bad-address', 'there is an account in the ONVIF address: enter it in its own fields');
  }
  const url = new URL(written);
  if (url.pathname === '/') url.pathname = DEFAULT_PATH;
  url.hash = '';
  return url;
}
