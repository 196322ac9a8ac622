/**
 * Who may see the NVR in a dashboard: those who may open the dashboard. A page gets its token from a route that is guarded
 * as the dashboard's own pages are. Where nothing guards them, a browser gets one that was let in by a key.
 */
import type { NextFunction, Request, RequestHandler, Response } from 'express';
import type { NodeAPI, NodeDef } from 'node-red';
import { gateOf, type Gate } from '../../engine/http/gate.ts';
import { foreignReason, hostNameOf, isOwnHost } from '../../engine/http/same-site.ts';
import { DASHBOARD } from '../../engine/http/access.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { isCameraId } from '../../engine/recording/segment-path.ts';
import { refuseClosed } from '../guard.ts';
import { closedText } from '../shared/closed-page.ts';
import { hostNamesOf } from '../shared/host-names.ts';
import { DASHBOARD_RIGHTS, type DashboardAccess } from './settings.ts';

export interface DashboardSettings {
  access: DashboardAccess;
  /** Everybody who reaches the dashboard by a name of ours may see it, though nothing asks who they are. */
  open: boolean;
}

/** What the user's own middleware may say of who asks, in `request.nvr`: less or more than the configuration does. */
interface Person {
  access?: unknown;
  cameras?: unknown;
}

/** The page asks for the next one in time. A page that was closed cannot be used for longer. */
const TOKEN_MS = 10 * 60_000;
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
    const { headers } = request;
    // Another site's page in the same browser, where httpNodeCors would let it read the answer. A proxy may use any host.
    const own = hostNameOf(headers.host);
    if (own === null || foreignReason(headers, [own])) {
      refuse(403, 'forbidden', 'this is for pages of this Node-RED only');
      return;
    }
    const gate = gateFor(RED);
    if (!guarded && gate.admittedUntil(headers) === null) {
      if (!place.dashboard.open) {
        refuse(403, 'closed', closedText('en'));
        return;
      }
      // Another site's name may have been made to mean this computer.
      if (!isOwnHost(headers.host, hostNamesOf(RED))) {
        refuse(403, 'host', `the name ${own} is not known here: enter it under "Host names" in the NVR configuration`);
        return;
      }
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
    const cookie = gate.admittedUntil(headers) === null ? null : gate.renewed(headers);
    if (cookie) response.append('Set-Cookie', cookie);
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

/**
 * `GET enter?key=…`: lets a browser in, and sends it to the dashboard.
 *
 * @param RED for the user folder, and for where the dashboard is
 */
export function enter(RED: NodeAPI): RequestHandler {
  return (request, response) => {
    const gate = gateFor(RED);
    response.set({ 'Cache-Control': 'no-store', 'Referrer-Policy': 'no-referrer' });
    // Who is in already may use an old link: a bookmark, or the second click.
    const inside = gate.admittedUntil(request.headers) !== null;
    // A look at its headers does not use a key up.
    if (!(request.method === 'GET' && gate.takes(request.query['key'])) && !inside) {
      refuseClosed(request, response);
      return;
    }
    const cookie = gate.renewed(request.headers);
    if (cookie) response.append('Set-Cookie', cookie);
    response.redirect(303, dashboardPath(RED));
  };
}

/** The gate of this Node-RED. */
export function gateFor(RED: NodeAPI): Gate {
  return gateOf(RED.settings.userDir ?? process.cwd());
}

/** Of the first dashboard; Node-RED's root where there is none. */
function dashboardPath(RED: NodeAPI): string {
  const { httpNodeRoot } = RED.settings as { httpNodeRoot?: string | false };
  const root = (httpNodeRoot || '/').replace(/\/*$/, '/');
  let found = '';
  RED.nodes.eachNode((node) => {
    const { type, path } = node as NodeDef & { path?: unknown };
    if (type === 'ui-base' && found === '' && typeof path === 'string') found = path;
  });
  return `${root}${found.replace(/^\/+/, '')}`;
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
