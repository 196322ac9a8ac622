/** Where an axis of time has its ticks, by the clocks of a zone. Pure. */
import type { View } from './scale.ts';
import type { Zone } from './zone.ts';

const SECOND_MS = 1000;
const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

/** Steps that people count in. Those of days and months are by the calendar. */
const STEPS_MS = [
  ...[0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30].map((seconds) => seconds * SECOND_MS),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * MINUTE_MS),
  ...[1, 2, 3, 6, 12].map((hours) => hours * HOUR_MS),
];
const STEPS_DAYS = [1, 2, 5, 10];

export interface Tick {
  time: number;
  /** Of days: drawn stronger, named by their date. */
  kind: 'day' | 'time';
  /** For ticks of times: how exactly they are named. */
  detail: 'minutes' | 'seconds' | 'frames';
}

/** At most so many: a bound for views that make no sense. */
const MAX_TICKS = 1000;

/** Ticks of a view at least `spacing` pixels apart; midnights are always among them while days are that far apart. */
export function ticksOf(view: View, width: number, spacing: number, zone: Zone): Tick[] {
  const least = ((view.end - view.start) / width) * spacing;
  const step = STEPS_MS.find((ms) => ms >= least);
  if (step === undefined) return days(view, least, zone);
  const detail = step >= MINUTE_MS ? 'minutes' : step >= SECOND_MS ? 'seconds' : 'frames';
  return step >= HOUR_MS ? hours(view, step / HOUR_MS, zone) : even(view, step, detail, zone);
}

/** Steps below an hour are the same length whatever clocks do. */
function even(view: View, step: number, detail: Tick['detail'], zone: Zone): Tick[] {
  const offset = zone.offset(view.start);
  // Where the offset is no multiple of the step (30 minutes at +5:45), ticks still fall on full steps of the clock.
  const first = Math.ceil((view.start + offset) / step) * step - offset;
  const ticks: Tick[] = [];
  for (let i = 0; first + i * step <= view.end && ticks.length < MAX_TICKS; i++) {
    const time = Math.round(first + i * step);
    const { hour, minute, second } = zone.clock(time);
    const midnight = hour === 0 && minute === 0 && second === 0 && time % SECOND_MS === 0;
    ticks.push({ time, kind: midnight && zone.startOfDay(time) === time ? 'day' : 'time', detail });
  }
  return ticks;
}

/** Each full hour that comes, so that a day of 25 hours has one more and one of 23 one less. */
function hours(view: View, step: number, zone: Zone): Tick[] {
  const ticks: Tick[] = [];
  for (let day = zone.startOfDay(view.start); day <= view.end; day = zone.dayAfter(day)) {
    const end = zone.dayAfter(day);
    for (let time = day; time < end && ticks.length < MAX_TICKS; time += HOUR_MS / 2) {
      if (time < view.start || time > view.end) continue;
      const { hour, minute } = zone.clock(time);
      if (time === day) ticks.push({ time, kind: 'day', detail: 'minutes' });
      else if (minute === 0 && hour % step === 0) ticks.push({ time, kind: 'time', detail: 'minutes' });
    }
  }
  return ticks;
}

function days(view: View, least: number, zone: Zone): Tick[] {
  const ticks: Tick[] = [];
  const step = STEPS_DAYS.find((count) => count * 24 * HOUR_MS >= least) ?? 31;
  for (let day = zone.startOfDay(view.start); day <= view.end && ticks.length < MAX_TICKS; day = zone.dayAfter(day)) {
    // Counted from the first of each month; none so late that the next first would be too near.
    const { day: number } = zone.clock(day);
    const left = (zone.startOfMonth(day, 1) - day) / (24 * HOUR_MS);
    const counts = number === 1 || ((number - 1) % step === 0 && left >= step * 0.8);
    if (counts && day >= view.start) ticks.push({ time: day, kind: 'day', detail: 'minutes' });
  }
  return ticks;
}

/** Midnights of a view, for the bands of days: from the one before its start to the one behind its end. */
export function midnights(view: View, zone: Zone): number[] {
  const found = [zone.startOfDay(view.start)];
  while (found.at(-1)! < view.end && found.length < MAX_TICKS) found.push(zone.dayAfter(found.at(-1)!));
  return found;
}
