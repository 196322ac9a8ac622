/** What chance brings: blobs that appear where nothing was, counted by region and strength. */
import type { Layout } from './plane.ts';

const COLUMNS = 5;
const ROWS = 3;
/** Strengths, in powers of two. */
const BINS = 12;
/** ms over which is averaged: soon for rain that begins, long for gusts that come again. */
const SOON_MS = 2000;
const LONG_MS = 30_000;

const binOf = (strength: number): number => Math.min(BINS - 1, Math.max(0, Math.floor(Math.log2(strength))));

/** Something that was seen so many times and came to nothing. */
export interface Stray {
  minX: number;
  minY: number;
  maxX: number;
  maxY: number;
  usual: number;
  hits: number;
}

export class Strays {
  /** Blobs a frame. */
  private readonly soon = new Float64Array(COLUMNS * ROWS * BINS);
  private readonly long = new Float64Array(COLUMNS * ROWS * BINS);
  private elapsedMs = 0;
  private readonly layout: Layout;

  constructor(layout: Layout) {
    this.layout = layout;
  }

  clear(): void {
    this.soon.fill(0);
    this.long.fill(0);
    this.elapsedMs = 0;
  }

  count(elapsedMs: number, gone: Stray[]): void {
    this.elapsedMs += elapsedMs;
    const first = elapsedMs / Math.max(1, this.elapsedMs);
    this.add(this.soon, Math.min(0.5, Math.max(first, 1 - Math.exp(-elapsedMs / SOON_MS))), gone);
    this.add(this.long, Math.min(0.5, Math.max(first, 1 - Math.exp(-elapsedMs / LONG_MS))), gone);
  }

  private add(rates: Float64Array, share: number, gone: Stray[]): void {
    for (let i = 0; i < rates.length; i++) rates[i]! *= 1 - share;
    for (const stray of gone) {
      rates[this.region(stray) * BINS + binOf(stray.usual)]! += share * stray.hits;
    }
  }

  private region({ minX, minY, maxX, maxY }: Pick<Stray, 'minX' | 'minY' | 'maxX' | 'maxY'>): number {
    const [x, y] = [(minX + maxX) / 2, (minY + maxY) / 2];
    const column = Math.min(COLUMNS - 1, Math.floor((x / this.layout.width) * COLUMNS));
    return Math.min(ROWS - 1, Math.floor((y / this.layout.height) * ROWS)) * COLUMNS + column;
  }

  /** Blobs of about that strength or more that appear in a frame on a pixel around there. */
  density(at: Pick<Stray, 'minX' | 'minY' | 'maxX' | 'maxY'>, strength: number): number {
    const region = this.region(at);
    let soon = 0;
    let long = 0;
    let everywhere = 0;
    for (let bin = binOf(strength); bin < BINS; bin++) {
      soon += this.soon[region * BINS + bin]!;
      long += this.long[region * BINS + bin]!;
      for (let i = bin; i < this.soon.length; i += BINS) everywhere += this.soon[i]!;
    }
    // In a moment a region may be spared by what comes down everywhere.
    const rate = Math.max(soon, long, everywhere / (COLUMNS * ROWS));
    return (rate * COLUMNS * ROWS) / (this.layout.width * this.layout.height);
  }
}
