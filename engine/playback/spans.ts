/** Ranges of time as small tuples, for timelines of hundreds of thousands of files. Pure. */
import type { DeletionReason } from '../retention/types.ts';
import type { GapCause, TimeRange } from '../types.ts';

export type Span = [start: number, end: number];
export type GapSpan = [start: number, end: number, cause: GapCause];
export type DeletedSpan = [start: number, end: number, reason: DeletionReason];

/**
 * Cut to the window and joined where they overlap or are at most `joinMs` apart.
 * @param spans in the order of their start
 */
export function joinSorted(spans: Iterable<Span>, window: TimeRange, joinMs: number): Span[] {
  const joined: Span[] = [];
  let last: Span | undefined;
  for (const span of spans) {
    const start = Math.max(span[0], window.start);
    const end = Math.min(span[1], window.end);
    if (end <= start) continue;
    if (last && start <= last[1] + joinMs) {
      if (end > last[1]) last[1] = end;
    } else {
      joined.push((last = [start, end]));
    }
  }
  return joined;
}

/** The same for gaps and deletions: those of one cause that are closer than can be seen become one. */
export function joinCaused<C>(
  gaps: Iterable<[start: number, end: number, cause: C]>,
  window: TimeRange,
  joinMs: number,
): [start: number, end: number, cause: C][] {
  const joined: [number, number, C][] = [];
  for (const [from, to, cause] of gaps) {
    const start = Math.max(from, window.start);
    const end = Math.min(to, window.end);
    if (end <= start) continue;
    const last = joined.at(-1);
    if (last?.[2] === cause && start - last[1] <= joinMs) last[1] = Math.max(last[1], end);
    else joined.push([start, end, cause]);
  }
  return joined;
}
