/** Which footage an event has, as far as it is there. Pure but for what it is given to ask. */
import { clipCoverage, mergeRanges } from '../catalog/coverage.ts';
import type { Coverage, StreamName, TimeRange } from '../types.ts';
import { rangeOfEvent } from './timing.ts';
import type { EventFootage, EventRecord } from './types.ts';

/** Footage that is not on disk so long after it was filmed, and is in no gap, was not wanted. */
export const SETTLE_MS = 8000;
/** Less than this at the end is a frame that comes with the next. */
const EDGE_MS = 500;

export interface FootageSource {
  isCamera(camera: string): boolean;
  /** Throws for a camera of which nothing was ever recorded. */
  coverage(camera: string, stream: StreamName, range: TimeRange): Coverage;
}

/** Questions that are so near to each other are asked as one. */
const NEAR_MS = 60_000;

/**
 * For many events at once, most of them of the same minutes: the catalogue is asked once for each camera and time, and each
 * event gets its part. Good for as long as nothing is recorded meanwhile.
 */
export function sharedSource(source: FootageSource, records: readonly EventRecord[], now: number): FootageSource {
  const asked = new Map<string, TimeRange[]>();
  for (const record of records) {
    for (const camera of record.cameras) {
      const ranges = asked.get(camera) ?? [];
      asked.set(camera, ranges);
      ranges.push(rangeOfEvent(record, now));
    }
  }
  const windows = new Map<string, TimeRange[]>();
  const known = new Map<string, Coverage>();
  return {
    isCamera: (camera) => source.isCamera(camera),
    coverage: (camera, stream, range) => {
      let near = windows.get(camera);
      if (!near) windows.set(camera, (near = mergeRanges(asked.get(camera) ?? [], ALWAYS, NEAR_MS)));
      const window = near.find(({ start, end }) => range.start >= start && range.end <= end) ?? range;
      const key = `${camera} ${stream} ${window.start}`;
      let whole = known.get(key);
      if (!whole) known.set(key, (whole = source.coverage(camera, stream, window)));
      return clipCoverage(whole, range);
    },
  };
}
const ALWAYS: TimeRange = { start: -Infinity, end: Infinity };

const isEmpty = ({ recorded, gaps, deleted }: Coverage): boolean =>
  recorded.length + gaps.length + deleted.length === 0;

function coverageOf(source: FootageSource, camera: string, range: TimeRange): Coverage {
  const main = source.coverage(camera, 'main', range);
  const sub = isEmpty(main) ? source.coverage(camera, 'sub', range) : main;
  return isEmpty(sub) ? main : sub;
}

/** @param complete nothing is waited for any more */
export function footageOf(record: EventRecord, source: FootageSource, now: number, complete: boolean): EventFootage[] {
  return record.cameras.map((camera) => {
    if (!source.isCamera(camera)) return { camera, state: 'none', reason: 'there is no such camera' };
    const range = rangeOfEvent(record, now);
    try {
      return { camera, state: complete ? 'complete' : 'pending', coverage: coverageOf(source, camera, range) };
    } catch {
      // Coverage refuses nothing else.
      return { camera, state: 'none', reason: 'nothing was ever recorded of it' };
    }
  });
}

/** Whether no more of it will come to the disk. */
export function isSettled(record: EventRecord, source: FootageSource, now: number): boolean {
  const { end } = rangeOfEvent(record, now);
  if (now >= end + SETTLE_MS) return true;
  return footageOf(record, source, now, true).every((of) => {
    if (of.state === 'none') return true;
    const { recorded, gaps, deleted } = of.coverage;
    const known = mergeRanges([...recorded, ...gaps, ...deleted], of.coverage, EDGE_MS);
    return (known.at(-1)?.end ?? 0) >= end - EDGE_MS;
  });
}

/** What a person must know of footage that is not there. */
export function footageProblems(footage: readonly EventFootage[]): string[] {
  return footage.flatMap((of) => {
    if (of.state === 'none') return [];
    const { camera, coverage } = of;
    const reasons = [...new Set(coverage.deleted.map(({ reason }) => reason))];
    if (reasons.length > 0) return [`footage of ${camera} is deleted already (${reasons.join(', ')})`];
    if (of.state === 'pending' || coverage.recorded.length > 0) return [];
    const causes = [...new Set(coverage.gaps.map(({ cause }) => cause))];
    return [
      `nothing is recorded of ${camera}: ${causes.length > 0 ? causes.join(', ') : 'no recorder wanted it then'}`,
    ];
  });
}
