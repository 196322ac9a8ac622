/**
 * Delivers what is in the store to its channels: at least once, again and again while there is no way, and a dead letter
 * when the other side will not have it. What is delivered is deleted only then.
 */
import type { Clock } from '../clock.ts';
import type { Bounds, NotifyStore, OutboxRow } from './notify-store.ts';
import { backoffMs } from './policy.ts';
import type { DeliveryMessage, Parcel } from './types.ts';

/** The other side has refused it. Anything else that is thrown means that there was no way to it. */
export class Refused extends Error {
  /** As the other side wished, ms. */
  readonly retryAfterMs: number | null;
  constructor(message: string, retryAfterMs: number | null = null) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** A way to deliver. */
export interface Channel {
  /** False while there is no connection: nothing is tried then. */
  readonly ready: boolean;
  /** Messages that may be under way at once. */
  readonly limit: number;
  /** Resolves when the other side has taken it. Rejects with {@link Refused}, or whatever kept it from getting there. */
  deliver(parcel: Parcel): Promise<void>;
  close(): Promise<void>;
}

/** Refusals after which a message is a dead letter. */
export const MAX_REFUSALS = 10;
const RETRY = { baseMs: 2000, maxMs: 15 * 60_000 };
/** While the other side cannot be reached. */
const UNREACHABLE = { baseMs: 1000, maxMs: 60_000 };
const BOUNDS: Bounds = { rows: 10_000, bytes: 100e6 };
const EXPIRES_MS = 7 * 24 * 3_600_000;
/** Waiting for a time further away is done in steps: the clock may be set. */
const LONGEST_MS = 60_000;

export interface OutboxEffects {
  clock: Clock;
  random: () => number;
  tell: (node: string, message: DeliveryMessage) => void;
  bounds?: Bounds;
}

interface Way {
  channel: Channel;
  sending: Set<number>;
  /** Times in a row that it could not be reached. */
  failures: number;
  pausedUntil: number;
  cancel: (() => void) | null;
}

export class Outbox {
  private readonly store: NotifyStore;
  private readonly effects: OutboxEffects;
  private readonly ways = new Map<string, Way>();

  constructor(store: NotifyStore, effects: OutboxEffects) {
    this.store = store;
    this.effects = effects;
  }

  /** Puts messages in; to be called in a transaction, and then {@link pump}. */
  put(node: string, parcels: readonly Parcel[]): void {
    const now = this.effects.clock.now();
    for (const parcel of parcels) this.store.put(node, parcel, now);
    for (const { channel, node: of, count } of this.store.bound(this.effects.bounds ?? BOUNDS)) {
      const problem = 'the outbox was full; the oldest were dropped';
      this.effects.tell(of, { type: 'delivery', state: 'dropped', channel, count, problem });
    }
  }

  /** What waits for this channel goes by it from now on. */
  open(id: string, channel: Channel): void {
    this.drop(id);
    this.ways.set(id, { channel, sending: new Set(), failures: 0, pausedUntil: 0, cancel: null });
    this.pump(id);
  }

  /** What waits for it goes on waiting. */
  drop(id: string): void {
    this.ways.get(id)?.cancel?.();
    this.ways.delete(id);
  }

  /** It is connected again: there is nothing to wait for. */
  connected(id: string): void {
    const way = this.ways.get(id);
    if (!way) return;
    way.failures = 0;
    way.pausedUntil = 0;
    this.pump(id);
  }

  pumpAll(): void {
    for (const id of this.ways.keys()) this.pump(id);
  }

  private pump(id: string): void {
    const way = this.ways.get(id);
    if (!way) return;
    way.cancel?.();
    way.cancel = null;
    const { clock } = this.effects;
    const now = clock.now();
    if (!way.channel.ready) return;
    // After failures one message tries the way for all.
    const limit = way.failures > 0 ? 1 : way.channel.limit;
    if (now >= way.pausedUntil && way.sending.size < limit) {
      const rows = this.store.waiting(id, now, way.channel.limit + way.sending.size);
      for (const row of rows) {
        if (way.sending.size >= limit) break;
        if (!way.sending.has(row.seq)) void this.send(id, way, row);
      }
    }
    const next = Math.max(way.pausedUntil > now ? way.pausedUntil : 0, this.store.nextDue(id, now) ?? 0);
    if (next > now) way.cancel = clock.after(Math.min(LONGEST_MS, next - now), () => this.pump(id));
  }

  private async send(id: string, way: Way, row: OutboxRow): Promise<void> {
    way.sending.add(row.seq);
    const { clock, random } = this.effects;
    const told = (state: 'delivered' | 'retry' | 'dead', attempts: number, problem: string | null): void => {
      const afterMs = Math.max(0, clock.now() - row.created);
      const of = { id: row.id, channel: row.channel, topic: row.topic };
      this.effects.tell(row.node, { type: 'delivery', state, ...of, attempts, problem, afterMs });
    };
    try {
      await way.channel.deliver(row);
      this.store.delivered(row.seq, row.node);
      way.failures = 0;
      told('delivered', row.attempts + 1, null);
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      const attempts = row.attempts + 1;
      if (!(error instanceof Refused)) {
        // Not its fault: it stays first in line, and the way rests.
        way.pausedUntil = clock.now() + backoffMs(way.failures, UNREACHABLE, random());
        if (way.failures === 0 && way.channel.ready) told('retry', row.attempts, problem);
        way.failures++;
      } else if (attempts >= MAX_REFUSALS) {
        this.store.bury(row.seq, problem);
        told('dead', attempts, problem);
      } else {
        const wait = Math.max(error.retryAfterMs ?? 0, backoffMs(row.attempts, RETRY, random()));
        this.store.retry(row.seq, clock.now() + wait, problem);
        way.failures = 0;
        told('retry', attempts, problem);
      }
    } finally {
      way.sending.delete(row.seq);
    }
    if (this.ways.get(id) === way) this.pump(id);
  }

  /** What waited too long is a dead letter, whether its channel is there or not. */
  tidy(): void {
    const now = this.effects.clock.now();
    for (const { id, channel, topic, node, attempts, created } of this.store.expire(now - EXPIRES_MS)) {
      const problem = 'it waited too long';
      this.effects.tell(node, {
        ...{ type: 'delivery', state: 'dead', id, channel, topic, attempts, problem, afterMs: now - created },
      });
    }
  }

  async close(): Promise<void> {
    const ways = [...this.ways.values()];
    for (const id of [...this.ways.keys()]) this.drop(id);
    await Promise.all(ways.map(({ channel }) => channel.close()));
  }
}
