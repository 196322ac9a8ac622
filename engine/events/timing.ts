/** When an event was, by the NVR's clock, and which footage is its own. Pure. */
import type { TimeRange } from '../types.ts';
import type { ClockGuess } from './clock.ts';
import type { IncomingEvent } from './incoming.ts';
import type { EventRecord } from './types.ts';

/** How an event-index node takes the times of machines. */
export interface ClockSetting {
  /** `trust`: as they are; `fixed`: with `offsetMs`; `learn`: see clock.ts, for sources whose events come as they happen. */
  mode: 'trust' | 'fixed' | 'learn';
  offsetMs: number;
}

export interface Timing {
  start: number;
  /** Undefined: nothing was said of it. */
  end: number | null | undefined;
  sourceTime: number | null;
  uncertaintyMs: number;
  problems: string[];
}

/** More than a network and rounding make of a good clock. */
const FUTURE_MS = 2000;
/** Footage of an event that goes on and on. */
export const LONGEST_MS = 86_400_000;

/** @param guess what was learned of the source's clock; null for nothing @param arrival when the message came */
export function timingOf(event: IncomingEvent, clock: ClockSetting, guess: ClockGuess | null, arrival: number): Timing {
  const { sourceTime, resolutionMs = 0, phase } = event;
  if (sourceTime === undefined) {
    const start = Math.min(event.start ?? arrival, arrival + FUTURE_MS);
    const end = event.end === undefined ? endOf(phase, arrival) : event.end;
    return { start, end, sourceTime: null, uncertaintyMs: 0, problems: [] };
  }
  const learned = event.clockOffsetMs === undefined && clock.mode === 'learn';
  const offset =
    event.clockOffsetMs ?? (learned ? (guess?.offsetMs ?? 0) : clock.mode === 'fixed' ? clock.offsetMs : 0);
  const corrected = Math.round(sourceTime + offset);
  const problems: string[] = [];
  let uncertaintyMs = Math.round(
    resolutionMs + (learned ? (guess?.uncertaintyMs ?? Math.abs(arrival - sourceTime)) : 0),
  );
  let start = corrected;
  if (corrected > arrival + FUTURE_MS) {
    // It cannot be: footage of now is the best there is.
    const ahead = Math.round((corrected - arrival) / 1000);
    problems.push(
      `the source's time is ${ahead} s in the future: its clock is ahead; set its offset, or let it be learned. The event is kept at the time it came`,
    );
    start = arrival;
    uncertaintyMs = Math.max(uncertaintyMs, corrected - arrival);
  } else if (learned) {
    start = Math.min(corrected, arrival);
  }
  const shift = start - sourceTime;
  const end = typeof event.end === 'number' ? event.end + shift : endOf(phase, start);
  return { start, end, sourceTime, uncertaintyMs, problems };
}

function endOf(phase: IncomingEvent['phase'], time: number): number | null | undefined {
  if (phase === 'start') return null;
  return phase === 'update' ? undefined : time;
}

/** Footage of an event; of one that lasts, up to `now`. */
export function rangeOfEvent(
  { start, end, preMs, postMs }: Pick<EventRecord, 'start' | 'end' | 'preMs' | 'postMs'>,
  now = Infinity,
): TimeRange {
  const until = Math.min(end ?? now, start + LONGEST_MS) + postMs;
  return { start: start - preMs, end: Math.max(until, start + 1) };
}
