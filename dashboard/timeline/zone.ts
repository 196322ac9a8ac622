/**
 * Wall clocks of a time zone: all times inside are UTC, this is the edge. Days may have 23 or 25 hours, and the same clock
 * time may come twice; both are told apart by their offset. Pure, but for what is remembered.
 */

const QUARTER_MS = 900_000;
const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;
const MAX_KNOWN = 20_000;

/** How the offset of a zone changes what a clock shows: by at most so much at once, in every zone since 1970. */
const CHANGES_MS = [HOUR_MS, HOUR_MS / 2, 2 * HOUR_MS];

export interface WallClock {
  year: number;
  /** 1 to 12. */
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
  /** 0 is Sunday. */
  weekday: number;
}

export function isZone(name: string): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: name }));
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

export class Zone {
  readonly name: string;
  private readonly parts: Intl.DateTimeFormat;
  private readonly formats = new Map<string, Intl.DateTimeFormat>();
  /** By quarter of an hour: no zone changes its offset in between. */
  private readonly known = new Map<number, number>();

  /** Throws RangeError for a zone that there is not. @param name of the IANA data base */
  constructor(name: string) {
    this.name = name;
    this.parts = new Intl.DateTimeFormat('en-US', {
      ...{ timeZone: name, calendar: 'gregory', numberingSystem: 'latn', hourCycle: 'h23' },
      ...{ year: 'numeric', month: 'numeric', day: 'numeric', hour: 'numeric', minute: 'numeric', second: 'numeric' },
    });
  }

  /** What clocks there are ahead of UTC, ms. */
  offset(time: number): number {
    const quarter = Math.floor(time / QUARTER_MS);
    const known = this.known.get(quarter);
    if (known !== undefined) return known;
    const at = quarter * QUARTER_MS;
    const fields: Record<string, number> = {};
    for (const { type, value } of this.parts.formatToParts(at)) fields[type] = Number(value);
    const { year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0 } = fields;
    const offset = Date.UTC(year, month - 1, day, hour, minute, second) - at;
    if (this.known.size >= MAX_KNOWN) this.known.clear();
    this.known.set(quarter, offset);
    return offset;
  }

  clock(time: number): WallClock {
    const date = new Date(time + this.offset(time));
    return {
      ...{ year: date.getUTCFullYear(), month: date.getUTCMonth() + 1, day: date.getUTCDate() },
      ...{ hour: date.getUTCHours(), minute: date.getUTCMinutes(), second: date.getUTCSeconds() },
      weekday: date.getUTCDay(),
    };
  }

  /**
   * When clocks there show this.
   * @param wall as if it were UTC
   * @param which of two such moments; where there is none because clocks went ahead, the moment they did
   */
  instant(wall: number, which: 'first' | 'second' = 'first'): number {
    const [before, after] = [this.offset(wall - DAY_MS), this.offset(wall + DAY_MS)];
    const found = [...new Set([wall - before, wall - after])]
      .filter((time) => time + this.offset(time) === wall)
      .sort((a, b) => a - b);
    if (found.length > 0) return which === 'first' ? found[0]! : found.at(-1)!;
    // Between both: the clocks were put ahead over it.
    let [low, high] = [wall - Math.max(before, after), wall - Math.min(before, after)];
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (this.offset(middle) === before) low = middle;
      else high = middle;
    }
    return high;
  }

  startOfDay(time: number): number {
    return this.instant(Math.floor((time + this.offset(time)) / DAY_MS) * DAY_MS);
  }

  /** The start of the day that is so many days later by the calendar. */
  dayAfter(time: number, days = 1): number {
    const wall = Math.floor((time + this.offset(time)) / DAY_MS) * DAY_MS;
    return this.instant(wall + days * DAY_MS);
  }

  startOfMonth(time: number, months = 0): number {
    const { year, month } = this.clock(time);
    return this.instant(Date.UTC(year, month - 1 + months, 1));
  }

  /** Whether clocks show this time twice, here or a little earlier or later. */
  isTwice(time: number): boolean {
    const offset = this.offset(time);
    return CHANGES_MS.some((ms) => this.offset(time + ms) === offset - ms || this.offset(time - ms) === offset + ms);
  }

  /** As `UTC+2` or `UTC−3:30`. */
  offsetName(time: number): string {
    const minutes = Math.round(this.offset(time) / 60_000);
    if (minutes === 0) return 'UTC';
    const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
    return `UTC${minutes < 0 ? '−' : '+'}${hours}${rest ? `:${`${rest}`.padStart(2, '0')}` : ''}`;
  }

  format(time: number, language: string, options: Intl.DateTimeFormatOptions): string {
    const key = `${language} ${JSON.stringify(options)}`;
    let format = this.formats.get(key);
    if (!format) {
      // Zones with seconds in their offset (before 1972) are of no matter here.
      format = new Intl.DateTimeFormat(language, { ...options, timeZone: this.name });
      this.formats.set(key, format);
    }
    return format.format(time);
  }

  /** The time of day, with its offset where it comes twice that day. */
  timeOfDay(time: number, language: string, detail: 'minutes' | 'seconds' | 'frames' = 'seconds'): string {
    const text = this.format(time, language, {
      ...{ hour: '2-digit', minute: '2-digit' },
      ...(detail === 'minutes' ? {} : { second: '2-digit' }),
      ...(detail === 'frames' ? { fractionalSecondDigits: 2 } : {}),
    });
    return this.isTwice(time) ? `${text} ${this.offsetName(time)}` : text;
  }

  /** Day and time, as a person would write it down. */
  moment(time: number, language: string): string {
    const day = this.format(time, language, { weekday: 'short', year: 'numeric', month: 'short', day: 'numeric' });
    return `${day}, ${this.timeOfDay(time, language)}`;
  }
}
