/**
 * What is recorded, as playable media: GOPs of any range, with the times they had in their stream. Reads the catalogue
 * and the files; synchronous; owned by the query thread, so that neither a slow disk nor a long query holds up anything.
 */
import { closeSync, openSync, readSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { decodeGopIndex, ticksOf, type GopIndex } from '../catalog/gop-index.ts';
import { scanSegmentFile, type ScannedFile } from '../catalog/segment-file.ts';
import { readBoxHeader } from '../media/boxes.ts';
import { shiftDecodeTimes } from '../media/fragment.ts';
import { parseInitSegment, type InitSegment } from '../media/init-segment.ts';
import { isBucket } from '../retention/tiers.ts';
import { footageFile } from '../recording/segment-path.ts';
import { EngineError, type StreamName, type TimeRange } from '../types.ts';
import { cachedName, RemoteError } from './remote-cache.ts';
import type { CatalogReader } from './catalog-reader.ts';
import { runsOf, type FilePart, type Run } from './runs.ts';

export interface Playable {
  runs: Run[];
  /** No more can come: the range is over, and what was recorded of it is complete. */
  final: boolean;
}

export interface SegmentRow {
  id: number;
  storage: string;
  path: string;
  init_id: number;
  start_ms: number;
  end_ms: number | null;
  start_ticks: number;
  tick_ms: number | null;
  gops: Buffer | null;
  bytes: number;
  state: 'open' | 'closed';
}

/** No segment is longer; bounds the look back of range queries. */
export const MAX_SEGMENT_MS = 2 * 3_600_000;
/** One chunk is read into memory: a GOP beyond this is not a camera's. */
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
const MAX_CACHED = 5000;
/** Times that a file may have moved while it was to be read. */
const MAX_MOVES = 5;
/** After this what was filmed is on disk, or never will be. */
const LATE_MS = 10_000;
/** The latest that a file's row follows its first picture: behind a new connection, or a late trigger with a pre-roll. */
const ROW_MS = 6000;
const COLUMNS =
  's.id, st.path AS storage, s.path, s.init_id, s.start_ms, s.end_ms, s.start_ticks, s.tick_ms, s.gops, s.bytes, s.state';
const JOINS = 'JOIN camera c ON c.id = s.camera_id JOIN storage st ON st.id = s.storage_id';

export class Footage {
  private readonly catalog: CatalogReader;
  private readonly cache: string;
  private readonly indexes = new Map<number, GopIndex>();
  private readonly growing = new Map<number, ScannedFile>();
  private readonly inits = new Map<number, InitSegment>();

  /** @param cache folder with the files that were fetched from buckets, see remote-cache.ts */
  constructor(catalog: CatalogReader, cache: string) {
    this.catalog = catalog;
    this.cache = cache;
    catalog.whenReplaced(() => {
      this.indexes.clear();
      this.growing.clear();
      this.inits.clear();
    });
  }

  private segments(camera: string, stream: StreamName, { start, end }: TimeRange): SegmentRow[] {
    return this.catalog
      .sql(
        `SELECT ${COLUMNS} FROM segment s ${JOINS}
         WHERE c.key = ? AND s.stream = ? AND s.start_ms >= ? AND s.start_ms < ? AND (s.end_ms IS NULL OR s.end_ms > ?)
         AND s.init_id IS NOT NULL ORDER BY s.start_ms, s.id`,
      )
      .all(camera, stream, start - MAX_SEGMENT_MS, end, start) as SegmentRow[];
  }

  /** The files of a stream that are being written, with the end of what is in them. */
  openFiles(camera: string, stream: StreamName): TimeRange[] {
    // SQLite would choose the index by time, and look at every file of the camera.
    const rows = this.catalog
      .sql(
        `SELECT ${COLUMNS} FROM segment s INDEXED BY segment_open ${JOINS}
         WHERE s.state = 'open' AND c.key = ? AND s.stream = ? AND s.init_id IS NOT NULL`,
      )
      .all(camera, stream) as SegmentRow[];
    return rows.flatMap((row) => {
      const index = this.indexOf(row);
      if (!index) return [];
      return [{ start: row.start_ms, end: Math.round(row.start_ms + ticksOf(index.gops) * tickOf(row, index)) }];
    });
  }

  /** The GOPs of a file; the last of one that is being written may not be whole. Null when it cannot be read. */
  private indexOf(row: SegmentRow): GopIndex | null {
    const known = this.indexes.get(row.id);
    if (known) return known;
    if (row.gops) {
      const index = decodeGopIndex(row.gops);
      if (this.indexes.size >= MAX_CACHED) this.indexes.delete(this.indexes.keys().next().value!);
      this.indexes.set(row.id, index);
      this.growing.delete(row.id);
      return index;
    }
    try {
      const scanned = scanSegmentFile(footageFile(row.storage, row.path), this.growing.get(row.id) ?? null);
      if (!scanned) return null;
      if (this.growing.size > 200) this.growing.clear();
      this.growing.set(row.id, scanned);
      return { timescale: scanned.init.video.timescale, offset: scanned.offset, gops: scanned.gops };
    } catch (error) {
      // Not there, or not to be read: what else there is of the camera can be shown all the same.
      if (typeof (error as NodeJS.ErrnoException).errno === 'number') return null;
      throw new EngineError('catalog', 'the storage of this footage cannot be read', { cause: error });
    }
  }

  /** Throws `not-found`. */
  private initSegment(id: number): InitSegment {
    const known = this.inits.get(id);
    if (known) return known;
    const row = this.catalog.sql('SELECT data FROM init WHERE id = ?').get(id) as { data: Buffer } | undefined;
    if (!row) throw new EngineError('not-found', 'there is no such init segment');
    const init = parseInitSegment(row.data);
    if (this.inits.size >= 200) this.inits.clear();
    this.inits.set(id, init);
    return init;
  }

  /** The init segment of footage of this camera. Throws `not-found`. */
  init(camera: string, id: number): Uint8Array {
    const own = this.catalog
      .sql('SELECT 1 FROM segment WHERE camera_id = (SELECT id FROM camera WHERE key = ?) AND init_id = ? LIMIT 1')
      .get(camera, id);
    if (!own) throw new EngineError('not-found', 'there is no such init segment');
    return this.initSegment(id).data;
  }

  /** The GOPs that hold the range, from the one that holds its start. */
  playable(camera: string, stream: StreamName, range: TimeRange, nowMs: number): Playable {
    const over = range.end <= nowMs - LATE_MS;
    let [complete, reached] = [true, -Infinity];
    const files = this.segments(camera, stream, range).flatMap((row): FilePart[] => {
      const index = this.indexOf(row);
      const growing = row.state === 'open' && !over;
      if (!index) {
        if (growing) complete = false;
        return [];
      }
      const tickMs = tickOf(row, index);
      // The last GOP of a file that is being written is not whole yet; when nothing comes any more, it is what it is.
      const gops = growing ? index.gops.slice(0, -1) : index.gops;
      const end = row.start_ms + ticksOf(gops) * tickMs;
      if (growing && end < range.end) complete = false;
      reached = Math.max(reached, end);
      return [
        {
          ...{ segment: row.id, init: row.init_id, startMs: row.start_ms, startTicks: row.start_ticks },
          ...{ timescale: index.timescale, tickMs, gops, growing },
        },
      ];
    });
    // Where no file reaches the end, another may just be about to.
    if (reached < range.end && range.end > nowMs - ROW_MS) complete = false;
    return { runs: runsOf(files, range), final: over || complete };
  }

  /** The GOP that holds a moment. One that is still being filmed will do: what there is of it can be decoded. */
  at(camera: string, stream: StreamName, time: number, nowMs: number): Playable {
    return this.playable(camera, stream, { start: time, end: time + 1 }, Math.max(nowMs, time + 1 + LATE_MS));
  }

  /**
   * The fragments of some GOPs of a file. Their decode times are those of their run, or begin at `atTicks`.
   * Throws `not-found` for what is not there (any more) or belongs to another camera.
   */
  media(camera: string, segment: number, firstGop: number, gops: number, atTicks?: number): Uint8Array {
    const { row, index } = this.fileWith(camera, segment, firstGop + gops);
    return this.read(row, index, { firstGop, gops }, atTicks);
  }

  /** As `media`, for who knows when it begins: the number of a row may have been another file's. Throws `not-found`. */
  part(camera: string, startMs: number, segment: number, firstGop: number, gops: number): Uint8Array {
    const { row, index } = this.fileWith(camera, segment, firstGop + gops);
    const intoMs = ticksOf(index.gops.slice(0, firstGop)) * tickOf(row, index);
    if (Math.abs(row.start_ms + intoMs - startMs) > 1)
      throw new EngineError('not-found', 'this footage is not there any more');
    return this.read(row, index, { firstGop, gops });
  }

  private fileWith(camera: string, segment: number, gops: number): { row: SegmentRow; index: GopIndex } {
    const row = this.catalog
      .sql(`SELECT ${COLUMNS} FROM segment s ${JOINS} WHERE s.id = ? AND c.key = ? AND s.init_id IS NOT NULL`)
      .get(segment, camera) as SegmentRow | undefined;
    const index = row && this.indexOf(row);
    if (!row || !index || gops > index.gops.length) {
      throw new EngineError('not-found', 'this footage is not there any more');
    }
    return { row, index };
  }

  private read(
    row: SegmentRow,
    index: GopIndex,
    { firstGop, gops }: { firstGop: number; gops: number },
    atTicks?: number,
  ): Uint8Array {
    const before = index.gops.slice(0, firstGop);
    const bytes = index.gops.slice(firstGop, firstGop + gops).reduce((sum, gop) => sum + gop.bytes, 0);
    if (bytes > MAX_CHUNK_BYTES) throw new EngineError('not-found', 'this footage is too large to be played');
    const offset = before.reduce((sum, gop) => sum + gop.bytes, index.offset);
    const data = Buffer.alloc(bytes);
    const fd = this.open(row);
    try {
      let read = 0;
      while (read < bytes) {
        const count = readSync(fd, data, read, bytes - read, offset + read);
        if (count === 0) throw new EngineError('not-found', 'the file with this footage is shorter than it should be');
        read += count;
      }
    } finally {
      closeSync(fd);
    }
    const shift = atTicks === undefined ? row.start_ticks : atTicks - ticksOf(before);
    shiftDecodeTimes(data, this.initSegment(row.init_id), shift);
    return data;
  }

  /**
   * A row's file. One that is moved just now is where its row says that it is, read again. Throws `not-found`, and
   * {@link RemoteError} for one that has to be fetched.
   */
  private open(row: SegmentRow): number {
    for (let { storage, path } = row, moves = 0; ; moves++) {
      const file = isBucket(storage) ? join(this.cache, cachedName(storage, path)) : footageFile(storage, path);
      try {
        const fd = openSync(file, 'r');
        if (isBucket(storage)) touch(file);
        return fd;
      } catch (cause) {
        if (isBucket(storage)) throw new RemoteError({ storage, path, bytes: row.bytes });
        const now = this.catalog
          .sql(
            'SELECT st.path AS storage, s.path FROM segment s JOIN storage st ON st.id = s.storage_id WHERE s.id = ?',
          )
          .get(row.id) as Pick<SegmentRow, 'storage' | 'path'> | undefined;
        if (!now || now.storage === storage || moves >= MAX_MOVES) {
          throw new EngineError('not-found', 'the file with this footage is not there any more', { cause });
        }
        ({ storage, path } = now);
      }
    }
  }

  /** The first fragment of a GOP, which holds its keyframe; its decode time is `atTicks`. Throws `not-found`. */
  keyframe(camera: string, segment: number, gop: number, atTicks: number): Uint8Array {
    const data = Buffer.from(this.media(camera, segment, gop, 1, atTicks));
    const moof = readBoxHeader(data, 0)!;
    return new Uint8Array(data.subarray(0, moof.size + readBoxHeader(data, moof.size)!.size));
  }

  /**
   * The keyframes nearest before each of the times, as one stream that shows one a second: their fragments, behind the
   * init segment of the first. Times without footage, or of another codec configuration, are left out.
   */
  keyframes(
    camera: string,
    stream: StreamName,
    times: readonly number[],
    nowMs: number,
  ): { media: Uint8Array; times: number[] } {
    const parts: Buffer[] = [];
    const shown: number[] = [];
    let init: number | null = null;
    for (const time of times) {
      const { runs } = this.at(camera, stream, time, nowMs);
      const [run] = runs;
      const chunk = run?.chunks[0];
      if (!run || !chunk) continue;
      init ??= run.init;
      if (run.init !== init) continue;
      if (parts.length === 0) parts.push(this.initSegment(init).data);
      parts.push(Buffer.from(this.keyframe(camera, chunk.segment, chunk.firstGop, (shown.length + 1) * run.timescale)));
      shown.push(chunk.startMs);
    }
    return { media: Buffer.concat(parts), times: shown };
  }
}

/** Length of a tick in ms. */
const tickOf = ({ tick_ms }: SegmentRow, { timescale }: GopIndex): number => tick_ms ?? 1000 / timescale;

/** The last used are kept. */
function touch(file: string): void {
  try {
    const now = new Date();
    utimesSync(file, now, now);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // it is open, and may go
  }
}
