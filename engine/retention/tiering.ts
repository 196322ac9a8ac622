/**
 * Moves footage from tier to tier. Each tier has a thread of its own and is worked on by itself: one that is slow, full
 * or away holds up neither the others nor deletion. Owned by the retention thread, whose connection writes the rows.
 */
import { dirname, join } from 'node:path';
import type { Clock } from '../clock.ts';
import { parseSegmentPath } from '../recording/segment-path.ts';
import { EngineError } from '../types.ts';
import { QUIET_MS, type FileEffects } from './deletion.ts';
import { removeLeftover } from './folder-place.ts';
import type { MoveStore } from './move-store.ts';
import type { PlaceThreadData, Room } from './place.ts';
import type { PlaceLink } from './place-link.ts';
import { Shares } from './shares.ts';
import type { FootageSource } from './source.ts';
import { isBucket, planMoves, planReleases, shortage, spaceAfter, type Move } from './tiers.ts';
import type { MovedMessage, RetentionSpec, RuleSet, Space, TierState } from './types.ts';

export interface TieringEffects {
  clock: Clock;
  store: MoveStore;
  /** The footage as it is now. */
  source(): FootageSource;
  files: Pick<FileEffects, 'present' | 'removeEmpty'>;
  /** Folders that are recorded to. */
  recorded: readonly string[];
  open(data: Omit<PlaceThreadData, 'catalog'>): Pick<PlaceLink, 'call' | 'close'>;
  tell(message: MovedMessage): void;
  /** False while another process or thread moves the files of this catalogue: two would take each other's for leftovers. */
  own(): boolean;
}

const PROBE_MS = 10_000;
/** Of a bucket that is there: each is a request that is paid for. */
const BUCKET_PROBE_MS = 60_000;
const FIRST_RETRY_MS = 10_000;
const LAST_RETRY_MS = 10 * 60_000;
/** A file that cannot be moved is not tried again before. */
const SKIP_MS = 3_600_000;
/** A file of a plan that is out of date: the next plan knows where it is. */
const STALE_MS = 1000;
const MAX_SKIPPED = 1000;
/** Between files that are only let go: nothing is waited for with these, and others have to have their turn. */
const PAUSE_MS = 5;
/** What was moved is told so often. */
const TELL_MS = 60_000;

/** What is wrong with a file, and not with the tier. */
const OF_THE_FILE: ReadonlySet<string> = new Set(['gone', 'unreadable', 'damaged']);

interface Worker {
  to: string;
  key: string;
  link: Pick<PlaceLink, 'call' | 'close'>;
  state: TierState['state'];
  problem: string | null;
  room: Room | null;
  /** No file is sent there before. */
  notBefore: number;
  retryMs: number;
  queue: Move[];
  /** One that works the queue off. */
  working: Promise<void> | null;
  cleaning: Promise<void> | null;
  /** Path of the file that is being taken: what is there of it is no leftover yet. */
  taking: string | null;
  movedFiles: number;
  movedBytes: number;
  bytesPerSecond: number | null;
  reconciled: boolean;
  closed: boolean;
  cancelProbe: () => void;
  told: Map<string, { move: Move; shares: Shares<'age' | 'room'> }>;
  toldAt: number;
}

export class Tiering {
  private readonly effects: TieringEffects;
  private readonly workers = new Map<string, Worker>();
  private spec: RetentionSpec | null = null;
  private space: readonly Space[] = [];
  /** Files that are left where they are until then. */
  private readonly skipped = new Map<number, number>();
  /** Were tiers since this began: their threads may hang in a copy yet, of which then nobody would know. */
  private readonly ended = new Set<string>();

  constructor(effects: TieringEffects) {
    this.effects = effects;
  }

  set(spec: RetentionSpec | null): void {
    this.spec = spec;
    this.skipped.clear();
    const wanted = new Map<string, Omit<PlaceThreadData, 'catalog'>>();
    for (const { to } of spec?.rules.tiers ?? []) wanted.set(to, { to, access: spec?.buckets?.[to] ?? null });
    for (const [to, worker] of this.workers) {
      if (JSON.stringify(wanted.get(to)) !== worker.key) this.end(worker);
      else worker.queue = [];
    }
    for (const [to, data] of wanted) {
      if (!this.workers.has(to)) this.begin(data);
    }
  }

  /** Whether files are removed by the thread of their tier. */
  has = (storage: string): boolean => isBucket(storage) || this.workers.has(storage);

  /** Its disk, as it was last seen; null while it is not there. */
  roomOf(storage: string): Room | null {
    const worker = this.workers.get(storage);
    if (!worker?.room || worker.state !== 'ok') return null;
    const { room } = worker;
    // What is to be removed counts as removed, or more would be deleted for it.
    const { bytes } = this.effects.store.left(storage);
    return { ...room, freeBytes: room.freeBytes === null ? null : room.freeBytes + bytes };
  }

  get folders(): string[] {
    return [...this.workers.values()].filter(({ state }) => state === 'ok').map(({ to }) => to);
  }

  get states(): TierState[] {
    return [...this.workers.values()].map(
      ({ to, state, problem, queue, taking, movedFiles, movedBytes, bytesPerSecond }) => ({
        ...{ to, state, problem, movedFiles, movedBytes, bytesPerSecond },
        waitingFiles: queue.length + (taking === null ? 0 : 1),
        leftovers: this.effects.store.left(to).files - (taking === null ? 0 : 1),
      }),
    );
  }

  /** The first of what is wrong with the tiers. */
  get problem(): string | null {
    return this.states.find(({ problem }) => problem !== null)?.problem ?? null;
  }

  /** Plans what moves now, and sees that it does. @param space of all folders that are there */
  run(space: readonly Space[]): void {
    this.space = space;
    if (!this.effects.own()) return;
    for (const storage of this.effects.store.leftoverStorages()) this.clean(storage);
    const moves = this.spec ? this.plan(this.spec.rules, space) : [];
    for (const worker of this.workers.values()) {
      worker.queue = moves.filter(({ to }) => to === worker.to);
      this.work(worker);
    }
  }

  /**
   * Lets go at once what a bucket has as well, where a disk is about to be full: before anything is deleted for that.
   * @param space of all folders that are there
   */
  relieve(space: readonly Space[]): void {
    const { store, recorded } = this.effects;
    const tiers = this.spec?.rules.tiers ?? [];
    if (!tiers.some(({ to }) => isBucket(to)) || !this.effects.own()) return;
    for (let now = space; ;) {
      const moves = planReleases(this.effects.source(), tiers, recorded, now);
      const released = moves.filter((move) => store.release(move) !== null);
      if (released.length === 0) return;
      for (const move of released) {
        now = spaceAfter(now, move);
        this.count(this.workers.get(move.to)!, move);
      }
      for (const storage of new Set(released.map((move) => move.storage))) this.clean(storage);
    }
  }

  /** What would move under such rules; to tiers that are not there as well, when it is only to be told. */
  plan(rules: RuleSet, space: readonly Space[], all = false): Move[] {
    const { clock, recorded } = this.effects;
    const now = clock.now();
    const { tiers = [] } = rules;
    if (tiers.length === 0) return [];
    for (const [id, until] of this.skipped) if (until <= now) this.skipped.delete(id);
    const source = this.effects.source();
    const cameras = source.cameras();
    const used = (storage: string): number =>
      cameras.reduce((sum, camera) => sum + source.used(camera, storage).bytes, 0);
    const isReady = ({ state, notBefore }: Worker): boolean => state === 'ok' && notBefore <= clock.monotonic();
    const ready = [...this.workers.values()].filter(isReady).map(({ to }) => to);
    return planMoves(source, tiers, recorded, now, {
      ready: new Set(all ? tiers.map(({ to }) => to) : ready),
      there: new Set(space.map(({ storage }) => storage)),
      skip: new Set(this.skipped.keys()),
      shortOf: shortage(rules, space, used),
    });
  }

  /** Ends after the file that is on its way, or without it: the next start puts it in order. */
  close(): void {
    for (const worker of this.workers.values()) this.end(worker);
  }

  private begin(data: Omit<PlaceThreadData, 'catalog'>): void {
    const worker: Worker = {
      ...{ to: data.to, key: JSON.stringify(data), link: this.effects.open(data), state: 'starting', problem: null },
      ...{ room: null, notBefore: 0, retryMs: FIRST_RETRY_MS, queue: [], working: null, cleaning: null, taking: null },
      ...{ movedFiles: 0, movedBytes: 0, bytesPerSecond: null, reconciled: false, closed: false },
      ...{ cancelProbe: () => undefined, told: new Map(), toldAt: this.effects.clock.monotonic() },
    };
    this.workers.set(data.to, worker);
    this.probe(worker);
  }

  private end(worker: Worker): void {
    worker.closed = true;
    worker.queue = [];
    worker.cancelProbe();
    worker.link.close();
    this.tellMoved(worker);
    this.workers.delete(worker.to);
    this.ended.add(worker.to);
  }

  private probe(worker: Worker): void {
    const { clock } = this.effects;
    worker.link
      .call('probe')
      .then(
        (room) => {
          worker.room = room;
          const wasOk = worker.state === 'ok';
          worker.state = 'ok';
          if (worker.notBefore <= clock.monotonic()) worker.problem = null;
          if (wasOk || worker.closed) return;
          if (!worker.reconciled && !isBucket(worker.to)) {
            worker.reconciled = true;
            worker.link.call('reconcile', clock.now()).then(
              () => this.clean(worker.to),
              (error: unknown) => (worker.problem ??= textOf(error)),
            );
          }
          this.run(this.space);
        },
        (error: unknown) => {
          worker.state = 'away';
          worker.problem = textOf(error);
        },
      )
      .finally(() => {
        const often = worker.state === 'ok' && isBucket(worker.to) ? BUCKET_PROBE_MS : PROBE_MS;
        if (!worker.closed) worker.cancelProbe = clock.after(often, () => this.probe(worker));
      });
  }

  private work(worker: Worker): void {
    if (worker.queue.length === 0) return;
    worker.working ??= this.moveAll(worker).finally(() => (worker.working = null));
  }

  private async moveAll(worker: Worker): Promise<void> {
    const { clock } = this.effects;
    for (;;) {
      let move: Move | undefined;
      const [moved, folders] = [worker.movedFiles, this.space.length];
      while ((move = worker.queue.shift()) && !worker.closed) {
        await this.moveOne(worker, move);
        if (clock.monotonic() - worker.toldAt >= TELL_MS) this.tellMoved(worker);
        if (worker.notBefore > clock.monotonic()) worker.queue = [];
      }
      if (worker.closed || worker.notBefore > clock.monotonic()) break;
      // A plan holds so many files; there may be more. After one of which none could be moved (unless it was of a disk that
      // went) the next waits for its time, or files that all fail would be tried without end.
      const progress = worker.movedFiles > moved || this.space.length < folders;
      if (worker.state === 'ok' && this.spec && progress) {
        worker.queue = this.plan(this.spec.rules, this.space).filter(({ to }) => to === worker.to);
      }
      if (worker.queue.length === 0) break;
    }
    this.tellMoved(worker);
  }

  private async moveOne(worker: Worker, move: Move): Promise<void> {
    const { store, clock } = this.effects;
    const from = clock.monotonic();
    try {
      if (move.action === 'release') {
        if (store.release(move)) this.moved(worker, move);
        else this.skip(move, STALE_MS);
        await new Promise<void>((resolve) => void clock.after(PAUSE_MS, resolve));
        return;
      }
      const file = store.begin(move);
      if (!file) {
        this.skip(move, STALE_MS); // deleted, or moved already
        return;
      }
      worker.taking = file.path;
      const { path, bytes, hash } = file;
      await worker.link.call('take', { from: join(move.storage, path), path, bytes, hash });
      const there = store.commit(move, file);
      worker.taking = null;
      if (!there) {
        this.clean(worker.to);
        return;
      }
      worker.bytesPerSecond = bytes / Math.max(0.001, (clock.monotonic() - from) / 1000);
      worker.retryMs = FIRST_RETRY_MS;
      this.moved(worker, move);
    } catch (error) {
      worker.taking = null;
      if (worker.closed) return;
      this.clean(worker.to);
      if (error instanceof EngineError && OF_THE_FILE.has(error.code)) {
        if (error.code === 'gone' && !this.isThere(move.storage)) {
          this.leaveOut(worker, move.storage);
          return;
        }
        this.skip(move);
        if (error.code !== 'gone') worker.problem = error.message;
        return;
      }
      worker.problem = textOf(error);
      worker.notBefore = clock.monotonic() + worker.retryMs;
      worker.retryMs = Math.min(LAST_RETRY_MS, worker.retryMs * 2);
      if (error instanceof EngineError && error.code === 'stalled') worker.state = 'away';
    }
  }

  /** Of a tier only its own thread asks its disk, which may hang. */
  private isThere(storage: string): boolean {
    const worker = this.workers.get(storage);
    return worker ? worker.state === 'ok' : this.effects.files.present(storage);
  }

  /** Its disk went since the last look: nothing more is taken from it before the next. */
  private leaveOut(worker: Worker, folder: string): void {
    this.space = this.space.filter(({ storage }) => storage !== folder);
    worker.queue = worker.queue.filter(({ storage }) => storage !== folder);
  }

  private skip({ id }: Move, ms = SKIP_MS): void {
    if (this.skipped.size >= MAX_SKIPPED) this.skipped.delete(this.skipped.keys().next().value!);
    this.skipped.set(id, this.effects.clock.now() + ms);
  }

  private moved(worker: Worker, move: Move): void {
    this.count(worker, move);
    this.space = spaceAfter(this.space, move);
    if (move.action !== 'copy') this.clean(move.storage);
  }

  private count(worker: Worker, move: Move): void {
    worker.movedFiles++;
    worker.movedBytes += move.bytes;
    const key = `${move.storage} ${move.action === 'copy'}`;
    const told = worker.told.get(key) ?? { move, shares: new Shares<'age' | 'room'>() };
    worker.told.set(key, told);
    told.shares.add(move);
  }

  private tellMoved(worker: Worker): void {
    const { clock } = this.effects;
    worker.toldAt = clock.monotonic();
    for (const { move, shares } of worker.told.values()) {
      const { storage: from, to, action } = move;
      const { files, bytes, list } = shares;
      this.effects.tell({
        type: 'moved',
        time: clock.now(),
        from,
        to,
        copied: action === 'copy',
        files,
        bytes,
        shares: list,
      });
    }
    worker.told.clear();
  }

  /** Removes the leftovers of a folder or bucket, as soon as it is there. */
  private clean(storage: string): void {
    const { store, files, clock } = this.effects;
    if (!this.effects.own()) return;
    const worker = this.workers.get(storage);
    if (!worker) {
      // Nor can a bucket be reached that is no tier any more.
      if (isBucket(storage) || this.ended.has(storage) || !files.present(storage)) return;
      const left = store.leftovers(storage);
      if (left.length === 0) return;
      store.secure();
      const gone = left.map(({ path }) => path).filter((path) => removeLeftover(join(storage, path)) === null);
      store.settle(storage, gone);
      const old = gone.filter((path) => (parseSegmentPath(path)?.startMs ?? Infinity) < clock.now() - QUIET_MS);
      for (const folder of new Set(old.map((path) => dirname(join(storage, path))))) {
        files.removeEmpty(folder);
        files.removeEmpty(dirname(folder));
      }
      return;
    }
    if (worker.state !== 'ok') return;
    worker.cleaning ??= this.cleanTier(worker)
      .catch((error: unknown) => {
        if (!worker.closed) worker.problem = textOf(error);
      })
      .finally(() => (worker.cleaning = null));
  }

  private async cleanTier(worker: Worker): Promise<void> {
    const { store } = this.effects;
    for (;;) {
      // An upload that was cut short goes on where it was; one at most, or parts of files that nobody sends any more stay.
      const begun = isBucket(worker.to) ? store.begun(worker.to) : null;
      const left = store
        .leftovers(worker.to)
        .filter(({ path }) => path !== worker.taking && path !== begun)
        .slice(0, 100);
      if (left.length === 0 || worker.closed) return;
      store.secure();
      const removals = left.map(({ path, bytes }) => ({ path, begun: bytes === 0 }));
      const results = await worker.link.call('remove', removals);
      // One of them may be on its way there anew.
      const gone = left.map(({ path }) => path).filter((path, i) => results[i] === null && path !== worker.taking);
      store.settle(worker.to, gone);
      const failed = results.find((result) => result !== null);
      if (failed !== undefined) throw new Error(failed);
    }
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
