/** The catalogue as what plans are made from: every question is a range of one index. Read-only, synchronous. */
import type { Database, Statement } from 'better-sqlite3';
import type { TimeRange } from '../types.ts';
import { isOnly, MARGIN_MS, type Amount, type FootageSource, type Placed, type Selection } from './source.ts';
import { KINDS, type Only, type Segment } from './types.ts';

/** Longer events are found by their end no more. */
const LONGEST_EVENT_MS = 86_400_000;

/** More than one plan moves, with what it has to pass over. */
const MAX_PLACED = 2000;

type Row = [id: number, start: number, end: number, bytes: number, storage: number];

/** As things are when it is made; for one plan. */
export class CatalogSource implements FootageSource {
  private readonly db: Database;
  private readonly cameraIds: Map<string, number>;
  private readonly storageIds: Map<string, number>;
  private readonly storagePaths: Map<number, string>;
  /** By `<camera id> <storage id>`. */
  private readonly usage: Map<string, Amount>;
  /** Statements that nobody is reading from, by their text: a list that is read needs one of its own. */
  private readonly idle = new Map<string, Statement[]>();

  constructor(db: Database) {
    this.db = db;
    this.cameraIds = new Map(db.prepare('SELECT key, id FROM camera').raw().all() as [string, number][]);
    const storages = db.prepare('SELECT path, id FROM storage').raw().all() as [string, number][];
    this.storageIds = new Map(storages);
    this.storagePaths = new Map(storages.map(([path, id]) => [id, path]));
    const used = db
      .prepare("SELECT camera_id || ' ' || storage_id, bytes, files FROM usage WHERE files > 0")
      .raw()
      .all() as [string, number, number][];
    this.usage = new Map(used.map(([key, bytes, files]) => [key, { bytes, files }]));
  }

  cameras(): string[] {
    const stored = new Set([...this.usage.keys()].map((key) => Number(key.split(' ')[0])));
    return [...this.cameraIds].filter(([, id]) => stored.has(id)).map(([key]) => key);
  }

  used(camera: string, storage: string): Amount {
    return this.usage.get(`${this.cameraIds.get(camera)} ${this.storageIds.get(storage)}`) ?? { bytes: 0, files: 0 };
  }

  /** Nothing of folders that were never stored to. */
  private isEmpty({ storages }: Selection): boolean {
    return storages?.every((path) => !this.storageIds.has(path)) ?? false;
  }

  private from({ storages }: Selection): string {
    const ids = storages?.flatMap((path) => this.storageIds.get(path) ?? []);
    // Where it is all of them, the question does not slow the answer.
    const inside = ids && ids.length < this.storageIds.size ? `AND storage_id IN (${ids.join(', ')})` : '';
    return `FROM segment INDEXED BY segment_by_kind WHERE state = 'closed' AND doomed IS NULL AND camera_id = ? AND kind = ?
      AND start_ms BETWEEN ? AND ? AND end_ms <= ? ${inside}`;
  }

  *oldest(of: Selection): Generator<Segment> {
    const { camera, kind } = of;
    const id = this.cameraIds.get(camera);
    if (id === undefined || this.isEmpty(of)) return;
    const text = `SELECT id, start_ms, end_ms, bytes, storage_id ${this.from(of)} ORDER BY start_ms`;
    const idle = this.idle.get(text) ?? [];
    this.idle.set(text, idle);
    const statement = idle.pop() ?? this.db.prepare(text).raw();
    try {
      for (const { start, end } of of.ranges) {
        for (const row of statement.iterate(id, KINDS.indexOf(kind), start, end, end)) {
          const [segment, startMs, endMs, bytes, storage] = row as Row;
          const path = this.storagePaths.get(storage)!;
          yield { id: segment, camera, storage: path, start: startMs, end: endMs, bytes, kind };
        }
      }
    } finally {
      idle.push(statement);
    }
  }

  *placed({ storage, kind, before, copied }: Placed): Generator<Segment> {
    const id = this.storageIds.get(storage);
    const copyId = copied === undefined || copied === null ? null : this.storageIds.get(copied);
    if (id === undefined || copyId === undefined) return;
    const which = copied === undefined ? '' : 'AND s.copy_id IS ?';
    const rows = this.db
      .prepare(
        `SELECT s.id, c.key AS camera, s.start_ms AS start, s.end_ms AS "end", s.bytes
         FROM segment s INDEXED BY segment_by_place JOIN camera c ON c.id = s.camera_id
         WHERE s.state = 'closed' AND s.doomed IS NULL AND s.storage_id = ? AND s.kind = ? AND s.start_ms < ? ${which}
         ORDER BY s.start_ms LIMIT ${MAX_PLACED}`,
      )
      .all(...[id, KINDS.indexOf(kind), before, ...(which ? [copyId] : [])]) as Omit<Segment, 'storage' | 'kind'>[];
    for (const row of rows) yield { ...row, storage, kind, copy: copied ?? null };
  }

  sum(of: Selection): Amount {
    const id = this.cameraIds.get(of.camera);
    const amount = { bytes: 0, files: 0 };
    if (id === undefined || this.isEmpty(of)) return amount;
    const statement = this.db.prepare(`SELECT coalesce(sum(bytes), 0), count(*) ${this.from(of)}`).raw();
    for (const { start, end } of of.ranges) {
      const [bytes, files] = statement.get(id, KINDS.indexOf(of.kind), start, end, end) as [number, number];
      amount.bytes += bytes;
      amount.files += files;
    }
    return amount;
  }

  shown(camera: string, only: Only, range: TimeRange): TimeRange[] {
    const id = this.cameraIds.get(camera);
    if (id === undefined) return [];
    // What says nothing of labels and zones need not be read from disk.
    const details =
      only.labels || only.zones ? "e.data ->> '$.label', coalesce(e.data ->> '$.zones', '[]')" : "NULL, '[]'";
    const queries = [
      `SELECT l.start_ms, coalesce(l.end_ms, @end), e.type, ${details} FROM event_camera l JOIN event e ON e.row = l.event
       WHERE l.camera_id = @id AND l.motion IN (0, 1)
       AND l.start_ms > @start - ${LONGEST_EVENT_MS} AND l.start_ms < @end AND coalesce(l.end_ms, @end) > @start`,
    ];
    if (only.triggers && !only.labels && !only.zones) {
      queries.push(
        `SELECT start_ms, coalesce(end_ms, @end), trigger, NULL, '[]' FROM recording
         WHERE camera_id = @id AND stream IN ('main', 'sub') AND trigger <> 'continuous'
         AND start_ms < @end AND coalesce(end_ms, @end) > @start`,
      );
    }
    const window = { id, start: range.start - MARGIN_MS, end: range.end + MARGIN_MS };
    const rows = queries.flatMap(
      (sql) => this.db.prepare(sql).raw().all(window) as [number, number, string, string | null, string][],
    );
    return rows
      .filter(([start, end, trigger, label, zones]) =>
        isOnly(only, { camera, start, end, trigger, label, zones: only.zones ? (JSON.parse(zones) as string[]) : [] }),
      )
      .map(([start, end]) => ({ start: start - MARGIN_MS, end: end + MARGIN_MS }));
  }
}
