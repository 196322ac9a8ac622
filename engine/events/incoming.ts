/** What nodes and machines say that happened, read and checked. Pure: whatever comes in, it is an event or an error that says why not. */
import type { Box } from '../motion/types.ts';
import { isCameraId } from '../recording/segment-path.ts';
import { EngineError } from '../types.ts';
import { SEVERITIES, type EventKind, type EventTag, type Severity } from './types.ts';

/** An event as its sender tells it. What is absent was not said. */
export interface IncomingEvent {
  kind: EventKind;
  /** Null: the index gives it one. */
  eventId: string | null;
  correlationId: string | null;
  source: string | null;
  cameras: string[];
  phase: 'start' | 'update' | 'end' | null;
  /** By the NVR's own clock, of what the NVR noticed. */
  start?: number;
  end?: number | null;
  /** By the source's clock. */
  sourceTime?: number;
  /** What its way of writing times leaves open. */
  resolutionMs?: number;
  /** To be added to the source's times. */
  clockOffsetMs?: number;
  preMs?: number;
  postMs?: number;
  label?: string;
  severity?: Severity;
  zones?: string[];
  score?: number;
  boxes?: Box[];
  tags?: EventTag[];
}

/** A value of the process, for the timeline. */
export interface TagSample {
  source: string;
  name: string;
  value: number | boolean;
  /** Null: now. */
  time: number | null;
  unit: string | null;
}

export const MAX_ROLL_MS = 3_600_000;
export const MAX_NOTE = 4000;
export const MAX_WHO = 100;
const MAX_ID = 200;
const MAX_SOURCE = 100;
const MAX_LABEL = 200;
const MAX_NAME = 100;
const MAX_UNIT = 20;
const MAX_CAMERAS = 32;
const MAX_TAGS = 100;
const MAX_ZONES = 50;
const MAX_BOXES = 100;
const MAX_OFFSET_MS = 366 * 86_400_000;
/** 1973: a time before it is one in seconds. 2100: one behind it is in microseconds. */
const EARLIEST = 1e11;
const LATEST = 4_102_444_800_000;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(?:[.,](\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?$/;

type Fields = Readonly<Record<string, unknown>>;

const bad = (message: string): EngineError => new EngineError('bad-event', message);
const given = (value: unknown): boolean => value !== undefined && value !== null && value !== '';

/** A text of bounded length. Throws `bad-event`. */
export function textIn(fields: Fields, name: string, longest: number): string | undefined {
  const value = fields[name];
  if (!given(value)) return undefined;
  // Machines count.
  const text = typeof value === 'number' && Number.isFinite(value) ? `${value}` : value;
  if (typeof text !== 'string') throw bad(`${name} must be a text`);
  if (text.length > longest) throw bad(`${name} must have at most ${longest} characters, not ${text.length}`);
  return text;
}

function numberIn(fields: Fields, name: string, least: number, most: number): number | undefined {
  const value = fields[name];
  if (!given(value)) return undefined;
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    throw bad(`${name} must be a number from ${least} to ${most}`);
  }
  return value;
}

/** Milliseconds before or after. */
function rollIn(fields: Fields, name: string): number | undefined {
  const roll = numberIn(fields, name, 0, MAX_ROLL_MS);
  return roll === undefined ? undefined : Math.round(roll);
}

/** A moment, and how exactly it is told. Throws `bad-event` for one that is not clear. */
export function timeIn(fields: Fields, name: string): { time: number; resolutionMs: number } | undefined {
  const value = fields[name];
  if (!given(value)) return undefined;
  const wanted = `${name} must be milliseconds since 1970, or ISO 8601 with its offset such as 2026-05-04T13:30:00.000Z`;
  if (typeof value === 'number' || (typeof value === 'string' && /^\d{1,16}$/.test(value))) {
    const time = Math.round(Number(value));
    if (time > 0 && time < EARLIEST) throw bad(`${name} is ${time}: it must be in milliseconds, not seconds`);
    if (!(time >= EARLIEST && time < LATEST)) throw bad(wanted);
    return { time, resolutionMs: 1 };
  }
  const match = typeof value === 'string' ? ISO.exec(value) : null;
  if (!match) throw bad(wanted);
  const [, seconds, fraction, offset] = match;
  if (offset === undefined) {
    throw bad(`${name} says no offset from UTC: add Z, or one such as +02:00, for '${String(value)}' may be any hour`);
  }
  const time = Date.parse((value as string).replace(',', '.'));
  if (!(time >= EARLIEST && time < LATEST)) throw bad(wanted);
  const resolutionMs =
    seconds === undefined ? 60_000 : fraction === undefined ? 1000 : 10 ** Math.max(0, 3 - fraction.length);
  return { time, resolutionMs };
}

/** A list, or one of it. */
function listIn(fields: Fields, name: string, most: number): unknown[] | undefined {
  const value = fields[name];
  if (!given(value)) return undefined;
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.length > most) throw bad(`${name}: at most ${most}, not ${list.length}`);
  return list;
}

function camerasIn(fields: Fields, fallback: unknown): string[] {
  const list =
    listIn(fields, 'cameras', MAX_CAMERAS) ??
    (given(fields['camera']) ? [fields['camera']] : given(fallback) ? [fallback] : []);
  const cameras = list.map((camera) => {
    if (typeof camera === 'string' && isCameraId(camera)) return camera;
    throw bad(`cameras: ${shown(camera)} is no id of a camera (a-z, 0-9, - and _, at most 64 characters)`);
  });
  return [...new Set(cameras)];
}

function shown(value: unknown): string {
  return typeof value === 'string' ? `'${value.slice(0, 40)}'` : `a ${value === null ? 'null' : typeof value}`;
}

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `[{name, value, unit?}]`, or `{name: value}`. */
function tagsIn(fields: Fields): EventTag[] | undefined {
  const value = fields['tags'];
  if (!given(value)) return undefined;
  const list: unknown[] = Array.isArray(value)
    ? value
    : isRecord(value)
      ? Object.entries(value).map(([name, of]) => ({ name, value: of }))
      : [];
  if (!Array.isArray(value) && !isRecord(value)) throw bad('tags must be a list of {name, value, unit}, or an object');
  if (list.length > MAX_TAGS) throw bad(`tags: at most ${MAX_TAGS}, not ${list.length}`);
  return list.map((tag) => {
    if (!isRecord(tag)) throw bad('tags must be a list of {name, value, unit}, or an object');
    const name = textIn(tag, 'name', MAX_NAME);
    const unit = textIn(tag, 'unit', MAX_UNIT);
    if (name === undefined) throw bad('a tag needs a name');
    const of = tag['value'];
    const good =
      typeof of === 'boolean' ||
      (typeof of === 'number' && Number.isFinite(of)) ||
      (typeof of === 'string' && of.length <= MAX_LABEL);
    if (!good)
      throw bad(`tag ${name}: its value must be a number, true, false, or a text of at most ${MAX_LABEL} characters`);
    return { name, value: of, ...(unit === undefined ? {} : { unit }) };
  });
}

function zonesIn(fields: Fields): string[] | undefined {
  return listIn(fields, 'zones', MAX_ZONES)?.map((zone) => {
    if (typeof zone === 'string' && zone !== '' && zone.length <= MAX_NAME) return zone;
    throw bad(`zones must be names of at most ${MAX_NAME} characters`);
  });
}

/** Throws `bad-event`. */
export function boxOf(value: unknown): Box {
  const box = isRecord(value) ? value : {};
  const [x, y, width, height] = ['x', 'y', 'width', 'height'].map((side) => {
    const number = box[side];
    if (typeof number === 'number' && number >= 0 && number <= 1) return number;
    throw bad('a box must be {x, y, width, height}, each from 0 to 1');
  });
  return { x: x!, y: y!, width: width!, height: height! };
}

function severityIn(fields: Fields): Severity | undefined {
  const value = fields['severity'];
  if (!given(value)) return undefined;
  const known = SEVERITIES.find((severity) => severity === value);
  if (!known) throw bad(`severity must be ${SEVERITIES.join(', ')}, not ${shown(value)}`);
  return known;
}

function phaseIn(fields: Fields): IncomingEvent['phase'] {
  const { phase } = fields;
  if (!given(phase)) return null;
  if (phase === 'start' || phase === 'update' || phase === 'end') return phase;
  // What another event-index sends on.
  if (phase === 'indexed' || phase === 'acknowledged' || phase === 'annotated') return 'update';
  if (phase === 'complete') return 'end';
  throw bad(`phase must be start, update or end, not ${shown(phase)}`);
}

/** Without the fields that are undefined. */
function defined<T extends object>(of: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(of).filter(([, value]) => value !== undefined)) as never;
}

/** What every event may carry. */
function commonOf(fields: Fields, camera: unknown): Omit<IncomingEvent, 'kind'> {
  return {
    ...{
      eventId: textIn(fields, 'eventId', MAX_ID) ?? null,
      correlationId: textIn(fields, 'correlationId', MAX_ID) ?? null,
    },
    ...{
      source: textIn(fields, 'source', MAX_SOURCE) ?? null,
      cameras: camerasIn(fields, camera),
      phase: phaseIn(fields),
    },
    ...(defined({
      preMs: rollIn(fields, 'preMs'),
      postMs: rollIn(fields, 'postMs'),
      label: textIn(fields, 'label', MAX_LABEL),
      severity: severityIn(fields),
      zones: zonesIn(fields),
      score: numberIn(fields, 'score', 0, 1e9),
      boxes: listIn(fields, 'boxes', MAX_BOXES)?.map(boxOf),
      tags: tagsIn(fields),
    }) as Partial<IncomingEvent>),
  };
}

/** By the NVR's clock; `end` may be null while it lasts. */
function ownTimes(fields: Fields): { start?: number; end?: number | null } {
  const start = (timeIn(fields, 'start') ?? timeIn(fields, 'time'))?.time;
  const end = fields['end'] === null ? null : timeIn(fields, 'end')?.time;
  if (start !== undefined && typeof end === 'number' && end < start) throw bad('end must not be before start');
  return defined({ start, end });
}

/**
 * An event that came on a wire; null for what is none (a file of a recording). Throws `bad-event` that says what is wrong.
 *
 * @param camera where the message names one beside its payload
 */
export function readEvent(fields: Fields, camera: unknown): IncomingEvent | null {
  const { type } = fields;
  switch (type) {
    case 'external':
    case 'event': {
      const told = timeIn(fields, 'sourceTime');
      const ended = timeIn(fields, 'sourceEndTime');
      if (told && ended && ended.time < told.time) throw bad('sourceEndTime must not be before sourceTime');
      const common = commonOf(fields, camera);
      const clockOffsetMs = numberIn(fields, 'clockOffsetMs', -MAX_OFFSET_MS, MAX_OFFSET_MS);
      return {
        ...common,
        kind: 'external',
        ...(told ? { sourceTime: told.time, resolutionMs: told.resolutionMs } : {}),
        ...(ended ? { end: ended.time } : {}),
        ...(clockOffsetMs === undefined ? {} : { clockOffsetMs }),
      };
    }
    case 'motion':
    case 'scene-change':
    case 'onvif-event': {
      const common = commonOf(fields, camera);
      if (common.cameras.length === 0) throw bad(`the ${type} event names no camera`);
      if (common.eventId === null && common.phase !== null) throw bad(`a ${type} event with a phase needs its eventId`);
      const label = type === 'onvif-event' ? textIn(fields, 'kind', MAX_LABEL) : undefined;
      return { ...(label === undefined ? {} : { label }), ...common, ...ownTimes(fields), kind: type };
    }
    case 'camera': {
      const common = commonOf({ camera: fields['camera'] }, camera);
      const [id] = common.cameras;
      const since = timeIn(fields, 'since')?.time;
      const { state } = fields;
      if (id === undefined || since === undefined || typeof state !== 'string') {
        throw bad('a camera message needs camera, state and since');
      }
      if (state === 'connecting') return null; // it decides nothing
      const away = state === 'offline';
      const label = away ? `offline: ${textIn(fields, 'reason', MAX_NAME) ?? 'unknown'}` : state.slice(0, MAX_NAME);
      return {
        ...{ ...common, kind: 'camera', label, severity: away ? 'warning' : 'info' },
        ...{ phase: away ? 'start' : 'end', start: since, end: away ? null : since },
      };
    }
    case 'recording': {
      const common = commonOf({ camera: fields['camera'] }, camera);
      const { phase } = fields;
      const id = textIn(fields, 'recordingId', MAX_ID);
      if (id === undefined || (phase !== 'start' && phase !== 'segment' && phase !== 'end')) {
        throw bad('a recording message needs recordingId, and the phase start, segment or end');
      }
      if (phase === 'segment') return null;
      const label = textIn(fields, 'trigger', MAX_NAME);
      return {
        ...{ ...common, kind: 'recording', eventId: `r${id}`, phase, ...ownTimes(fields) },
        ...(label === undefined ? {} : { label }),
      };
    }
    case 'gap': {
      const common = commonOf({ camera: fields['camera'] }, camera);
      const id = textIn(fields, 'gapId', MAX_ID);
      const label = textIn(fields, 'cause', MAX_NAME);
      if (id === undefined || label === undefined) throw bad('a gap message needs gapId and cause');
      const times = ownTimes(fields);
      const phase = typeof times.end === 'number' ? 'end' : 'start';
      return { ...common, kind: 'gap', eventId: `g${id}`, phase, label, severity: 'warning', ...times };
    }
    default:
      throw bad(
        `type ${shown(type)} is no event: it must be external, motion, scene-change, onvif-event, camera, recording, gap or tag`,
      );
  }
}

/** A value of the process. Throws `bad-event`. */
export function readTag(fields: Fields): TagSample {
  const name = textIn(fields, 'name', MAX_NAME);
  const source = textIn(fields, 'source', MAX_SOURCE) ?? '';
  if (name === undefined) throw bad('a tag needs a name');
  for (const text of [name, source]) {
    if (/[,\p{Cc}]/u.test(text)) throw bad(`tag '${name}': names and sources have no commas or control characters`);
  }
  const { value } = fields;
  if (typeof value !== 'boolean' && !(typeof value === 'number' && Number.isFinite(value))) {
    throw bad(`tag '${name}': its value must be a number, true or false`);
  }
  const unit = textIn(fields, 'unit', MAX_UNIT) ?? null;
  const time = (timeIn(fields, 'time') ?? timeIn(fields, 'sourceTime'))?.time ?? null;
  return { source, name, value, time, unit };
}

/** What a person writes. Throws `bad-event`. */
export function readNote(fields: Fields): { who: string; text: string } {
  const text = textIn(fields, 'text', MAX_NOTE);
  if (text === undefined || text.trim() === '') throw bad('a note needs a text');
  return { who: readWho(fields), text };
}

/** Throws `bad-event`. */
export function readWho(fields: Fields): string {
  return textIn(fields, 'who', MAX_WHO) ?? '';
}
