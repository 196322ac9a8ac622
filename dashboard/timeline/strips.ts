/**
 * Pictures of recorded moments from strips of them, for scrubbing, for playing faster than can be decoded and backwards.
 * Whole hours and minutes are asked for, so that all who look share what was made once. Bounded. Runs in the browser.
 */

export interface StripEffects {
  /** Rejects when there is none. */
  load: (camera: string, range: { start: number; end: number; count: number; width: number }) => Promise<LoadedStrip>;
  /** A picture has come that was asked for. */
  changed: () => void;
  /** The NVR's clock. */
  nowMs: () => number;
}

export interface LoadedStrip {
  image: ImageBitmap;
  /** When each picture was taken, from left to right. */
  times: number[];
}

/** One picture of a strip, to draw. */
export interface Still {
  image: ImageBitmap;
  x: number;
  width: number;
  height: number;
  time: number;
}

const MAX_STRIPS = 60;
const MAX_RUNNING = 2;
const MAX_WAITING = 18;
/** A strip that could not be had is asked for again. */
const RETRY_MS = 10_000;
/** Footage is complete so long after it was filmed. */
const SETTLED_MS = 60_000;

/** @property goodUntil by the NVR's clock: more pictures come into a strip of what is still recorded */
type Ready = { state: 'ready'; strip: LoadedStrip; goodUntil: number };
type Entry = Ready | { state: 'loading' } | { state: 'none'; at: number };

/** Whether more pictures of the range may come. */
export const grows = ({ end }: { end: number }, nowMs: number): boolean => end > nowMs - SETTLED_MS;

export interface Grain {
  /** Of time that one strip shows. */
  ms: number;
  count: number;
  width: number;
}

/** For pointing at hours and days, at minutes, and for fast play. */
export const HOUR_GRAIN: Grain = { ms: 3_600_000, count: 60, width: 160 };
export const MINUTE_GRAIN: Grain = { ms: 60_000, count: 30, width: 160 };
export const PLAY_GRAIN: Grain = { ms: 60_000, count: 30, width: 480 };
/** Of many cameras at once: what the NVR's computer can make in time. */
export const WALL_GRAIN: Grain = { ms: 60_000, count: 12, width: 320 };

export class Strips {
  private readonly effects: StripEffects;
  private readonly entries = new Map<string, Entry>();
  private readonly loading = new Set<string>();
  private running = 0;
  private queue: { key: string; camera: string; start: number; grain: Grain }[] = [];

  constructor(effects: StripEffects) {
    this.effects = effects;
  }

  /** The picture at or before a moment that is known; asks for what is not. */
  at(camera: string, time: number, grain: Grain): Still | null {
    const entry = this.entry(camera, time, grain);
    if (entry?.state !== 'ready') return null;
    const { image, times } = entry.strip;
    const found = times.findLastIndex((one) => one <= time);
    const index = Math.max(0, found);
    const width = image.width / times.length;
    return { image, x: index * width, width, height: image.height, time: times[index]! };
  }

  /** Asks for what will be wanted soon. */
  ahead(camera: string, time: number, grain: Grain): void {
    this.entry(camera, time, grain, true);
  }

  close(): void {
    for (const entry of this.entries.values()) if (entry.state === 'ready') entry.strip.image.close();
    this.entries.clear();
    this.queue = [];
  }

  private entry(camera: string, time: number, grain: Grain, later = false): Entry | undefined {
    const start = Math.floor(time / grain.ms) * grain.ms;
    const key = `${camera} ${start} ${grain.ms} ${grain.width}`;
    const known = this.entries.get(key);
    if (known) {
      this.entries.delete(key);
      this.entries.set(key, known);
      if (this.isGood(known)) return known;
    }
    // The newest wish first: the pointer has moved on since.
    const others = this.queue.filter((one) => one.key !== key).slice(-MAX_WAITING);
    const wish = { key, camera, start, grain };
    this.queue = later ? [wish, ...others] : [...others, wish];
    this.next();
    return known; // until the newer one is there
  }

  private isGood(entry: Entry): boolean {
    if (entry.state === 'ready') return this.effects.nowMs() < entry.goodUntil;
    return entry.state === 'loading' || performance.now() - entry.at <= RETRY_MS;
  }

  private next(): void {
    while (this.running < MAX_RUNNING && this.queue.length > 0) {
      const { key, camera, start, grain } = this.queue.pop()!;
      if (this.loading.has(key)) continue;
      this.running++;
      this.loading.add(key);
      if (this.entries.get(key)?.state !== 'ready') this.entries.set(key, { state: 'loading' });
      const range = { start, end: start + grain.ms, count: grain.count, width: grain.width };
      const askedMs = this.effects.nowMs();
      const goodUntil = grows(range, askedMs) ? askedMs + RETRY_MS : Infinity;
      this.effects
        .load(camera, range)
        .then(
          (strip) => this.put(key, { state: 'ready', strip, goodUntil }),
          () => this.failed(key),
        )
        .finally(() => {
          this.running--;
          this.loading.delete(key);
          this.effects.changed();
          this.next();
        });
    }
  }

  /** What is there already stays: better old pictures than none. */
  private failed(key: string): void {
    const known = this.entries.get(key);
    if (known?.state === 'ready') known.goodUntil = this.effects.nowMs() + RETRY_MS;
    else this.put(key, { state: 'none', at: performance.now() });
  }

  private put(key: string, entry: Entry): void {
    const before = this.entries.get(key);
    if (before?.state === 'ready') before.strip.image.close();
    this.entries.set(key, entry);
    for (const [oldest, old] of this.entries) {
      if (this.entries.size <= MAX_STRIPS) break;
      this.entries.delete(oldest);
      if (old.state === 'ready') old.strip.image.close();
    }
  }
}
