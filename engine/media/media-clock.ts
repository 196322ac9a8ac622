/**
 * Maps a stream's media time to UTC. Network and probing only ever delay a fragment, so the smallest distances between
 * arrival and media time are the truest. Most cameras' clocks are off by less than 0.005 %; those that count pictures
 * instead of time by as much as their rate is not what they say. The line below the smallest distances of the last
 * minutes says which it is (the idea is that of Moon, Skelly and Towsley, "Estimation and removal of clock skew from
 * network delay measurements", INFOCOM 1999). The mapping follows it without ever jumping, so that what follows
 * without a gap in the stream follows without a gap in UTC.
 */

/** Fastest correction that needs no proof: 0.5 ms a second, beyond any quartz clock. */
const SLEW = 0.0005;
/** Fastest correction of what is proven: that it came before it was filmed, or a line over minutes. */
const PROVEN_SLEW = 0.05;
/** However fast a stream says that time passes, it does not run backwards. */
const LEAST_RATE = 0.001;
/** Drift under a queue that is never empty looks like no line. So late at the least is no queue; if it was one, it empties. */
const MOST_LATE_MS = 3000;
/** Of each window the smallest distance counts. */
const WINDOW_MS = 5000;
/** 20 minutes: what is left of a queue's delay after that is taken for the truth, slowly. */
const MAX_WINDOWS = 240;
/** Without a line, the smallest distance of so many windows is followed. */
const RECENT = 6;
/** Reading in turns delays by up to 200 ms, and beats with the rate of pictures: a movement below twice that is none. */
const LEAST_MOVEMENT_MS = 400;
const LEAST_WINDOWS = 4;
/** A line explains what is seen when half of the distances are nearer to it than this part of its movement. */
const SCATTER = 1 / 8;
/** More than this between wall and monotonic clock is a step (NTP slews are slower than that). */
export const STEP_MS = 1500;

/** The distance in ms of what ended at `mediaMs`. */
interface Distance {
  mediaMs: number;
  ms: number;
}

interface Line {
  mediaMs: number;
  ms: number;
  /** ms of distance per ms of media. */
  slope: number;
}

export class MediaClock {
  private readonly timescale: number;
  /** UTC is `utcMs` at `mediaMs`, and goes on with `rate`. */
  private anchor: { mediaMs: number; utcMs: number; rate: number };
  private windowStart: number;
  private smallest: Distance | null = null;
  private readonly windows: Distance[] = [];
  /** How much slower than UTC media time passes, as far as known: 0.01 for a stream that says 100 s for 101. */
  drift = 0;

  /** @param offset first estimate of UTC ms minus media ms */
  constructor(timescale: number, offset: number, monotonicMs: number) {
    this.timescale = timescale;
    this.anchor = { mediaMs: 0, utcMs: offset, rate: 1 };
    this.windowStart = monotonicMs;
  }

  mediaMs(ticks: number): number {
    return (ticks / this.timescale) * 1000;
  }

  /** Length of a tick in UTC ms, as far as known. */
  get tickMs(): number {
    return ((1 + this.drift) * 1000) / this.timescale;
  }

  /** UTC ms of a media time. */
  utc(ticks: number): number {
    return Math.round(this.exact(this.mediaMs(ticks)));
  }

  private exact(mediaMs: number): number {
    const { anchor } = this;
    return anchor.utcMs + (mediaMs - anchor.mediaMs) * anchor.rate;
  }

  /** Takes the arrival of a fragment that ends at `endTicks` into account, for what comes behind it. */
  observe(endTicks: number, arrivalUtcMs: number, monotonicMs: number): void {
    const mediaMs = this.mediaMs(endTicks);
    const ms = arrivalUtcMs - mediaMs;
    if (!this.smallest || ms < this.smallest.ms) this.smallest = { mediaMs, ms };
    const elapsed = monotonicMs - this.windowStart;
    if (elapsed < WINDOW_MS) return;
    this.windows.push(this.smallest);
    if (this.windows.length > MAX_WINDOWS) this.windows.shift();
    this.windowStart = monotonicMs;
    this.smallest = null;
    const line = driftOf(this.windows);
    this.drift = line?.slope ?? 0;
    const recent = Math.min(...this.windows.slice(-RECENT).map((window) => window.ms));
    const target = mediaMs + (line ? line.ms + (mediaMs - line.mediaMs) * line.slope : recent);
    const utcMs = this.exact(mediaMs);
    const off = target - utcMs;
    const most = line || off < 0 || off > MOST_LATE_MS ? PROVEN_SLEW : SLEW;
    // Twice the time, or what comes in bursts would be corrected too far, to and fro.
    const slew = Math.max(-most, Math.min(most, off / (2 * elapsed)));
    this.anchor = { mediaMs, utcMs, rate: Math.max(LEAST_RATE, 1 + this.drift + slew) };
  }

  /** The wall clock was stepped by `ms`: what follows is on the new clock. */
  step(ms: number): void {
    this.anchor.utcMs += ms;
    for (const window of this.windows) window.ms += ms;
    if (this.smallest) this.smallest.ms += ms;
  }
}

/** The line below all distances that is nearest to them, if they move, and move along it. */
function driftOf(windows: readonly Distance[]): Line | null {
  if (windows.length < LEAST_WINDOWS) return null;
  const hull: Distance[] = [];
  for (const point of windows) {
    while (hull.length > 1 && !turnsUp(hull.at(-2)!, hull.at(-1)!, point)) hull.pop();
    hull.push(point);
  }
  // Of all lines below, the one at the mean of the times has the smallest sum of distances.
  const mean = windows.reduce((sum, { mediaMs }) => sum + mediaMs, 0) / windows.length;
  const right = Math.max(
    1,
    hull.findIndex(({ mediaMs }) => mediaMs >= mean),
  );
  const [a, b] = [hull[right - 1], hull[right]];
  if (!a || !b || a.mediaMs === b.mediaMs) return null;
  const slope = (b.ms - a.ms) / (b.mediaMs - a.mediaMs);
  const movement = Math.abs(slope) * (windows.at(-1)!.mediaMs - windows[0]!.mediaMs);
  const above = windows.map(({ mediaMs, ms }) => ms - (a.ms + (mediaMs - a.mediaMs) * slope)).sort((x, y) => x - y);
  const scatter = above[above.length >> 1]!;
  return movement >= LEAST_MOVEMENT_MS && scatter <= movement * SCATTER ? { ...a, slope } : null;
}

/** Whether the path over three points, from left to right, turns upwards. */
function turnsUp(a: Distance, b: Distance, c: Distance): boolean {
  return (b.ms - a.ms) * (c.mediaMs - b.mediaMs) < (c.ms - b.ms) * (b.mediaMs - a.mediaMs);
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
