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

/** What the schedule wants at a moment, in the server's local time; continuous wins over event where lines overlap. */
export function scheduledMode(entries: readonly ScheduleEntry[], nowMs: number): 'continuous' | 'event' | null {
  const date = new Date(nowMs);
  const minute = date.getHours() * 60 + date.getMinutes();
  const today = date.getDay();
  let mode: 'continuous' | 'event' | null = null;
  for (const entry of entries) {
    const from = parseTime(entry.from);
    const to = parseTime(entry.to);
    const yesterday = (today + 6) % 7;
    const inside =
      from < to
        ? entry.days.includes(today) && minute >= from && minute < to
        : (entry.days.includes(today) && minute >= from) || (entry.days.includes(yesterday) && minute < to);
    if (!inside) continue;
    if (entry.mode === 'continuous') return 'continuous';
    mode = 'event';
  }
  return mode;
}
