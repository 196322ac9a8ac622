/** Days as the people of a time zone count them: 23 or 25 hours long when the clocks change. Pure. */
import { EngineError, type TimeRange } from '../types.ts';

export interface LocalDay extends TimeRange {
  /** `YYYY-MM-DD` there. */
  day: string;
}

const HOUR_MS = 3_600_000;
/** Clocks are changed at whole minutes since 1972. */
const STEP_MS = 60_000;

/** The days that a range touches, oldest first, each from its first instant to the next day's. Throws `bad-request`. */
export function localDays({ start, end }: TimeRange, timeZone: string): LocalDay[] {
  const dayOf = dayFormat(timeZone);
  const days: LocalDay[] = [];
  let from = firstInstant(dayOf, start - 26 * HOUR_MS, start);
  while (from < end) {
    // No day is longer than 25 hours, none shorter than 22; one that the clocks leave out has no instant of its own.
    const next = firstInstant(dayOf, from, from + 26 * HOUR_MS);
    days.push({ day: dayOf(from), start: from, end: next });
    from = next;
  }
  return days;
}

/** The first instant of the day that `inside` is in; it begins behind `before`. */
function firstInstant(dayOf: (at: number) => string, before: number, inside: number): number {
  const day = dayOf(inside);
  let [low, high] = [Math.floor(before / STEP_MS), Math.floor(inside / STEP_MS)];
  // Midnight by the offset of one instant is wrong on days that begin with a change of the clocks: look for it.
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (dayOf(middle * STEP_MS) === day) high = middle;
    else low = middle;
  }
  return high * STEP_MS;
}

function dayFormat(timeZone: string): (at: number) => string {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat('en-CA', { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' });
  } catch {
    throw new EngineError('bad-request', 'tz must be the name of a time zone, for example Europe/Berlin');
  }
  return (at) => format.format(at);
}
