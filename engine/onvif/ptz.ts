/**
 * What to tell a device so that it moves as wanted, or why it cannot. Pure.
 *
 * Positions are uniform: pan and tilt -1..1 from one end to the other (right and up are positive), zoom 0..1 from wide to
 * tele. Velocities are -1..1 of full speed. Degrees only where the device has a space for them.
 */
import { EngineError } from '../types.ts';
import type { AxisAbilities, Interval, PtzAbilities, Space } from './device.ts';

export interface Axes {
  pan?: number;
  tilt?: number;
  zoom?: number;
}

/** Where the device says it looks, in its generic position spaces; null where it does not say. */
export interface RawPosition {
  panTilt: { x: number; y: number } | null;
  zoom: number | null;
}

export interface Vector {
  panTilt?: { x: number; y: number; space: string };
  zoom?: { x: number; space: string };
}

export type Motion =
  | { action: 'ContinuousMove'; vector: Vector; timeoutMs: number; emulated: boolean }
  | { action: 'AbsoluteMove'; vector: Vector; speed?: Vector; emulated: boolean }
  | { action: 'RelativeMove'; vector: Vector; speed?: Vector; emulated: false }
  | { action: 'Stop' };

export type Wish =
  | { way: 'move'; axes: Axes; timeoutMs: number }
  | { way: 'absolute'; axes: Axes; degrees: boolean; speed?: number }
  | { way: 'relative'; axes: Axes; speed?: number };

/** How long a continuous move takes at full speed; only who measured it can say. */
export interface Travel {
  /** From one end to the other. */
  panTiltMs: number;
  zoomMs: number;
}

type Way = keyof AxisAbilities;

const refuse = (code: string, message: string): EngineError => new EngineError(code, message);
const wants = (axes: Axes): { panTilt: boolean; zoom: boolean } => ({
  panTilt: axes.pan !== undefined || axes.tilt !== undefined,
  zoom: axes.zoom !== undefined,
});

/** The part of an interval that -1..1 names when 0 must stay 0: velocities and translations. */
export function scaleAroundZero(value: number, { min, max }: Interval): number {
  return clean(value >= 0 ? value * Math.max(max, 0) : -value * Math.min(min, 0));
}

/** -1..1 or 0..1 to an interval and back. */
export function toInterval(value: number, from: Interval, to: Interval): number {
  return clean(to.min + ((value - from.min) / (from.max - from.min)) * (to.max - to.min));
}

/** Never -0, which some devices print and misread. */
const clean = (value: number): number => value || 0;
const clamp = (value: number, { min, max }: Interval): number => Math.min(Math.max(value, min), max);
const SIGNED: Interval = { min: -1, max: 1 };
const UNSIGNED: Interval = { min: 0, max: 1 };

/** The uniform position that a device's own means; an axis that it does not tell is absent. */
export function uniformPosition(abilities: PtzAbilities, raw: RawPosition): Axes {
  const { panTilt, zoom } = { panTilt: abilities.panTilt.absolute, zoom: abilities.zoom.absolute };
  const inside = (value: number, from: Interval, to: Interval): number => clamp(toInterval(value, from, to), to);
  return {
    ...(raw.panTilt && {
      pan: inside(raw.panTilt.x, panTilt?.x ?? SIGNED, SIGNED),
      tilt: inside(raw.panTilt.y, panTilt?.y ?? SIGNED, SIGNED),
    }),
    ...(raw.zoom !== null && { zoom: inside(raw.zoom, zoom?.x ?? UNSIGNED, UNSIGNED) }),
  };
}

/** Whether {@link plan} will want to know where the device looks. */
export function needsPosition(abilities: PtzAbilities, wish: Wish): boolean {
  const { panTilt, zoom } = wants(wish.axes);
  if (wish.way === 'move') return false;
  const half = panTilt && (wish.axes.pan === undefined || wish.axes.tilt === undefined);
  if (wish.way === 'absolute') return half;
  return (panTilt && !abilities.panTilt.relative) || (zoom && !abilities.zoom.relative);
}

/**
 * Throws `ptz-unsupported` with what the device lacks, `ptz-range` for a value outside the range, `ptz-empty` when no axis is
 * named, `ptz-position` when it takes the position and the device does not tell it.
 */
export function plan(abilities: PtzAbilities, wish: Wish, position: Axes | null, travel: Travel | null): Motion {
  const { axes } = wish;
  if (!wants(axes).panTilt && !wants(axes).zoom) throw refuse('ptz-empty', 'name at least one of pan, tilt and zoom');
  if (wish.way === 'move') return planMove(abilities, axes, wish.timeoutMs);
  const motion =
    wish.way === 'absolute'
      ? planAbsolute(abilities, axes, wish.degrees, position)
      : planRelative(abilities, axes, position, travel);
  const speed = wish.speed === undefined ? null : speedOf(abilities, wish.speed);
  return speed && (motion.action === 'AbsoluteMove' || motion.action === 'RelativeMove')
    ? { ...motion, speed }
    : motion;
}

/**
 * The speed to go somewhere with, 0..1 of full speed, as the device wants it; null where it has one speed only. Without it
 * a device takes its DefaultPTZSpeed.
 */
export function speedOf({ speed: { panTilt, zoom } }: PtzAbilities, value: number): Vector | null {
  const scale = (range: Interval): number => toInterval(value, UNSIGNED, range);
  if (!panTilt && !zoom) return null;
  return {
    ...(panTilt && { panTilt: { x: scale(panTilt.x), y: scale(panTilt.x), space: panTilt.uri } }),
    ...(zoom && { zoom: { x: scale(zoom.x), space: zoom.uri } }),
  };
}

function planMove(abilities: PtzAbilities, axes: Axes, timeoutMs: number): Motion {
  check(axes, SIGNED, SIGNED);
  const { pan = 0, tilt = 0, zoom = 0 } = axes;
  if (pan === 0 && tilt === 0 && zoom === 0) return { action: 'Stop' };
  // A joystick says pan, tilt and zoom each time; an axis at rest asks nothing of a device that lacks it.
  const asked = wants(axes);
  const turn = asked.panTilt && (pan !== 0 || tilt !== 0 || abilities.panTilt.continuous !== null);
  const zooms = asked.zoom && (zoom !== 0 || abilities.zoom.continuous !== null);
  const vector = around(abilities, 'continuous', turn ? { pan, tilt } : {}, zooms ? zoom : undefined);
  return { action: 'ContinuousMove', vector, timeoutMs, emulated: false };
}

function planAbsolute(abilities: PtzAbilities, axes: Axes, degrees: boolean, position: Axes | null): Motion {
  const asked = wants(axes);
  const way: Way = degrees ? 'degrees' : 'absolute';
  const vector: Vector = {};
  if (asked.panTilt) {
    const space = spaceFor(abilities, 'panTilt', way);
    const y = space.y ?? space.x;
    if (degrees && (axes.pan === undefined || axes.tilt === undefined))
      throw refuse('ptz-empty', 'with degrees name both pan and tilt');
    const pan = axes.pan ?? position?.pan;
    const tilt = axes.tilt ?? position?.tilt;
    if (pan === undefined || tilt === undefined)
      throw refuse('ptz-position', 'the camera does not tell where it looks: name both pan and tilt');
    if (degrees) check({ pan, tilt }, space.x, y);
    else check({ pan, tilt }, SIGNED, SIGNED);
    const to = (value: number, range: Interval): number => (degrees ? clean(value) : toInterval(value, SIGNED, range));
    vector.panTilt = { x: to(pan, space.x), y: to(tilt, y), space: space.uri };
  }
  if (axes.zoom !== undefined) {
    check({ zoom: axes.zoom }, SIGNED, SIGNED, UNSIGNED);
    const space = spaceFor(abilities, 'zoom', 'absolute');
    vector.zoom = { x: toInterval(axes.zoom, UNSIGNED, space.x), space: space.uri };
  }
  return { action: 'AbsoluteMove', vector, emulated: false };
}

/** The device's own relative move; else an absolute one from where it looks; else a continuous one of measured length. */
function planRelative(abilities: PtzAbilities, axes: Axes, position: Axes | null, travel: Travel | null): Motion {
  check(axes, SIGNED, SIGNED);
  const asked = wants(axes);
  const parts = (['panTilt', 'zoom'] as const).filter((part) => asked[part]);
  const can = (way: Way): boolean => parts.every((part) => abilities[part][way]);
  const { pan = 0, tilt = 0, zoom = 0 } = axes;
  if (can('relative')) {
    const vector = around(abilities, 'relative', asked.panTilt ? { pan, tilt } : {}, axes.zoom);
    return { action: 'RelativeMove', vector, emulated: false };
  }
  const known = (!asked.panTilt || position?.pan !== undefined) && (!asked.zoom || position?.zoom !== undefined);
  if (can('absolute') && position && known) {
    const target: Axes = {
      ...(asked.panTilt && {
        pan: clamp(position.pan! + pan, SIGNED),
        tilt: clamp((position.tilt ?? 0) + tilt, SIGNED),
      }),
      ...(asked.zoom && { zoom: clamp(position.zoom! + zoom, UNSIGNED) }),
    };
    return { ...planAbsolute(abilities, target, false, null), emulated: true } as Motion;
  }
  if (can('continuous') && travel) return planTimed(abilities, axes, travel);
  if (can('continuous'))
    throw refuse('ptz-unsupported', 'the camera has no relative moves: enter its travel time to have them timed');
  throw refuse('ptz-unsupported', `the camera has no relative moves of ${parts.map(nameOf).join(' and ')}`);
}

/** All axes end together, each as fast as its way is long: there is one timeout for all. */
function planTimed(abilities: PtzAbilities, axes: Axes, travel: Travel): Motion {
  const { pan = 0, tilt = 0, zoom = 0 } = axes;
  // Pan and tilt have two units from one end to the other, zoom has one.
  const [panMs, tiltMs] = [(Math.abs(pan) * travel.panTiltMs) / 2, (Math.abs(tilt) * travel.panTiltMs) / 2];
  const zoomMs = Math.abs(zoom) * travel.zoomMs;
  const timeoutMs = Math.max(panMs, tiltMs, zoomMs);
  if (timeoutMs === 0) return { action: 'Stop' };
  const part = (value: number, ms: number): number => (Math.sign(value) * ms) / timeoutMs;
  const turn = wants(axes).panTilt ? { pan: part(pan, panMs), tilt: part(tilt, tiltMs) } : {};
  const vector = around(abilities, 'continuous', turn, axes.zoom === undefined ? undefined : part(zoom, zoomMs));
  return { action: 'ContinuousMove', vector, timeoutMs: Math.round(timeoutMs), emulated: true };
}

function around(
  abilities: PtzAbilities,
  way: 'continuous' | 'relative',
  turn: { pan?: number; tilt?: number },
  zoom: number | undefined,
): Vector {
  const vector: Vector = {};
  if (turn.pan !== undefined && turn.tilt !== undefined) {
    const { uri, x, y } = spaceFor(abilities, 'panTilt', way);
    vector.panTilt = { x: scaleAroundZero(turn.pan, x), y: scaleAroundZero(turn.tilt, y ?? x), space: uri };
  }
  if (zoom !== undefined) {
    const { uri, x } = spaceFor(abilities, 'zoom', way);
    vector.zoom = { x: scaleAroundZero(zoom, x), space: uri };
  }
  return vector;
}

const nameOf = (part: 'panTilt' | 'zoom'): string => (part === 'panTilt' ? 'pan and tilt' : 'zoom');

function spaceFor(abilities: PtzAbilities, part: 'panTilt' | 'zoom', way: Way): Space {
  const space = abilities[part][way];
  if (space) return space;
  const has = (Object.entries(abilities[part]) as [Way, Space | null][]).filter(([, one]) => one).map(([name]) => name);
  const instead = has.length > 0 ? `it has ${has.join(', ')}` : 'it has none at all';
  throw refuse('ptz-unsupported', `the camera has no ${way} moves of ${nameOf(part)}: ${instead}`);
}

function check(axes: Axes, pan: Interval, tilt: Interval, zoom: Interval = SIGNED): void {
  const ranges = { pan, tilt, zoom };
  for (const [axis, value] of Object.entries(axes) as [keyof Axes, number][]) {
    const { min, max } = ranges[axis];
    if (!(value >= min && value <= max)) throw refuse('ptz-range', `${axis} must be ${min} to ${max}`);
  }
}
