/** Holds over HTTP: what keeps footage whatever the rules say, by those who may control its cameras. */
import type { EngineHost } from '../engine-host.ts';
import type { Hold } from '../retention/types.ts';
import { EngineError } from '../types.ts';
import { cameraOf } from './params.ts';
import { isTime, rangeIn } from './shares.ts';
import { allows, type Access } from './tokens.ts';

const MAX_TEXT = 200;

/** Those of cameras that the token is for; of holds of all cameras, a token for some sees that there is one. */
export async function holdsFor(host: EngineHost, access: Access): Promise<Hold[]> {
  const all = access.cameras === '*';
  return (await host.holds())
    .filter(({ camera }) => camera === null || allows(access, camera, 'playback'))
    .map((hold) => (hold.camera === null && !all ? { ...hold, name: '', who: '', why: '' } : hold));
}

/** @param body `{camera, start, end, name, why?, who?, until?}`; `camera` null for all */
export async function addHold(host: EngineHost, access: Access, body: Record<string, unknown>): Promise<Hold> {
  const camera = body['camera'] === null ? null : cameraOf(body['camera']);
  demandControl(access, camera);
  const { until } = body;
  if (until !== undefined && until !== null && !(isTime(until) && until > Date.now())) {
    throw new EngineError('bad-request', 'until must be a time in the future, or null for ever');
  }
  const name = textIn(body, 'name');
  if (name === '') throw new EngineError('bad-request', 'name must say what the hold is for');
  return host.hold({
    ...{ ...rangeIn(body), camera, name, until: until ?? null },
    // Tokens name no people: what is told is noted, and from which token it came.
    who: textIn(body, 'who') || `token ${access.id}`,
    why: textIn(body, 'why'),
  });
}

export async function releaseHold(host: EngineHost, access: Access, id: string): Promise<Hold> {
  const hold = (await host.holds()).find((one) => one.id === id);
  if (!hold) throw new EngineError('not-found', 'there is no such hold (any more)');
  demandControl(access, hold.camera);
  return host.releaseHold(id);
}

function demandControl(access: Access, camera: string | null): void {
  if (camera === null ? access.cameras === '*' : allows(access, camera, 'control')) return;
  throw new EngineError(
    'forbidden',
    camera === null
      ? 'this is for all cameras, and the token is not'
      : `the token is not for control of camera ${camera}`,
  );
}

function textIn(body: Record<string, unknown>, name: string): string {
  const value = body[name] ?? '';
  if (typeof value !== 'string' || value.length > MAX_TEXT) {
    throw new EngineError('bad-request', `${name} must be a text of at most ${MAX_TEXT} characters`);
  }
  return value.trim();
}
