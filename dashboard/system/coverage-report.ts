/** The report on recorded days: how much of what should be there is there, and whether that keeps what was promised. Pure. */
import type { CameraDays, DayCoverage } from '../../engine/playback/daily-coverage.ts';
import type { LocalDay } from '../../engine/playback/local-days.ts';

export interface CoverageReport {
  timeZone: string;
  stream: string;
  days: LocalDay[];
  cameras: CameraDays[];
}

/** `none`: nothing was to be recorded. `short`: less than a tenth of what was promised may be missing is missing. */
export type Grade = 'none' | 'whole' | 'kept' | 'missed' | 'lost';

/** 0 to 1; null when nothing was to be recorded. */
export function availability({ recordedMs, missingMs }: Pick<DayCoverage, 'recordedMs' | 'missingMs'>): number | null {
  const wanted = recordedMs + missingMs;
  return wanted > 0 ? recordedMs / wanted : null;
}

/** @param target 0 to 1, for example 0.999 */
export function gradeOf(day: Pick<DayCoverage, 'recordedMs' | 'missingMs'>, target: number): Grade {
  const share = availability(day);
  if (share === null) return 'none';
  if (share === 1) return 'whole';
  if (share >= target) return 'kept';
  return share < 0.5 ? 'lost' : 'missed';
}

export function addDays(days: readonly DayCoverage[]): DayCoverage {
  const sum: DayCoverage = { recordedMs: 0, missingMs: 0, deletedMs: 0, causes: {} };
  for (const { recordedMs, missingMs, deletedMs, causes } of days) {
    sum.recordedMs += recordedMs;
    sum.missingMs += missingMs;
    sum.deletedMs += deletedMs;
    for (const [cause, ms] of Object.entries(causes) as [keyof typeof causes, number][]) {
      sum.causes[cause] = (sum.causes[cause] ?? 0) + ms;
    }
  }
  return sum;
}

/** The worst cause first. */
export function causesOf({ causes }: DayCoverage): [cause: string, ms: number][] {
  return Object.entries(causes).sort((a, b) => b[1] - a[1]);
}

/** Never rounded up to what it is not: 99.96 % is no 100 %. */
export function percent(share: number, digits = 2): string {
  const factor = 10 ** (digits + 2);
  return (Math.floor(share * factor + 1e-6) / (factor / 100)).toFixed(digits);
}

/** A line for each camera and day, as spreadsheets read it (RFC 4180); numbers with a point, seconds. */
export function coverageCsv({ days, cameras, timeZone }: CoverageReport, target: number): string {
  const head = [
    'camera',
    'day',
    'time_zone',
    'recorded_s',
    'missing_s',
    'deleted_s',
    'availability_percent',
    'kept',
    'causes',
  ];
  const lines = cameras.flatMap(({ camera, days: of }) =>
    of.map((day, i) => {
      const share = availability(day);
      return [
        ...[camera, days[i]!.day, timeZone, seconds(day.recordedMs), seconds(day.missingMs), seconds(day.deletedMs)],
        share === null ? '' : percent(share, 3),
        share === null ? '' : share >= target ? 'yes' : 'no',
        causesOf(day)
          .map(([cause, ms]) => `${cause}=${seconds(ms)}`)
          .join(' '),
      ];
    }),
  );
  return [head, ...lines].map((fields) => `${fields.map(quoted).join(',')}\r\n`).join('');
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1);
}

function quoted(field: string): string {
  // A field that begins like a formula is run by spreadsheets.
  const safe = /^[=+\-@\t]/.test(field) ? `'${field}` : field;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
