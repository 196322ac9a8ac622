/** What retention has deleted, as the catalogue's `deleted` tells it. */
import type { Statement } from 'better-sqlite3';
import type { DeletionReason } from '../retention/types.ts';
import type { StreamName, TimeRange } from '../types.ts';

/** Ranges follow each other: of those before the asked one only the last can reach into it; a few more cost nothing. */
const OVERLAPPING = 8;
const MAX_RANGES = 20_000;

/** What was deleted of a range, oldest first. @param sql prepares a statement, or finds it prepared */
export function deletedIn(
  sql: (text: string) => Statement,
  camera: string,
  stream: StreamName,
  { start, end }: TimeRange,
): (TimeRange & { reason: DeletionReason })[] {
  const columns = 'SELECT start_ms AS start, end_ms AS "end", reason FROM deleted';
  const of = 'camera_id = (SELECT id FROM camera WHERE key = @camera) AND stream = @stream';
  return sql(
    `SELECT * FROM (${columns} WHERE ${of} AND start_ms < @start ORDER BY start_ms DESC LIMIT ${OVERLAPPING})
     WHERE "end" > @start
     UNION ALL SELECT * FROM (${columns} WHERE ${of} AND start_ms >= @start AND start_ms < @end LIMIT ${MAX_RANGES})
     ORDER BY start`,
  ).all({ camera, stream, start, end }) as (TimeRange & { reason: DeletionReason })[];
}
