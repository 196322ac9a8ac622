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
/** Nothing waits longer than that between two attempts: what seems to was put off before the clock was set back. */
const LONGEST_DELAY_MS = 65 * 60_000;
/** Remembered of a channel. */
const MAX_UNANSWERED = 1000;
/** The outbox itself cannot be written: its disk is full. */
const STORE_MS = 10_000;

export interface OutboxEffects {
  clock: Clock;
  random: () => number;
  tell: (node: string, message: DeliveryMessage) => void;
  problem: (message: string) => void;
  bounds?: Bounds;
}

interface Way {
  channel: Channel;
  /** By {@link keyOf}. */
  sending: Set<string>;
  /** Times in a row that it could not be reached. */
  failures: number;
  deliveries: number;
  /** Those that got no answer, by {@link keyOf}, and how many others had been delivered then. */
  unanswered: Map<string, number>;
  /** On the monotonic clock. */
  pausedUntil: number;
  cancel: (() => void) | null;
}

/** A number is given again when its message was thrown away. */
const keyOf = ({ seq, id }: OutboxRow): string => `${seq} ${id}`;

export class Outbox {
  private readonly store: NotifyStore;
  private readonly effects: OutboxEffects;
  private readonly ways = new Map<string, Way>();
  /** Delivered, but still in the store, which could not be written then. */
  private readonly gone = new Map<string, OutboxRow>();
  private cancel: (() => void) | null = null;

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
    const nothing = { sending: new Set<string>(), unanswered: new Map<string, number>(), deliveries: 0, failures: 0 };
    this.ways.set(id, { channel, ...nothing, pausedUntil: -Infinity, cancel: null });
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
    way.pausedUntil = -Infinity;
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
    if (!way.channel.ready) return;
    const { clock } = this.effects;
    const now = clock.now();
    const pause = way.pausedUntil - clock.monotonic();
    // After failures one message tries the way for all.
    const limit = way.failures > 0 ? 1 : way.channel.limit;
    if (pause <= 0 && way.sending.size < limit) {
      const skipped = way.sending.size + way.unanswered.size + this.gone.size;
      const rows = this.store
        .waiting(id, now, way.channel.limit + skipped)
        .filter((row) => !way.sending.has(keyOf(row)) && !this.gone.has(keyOf(row)));
      // Of those that wait, one that has not failed yet says more about the way.
      rows.sort((a, b) => Number(way.unanswered.has(keyOf(a))) - Number(way.unanswered.has(keyOf(b))));
      for (const row of rows.slice(0, limit - way.sending.size)) {
        void this.send(way, row)
          .catch(this.onStoreError)
          .finally(() => {
            if (this.ways.get(id) === way) this.pump(id);
          });
      }
    }
    // What is on its way looks again when it is there.
    const next = pause > 0 ? pause : (this.store.nextDue(id, now) ?? now) - now;
    if (next > 0) way.cancel = clock.after(Math.min(LONGEST_MS, next), () => this.pump(id));
  }

  private async send(way: Way, row: OutboxRow): Promise<void> {
    way.sending.add(keyOf(row));
    let error: unknown = null;
    try {
      await way.channel.deliver(row);
    } catch (thrown) {
      error = thrown ?? new Error('it could not be delivered');
    }
    try {
      if (error === null) this.delivered(way, row);
      else if (error instanceof Refused) this.answered(way, row, error);
      else this.unreached(way, row, error instanceof Error ? error.message : JSON.stringify(error));
    } catch (failed) {
      way.pausedUntil = this.effects.clock.monotonic() + STORE_MS;
      throw failed;
    } finally {
      way.sending.delete(keyOf(row));
    }
  }

  private delivered(way: Way, row: OutboxRow): void {
    way.failures = 0;
    way.deliveries++;
    way.unanswered.delete(keyOf(row));
    this.gone.set(keyOf(row), row);
    this.settle();
    this.told(row, 'delivered', row.attempts + 1, null);
  }

  private answered(way: Way, row: OutboxRow, { message, retryAfterMs }: Refused): void {
    way.failures = 0;
    way.unanswered.delete(keyOf(row));
    this.refused(row, message, retryAfterMs);
  }

  private refused(row: OutboxRow, problem: string, retryAfterMs: number | null): void {
    const { clock, random } = this.effects;
    const attempts = row.attempts + 1;
    if (attempts >= MAX_REFUSALS) {
      this.store.bury(row, problem);
      this.told(row, 'dead', attempts, problem);
      return;
    }
    const wait = Math.max(retryAfterMs ?? 0, backoffMs(row.attempts, RETRY, random()));
    this.store.retry(row, clock.now() + wait, problem);
    this.told(row, 'retry', attempts, problem);
  }

  private unreached(way: Way, row: OutboxRow, problem: string): void {
    const { clock, random } = this.effects;
    const before = way.unanswered.get(keyOf(row));
    way.unanswered.set(keyOf(row), way.deliveries);
    if (before !== undefined && before < way.deliveries) {
      // Others got through since it did not the last time: it is not the way that is at fault.
      this.refused(row, problem, null);
      return;
    }
    for (const [key] of way.unanswered) if (way.unanswered.size > MAX_UNANSWERED) way.unanswered.delete(key);
    // Not its fault, as far as is known: it counts as no attempt, and the way rests.
    way.pausedUntil = clock.monotonic() + backoffMs(way.failures, UNREACHABLE, random());
    if (way.failures === 0 && way.channel.ready) this.told(row, 'retry', row.attempts, problem);
    way.failures++;
  }

  private told(
    { id, node, channel, topic, created }: OutboxRow,
    state: 'delivered' | 'retry' | 'dead',
    attempts: number,
    problem: string | null,
  ): void {
    const afterMs = Math.max(0, this.effects.clock.now() - created);
    this.effects.tell(node, { type: 'delivery', state, id, channel, topic, attempts, problem, afterMs });
  }

  /** Takes what is delivered out of the store; on a full disk, as soon as that can be. It is not sent again meanwhile. */
  private settle(): void {
    this.cancel?.();
    this.cancel = null;
    try {
      for (const [key, row] of this.gone) {
        this.store.delivered(row);
        this.gone.delete(key);
      }
    } catch (error) {
      this.onStoreError(error);
      this.cancel = this.effects.clock.after(STORE_MS, () => this.settle());
    }
  }

  private readonly onStoreError = (error: unknown): void => {
    this.effects.problem(`the outbox cannot be written: ${error instanceof Error ? error.message : String(error)}`);
  };

  /** What waited too long is a dead letter, whether its channel is there or not. */
  tidy(): void {
    const now = this.effects.clock.now();
    for (const row of this.store.expire(now - EXPIRES_MS)) {
      if (!this.gone.has(keyOf(row))) this.told(row, 'dead', row.attempts, 'it waited too long');
    }
    this.store.hasten(now, now + LONGEST_DELAY_MS);
  }

  async close(): Promise<void> {
    this.cancel?.();
    const ways = [...this.ways.values()];
    for (const id of [...this.ways.keys()]) this.drop(id);
    await Promise.all(ways.map(({ channel }) => channel.close()));
  }
}
