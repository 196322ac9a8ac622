/**
 * Forgets rows that speak of a time of which there is no footage any more: gaps, recordings, deletions, where something
 * moved, headers that no file has. Events are not among them: they have rules of their own.
 */
import type { Database } from 'better-sqlite3';
import type { Hold } from './types.ts';

/** So long before the oldest footage (or what is held) of a camera the ledger still tells what was. */
export const LEDGER_MS = 30 * 86_400_000;
const MINUTE_MS = 60_000;
/** Rows in one transaction. */
const BATCH = 50;

const BY_TIME = ['gap', 'recording', 'deleted'] as const;
const BY_MINUTE = ['activity', 'activity_seconds'] as const;

/**
 * A step is one short transaction; it yields how many rows went.
 * @param write runs a transaction
 */
export function* pruneSteps(
  db: Database,
  write: (call: () => number) => number,
  holds: readonly Hold[],
  now: number,
): Generator<number> {
  const cameras = db.prepare('SELECT id, key FROM camera').all() as { id: number; key: string }[];
  for (const { id, key } of cameras) {
    const before = horizonOf(db, id, key, holds, now);
    const steps = [
      ...BY_TIME.flatMap((table) => ['main', 'sub'].map((stream) => () => byTime(db, table, id, stream, before))),
      ...BY_MINUTE.map((table) => () => byMinute(db, table, id, Math.floor(before / MINUTE_MS))),
    ];
    for (const step of steps) yield* repeated(() => write(step));
  }
  const unused = db.prepare(
    'DELETE FROM init WHERE id IN (SELECT id FROM init WHERE NOT EXISTS (SELECT 1 FROM segment WHERE init_id = init.id) LIMIT ?)',
  );
  yield* repeated(() => write(() => unused.run(BATCH).changes));
}

function* repeated(step: () => number): Generator<number> {
  for (;;) {
    const rows = step();
    yield rows;
    if (rows < BATCH) return;
  }
}

function horizonOf(db: Database, id: number, key: string, holds: readonly Hold[], now: number): number {
  const oldest = db
    .prepare('SELECT start_ms FROM segment WHERE camera_id = ? AND stream = ? ORDER BY start_ms LIMIT 1')
    .pluck();
  const starts = ['main', 'sub'].flatMap((stream) => (oldest.get(id, stream) as number | undefined) ?? []);
  const held = holds.filter(({ camera }) => (camera ?? key) === key).map(({ start }) => start);
  return Math.min(now, ...starts, ...held) - LEDGER_MS;
}

function byTime(db: Database, table: string, camera: number, stream: string, before: number): number {
  return db
    .prepare(
      `DELETE FROM ${table} WHERE id IN (SELECT id FROM ${table} WHERE camera_id = ? AND stream = ? AND start_ms < ?
       AND end_ms < ? ORDER BY start_ms LIMIT ${BATCH})`,
    )
    .run(camera, stream, before, before).changes;
}

function byMinute(db: Database, table: string, camera: number, before: number): number {
  return db
    .prepare(
      `DELETE FROM ${table} WHERE camera_id = @camera AND minute < @before AND minute < coalesce(
       (SELECT minute FROM ${table} WHERE camera_id = @camera ORDER BY minute LIMIT 1 OFFSET ${BATCH}), @before)`,
    )
    .run({ camera, before }).changes;
}
