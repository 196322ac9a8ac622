/** Which events are meant: a filter from a query string, or from a body or message. */
import { cameraOf, listOf, textOf, timeOf, type Query } from './params.ts';
import type { EventCursor, EventFilter } from '../events/event-query.ts';
import { boxOf } from '../events/incoming.ts';
import { EVENT_KINDS, SEVERITIES, type EventKind, type Severity } from '../events/types.ts';
import { EngineError } from '../types.ts';

const HOUR_MS = 3_600_000;
const MAX_NAMES = 50;
/** Who asks without an end wants what is announced, too. */
const AHEAD_MS = HOUR_MS;

/** Of a body or message; with one that is misspelt, more would be meant than somebody thinks. */
const NAMES: readonly string[] = [
  ...['cameras', 'start', 'end', 'types', 'zones', 'labels', 'text', 'severity', 'acknowledged', 'region'],
  ...['order', 'limit', 'cursor'],
];

const bad = (message: string): EngineError => new EngineError('bad-request', message);

function oneOf<T extends string>(known: readonly T[], name: string, list: readonly string[]): T[] {
  return list.map((value) => {
    const found = known.find((one) => one === value);
    if (found === undefined) throw bad(`${name} must be of ${known.join(', ')}`);
    return found;
  });
}

/**
 * A filter from texts. Throws `bad-request`.
 *
 * @param cameras those that whoever asks may see; null for all
 */
export function filterOf(query: Query, cameras: readonly string[] | null, nowMs: number): EventFilter {
  const types = listOf(query, 'types', MAX_NAMES);
  const severities = listOf(query, 'severity', SEVERITIES.length);
  const [zones, labels] = [listOf(query, 'zones', MAX_NAMES), listOf(query, 'labels', MAX_NAMES)];
  const [text, region] = [textOf(query, 'text'), listOf(query, 'region', 4)];
  const acknowledged = textOf(query, 'acknowledged');
  if (acknowledged !== null && acknowledged !== 'true' && acknowledged !== 'false') {
    throw bad('acknowledged must be true or false');
  }
  const order = textOf(query, 'order') ?? 'newest';
  if (order !== 'newest' && order !== 'oldest') throw bad('order must be newest or oldest');
  return {
    ...{ start: timeOf(query, 'start') ?? 0, end: timeOf(query, 'end') ?? nowMs + AHEAD_MS, cameras, order },
    types: types === null ? EVENT_KINDS : oneOf<EventKind>(EVENT_KINDS, 'types', types),
    ...(severities === null ? {} : { severities: oneOf<Severity>(SEVERITIES, 'severity', severities) }),
    ...(zones === null ? {} : { zones }),
    ...(labels === null ? {} : { labels }),
    ...(text === null ? {} : { text: text.slice(0, 500) }),
    ...(acknowledged === null ? {} : { acknowledged: acknowledged === 'true' }),
    ...(region === null ? {} : { region: regionOf(region) }),
  };
}

function regionOf(list: readonly string[]): ReturnType<typeof boxOf> {
  const [x, y, width, height] = list.map(Number);
  try {
    return boxOf({ x, y, width, height });
  } catch {
    throw bad('region must be x,y,width,height, each from 0 to 1');
  }
}

/** The same from JSON: lists may be lists, the region an object, times numbers. Throws `bad-request`. */
export function filterOfJson(body: Readonly<Record<string, unknown>>): Query {
  const query: Query = {};
  for (const [name, value] of Object.entries(body)) {
    if (!NAMES.includes(name)) throw bad(`${name.slice(0, 40)} is unknown: filters are ${NAMES.join(', ')}`);
    if (value === undefined || value === null) continue;
    const list: unknown[] = name === 'region' ? sidesOf(value) : Array.isArray(value) ? value : [value];
    if (list.some((one) => typeof one !== 'string' && typeof one !== 'number' && typeof one !== 'boolean')) {
      throw bad(`${name} must be a text, a number or a list of them`);
    }
    query[name] = list.join(',');
  }
  return query;
}

function sidesOf(region: unknown): unknown[] {
  if (Array.isArray(region)) return region;
  const { x, y, width, height } = Object(region) as Record<string, unknown>;
  return [x ?? '', y ?? '', width ?? '', height ?? ''];
}

export function cursorOf(query: Query): EventCursor | null {
  const text = textOf(query, 'cursor');
  if (text === null) return null;
  const match = /^(\d{1,14}) ([rge][\w-]{1,60})$/.exec(Buffer.from(text, 'base64url').toString());
  if (!match) throw bad('cursor must be one from an answer before');
  return { start: Number(match[1]), key: match[2]! };
}

export function cursorText(cursor: EventCursor | null): string | null {
  return cursor && Buffer.from(`${cursor.start} ${cursor.key}`).toString('base64url');
}

/** Names of cameras that a filter asks for; null for all. Throws `bad-request`. */
export function camerasAsked(query: Query): string[] | null {
  const asked = listOf(query, 'cameras', 100);
  return asked && [...new Set(asked.map(cameraOf))];
}
