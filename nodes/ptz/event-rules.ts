/** Which events send the camera to which preset. Pure. */
import type { Visit } from '../../engine/onvif/visits.ts';
import { EngineError } from '../../engine/types.ts';
import type { Payload } from '../shared/message.ts';

/** Types of messages that tell of events. */
const EVENT_TYPES = ['motion', 'onvif-event', 'external'] as const;
type EventType = (typeof EVENT_TYPES)[number];

export interface EventRule {
  on: EventType | 'any';
  /** In lower case: a zone, label, kind or source; empty for all. */
  match: string;
  /** Of this camera only; empty for all. */
  camera: string;
  preset: string;
  dwellMs: number;
  back: Visit['back'];
}

const MAX_RULES = 50;
/** Phases in which an event is there; one without phases is there when it is told. */
const THERE: readonly unknown[] = ['start', 'update', 'indexed', undefined, null];
/** What is told later than this is history: the camera would look at nothing. */
const LATE_MS = 30_000;

export const isBack = (value: unknown): value is Visit['back'] =>
  value === 'before' || value === 'home' || value === 'stay';

/** The table of the dialog. Throws `bad-ptz`. */
export function toEventRules(value: unknown): EventRule[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_RULES)
    throw bad(`there may be ${MAX_RULES} rules for events at most`);
  return value.map((entry: unknown, i): EventRule => {
    const { on, match, camera, preset, dwell, back } = (entry ?? {}) as Payload;
    const seconds = Number(dwell);
    const type = on === 'any' ? on : EVENT_TYPES.find((known) => known === on);
    if (!type || !isBack(back)) throw bad(`rule ${i + 1} for events is not complete`);
    if (typeof preset !== 'string' || preset.trim() === '') throw bad(`rule ${i + 1} for events needs a preset`);
    if (!(seconds >= 1 && seconds <= 3600)) throw bad(`rule ${i + 1} for events: it stays 1 to 3600 seconds`);
    const text = (given: unknown): string => (typeof given === 'string' ? given.trim() : '');
    return {
      ...{ on: type, match: text(match).toLowerCase(), camera: text(camera), preset: preset.trim() },
      ...{ dwellMs: seconds * 1000, back },
    };
  });
}

export function isEvent(payload: Payload): boolean {
  return payload['command'] === undefined && EVENT_TYPES.some((type) => type === payload['type']);
}

/**
 * Where an event sends the camera, by the first rule that it fits; null when by none, or when it is over.
 * @param zones names of zones by id
 */
export function visitFor(
  rules: readonly EventRule[],
  payload: Payload,
  zones: ReadonlyMap<string, string>,
  nowMs: number,
): Visit | null {
  const { type, phase, start, eventId, correlationId } = payload;
  if (!THERE.includes(phase)) return null;
  if (phase !== 'update' && typeof start === 'number' && start < nowMs - LATE_MS) return null;
  const cameras = Array.isArray(payload['cameras']) ? (payload['cameras'] as unknown[]) : [payload['camera']];
  const ids = Array.isArray(payload['zones']) ? (payload['zones'] as unknown[]) : [];
  const names = [...ids, ...ids.map((id) => zones.get(String(id)))];
  const words = [...names, payload['label'], payload['kind'], payload['source']]
    .filter((word) => typeof word === 'string')
    .map((word) => word.toLowerCase());
  const rank = rules.findIndex(
    ({ on, match, camera }) =>
      (on === 'any' || on === type) &&
      (match === '' || words.includes(match)) &&
      (camera === '' || cameras.includes(camera)),
  );
  const rule = rules[rank];
  if (!rule) return null;
  const id = [eventId, correlationId].find((one) => typeof one === 'string' && one !== '');
  return {
    ...{ preset: rule.preset, dwellMs: rule.dwellMs, back: rule.back, rank },
    eventId: typeof id === 'string' ? id.slice(0, 200) : 'event',
  };
}

const bad = (message: string): EngineError => new EngineError('bad-ptz', message);
