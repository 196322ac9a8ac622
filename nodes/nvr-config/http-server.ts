/**
 * Puts the NVR's routes on Node-RED's server. Express has no way to take a route away, so each path is registered once
 * and asks for its NVR at every request; a Deploy changes only which that is.
 */
import { ServerResponse, type IncomingMessage, type Server } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { NodeAPI } from 'node-red';
import type { FeedSockets } from '../../engine/http/feed-socket.ts';
import type { LiveSockets } from '../../engine/http/live-socket.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { textOf } from '../shared/nvr.ts';
import { takeBodyFailures } from './body-failures.ts';
import { dashboardToken, type DashboardSettings } from './dashboard-access.ts';

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

export class HttpServer {
  private readonly RED: NodeAPI;
  private readonly places = new Map<string, Place>();
  /** Upgrades on their way through Node-RED's own handlers, and how to go on with each. */
  private readonly upgrades = new WeakMap<object, () => void>();
  private listening = false;

  constructor(RED: NodeAPI) {
    this.RED = RED;
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
      createRouter({ service: () => own.service, log: (line) => this.RED.log.info(line) }),
    );
    takeBodyFailures(this.RED, path);
    httpNode.get(`/${path}/dashboard/token`, ...dashboardToken(this.RED, own));
    router.catch((error: unknown) => this.RED.log.error(`nvr: the HTTP routes could not be loaded: ${textOf(error)}`));
    httpNode.use(`/${path}`, (request, response, next) => {
      const upgrade = this.upgrades.get(request);
      if (upgrade) upgrade();
      else router.then((handle) => handle(request, response, next), next);
    });
    if (this.listening || !server) return null; // Node-RED may be part of another program that has the server
    this.listening = true;
    server.on('upgrade', this.onUpgrade);
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
   * Upgrades to other paths are left alone: they belong to the editor, the dashboard or other nodes. Ours go through
   * Node-RED's own handlers first, as requests do, so that `httpNodeAuth` is for them too.
   */
  private readonly onUpgrade = (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
    const { httpNodeRoot } = this.RED.settings as { httpNodeRoot?: string | false };
    const root = (httpNodeRoot || '/').replace(/\/?$/, '/');
    const [pathname] = (request.url ?? '').split('?');
    for (const [path, place] of this.places) {
      const prefix = `${root}${path}/`;
      if (!pathname?.startsWith(`${prefix}live/`) && pathname !== `${prefix}feed`) continue;
      if (!(socket instanceof Socket)) return; // Node's servers pass nothing else
      const response = new ServerResponse(request);
      response.shouldKeepAlive = false;
      response.assignSocket(socket);
      response.on('finish', () => socket.end());
      this.upgrades.set(request, () => {
        response.detachSocket(socket);
        this.sockets.then(
          ({ live, feed }) => {
            const rest = pathname.slice(prefix.length);
            if (rest === 'feed') feed.upgrade(place.service, request, socket, head);
            else live.upgrade(place.service, rest, request, socket, head);
          },
          () => socket.destroy(),
        );
      });
      socket.on('error', () => socket.destroy());
      this.RED.server.emit('request', request, response);
      return;
    }
  };

  private loaded: Promise<Sockets> | null = null;
  private get sockets(): Promise<Sockets> {
    this.loaded ??= Promise.all([
      import('../../engine/http/live-socket.ts'),
      import('../../engine/http/feed-socket.ts'),
    ]).then(([{ LiveSockets }, { FeedSockets }]) => ({ live: new LiveSockets(), feed: new FeedSockets() }));
    return this.loaded;
  }
}
