/**
 * Does what the rules say: plans once a minute (at once when room runs out), announces, waits for a veto, and deletes in
 * small batches, so that whoever records hardly ever waits for the catalogue. Runs in a thread of its own.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../clock.ts';
import { EngineError } from '../types.ts';
import type { DeletionStore, Marked } from './deletion-store.ts';
import { deleteMarked, type FileEffects } from './deletion.ts';
import { AgeClock } from './age-clock.ts';
import type { Folders } from './folders.ts';
import { isEmergency, runsShort, shortOf } from './room.ts';
import { applicable, forecast, MAX_PLANNED, planFrom } from './rules.ts';
import type { Room } from './place.ts';
import { isBucket } from './tiers.ts';
import { Shares, sharesOf } from './shares.ts';
import type { FootageSource } from './source.ts';
import type { Tiering } from './tiering.ts';
import { filesToShow } from './thumbnails.ts';
import type { Upkeep } from './upkeep.ts';
import type { BackupReport, CheckOptions, CheckReport, CopyReport } from '../upkeep/types.ts';
import type {
  Hold,
  Plan,
  Planned,
  Preview,
  RetentionMessage,
  RetentionSpec,
  RuleSet,
  RunResult,
  Space,
  Still,
  WriteRate,
} from './types.ts';

export interface RetentionEffects {
  clock: Clock;
  store: DeletionStore;
  /** The footage as it is now. */
  source(): FootageSource;
  files: FileEffects;
  /** What is known of the storage folders; absent where asking them keeps nobody. */
  folders?: Pick<Folders, 'look' | 'problem'>;
  /** Every storage folder that is there, configured or known from footage; without tiers. */
  storages(): string[];
  /** Folders that are recorded to, whether they are there or not. */
  recorded: readonly string[];
  /** Where footage goes when it gets older; absent where it stays. */
  tiering?: Pick<
    Tiering,
    'set' | 'run' | 'relieve' | 'plan' | 'has' | 'roomOf' | 'folders' | 'states' | 'problem' | 'close'
  >;
  /** Its disk; null when it cannot be asked. */
  diskOf(storage: string): Room | null;
  tell(message: RetentionMessage): void;
  /** After a batch, outside of transactions. */
  settle(): void;
  /** Forgets rows of times without footage, a short transaction a step. */
  prune: (holds: readonly Hold[], now: number) => Iterable<number>;
  /** A small picture of a file; null when there is none. */
  still(of: Planned): Promise<Still | null>;
  upkeep: Pick<Upkeep, 'set' | 'check' | 'compare' | 'cancel' | 'backUp' | 'copy' | 'close' | 'problem'>;
}

export const PASS_MS = 60_000;
const CHECK_MS = 5000;
/** A transaction should be done in this; the size of batches is chosen so. */
const LOCK_MS = 4;
const MIN_BATCH = 10;
const MAX_BATCH = 50;
/** Announced files that wait for a veto. */
const MAX_PENDING = 20_000;
const MAX_HOLDS = 1000;
/** Others get as much time as a batch took, and at least this. */
const PAUSE_MS = 5;
const PRUNE_MS = 3_600_000;
/** Holds that ended are remembered for as long. */
const ENDED_HOLD_MS = 30 * 86_400_000;

/** A file that cannot be deleted is tried again after this. */
const STUCK_MS = 3_600_000;
const MAX_STUCK = 10_000;
const STRANGE_DAYS = 30;

interface Announcement {
  id: string;
  /** On the monotonic clock: the wall clock may be set meanwhile. */
  due: number;
  items: Planned[];
  /** They stay until they are somewhere else. */
  copying: boolean;
}

export type NewHold = Omit<Hold, 'id' | 'created'>;

export class Retention {
  private readonly effects: RetentionEffects;
  private spec: RetentionSpec | null = null;
  private rates: readonly WriteRate[] = [];
  private readonly ages: AgeClock;
  private pending: Announcement[] = [];
  /** Files that cannot be deleted, and until when they are left alone. */
  private readonly stuck = new Map<number, number>();
  private running: Promise<RunResult> | null = null;
  private lastPass = -Infinity;
  private lastPrune = -Infinity;
  private lastPlan: Pick<Plan, 'blocked' | 'unmet'> = { blocked: false, unmet: [] };
  private problem: string | null = null;
  private batch = MIN_BATCH;
  /** Of the batch, and of the run. */
  private lockMs = 0;
  private longest = { lockMs: 0, planMs: 0 };
  private closed = false;
  private cancelCheck: () => void;

  constructor(effects: RetentionEffects) {
    this.effects = effects;
    this.ages = new AgeClock(effects.clock, effects.store.believed());
    this.cancelCheck = effects.clock.after(CHECK_MS, () => this.check());
  }

  /** How long a transaction took, for the size of the next batch. */
  locked(ms: number): void {
    this.lockMs = Math.max(this.lockMs, ms);
    this.longest.lockMs = Math.max(this.longest.lockMs, ms);
  }

  /** Null: nothing is deleted any more. What was announced under other rules is announced anew. */
  set(spec: RetentionSpec | null): void {
    if (JSON.stringify(spec) === JSON.stringify(this.spec)) return;
    this.effects.upkeep.set(spec?.backup ?? null);
    this.spec = spec;
    this.pending = [];
    this.lastPass = -Infinity;
    this.effects.tiering?.set(spec);
  }

  setRates(rates: readonly WriteRate[]): void {
    this.rates = rates;
  }

  /** Deletes what is to be deleted now; one run at a time. Rejects with `no-rules`. */
  run(): Promise<RunResult> {
    this.running ??= this.pass().finally(() => (this.running = null));
    return this.running;
  }

  /** What such rules would do now. */
  preview(rules: RuleSet): Preview {
    const now = this.ages.now();
    const space = this.space();
    const holds = this.effects.store.kept(now);
    const source = this.effects.source();
    const set = applicable(rules, this.effects.recorded, space);
    const { items, complete } = planFrom(source, set, holds, now, space);
    return {
      rules: forecast(source, set, holds, now, space, this.ratesByCamera()),
      shares: sharesOf(items).list,
      complete,
      moves: movesOf(this.effects.tiering?.plan(rules, space, true) ?? []),
    };
  }

  /** Throws `bad-hold` or `too-many-holds`. */
  hold(hold: NewHold): Hold {
    if (!(hold.end > hold.start)) throw new EngineError('bad-hold', 'the end of a hold must be later than its start');
    const { store, clock } = this.effects;
    if (store.holds().length >= MAX_HOLDS) {
      throw new EngineError('too-many-holds', `there are ${MAX_HOLDS} holds already: release some`);
    }
    const made = { ...hold, id: randomUUID(), created: clock.now() };
    store.putHold(made);
    this.effects.tell({ type: 'hold', phase: 'start', hold: made });
    return made;
  }

  /** Throws `no-hold`. */
  release(id: string): Hold {
    const hold = this.effects.store.holds().find((one) => one.id === id);
    if (!hold) throw new EngineError('no-hold', `there is no hold ${id}: the command holds lists them`);
    this.effects.store.dropHold(id);
    this.effects.tell({ type: 'hold', phase: 'end', hold });
    return hold;
  }

  holds(): Hold[] {
    return this.effects.store.holds();
  }

  /** Holds what an announcement (all of them when null) would delete of a camera (of all when null). Throws `no-announcement`. */
  veto(id: string | null, camera: string | null, why: Pick<Hold, 'name' | 'until' | 'who' | 'why'>): Hold[] {
    const vetoed = this.pending.filter((one) => id === null || one.id === id);
    const items = vetoed.flatMap((one) => one.items).filter((item) => camera === null || item.camera === camera);
    if (items.length === 0) {
      throw new EngineError(
        'no-announcement',
        'nothing that is announced now would be kept by this: it may be gone already',
      );
    }
    const ranges = new Map<string, { start: number; end: number }>();
    for (const { camera: of, start, end } of items) {
      const range = ranges.get(of);
      // A file without length is held from just before it to just after.
      ranges.set(of, {
        start: Math.min(range?.start ?? start, start),
        end: Math.max(range?.end ?? end, end, start + 1),
      });
    }
    const kept = new Set(items.map((item) => item.id));
    for (const one of vetoed) one.items = one.items.filter((item) => !kept.has(item.id));
    return [...ranges].map(([of, range]) => this.hold({ ...why, camera: of, ...range }));
  }

  /**
   * Copies what was announced somewhere else; then it goes at once. Rejects with `no-announcement`, `busy`, or what went
   * wrong: then all of it stays as long as if it had been announced just now.
   */
  async copy(id: string, folder: string): Promise<CopyReport> {
    const { clock, store, upkeep } = this.effects;
    const one = this.pending.find((announcement) => announcement.id === id);
    if (!one || one.items.length === 0) {
      throw new EngineError('no-announcement', `nothing is announced as ${id}: it may be gone already, or be held`);
    }
    const remote = one.items.find(({ storage }) => isBucket(storage));
    if (remote) {
      throw new EngineError(
        'copy',
        `a part of it lies in ${remote.storage}, from where nothing is copied: hold it with a veto, and fetch it there`,
      );
    }
    if (one.copying) throw new EngineError('busy', 'this is being copied already: wait until it is done');
    one.copying = true;
    try {
      const report = await upkeep.copy(id, store.filesOf(one.items), folder);
      one.due = clock.monotonic();
      one.copying = false;
      await this.running?.catch(() => undefined);
      await this.run();
      return report;
    } catch (error) {
      if (one.copying) one.due = Math.max(one.due, clock.monotonic() + this.vetoMs);
      throw error;
    } finally {
      one.copying = false;
    }
  }

  /** Compares catalogue and files. Rejects with `busy` or `cancelled`. */
  compare(options: CheckOptions): Promise<CheckReport> {
    return this.effects.upkeep.compare(options);
  }

  /** False when none was under way. */
  cancelCompare(): boolean {
    return this.effects.upkeep.cancel('check');
  }

  /** Rejects with `busy`, or what went wrong. */
  backUp(): Promise<BackupReport> {
    return this.effects.upkeep.backUp();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.cancelCheck();
    this.effects.tiering?.close();
    this.effects.upkeep.close();
    await this.running?.catch(() => undefined);
  }

  private check(): void {
    if (this.closed) return;
    this.cancelCheck = this.effects.clock.after(CHECK_MS, () => this.check());
    if (!this.spec) return;
    this.effects.upkeep.check();
    const { folders } = this.effects;
    if (folders) void folders.look().then(() => this.runIfDue());
    else this.runIfDue();
  }

  private runIfDue(): void {
    if (this.closed || !this.spec || this.running) return;
    const now = this.effects.clock.monotonic();
    const since = now - this.lastPass;
    const due = this.pending.some((one) => one.due <= now && !one.copying);
    if (since < PASS_MS && !due && !this.isUrgent(this.spec)) return;
    this.run().catch((error: unknown) => {
      this.problem = error instanceof Error ? error.message : String(error);
      this.tellState();
    });
  }

  /** Room runs out, and the last plan could do something about it. */
  private isUrgent({ rules }: RetentionSpec): boolean {
    const { blocked, unmet } = this.lastPlan;
    const space = this.space();
    if (!blocked && isEmergency(space)) return true;
    return !unmet.some(({ reason }) => reason === 'min-free') && runsShort(space, rules.minFree, CHECK_MS);
  }

  private async pass(): Promise<RunResult> {
    if (this.effects.folders) await this.effects.folders.look();
    if (!this.spec) throw new EngineError('no-rules', 'there are no rules: add a retention node and deploy');
    const { clock, store } = this.effects;
    this.lastPass = clock.monotonic();
    this.problem = null;
    const done = new Shares();
    const broken = new Set<string>();
    store.dropEndedHolds(this.ages.now() - ENDED_HOLD_MS);
    store.believe(this.ages.now());
    for (const [id, until] of this.stuck) if (until <= clock.monotonic()) this.stuck.delete(id);
    // Of a deletion that was cut short.
    this.finish(store.marked(), done, broken);
    this.effects.tiering?.relieve(this.space());
    if (this.effects.folders) await this.effects.folders.look(); // or what is free now would be deleted for, too
    for (;;) {
      // The rules may have been taken away while the disks were looked at.
      const spec = this.spec as RetentionSpec | null;
      if (this.closed || !spec) break;
      const now = this.ages.now();
      const space = this.space().filter(({ storage }) => !broken.has(storage));
      const going = this.due(shortOf(space));
      const itemsOf = (copying: boolean): Planned[] =>
        this.pending.filter((one) => one.copying === copying).flatMap((one) => one.items);
      const [waiting, kept] = [itemsOf(false), itemsOf(true)];
      const from = clock.monotonic();
      const rules = applicable(spec.rules, this.effects.recorded, space);
      const plan = planFrom(this.effects.source(), rules, store.kept(now), now, space, {
        pending: [...waiting, ...going],
        ...{ kept, stuck: new Set(this.stuck.keys()) },
        limit: Math.max(0, Math.min(MAX_PLANNED, MAX_PENDING - waiting.length - kept.length)),
      });
      this.longest.planMs = Math.max(this.longest.planMs, clock.monotonic() - from);
      this.lastPlan = { blocked: plan.blocked, unmet: plan.unmet };
      const waits = (item: Planned): boolean => this.vetoMs > 0 && item.reason !== 'emergency';
      const announced = plan.items.filter(waits);
      const announcement = this.register(announced, this.vetoMs);
      const before = done.files;
      const untried = await this.deleteAll(going, done, broken);
      // It was announced for long enough.
      this.register(untried, PASS_MS);
      await this.deleteAll(
        plan.items.filter((item) => !waits(item)),
        ...[done, broken],
      );
      if (announcement) await this.announce(announcement, announced);
      const progress = announced.length > 0 || done.files > before;
      await this.effects.folders?.look(); // or as much would be deleted again
      // Without progress there is nothing to repeat.
      if (plan.complete || !progress) break;
    }
    if (done.files > 0) {
      this.effects.tell({
        type: 'deleted',
        time: clock.now(),
        files: done.files,
        bytes: done.bytes,
        shares: done.list,
      });
    }
    this.effects.tiering?.run(this.space());
    await this.prune();
    this.tellState();
    return { files: done.files, bytes: done.bytes, shares: done.list, blocked: this.lastPlan.blocked };
  }

  private async prune(): Promise<void> {
    const { clock, store, prune } = this.effects;
    if (clock.monotonic() - this.lastPrune < PRUNE_MS) return;
    this.lastPrune = clock.monotonic();
    for (const rows of prune(store.kept(this.ages.now()), this.ages.now())) {
      if (this.closed) return;
      if (rows > 0) await this.pause(PAUSE_MS);
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.effects.clock.after(ms, resolve));
  }

  private get vetoMs(): number {
    return this.spec?.vetoMs ?? 0;
  }

  /** Takes what was announced long enough ago, and all that lies in folders that are about to be full. */
  private due(short: ReadonlySet<string>): Planned[] {
    const now = this.effects.clock.monotonic();
    const due: Planned[] = [];
    for (const one of this.pending) {
      if (one.copying) continue;
      const isDue = ({ storage }: Planned): boolean => one.due <= now || short.has(storage);
      due.push(...one.items.filter(isDue));
      one.items = one.items.filter((item) => !isDue(item));
    }
    this.pending = this.pending.filter((one) => one.items.length > 0);
    return due;
  }

  private register(items: Planned[], ms: number): Announcement | null {
    if (items.length === 0) return null;
    const announcement = { id: randomUUID(), due: this.effects.clock.monotonic() + ms, items, copying: false };
    this.pending.push(announcement);
    return announcement;
  }

  private async announce({ id, due }: Announcement, items: Planned[]): Promise<void> {
    const { clock } = this.effects;
    const time = clock.now();
    const dueTime = time + due - clock.monotonic();
    const stills: Still[] = [];
    // Nobody waits for a slow disk or a server.
    const near = items.filter(({ storage }) => !this.effects.tiering?.has(storage));
    for (const item of this.spec?.stills ? filesToShow(near) : []) {
      // A picture is a courtesy: a file that has none is announced all the same.
      const still = await this.effects.still(item).catch(() => null);
      if (still) stills.push(still);
    }
    const { files, bytes, list } = sharesOf(items);
    const pictures = this.spec?.stills ? { stills } : {};
    this.effects.tell({ type: 'about-to-delete', id, time, due: dueTime, files, bytes, shares: list, ...pictures });
  }

  /** Returns those in storages from which nothing can be deleted now. */
  private async deleteAll(items: readonly Planned[], done: Shares, broken: Set<string>): Promise<Planned[]> {
    const { clock, store } = this.effects;
    const untried: Planned[] = [];
    for (let at = 0; at < items.length && !this.closed;) {
      const next = items.slice(at, at + this.batch);
      const batch = next.filter(({ storage }) => !broken.has(storage));
      at += this.batch;
      const from = clock.monotonic();
      this.lockMs = 0;
      const failed = this.finish(store.mark(batch, this.ages.now()), done, broken);
      untried.push(...next.filter((item) => !batch.includes(item) || failed.has(item.id)));
      this.effects.settle();
      if (this.lockMs > 0) {
        const factor = Math.min(2, LOCK_MS / this.lockMs);
        this.batch = Math.round(Math.min(MAX_BATCH, Math.max(MIN_BATCH, this.batch * factor)));
      }
      const tookMs = clock.monotonic() - from;
      await this.pause(Math.max(PAUSE_MS, tookMs));
    }
    return untried;
  }

  /** Returns the ids of those whose disk is at fault. */
  private finish(marked: readonly Marked[], done: Shares, broken: Set<string>): ReadonlySet<number> {
    if (marked.length === 0) return new Set();
    const { store, files, clock, tiering } = this.effects;
    // In tiers the rows go at once, and their threads remove the files: nobody waits for a slow disk or a server.
    const later = (storage: string): boolean => tiering?.has(storage) ?? false;
    const there = marked.filter(({ storage }) => later(storage));
    if (there.length > 0) store.drop(there, clock.now(), later);
    for (const one of there) done.add(one);
    const here = marked.filter(({ storage }) => !later(storage));
    const { deleted, failed, stuck, error } = deleteMarked(store, here, files, clock.now());
    for (const one of deleted) done.add(one);
    if (failed.length === 0) return new Set();
    store.unmark(failed);
    for (const { id } of stuck) this.stuck.set(id, clock.monotonic() + STUCK_MS);
    for (const [id] of this.stuck) if (this.stuck.size > MAX_STUCK) this.stuck.delete(id);
    const ofDisk = failed.filter((one) => !stuck.includes(one));
    for (const { storage } of ofDisk) broken.add(storage);
    this.problem = `footage cannot be deleted: ${error ?? 'no reason given'}`;
    return new Set(ofDisk.map(({ id }) => id));
  }

  private space(): Space[] {
    const here = this.spaceHere();
    const { tiering } = this.effects;
    const bytesPerSecond = this.rates.reduce((sum, rate) => sum + rate.bytesPerSecond, 0);
    const tiers = (tiering?.folders ?? []).flatMap((storage): Space[] => {
      const room = tiering!.roomOf(storage);
      if (!room) return [];
      // What is recorded gets there in the end.
      const own = here.some(({ disk }) => disk === room.disk) ? 0 : bytesPerSecond;
      return [{ storage, ...room, bytesPerSecond: own }];
    });
    return [...here, ...tiers];
  }

  private spaceHere(): Space[] {
    return this.effects.storages().map((storage) => {
      const own = this.rates.filter((rate) => rate.storage === storage);
      const disk = this.effects.diskOf(storage);
      return {
        ...{ storage, disk: disk?.disk ?? storage, freeBytes: disk?.freeBytes ?? null },
        ...{ totalBytes: disk?.totalBytes ?? null },
        bytesPerSecond: own.reduce((sum, { bytesPerSecond }) => sum + bytesPerSecond, 0),
      };
    });
  }

  private ratesByCamera(): Map<string, number> {
    const rates = new Map<string, number>();
    for (const { camera, bytesPerSecond } of this.rates) rates.set(camera, (rates.get(camera) ?? 0) + bytesPerSecond);
    return rates;
  }

  private clockProblem(): string | null {
    const { aheadMs } = this.ages;
    const days = Math.round(aheadMs / 86_400_000);
    // Less is an NVR that was off.
    if (days < STRANGE_DAYS) return null;
    return `the clock is ${days} days ahead of the last run: for some hours nothing is taken for so much older`;
  }

  private tellState(): void {
    if (!this.spec) return;
    const [time, now] = [this.effects.clock.now(), this.ages.now()];
    const space = this.space();
    const { store, recorded } = this.effects;
    const rules = applicable(this.spec.rules, recorded, space);
    const source = this.effects.source();
    const holds = store.holds();
    const cameras = source.cameras();
    this.effects.tell({
      ...{ type: 'storage', time, emergency: isEmergency(space), ...this.lastPlan, ...this.longest },
      problem:
        this.problem ??
        this.effects.folders?.problem ??
        this.effects.upkeep.problem ??
        this.effects.tiering?.problem ??
        this.clockProblem(),
      tiers: this.effects.tiering?.states ?? [],
      storages: space.map((one) => ({
        ...one,
        usedBytes: cameras.reduce((sum, camera) => sum + source.used(camera, one.storage).bytes, 0),
      })),
      rules: forecast(source, rules, store.kept(now), now, space, this.ratesByCamera()),
      pendingFiles: this.pending.reduce((sum, { items }) => sum + items.length, 0),
      holds: holds.filter(({ until }) => until === null || until > now).length,
    });
    this.longest = { lockMs: 0, planMs: 0 };
  }
}

function movesOf(moves: readonly { to: string; bytes: number }[]): Preview['moves'] {
  const byTier = new Map<string, Preview['moves'][number]>();
  for (const { to, bytes } of moves) {
    const sum = byTier.get(to) ?? { to, files: 0, bytes: 0 };
    byTier.set(to, { to, files: sum.files + 1, bytes: sum.bytes + bytes });
  }
  return [...byTier.values()];
}
