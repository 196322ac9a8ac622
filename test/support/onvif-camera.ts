/**
 * A simulated ONVIF device: Device, Media, PTZ, Imaging, Events (PullPoint) and relay outputs over real HTTP, with the
 * faults that real ones have. It keeps what came on the wire, and it turns over time.
 */
import { createHash, randomBytes } from 'node:crypto';
import { createServer as createSecureServer } from 'node:https';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { NS } from '../../engine/onvif/names.ts';
import { escapeXml, find, parseXml, textAt, type XmlElement } from '../../engine/onvif/xml.ts';
import { CERTIFICATE, KEY } from './certificate.ts';
import { EventSource } from './onvif-events.ts';
import { answerOf, SoapFault, type Service } from './onvif-services.ts';
import { Turntable, type Axis, type Position, type Range } from './onvif-turntable.ts';

export type CameraKind = 'full' | 'continuous' | 'absolute' | 'relative' | 'zoom' | 'fixed';

export interface CameraOptions {
  name: string;
  kind: CameraKind;
  username: string;
  password: string;
  /** What a request must have: nothing, a WS-Security token, HTTP digest, or one of the two. */
  auth: 'none' | 'wsse' | 'digest' | 'either';
  /** Digest algorithm. */
  algorithm: 'MD5' | 'SHA-256';
  /** By how much the device's clock is ahead. */
  clockOffsetMs: number;
  /** Seconds that a WS-Security token may be off the device's clock. */
  clockToleranceMs: number;
  latencyMs: number;
  /** Moves are done at once, and answered only when this is settled. */
  answersToMoves: Promise<void>;
  /** Answers everything with this text. */
  garbage: string | null;
  /** Of all requests, this part is dropped with the connection. */
  loss: number;
  missing: ReadonlySet<Service>;
  /** False: only GetCapabilities, as devices before ONVIF 2.0. */
  getServices: boolean;
  /** Token to name. */
  presets: Record<string, string>;
  maxPresets: number;
  home: boolean;
  panRange: Range;
  tiltRange: Range;
  zoomRange: Range;
  /** The space in degrees, besides the generic one, for absolute positions. */
  degrees: { pan: Range; tilt: Range } | null;
  /** Units a second at full speed. */
  speeds: Position;
  /** A continuous move without a Timeout ends after this. */
  defaultTimeoutMs: number;
  /** What XAddr and subscription addresses say instead of the host that was called, as behind a NAT. */
  advertisedHost: string | null;
  auxiliary: readonly string[];
  relays: readonly string[];
  /** Answers PullMessages at once, whatever its Timeout. */
  impatientPull: boolean;
  /** The subscription's id is in reference parameters that every request must bring back. */
  referenceParameters: boolean;
  /** A subscription lives so long at most. */
  maxSubscriptionMs: number;
  position: boolean;
  subStream: boolean;
  /** Has Media 2 (besides Media, unless that is `missing`). */
  media2: boolean;
  /** What the snapshot address gives. */
  snapshot: Buffer | null;
  /** Speaks HTTPS, with a certificate that nobody vouches for. */
  https: boolean;
  /** Stream addresses by profile, in place of made-up ones. */
  streams: Record<string, string>;
}

const DEFAULTS: CameraOptions = {
  name: 'Sim',
  kind: 'full',
  username: 'admin',
  password: 'pass word&<1>',
  auth: 'wsse',
  algorithm: 'MD5',
  clockOffsetMs: 0,
  clockToleranceMs: 5000,
  latencyMs: 0,
  answersToMoves: Promise.resolve(),
  garbage: null,
  loss: 0,
  missing: new Set(),
  getServices: true,
  presets: { '1': 'Door', '2': 'Gate' },
  maxPresets: 16,
  home: true,
  panRange: { min: -1, max: 1 },
  tiltRange: { min: -1, max: 1 },
  zoomRange: { min: 0, max: 1 },
  degrees: null,
  speeds: { pan: 0.5, tilt: 0.5, zoom: 0.5 },
  defaultTimeoutMs: Infinity,
  advertisedHost: null,
  auxiliary: ['tt:Wiper|On', 'tt:Wiper|Off'],
  relays: ['relay-1'],
  impatientPull: false,
  referenceParameters: false,
  maxSubscriptionMs: 600_000,
  position: true,
  subStream: true,
  media2: false,
  snapshot: null,
  https: false,
  streams: {},
};

/** One request as it came. */
export interface Call {
  action: string;
  ns: string;
  body: XmlElement;
  /** performance.now(). */
  at: number;
  auth: 'none' | 'wsse' | 'digest';
}

/** Actions that ONVIF lets anybody call (Core, section 5.9.4.3). */
const OPEN = new Set(['GetSystemDateAndTime', 'GetServices', 'GetCapabilities', 'GetServiceCapabilities']);

export class OnvifCamera {
  readonly options: CameraOptions;
  readonly table: Turntable;
  readonly events: EventSource;
  /** Every request, also refused ones. */
  readonly calls: Call[] = [];
  /** Preset token to name and position; null: what it looks at is unknown. */
  readonly presets = new Map<string, { name: string; position: Position }>();
  readonly relays = new Map<string, string>();
  readonly auxiliary: string[] = [];
  homePosition: Position;
  imaging: Record<string, string> = {
    Brightness: '50',
    ColorSaturation: '50',
    Contrast: '50',
    Sharpness: '50',
    IrCutFilter: 'AUTO',
  };
  autoFocus = 'AUTO';
  timeZone = 'UTC0';
  /** TCP connections that were ever opened. */
  connections = 0;
  port = 0;
  private readonly server: Server;
  private readonly sockets = new Set<Socket>();
  private readonly nonces = new Set<string>();
  private random = 12345;

  constructor(options: Partial<CameraOptions> = {}) {
    this.options = { ...DEFAULTS, ...options };
    const { panRange, tiltRange, zoomRange, speeds, presets, relays } = this.options;
    this.table = new Turntable({ pan: panRange, tilt: tiltRange, zoom: zoomRange }, speeds);
    this.homePosition = this.table.position;
    for (const [token, name] of Object.entries(presets)) {
      const at = this.presets.size + 1;
      this.presets.set(token, {
        name,
        position: { pan: panRange.max / at / 2, tilt: tiltRange.max / at / 4, zoom: 0 },
      });
    }
    for (const token of relays) this.relays.set(token, 'inactive');
    this.events = new EventSource(this);
    const serve = (request: IncomingMessage, response: ServerResponse): void => this.onRequest(request, response);
    this.server = this.options.https ? createSecureServer({ key: KEY, cert: CERTIFICATE }, serve) : createServer(serve);
    this.server.keepAliveTimeout = 60_000;
    this.server.on('connection', (socket) => {
      this.connections++;
      this.sockets.add(socket.on('close', () => this.sockets.delete(socket)).on('error', () => undefined));
    });
  }

  async start(port = 0, host = '127.0.0.1'): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen(port, host, resolve);
    });
    this.port = (this.server.address() as AddressInfo).port;
    return this;
  }

  async stop(): Promise<void> {
    this.events.close();
    const closed = new Promise((resolve) => this.server.close(resolve));
    this.dropConnections();
    await closed;
  }

  dropConnections(): void {
    for (const socket of this.sockets) socket.destroy();
  }

  get address(): string {
    return `http${this.options.https ? 's' : ''}://127.0.0.1:${this.port}/onvif/device_service`;
  }

  /** The device's clock. */
  get clock(): number {
    return Date.now() + this.options.clockOffsetMs;
  }

  /** The host and port that this device believes to have. */
  get advertised(): string {
    return this.options.advertisedHost ?? `127.0.0.1:${this.port}`;
  }

  get uuid(): string {
    return `urn:uuid:00000000-0000-4000-8000-${createHash('md5').update(`${this.options.name}${this.port}`).digest('hex').slice(0, 12)}`;
  }

  can(axis: Axis, way: 'continuous' | 'absolute' | 'relative'): boolean {
    const { kind } = this.options;
    if (kind === 'fixed') return false;
    if (kind === 'zoom') return axis === 'zoom';
    return kind === 'full' || kind === way;
  }

  /** Requests of one action, newest last. */
  callsOf(action: string): Call[] {
    return this.calls.filter((call) => call.action === action);
  }

  private onRequest(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const at = performance.now();
      this.random = (this.random * 1103515245 + 12345) % 2147483648;
      if (this.random / 2147483648 < this.options.loss) {
        request.socket.destroy();
        return;
      }
      const go = (): void => void this.answer(request, Buffer.concat(chunks).toString('utf8'), at, response);
      if (this.options.latencyMs > 0) setTimeout(go, this.options.latencyMs);
      else go();
    });
  }

  private async answer(request: IncomingMessage, text: string, at: number, response: ServerResponse): Promise<void> {
    const { garbage, auth } = this.options;
    const reply = (status: number, body: string, headers: Record<string, string> = {}): void => {
      if (response.destroyed) return;
      response.writeHead(status, { 'Content-Type': 'application/soap+xml; charset=utf-8', ...headers }).end(body);
    };
    if (garbage !== null) {
      reply(200, garbage);
      return;
    }
    if (request.method === 'GET') {
      const { snapshot } = this.options;
      if (auth !== 'none' && !this.digestOk(request)) reply(401, '', { 'WWW-Authenticate': this.challenge });
      else if (snapshot) response.writeHead(200, { 'Content-Type': 'image/jpeg' }).end(snapshot);
      else reply(404, '');
      return;
    }
    try {
      const envelope = parseXml(text);
      const body = find(envelope, 'Body')?.children[0];
      if (envelope.ns !== NS.soap || !body) throw new SoapFault('Sender', 'WellFormed', 'no SOAP 1.2 envelope');
      const security = find(envelope, 'Header', 'Security');
      const digest = request.headers.authorization?.startsWith('Digest ') ?? false;
      const used = digest ? 'digest' : security ? 'wsse' : 'none';
      this.calls.push({ action: body.name, ns: body.ns, body, at, auth: used });
      if (this.calls.length > 100_000) this.calls.shift();
      if (auth !== 'none' && !OPEN.has(body.name)) {
        const byDigest = auth !== 'wsse' && digest && this.digestOk(request);
        const byToken = auth !== 'digest' && this.tokenOk(security);
        if (!byDigest && !byToken) {
          if (auth === 'wsse') throw new SoapFault('Sender', 'NotAuthorized', 'Sender not Authorized');
          reply(401, '', { 'WWW-Authenticate': this.challenge });
          return;
        }
      }
      const result = await answerOf(this, { body, path: request.url ?? '', header: find(envelope, 'Header') });
      if (body.name.endsWith('Move')) await this.options.answersToMoves;
      reply(200, envelopeOf(result));
    } catch (error) {
      const fault = error instanceof SoapFault ? error : new SoapFault('Receiver', 'Action', String(error));
      reply(fault.code === 'Sender' ? 400 : 500, envelopeOf(faultOf(fault)));
    }
  }

  /** Those that were given out, one with each refusal. */
  private readonly given = new Set<string>();

  private get challenge(): string {
    const { algorithm } = this.options;
    const nonce = randomBytes(16).toString('hex');
    this.given.add(nonce);
    return `Digest realm="ONVIF, sim", qop="auth,auth-int", nonce="${nonce}", algorithm=${algorithm}, stale=FALSE`;
  }

  private digestOk(request: IncomingMessage): boolean {
    const fields = Object.fromEntries(
      [...(request.headers.authorization ?? '').matchAll(/(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/g)].map((match) => [
        match[1]!,
        (match[2] ?? match[3] ?? '').replace(/\\(.)/g, '$1'),
      ]),
    );
    const hash = (text: string): string =>
      createHash(this.options.algorithm === 'MD5' ? 'md5' : 'sha256')
        .update(text)
        .digest('hex');
    const { username, realm, nonce, uri, qop, nc, cnonce, response } = fields;
    if (!this.given.has(nonce ?? '') || uri !== request.url || qop !== 'auth') return false;
    const first = hash(`${this.options.username}:${realm ?? ''}:${this.options.password}`);
    const wanted = hash(`${first}:${nonce}:${nc ?? ''}:${cnonce ?? ''}:auth:${hash(`${request.method}:${uri}`)}`);
    const use = `${nonce} ${nc ?? ''}`;
    const fresh = !this.nonces.has(use);
    this.nonces.add(use);
    return fresh && username === this.options.username && response === wanted;
  }

  private tokenOk(security: XmlElement | undefined): boolean {
    const token = find(security, 'UsernameToken');
    if (!token || token.ns !== NS.security) return false;
    const [nonce, created] = [textAt(token, 'Nonce'), textAt(token, 'Created')];
    const age = this.clock - Date.parse(created);
    if (!(Math.abs(age) <= this.options.clockToleranceMs) || this.nonces.has(nonce)) return false;
    this.nonces.add(nonce);
    const wanted = createHash('sha1')
      .update(Buffer.concat([Buffer.from(nonce, 'base64'), Buffer.from(created + this.options.password)]))
      .digest('base64');
    return textAt(token, 'Username') === this.options.username && textAt(token, 'Password') === wanted;
  }
}

const PREFIXES: Record<string, string> = {
  SOAP: NS.soap,
  tds: NS.device,
  trt: NS.media,
  tr2: NS.media2,
  tptz: NS.ptz,
  timg: NS.imaging,
  tev: NS.events,
  tmd: NS.deviceIo,
  tt: NS.schema,
  wsnt: NS.notification,
  wsa: NS.addressing,
  ter: NS.error,
  tns1: NS.topics,
  sim: 'urn:sim',
};

function envelopeOf(body: string): string {
  const declared = Object.entries(PREFIXES).map(([prefix, uri]) => ` xmlns:${prefix}="${uri}"`);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<SOAP:Envelope${declared.join('')}><SOAP:Body>${body}</SOAP:Body></SOAP:Envelope>`;
}

function faultOf({ code, subcode, message }: SoapFault): string {
  const codes = subcode
    .split('/')
    .reduceRight((inner, name) => `<SOAP:Subcode><SOAP:Value>ter:${name}</SOAP:Value>${inner}</SOAP:Subcode>`, '');
  return `<SOAP:Fault><SOAP:Code><SOAP:Value>SOAP:${code}</SOAP:Value>${codes}</SOAP:Code><SOAP:Reason><SOAP:Text xml:lang="en">${escapeXml(message)}</SOAP:Text></SOAP:Reason></SOAP:Fault>`;
}
