/** The catalogue thread as seen from the engine: rows go there, questions are answered, and it says when it is in order. */
import type { CutEvent } from '../events/event-store.ts';
import type { EventRequest, ToldEvent } from '../events/indexer.ts';
import type { CatalogReply, CatalogRequest } from '../thread/catalog-thread.ts';
import { EngineError, type Coverage } from '../types.ts';
import type { Catalog, GapRow } from './catalog.ts';

export type CatalogBackend = (onReply: (reply: CatalogReply) => void) => { send(request: CatalogRequest): void };
type Write = Extract<CatalogRequest, { write: unknown }>;

export interface CatalogListener {
  /** It is open, and what a crash left behind is in order. */
  ready(of: { openGaps: GapRow[]; cutEvents: CutEvent[] }): void;
  events(told: ToldEvent[]): void;
  problem(message: string | null): void;
}

export class CatalogLink {
  /** Rejected while it cannot be opened. */
  ready: Promise<void>;
  private readonly backend: { send(request: CatalogRequest): void };
  private readonly queries = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  private nextQuery = 1;

  constructor(backend: CatalogBackend, listener: CatalogListener) {
    let opened: () => void;
    let failed: (error: Error) => void;
    this.ready = new Promise((resolve, reject) => {
      opened = resolve;
      failed = reject;
    });
    this.ready.catch(() => undefined); // told as a problem, and again to whoever waits
    this.backend = backend((reply) => {
      if ('id' in reply) {
        const query = this.queries.get(reply.id);
        this.queries.delete(reply.id);
        if ('error' in reply) query?.reject(new EngineError(reply.code ?? 'catalog', reply.error));
        else query?.resolve(reply.result);
      } else if (reply.event === 'ready') {
        listener.ready(reply);
        if (reply.setAside) {
          listener.problem(`the catalogue was broken; it was moved to ${reply.setAside} and is rebuilt from the files`);
        }
        opened();
        this.ready = Promise.resolve(); // it may have failed before
      } else if (reply.event === 'events') {
        listener.events(reply.told);
      } else {
        listener.problem(reply.message);
        if (reply.event === 'failed') failed(new EngineError('catalog', reply.message));
      }
    });
  }

  /** What is written is written in this order; nobody waits for it. */
  write(write: Write['write'], ...args: Write['args']): void {
    this.backend.send({ write, args });
  }

  /** The cameras there are, and what is in the files that are being written. */
  live(live: Extract<CatalogRequest, { live: unknown }>['live']): void {
    this.backend.send({ live });
  }

  /** To be asked when it is {@link ready}, as events are. */
  async coverage(...args: Parameters<Catalog['coverage']>): Promise<Coverage> {
    return (await this.ask({ id: this.nextQuery++, query: 'coverage', args })) as Coverage;
  }

  /** Rejects with what is wrong with an event. */
  events(request: EventRequest): Promise<unknown> {
    return this.ask({ id: this.nextQuery++, query: 'events', args: [request] });
  }

  /** Resolves when all that was written is in the catalogue. */
  async flush(): Promise<void> {
    await this.ask({ id: this.nextQuery++, query: 'flush', args: [] });
  }

  private ask(request: Extract<CatalogRequest, { id: number }>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.queries.set(request.id, { resolve, reject });
      this.backend.send(request);
    });
  }
}
