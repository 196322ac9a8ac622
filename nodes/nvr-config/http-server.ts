/**
 * Puts the NVR's routes on Node-RED's server. Express has no way to take a route away, so each path is registered once
 * and asks for its NVR at every request; a Deploy changes only which that is.
 */
import { ServerResponse, type IncomingMessage, type Server } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { NodeAPI } from 'node-red';
import { systemClock, type Clock } from '../../engine/clock.ts';
import { Boundary, finish, refuseUpgrade } from '../../engine/http/boundary.ts';
import type { FeedSockets } from '../../engine/http/feed-socket.ts';
import type { LiveSockets } from '../../engine/http/live-socket.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { textOf } from '../shared/nvr.ts';
import { limitConnections } from './connection-limit.ts';
import { dashboardToken, enter, type DashboardSettings } from './dashboard-access.ts';
import { takeBodyFailures } from './body-failures.ts';

interface Place {
  owner: string;
  /** Its owner's node is closed: whoever comes first in the Deploy takes the place, and until then it goes on answering. */
  open: boolean;
  service: NvrService | null;
  dashboard: DashboardSettings;
}

interface Sockets {
  live: LiveSockets;
  feed: FeedSockets;
}

/** An upgrade that has become no WebSocket after so long, and was not refused either, never will. */
const UPGRADE_MS = 10_000;

export class HttpServer {
  private readonly RED: NodeAPI;
  private readonly places = new Map<string, Place>();
  /** Upgrades on their way through Node-RED's own handlers, and how to go on with each. */
  private readonly upgrades = new WeakMap<object, () => void>();
  private readonly boundary: Boundary;
  private readonly clock: Clock;
  private listening = false;

  constructor(RED: NodeAPI, clock: Clock = systemClock) {
    this.RED = RED;
    this.clock = clock;
    this.boundary = new Boundary((line) => RED.log.warn(line), clock);
  }

  /** Null, or why the path cannot be used. Whatever other path the owner had answers no more. */
  serve(path: string, owner: string, service: NvrService, dashboard: DashboardSettings): string | null {
    const place = this.places.get(path);
    for (const other of this.placesOf(owner)) if (other !== place) other.service = null;
    if (place?.service && place.owner !== owner && !place.open) {
      return `the HTTP path ${path} is used by another NVR configuration: give this one a path of its own`;
    }
    if (place) {
      Object.assign(place, { owner, open: false, service, dashboard });
      return null;
    }
    const own: Place = { owner, open: false, service, dashboard };
    this.places.set(path, own);
    const { httpNode, server } = this.RED as { httpNode?: NodeAPI['httpNode']; server?: Server };
    if (!httpNode) return null; // switched off by httpNodeRoot: false
    // Loaded behind the engine's start: recording does not wait for libraries of the web.
    const router = import('../../engine/http/router.ts').then(({ createRouter }) =>
      createRouter({
        service: () => own.service,
        log: (line) => this.RED.log.info(line),
        boundary: this.boundary,
      }),
    );
    takeBodyFailures(this.RED, path);
    httpNode.get(`/${path}/dashboard/token`, ...dashboardToken(this.RED, own));
    httpNode.get(`/${path}/enter`, enter(this.RED));
    router.catch((error: unknown) => this.RED.log.error(`nvr: the HTTP routes could not be loaded: ${textOf(error)}`));
    httpNode.use(`/${path}`, (request, response, next) => {
      const upgrade = this.upgrades.get(request);
      this.upgrades.delete(request); // it goes on once, whatever handlers before ours do
      if (upgrade) this.boundary.run('an upgrade', request.socket, upgrade);
      else router.then((handle) => handle(request, response, next), next);
    });
    if (this.listening || !server) return null; // Node-RED may be part of another program that has the server
    this.listening = true;
    limitConnections(server);
    // Before Node-RED's own: see `onUpgrade`.
    server.prependListener('upgrade', this.onUpgrade);
    return null;
  }

  /**
   * The owner's node is closed: its paths may be taken by others.
   * @param forGood no Deploy takes it up again, so that they answer no more
   */
  release(owner: string, forGood: boolean): void {
    for (const place of this.placesOf(owner)) {
      place.open = true;
      if (forGood) place.service = null;
    }
  }

  private placesOf(owner: string): Place[] {
    return [...this.places.values()].filter((place) => place.owner === owner);
  }

  /**
   * Comes before all other listeners. Node takes its own `error` listener off a socket that is upgraded, and Node-RED's
   * editor reads the address with `url.parse`, which throws on some of them: both would end the process.
   */
  private readonly onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    socket.on('error', () => socket.destroy());
    this.boundary.run('an upgrade', socket, () => {
      if (!(socket instanceof Socket)) return; // Node's servers pass nothing else
      if (isPlainPath(request.url) && !isAnswering(request, socket)) this.takeUpgrade(request, socket, head);
      else {
        socket.destroy();
        request.url = '/'; // for the listeners that come behind this one
      }
    });
  };

  /**
   * Upgrades to other paths are left alone: they belong to the editor, the dashboard or other nodes. Ours go through
   * Node-RED's own handlers first, as requests do, so that `httpNodeAuth` is for them too.
   */
  private takeUpgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    const { httpNodeRoot, inboundWebSocketTimeout } = this.RED.settings as {
      httpNodeRoot?: string | false;
      inboundWebSocketTimeout?: number;
    };
    const waitMs = Math.max(UPGRADE_MS, inboundWebSocketTimeout ?? 0);
    const root = (httpNodeRoot || '/').replace(/\/?$/, '/');
    const [pathname = ''] = (request.url ?? '').split('?');
    for (const [path, place] of this.places) {
      const prefix = `${root}${path}/`;
      if (!pathname.startsWith(`${prefix}live/`) && pathname !== `${prefix}feed`) continue;
      this.passOn(request, socket, waitMs, (opened) => {
        const run = async (): Promise<void> => {
          const { live, feed } = await this.sockets;
          const rest = pathname.slice(prefix.length);
          if (rest === 'feed') await feed.upgrade(place.service, request, socket, head);
          else await live.upgrade(place.service, rest, request, socket, head);
          opened();
        };
        run().catch((error: unknown) => this.boundary.run('a refusal', socket, () => refuseUpgrade(socket, error)));
      });
      return;
    }
    // Nobody may want it. Node-RED lets go of those itself, but not of one that had another answer before.
    const before = socket.bytesWritten;
    const cancel = this.clock.after(waitMs, () => {
      if (socket.bytesWritten === before) socket.destroy();
    });
    socket.once('close', cancel);
  }

  /**
   * Lets Node-RED's handlers see an upgrade as a request, and goes on if they let it through.
   * @param go opens the WebSocket, and calls back when it is open
   */
  private passOn(request: IncomingMessage, socket: Socket, waitMs: number, go: (opened: () => void) => void): void {
    if (request.httpVersion !== '1.1') {
      refuseUpgrade(socket, 400); // RFC 6455 §4.1
      return;
    }
    const cancel = this.clock.after(waitMs, () => socket.destroy());
    socket.once('close', cancel);
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    response.assignSocket(socket);
    response.on('error', () => socket.destroy());
    response.on('finish', () => finish(socket));
    this.upgrades.set(request, () => {
      response.detachSocket(socket);
      if (response.headersSent || socket.destroyed) finish(socket);
      else go(cancel);
    });
    this.RED.server.emit('request', request, response);
  }

  private loaded: Promise<Sockets> | null = null;
  private get sockets(): Promise<Sockets> {
    this.loaded ??= Promise.all([
      import('../../engine/http/live-socket.ts'),
      import('../../engine/http/feed-socket.ts'),
    ]).then(([{ LiveSockets }, { FeedSockets }]) => ({
      live: new LiveSockets(this.boundary),
      feed: new FeedSockets(this.boundary),
    }));
    return this.loaded;
  }
}

/** `/…`, and not what a parser may take for a host: `//host`, `/\host` or `http://host/`. */
function isPlainPath(address: string | undefined): boolean {
  return /^\/(?![/\\])/.test(address ?? '');
}

/** Whether an earlier request on this connection has no answer yet: nobody may send an upgrade behind one. */
function isAnswering(request: IncomingMessage, socket: Socket): boolean {
  const probe = new ServerResponse(request);
  try {
    probe.assignSocket(socket);
  } catch {
    return true; // ERR_HTTP_SOCKET_ASSIGNED is all it can throw
  }
  probe.detachSocket(socket);
  return false;
}
