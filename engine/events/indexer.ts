/**
 * Writes what the event-index nodes ask for, many in one transaction: those that come within a few milliseconds wait for each
 * other, and each is answered when it is on disk. Runs in the catalogue thread.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { EngineError, type StreamName, type TimeRange } from '../types.ts';
import { EventQuery, type EventCursor, type EventFilter } from './event-query.ts';
import type { EventChange, IndexSpec } from './event-store.ts';
import { footageOf, footageProblems, isSettled, sharedSource, type FootageSource } from './footage.ts';
import type { IncomingEvent, TagSample } from './incoming.ts';
import type { IndexedEvent } from './types.ts';

/** What nodes ask of the index. */
export interface EventCalls {
  /** A node is there, and tells of its events from now on; null: not any more. */
  open(node: string, spec: IndexSpec | null): void;
  /** @returns the event's id */
  put(node: string, event: IncomingEvent, arrival: number): string;
  tag(node: string, sample: TagSample, arrival: number): void;
  /** One event, or what a query finds from a cursor on, {@link MAX_AT_ONCE} at a time. @returns how many were not before */
  acknowledge(
    which: string | EventFilter,
    after: EventCursor | null,
    who: string,
    at: number,
    node: string | null,
  ): { acknowledged: number; next: EventCursor | null };
  annotate(eventId: string, who: string, at: number, text: string, node: string | null): void;
  releaseHold(eventId: string): void;
  /** These were told to be complete. */
  told(rows: number[]): void;
}

export type EventRequest = { [K in keyof EventCalls]: { call: K; args: Parameters<EventCalls[K]> } }[keyof EventCalls];

/** What changed, for whom, and with `row` for who says that it was told. */
export interface ToldEvent {
  event: IndexedEvent;
  node: string | null;
  row: number;
}

/** What is known of cameras now. */
export interface LiveState {
  cameras: string[];
  /** What is in the files that are being written. */
  open: (TimeRange & { camera: string; stream: StreamName })[];
}

export interface IndexerEffects {
  now(): number;
  after(ms: number, call: () => void): void;
  tell(told: ToldEvent[]): void;
  problem(message: string | null): void;
  /** False while other rows wait for the disk. */
  isFree(): boolean;
}

type Answer = { result: unknown } | { error: { code: string; message: string } };

export const MAX_AT_ONCE = 1000;
const BATCH_MS = 4;
const RETRY_MS = 1000;
/** What may wait for a disk that is full; beyond it senders are refused, and may try again. */
const MAX_WAITING = 20_000;
const MAX_BATCH = 500;
/** Looked at each second; events without footage are among them for some seconds. */
const MAX_DUE = 4000;
/** Told each second. */
const MAX_TOLD = 500;
const CLEAN_MS = 60_000;
const FORGET_DUE_MS = 86_400_000;
const PRUNE = 500;

export class Indexer {
  private readonly catalog: Catalog;
  private readonly effects: IndexerEffects;
  private readonly query: EventQuery;
  private readonly specs = new Map<string, IndexSpec>();
  private readonly waiting: { request: EventRequest; answer: (answer: Answer) => void }[] = [];
  private planned = false;
  private live: LiveState = { cameras: [], open: [] };
  /** Complete events that were told, and of which nobody has said so yet. */
  private readonly telling = new Set<number>();
  private cleaned: number;
  /** How long events are kept: as the nodes wish that were there last. Null while none ever was: then nothing goes by its age. */
  private keepMs: number | null = null;

  constructor(catalog: Catalog, effects: IndexerEffects) {
    this.catalog = catalog;
    this.effects = effects;
    this.cleaned = effects.now();
    this.query = new EventQuery((text) => catalog.sql(text));
    this.indexOld();
  }

  get isIdle(): boolean {
    return this.waiting.length === 0;
  }

  ask(request: EventRequest, answer: (answer: Answer) => void): void {
    if (this.waiting.length >= MAX_WAITING) {
      answer({ error: { code: 'busy', message: 'too many events wait for the disk: send this one again later' } });
      return;
    }
    this.waiting.push({ request, answer });
    this.plan(BATCH_MS);
  }

  private plan(ms: number): void {
    if (this.planned) return;
    this.planned = true;
    this.effects.after(ms, () => {
      this.planned = false;
      this.flush();
    });
  }

  /** Writes what waits. */
  flush(): void {
    if (this.waiting.length === 0) return;
    if (!this.effects.isFree()) {
      this.plan(RETRY_MS);
      return;
    }
    const batch = this.waiting.slice(0, MAX_BATCH);
    const answers: Answer[] = [];
    const changes: EventChange[] = [];
    const { db } = this.catalog;
    try {
      // Who sent an event forgets it when it is answered: it must outlast a power cut.
      db.pragma('synchronous = FULL');
      this.catalog.transaction(() => {
        for (const { request } of batch) answers.push(this.attempt(request, changes));
      });
    } catch (error) {
      this.catalog.events.recount();
      this.effects.problem(`events cannot be written: ${(error as Error).message}`);
      this.plan(RETRY_MS);
      return;
    } finally {
      db.pragma('synchronous = NORMAL');
    }
    this.waiting.splice(0, batch.length);
    this.effects.problem(null);
    this.changed(changes);
    batch.forEach(({ answer }, i) => answer(answers[i]!));
    if (this.waiting.length > 0) this.plan(0);
  }

  /** What is wrong with one is no matter of the others; what is wrong with the disk is one of all. */
  private attempt(request: EventRequest, changes: EventChange[]): Answer {
    const before = changes.length;
    try {
      // A transaction inside of one is a savepoint.
      return { result: this.catalog.db.transaction(() => this.run(request, changes))() };
    } catch (error) {
      changes.length = before;
      this.catalog.events.recount();
      const { code = '', message } = error as { code?: string; message: string };
      if (!(error instanceof EngineError) && /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM)/.test(code))
        throw error;
      return { error: { code: error instanceof EngineError ? error.code : 'error', message } };
    }
  }

  private run(request: EventRequest, changes: EventChange[]): unknown {
    const { events, tags } = this.catalog;
    const add = (change: EventChange | null): void => {
      if (change) changes.push(change);
    };
    switch (request.call) {
      case 'open': {
        const [node, spec] = request.args;
        if (spec) this.specs.set(node, spec);
        else this.specs.delete(node);
        // Not while nodes come and go: those that are not back yet may want to keep more.
        this.cleaned = this.effects.now();
        return null;
      }
      case 'put': {
        const [node, event, arrival] = request.args;
        const change = events.put(event, this.spec(node), this.isCamera, arrival);
        add(change);
        return change?.record.eventId ?? event.eventId;
      }
      case 'tag': {
        const [node, sample, arrival] = request.args;
        tags.put(sample, this.spec(node).deadband, arrival);
        return null;
      }
      case 'acknowledge': {
        const [which, after, who, at, node] = request.args;
        const one = typeof which === 'string';
        const { ids, next } = one
          ? { ids: [which], next: null }
          : this.query.ids({ ...which, acknowledged: false }, after, MAX_AT_ONCE);
        const done = ids.map((id) => events.acknowledge(id, who, at, node)).filter((change) => change !== null);
        done.forEach(add);
        return { acknowledged: done.length, next };
      }
      case 'annotate':
        add(events.annotate(...request.args));
        return null;
      case 'releaseHold':
        events.releaseHold(...request.args);
        return null;
      case 'told': {
        const [rows] = request.args;
        events.told(rows);
        for (const row of rows) this.telling.delete(row);
        return null;
      }
    }
  }

  private spec(node: string): IndexSpec {
    const spec = this.specs.get(node);
    if (!spec) throw new EngineError('engine', 'the event index is being started; try again');
    return spec;
  }

  private readonly isCamera = (id: string): boolean =>
    this.live.cameras.includes(id) || this.catalog.sql('SELECT 1 FROM camera WHERE key = ?').get(id) !== undefined;

  /** What changed is told, with the footage as far as it is there. */
  changed(changes: readonly EventChange[]): void {
    if (changes.length === 0) return;
    const source = this.source(changes);
    this.effects.tell(changes.map((change) => this.told(change, source)));
  }

  private told({ row, phase, record, node, problems }: EventChange, source: FootageSource): ToldEvent {
    const footage = footageOf(record, source, this.effects.now(), phase === 'complete');
    const all = [...problems, ...footageProblems(footage)];
    return { row, node, event: { ...record, type: record.kind, phase, footage, problems: all } };
  }

  /** For what is told or looked at together. */
  private source(changes: readonly EventChange[]): FootageSource {
    const now = this.effects.now();
    const source: FootageSource = {
      isCamera: this.isCamera,
      coverage: (camera, stream, range) => {
        const open = this.live.open.filter((one) => one.camera === camera && one.stream === stream);
        return this.catalog.coverage(camera, stream, range, open, now);
      },
    };
    const records = changes.map(({ record }) => record);
    return sharedSource(source, records, now);
  }

  /** Every second: what is complete now is told, and what is too old forgotten. */
  tick(live: LiveState): void {
    this.live = live;
    if (!this.effects.isFree()) return;
    const now = this.effects.now();
    try {
      const waiting = this.catalog.events
        .due(now, [...this.specs.keys()], MAX_DUE)
        .filter(({ row }) => !this.telling.has(row));
      const source = this.source(waiting);
      const due = waiting.filter(({ record }) => isSettled(record, source, now)).slice(0, MAX_TOLD);
      for (const { row } of due) this.telling.add(row);
      this.changed(due);
      if (now - this.cleaned < CLEAN_MS && now >= this.cleaned) return;
      this.cleaned = now;
      if (this.specs.size > 0) this.keepMs = Math.max(...[...this.specs.values()].map((spec) => spec.keepMs));
      const before = this.keepMs === null ? 0 : now - this.keepMs;
      this.catalog.transaction(() => {
        this.catalog.events.dropEndedHolds(now);
        this.catalog.events.forgetDue(now - FORGET_DUE_MS, [...this.specs.keys()]);
        this.catalog.tags.prune(before);
      });
      this.prune(before);
    } catch (error) {
      this.effects.problem(`the event index: ${(error as Error).message}`);
    }
  }

  /** A batch after the other, so that rows of recordings come between. */
  private prune(before: number): void {
    if (this.catalog.transaction(() => this.catalog.events.prune(before, PRUNE)) < PRUNE) return;
    this.effects.after(0, () => this.prune(before));
  }

  private indexOld(): void {
    if (this.catalog.transaction(() => this.catalog.events.indexOld(PRUNE)))
      this.effects.after(0, () => this.indexOld());
  }
}
