/**
 * How far the clock of a source is off, learned from when its events come. Pure.
 *
 * An event cannot arrive before it happens: arrival minus source time is the offset of the clock plus a delay that is never
 * negative. So the smallest difference of late is the best guess, as in NTP's clock filter (RFC 5905, section 10). The second
 * smallest of many is taken, so that one wild time does not decide; events of an outage that come late are far above it.
 */

export interface ClockGuess {
  /** To be added to the source's times. */
  offsetMs: number;
  /** How far the result may be off. */
  uncertaintyMs: number;
}

/** The differences that are remembered: enough to have some without delay, few enough to follow a clock that is set. */
export const MAX_SAMPLES = 32;
/** Fewer say nothing: the first events after an outage all come late. */
const ENOUGH = 3;
const MANY = 8;
/** What a handful of samples may be off in a network that is busy. */
const FEW_MS = 500;

/** The samples with one more, the oldest forgotten. */
export function withSample(samples: readonly number[], differenceMs: number): number[] {
  return [...samples, differenceMs].slice(-MAX_SAMPLES);
}

/** Null while there are too few. @param samples arrival minus source time, in ms */
export function guessClock(samples: readonly number[]): ClockGuess | null {
  if (samples.length < ENOUGH) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  const offsetMs = sorted[sorted.length >= MANY ? 1 : 0]!;
  const spread = sorted[Math.floor(sorted.length / 2)]! - offsetMs;
  return { offsetMs, uncertaintyMs: sorted.length >= MANY ? spread : Math.max(FEW_MS, spread) };
}
