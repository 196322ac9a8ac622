/** What of a range is recorded, missing, or was not wanted: arithmetic on ranges. */
import type { DeletionReason } from '../retention/types.ts';
import type { Coverage, GapCause, StreamName, TimeRange } from '../types.ts';

/** Neighbouring files of one run differ by rounding; less than this between them is no hole. */
export const JOIN_MS = 100;

/** Sorted, joined where they touch or overlap, cut to the window. */
export function mergeRanges(ranges: readonly TimeRange[], window: TimeRange, joinMs = 0): TimeRange[] {
  const merged: TimeRange[] = [];
  const inside = ranges
    .map(({ start, end }) => ({ start: Math.max(start, window.start), end: Math.min(end, window.end) }))
    .filter(({ start, end }) => end > start)
    .sort((a, b) => a.start - b.start);
  for (const range of inside) {
    const last = merged.at(-1);
    if (last && range.start <= last.end + joinMs) last.end = Math.max(last.end, range.end);
    else merged.push({ ...range });
  }
  return merged;
}

/** The parts of a range that no (sorted, disjoint) range covers. */
export function subtractRanges(window: TimeRange, covered: readonly TimeRange[]): TimeRange[] {
  const left: TimeRange[] = [];
  let at = window.start;
  for (const { start, end } of covered) {
    if (start >= window.end) break;
    if (start > at) left.push({ start: at, end: start });
    at = Math.max(at, end);
  }
  if (at < window.end) left.push({ start: at, end: window.end });
  return left;
}

export function spansIn({ recorded, gaps, deleted, unscheduled }: Coverage): number {
  return recorded.length + gaps.length + deleted.length + unscheduled.length;
}

/** Footage wins over what was deleted, and that over gaps: where both are told (a clock that went back), it is there. */
export function computeCoverage(
  of: { camera: string; stream: StreamName } & TimeRange,
  segments: readonly TimeRange[],
  gaps: readonly { start: number; end: number | null; cause: GapCause }[],
  nowMs: number,
  deletions: readonly (TimeRange & { reason: DeletionReason })[] = [],
): Coverage {
  const recorded = mergeRanges(segments, of, JOIN_MS);
  const deleted = deletions
    .flatMap(({ start, end, reason }) =>
      end > of.start && start < of.end
        ? subtractRanges({ start: Math.max(start, of.start), end: Math.min(end, of.end) }, recorded).map((range) => ({
            ...range,
            reason,
          }))
        : [],
    )
    .sort((a, b) => a.start - b.start);
  const was = mergeRanges([...recorded, ...deleted], of);
  const missing = gaps
    .flatMap((gap) =>
      subtractRanges({ start: Math.max(gap.start, of.start), end: Math.min(gap.end ?? nowMs, of.end) }, was)
        .filter(({ start, end }) => end > start)
        .map((range) => ({ ...range, cause: gap.cause })),
    )
    .sort((a, b) => a.start - b.start);
  const told = mergeRanges([...was, ...missing], of);
  return { ...of, recorded, gaps: missing, deleted, unscheduled: subtractRanges(of, told) };
}

/** The part of a coverage that lies in a range, which lies in its own. */
export function clipCoverage(of: Coverage, { start, end }: TimeRange): Coverage {
  const clip = <T extends TimeRange>(ranges: readonly T[]): T[] =>
    ranges
      .filter((range) => range.start < end && range.end > start)
      .map((range) => ({ ...range, start: Math.max(range.start, start), end: Math.min(range.end, end) }));
  const { recorded, gaps, deleted, unscheduled } = of;
  const parts = { recorded: clip(recorded), gaps: clip(gaps), deleted: clip(deleted), unscheduled: clip(unscheduled) };
  return { ...of, start, end, ...parts };
}
