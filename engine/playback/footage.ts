/**
 * What is recorded, as playable media: GOPs of any range, with the times they had in their stream. Reads the catalogue
 * and the files; synchronous; owned by the query thread, so that neither a slow disk nor a long query holds up anything.
 */
import { closeSync, openSync, readSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite, { type Database, type Statement } from 'better-sqlite3';
import { computeCoverage, JOIN_MS, mergeRanges } from '../catalog/coverage.ts';
import { decodeGopIndex, ticksOf, type GopIndex } from '../catalog/gop-index.ts';
import { scanSegmentFile, type ScannedFile } from '../catalog/segment-file.ts';
import { readBoxHeader } from '../media/boxes.ts';
import { shiftDecodeTimes } from '../media/fragment.ts';
import { codecsOf, parseInitSegment, type InitSegment } from '../media/init-segment.ts';
import { EngineError, type Coverage, type GapCause, type StreamName, type TimeRange } from '../types.ts';

/** Some GOPs of one file, in order: what a player fetches at once. */
export interface Chunk {
  segment: number;
  firstGop: number;
  gops: number;
  startMs: number;
  durationMs: number;
  bytes: number;
  /** Where it stands in its run, in ticks of its video track. */
  startTicks: number;
  durationTicks: number;
}

/** Media that plays on without a seam: one codec configuration, one time line. */
export interface Run {
  init: number;
  codecs: string;
  timescale: number;
  chunks: Chunk[];
}

export interface Playable {
  runs: Run[];
  /** No more can come: the range is over and all its files are complete. */
  final: boolean;
}

export interface TimelineLane {
  camera: string;
  recorded: [start: number, end: number][];
  gaps: [start: number, end: number, cause: GapCause][];
}

export interface EventRow {
  id: string;
  type: 'recording' | 'gap';
  camera: string;
  stream: StreamName;
  start: number;
  end: number | null;
  /** What made a recording start, or what kept it away. */
  cause: string;
}

interface SegmentRow {
  id: number;
  storage: string;
  path: string;
  init_id: number;
  start_ms: number;
  end_ms: number | null;
  start_ticks: number;
  gops: Buffer | null;
  state: 'open' | 'closed';
}

/** Players fetch this much at once; a longer GOP stays whole. */
const CHUNK_MS = 4000;
/** No segment is longer; bounds the look back of range queries. */
const MAX_SEGMENT_MS = 2 * 3_600_000;
/** One chunk is read into memory: a GOP beyond this is not a camera's. */
const MAX_CHUNK_BYTES = 64 * 1024 * 1024;
const MAX_CACHED = 5000;
/** The difference up to which two files of a run belong together: rounding of milliseconds. */
const SEAM_MS = 50;

export class Footage {
  private readonly file: string;
  private opened: Database | null = null;
  private readonly statements = new Map<string, Statement>();
  private readonly indexes = new Map<number, GopIndex>();
  private readonly growing = new Map<number, ScannedFile>();
  private readonly inits = new Map<number, InitSegment>();

  /** @param file the catalogue; it is opened when it is first needed, for it may not be there yet */
  constructor(file: string) {
    this.file = file;
  }

  private sql(text: string): Statement {
    let statement = this.statements.get(text);
    if (statement) return statement;
    try {
      this.opened ??= new Sqlite(this.file, { readonly: true, fileMustExist: true, timeout: 2000 });
      statement = this.opened.prepare(text);
    } catch (error) {
      throw new EngineError('catalog', 'the catalogue is not ready yet; try again', { cause: error });
    }
    this.statements.set(text, statement);
    return statement;
  }

  private segments(camera: string, stream: StreamName, { start, end }: TimeRange): SegmentRow[] {
    return this.sql(
      `SELECT s.id, st.path AS storage, s.path, s.init_id, s.start_ms, s.end_ms, s.start_ticks, s.gops, s.state
       FROM segment s JOIN camera c ON c.id = s.camera_id JOIN storage st ON st.id = s.storage_id
       WHERE c.key = ? AND s.stream = ? AND s.start_ms >= ? AND s.start_ms < ? AND (s.end_ms IS NULL OR s.end_ms > ?)
         AND s.init_id IS NOT NULL
       ORDER BY s.start_ms`,
    ).all(camera, stream, start - MAX_SEGMENT_MS, end, start) as SegmentRow[];
  }

  /** The whole GOPs of a file; the one that is being written is not among them. Null when the file is not there. */
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
      const scanned = scanSegmentFile(join(row.storage, row.path), this.growing.get(row.id) ?? null);
      if (!scanned) return null;
      if (this.growing.size > 200) this.growing.clear();
      this.growing.set(row.id, scanned);
      return { timescale: scanned.init.video.timescale, offset: scanned.offset, gops: scanned.gops.slice(0, -1) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
  }

  /** Throws `not-found`. */
  initSegment(id: number): InitSegment {
    const known = this.inits.get(id);
    if (known) return known;
    const row = this.sql('SELECT data FROM init WHERE id = ?').get(id) as { data: Buffer } | undefined;
    if (!row) throw new EngineError('not-found', 'there is no such init segment');
    const init = parseInitSegment(row.data);
    if (this.inits.size >= 200) this.inits.clear();
    this.inits.set(id, init);
    return init;
  }

  /** The init segment of footage of this camera. Throws `not-found`. */
  init(camera: string, id: number): Uint8Array {
    const own = this.sql(
      'SELECT 1 FROM segment WHERE camera_id = (SELECT id FROM camera WHERE key = ?) AND init_id = ? LIMIT 1',
    ).get(camera, id);
    if (!own) throw new EngineError('not-found', 'there is no such init segment');
    return this.initSegment(id).data;
  }

  /** The GOPs that hold the range, from the one that holds its start. */
  playable(camera: string, stream: StreamName, range: TimeRange, nowMs: number): Playable {
    const runs: Run[] = [];
    let final = range.end <= nowMs - 2000;
    let endTicks = 0;
    let endMs = 0;
    for (const row of this.segments(camera, stream, range)) {
      if (row.state === 'open') final = false;
      const index = this.indexOf(row);
      if (!index) continue;
      const { codecs } = this.describe(row.init_id);
      const last = runs.at(-1);
      const msOf = (ticks: number): number => (ticks * 1000) / index.timescale;
      const seamless =
        last?.init === row.init_id &&
        Math.abs(msOf(row.start_ticks - endTicks)) <= SEAM_MS &&
        Math.abs(row.start_ms - endMs) <= 1000;
      const chunks: Chunk[] = [];
      let ticks = 0;
      for (const [i, gop] of index.gops.entries()) {
        const startMs = Math.round(row.start_ms + msOf(ticks));
        const gopEndMs = row.start_ms + msOf(ticks + gop.durationTicks);
        if (gopEndMs > range.start && startMs < range.end) {
          const current = chunks.at(-1);
          if (current && msOf(current.durationTicks + gop.durationTicks) <= CHUNK_MS) {
            current.gops++;
            current.bytes += gop.bytes;
            current.durationTicks += gop.durationTicks;
            current.durationMs = msOf(current.durationTicks);
          } else {
            chunks.push({
              ...{ segment: row.id, firstGop: i, gops: 1, startMs, durationMs: msOf(gop.durationTicks) },
              ...{ bytes: gop.bytes, startTicks: row.start_ticks + ticks, durationTicks: gop.durationTicks },
            });
          }
        }
        ticks += gop.durationTicks;
      }
      endTicks = row.start_ticks + ticks;
      endMs = row.start_ms + msOf(ticks);
      if (chunks.length === 0) continue;
      if (seamless) last.chunks.push(...chunks);
      else runs.push({ init: row.init_id, codecs, timescale: index.timescale, chunks });
    }
    return { runs, final };
  }

  private describe(init: number): { codecs: string } {
    return { codecs: codecsOf(this.initSegment(init)) };
  }

  /**
   * The fragments of some GOPs of a file. Their decode times are those of their run, or begin at `atTicks`.
   * Throws `not-found` for what is not there (any more) or belongs to another camera.
   */
  media(camera: string, segment: number, firstGop: number, gops: number, atTicks?: number): Uint8Array {
    const row = this.sql(
      `SELECT s.id, st.path AS storage, s.path, s.init_id, s.start_ms, s.end_ms, s.start_ticks, s.gops, s.state
       FROM segment s JOIN camera c ON c.id = s.camera_id JOIN storage st ON st.id = s.storage_id
       WHERE s.id = ? AND c.key = ? AND s.init_id IS NOT NULL`,
    ).get(segment, camera) as SegmentRow | undefined;
    const index = row && this.indexOf(row);
    if (!row || !index || firstGop + gops > index.gops.length) {
      throw new EngineError('not-found', 'this footage is not there any more');
    }
    const before = index.gops.slice(0, firstGop);
    const bytes = index.gops.slice(firstGop, firstGop + gops).reduce((sum, gop) => sum + gop.bytes, 0);
    if (bytes > MAX_CHUNK_BYTES) throw new EngineError('not-found', 'this footage is too large to be played');
    const offset = before.reduce((sum, gop) => sum + gop.bytes, index.offset);
    const data = Buffer.alloc(bytes);
    let fd: number;
    try {
      fd = openSync(join(row.storage, row.path), 'r');
    } catch (cause) {
      throw new EngineError('not-found', 'the file with this footage is not there any more', { cause });
    }
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
      const { runs } = this.playable(camera, stream, { start: time, end: time + 1 }, nowMs);
      const [run] = runs;
      const chunk = run?.chunks[0];
      if (!run || !chunk) continue;
      init ??= run.init;
      if (run.init !== init) continue;
      if (parts.length === 0) parts.push(this.initSegment(init).data);
      const gop = Buffer.from(this.media(camera, chunk.segment, chunk.firstGop, 1, shown.length * run.timescale));
      const moof = readBoxHeader(gop, 0)!;
      parts.push(gop.subarray(0, moof.size + readBoxHeader(gop, moof.size)!.size));
      shown.push(chunk.startMs);
    }
    return { media: Buffer.concat(parts), times: shown };
  }

  /** What is recorded and what is missing; the file that is being written counts up to its last whole GOP. */
  coverage(camera: string, stream: StreamName, range: TimeRange, nowMs: number): Coverage {
    const [lane] = this.lanes([camera], stream, range, nowMs);
    const gaps = lane!.gaps.map(([start, end, cause]) => ({ start, end, cause }));
    const segments = lane!.recorded.map(([start, end]) => ({ start, end }));
    return computeCoverage({ camera, stream, ...range }, segments, gaps, nowMs);
  }

  private lanes(
    cameras: readonly string[],
    stream: StreamName,
    range: TimeRange,
    nowMs: number,
    joinMs = JOIN_MS,
  ): TimelineLane[] {
    return cameras.map((camera) => {
      const closed = this.sql(
        `SELECT s.start_ms, s.end_ms FROM segment s WHERE s.camera_id = (SELECT id FROM camera WHERE key = ?)
         AND s.stream = ? AND s.start_ms >= ? AND s.start_ms < ? AND s.end_ms > ? ORDER BY s.start_ms`,
      )
        .raw()
        .all(camera, stream, range.start - MAX_SEGMENT_MS, range.end, range.start) as [number, number][];
      const ranges = closed.map(([start, end]) => ({ start, end }));
      for (const row of this.openSegments(camera, stream)) {
        const index = this.indexOf(row);
        if (index)
          ranges.push({ start: row.start_ms, end: row.start_ms + (ticksOf(index.gops) * 1000) / index.timescale });
      }
      const gaps = this.sql(
        `SELECT start_ms, coalesce(end_ms, ?), cause FROM gap WHERE camera_id = (SELECT id FROM camera WHERE key = ?)
         AND stream = ? AND start_ms < ? AND (end_ms IS NULL OR end_ms > ?) ORDER BY start_ms LIMIT 20000`,
      )
        .raw()
        .all(nowMs, camera, stream, range.end, range.start) as [number, number, GapCause][];
      const recorded = mergeRanges(ranges, range, joinMs).map(({ start, end }): [number, number] => [
        start,
        Math.round(end),
      ]);
      return { camera, recorded, gaps: mergeGaps(gaps, joinMs) };
    });
  }

  private openSegments(camera: string, stream: StreamName): SegmentRow[] {
    return this.sql(
      `SELECT s.id, st.path AS storage, s.path, s.init_id, s.start_ms, s.end_ms, s.start_ticks, s.gops, s.state
       FROM segment s JOIN camera c ON c.id = s.camera_id JOIN storage st ON st.id = s.storage_id
       WHERE s.state = 'open' AND c.key = ? AND s.stream = ? AND s.init_id IS NOT NULL`,
    ).all(camera, stream) as SegmentRow[];
  }

  /** Lanes for a view `width` pixels wide: what is shorter than a pixel is joined with its neighbours. */
  timeline(
    cameras: readonly string[],
    stream: StreamName,
    range: TimeRange,
    width: number,
    nowMs: number,
  ): TimelineLane[] {
    return this.lanes(cameras, stream, range, nowMs, Math.max(JOIN_MS, (range.end - range.start) / width));
  }

  /** Recordings that were asked for (not the continuous ones) and gaps, newest first, from a cursor on. */
  events(
    filter: { cameras: readonly string[] | null; types: readonly string[]; start: number; end: number },
    before: { start: number; id: string } | null,
    limit: number,
  ): EventRow[] {
    const names = filter.cameras === null ? null : JSON.stringify(filter.cameras);
    const parts = [
      `SELECT 'r' || r.id AS id, 'recording' AS type, c.key AS camera, r.stream, r.start_ms AS start, r.end_ms AS end, r.trigger AS cause
       FROM recording r JOIN camera c ON c.id = r.camera_id WHERE r.trigger <> 'continuous'`,
      `SELECT 'g' || g.id AS id, 'gap' AS type, c.key AS camera, g.stream, g.start_ms AS start, g.end_ms AS end, g.cause
       FROM gap g JOIN camera c ON c.id = g.camera_id`,
    ];
    const wanted = parts.filter((_, i) => filter.types.includes(['recording', 'gap'][i]!));
    if (wanted.length === 0) return [];
    return this.sql(
      `SELECT * FROM (${wanted.join(' UNION ALL ')}) WHERE start >= @start AND start < @end
       AND (@names IS NULL OR camera IN (SELECT value FROM json_each(@names)))
       AND (@cursor IS NULL OR (start, id) < (@cursor, @cursorId)) ORDER BY start DESC, id DESC LIMIT @limit`,
    ).all({
      ...{ start: filter.start, end: filter.end, names, limit },
      ...{ cursor: before?.start ?? null, cursorId: before?.id ?? null },
    }) as EventRow[];
  }

  /** Bytes recorded by camera, and the room left, for each storage folder. */
  storage(): {
    path: string;
    freeBytes: number | null;
    totalBytes: number | null;
    cameras: { camera: string; bytes: number; files: number; oldest: number; newest: number }[];
  }[] {
    const storages = this.sql('SELECT id, path FROM storage ORDER BY id').all() as { id: number; path: string }[];
    return storages.map(({ id, path }) => {
      let space: { freeBytes: number | null; totalBytes: number | null } = { freeBytes: null, totalBytes: null };
      try {
        const { bavail, blocks, bsize } = statfsSync(path);
        space = { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error; // a disk that is not there now
      }
      const cameras = this.sql(
        `SELECT c.key AS camera, sum(s.bytes) AS bytes, count(*) AS files, min(s.start_ms) AS oldest, max(coalesce(s.end_ms, s.start_ms)) AS newest
         FROM segment s JOIN camera c ON c.id = s.camera_id WHERE s.storage_id = ? GROUP BY s.camera_id`,
      ).all(id) as { camera: string; bytes: number; files: number; oldest: number; newest: number }[];
      return { path, ...space, cameras };
    });
  }

  /** Seconds missing by camera and cause, all in all. */
  gapSeconds(nowMs: number): { camera: string; cause: GapCause; seconds: number }[] {
    return this.sql(
      `SELECT c.key AS camera, g.cause, sum(coalesce(g.end_ms, ?) - g.start_ms) / 1000.0 AS seconds
       FROM gap g JOIN camera c ON c.id = g.camera_id GROUP BY g.camera_id, g.cause`,
    ).all(nowMs) as { camera: string; cause: GapCause; seconds: number }[];
  }

  /** Every camera that was ever recorded. */
  cameras(): string[] {
    return (this.sql('SELECT key FROM camera ORDER BY key').all() as { key: string }[]).map(({ key }) => key);
  }
}

/** Gaps of one cause that are closer than what can be seen become one. */
function mergeGaps(
  gaps: readonly [number, number, GapCause][],
  joinMs: number,
): [start: number, end: number, cause: GapCause][] {
  const merged: [number, number, GapCause][] = [];
  for (const [start, end, cause] of gaps) {
    const last = merged.at(-1);
    if (last?.[2] === cause && start - last[1] <= joinMs) last[1] = Math.max(last[1], end);
    else merged.push([start, end, cause]);
  }
  return merged;
}
