/** What a plan is made from, and the same from a plain list. */
import type { TimeRange } from '../types.ts';
import type { Kind, Only, Segment } from './types.ts';

/** Files of one camera and kind that lie within one of the ranges (sorted, apart from each other). */
export interface Selection {
  camera: string;
  kind: Kind;
  ranges: readonly TimeRange[];
  /** All when absent. */
  storages?: readonly string[];
}

/** Files of one kind in one folder that begin before a time. */
export interface Placed {
  storage: string;
  kind: Kind;
  before: number;
  /** With a copy in this bucket, or null for those with none; all when absent. */
  copied?: string | null;
}

export interface Amount {
  bytes: number;
  files: number;
}

export interface FootageSource {
  /** All of which there is footage. */
  cameras(): string[];
  /** All of a camera in a storage folder. */
  used(camera: string, storage: string): Amount;
  /** Oldest first. Read as far as needed, and before anything is deleted. */
  oldest(of: Selection): Iterable<Segment>;
  /** Oldest first, as `oldest`. */
  placed(of: Placed): Iterable<Segment>;
  /** The sum of what `oldest` would give. */
  sum(of: Selection): Amount;
  /** When such events were that touch the range, with what belongs to them ({@link MARGIN_MS}); in no order. */
  shown(camera: string, only: Only, range: TimeRange): TimeRange[];
}

/** Footage so long before and after something happened belongs to it. */
export const MARGIN_MS = 10_000;

/** An event, or a recording that was started by something. */
export interface Happening {
  camera: string;
  start: number;
  end: number;
  label: string | null;
  zones: readonly string[];
  trigger: string;
}

export function isOnly({ labels, zones, triggers }: Only, { label, zones: touched, trigger }: Happening): boolean {
  if (labels && (label === null || !labels.includes(label))) return false;
  if (zones && !touched.some((zone) => zones.includes(zone))) return false;
  return triggers?.includes(trigger) ?? true;
}

export function sourceOf(segments: readonly Segment[], happenings: readonly Happening[] = []): FootageSource {
  const sorted = [...segments].sort((a, b) => a.start - b.start);
  const oldest = ({ camera, kind, ranges, storages }: Selection): Segment[] =>
    sorted.filter(
      (segment) =>
        segment.camera === camera &&
        segment.kind === kind &&
        (storages?.includes(segment.storage) ?? true) &&
        ranges.some(({ start, end }) => segment.start >= start && segment.end <= end),
    );
  return {
    cameras: () => [...new Set(segments.map(({ camera }) => camera))],
    used: (camera, storage) => {
      const own = segments.filter((segment) => segment.camera === camera && segment.storage === storage);
      return { bytes: own.reduce((sum, { bytes }) => sum + bytes, 0), files: own.length };
    },
    oldest,
    placed: ({ storage, kind, before, copied }) =>
      sorted.filter(
        (segment) =>
          segment.storage === storage &&
          segment.kind === kind &&
          segment.start < before &&
          (copied === undefined || (segment.copy ?? null) === copied),
      ),
    sum: (of) => {
      const own = oldest(of);
      return { bytes: own.reduce((sum, { bytes }) => sum + bytes, 0), files: own.length };
    },
    shown: (camera, only, range) =>
      happenings
        .filter((one) => one.camera === camera && isOnly(only, one))
        .map(({ start, end }) => ({ start: start - MARGIN_MS, end: end + MARGIN_MS }))
        .filter(({ start, end }) => start < range.end && end > range.start),
  };
}

/** Several sorted lists as one, by start; each is read no further than needed. */
export function* mergeOldest(lists: readonly Iterable<Segment>[]): Generator<Segment> {
  const heads: { segment: Segment; rest: Iterator<Segment> }[] = [];
  const iterators = lists.map((list) => list[Symbol.iterator]());
  try {
    for (const rest of iterators) {
      const first = rest.next();
      if (!first.done) heads.push({ segment: first.value, rest });
    }
    while (heads.length > 0) {
      let at = 0;
      for (let i = 1; i < heads.length; i++) if (heads[i]!.segment.start < heads[at]!.segment.start) at = i;
      const head = heads[at]!;
      yield head.segment;
      const next = head.rest.next();
      if (next.done) heads.splice(at, 1);
      else head.segment = next.value;
    }
  } finally {
    for (const iterator of iterators) iterator.return?.();
  }
}
