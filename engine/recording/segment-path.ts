/** Where a segment file lives: `<camera>/<YYYY-MM-DD>/<HH>/<YYYY-MM-DDTHH-MM-SS.mmmZ>_<stream>.mp4`, all UTC. */
import { join } from 'node:path';
import { EngineError, type StreamName } from '../types.ts';

const CAMERA_ID = /^[a-z0-9][a-z0-9_-]{0,63}$/;
/** Day and hour, so that no path leads out of its storage folder. */
const HOUR = /^\d{4}-\d\d-\d\d\/\d\d$/;
const FILE = /^(\d{4})-(\d\d)-(\d\d)T(\d\d)-(\d\d)-(\d\d)\.(\d{3})Z_(main|sub)(?:_\d+)?\.mp4$/;

export function isCameraId(id: string): boolean {
  return CAMERA_ID.test(id);
}

/** Path relative to the storage folder, with `/`. `copy` tells files of one start apart (a clock that went back). */
export function segmentPath(camera: string, stream: StreamName, startMs: number, copy = 0): string {
  const iso = new Date(startMs).toISOString();
  const suffix = copy > 0 ? `_${copy}` : '';
  return `${camera}/${iso.slice(0, 10)}/${iso.slice(11, 13)}/${iso.replaceAll(':', '-')}_${stream}${suffix}.mp4`;
}

/** What a file's path says, or null when it is not one of ours. */
export function parseSegmentPath(path: string): { camera: string; stream: StreamName; startMs: number } | null {
  const [camera, date, hourOfDay, name, ...more] = path.split('/');
  if (!camera || !name || more.length > 0 || !isCameraId(camera) || !HOUR.test(`${date}/${hourOfDay}`)) return null;
  const match = FILE.exec(name);
  if (!match) return null;
  const [year, month, day, hour, minute, second, ms] = match.slice(1, 8).map(Number);
  const startMs = Date.UTC(year!, month! - 1, day, hour, minute, second, ms);
  return { camera, stream: match[8] as StreamName, startMs };
}

/**
 * The file of a row: for whoever removes, renames or copies it. Throws `outside` for a path that is none of ours, which a
 * foreign catalogue may have: it could name any file of this machine.
 */
export function footageFile(storage: string, path: string): string {
  if (parseSegmentPath(path)) return join(storage, path);
  throw new EngineError('outside', `the catalogue names ${path} in ${storage}, which is no footage: it is left alone`);
}

/**
 * The next time a file of this camera should end: a wall-clock multiple of the segment length, later by a share of it
 * that differs from camera to camera, so that they do not all close (and fsync) at once.
 */
export function nextBoundary(camera: string, startMs: number, segmentMs: number): number {
  let hash = 2166136261; // FNV-1a
  for (const char of camera) hash = Math.imul(hash ^ char.charCodeAt(0), 16777619) >>> 0;
  const stagger = Math.round(((hash % 64) / 64) * Math.min(10_000, segmentMs / 2));
  return Math.floor((startMs - stagger) / segmentMs + 1) * segmentMs + stagger;
}
