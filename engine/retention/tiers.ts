/** Where footage lies as it gets older: which files move, from where to where, and why. Pure. */
import { AHEAD_MS, bytesOf, disksOf, emergencyBytes, freeWanted } from './room.ts';
import { mergeOldest, type FootageSource } from './source.ts';
import { KINDS, type Kind, type RuleSet, type Segment, type Space, type Tier } from './types.ts';

/** So many times the room below which files are deleted moves early what would move later: two hours of writing. */
const EARLY = 2;
/** Moved to one tier by one plan; the next goes on. */
export const MAX_MOVES = 500;

/** `copy` leaves the file where it is, `release` drops it there, for the copy is good: it was verified when it was made. */
export interface Move extends Segment {
  action: 'move' | 'copy' | 'release';
  to: string;
  reason: 'age' | 'room';
}

export const isBucket = (storage: string): boolean => storage.startsWith('s3://');

/** From this kind on it takes footage. */
const takes = ({ least }: Tier): Kind[] => KINDS.slice(KINDS.indexOf(least));

/** The tiers that footage of a folder can go to; those it is recorded to come before all. */
export function below(tiers: readonly Tier[], storage: string): readonly Tier[] {
  return tiers.slice(tiers.findIndex(({ to }) => to === storage) + 1);
}

/** What of a folder can only be deleted when it has to have room, for no tier takes it. */
export function stuck({ tiers = [] }: RuleSet, storage: string): Kind[] {
  const movable = new Set(below(tiers, storage).flatMap(takes));
  return KINDS.filter((kind) => !movable.has(kind));
}

export interface MoveOptions {
  /** Tiers that are there and take files now. */
  ready: ReadonlySet<string>;
  /** Folders that are there, so that their files can be read. */
  there: ReadonlySet<string>;
  /** Files that are left where they are, for now. */
  skip?: ReadonlySet<number>;
  /** How much a folder has to lose, by its limits; nothing when it has room. */
  shortOf: (storage: string) => number;
  limit?: number;
}

/**
 * What moves now, oldest first for each tier. A file goes to the coldest tier that is ready and wants it, so that it does
 * not move twice. Footage that is held moves like any other: nothing is lost by it.
 * @param recorded the folders that are recorded to
 */
export function planMoves(
  source: FootageSource,
  tiers: readonly Tier[],
  recorded: readonly string[],
  now: number,
  { ready, there, skip, shortOf, limit = MAX_MOVES }: MoveOptions,
): Move[] {
  const moves: Move[] = [];
  const going = new Map<string, number>();
  const taken = new Set<number>(skip);
  const lists = (storages: readonly string[], kinds: readonly Kind[], before: number, copied?: string | null) =>
    mergeOldest(
      storages.flatMap((storage) =>
        kinds.map((kind) => source.placed({ storage, kind, before, ...(copied === undefined ? {} : { copied }) })),
      ),
    );
  const take = (segment: Segment, move: Omit<Move, keyof Segment>): void => {
    taken.add(segment.id);
    moves.push({ ...segment, ...move });
    if (move.action !== 'copy') going.set(segment.storage, (going.get(segment.storage) ?? 0) + segment.bytes);
  };
  const folders = [...recorded, ...tiers.map(({ to }) => to).filter((to) => !isBucket(to))];
  const present = folders.filter((one) => there.has(one));
  const sources = (at: number): string[] => present.filter((one) => tiers.findIndex(({ to }) => to === one) < at);

  for (const [at, tier] of [...tiers.entries()].reverse()) {
    const { to, afterMs, keepMs = 0 } = tier;
    if (!ready.has(to)) continue;
    let count = 0;
    const due = now - afterMs;
    // What lies in the bucket already need not be sent: it is let go, when its time here is over, wherever its disk is.
    if (isBucket(to)) {
      for (const segment of lists(folders, KINDS, now - Math.max(afterMs, keepMs), to)) {
        if (count >= limit) break;
        if (taken.has(segment.id)) continue;
        take(segment, { action: 'release', to, reason: 'age' });
        count++;
      }
    }
    for (const segment of lists(sources(at), takes(tier), due, isBucket(to) ? null : undefined)) {
      if (count >= limit) break;
      if (taken.has(segment.id) || segment.end > due) continue;
      take(segment, { action: now - segment.end < keepMs ? 'copy' : 'move', to, reason: 'age' });
      count++;
    }
  }

  for (const storage of present) {
    let short = shortOf(storage) - (going.get(storage) ?? 0);
    let count = 0;
    for (const tier of below(tiers, storage)) {
      if (short <= 0) break;
      if (!ready.has(tier.to) || shortOf(tier.to) > 0) continue;
      const movable = lists([storage], takes(tier), now, isBucket(tier.to) ? null : undefined);
      const ways: ['release' | 'move', Iterable<Segment>][] = [['move', movable]];
      // What the bucket has already costs nothing to let go.
      if (isBucket(tier.to)) ways.unshift(['release', lists([storage], KINDS, now, tier.to)]);
      for (const [action, list] of ways) {
        for (const segment of list) {
          if (short <= 0 || count >= limit) break;
          if (taken.has(segment.id)) continue;
          take(segment, { action, to: tier.to, reason: 'room' });
          short -= segment.bytes;
          count++;
        }
      }
    }
  }
  return moves;
}

/**
 * What is let go on disks that are about to be full, for a bucket has it: else an emergency would delete it here and there.
 * Whether the bucket answers now does not matter, its copy was verified. Oldest first.
 * @param recorded the folders that are recorded to
 */
export function planReleases(
  source: FootageSource,
  tiers: readonly Tier[],
  recorded: readonly string[],
  space: readonly Space[],
  limit = MAX_MOVES,
): Move[] {
  const buckets = tiers.map(({ to }) => to).filter(isBucket);
  const folders = [...recorded, ...tiers.map(({ to }) => to)];
  const moves: Move[] = [];
  for (const disk of disksOf(space)) {
    let short = emergencyBytes(disk) - disk.free;
    if (short <= 0) continue;
    const own = disk.own.filter((storage) => folders.includes(storage));
    const lists = own.flatMap((storage) =>
      buckets.flatMap((copied) => KINDS.map((kind) => source.placed({ storage, kind, before: Infinity, copied }))),
    );
    for (const segment of mergeOldest(lists)) {
      if (short <= 0 || moves.length >= limit) break;
      moves.push({ ...segment, action: 'release', to: segment.copy!, reason: 'room' });
      short -= segment.bytes;
    }
  }
  return moves;
}

/** The room as it is when a file has moved: for plans that are made before the disks are looked at again. */
export function spaceAfter(space: readonly Space[], { storage, to, action, bytes }: Move): Space[] {
  const diskOf = (folder: string): string | undefined => space.find((one) => one.storage === folder)?.disk;
  const from = action === 'copy' ? undefined : diskOf(storage);
  const target = action === 'release' ? undefined : diskOf(to);
  return space.map((one) => {
    if (one.freeBytes === null) return one;
    const more = (one.disk === from ? bytes : 0) - (one.disk === target ? bytes : 0);
    return { ...one, freeBytes: one.freeBytes + more };
  });
}

/** Bytes that a folder has too many, by its quota, by the room its disk should have, and by what is written there. */
export function shortage(
  { storages, minFree }: RuleSet,
  space: readonly Space[],
  used: (storage: string) => number,
): (storage: string) => number {
  return (storage) => {
    const own = space.find((one) => one.storage === storage);
    if (!own) return 0;
    const over = used(storage) - bytesOf(storages?.[storage], own.totalBytes);
    const disk = disksOf(space).find((one) => one.own.includes(storage));
    if (!disk) return Math.max(0, over);
    const wanted = Math.max(freeWanted(disk, minFree, AHEAD_MS), EARLY * emergencyBytes(disk));
    return Math.max(0, over, wanted - disk.free);
  };
}
