/** ptz's properties and messages, checked. */
import { randomUUID } from 'node:crypto';
import type { Command } from '../../engine/onvif/camera.ts';
import type { FocusWish, ImagingSettings } from '../../engine/onvif/imaging.ts';
import type { PatrolStop } from '../../engine/onvif/patrol.ts';
import type { Axes, Travel } from '../../engine/onvif/ptz.ts';
import { EngineError } from '../../engine/types.ts';
import { commandOf, type Payload } from '../shared/message.ts';
import { isBack, toEventRules, type EventRule } from './event-rules.ts';

export interface PtzProperties {
  name: string;
  /** Id of a camera of the same NVR. */
  camera: string;
  /** Empty: the host of the camera's stream. */
  address: string;
  /** Seconds after which a move ends that was not ended or renewed. */
  moveTimeout: number | string;
  /** Seconds from one end to the other at full speed; empty: not measured. */
  panTiltTravel: number | string;
  zoomTravel: number | string;
  events: boolean;
  allEvents: boolean;
  /** Of an own `address` with https: take any certificate. */
  anyCertificate?: boolean;
  /** Seconds after manual use in which events do not move it. */
  idle?: number | string;
  rules?: unknown;
}

export interface PtzConfig {
  moveTimeoutMs: number;
  travel: Travel | null;
  idleMs: number;
  rules: EventRule[];
}

export const COMMANDS = [
  ...([
    'move',
    'stop',
    'absolute',
    'relative',
    'zoom',
    'goto-preset',
    'set-preset',
    'remove-preset',
    'presets',
  ] as const),
  ...(['home', 'set-home', 'focus', 'status', 'patrol', 'visit', 'aux', 'imaging'] as const),
] as const;

const MAX_STOPS = 100;
const DEFAULT_DWELL_MS = 10_000;
const DEFAULT_RESUME_MS = 60_000;

const bad = (message: string): EngineError => new EngineError('bad-message', message);

/** Throws `bad-ptz`. */
export function toPtzConfig(properties: PtzProperties): PtzConfig {
  const { moveTimeout, panTiltTravel, zoomTravel, idle = DEFAULT_RESUME_MS / 1000, rules } = properties;
  const seconds = (name: string, value: number | string, least: number, most: number): number => {
    const number = Number(value);
    if (!(number >= least && number <= most)) {
      throw new EngineError('bad-ptz', `${name} must be ${least} to ${most} seconds`);
    }
    return Math.round(number * 1000);
  };
  const known = [panTiltTravel, zoomTravel].some((value) => Number(value) > 0);
  const way = (name: string, value: number | string): number =>
    // The other axis is not asked for where only one can be measured; a guess harms nothing.
    Number(value) > 0 ? seconds(name, value, 0.5, 600) : 10_000;
  return {
    moveTimeoutMs: seconds('moveTimeout', moveTimeout, 0.2, 60),
    travel: known ? { panTiltMs: way('panTiltTravel', panTiltTravel), zoomMs: way('zoomTravel', zoomTravel) } : null,
    idleMs: seconds('idle', idle, 0, 86_400),
    rules: toEventRules(rules),
  };
}

/** Throws `bad-message` with what to write instead. */
export function toCommand(payload: Payload, { moveTimeoutMs }: Pick<PtzConfig, 'moveTimeoutMs'>): Command {
  const name = commandOf(payload, COMMANDS);
  switch (name) {
    case 'move': {
      const timeoutMs = numberIn(payload, 'timeout', 100, 60_000) ?? moveTimeoutMs;
      return { command: 'steer', way: 'move', axes: axesOf(payload), timeoutMs };
    }
    case 'absolute':
      return {
        ...{ command: 'steer', way: 'absolute', axes: axesOf(payload), degrees: payload['degrees'] === true },
        ...speedOf(payload),
      };
    case 'relative':
      return { command: 'steer', way: 'relative', axes: axesOf(payload), ...speedOf(payload) };
    case 'zoom': {
      const position = numberIn(payload, 'position', 0, 1);
      if (position !== undefined)
        return { command: 'steer', way: 'absolute', axes: { zoom: position }, degrees: false };
      const speed = numberIn(payload, 'speed', -1, 1);
      if (speed === undefined) throw bad('zoom needs speed (-1 to 1) or position (0 to 1)');
      return { command: 'steer', way: 'move', axes: { zoom: speed }, timeoutMs: moveTimeoutMs };
    }
    case 'goto-preset':
      return { command: name, preset: presetOf(payload['preset']), ...speedOf(payload) };
    case 'remove-preset':
      return { command: name, preset: presetOf(payload['preset']) };
    case 'set-preset': {
      const preset = payload['preset'] === undefined ? null : presetOf(payload['preset']);
      const label = payload['name'] ?? '';
      if (typeof label !== 'string' || label.length > 64) throw bad('name must be a text of at most 64 characters');
      if (preset === null && label === '') throw bad('set-preset needs a name, or the preset to overwrite');
      return { command: name, name: label, preset };
    }
    case 'focus':
      return { command: name, focus: focusOf(payload) };
    case 'patrol':
      return patrolOf(payload);
    case 'visit':
      return visitOf(payload);
    case 'aux':
      return auxOf(payload);
    case 'imaging':
      return { command: name, settings: imagingOf(payload) };
    default:
      return { command: name };
  }
}

function numberIn(payload: Payload, field: string, least: number, most: number): number | undefined {
  const value = payload[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'number' || !(value >= least && value <= most)) {
    throw bad(`${field} must be a number from ${least} to ${most}`);
  }
  return value;
}

/** Ranges are checked with the device's own when the move is planned. */
function axesOf(payload: Payload): Axes {
  const axes: Axes = {};
  for (const axis of ['pan', 'tilt', 'zoom'] as const) {
    const value = numberIn(payload, axis, -360, 360);
    if (value !== undefined) axes[axis] = value;
  }
  return axes;
}

function presetOf(value: unknown): string {
  const text = typeof value === 'number' ? String(value) : value;
  if (typeof text === 'string' && text !== '' && text.length <= 200) return text;
  throw bad("preset must be a preset's name or token; the command presets lists them");
}

function focusOf(payload: Payload): FocusWish {
  if (payload['stop'] === true) return { stop: true };
  const { mode } = payload;
  if (mode === 'auto' || mode === 'manual') return { mode };
  const speed = numberIn(payload, 'speed', -1, 1);
  if (speed !== undefined) return { speed };
  const position = numberIn(payload, 'position', 0, 1);
  if (position !== undefined) return { position };
  throw bad('focus needs mode (auto or manual), speed (-1 near to 1 far), position (0 to 1), or stop: true');
}

function patrolOf(payload: Payload): Command {
  const resumeMs = numberIn(payload, 'resume', 1000, 86_400_000) ?? DEFAULT_RESUME_MS;
  if (payload['stop'] === true) return { command: 'patrol', stops: null, resumeMs };
  const dwellMs = numberIn(payload, 'dwell', 1000, 86_400_000) ?? DEFAULT_DWELL_MS;
  const list = payload['stops'];
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_STOPS) {
    throw bad(`patrol needs stops, a list of 1 to ${MAX_STOPS} presets, or stop: true`);
  }
  const stops = list.map((one: unknown): PatrolStop => {
    if (typeof one !== 'object' || one === null) return { preset: presetOf(one), dwellMs };
    const entry = one as Payload;
    return { preset: presetOf(entry['preset']), dwellMs: numberIn(entry, 'dwell', 1000, 86_400_000) ?? dwellMs };
  });
  return { command: 'patrol', stops, resumeMs };
}

/** Of a message: it takes the place of any event's. */
function visitOf(payload: Payload): Command {
  const { back = 'before', eventId } = payload;
  if (!isBack(back)) throw bad('back must be before, home or stay');
  return {
    command: 'visit',
    visit: {
      ...{ preset: presetOf(payload['preset']), back, rank: -1 },
      dwellMs: numberIn(payload, 'dwell', 1000, 3_600_000) ?? DEFAULT_DWELL_MS,
      eventId: typeof eventId === 'string' && eventId !== '' ? eventId.slice(0, 200) : randomUUID(),
    },
  };
}

/** How fast to go there, 0..1 of full speed; absent: as the camera wants. */
function speedOf(payload: Payload): { speed?: number } {
  const speed = numberIn(payload, 'speed', 0, 1);
  return speed === undefined ? {} : { speed };
}

function auxOf(payload: Payload): Command {
  const { data, relay, active } = payload;
  if (typeof data === 'string' && data !== '' && data.length <= 100) return { command: 'aux', data };
  if (typeof relay === 'string' && relay.length <= 100 && typeof active === 'boolean')
    return { command: 'relay', relay, active };
  throw bad(
    'aux needs data (such as tt:Wiper|On), or relay (its token, or "" for the first) and active (true or false)',
  );
}

/** Null: only to be told. */
function imagingOf(payload: Payload): ImagingSettings | null {
  const settings: ImagingSettings = {};
  for (const level of ['brightness', 'saturation', 'contrast', 'sharpness'] as const) {
    const value = numberIn(payload, level, -100_000, 100_000);
    if (value !== undefined) settings[level] = value;
  }
  const { irCutFilter } = payload;
  if (irCutFilter !== undefined) {
    const mode = (['ON', 'OFF', 'AUTO'] as const).find(
      (one) => typeof irCutFilter === 'string' && one === irCutFilter.toUpperCase(),
    );
    if (!mode) throw bad('irCutFilter must be on, off or auto');
    settings.irCutFilter = mode;
  }
  return Object.keys(settings).length > 0 ? settings : null;
}
