/**
 * What a settings.js puts before Node-RED's own doors. `npm start` writes one that does:
 *
 *     const { guard } = require('@flow-nvr/node-red-dashboard-2-nvr/dist/nodes/guard.js');
 *     const nvr = guard(__dirname);
 *     module.exports = {
 *       httpAdminMiddleware: nvr.editor,
 *       dashboard: { middleware: nvr.dashboard, ioMiddleware: nvr.socket },
 *     };
 */
import { timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import { gateOf, type Gate } from '../engine/http/gate.ts';
import { foreignReason, hostNameOf, isOwnHost, type ForeignReason } from '../engine/http/same-site.ts';
import { closedPage, closedText } from './shared/closed-page.ts';

export const LOGIN_FILE = 'editor-login.json';
/** With the token in FLOW_NVR_START_TOKEN `npm start` may deploy where the editor has a login, for so long. */
const START_MS = 3 * 60_000;
/** Behind httpNodeAuth the password is asked anew when the browser was closed; the socket's cookie follows soon. */
const BEHIND_LOGIN_MS = 12 * 3_600_000;
/** What the editor and its nodes ask for, by the first part of the path. Nodes of a flow cannot take these from it. */
const ADMIN =
  /^\/(auth|comms|context|credentials|debug|diagnostics|flows?|icons|inject|library|locales|nodes|plugins|projects|settings|theme|types|udp-ports)(\/|$)/i;

/** What only the nodes know; see nvr-config.ts. */
export interface Surroundings {
  /** Some nvr-config shows cameras to everybody who reaches it. */
  open(): boolean;
  hostNames(): string[];
  /** `httpNodeAuth` is set: who comes as far as the dashboard has given its password. */
  asked: boolean;
  /** Whether nodes of the flow answer at a path, not the editor. */
  isOfNodes(path: string): boolean;
}

const NOTHING: Surroundings = { open: () => false, hostNames: () => [], asked: false, isOfNodes: () => false };
let around = NOTHING;
let used = false;

export function surround(surroundings: Surroundings): void {
  around = surroundings;
}

/** Whether a settings.js has asked for guards: then the editor's WebSocket is guarded as well. */
export function isGuarded(): boolean {
  return used;
}

/** A socket of the dashboard as socket.io's middleware gets it. */
interface DashboardClient {
  handshake: { headers: IncomingHttpHeaders };
}

export interface AdminAuth {
  type: 'credentials';
  users: { username: string; password: string; permissions: '*' }[];
  tokens(token: string): Promise<{ username: string; permissions: '*' } | null>;
}

export interface Guard {
  /** For `httpAdminMiddleware`: no pages of other sites, no foreign names, bodies from programs as JSON. */
  editor: RequestHandler;
  /** For `dashboard.middleware`: a browser that came by a link with a key, or everybody if an nvr-config says so. */
  dashboard: RequestHandler;
  /** For `dashboard.ioMiddleware`, likewise. */
  socket(client: DashboardClient, next: (error?: Error) => void): void;
  /** For `adminAuth`: the login that `npm start -- --login` has set; undefined when there is none. */
  adminAuth: AdminAuth | undefined;
}

/**
 * @param folder Node-RED's user folder
 * @throws Error when the login's file is there and cannot be read: the editor must not be open then
 */
export function guard(folder: string): Guard {
  used = true;
  const gate = gateOf(folder);
  return {
    editor,
    dashboard: (request, response, next) => dashboard(gate, request, response, next),
    socket: ({ handshake }, next) => {
      try {
        next(refusal(gate, handshake.headers));
      } catch (error) {
        // Of the file system; thrown on, it would end Node-RED.
        next(error instanceof Error ? error : new Error(String(error)));
      }
    },
    adminAuth: loginOf(folder),
  };
}

/** Why the dashboard's socket is not for these; undefined if it is. */
function refusal(gate: Gate, headers: IncomingHttpHeaders): Error | undefined {
  // Behind a proxy the host may be any; that the page is of the same host is what counts.
  const own = hostNameOf(headers.host);
  if (own === null || foreignReason(headers, [own])) return new Error('this is for pages of this Node-RED only');
  if (gate.admittedUntil(headers) !== null || isOpenTo(headers)) return undefined;
  return new Error(closedText('en'));
}

/** Whether an nvr-config is open to the network, and the request was made to a name that is ours. */
export function isOpenTo(headers: IncomingHttpHeaders): boolean {
  return around.open() && isOwnHost(headers.host, around.hostNames());
}

function dashboard(gate: Gate, request: Request, response: Response, next: NextFunction): void {
  const { headers } = request;
  if (around.asked || gate.admittedUntil(headers) !== null) {
    // For the socket, which httpNodeAuth does not ask.
    if (gate.admittedUntil(headers) === null) response.append('Set-Cookie', gate.cookie(BEHIND_LOGIN_MS));
    response.set('X-Frame-Options', 'SAMEORIGIN');
    next();
    // Browsers ask for the manifest without cookies; it has the dashboard's name.
  } else if (isOpenTo(headers) || request.path.endsWith('/manifest.webmanifest')) next();
  else refuseClosed(request, response);
}

/** Tells a person, or a page's script, what to do. */
export function refuseClosed(request: Request, response: Response): void {
  response.status(403).set('Cache-Control', 'no-store');
  if (request.method === 'GET' && request.accepts(['json', 'html']) === 'html') {
    response.set(
      'Content-Security-Policy',
      "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    );
    response.type('html').send(closedPage(request.acceptsLanguages('de', 'en') === 'de' ? 'de' : 'en'));
  } else response.json({ error: 'closed', message: closedText('en') });
}

function editor(request: Request, response: Response, next: NextFunction): void {
  const { headers, method, path, baseUrl } = request;
  if (!ADMIN.test(path) && around.isOfNodes(`${baseUrl}${path}`)) {
    next();
    return;
  }
  const reason = foreignEditor(request);
  if (reason) {
    const why = { host: 'this name is not known: open it by its address', origin: 'it was made by another site' };
    response.status(403).json({ error: 'forbidden', message: `Request refused: ${why[reason]}` });
    return;
  }
  keepTexts(request);
  // In a frame of another site's page people would press its buttons without knowing.
  response.set('X-Frame-Options', 'SAMEORIGIN');
  const has =
    headers['content-length'] !== undefined ? headers['content-length'] !== '0' : 'transfer-encoding' in headers;
  // Browsers say of what page a request with a body is: then forms are the editor's own, as its upload is. Logins are forms.
  if (
    has &&
    method !== 'GET' &&
    headers.origin === undefined &&
    !/^\/auth\//.test(path) &&
    !request.is(['json', '+json'])
  ) {
    response.status(415).json({ error: 'bad-request', message: 'Bodies must be application/json' });
    return;
  }
  next();
}

/** Fields of a body by which clients log in, on every route (RFC 6750 section 2.2) and on those of the login. */
const LOGIN_FIELDS = [
  'access_token',
  'username',
  'password',
  'client_id',
  'client_secret',
  'grant_type',
  'scope',
  'token',
];

/**
 * Node-RED and its libraries take these for texts, and fail where nobody catches it when they are not: that would end
 * Node-RED. The body is read behind this, so it is looked at when it is set.
 */
function keepTexts(request: Request): void {
  const names = /^\/auth\//i.test(request.path) ? LOGIN_FIELDS : LOGIN_FIELDS.slice(0, 1);
  let body: unknown = request.body;
  Object.defineProperty(request, 'body', {
    configurable: true,
    enumerable: true,
    get: () => body,
    set: (value: unknown) => {
      body = value;
      if (typeof value !== 'object' || value === null) return;
      for (const name of names) {
        if (Object.hasOwn(value, name) && typeof (value as Record<string, unknown>)[name] !== 'string')
          Reflect.deleteProperty(value, name);
      }
    },
  });
}

/** Why a request to the editor is none of its pages', or null. Links from elsewhere may open it, in a window of its own. */
export function foreignEditor({ headers, method }: IncomingMessage): ForeignReason | null {
  const reason = foreignReason(headers, around.hostNames());
  const isLink =
    method === 'GET' && headers['sec-fetch-mode'] === 'navigate' && headers['sec-fetch-dest'] === 'document';
  return reason === 'origin' && isLink && headers.origin === undefined ? null : reason;
}

/** @throws Error when the file is there and is not what `npm start -- --login` writes */
function loginOf(folder: string): AdminAuth | undefined {
  const token = process.env['FLOW_NVR_START_TOKEN'];
  delete process.env['FLOW_NVR_START_TOKEN']; // no child process needs it
  const file = join(folder, LOGIN_FILE);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  const { username, hash } = JSON.parse(text) as { username?: unknown; hash?: unknown };
  if (typeof username !== 'string' || typeof hash !== 'string') {
    throw new Error(`${file} has no login: set one with npm start -- --login, or remove the file`);
  }
  const until = Date.now() + START_MS;
  return {
    type: 'credentials',
    users: [{ username, password: hash, permissions: '*' }],
    tokens: (given) =>
      Promise.resolve(
        token !== undefined && Date.now() < until && isSame(given, token)
          ? { username: 'npm start', permissions: '*' }
          : null,
      ),
  };
}

/** @param given what a client sent: not a text, perhaps */
function isSame(given: unknown, right: string): boolean {
  if (typeof given !== 'string') return false;
  const [a, b] = [Buffer.from(given), Buffer.from(right)];
  return a.length === b.length && timingSafeEqual(a, b);
}
