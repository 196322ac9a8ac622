/** How full it will be on each of the days to come, at the rate of now. Pure. */

export interface Filling {
  /** Days from now. */
  day: number;
  usedBytes: number;
  /** At its limit: what is oldest goes as fast as something is written. */
  full: boolean;
}

const DAY_SECONDS = 86_400;

/** @param limitBytes what there may be at most; null when nothing limits it */
export function fillingByDay(
  usedBytes: number,
  limitBytes: number | null,
  bytesPerSecond: number,
  days: number,
): Filling[] {
  return Array.from({ length: days + 1 }, (_, day) => {
    const wanted = usedBytes + day * DAY_SECONDS * bytesPerSecond;
    const full = limitBytes !== null && wanted >= limitBytes;
    // One that is over its limit already is brought back to it by the next run of retention.
    return { day, usedBytes: full && day > 0 ? limitBytes : wanted, full };
  });
}
