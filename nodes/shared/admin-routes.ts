/**
 * The only way in which this package adds routes to the editor's server. Where the editor has no login, nothing else
 * protects them: any page that the user's browser has open can send requests here.
 */
import type { Application, NextFunction, Request, RequestHandler, Response } from 'express';
import type { NodeAPI } from 'node-red';
import { foreignReason, hostNameOf, type ForeignReason } from '../../engine/http/same-site.ts';
import { EngineError } from '../../engine/types.ts';
import { hostNamesOf } from './host-names.ts';

export interface AdminRequest {
  /** Of a POST, as it was sent; nothing in it was checked. Empty for a GET. */
  body: Record<string, unknown>;
  /** A part of the path, by its name. */
  param: (name: string) => string;
  /** Address of who asks. */
  from: string;
  response: Response;
}

/** Its result is sent as JSON; with undefined it has answered itself. What it throws is told as {@link statusOf} says. */
export type AdminHandler = (request: AdminRequest) => object | undefined | Promise<object | undefined>;

/**
 * Adds a route below `/nvr/`. It refuses requests that pages of other sites make (403), and bodies that are not JSON (415),
 * because a page can send forms and plain text anywhere without being asked.
 *
 * @param permission of Node-RED's. An account that may only read has all that end in `.read`: whatever shows pictures,
 *   starts programs or talks to cameras needs one that ends in `.write`.
 */
export function adminRoute(
  RED: NodeAPI,
  method: 'get' | 'post',
  path: `/nvr/${string}`,
  permission: `${string}.${'read' | 'write'}`,
  handler: AdminHandler,
): void {
  const guard: RequestHandler = (request, response, next) => {
    const problem = refusalOf(RED, request);
    if (problem) answer(response, problem.status, problem.error, problem.message);
    else next();
  };
  const run = async (request: Request, response: Response): Promise<void> => {
    try {
      const body = method === 'post' ? ((request.body ?? {}) as Record<string, unknown>) : {};
      const param = (name: string): string => request.params[name] ?? '';
      const result = await handler({ body, param, from: request.ip ?? 'unknown', response });
      if (result !== undefined) response.json(result);
    } catch (error) {
      tell(RED, error, response);
    }
  };
  RED.httpAdmin[method](path, headers, RED.auth.needsPermission(permission), guard, (request, response) => {
    void run(request, response);
  });
  answerErrors(RED.httpAdmin);
  // Node-RED reads bodies in the application that this one is part of.
  const { parent } = RED.httpAdmin as Application & { parent?: Application };
  if (parent) answerErrors(parent);
}

const withErrors = new WeakSet<object>();

/** What is refused before any route is asked: broken JSON, broken percent-encoding. Express answers with a stack trace. */
function answerErrors(app: Application): void {
  if (withErrors.has(app)) return;
  withErrors.add(app);
  app.use('/nvr', (error: unknown, request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) {
      next(error);
      return;
    }
    headers(request, response, () => undefined);
    answer(response, 400, 'bad-request', 'this request cannot be read: send valid JSON');
  });
}

const headers: RequestHandler = (_request, response, next) => {
  response.set({
    'Cache-Control': 'no-store',
    'X-Content-Type-Options': 'nosniff',
    'Cross-Origin-Resource-Policy': 'same-origin',
  });
  next();
};

interface Refusal {
  status: number;
  error: string;
  message: string;
}

function refusalOf(RED: NodeAPI, request: Request): Refusal | null {
  const reason = isSignedIn(RED, request) ? crossSite(request) : foreignReason(request.headers, hostNamesOf(RED));
  if (reason) return { status: 403, error: `foreign-${reason}`, message: messageOf(reason, request) };
  const { 'content-type': type, 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  const hasBody = encoding !== undefined || Number(length ?? 0) > 0;
  if (type === undefined ? hasBody : !/^application\/json\s*(;|$)/i.test(type))
    return { status: 415, error: 'not-json', message: 'send JSON, with Content-Type: application/json' };
  if (Array.isArray(request.body)) return { status: 400, error: 'bad-request', message: 'send a JSON object' };
  return null;
}

/**
 * Whether Node-RED's login has let a named account in by a token in `Authorization`. No page of another site has one, so
 * that host and origin say nothing more: a reverse proxy may have changed them.
 */
function isSignedIn(RED: NodeAPI, request: Request): boolean {
  const { adminAuth } = RED.settings as { adminAuth?: { default?: unknown } };
  const { user } = request as { user?: { anonymous?: boolean } };
  // A function for `default` may let anybody in without saying so.
  if (!adminAuth || typeof adminAuth.default === 'function') return false;
  return user !== undefined && !user.anonymous && /^Bearer\s+\S/i.test(request.headers.authorization ?? '');
}

function crossSite({ headers: { 'sec-fetch-site': site } }: Request): ForeignReason | null {
  return site === undefined || site === 'same-origin' || site === 'none' ? null : 'origin';
}

function messageOf(reason: ForeignReason, request: Request): string {
  if (reason === 'origin')
    return (
      'a page of another site made this request. If it was your own editor behind a reverse proxy: let the proxy pass on ' +
      'the Host header (nginx: proxy_set_header Host $http_host), or give the editor a login (adminAuth in settings.js)'
    );
  const name = hostNameOf(request.headers.host)?.slice(0, 100) ?? 'this address';
  return (
    `${name} is not known as a name of this Node-RED: open the editor at its IP address and enter the name under ` +
    '"Host names" in the NVR configuration, or set flowNvr: { hostNames: [...] } in settings.js'
  );
}

function answer(response: Response, status: number, error: string, message: string): void {
  response.status(status).json({ ok: false, error, reason: error, message });
}

/** 4xx for what the caller can do something about, 503 for what the NVR cannot do now. */
function statusOf({ code }: EngineError): number {
  if (code === 'not-found' || code === 'unknown-camera') return 404;
  if (code === 'password') return 403;
  return code.startsWith('bad-') ? 400 : 503;
}

function tell(RED: NodeAPI, error: unknown, response: Response): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (error instanceof EngineError) {
    answer(response, statusOf(error), error.code, error.message);
    return;
  }
  // Its text may have a path or more in it; the log is for those who may read that.
  RED.log.error(`nvr: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  answer(response, 500, 'error', 'this failed unexpectedly: see the log of Node-RED');
}
