/** How much of each day is there, and what was missing for which cause: sums for a report, not ranges. Pure. */
import { mergeRanges } from '../catalog/coverage.ts';
import type { Coverage, GapCause, TimeRange } from '../types.ts';

export interface DayCoverage {
  /** Recorded; also what was deleted since. */
  recordedMs: number;
  /** Should have been recorded and was not. */
  missingMs: number;
  /** Recorded, and deleted by retention since. */
  deletedMs: number;
  causes: Partial<Record<GapCause, number>>;
}

export interface CameraDays {
  camera: string;
  /** In the order of the report's days. */
  days: DayCoverage[];
}

export function sumCoverage(coverage: Coverage): DayCoverage {
  const length = (ranges: readonly TimeRange[]): number =>
    mergeRanges(ranges, coverage).reduce((sum, { start, end }) => sum + end - start, 0);
  const causes: Partial<Record<GapCause, number>> = {};
  for (const { start, end, cause } of coverage.gaps) causes[cause] = (causes[cause] ?? 0) + end - start;
  const deletedMs = length(coverage.deleted);
  return {
    ...{ recordedMs: length(coverage.recorded) + deletedMs, missingMs: length(coverage.gaps) },
    ...{ deletedMs, causes },
  };
}
