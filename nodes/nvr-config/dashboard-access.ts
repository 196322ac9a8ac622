/**
 * Who may see the NVR in a dashboard: those who may open the dashboard. A page gets its token from a route that is guarded
 * as the dashboard's own pages are; where nothing guards them, only this computer gets one.
 */
import type { IncomingMessage } from 'node:http';
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { NodeAPI } from 'node-red';
import { DASHBOARD } from '../../engine/http/access.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { isCameraId } from '../../engine/recording/segment-path.ts';
import { DASHBOARD_RIGHTS, type DashboardAccess } from './settings.ts';

export interface DashboardSettings {
  access: DashboardAccess;
  /** Everybody who reaches the dashboard may see it, though nothing asks who they are. */
  open: boolean;
}

/** What the user's own middleware may say of who asks, in `request.nvr`: less or more than the configuration does. */
interface Person {
  access?: unknown;
  cameras?: unknown;
}

/** The page asks for the next one in time. A page that was closed cannot be used for longer. */
const TOKEN_MS = 10 * 60_000;
const CLOSED =
  'Nothing asks who opens this dashboard, so its cameras are shown on the computer of Node-RED only. ' +
  'To see them from elsewhere, set httpNodeAuth, or dashboard.middleware, in the settings.js of Node-RED; ' +
  'or tick "Open to the network" in the NVR configuration.';

interface Settings {
  httpNodeAuth?: unknown;
  httpNodeMiddleware?: unknown;
  dashboard?: { middleware?: unknown };
  ui?: { middleware?: unknown };
}

/** `GET dashboard/token`: as the dashboard does, it asks the dashboard's middleware; `httpNodeAuth` was asked before. */
export function dashboardToken(
  RED: NodeAPI,
  place: { service: NvrService | null; dashboard: DashboardSettings },
): RequestHandler[] {
  const { httpNodeAuth, httpNodeMiddleware, dashboard, ui } = RED.settings as Settings;
  const own = handlersOf((dashboard ?? ui)?.middleware);
  const guarded = Boolean(httpNodeAuth) || own.length > 0;

  const mint = async (request: Request, response: Response): Promise<void> => {
    response.set({ 'Cache-Control': 'no-store', 'Cross-Origin-Resource-Policy': 'same-origin' });
    const refuse = (status: number, error: string, message: string): void => {
      response.status(status).json({ error, message });
    };
    const { service } = place;
    if (!service) {
      refuse(503, 'engine', 'the NVR is not configured');
      return;
    }
    // Another site's page in the same browser, where httpNodeCors would let it read the answer.
    if (!['same-origin', 'none', undefined].includes(request.get('sec-fetch-site'))) {
      refuse(403, 'forbidden', 'this is for pages of this Node-RED only');
      return;
    }
    if (!guarded && !place.dashboard.open && !isThisComputer(request)) {
      refuse(403, 'closed', CLOSED);
      return;
    }
    const person = (request as { nvr?: Person }).nvr ?? {};
    const access = person.access ?? place.dashboard.access;
    const cameras = person.cameras ?? '*';
    const rights = isAccess(access) ? DASHBOARD_RIGHTS[access] : null;
    if (!rights || !(cameras === '*' || (Array.isArray(cameras) && cameras.every(isCamera)))) {
      const problem =
        'request.nvr of the middleware must be {access: "view" | "control" | "admin", cameras: "*" | [ids]}';
      RED.log.error(`nvr: ${problem}`);
      refuse(500, 'error', problem);
      return;
    }
    const token = await service.tokens.mint({ rights, cameras, by: `${DASHBOARD} ${request.ip}` }, TOKEN_MS);
    response.json({ token, rights, cameras, expiresInMs: TOKEN_MS });
  };

  return [
    ...own,
    ...handlersOf(httpNodeMiddleware),
    (request, response, next: NextFunction) => {
      mint(request, response).catch(next);
    },
  ];
}

function handlersOf(middleware: unknown): RequestHandler[] {
  return [middleware].flat().filter((handler): handler is RequestHandler => typeof handler === 'function');
}

function isAccess(value: unknown): value is DashboardAccess {
  return typeof value === 'string' && Object.hasOwn(DASHBOARD_RIGHTS, value);
}

function isCamera(value: unknown): value is string {
  return typeof value === 'string' && isCameraId(value);
}

const LOOPBACK = /^(::ffff:)?127\.\d+\.\d+\.\d+$|^::1$/;
/** Names that only a browser on this computer uses for it: a page whose name was turned to 127.0.0.1 has its own. */
const LOCAL_HOST = /^(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?$/i;
/** What proxies add. */
const FORWARDED = ['x-forwarded-for', 'x-forwarded-host', 'x-forwarded-proto', 'x-real-ip', 'forwarded', 'via'];

/** Whether a request was made on this computer, not by a reverse proxy on it for somebody else. */
export function isThisComputer(request: IncomingMessage): boolean {
  const { headers, httpVersion, socket } = request;
  if (!LOOPBACK.test(socket.remoteAddress ?? '') || !LOCAL_HOST.test(headers.host ?? '')) return false;
  // nginx adds nothing unless it is told to, but speaks HTTP/1.0, which no browser does.
  return httpVersion !== '1.0' && !FORWARDED.some((name) => headers[name] !== undefined);
}
