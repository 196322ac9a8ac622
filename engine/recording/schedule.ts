/** The weekly schedule of a recorder. */
import { EngineError, type ScheduleEntry } from '../types.ts';

const DAY_MINUTES = 24 * 60;

/** Minutes since midnight of `HH:MM` (`24:00` included). Throws `bad-schedule`. */
export function parseTime(text: string): number {
  const match = /^(\d\d):(\d\d)$/.exec(text);
  const minutes = match ? Number(match[1]) * 60 + Number(match[2]) : NaN;
  if (!(minutes >= 0 && minutes <= DAY_MINUTES) || Number(match?.[2]) > 59) {
    throw new EngineError('bad-schedule', `"${text}" is not a time of day: write HH:MM`);
  }
  return minutes;
}

/** A line of a weekly plan, in the server's local time. `to` before `from` runs over midnight. */
export interface WeeklyTime {
  /** 0 is Sunday. */
  days: readonly number[];
  from: string;
  to: string;
}

/** Whether a moment is inside. Throws `bad-schedule`. */
export function isInside(entry: WeeklyTime, nowMs: number): boolean {
  const date = new Date(nowMs);
  const minute = date.getHours() * 60 + date.getMinutes();
  const today = date.getDay();
  const yesterday = (today + 6) % 7;
  const from = parseTime(entry.from);
  const to = parseTime(entry.to);
  if (from < to) return entry.days.includes(today) && minute >= from && minute < to;
  return (entry.days.includes(today) && minute >= from) || (entry.days.includes(yesterday) && minute < to);
}

/** What the schedule wants at a moment; continuous wins over event where lines overlap. */
export function scheduledMode(entries: readonly ScheduleEntry[], nowMs: number): 'continuous' | 'event' | null {
  const modes = entries.filter((entry) => isInside(entry, nowMs)).map(({ mode }) => mode);
  return modes.includes('continuous') ? 'continuous' : (modes[0] ?? null);
}
