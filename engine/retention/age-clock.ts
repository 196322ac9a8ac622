/** The time by which footage gets older: a wall clock that was set must not make a year of it old at once. */
import type { Clock } from '../clock.ts';

/** Further than that ahead of what passed, a clock was set, or the machine was asleep. */
const STEP_MS = 5 * 60_000;
/** A clock that is ahead of the last run by more may be wrong. */
const AWAY_MS = 86_400_000;
/** After that it is believed: a clock that is wrong at boot is set within minutes. */
const BELIEVE_MS = 6 * 3_600_000;

/** While the wall clock is ahead for no reason that is known, time goes on as it passes. */
export class AgeClock {
  private readonly clock: Pick<Clock, 'now' | 'monotonic'>;
  /** The last time that was believed, and when that was. */
  private at: number;
  private since: number;
  private believeFrom = Infinity;

  /** @param last the time of the last run; null for none */
  constructor(clock: Pick<Clock, 'now' | 'monotonic'>, last: number | null) {
    this.clock = clock;
    const now = clock.now();
    this.at = last !== null && now > last + AWAY_MS ? last : now;
    this.since = clock.monotonic();
  }

  now(): number {
    const { clock } = this;
    const [now, monotonic] = [clock.now(), clock.monotonic()];
    const passed = this.at + monotonic - this.since;
    if (now > passed + STEP_MS && monotonic < this.believeFrom) {
      if (this.believeFrom === Infinity) this.believeFrom = monotonic + BELIEVE_MS;
      return passed;
    }
    [this.at, this.since, this.believeFrom] = [now, monotonic, Infinity];
    return now;
  }

  /** How far the wall clock is ahead of what is believed, ms. */
  get aheadMs(): number {
    return Math.max(0, this.clock.now() - this.now());
  }
}
