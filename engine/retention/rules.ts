/** What goes, why, and in which order: rules, holds and room against footage. Pure. */
import { mergeRanges, subtractRanges } from '../catalog/coverage.ts';
import type { TimeRange } from '../types.ts';
import { isBucket, stuck } from './tiers.ts';
import { AHEAD_MS, bytesOf, disksOf, emergencyBytes, freeWanted } from './room.ts';
import { mergeOldest, sourceOf, type Amount, type FootageSource } from './source.ts';
import {
  KINDS,
  type DeletionReason,
  type Hold,
  type Kind,
  type Plan,
  type Planned,
  type Rule,
  type RuleForecast,
  type RuleSet,
  type Segment,
  type Space,
} from './types.ts';

/** One plan deletes no more files; the next goes on. */
export const MAX_PLANNED = 5000;
const DAY_S = 86_400;
/** Latest time that ECMAScript knows. */
const MAX_TIME = 8.64e15;

/** How long a kind is kept; `thin` when that is why it is not kept longer. */
export interface Limit {
  ms: number;
  reason: 'age' | 'thin';
}

export function appliesTo(rule: Rule, camera: string): boolean {
  return rule.cameras === '*' || rule.cameras.includes(camera);
}

/** What one rule says of each kind, in the order of {@link KINDS}; no kind is kept shorter than the one before. */
function limitsOfRule({ keep, thin }: Rule): Limit[] {
  let before: number | null = null;
  return [keep.continuousMs, keep.motionMs, keep.eventMs].map((ms, place): Limit => {
    before = Math.max(before ?? 0, ms ?? before ?? Infinity);
    const thinned = thin && place < (thin.keep === 'motion' ? 1 : 2) && thin.afterMs < before;
    return thinned ? { ms: thin.afterMs, reason: 'thin' } : { ms: before, reason: 'age' };
  });
}

/** How long each kind of a camera's footage is kept: as long as any rule does. */
export function limitsOf(rules: readonly Rule[], camera: string): Record<Kind, Limit> {
  const longest = rules
    .filter((rule) => appliesTo(rule, camera) && !rule.only)
    .map(limitsOfRule)
    .reduce<Limit[] | null>((all, own) => all?.map((a, k) => (own[k]!.ms > a.ms ? own[k]! : a)) ?? own, null);
  const [continuous, motion, event] = longest ?? KINDS.map(() => ({ ms: Infinity, reason: 'age' }) satisfies Limit);
  return { continuous: continuous!, motion: motion!, event: event! };
}

/** A hold counts until its end, whenever it was made. */
export function isHeld(
  { camera, start, end }: Pick<Segment, 'camera' | 'start' | 'end'>,
  holds: readonly Hold[],
  now: number,
): boolean {
  return holds.some(
    (hold) =>
      (hold.camera === null || hold.camera === camera) &&
      (hold.until === null || hold.until > now) &&
      start < hold.end &&
      end > hold.start,
  );
}

/** The times until `end` whose files neither a hold protects nor what is in `kept`. */
function freeRanges(
  camera: string,
  holds: readonly Hold[],
  now: number,
  end: number,
  kept: readonly TimeRange[] = [],
): TimeRange[] {
  const window = { start: 0, end };
  const held = holds.filter((hold) => (hold.camera ?? camera) === camera && (hold.until === null || hold.until > now));
  return end > 0 ? subtractRanges(window, mergeRanges([...held, ...kept], window)) : [];
}

/** The times of events that rules keep for longer than all else of a camera. Free where there are no such rules. */
function keptRanges(source: FootageSource, rules: readonly Rule[], camera: string, now: number): TimeRange[] {
  return rules.flatMap((rule) => {
    const { only, keep } = rule;
    if (!only || keep.eventMs === undefined || !appliesTo(rule, camera)) return [];
    const window = { start: now - keep.eventMs, end: now };
    return source.shown(camera, only, window).map(({ start, end }) => ({ start: Math.max(start, window.start), end }));
  });
}

function quotaOf({ quotaBytes, quotaPercent }: Rule, space: readonly Space[]): number {
  const quota = {
    ...(quotaBytes === undefined ? {} : { bytes: quotaBytes }),
    ...(quotaPercent === undefined ? {} : { percent: quotaPercent }),
  };
  return bytesOf(quota, totalOf(space));
}

/** Size of all disks together, or null when one is not known. A bucket has none. */
function totalOf(space: readonly Space[]): number | null {
  const disks = new Map(
    space.filter(({ storage }) => !isBucket(storage)).map(({ disk, totalBytes }) => [disk, totalBytes]),
  );
  let sum = 0;
  for (const bytes of disks.values()) {
    if (bytes === null) return null;
    sum += bytes;
  }
  return sum;
}

/**
 * The rules as far as they can be told now. While a folder that is in use is not known (its disk is away, or was not looked
 * at yet), nobody knows how large all disks together are: shares of that would shrink with it, and footage would be deleted
 * because a NAS is off for a night. They do not count until it is there again; all else does.
 * @param recorded the folders that are recorded to
 */
export function applicable(set: RuleSet, recorded: readonly string[], space: readonly Space[]): RuleSet {
  const there = new Set(space.map(({ storage }) => storage));
  const inUse = [...recorded, ...(set.tiers ?? []).map(({ to }) => to).filter((to) => !isBucket(to))];
  if (inUse.every((storage) => there.has(storage))) return set;
  const { total, ...rest } = set;
  return {
    ...rest,
    rules: set.rules.map(withoutShare),
    ...(total?.bytes === undefined ? {} : { total: { bytes: total.bytes } }),
  };
}

function withoutShare(rule: Rule): Rule {
  const own = { ...rule };
  delete own.quotaPercent;
  return own;
}

export interface PlanOptions {
  /** Already on their way: counted as gone, not planned again. */
  pending?: readonly Planned[];
  /** On their way, nobody knows for how long: not planned again; they count as gone, but not as room on their disk. */
  kept?: readonly Planned[];
  /** Ids of what cannot be deleted: as if it were held. */
  stuck?: ReadonlySet<number>;
  limit?: number;
}

/** Collects what goes, and knows what that leaves. */
class Draft {
  readonly items: Planned[] = [];
  readonly unmet: Plan['unmet'] = [];
  private readonly going = new Set<number>();
  private readonly freed = new Map<string, number>();
  private readonly leaving = new Map<string, number>();
  private readonly stuck: ReadonlySet<number>;
  private readonly limit: number;

  constructor({ pending = [], kept = [], stuck = new Set(), limit = MAX_PLANNED }: PlanOptions) {
    this.stuck = stuck;
    this.limit = limit;
    for (const segment of kept) this.count(segment, this.leaving);
    for (const segment of pending) this.count(segment);
  }

  private count(segment: Segment, bytes = this.freed): void {
    this.going.add(segment.id);
    const key = `${segment.storage}\n${segment.camera}`;
    bytes.set(key, (bytes.get(key) ?? 0) + segment.bytes);
  }

  get full(): boolean {
    return this.items.length >= this.limit;
  }

  /** Bytes that what was planned frees. */
  freedOf(cameras: readonly string[], storages: readonly string[]): number {
    return sumOf(this.freed, cameras, storages);
  }

  /** Bytes that will be gone at some time. */
  goneOf(cameras: readonly string[], storages: readonly string[]): number {
    return this.freedOf(cameras, storages) + sumOf(this.leaving, cameras, storages);
  }

  /** Takes from the list until so many bytes were; returns what is missing. */
  take(list: Iterable<Segment>, reason: (segment: Segment) => DeletionReason, bytes: number): number {
    let missing = bytes;
    for (const segment of list) {
      if (this.full || missing <= 0) break;
      if (this.going.has(segment.id) || this.stuck.has(segment.id)) continue;
      this.count(segment);
      this.items.push({ ...segment, reason: reason(segment) });
      missing -= segment.bytes;
    }
    return missing;
  }

  /** As `take`, for a limit that can turn out not to be met. */
  meet(list: Iterable<Segment>, reason: DeletionReason, of: string, bytes: number): boolean {
    if (bytes <= 0) return true;
    const missing = this.take(list, () => reason, bytes);
    if (missing <= 0 || this.full) return true;
    this.unmet.push({ reason, of, bytes: missing });
    return false;
  }
}

function sumOf(bytes: ReadonlyMap<string, number>, cameras: readonly string[], storages: readonly string[]): number {
  let sum = 0;
  for (const storage of storages) for (const camera of cameras) sum += bytes.get(`${storage}\n${camera}`) ?? 0;
  return sum;
}

/** Plans over a catalogue of any size: reads no more of it than what goes. */
export function planFrom(
  source: FootageSource,
  ruleSet: RuleSet,
  holds: readonly Hold[],
  now: number,
  space: readonly Space[],
  options: PlanOptions = {},
): Plan {
  const { rules, total, storages, minFree } = ruleSet;
  const draft = new Draft(options);
  const cameras = source.cameras();
  const everywhere = space.map(({ storage }) => storage);
  // Quotas are of disks.
  const folders = everywhere.filter((storage) => !isBucket(storage));
  const used = (of: readonly string[], where: readonly string[]): number =>
    of.reduce((sum, camera) => sum + where.reduce((all, storage) => all + source.used(camera, storage).bytes, 0), 0) -
    draft.goneOf(of, where);
  const oldest = (of: readonly string[], where: readonly string[], kinds: readonly Kind[] = KINDS): Iterable<Segment> =>
    mergeOldest(
      of.flatMap((camera) => {
        const ranges = freeRanges(camera, holds, now, MAX_TIME);
        return kinds.map((kind) => source.oldest({ camera, kind, ranges, storages: where }));
      }),
    );

  const limits = new Map(cameras.map((camera) => [camera, limitsOf(rules, camera)]));
  const aged = cameras.flatMap((camera) => {
    const kept = keptRanges(source, rules, camera, now);
    return KINDS.map((kind) => {
      const ranges = freeRanges(camera, holds, now, now - limits.get(camera)![kind].ms, kept);
      return source.oldest({ camera, kind, ranges, storages: everywhere });
    });
  });
  draft.take(mergeOldest(aged), ({ camera, kind }) => limits.get(camera)![kind].reason, Infinity);

  for (const rule of rules) {
    const own = cameras.filter((camera) => appliesTo(rule, camera));
    const over = used(own, folders) - quotaOf(rule, space);
    if (over > 0) draft.meet(oldest(own, folders), 'quota', rule.id, over);
  }
  /** Of folders with a tier below them only what that does not take: the rest moves there, see tiers.ts. */
  const makeRoom = (own: readonly string[], reason: 'storage-quota' | 'min-free', of: string, bytes: number): void => {
    const kinds = own.map((storage) => stuck(ruleSet, storage));
    const list = mergeOldest(own.map((storage, i) => oldest(cameras, [storage], kinds[i])));
    if (kinds.every(({ length }) => length === KINDS.length)) draft.meet(list, reason, of, bytes);
    else draft.take(list, () => reason, bytes);
  };
  for (const { storage, totalBytes } of space) {
    const over = used(cameras, [storage]) - bytesOf(storages?.[storage], totalBytes);
    if (over > 0) makeRoom([storage], 'storage-quota', storage, over);
  }
  const overall = used(cameras, folders) - bytesOf(total, totalOf(space));
  if (overall > 0) draft.meet(oldest(cameras, folders), 'total-quota', '', overall);

  let blocked = false;
  for (const one of disksOf(space)) {
    const { disk, own, free } = one;
    const lacking = freeWanted(one, minFree, AHEAD_MS) - free - draft.freedOf(cameras, own);
    if (lacking > 0) makeRoom(own, 'min-free', disk, lacking);
    // What is least worth goes first, on all cameras, before anything better.
    const worthFirst = KINDS.map((kind) => () => oldest(cameras, own, [kind]));
    const short = emergencyBytes(one) - free - draft.freedOf(cameras, own);
    if (!draft.meet(inTurn(worthFirst), 'emergency', disk, short)) blocked = true;
  }
  return { items: draft.items, complete: !draft.full, blocked, unmet: draft.unmet };
}

/** As {@link planFrom}, of a list. */
export function plan(
  segments: readonly Segment[],
  rules: RuleSet,
  holds: readonly Hold[],
  now: number,
  space: readonly Space[],
  options: PlanOptions = {},
): Plan {
  return planFrom(sourceOf(segments), rules, holds, now, space, options);
}

/** One list after the other; each is begun when it is its turn. */
function* inTurn(lists: readonly (() => Iterable<Segment>)[]): Generator<Segment> {
  for (const list of lists) yield* list();
}

/** What each rule has, would delete now, and how long its room lasts. `rates` are bytes per second of each camera. */
export function forecast(
  source: FootageSource,
  { rules }: RuleSet,
  holds: readonly Hold[],
  now: number,
  space: readonly Space[],
  rates: ReadonlyMap<string, number>,
): RuleForecast[] {
  const cameras = source.cameras();
  const aged = new Map<string, Amount>();
  for (const camera of cameras) {
    const limits = limitsOf(rules, camera);
    const kept = keptRanges(source, rules, camera, now);
    const sums = KINDS.map((kind) =>
      source.sum({ camera, kind, ranges: freeRanges(camera, holds, now, now - limits[kind].ms, kept) }),
    );
    aged.set(camera, sums.reduce(add));
  }
  const all = new Map(
    cameras.map((camera) => {
      const folders = space.filter(({ storage }) => !isBucket(storage));
      return [camera, folders.map(({ storage }) => source.used(camera, storage)).reduce(add, NOTHING)];
    }),
  );
  /** What no hold protects. Counted only where there are holds: that takes a look at every file. */
  const deletable = (camera: string): Amount => {
    const ranges = freeRanges(camera, holds, now, MAX_TIME);
    if (ranges.length === 1 && ranges[0]!.start === 0 && ranges[0]!.end === MAX_TIME) return all.get(camera)!;
    return KINDS.map((kind) => source.sum({ camera, kind, ranges })).reduce(add, NOTHING);
  };
  const free = disksOf(space).reduce((sum, disk) => sum + disk.free, 0);
  const written = [...rates.values()].reduce((sum, rate) => sum + rate, 0);
  return rules.map((rule) => {
    const own = cameras.filter((camera) => appliesTo(rule, camera));
    const used = own.map((camera) => all.get(camera)!).reduce(add, NOTHING);
    const bytesPerSecond = [...rates]
      .filter(([camera]) => appliesTo(rule, camera))
      .reduce((sum, [, rate]) => sum + rate, 0);
    const quota = quotaOf(rule, space);
    const old = own.map((camera) => aged.get(camera)!).reduce(add, NOTHING);
    const left = used.bytes - old.bytes;
    let over = NOTHING;
    if (left > quota) {
      const may = own.map(deletable).reduce(add, NOTHING);
      const bytes = Math.max(0, Math.min(left - quota, may.bytes - old.bytes));
      // Files differ in size; the number of those that go is told from their average.
      over = { bytes, files: may.bytes > 0 ? Math.ceil((bytes / may.bytes) * may.files) : 0 };
    }
    const room = quota === Infinity ? [free, written] : [Math.max(0, quota - left), bytesPerSecond];
    return {
      rule: rule.id,
      usedBytes: used.bytes,
      quotaBytes: quota === Infinity ? null : quota,
      bytesPerSecond,
      deleteBytes: old.bytes + over.bytes,
      deleteFiles: old.files + over.files,
      daysLeft: room[1]! > 0 ? room[0]! / room[1]! / DAY_S : null,
    };
  });
}

const NOTHING: Amount = { bytes: 0, files: 0 };
const add = (a: Amount, b: Amount): Amount => ({ bytes: a.bytes + b.bytes, files: a.files + b.files });
