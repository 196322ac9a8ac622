/**
 * Maps a stream's media time to UTC. Network and probing only ever delay a fragment, so the smallest distance between
 * arrival and media time seen is the truest; the mapping then follows the camera's drift slowly, so that durations
 * stay those of the stream.
 */

/** Fastest correction: 0.5 ms a second (500 ppm), beyond any quartz clock. */
const SLEW = 0.0005;
const WINDOW_MS = 30_000;
/** More than this between wall and monotonic clock is a step (NTP slews are slower than that). */
export const STEP_MS = 1500;

export class MediaClock {
  private readonly timescale: number;
  private offset: number;
  private windowStart: number;
  private windowMin = Infinity;

  /** @param offset first estimate of UTC ms minus media ms */
  constructor(timescale: number, offset: number, monotonicMs: number) {
    this.timescale = timescale;
    this.offset = offset;
    this.windowStart = monotonicMs;
  }

  mediaMs(ticks: number): number {
    return (ticks / this.timescale) * 1000;
  }

  /** UTC ms of a media time. */
  utc(ticks: number): number {
    return Math.round(this.mediaMs(ticks) + this.offset);
  }

  /** Takes the arrival of a fragment that ends at `endTicks` into account. */
  observe(endTicks: number, arrivalUtcMs: number, monotonicMs: number): void {
    this.windowMin = Math.min(this.windowMin, arrivalUtcMs - this.mediaMs(endTicks));
    const elapsed = monotonicMs - this.windowStart;
    if (elapsed < WINDOW_MS) return;
    const most = elapsed * SLEW;
    this.offset += Math.max(-most, Math.min(most, this.windowMin - this.offset));
    this.windowStart = monotonicMs;
    this.windowMin = Infinity;
  }

  /** The wall clock was stepped by `ms`: what follows is on the new clock. */
  step(ms: number): void {
    this.offset += ms;
    this.windowMin = Infinity;
  }
}

/** Tells steps of the wall clock from the passing of time. */
export class StepDetector {
  private difference: number;

  constructor(nowMs: number, monotonicMs: number) {
    this.difference = nowMs - monotonicMs;
  }

  /** Step since the last call in ms, or 0. */
  check(nowMs: number, monotonicMs: number): number {
    const step = nowMs - monotonicMs - this.difference;
    this.difference = nowMs - monotonicMs;
    return Math.abs(step) >= STEP_MS ? step : 0;
  }
}
