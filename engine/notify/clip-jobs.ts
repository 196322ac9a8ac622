/** From events to clips that are due: bundled, held back by the policy, and not forgotten by a restart. */
import type { Clock } from '../clock.ts';
import { EngineError } from '../types.ts';
import { backoffMs, cooldownKeys, joins, suppression, updated, wantedAt } from './policy.ts';
import type { NotifyStore } from './notify-store.ts';
import type { ClipEvent, ClipJob, NotifyPolicy, Suppression } from './types.ts';

/** Clips that are made at the same time, of all nodes. */
const AT_ONCE = 4;
/** Of a node. */
const MAX_JOBS = 5000;
/** Of one message. */
const MAX_TOGETHER = 16;
const MINUTE_MS = 60_000;
const DAY_MS = 24 * 3_600_000;
/** So long an event is known, and not told a second time. */
const KNOWN_MS = 30 * DAY_MS;
/** A clip whose node is not there for so long is not wanted any more. */
const ABANDONED_MS = 7 * DAY_MS;
const RETRY = { baseMs: 1000, maxMs: MINUTE_MS };
/** setTimeout knows no longer times. */
const LONGEST_MS = 3_600_000;

export interface Effects {
  clock: Clock;
  random: () => number;
  due: (job: ClipJob) => void;
}

export class ClipJobs {
  private readonly store: NotifyStore;
  private readonly effects: Effects;
  private readonly policies = new Map<string, NotifyPolicy>();
  /** Passed on, by the node they were passed to. */
  private readonly making = new Map<number, string>();
  /** Those that are to be looked at again soon, and when, on the monotonic clock: too often for the disk. */
  private readonly soon = new Map<number, number>();
  private cancel: (() => void) | null = null;

  constructor(store: NotifyStore, effects: Effects) {
    this.store = store;
    this.effects = effects;
  }

  /** From now on the node's clips are made by it; null when it is gone, until it is back. */
  setNode(node: string, policy: NotifyPolicy | null): void {
    if (policy) this.policies.set(node, policy);
    else this.policies.delete(node);
    // What its predecessor had begun, it begins anew.
    for (const [job, of] of this.making) if (of === node) this.making.delete(job);
    this.look();
  }

  get nodes(): ReadonlyMap<string, NotifyPolicy> {
    return this.policies;
  }

  /**
   * Why no message will come of it; null when one will, or did. An event that is known is brought up to date. Throws `busy`
   * for one that somebody waits for when there are too many.
   */
  submit(node: string, event: ClipEvent): Suppression | null {
    const policy = this.policies.get(node);
    if (!policy) throw new EngineError('no-node', 'this node has been replaced');
    const now = this.effects.clock.now();
    const result = this.store.transaction(() => this.enter(node, policy, event, now));
    this.look();
    return result;
  }

  private enter(node: string, policy: NotifyPolicy, event: ClipEvent, now: number): Suppression | null {
    const { store } = this;
    const known = store.seen(node, event.eventId);
    if (known) {
      const job = known.job === null ? null : store.job(known.job);
      // What is being made already stays as it is: its message is about to be sent.
      if (job && !this.making.has(job.id)) {
        const events = job.events.map((of) => (of.eventId === event.eventId ? updated(of, event) : of));
        store.changeJob(job.id, events, wantedAt(events, policy, job.created));
      }
      return known.suppressed as Suppression | null;
    }
    const cooldownSince = (key: string): number | null => store.cooldownSince(node, key);
    const around = store
      .jobsAround(node, event.start - policy.groupMs, event.start + policy.groupMs)
      .find(
        (job) =>
          !this.making.has(job.id) && job.events.length < MAX_TOGETHER && joins(event, job.events, policy.groupMs),
      );
    // What is told together with another is no message of its own.
    const inLastMinute = around ? 0 : store.messagesSince(node, now - MINUTE_MS, now);
    let why = suppression(event, policy, { cooldownSince, inLastMinute }, now);
    if (!why && !around && store.jobCount(node) >= MAX_JOBS) {
      // Whoever waits for it can send it again.
      if (event.exempt) throw new EngineError('busy', `${MAX_JOBS} clips wait to be made: send this event again later`);
      why = 'job-limit';
    }
    if (why) {
      store.see(node, event.eventId, now, null, why);
      store.count(node, why, 1);
      return why;
    }
    for (const key of cooldownKeys(event)) store.cool(node, key, now);
    let id: number;
    if (around) {
      const events = [...around.events, event];
      id = around.id;
      store.changeJob(id, events, wantedAt(events, policy, around.created));
    } else {
      id = store.addJob(node, [event], wantedAt([event], policy, now), now);
    }
    store.see(node, event.eventId, now, id, null);
    return null;
  }

  /** Passes on what is due. */
  look(): void {
    this.cancel?.();
    this.cancel = null;
    const { clock } = this.effects;
    const [now, monotonic] = [clock.now(), clock.monotonic()];
    for (const job of this.store.dueJobs(now)) {
      if (this.making.size >= AT_ONCE) break; // whatever ends looks again
      if (this.making.has(job.id) || !this.policies.has(job.node) || (this.soon.get(job.id) ?? -Infinity) > monotonic) {
        continue;
      }
      this.soon.delete(job.id);
      this.making.set(job.id, job.node);
      this.effects.due(job);
    }
    const soon = [...this.soon.values()].filter((at) => at > monotonic).map((at) => at - monotonic);
    const next = Math.min((this.store.nextJob(now) ?? Infinity) - now, ...soon);
    if (next === Infinity) return;
    this.cancel = clock.after(Math.min(LONGEST_MS, Math.max(1, next)), () => this.look());
  }

  /** It could not be made. @param problem null when there is only more to wait for, `afterMs` */
  later(id: number, problem: string | null, afterMs: number | null): void {
    const { clock } = this.effects;
    // First of all: a disk that is full must not keep its place among those that are made.
    this.making.delete(id);
    this.soon.set(id, clock.monotonic() + (afterMs ?? RETRY.maxMs));
    try {
      if (problem !== null || afterMs === null) {
        const wait = afterMs ?? backoffMs(this.store.job(id)?.attempts ?? 0, RETRY, this.effects.random());
        this.soon.set(id, clock.monotonic() + wait);
        this.store.delayJob(id, clock.now() + wait, problem);
      }
    } finally {
      this.look();
    }
  }

  /** It is made and told. To be called in the transaction that puts its messages into the outbox. */
  finish(id: number): void {
    this.soon.delete(id);
    this.store.removeJob(id);
  }

  /** Behind that transaction. */
  finished(id: number): void {
    this.making.delete(id);
    this.look();
  }

  tidy(): void {
    const now = this.effects.clock.now();
    this.store.forget(now - KNOWN_MS, now - ABANDONED_MS);
  }

  close(): void {
    this.cancel?.();
  }
}
