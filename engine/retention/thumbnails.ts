/** Small pictures of footage that is to go, from the first keyframe of some of its files. */
import { closeSync, openSync, readSync } from 'node:fs';
import type { Database } from 'better-sqlite3';
import { decodeGopIndex } from '../catalog/gop-index.ts';
import { runJob } from '../ingest/ffmpeg-process.ts';
import { BOUNDED } from '../media/decoding.ts';
import { footageFile } from '../recording/segment-path.ts';
import type { Planned, Still } from './types.ts';

/** Of one announcement, and of one camera and reason in it. */
const MAX_STILLS = 12;
const PER_SHARE = 2;
const WIDTH = 320;
const TIMEOUT_MS = 5000;

/** The oldest of each camera and reason, and those that lie evenly behind it. */
export function filesToShow(items: readonly Planned[]): Planned[] {
  const shares = new Map<string, Planned[]>();
  for (const item of items) {
    const key = `${item.camera} ${item.reason}`;
    const list = shares.get(key);
    if (list) list.push(item);
    else shares.set(key, [item]);
  }
  const picked = [...shares.values()].flatMap((list) => {
    const sorted = list.toSorted((a, b) => a.start - b.start);
    const count = Math.min(PER_SHARE, sorted.length);
    return Array.from({ length: count }, (_, i) => sorted[Math.floor((i * sorted.length) / count)]!);
  });
  return picked.slice(0, MAX_STILLS);
}

/** Null when there is nothing to show of it. */
export async function stillOf(db: Database, ffmpeg: string, { id, camera, start }: Planned): Promise<Still | null> {
  const row = db
    .prepare(
      'SELECT st.path AS storage, s.path, s.gops FROM segment s JOIN storage st ON st.id = s.storage_id WHERE s.id = ?',
    )
    .get(id) as { storage: string; path: string; gops: Buffer } | undefined;
  if (!row) return null;
  const { offset, gops } = decodeGopIndex(row.gops);
  const input = Buffer.alloc(offset + (gops[0]?.bytes ?? 0));
  const fd = openSync(footageFile(row.storage, row.path), 'r');
  try {
    readSync(fd, input, 0, input.length, 0);
  } finally {
    closeSync(fd);
  }
  const picture = ['-frames:v', '1', '-vf', `scale=${WIDTH}:-2`, '-f', 'image2pipe', '-c:v', 'mjpeg', '-q:v', '6'];
  const media = ['-v', 'error', '-threads', '1', ...BOUNDED, '-f', 'mp4', '-i', 'pipe:0', '-map', '0:v:0'];
  const { stdout } = await runJob(ffmpeg, [...media, ...picture, 'pipe:1'], { timeoutMs: TIMEOUT_MS, input });
  return stdout.length > 0 ? { camera, time: start, image: stdout } : null;
}
