/**
 * Stands between the dashboard's socket and Dashboard. That socket is asked by no login, and Dashboard passes on what comes:
 * it lets a client store a message for a widget, which all pages get from then on, and send one out of any node of the flow.
 */
import type { Node, NodeAPI } from 'node-red';

/** Of socket.io, as far as it is used here. */
interface Client {
  use(filter: (packet: unknown[], next: (error?: Error) => void) => void): unknown;
}
export interface IoServer {
  use(onClient: (client: Client, next: (error?: Error) => void) => void): unknown;
  of(namespace: string): { sockets: Map<string, Client> };
}

interface BaseNode extends Node {
  ui?: { widgets?: Map<string, unknown> };
}

/** Makes of what a page sent the message for the flow. Rejects if there is none to be made. */
export type Take = (given: unknown) => Promise<object>;

const MAX_ID = 200;
/** Of one client, waiting to be checked. */
const MAX_WAITING = 100;
const LOG_EVERY_MS = 60_000;
/** What Dashboard takes from pages. */
const LOAD = 'widget-load';
const ACTION = 'widget-action';
const TAKEN = [ACTION, 'widget-change', 'widget-send'];

export class SocketGuard {
  private readonly RED: NodeAPI;
  /** By the widget's id. */
  private readonly takers = new Map<string, Take>();
  private refused = 0;
  private toldMs = -Infinity;

  constructor(RED: NodeAPI, server: IoServer) {
    this.RED = RED;
    server.use((client, next) => {
      this.watch(client);
      next();
    });
    // Pages that were open before the first of our widgets was deployed.
    for (const client of server.of('/').sockets.values()) this.watch(client);
  }

  /** From now on this widget's actions are those that `take` resolves to. @returns how to end that */
  guard(id: string, take: Take): () => void {
    this.takers.set(id, take);
    return () => {
      if (this.takers.get(id) === take) this.takers.delete(id);
    };
  }

  private watch(client: Client): void {
    let last: Promise<void> = Promise.resolve();
    let waiting = 0;
    client.use((packet, next) => {
      const [event, id] = packet;
      if (event !== LOAD && !TAKEN.some((one) => one === event)) {
        next();
        return;
      }
      // Dashboard fails on ids that are no text, and Node-RED ends with it.
      if (typeof id !== 'string' || id.length > MAX_ID) {
        this.refuse('it names no widget');
        return;
      }
      const take = this.takers.get(id);
      if (event === LOAD || (!take && this.isWidget(id))) {
        next();
        return;
      }
      if (!take || event !== ACTION || waiting >= MAX_WAITING) {
        this.refuse(take ? `it is a ${String(event)}` : 'it is for a node that is no widget');
        return;
      }
      waiting++;
      // One after the other, so that they reach the flow in the order in which they were done.
      last = last
        .then(() => take(packet[2]))
        .then((message) => {
          packet.splice(2, packet.length, message);
          next();
        })
        .catch((error: unknown) => this.refuse(error instanceof Error ? error.message : String(error)))
        .finally(() => waiting--);
    });
  }

  /** Whether a dashboard shows such a widget. Dashboard does not ask, and would send out of any node. */
  private isWidget(id: string): boolean {
    let found = false;
    this.RED.nodes.eachNode(({ type, id: base }) => {
      if (found || type !== 'ui-base') return;
      found = (this.RED.nodes.getNode(base) as BaseNode | null)?.ui?.widgets?.has(id) ?? false;
    });
    return found;
  }

  private refuse(why: string): void {
    this.refused++;
    if (performance.now() < this.toldMs + LOG_EVERY_MS) return;
    this.toldMs = performance.now();
    this.RED.log.warn(`nvr: ${this.refused} message(s) on the dashboard's socket were dropped; of the last: ${why}`);
    this.refused = 0;
  }
}

const guards = new WeakMap<IoServer, SocketGuard>();

/** The guard of a dashboard's socket server: one for all widgets. */
export function guardOf(RED: NodeAPI, server: IoServer): SocketGuard {
  const known = guards.get(server) ?? new SocketGuard(RED, server);
  guards.set(server, known);
  return known;
}
