/** event-index's properties as the engine wants them, and its input messages read. */
import { camerasAsked, cursorOf, filterOf, filterOfJson } from '../../engine/http/event-params.ts';
import { integerOf } from '../../engine/http/params.ts';
import type { EventCursor, EventFilter } from '../../engine/events/event-query.ts';
import type { IndexSpec } from '../../engine/events/event-store.ts';
import { MAX_ROLL_MS } from '../../engine/events/incoming.ts';
import { EngineError } from '../../engine/types.ts';
import type { Payload } from '../shared/message.ts';

export interface EventIndexProperties {
  preRoll: number | string;
  postRoll: number | string;
  /** Days; 0 holds nothing. */
  hold: number | string;
  clock: string;
  /** Milliseconds, for `fixed`. */
  clockOffset: number | string;
  deadband: number | string;
  /** Days. */
  keep: number | string;
}

const DAY_MS = 86_400_000;
const MODES = ['trust', 'fixed', 'learn'] as const;

/** Throws `bad-index`. */
export function toIndexSpec(node: string, properties: EventIndexProperties): IndexSpec {
  const bad = (what: string): EngineError => new EngineError('bad-index', what);
  const number = (name: keyof EventIndexProperties, or: number, least: number, most: number, unit: string): number => {
    const value = properties[name];
    const read = (value as unknown) === undefined || value === '' ? or : Number(value);
    if (!(read >= least && read <= most)) throw bad(`${name} must be ${least} to ${most} ${unit}`);
    return read;
  };
  const mode = MODES.find((candidate) => candidate === (properties.clock || 'trust'));
  if (!mode) throw bad(`clock must be ${MODES.join(', ')}`);
  return {
    node,
    preMs: Math.round(number('preRoll', 5, 0, MAX_ROLL_MS / 1000, 'seconds') * 1000),
    postMs: Math.round(number('postRoll', 10, 0, MAX_ROLL_MS / 1000, 'seconds') * 1000),
    holdMs: Math.round(number('hold', 7, 0, 3650, 'days') * DAY_MS),
    clock: { mode, offsetMs: Math.round(number('clockOffset', 0, -366 * DAY_MS, 366 * DAY_MS, 'ms')) },
    deadband: number('deadband', 0, 0, 1e12, ''),
    keepMs: Math.round(number('keep', 400, 1, 36_500, 'days') * DAY_MS),
  };
}

/** What `query` of a message asks for. Throws `bad-request`. */
export function readQuery(
  query: unknown,
  nowMs: number,
): { filter: EventFilter; after: EventCursor | null; limit: number } {
  const texts = filterOfJson(objectOf(query));
  return {
    filter: filterOf(texts, camerasAsked(texts), nowMs),
    after: cursorOf(texts),
    limit: integerOf(texts, 'limit', 1, 500, 100),
  };
}

/** Which events a command is for: one by its id, or all that a query finds. Throws `bad-event`. */
export function readWhich(payload: Payload, nowMs: number): string | EventFilter {
  const { eventId, query } = payload;
  if (typeof eventId === 'string' && eventId !== '') return eventId;
  if (query === undefined)
    throw new EngineError('bad-event', 'acknowledge needs an eventId, or a query for all that it finds');
  return readQuery(query, nowMs).filter;
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new EngineError('bad-request', 'query must be an object, for example {"cameras":["yard"],"limit":20}');
}
