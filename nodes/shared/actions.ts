/**
 * What a page may say that was done on it. The dashboard's socket is open to whoever reaches it, so nothing that comes over
 * it is believed: an action is one of the known ones, has the fields that belong to it, and comes with a token whose rights
 * cover it. What goes to the flow is a copy with the known fields only.
 */
import type { NvrService } from '../../engine/http/service.ts';
import { allows, type Access, type Right } from '../../engine/http/tokens.ts';
import { isCameraId } from '../../engine/recording/segment-path.ts';
import { EngineError } from '../../engine/types.ts';
import type { Payload } from './message.ts';

/** Whether a field has such a value. */
type Check = (value: unknown) => boolean;

export interface Action {
  right: Right;
  /** It concerns all cameras: a token for some of them is not enough. */
  everywhere?: boolean;
  /** Beside `camera` and `cameras`, which are checked for all. */
  fields?: Record<string, Check>;
}

/** By `payload.type`, or by `type/action` where the payload has an action. */
export type Actions = Record<string, Action>;

/** Of a whole message, in characters of JSON. An event with all its notes, tags and boxes has room in it. */
const MAX_MESSAGE = 64_000;
const MAX_CAMERAS = 500;
const MAX_DEPTH = 6;
/** Of a field that is told to be wrong. */
const MAX_NAME = 30;
const MAX_TIME = 8.64e15;

export const text =
  (most = 200): Check =>
  (value) =>
    typeof value === 'string' && value.length <= most;
export const oneOf =
  (...known: readonly string[]): Check =>
  (value) =>
    known.some((one) => one === value);
export const flag: Check = (value) => typeof value === 'boolean';
export const between =
  (least: number, most: number): Check =>
  (value) =>
    typeof value === 'number' && value >= least && value <= most;
/** Epoch ms. */
export const time = between(0, MAX_TIME);
/** An object of these fields, none of which is needed; others are not allowed. */
export const record =
  (fields: Record<string, Check>): Check =>
  (value) =>
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    Object.entries(value).every(([name, field]) => Object.hasOwn(fields, name) && fields[name]!(field));
export const list =
  (check: Check, most = 100): Check =>
  (value) =>
    Array.isArray(value) && value.length <= most && value.every(check);
export const optional =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);

/** Values that JSON has, not too deep. */
export const json = (value: unknown, depth = 0): boolean => {
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return true;
  if (typeof value !== 'object' || depth >= MAX_DEPTH || Buffer.isBuffer(value)) return false;
  return Object.entries(value).every(([name, inner]) => name !== '__proto__' && json(inner, depth + 1));
};

const refuse = (why: string): EngineError => new EngineError('bad-message', why);

/**
 * The message for the flow that a page's action makes.
 *
 * @param given `{payload, token}` as it came
 * @throws EngineError `bad-message`, `unauthorized` or `forbidden`; its text says what is wrong and has nothing of the token
 */
export async function readAction(
  actions: Actions,
  given: unknown,
  service: Pick<NvrService, 'tokens' | 'host' | 'query'>,
): Promise<{ payload: Payload; camera?: string }> {
  const { payload, token } = (typeof given === 'object' && given !== null ? given : {}) as Record<string, unknown>;
  if (typeof token !== 'string') throw new EngineError('unauthorized', 'it has no token');
  if (typeof payload !== 'object' || payload === null || !json(payload)) throw refuse('its payload is no object');
  if (JSON.stringify(payload).length > MAX_MESSAGE) throw refuse('it is too large');
  const { type, action } = payload as Payload;
  const key = [type, action].filter((part) => typeof part === 'string').join('/');
  const known = Object.hasOwn(actions, key) ? actions[key] : undefined;
  if (!known) throw refuse('no widget sends it');

  const access = await service.tokens.verify(token);
  const clean = fieldsOf(payload as Payload, known);
  const all = await camerasOf(service, clean);
  permit(access, known, clean, all);
  const { camera } = clean;
  return typeof camera === 'string' ? { camera, payload: clean } : { payload: clean };
}

function fieldsOf(payload: Payload, { fields = {} }: Action): Payload {
  const clean: Payload = {};
  for (const [name, value] of Object.entries(payload)) {
    const good = ['type', 'action', 'camera', 'cameras'].includes(name)
      ? name !== 'cameras' || (Array.isArray(value) && value.length <= MAX_CAMERAS)
      : Object.hasOwn(fields, name) && fields[name]!(value);
    if (!good) throw refuse(`its field ${JSON.stringify(name.slice(0, MAX_NAME))} is unknown or wrong`);
    clean[name] = value;
  }
  return clean;
}

/** The cameras that there are, of the flow; and of the recordings, if one is asked for that the flow does not have. */
async function camerasOf({ host, query }: Pick<NvrService, 'host' | 'query'>, clean: Payload): Promise<Set<string>> {
  const all = new Set(host.cameraMessages.map(({ camera }) => camera));
  const asked = [clean['camera'], clean['cameras'], (clean['event'] as Payload | undefined)?.['cameras']].flat();
  if (asked.every((camera) => typeof camera !== 'string' || all.has(camera))) return all;
  const recorded = await query.call('cameras').catch((error: unknown) => {
    if (error instanceof EngineError && error.code === 'catalog') return []; // nothing was recorded yet
    throw error;
  });
  for (const camera of recorded) all.add(camera);
  return all;
}

/** Leaves out of lists what there is no more: the page's order of cameras remembers those that were removed. */
function permit(access: Access, { right, everywhere }: Action, clean: Payload, all: ReadonlySet<string>): void {
  const forbidden = new EngineError('forbidden', 'its token does not allow it');
  if (access.range || !access.rights.includes(right)) throw forbidden;
  if (everywhere && access.cameras !== '*') throw forbidden;
  const isKnown = (camera: unknown): camera is string =>
    typeof camera === 'string' && isCameraId(camera) && all.has(camera);
  const { camera = null, cameras } = clean;
  if (camera !== null && !isKnown(camera)) throw refuse('there is no such camera');
  if (Array.isArray(cameras)) clean['cameras'] = cameras.filter(isKnown);
  const event = clean['event'] as { cameras?: unknown } | string | undefined;
  const ofEvent = typeof event === 'object' ? [event.cameras ?? []].flat() : [];
  if (!ofEvent.every(isKnown)) throw refuse('there is no such camera');
  const named = [camera, ...((clean['cameras'] ?? []) as string[]), ...ofEvent] as (string | null)[];
  if (!named.every((one) => allows(access, one, right))) throw forbidden;
}
