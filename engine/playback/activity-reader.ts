/** Where and how much something moved, from what analysis left in the catalogue; nothing is decoded. Owned by the query thread. */
import { countCells, GRID_WORDS, MINUTE_MS, overlap, unpackSeconds, wordsOf } from '../motion/activity.ts';
import { GRID_HEIGHT, GRID_WIDTH } from '../motion/types.ts';
import type { TimeRange } from '../types.ts';
import type { CatalogReader } from './catalog-reader.ts';
import type { Span } from './spans.ts';

const CELLS = GRID_WIDTH * GRID_HEIGHT;
/** More than the cells of a grid; times the minutes of a century it is an exact number still. */
const PACK = 1024;
/** Seconds of motion so close belong together. */
const JOIN_MS = 3000;
/** Where something always moves, what is joined is told in pieces: a month of it would take a second to look through. */
const MAX_SPAN_MS = 10 * 60_000;
/** Finer than this the seconds of each minute are looked at. */
const FINE_MS = MINUTE_MS;

export interface Moved {
  /** Newest first, to the second. */
  moved: Span[];
  /** Where to go on: the end of the next range to ask for. Null when that was all. */
  next: number | null;
}

export class ActivityReader {
  private readonly catalog: CatalogReader;

  constructor(catalog: CatalogReader) {
    this.catalog = catalog;
  }

  private idOf(camera: string): number | null {
    return (this.catalog.sql('SELECT id FROM camera WHERE key = ?').pluck().get(camera) as number | undefined) ?? null;
  }

  /**
   * How much moved, in `width` parts of the range: 0 for nothing, up to 255 for the whole picture; the highest second of
   * each part counts. Square roots, because a person is a hundredth of a picture.
   */
  intensity(camera: string, { start, end }: TimeRange, width: number): Uint8Array {
    const parts = new Uint8Array(width);
    const id = this.idOf(camera);
    if (id === null) return parts;
    const partMs = (end - start) / width;
    const mark = (from: number, to: number, cells: number): void => {
      const value = Math.ceil(255 * Math.sqrt(cells / CELLS));
      const last = Math.min(width - 1, Math.ceil((to - start) / partMs) - 1);
      for (let i = Math.max(0, Math.floor((from - start) / partMs)); i <= last; i++) {
        if (parts[i]! < value) parts[i] = value;
      }
    };
    const minutes = [Math.floor(start / MINUTE_MS), Math.ceil(end / MINUTE_MS)];
    if (partMs >= FINE_MS) {
      const rows = this.catalog
        .sql(`SELECT minute * ${PACK} + peak FROM activity WHERE camera_id = ? AND minute >= ? AND minute < ?`)
        .pluck()
        .all(id, ...minutes) as number[];
      for (const row of rows) {
        const from = Math.floor(row / PACK) * MINUTE_MS;
        mark(from, from + MINUTE_MS, row % PACK);
      }
      return parts;
    }
    const rows = this.catalog
      .sql('SELECT minute, data FROM activity_seconds WHERE camera_id = ? AND minute >= ? AND minute < ?')
      .all(id, ...minutes) as { minute: number; data: Buffer }[];
    for (const { minute, data } of rows) {
      for (const [second, cells] of unpackSeconds(data)) {
        const from = minute * MINUTE_MS + second * 1000;
        if (from + 1000 > start && from < end) mark(from, from + 1000, countCells(cells));
      }
    }
    return parts;
  }

  /**
   * When something moved in a region, newest first, at most `limit` times.
   * @param region cells, as {@link cellsOf} gives them
   */
  moved(camera: string, region: Uint8Array, { start, end }: TimeRange, limit: number): Moved {
    const id = this.idOf(camera);
    const moved: Span[] = [];
    if (id === null) return { moved, next: null };
    // The cells of a minute say whether to look into it; they are in their own small table.
    const overlaps = Array.from({ length: GRID_WORDS }, (_, i) => `(c${i} & ?)`).join(' | ');
    const minutes = this.catalog
      .sql(
        `SELECT minute FROM activity WHERE camera_id = ? AND minute >= ? AND minute < ? AND (${overlaps}) <> 0
         ORDER BY minute DESC`,
      )
      .pluck()
      .all(...[id, Math.floor(start / MINUTE_MS), Math.ceil(end / MINUTE_MS), ...wordsOf(region)]) as number[];
    const seconds = this.catalog.sql('SELECT data FROM activity_seconds WHERE camera_id = ? AND minute = ?').pluck();
    for (const minute of minutes) {
      const data = seconds.get(id, minute) as Buffer | undefined;
      if (!data) continue;
      const here = [...unpackSeconds(data)].filter(([, of]) => overlap(of, region)).map(([second]) => second);
      for (const second of here.sort((a, b) => b - a)) {
        const from = minute * MINUTE_MS + second * 1000;
        if (from + 1000 <= start || from >= end) continue;
        const last = moved.at(-1);
        if (last && last[0] - (from + 1000) <= JOIN_MS && last[1] - from <= MAX_SPAN_MS) last[0] = from;
        else if (moved.length === limit) return { moved, next: last![0] };
        else moved.push([from, from + 1000]);
      }
    }
    return { moved, next: null };
  }
}
