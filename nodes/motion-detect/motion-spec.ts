/** motion-detect's properties as the engine wants them, and what messages have changed since. Pure. */
import type { MotionMode } from '../../engine/motion/analyser.ts';
import type { MotionSettings, Point, Zone } from '../../engine/motion/types.ts';
import { isInside, parseTime, type WeeklyTime } from '../../engine/recording/schedule.ts';
import { EngineError } from '../../engine/types.ts';
import { cameraOf, commandOf, type Payload } from '../shared/message.ts';

/** As the edit dialog stores them; sizes are percent of the picture's area, times seconds. */
export interface MotionProperties {
  mode: string;
  sensitivity: number | string;
  minSize: number | string;
  maxSize: number | string;
  hold: number | string;
  stills: boolean;
  drawBoxes: boolean;
  levels: boolean;
  zones: unknown;
}

export interface CameraZone extends Zone {
  camera: string;
}

export interface MotionConfig {
  mode: MotionMode;
  settings: Omit<MotionSettings, 'zones'>;
  zones: CameraZone[];
}

const MODES: readonly MotionMode[] = ['full', 'adaptive', 'keyframes'];
const MAX_ZONES = 200;
const MAX_POINTS = 200;

function numberIn(value: unknown, what: string, least: number, most: number): number {
  const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
  if (typeof number !== 'number' || !(number >= least && number <= most)) {
    throw new EngineError('bad-motion', `${what} must be a number from ${least} to ${most}`);
  }
  return number;
}

/** Throws `bad-motion` with what is wrong. */
export function toMotionConfig(properties: MotionProperties): MotionConfig {
  const mode = MODES.find((candidate) => candidate === properties.mode);
  if (!mode) throw new EngineError('bad-motion', `unknown mode: use ${MODES.join(', ')}`);
  const minSize = numberIn(properties.minSize, 'the smallest size', 0, 100) / 100;
  const maxSize = numberIn(properties.maxSize, 'the largest size', 0, 100) / 100;
  if (minSize >= maxSize) throw new EngineError('bad-motion', 'the smallest size must be below the largest');
  return {
    mode,
    settings: {
      sensitivity: numberIn(properties.sensitivity, 'the sensitivity', 0, 100),
      minSize,
      maxSize,
      holdMs: numberIn(properties.hold, 'the hold time', 0.5, 300) * 1000,
    },
    zones: toZones(properties.zones),
  };
}

/** The zones of a dialog. Throws `bad-motion`. */
export function toZones(value: unknown): CameraZone[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > MAX_ZONES) {
    throw new EngineError('bad-motion', `zones must be a list of at most ${MAX_ZONES}`);
  }
  return value.map((entry: unknown): CameraZone => {
    const { id, camera, name, kind, points, sensitivity, minSize, maxSize, loiter } = (entry ?? {}) as Payload;
    const where = cameraOf(camera);
    if (typeof id !== 'string' || id === '' || !where || (kind !== 'include' && kind !== 'ignore')) {
      throw new EngineError('bad-motion', 'each zone needs an id, a camera, and the kind include or ignore');
    }
    const label = typeof name === 'string' && name !== '' ? name : id;
    if (!Array.isArray(points) || points.length < 3 || points.length > MAX_POINTS || !points.every(isPoint)) {
      throw new EngineError('bad-motion', `zone ${label} needs 3 to ${MAX_POINTS} points from 0 to 1`);
    }
    const given = (name: string, value: unknown, least: number, most: number, by: number): number | undefined =>
      value === undefined || value === null || value === ''
        ? undefined
        : numberIn(value, `${name} of zone ${label}`, least, most) * by;
    const own = {
      sensitivity: given('the sensitivity', sensitivity, 0, 100, 1),
      minSize: given('the smallest size', minSize, 0, 100, 0.01),
      maxSize: given('the largest size', maxSize, 0, 100, 0.01),
      loiterMs: given('the loitering time', loiter, 0, 3600, 1000),
    };
    const set = Object.fromEntries(Object.entries(own).filter(([, number]) => number !== undefined));
    return { id, camera: where, name: label, kind, points, ...set };
  });
}

function isPoint(value: unknown): value is Point {
  const { x, y } = (value ?? {}) as Partial<Record<'x' | 'y', unknown>>;
  return typeof x === 'number' && typeof y === 'number' && x >= 0 && x <= 1 && y >= 0 && y <= 1;
}

export interface Profile {
  enabled: boolean;
  sensitivity?: number;
}

/** What messages have changed; kept in the node's context. `*` stands for all cameras. */
export interface Overrides {
  /** Until when; null for until it is enabled. */
  disabled: Record<string, number | null>;
  sensitivity: Record<string, number>;
  /** Zones by id, until when. */
  snoozed: Record<string, number>;
  profile: string;
  profiles: Record<string, Profile>;
  schedule: (WeeklyTime & { profile: string })[];
}

export const NO_OVERRIDES: Overrides = {
  ...{ disabled: {}, sensitivity: {}, snoozed: {}, schedule: [] },
  profile: 'away',
  profiles: { home: { enabled: false }, away: { enabled: true }, night: { enabled: true } },
};

export const COMMANDS = ['enable', 'disable', 'sensitivity', 'snooze', 'profile', 'schedule'] as const;
const MAX_PROFILES = 50;
const MAX_MINUTES = 366 * 24 * 60;

/** What a command makes of the overrides. Throws `bad-message`. */
export function commanded(before: Overrides, payload: Payload, zones: readonly CameraZone[], nowMs: number): Overrides {
  const command = commandOf(payload, COMMANDS);
  const camera = cameraOf(payload['camera'] === 'all' ? null : payload['camera']) ?? '*';
  const minutes = (): number => checked(() => numberIn(payload['minutes'], 'minutes', 0, MAX_MINUTES));
  const timed = payload['minutes'] === undefined ? null : nowMs + minutes() * 60_000;
  switch (command) {
    case 'enable': {
      const disabled = Object.entries(before.disabled).filter(([id]) => camera !== '*' && id !== camera);
      return { ...before, disabled: Object.fromEntries(disabled) };
    }
    case 'disable':
      return { ...before, disabled: { ...before.disabled, [camera]: timed } };
    case 'sensitivity': {
      const others = Object.fromEntries(Object.entries(before.sensitivity).filter(([id]) => id !== camera));
      if (payload['value'] === null) return { ...before, sensitivity: others };
      const value = checked(() => numberIn(payload['value'], 'value', 0, 100));
      return { ...before, sensitivity: { ...others, [camera]: value } };
    }
    case 'snooze': {
      const asked = payload['zone'];
      const zone = zones.find(({ id, name }) => id === asked || name === asked);
      if (!zone)
        throw new EngineError(
          'bad-message',
          `there is no such zone: use ${zones.map(({ name }) => name).join(', ') || 'the dialog to draw one'}`,
        );
      return { ...before, snoozed: { ...before.snoozed, [zone.id]: timed ?? nowMs + minutes() * 60_000 } };
    }
    case 'profile':
      return profiled(before, payload);
    case 'schedule':
      return { ...before, schedule: scheduleOf(before, payload['entries']) };
  }
}

function profiled(before: Overrides, payload: Payload): Overrides {
  const name = payload['profile'];
  if (typeof name !== 'string' || !/^[\w -]{1,40}$/.test(name)) {
    throw new EngineError('bad-message', 'profile must be a name, home, away or night for example');
  }
  const known = before.profiles[name];
  if (payload['enabled'] === undefined && payload['sensitivity'] === undefined) {
    if (!known) throw new EngineError('bad-message', `unknown profile: use ${Object.keys(before.profiles).join(', ')}`);
    return { ...before, profile: name };
  }
  // With what it is to do, a profile is defined, and not yet in force.
  if (!known && Object.keys(before.profiles).length >= MAX_PROFILES) {
    throw new EngineError('bad-message', `at most ${MAX_PROFILES} profiles`);
  }
  const { enabled, sensitivity } = payload;
  const profile: Profile = {
    enabled: enabled === undefined ? (known?.enabled ?? true) : enabled === true,
    ...(sensitivity === undefined || sensitivity === null
      ? {}
      : { sensitivity: checked(() => numberIn(sensitivity, 'sensitivity', 0, 100)) }),
  };
  return { ...before, profiles: { ...before.profiles, [name]: profile } };
}

function scheduleOf({ profiles }: Overrides, entries: unknown): Overrides['schedule'] {
  if (!Array.isArray(entries) || entries.length > 100) {
    throw new EngineError('bad-message', 'entries must be a list of {days, from, to, profile}, or empty');
  }
  return entries.map((entry: unknown) => {
    const { days, from, to, profile } = (entry ?? {}) as Payload;
    const valid = Array.isArray(days) && days.every((day) => Number.isInteger(day) && day >= 0 && day <= 6);
    if (!valid || typeof profile !== 'string' || !profiles[profile]) {
      throw new EngineError('bad-message', 'each entry needs days (0-6) and a profile that is known');
    }
    parseTime(String(from));
    parseTime(String(to));
    return { days: days as number[], from: String(from), to: String(to), profile };
  });
}

function checked<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    throw new EngineError('bad-message', (error as Error).message);
  }
}

/** The profile in force: the schedule's where it has one for now, else the one that was chosen. */
export function profileAt({ profile, schedule }: Overrides, nowMs: number): string {
  return schedule.find((entry) => isInside(entry, nowMs))?.profile ?? profile;
}

/** What is in force for a camera now; null while it is not to be analysed. */
export function settingsAt(
  config: MotionConfig,
  overrides: Overrides,
  camera: string,
  nowMs: number,
): MotionSettings | null {
  const profile = overrides.profiles[profileAt(overrides, nowMs)] ?? { enabled: true };
  const isOff = (id: string): boolean => {
    const until = overrides.disabled[id];
    return until !== undefined && (until === null || until > nowMs);
  };
  if (!profile.enabled || isOff('*') || isOff(camera)) return null;
  const own = config.zones.filter((zone) => zone.camera === camera);
  const snoozed = (zone: Zone): boolean => (overrides.snoozed[zone.id] ?? 0) > nowMs;
  const includes = own.filter(({ kind }) => kind === 'include');
  // With all of its zones snoozed nothing counts, not everything.
  if (includes.length > 0 && includes.every(snoozed)) return null;
  const zones = own.map((zone): Zone => (snoozed(zone) ? { ...zone, kind: 'ignore' } : zone));
  const sensitivity =
    overrides.sensitivity[camera] ?? overrides.sensitivity['*'] ?? profile.sensitivity ?? config.settings.sensitivity;
  return { ...config.settings, sensitivity, zones };
}
