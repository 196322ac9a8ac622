/** Checks what comes with a request. Everything is refused that is not exactly what it should be. */
import { isCameraId } from '../recording/segment-path.ts';
import { EngineError, type StreamName, type TimeRange } from '../types.ts';

export type Query = Record<string, unknown>;

function bad(message: string): EngineError {
  return new EngineError('bad-request', message);
}

/** One value as text, or null when it is not there. */
export function textOf(query: Query, name: string): string | null {
  const value = query[name];
  if (value === undefined || value === '') return null;
  if (typeof value !== 'string' || value.length > 4096) throw bad(`${name} must be given once`);
  return value;
}

export function cameraOf(value: unknown): string {
  if (typeof value !== 'string' || !isCameraId(value)) throw bad('that is not the id of a camera');
  return value;
}

export function camerasOf(query: Query): string[] | null {
  const text = textOf(query, 'cameras');
  if (text === null) return null;
  const cameras = text.split(',');
  if (cameras.length > 100) throw bad('cameras: at most 100 at once');
  return [...new Set(cameras.map(cameraOf))];
}

export function streamOf(query: Query): StreamName {
  const text = textOf(query, 'stream') ?? 'main';
  if (text !== 'main' && text !== 'sub') throw bad('stream must be main or sub');
  return text;
}

/** A whole number in its range, or the default where there is one. */
export function integerOf(query: Query, name: string, least: number, most: number, or: number): number;
export function integerOf(query: Query, name: string, least: number, most: number, or: null): number | null;
export function integerOf(query: Query, name: string, least: number, most: number, or: number | null): number | null {
  const text = textOf(query, name);
  if (text === null) return or;
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text) || value < least || value > most) {
    throw bad(`${name} must be a whole number from ${least} to ${most}`);
  }
  return value;
}

/** A speed may have a fraction. */
export function numberOf(query: Query, name: string, least: number, most: number, or: number): number {
  const text = textOf(query, name);
  if (text === null) return or;
  const value = Number(text);
  if (!/^\d{1,6}(\.\d{1,3})?$/.test(text) || value < least || value > most) {
    throw bad(`${name} must be a number from ${least} to ${most}`);
  }
  return value;
}

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)$/;
/** The year 2100: a time behind it is one in microseconds. */
const LATEST = 4_102_444_800_000;

/** A moment: milliseconds since 1970, or ISO 8601 with its offset. */
export function timeOf(query: Query, name: string): number | null {
  const text = textOf(query, name);
  if (text === null) return null;
  const value = ISO.test(text) ? Date.parse(text) : /^\d{1,14}$/.test(text) ? Number(text) : NaN;
  if (!(value >= 0 && value < LATEST)) {
    throw bad(`${name} must be milliseconds since 1970, or a time such as 2026-05-04T13:30:00Z`);
  }
  return value;
}

export function rangeOf(query: Query, longestMs: number): TimeRange {
  const start = timeOf(query, 'start');
  const end = timeOf(query, 'end');
  if (start === null || end === null) throw bad('start and end are needed');
  if (end <= start) throw bad('end must be later than start');
  if (end - start > longestMs)
    throw bad(`the range must not be longer than ${Math.round(longestMs / 3_600_000)} hours`);
  return { start, end };
}

/** Texts with commas between them; null when there are none. */
export function listOf(query: Query, name: string, most: number): string[] | null {
  const text = textOf(query, name);
  if (text === null) return null;
  const list = text.split(',').filter((one) => one !== '');
  if (list.length === 0 || list.length > most) throw bad(`${name}: 1 to ${most} with commas between`);
  return list;
}
