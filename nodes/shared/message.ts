/** What arrives on wires, checked: the boundary between other people's messages and our types. */
import { isCameraId } from '../../engine/recording/segment-path.ts';
import { EngineError } from '../../engine/types.ts';

export type Payload = Record<string, unknown>;

/** The payload as an object. Throws `bad-message`. */
export function payloadOf(msg: { payload?: unknown }): Payload {
  const { payload } = msg;
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload) || Buffer.isBuffer(payload)) {
    throw new EngineError('bad-message', 'msg.payload must be an object, for example {"command":"start"}');
  }
  return payload as Payload;
}

/** One of the known commands. Throws `bad-message` that names them. */
export function commandOf<T extends string>(payload: Payload, commands: readonly T[]): T {
  const { command } = payload;
  const known = commands.find((candidate) => candidate === command);
  if (known) return known;
  const given = typeof command === 'string' ? JSON.stringify(command.slice(0, 40)) : typeof command;
  throw new EngineError('bad-message', `unknown command ${given}: use ${commands.join(', ')}`);
}

/** A camera id, or null when none is given. Throws `bad-message` for something else. */
export function cameraOf(value: unknown): string | null {
  if (value === undefined || value === null || value === '') return null;
  if (typeof value === 'string' && isCameraId(value)) return value;
  throw new EngineError('bad-message', 'camera must be the id of a camera: a-z, 0-9, - and _, at most 64 characters');
}

/** A range of time in epoch ms. Throws `bad-message`. */
export function rangeOf(payload: Payload): { start: number; end: number } {
  const { start, end } = payload;
  if (!isInstant(start) || !isInstant(end)) {
    throw new EngineError('bad-message', 'start and end must be times in epoch milliseconds');
  }
  if (end <= start) throw new EngineError('bad-message', 'end must be later than start');
  return { start, end };
}

/** ECMAScript's range of time values. */
function isInstant(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value <= 8.64e15;
}

/** A time in epoch ms, given so or as ISO 8601. Throws `bad-message`. */
export function timeOf(payload: Payload, name: string): number {
  const value = payload[name];
  const time = typeof value === 'string' ? Date.parse(value) : value;
  if (typeof time === 'number' && time >= 0 && time <= 8.64e15) return time;
  throw new EngineError('bad-message', `${name} must be a time: epoch milliseconds, or such as 2026-05-04T13:30:00Z`);
}
