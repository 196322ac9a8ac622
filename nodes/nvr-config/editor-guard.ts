/** Tells the guards of settings.js (guard.ts) what they need to know of the flow, and guards the editor's WebSocket. */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import type { NodeAPI, NodeDef } from 'node-red';
import { Boundary } from '../../engine/http/boundary.ts';
import { foreignEditor, isGuarded, surround } from '../guard.ts';
import { hostNamesOf } from '../shared/host-names.ts';
import { guardComms } from './comms-guard.ts';

/** Of Express, which has no public way to ask whether it has a route. */
interface Layer {
  route?: unknown;
  regexp: RegExp & { fast_slash?: boolean };
}
interface Routed {
  _router?: { stack?: Layer[] };
}

export function guardEditor(RED: NodeAPI): void {
  const { httpAdminRoot, httpNodeRoot, httpNodeAuth } = RED.settings as {
    httpAdminRoot?: string | false;
    httpNodeRoot?: string | false;
    httpNodeAuth?: unknown;
  };
  const root = (httpNodeRoot || '/').replace(/\/*$/, '');
  const admin = (httpAdminRoot || '/').replace(/\/*$/, '');
  surround({
    open: () => isOpen(RED),
    hostNames: () => hostNamesOf(RED),
    asked: Boolean(httpNodeAuth),
    isOfNodes: (path) =>
      path.startsWith(root) &&
      hasRoute(RED.httpNode as Routed | undefined, path.slice(root.length)) &&
      // Packages have routes for the editor below paths that their nodes have: the dashboard has.
      !hasOwnRoute(RED.httpAdmin as Routed | undefined, path.slice(admin.length)),
  });
  const { server } = RED as { server?: Server };
  if (!server || httpAdminRoot === false) return;
  const comms = `${(httpAdminRoot ?? '/').replace(/\/*$/, '')}/comms`;
  const boundary = new Boundary((line) => RED.log.warn(line));
  // Before Node-RED's own listener, which asks for no origin. It leaves a socket alone that has ended.
  server.prependListener('upgrade', (request: IncomingMessage, socket: Duplex) => {
    if (!(request.url ?? '').startsWith(comms)) return;
    if (isGuarded() && foreignEditor(request)) {
      socket.destroy();
      return;
    }
    guardComms(socket, boundary);
  });
}

function isOpen(RED: NodeAPI): boolean {
  let open = false;
  RED.nodes.eachNode((node) => {
    const { type, d, openToNetwork } = node as NodeDef & { d?: boolean; openToNetwork?: unknown };
    if (type === 'nvr-config' && !d && openToNetwork === true) open = true;
  });
  return open;
}

/** A route with handlers of its own at this path, whatever the method. */
function hasOwnRoute(app: Routed | undefined, path: string): boolean {
  return (app?._router?.stack ?? []).some(({ route, regexp }) => route !== undefined && regexp.test(path));
}

/** Middleware for all paths does not count. */
function hasRoute(app: Routed | undefined, path: string): boolean {
  return (app?._router?.stack ?? []).some(({ regexp }) => regexp.fast_slash !== true && regexp.test(path));
}
