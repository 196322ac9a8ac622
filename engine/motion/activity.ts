/**
 * Where something moved, for ever: a grid of cells per second, packed a minute at a time. The minute's cells together are
 * beside it, so that a question about a region looks into those minutes only that it can find something in. Pure.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { GRID_HEIGHT, GRID_WIDTH, type Box } from './types.ts';

export const MINUTE_MS = 60_000;
/** Bits of a grid, row by row, LSB first. */
export const GRID_BYTES = (GRID_WIDTH * GRID_HEIGHT) / 8;

const WORD_BYTES = 6;
/** Words that a grid is in the catalogue: as many bits as fit into a number exactly. */
export const GRID_WORDS = GRID_BYTES / WORD_BYTES;

export function wordsOf(cells: Uint8Array): number[] {
  const bytes = Buffer.from(cells.buffer, cells.byteOffset, GRID_BYTES);
  return Array.from({ length: GRID_WORDS }, (_, i) => bytes.readUIntLE(i * WORD_BYTES, WORD_BYTES));
}

export interface ActivityMinute {
  /** Epoch ms, a multiple of {@link MINUTE_MS}. */
  start: number;
  /** The cells of all its seconds. */
  cells: Uint8Array;
  /** Seconds with motion. */
  seconds: number;
  /** The most cells that moved in one of its seconds. */
  peak: number;
  /** See {@link packSeconds}. */
  data: Uint8Array;
}

export function countCells(cells: Uint8Array): number {
  let count = 0;
  for (const byte of cells) for (let bits = byte; bits > 0; bits &= bits - 1) count++;
  return count;
}

/** Each second with motion (0..59) as a byte and its grid, deflated (RFC 1951). Moving things stay where they were: it packs. */
export function packSeconds(seconds: ReadonlyMap<number, Uint8Array>): Uint8Array {
  const sorted = [...seconds].sort(([a], [b]) => a - b);
  const plain = Buffer.alloc(sorted.length * (1 + GRID_BYTES));
  let before: Uint8Array = new Uint8Array(GRID_BYTES);
  sorted.forEach(([second, cells], i) => {
    const at = i * (1 + GRID_BYTES);
    plain[at] = second;
    // What changed since the second before is less than what there is.
    for (let k = 0; k < GRID_BYTES; k++) plain[at + 1 + k] = cells[k]! ^ before[k]!;
    before = cells;
  });
  return deflateRawSync(plain);
}

/** Throws for bytes that {@link packSeconds} did not make. */
export function unpackSeconds(data: Uint8Array): Map<number, Uint8Array> {
  const plain = inflateRawSync(data, { maxOutputLength: 60 * (1 + GRID_BYTES) });
  const seconds = new Map<number, Uint8Array>();
  let before: Uint8Array = new Uint8Array(GRID_BYTES);
  for (let at = 0; at + GRID_BYTES < plain.length; at += 1 + GRID_BYTES) {
    const cells = new Uint8Array(GRID_BYTES);
    for (let k = 0; k < GRID_BYTES; k++) cells[k] = plain[at + 1 + k]! ^ before[k]!;
    seconds.set(plain[at]!, cells);
    before = cells;
  }
  return seconds;
}

/** The cells that a rectangle touches. */
export function cellsOf({ x, y, width, height }: Box): Uint8Array {
  const cells = new Uint8Array(GRID_BYTES);
  const clamp = (value: number, most: number): number => Math.max(0, Math.min(most, value));
  const left = clamp(Math.floor(x * GRID_WIDTH), GRID_WIDTH - 1);
  const top = clamp(Math.floor(y * GRID_HEIGHT), GRID_HEIGHT - 1);
  const right = clamp(Math.ceil((x + width) * GRID_WIDTH), GRID_WIDTH);
  const bottom = clamp(Math.ceil((y + height) * GRID_HEIGHT), GRID_HEIGHT);
  for (let row = top; row < Math.max(bottom, top + 1); row++) {
    for (let column = left; column < Math.max(right, left + 1); column++) {
      const bit = row * GRID_WIDTH + column;
      cells[bit >> 3]! |= 1 << (bit & 7);
    }
  }
  return cells;
}

export function overlap(a: Uint8Array, b: Uint8Array): boolean {
  for (let k = 0; k < GRID_BYTES; k++) if (a[k]! & b[k]!) return true;
  return false;
}

/** Collects the cells of one camera. */
export class ActivityLog {
  private start = 0;
  private readonly seconds = new Map<number, Uint8Array>();
  private changed = false;

  /** @returns the minute that this frame is behind of, if it was left unsaved */
  add(time: number, cells: Uint8Array): ActivityMinute | null {
    const start = Math.floor(time / MINUTE_MS) * MINUTE_MS;
    let done: ActivityMinute | null = null;
    if (start !== this.start) {
      done = this.take();
      this.start = start;
      this.seconds.clear();
    }
    if (!cells.some((byte) => byte > 0)) return done;
    const second = Math.floor((time - start) / 1000);
    const known = this.seconds.get(second);
    if (known) for (let k = 0; k < GRID_BYTES; k++) known[k]! |= cells[k]!;
    else this.seconds.set(second, cells.slice());
    this.changed = true;
    return done;
  }

  /** The minute so far, if it has changed since it was last taken: it replaces what was stored of it. */
  take(): ActivityMinute | null {
    if (!this.changed) return null;
    this.changed = false;
    const cells = new Uint8Array(GRID_BYTES);
    let peak = 0;
    for (const second of this.seconds.values()) {
      peak = Math.max(peak, countCells(second));
      for (let k = 0; k < GRID_BYTES; k++) cells[k]! |= second[k]!;
    }
    return { start: this.start, cells, seconds: this.seconds.size, peak, data: packSeconds(this.seconds) };
  }
}
