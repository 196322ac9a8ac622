/**
 * Deletions and holds in the catalogue: files are marked, unlinked by someone else, and then their rows go, with what
 * went summed into `deleted`. Synchronous; every call is one short transaction.
 */
import type { Database, Statement } from 'better-sqlite3';
import { JOIN_MS } from '../catalog/coverage.ts';
import { parseSegmentPath } from '../recording/segment-path.ts';
import type { StreamName } from '../types.ts';
import type { CopyItem } from '../upkeep/types.ts';
import { EventHolds } from './event-holds.ts';
import { isHeld } from './rules.ts';
import { KINDS, type DeletionReason, type Hold, type Planned } from './types.ts';

/** A file on its way out. */
export interface Marked {
  id: number;
  camera: string;
  stream: StreamName;
  storage: string;
  /** Relative to the storage folder. */
  path: string;
  start: number;
  end: number;
  bytes: number;
  reason: DeletionReason;
}

/** Ranges that are remembered; the oldest deletions are forgotten first. */
const MAX_RANGES = 200_000;
const MARKED = `SELECT s.id, c.key AS camera, s.stream, st.path AS storage, s.path, s.start_ms AS start, s.end_ms AS "end",
    s.bytes, s.doomed AS reason
  FROM segment s JOIN camera c ON c.id = s.camera_id JOIN storage st ON st.id = s.storage_id`;
/** A row's file, as a leftover. */
const LEFT = (place: string): string =>
  `(storage_id, path, bytes) SELECT ${place}, path, bytes FROM segment WHERE id = ? AND doomed IS NOT NULL`;
const HOLDS = `SELECT h.id, h.name, c.key AS camera, h.start_ms AS start, h.end_ms AS "end", h.until_ms AS until, h.who, h.why,
    h.created_ms AS created
  FROM hold h LEFT JOIN camera c ON c.id = h.camera_id`;

export class DeletionStore {
  private readonly db: Database;
  private readonly statements = new Map<string, Statement>();
  private readonly onLock: (ms: number) => void;
  private readonly eventHolds: EventHolds;

  /** @param onLock hears how long each transaction kept others from writing */
  constructor(db: Database, onLock: (ms: number) => void = () => undefined) {
    this.db = db;
    this.onLock = onLock;
    this.eventHolds = new EventHolds((text) => this.sql(text));
  }

  private sql(text: string): Statement {
    let statement = this.statements.get(text);
    if (!statement) this.statements.set(text, (statement = this.db.prepare(text)));
    return statement;
  }

  private transaction<T>(call: () => T): T {
    let from = 0;
    const result = this.db
      .transaction(() => {
        from = performance.now(); // waiting for others is not counted
        return call();
      })
      .immediate();
    this.onLock(performance.now() - from);
    return result;
  }

  /** Marks what is still there, complete, and not held; returns that. What is no footage stays: see footageFile. */
  mark(items: readonly Planned[], now: number): Marked[] {
    const get = this.sql(`${MARKED} WHERE s.id = ?`);
    // What has to be read from disk is read before others have to wait.
    const ours = items.filter(({ id }) => isFootage(get.get(id) as Marked | undefined));
    return this.transaction(() => {
      const holds = [...this.holds(), ...this.eventHolds.current(now)];
      const update = this.sql(
        `UPDATE segment SET doomed = ? WHERE id = ? AND start_ms = ? AND kind <= ? AND state = 'closed'
           AND doomed IS NULL AND storage_id = (SELECT id FROM storage WHERE path = ?)`,
      );
      // A number may have become another file's; its start says that it has not. Nor is it worth more than when it was planned, or
      // somewhere else, where it is not in the way.
      const marked = ours.filter(
        (item) =>
          !isHeld(item, holds, now) &&
          update.run(item.reason, item.id, item.start, KINDS.indexOf(item.kind), item.storage).changes > 0,
      );
      return marked.map(({ id }) => get.get(id) as Marked);
    });
  }

  /** Where what is still there is, and what it must be. */
  filesOf(items: readonly Planned[]): CopyItem[] {
    const get = this.sql(
      `SELECT st.path AS storage, s.path, s.bytes, s.hash FROM segment s JOIN storage st ON st.id = s.storage_id
       WHERE s.id = ? AND s.start_ms = ? AND s.doomed IS NULL`,
    );
    return items
      .map(({ id, start }) => get.get(id, start) as CopyItem | undefined)
      .filter((item) => item !== undefined)
      .filter(isFootage);
  }

  /** As a transaction that others wait for. */
  write<T>(call: () => T): T {
    return this.transaction(call);
  }

  /** The time that was believed last, null for none. */
  believed(): number | null {
    return (this.sql('SELECT at_ms FROM believed').pluck().get() as number | undefined) ?? null;
  }

  believe(ms: number): void {
    this.sql('INSERT OR REPLACE INTO believed (id, at_ms) VALUES (1, ?)').run(Math.round(ms));
  }

  /** What is marked: of a deletion that was cut short. */
  marked(): Marked[] {
    return this.sql(`${MARKED} WHERE s.doomed IS NOT NULL ORDER BY s.id`).all() as Marked[];
  }

  /** They stay after all. */
  unmark(marked: readonly Marked[]): void {
    this.transaction(() => {
      for (const { id } of marked) this.sql('UPDATE segment SET doomed = NULL WHERE id = ?').run(id);
    });
  }

  /**
   * The files are gone: so are their rows, and what they were is remembered as ranges.
   * @param later folders and buckets whose files are still there: they are removed when these answer
   */
  drop(marked: readonly Marked[], now: number, later: (storage: string) => boolean = () => false): void {
    this.transaction(() => {
      for (const { id, storage } of marked) {
        this.sql(`INSERT OR IGNORE INTO leftover ${LEFT('copy_id')} AND copy_id IS NOT NULL`).run(id);
        if (later(storage)) this.sql(`INSERT OR IGNORE INTO leftover ${LEFT('storage_id')}`).run(id);
        this.sql('DELETE FROM segment WHERE id = ? AND doomed IS NOT NULL').run(id);
      }
      for (const range of rangesOf(marked)) this.remember(range, now);
      this.sql('DELETE FROM deleted WHERE id <= (SELECT max(id) FROM deleted) - ?').run(MAX_RANGES);
    });
  }

  /** Joined with its neighbours; the newest deletions have the highest ids. */
  private remember(range: Range, now: number): void {
    const camera = this.sql('SELECT id FROM camera WHERE key = ?').pluck().get(range.camera) as number;
    const { stream, reason } = range;
    const columns = 'SELECT id, start_ms AS start, end_ms AS "end", bytes, files, reason FROM deleted';
    const of = 'camera_id = ? AND stream = ?';
    const before = this.sql(`${columns} WHERE ${of} AND start_ms <= ? ORDER BY start_ms DESC LIMIT 1`);
    const after = this.sql(`${columns} WHERE ${of} AND start_ms > ? AND start_ms <= ? ORDER BY start_ms LIMIT 1`);
    const joined = { start: range.start, end: range.end, bytes: range.bytes, files: range.files };
    for (const found of [
      before.get(camera, stream, range.start),
      after.get(camera, stream, range.start, range.end + JOIN_MS),
    ] as ((typeof joined & { id: number; reason: string }) | undefined)[]) {
      if (found?.reason !== reason || found.end < range.start - JOIN_MS) continue;
      this.sql('DELETE FROM deleted WHERE id = ?').run(found.id);
      joined.start = Math.min(joined.start, found.start);
      joined.end = Math.max(joined.end, found.end);
      joined.bytes += found.bytes;
      joined.files += found.files;
    }
    this.sql(
      `INSERT INTO deleted (id, camera_id, stream, start_ms, end_ms, reason, at_ms, bytes, files)
       VALUES ((SELECT coalesce(max(id), 0) + 1 FROM deleted), ?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(camera, stream, joined.start, joined.end, reason, now, joined.bytes, joined.files);
  }

  /** All that nothing may delete now: holds, and footage of events whose clips are not made yet. */
  kept(now: number): Hold[] {
    return [...this.holds(), ...this.eventHolds.read(now)];
  }

  holds(): Hold[] {
    return this.sql(`${HOLDS} ORDER BY h.created_ms, h.id`).all() as Hold[];
  }

  /** Adds a hold, or changes the one with this id. */
  putHold({ id, name, camera, start, end, until, who, why, created }: Hold): void {
    this.transaction(() => {
      if (camera !== null) this.sql('INSERT OR IGNORE INTO camera (key) VALUES (?)').run(camera);
      this.sql(
        `INSERT OR REPLACE INTO hold (id, name, camera_id, start_ms, end_ms, until_ms, who, why, created_ms)
         VALUES (?, ?, (SELECT id FROM camera WHERE key = ?), ?, ?, ?, ?, ?, ?)`,
      ).run(id, name, camera, start, end, until, who, why, created);
    });
  }

  dropHold(id: string): boolean {
    return this.sql('DELETE FROM hold WHERE id = ?').run(id).changes > 0;
  }

  /** Forgets the holds that ended before. */
  dropEndedHolds(before: number): void {
    this.sql('DELETE FROM hold WHERE until_ms < ?').run(before);
  }
}

const isFootage = (row: { path: string } | undefined): boolean =>
  row !== undefined && parseSegmentPath(row.path) !== null;

interface Range {
  camera: string;
  stream: StreamName;
  reason: DeletionReason;
  start: number;
  end: number;
  bytes: number;
  files: number;
}

/** Files that follow each other, as one. */
function rangesOf(marked: readonly Marked[]): Range[] {
  const ranges: Range[] = [];
  const last = new Map<string, Range>();
  for (const { camera, stream, reason, start, end, bytes } of [...marked].sort((a, b) => a.start - b.start)) {
    const key = `${camera} ${stream} ${reason}`;
    const range = last.get(key);
    if (range && start <= range.end + JOIN_MS) {
      range.end = Math.max(range.end, end);
      range.bytes += bytes;
      range.files++;
    } else {
      const begun = { camera, stream, reason, start, end, bytes, files: 1 };
      last.set(key, begun);
      ranges.push(begun);
    }
  }
  return ranges;
}
