/** Footage that events hold until their clips are made. There may be many thousands: plans see them as a few hundred ranges. */
import type { Statement } from 'better-sqlite3';
import type { TimeRange } from '../types.ts';
import type { Hold } from './types.ts';

/** A range of a camera costs a plan a question; what lies between two of them is then held, too. */
const MAX_RANGES = 200;
const JOIN_MS = 60_000;

const ROW = `SELECT h.id, c.key AS camera, h.start_ms AS start, h.end_ms AS "end" FROM event_hold h JOIN camera c ON c.id = h.camera_id`;

interface Row extends TimeRange {
  id: number;
  camera: string;
}

export class EventHolds {
  private readonly sql: (text: string) => Statement;
  private seen = 0;
  private known: Hold[] | null = null;

  constructor(sql: (text: string) => Statement) {
    this.sql = sql;
  }

  /** What is held now, for a plan. */
  read(now: number): Hold[] {
    const byCamera = new Map<string, TimeRange[]>();
    for (const { id, camera, start, end } of this.sql(`${ROW} WHERE h.until_ms > ? ORDER BY h.start_ms`).all(
      now,
    ) as Row[]) {
      this.seen = Math.max(this.seen, id);
      const ranges = byCamera.get(camera);
      if (ranges) ranges.push({ start, end });
      else byCamera.set(camera, [{ start, end }]);
    }
    return (this.known = [...byCamera].flatMap(([camera, ranges]) =>
      joined(ranges).map((range) => holdOf(camera, range)),
    ));
  }

  /** What the last plan saw, and what came since: quick, for a transaction. */
  current(now: number): Hold[] {
    const known = this.known ?? this.read(now);
    const rows = this.sql(`${ROW} WHERE h.id > ?`).all(this.seen) as Row[];
    return [...known, ...rows.map(({ camera, start, end }) => holdOf(camera, { start, end }))];
  }
}

const holdOf = (camera: string, { start, end }: TimeRange): Hold => ({
  ...{ id: '', name: 'event', camera, start, end, until: null, who: '', why: '', created: start },
});

/** Sorted ranges, joined where little is between them: the less, the fewer there are. */
export function joined(ranges: readonly TimeRange[]): TimeRange[] {
  for (let joinMs = JOIN_MS; ; joinMs *= 2) {
    const merged: TimeRange[] = [];
    for (const { start, end } of ranges) {
      const last = merged.at(-1);
      if (last && start <= last.end + joinMs) last.end = Math.max(last.end, end);
      else merged.push({ start, end });
    }
    if (merged.length <= MAX_RANGES) return merged;
  }
}
