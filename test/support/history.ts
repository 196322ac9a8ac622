/** Weeks of many cameras that were never filmed: rows of files, events and motion as recording leaves them; the end is real. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { ROWS_PER_MS, wordsOf } from '../../engine/events/words.ts';
import { addFootage, FPS, linkFile, numberedMedia, repeated } from './footage.ts';

const MINUTE_MS = 60_000;
const DAY_MS = 86_400_000;
/** Frames count from 0 again every so often. */
export const LOOP_MS = 60_000;

export interface HistoryOptions {
  cameras: readonly string[];
  /** Minutes that can be played, up to the end. */
  minutes: number;
  /** Days before them: rows only. */
  days?: number;
  /** Single events in all that time, of all cameras together. */
  events?: number;
  size?: { width: number; height: number; kbps: number };
  /** A minute of the second camera that is missing, counted from the first that can be played. */
  gapMinute?: number;
}

export interface History {
  start: number;
  end: number;
  /** The number that the frame on show at a moment has. */
  frameAt: (time: number) => number;
}

/** All cameras have the same pictures at the same time, so that a number in one tells how far another is off. */
export function makeHistory(storage: string, options: HistoryOptions): History {
  const { cameras, minutes, days = 0, events = 0, gapMinute } = options;
  const { width, height, kbps } = options.size ?? { width: 640, height: 360, kbps: 300 };
  mkdirSync(storage, { recursive: true });
  const end = Math.floor(Date.now() / MINUTE_MS) * MINUTE_MS - 2 * MINUTE_MS;
  const start = end - minutes * MINUTE_MS;
  const media = repeated(numberedMedia({ seconds: LOOP_MS / 1000, width, height, kbps }), minutes);
  const catalog = Catalog.open(join(storage, 'catalog.sqlite'));
  const { db } = catalog;
  db.pragma('synchronous = OFF');
  const oldest = start - days * DAY_MS;
  db.transaction(() => {
    const add = db.prepare('INSERT INTO camera (key) VALUES (?) ON CONFLICT DO NOTHING');
    for (const camera of cameras) add.run(camera);
    const id = db.prepare('SELECT id FROM camera WHERE key = ?').pluck();
    cameras.forEach((camera, i) => {
      const of = id.get(camera) as number;
      // Before the files: each event would look for its own otherwise.
      addEvents(db, { camera, of, oldest, end, count: Math.floor(events / cameras.length), shift: i * 0.05 });
      if (days > 0) {
        db.prepare(
          `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @count - 1)
           INSERT INTO activity SELECT @of, @first + i, 1,0,0,0,0,0,0,0,0,0,0,0, 20, 4 + (i * 37) % 120 FROM n
           WHERE (i * 31 + i / 60 * 17 + @of) % 7 < 3 AND (i / 60) % 24 BETWEEN 6 AND 21`,
        ).run({ of, first: Math.floor(oldest / MINUTE_MS), count: Math.floor((start - oldest) / MINUTE_MS) });
        db.prepare("INSERT INTO storage (id, path) VALUES (900, '/nowhere') ON CONFLICT DO NOTHING").run();
        db.prepare(
          `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @count - 1)
           INSERT INTO segment (camera_id, stream, storage_id, path, start_ms, end_ms, start_ticks, bytes, frames, state)
           SELECT @of, 'main', 900, @camera || '/' || i, @oldest + i * 60000, @oldest + (i + 1) * 60000, 0, 30000000, 1500,
             'closed' FROM n WHERE (i + @of * 211) % 1440 NOT BETWEEN 700 AND 740`,
        ).run({ of, camera, oldest, count: Math.floor((start - oldest) / MINUTE_MS) });
        db.prepare(
          `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @count - 1)
           INSERT INTO gap (camera_id, stream, start_ms, end_ms, cause)
           SELECT @of, 'main', @oldest + i * 60000, @oldest + (i + 41) * 60000, 'camera-offline' FROM n
           WHERE (i + @of * 211) % 1440 = 700`,
        ).run({ of, oldest, count: Math.floor((start - oldest) / MINUTE_MS) - 41 });
      }
    });
  })();
  const [first, ...others] = cameras;
  const files = addFootage(catalog, storage, media, { camera: first!, startMs: start, segmentMs: MINUTE_MS });
  for (const camera of others) {
    files.forEach((file, i) => {
      if (camera === others[0] && i === gapMinute) {
        db.prepare(
          `INSERT INTO gap (camera_id, stream, start_ms, end_ms, cause)
           VALUES ((SELECT id FROM camera WHERE key = ?), 'main', ?, ?, 'camera-offline')`,
        ).run(camera, file.startMs, file.endMs);
        return;
      }
      const path = file.path.replace(first!, camera).replace(first!, camera);
      linkFile(storage, file.path, path);
      const { startMs, startTicks, endMs, init, data, gops, gopIndex } = file;
      catalog.openSegment({
        ...{ camera, stream: 'main', storage, path, recordingId: null, init: init.data, startMs, startTicks },
      });
      const frames = gops.reduce((sum, gop) => sum + gop.frames, 0);
      catalog.closeSegment({ storage, path, endMs, bytes: data.length, frames, gops: gopIndex });
    });
  }
  catalog.close();
  return { start, end, frameAt: (time) => Math.floor(((time - start) % LOOP_MS) / (1000 / FPS)) };
}

function addEvents(
  db: Catalog['db'],
  {
    camera,
    of,
    oldest,
    end,
    count,
    shift,
  }: Record<'of' | 'oldest' | 'end' | 'count' | 'shift', number> & { camera: string },
): void {
  const event = db.prepare(
    `INSERT INTO event (row, id, type, camera_id, start_ms, end_ms, data, indexed)
     VALUES (CAST(? AS INTEGER), ?, 'motion', ?, ?, ?, ?, 1)`,
  );
  const link = db.prepare(
    'INSERT INTO event_camera (camera_id, motion, start_ms, end_ms, event) VALUES (?, 1, ?, ?, CAST(? AS INTEGER))',
  );
  const words = db.prepare('INSERT INTO event_words (rowid, words) VALUES (CAST(? AS INTEGER), ?)');
  const data = JSON.stringify({ cameras: [camera], score: 0.5, zones: ['Gate'] });
  const said = wordsOf({
    ...{ eventId: '', kind: 'motion', correlationId: null, source: null, cameras: [camera], start: 0, end: 0 },
    ...{ sourceTime: null, uncertaintyMs: 0, preMs: 0, postMs: 0, label: null, severity: 'info', zones: ['Gate'] },
    ...{ score: 0.5, boxes: [], tags: [], notes: [], acknowledged: null },
  });
  for (let i = 0; i < count; i++) {
    const start = Math.floor(oldest + ((i + 0.37 + shift) * (end - oldest)) / count) + ((i * 7919) % 5000);
    if (start >= end) continue;
    // Each camera has its own place in a millisecond.
    const row = start * ROWS_PER_MS + of;
    event.run(row, `${camera}-${i}`, of, start, start + 2000 + (i % 20) * 1000, data);
    link.run(of, start, start + 2000 + (i % 20) * 1000, row);
    words.run(row, said);
  }
}
