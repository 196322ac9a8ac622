/** The catalogue: one SQLite file that says what footage there is and what is missing. Synchronous; owned by a thread. */
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname } from 'node:path';
import Sqlite, { type Database, type Statement } from 'better-sqlite3';
import {
  EngineError,
  type Coverage,
  type GapCause,
  type RecordingTrigger,
  type StreamName,
  type TimeRange,
} from '../types.ts';
import { GRID_WORDS, MINUTE_MS, wordsOf, type ActivityMinute } from '../motion/activity.ts';
import { DEFAULT_MODES, prepareDatabase, type Modes } from '../recording/file-modes.ts';
import type { DeletionReason } from '../retention/types.ts';
import { EventStore, type EventChange, type NoticedEvent } from '../events/event-store.ts';
import { TagStore } from '../events/tag-store.ts';
import { computeCoverage } from './coverage.ts';
import { deletedIn } from './deleted.ts';
import { migrate } from './schema.ts';

export interface NewSegment {
  camera: string;
  stream: StreamName;
  storage: string;
  path: string;
  recordingId: string | null;
  init: Uint8Array;
  startMs: number;
  startTicks: number;
  /** Length of a tick; what the timescale says if there is none. */
  tickMs?: number;
}

export interface SegmentEnd {
  storage: string;
  path: string;
  endMs: number;
  bytes: number;
  frames: number;
  gops: Uint8Array;
  /** CRC-32 of the whole file; null where nobody knows. */
  hash?: number | null;
}

export interface GapRow {
  id: number;
  camera: string;
  stream: StreamName;
  start: number;
  end: number | null;
  cause: GapCause;
}

export interface SegmentRow {
  id: number;
  camera: string;
  stream: StreamName;
  storage: string;
  path: string;
  start: number;
  end: number | null;
  /** See {@link NewSegment}. */
  tickMs: number | null;
  bytes: number;
  state: 'open' | 'closed';
  /** Why it is being deleted; null while it is not. */
  doomed: DeletionReason | null;
}

/**
 * What is seen of a file that a row names: it is there, as large as its row says; it, or the whole storage folder, is
 * not; or nobody knows.
 */
export type Twin = 'there' | 'gone' | 'unknown';

/** A place that a camera knows. */
export interface PresetRow {
  token: string;
  name: string;
  /** Pan and tilt -1..1, zoom 0..1; null where the camera does not say. */
  position: { pan?: number; tilt?: number; zoom?: number } | null;
}

const SEGMENT_ROW = `SELECT s.id, c.key AS camera, s.stream, st.path AS storage, s.path, s.start_ms AS start, s.end_ms AS end,
    s.tick_ms AS tickMs, s.bytes, s.state, s.doomed
  FROM segment s JOIN camera c ON c.id = s.camera_id JOIN storage st ON st.id = s.storage_id`;
const GAP_ROW = `SELECT g.id, c.key AS camera, g.stream, g.start_ms AS start, g.end_ms AS end, g.cause
  FROM gap g JOIN camera c ON c.id = g.camera_id`;

/** No segment is longer (a GOP without end is cut by the ring); bounds the look back of range queries. */
const MAX_SEGMENT_MS = 2 * 3_600_000;

export class Catalog {
  readonly db: Database;
  readonly events: EventStore;
  readonly tags: TagStore;
  /** Where a catalogue that could not be read was moved, or null. */
  readonly setAside: string | null;
  private readonly statements = new Map<string, Statement>();

  private constructor(db: Database, setAside: string | null) {
    this.db = db;
    this.setAside = setAside;
    this.events = new EventStore(db);
    this.tags = new TagStore(db);
  }

  /**
   * Opens or makes it. A file that is not a catalogue any more is moved aside (never deleted); reconcile then
   * rebuilds it from the footage.
   * @param modes also of one that is there; without them it is only made with those that are usual
   */
  static open(file: string, modes: Modes | null = null): Catalog {
    mkdirSync(dirname(file), { recursive: true, mode: (modes ?? DEFAULT_MODES).folder });
    const connect = (): Database => {
      if (file !== ':memory:' && (modes || !existsSync(file))) prepareDatabase(file, (modes ?? DEFAULT_MODES).file);
      return Catalog.connect(file);
    };
    try {
      return new Catalog(connect(), null);
    } catch (error) {
      const code = (error as { code?: string }).code ?? '';
      if (!/^SQLITE_(CORRUPT|NOTADB)/.test(code)) {
        throw new EngineError('catalog', `cannot open the catalogue ${file}: ${(error as Error).message}`, {
          cause: error,
        });
      }
      const aside = `${file}.broken-${new Date().toISOString().replaceAll(':', '-')}`;
      for (const suffix of ['', '-wal', '-shm']) {
        try {
          renameSync(file + suffix, aside + suffix);
        } catch (renameError) {
          if ((renameError as NodeJS.ErrnoException).code !== 'ENOENT') throw renameError;
        }
      }
      return new Catalog(connect(), aside);
    }
  }

  /** To look at only: it is not brought up to date, nor moved aside when it is broken. */
  static view(file: string): Catalog {
    return new Catalog(new Sqlite(file, { readonly: true, fileMustExist: true, timeout: 5000 }), null);
  }

  private static connect(file: string): Database {
    const db = new Sqlite(file, { timeout: 5000 });
    try {
      db.pragma('journal_mode = WAL');
      // NORMAL: a power cut may lose the last commits, never the file; reconcile finds their footage again.
      db.pragma('synchronous = NORMAL');
      db.pragma('foreign_keys = ON');
      db.pragma('journal_size_limit = 16777216');
      migrate(db);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  close(): void {
    this.db.close();
  }

  /** A prepared statement. */
  sql(text: string): Statement {
    let statement = this.statements.get(text);
    if (!statement) this.statements.set(text, (statement = this.db.prepare(text)));
    return statement;
  }

  private idOf(table: 'camera' | 'storage' | 'init', column: string, value: unknown): number {
    const found = this.sql(`SELECT id FROM ${table} WHERE ${column} = ?`).get(value) as { id: number } | undefined;
    if (found) return found.id;
    return Number(this.sql(`INSERT INTO ${table} (${column}) VALUES (?)`).run(value).lastInsertRowid);
  }

  /** Adds an event that the recorder noticed, or what is new of it. */
  putEvent(event: NoticedEvent): EventChange | null {
    return this.events.notice(event);
  }

  /** The presets that a camera has now. Stills stay with their tokens; what is not there any more goes. */
  putPresets(camera: string, presets: readonly PresetRow[], seenMs: number): void {
    const id = this.idOf('camera', 'key', camera);
    for (const { token, name, position } of presets) {
      this.sql(
        `INSERT INTO preset (camera_id, token, name, position, seen_ms) VALUES (?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET name = excluded.name, position = excluded.position, seen_ms = excluded.seen_ms`,
      ).run(id, token, name, position && JSON.stringify(position), seenMs);
    }
    const tokens = JSON.stringify(presets.map(({ token }) => token));
    this.sql('DELETE FROM preset WHERE camera_id = ? AND token NOT IN (SELECT value FROM json_each(?))').run(
      id,
      tokens,
    );
  }

  /** Of a preset that is gone meanwhile there is nothing to keep. */
  putPresetStill(camera: string, token: string, still: Uint8Array, timeMs: number): void {
    this.sql('UPDATE preset SET still = ?, still_ms = ? WHERE camera_id = ? AND token = ?').run(
      still,
      timeMs,
      this.idOf('camera', 'key', camera),
      token,
    );
  }

  /** Replaces what is known of a camera's minute. */
  putActivity(camera: string, { start, cells, seconds, peak, data }: ActivityMinute): void {
    const key = [this.idOf('camera', 'key', camera), Math.floor(start / MINUTE_MS)];
    const columns = Array.from({ length: GRID_WORDS }, (_, i) => `c${i}`);
    this.sql(
      `INSERT OR REPLACE INTO activity (camera_id, minute, seconds, peak, ${columns.join(', ')})
       VALUES (?, ?, ?, ?, ${columns.map(() => '?').join(', ')})`,
    ).run(...key, seconds, peak, ...wordsOf(cells));
    this.sql('INSERT OR REPLACE INTO activity_seconds (camera_id, minute, data) VALUES (?, ?, ?)').run(...key, data);
  }

  startRecording(of: {
    id: string;
    camera: string;
    stream: StreamName;
    trigger: RecordingTrigger;
    startMs: number;
  }): void {
    this.sql('INSERT OR REPLACE INTO recording (id, camera_id, stream, trigger, start_ms) VALUES (?, ?, ?, ?, ?)').run(
      of.id,
      this.idOf('camera', 'key', of.camera),
      of.stream,
      of.trigger,
      of.startMs,
    );
  }

  endRecording(id: string, endMs: number): void {
    this.sql('UPDATE recording SET end_ms = ? WHERE id = ?').run(endMs, id);
  }

  openSegment(segment: NewSegment): void {
    this.sql(
      `INSERT OR IGNORE INTO segment (camera_id, stream, storage_id, path, recording_id, init_id, start_ms, start_ticks, tick_ms, state)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')`,
    ).run(
      this.idOf('camera', 'key', segment.camera),
      segment.stream,
      this.idOf('storage', 'path', segment.storage),
      segment.path,
      segment.recordingId,
      this.idOf('init', 'data', segment.init),
      segment.startMs,
      segment.startTicks,
      segment.tickMs ?? null,
    );
  }

  closeSegment(end: SegmentEnd): void {
    this.sql(
      `UPDATE segment SET end_ms = ?, bytes = ?, frames = ?, gops = ?, hash = ?, state = 'closed'
       WHERE storage_id = (SELECT id FROM storage WHERE path = ?) AND path = ?`,
    ).run(end.endMs, end.bytes, end.frames, end.gops, end.hash ?? null, end.storage, end.path);
  }

  /** As if it showed an event. */
  setBestKind(storage: string, path: string): void {
    this.sql('UPDATE segment SET kind = 2 WHERE storage_id = (SELECT id FROM storage WHERE path = ?) AND path = ?').run(
      ...[storage, path],
    );
  }

  dropSegment(storage: string, path: string): void {
    this.sql('DELETE FROM segment WHERE storage_id = (SELECT id FROM storage WHERE path = ?) AND path = ?').run(
      storage,
      path,
    );
  }

  /** A file that a move left, or has half made: it will be removed. */
  isLeftover(storage: string, path: string): boolean {
    const of = 'storage_id = (SELECT id FROM storage WHERE path = ?) AND path = ?';
    return this.sql(`SELECT 1 FROM leftover WHERE ${of}`).get(storage, path) !== undefined;
  }

  /**
   * A file that a row knows in another folder, with the same pictures, becomes a leftover where that other one was seen.
   * Where it is out of reach, this may be the only one: it is that of the row from now on. Null for a file that no row
   * knows; `left` where nobody can say.
   */
  settleDouble(
    storage: string,
    path: string,
    gops: Uint8Array,
    look: (twin: string, bytes: number) => Twin,
  ): 'double' | 'moved' | 'left' | null {
    return this.transaction(() => {
      const twin = this.sql(
        `SELECT s.id, s.bytes, st.path AS storage FROM storage st JOIN segment s ON s.storage_id = st.id
         WHERE st.path <> ? AND s.path = ? AND s.state = 'closed' AND s.doomed IS NULL AND s.gops = ?`,
      ).get(storage, path, gops) as { id: number; bytes: number; storage: string } | undefined;
      if (!twin) return null;
      const seen = look(twin.storage, twin.bytes);
      // One that is being moved here meanwhile is for whoever moves it.
      if (seen === 'unknown' || this.isLeftover(storage, path)) return 'left';
      const id = this.idOf('storage', 'path', storage);
      if (seen === 'gone') {
        this.sql('UPDATE segment SET storage_id = ? WHERE id = ?').run(id, twin.id);
        return 'moved';
      }
      this.sql('INSERT OR REPLACE INTO leftover (storage_id, path, bytes) VALUES (?, ?, ?)').run(id, path, twin.bytes);
      return 'double';
    });
  }

  /** The file is gone, and its copy in a bucket takes its place; false when there is none. */
  useCopy(storage: string, path: string): boolean {
    const { changes } = this.sql(
      `UPDATE segment SET storage_id = copy_id, copy_id = NULL
       WHERE storage_id = (SELECT id FROM storage WHERE path = ?) AND path = ? AND copy_id IS NOT NULL`,
    ).run(storage, path);
    return changes > 0;
  }

  openGap(gap: Omit<GapRow, 'end'> & { end: number | null }): void {
    this.sql(
      'INSERT OR REPLACE INTO gap (id, camera_id, stream, start_ms, end_ms, cause) VALUES (?, ?, ?, ?, ?, ?)',
    ).run(gap.id, this.idOf('camera', 'key', gap.camera), gap.stream, gap.start, gap.end, gap.cause);
  }

  /** Ends a gap; one that turned out to be none is forgotten. */
  closeGap(id: number, endMs: number): void {
    this.sql('DELETE FROM gap WHERE id = ? AND start_ms >= ?').run(id, endMs);
    this.sql('UPDATE gap SET end_ms = ? WHERE id = ?').run(endMs, id);
  }

  openGaps(): GapRow[] {
    return this.sql(`${GAP_ROW} WHERE g.end_ms IS NULL`).all() as GapRow[];
  }

  openSegments(): SegmentRow[] {
    return this.sql(`${SEGMENT_ROW} WHERE s.state = 'open'`).all() as SegmentRow[];
  }

  /** Rows of one folder (`<camera>/<day>/<hour>/`) of a storage. */
  segmentsUnder(storage: string, folder: string): SegmentRow[] {
    return this.sql(`${SEGMENT_ROW} WHERE st.path = ? AND s.path >= ? AND s.path < ?`).all(
      storage,
      `${folder}/`,
      `${folder}0`, // '0' follows '/'
    ) as SegmentRow[];
  }

  /** The rows of a folder, and the paths of what moves left in it, as of one moment: moves make one of the other. */
  knownUnder(storage: string, folder: string): { rows: SegmentRow[]; leftovers: Set<string> } {
    const leftovers = this.sql(
      `SELECT path FROM leftover WHERE storage_id = (SELECT id FROM storage WHERE path = ?) AND path >= ? AND path < ?`,
    ).pluck();
    return this.db.transaction(() => ({
      rows: this.segmentsUnder(storage, folder),
      leftovers: new Set(leftovers.all(storage, `${folder}/`, `${folder}0`) as string[]),
    }))();
  }

  /** The folders of a storage that rows name. */
  folders(storage: string): string[] {
    const rows = this.sql(
      `SELECT DISTINCT rtrim(rtrim(s.path, replace(s.path, '/', '')), '/') AS folder
       FROM segment s JOIN storage st ON st.id = s.storage_id WHERE st.path = ?`,
    ).all(storage) as { folder: string }[];
    return rows.map((row) => row.folder);
  }

  /** Ends recordings that a crash left open, at the end of their last file, and opens their `restart` gaps. */
  endCrashedRecordings(nextGapId: () => number): void {
    const rows = this.sql(
      `SELECT r.id, c.key AS camera, r.stream, coalesce((SELECT max(s.end_ms) FROM segment s WHERE s.recording_id = r.id), r.start_ms) AS end,
        EXISTS (SELECT 1 FROM gap g WHERE g.camera_id = r.camera_id AND g.stream = r.stream AND g.end_ms IS NULL) AS told
       FROM recording r JOIN camera c ON c.id = r.camera_id WHERE r.end_ms IS NULL`,
    ).all() as { id: string; camera: string; stream: StreamName; end: number; told: number }[];
    for (const row of rows) {
      this.endRecording(row.id, row.end);
      if (!row.told)
        this.openGap({
          id: nextGapId(),
          camera: row.camera,
          stream: row.stream,
          start: row.end,
          end: null,
          cause: 'restart',
        });
    }
  }

  transaction<T>(call: () => T): T {
    return this.db.transaction(call).immediate();
  }

  /** Throws `unknown-camera` for one that was never recorded. */
  coverage(camera: string, stream: StreamName, range: TimeRange, extra: readonly TimeRange[], nowMs: number): Coverage {
    if (extra.length === 0 && !this.sql('SELECT 1 FROM camera WHERE key = ?').get(camera)) {
      throw new EngineError('unknown-camera', `nothing was ever recorded of a camera ${camera}`);
    }
    const segments = this.sql(
      `SELECT s.start_ms AS start, s.end_ms AS end FROM segment s JOIN camera c ON c.id = s.camera_id
       WHERE c.key = ? AND s.stream = ? AND s.start_ms >= ? AND s.start_ms < ? AND s.end_ms > ? ORDER BY s.start_ms`,
    ).all(camera, stream, range.start - MAX_SEGMENT_MS, range.end, range.start) as TimeRange[];
    const gaps = this.sql(
      `${GAP_ROW} WHERE c.key = ? AND g.stream = ? AND g.start_ms < ? AND (g.end_ms IS NULL OR g.end_ms > ?)`,
    ).all(camera, stream, range.end, range.start) as GapRow[];
    const deleted = deletedIn((text) => this.sql(text), camera, stream, range);
    return computeCoverage({ camera, stream, ...range }, [...segments, ...extra], gaps, nowMs, deleted);
  }
}
