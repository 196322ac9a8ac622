/** Where a simulated camera looks, over time. Pan, tilt and zoom are in units of the generic position spaces. */

export type Axis = 'pan' | 'tilt' | 'zoom';
export type Position = Record<Axis, number>;

export interface Range {
  min: number;
  max: number;
}

interface Motion {
  from: number;
  /** Units a second. */
  velocity: number;
  startMs: number;
  /** Infinity: until it is stopped, the fate of a camera whose stop was lost. */
  endMs: number;
}

const AXES: readonly Axis[] = ['pan', 'tilt', 'zoom'];

export class Turntable {
  private readonly ranges: Record<Axis, Range>;
  private readonly speeds: Position;
  private readonly now: () => number;
  private readonly motions: Record<Axis, Motion>;

  /** @param speeds units a second at full speed */
  constructor(ranges: Record<Axis, Range>, speeds: Position, now: () => number = () => performance.now()) {
    this.ranges = ranges;
    this.speeds = speeds;
    this.now = now;
    const rest = (axis: Axis): Motion => ({
      from: Math.min(Math.max(0, ranges[axis].min), ranges[axis].max),
      velocity: 0,
      startMs: 0,
      endMs: 0,
    });
    this.motions = { pan: rest('pan'), tilt: rest('tilt'), zoom: rest('zoom') };
  }

  get position(): Position {
    return { pan: this.at('pan'), tilt: this.at('tilt'), zoom: this.at('zoom') };
  }

  isMoving(axis: Axis): boolean {
    const { velocity, endMs } = this.motions[axis];
    if (velocity === 0 || this.now() >= endMs) return false;
    const { min, max } = this.ranges[axis];
    return velocity > 0 ? this.at(axis) < max : this.at(axis) > min;
  }

  get moving(): boolean {
    return AXES.some((axis) => this.isMoving(axis));
  }

  /** @param velocity -1..1 of full speed */
  turn(axis: Axis, velocity: number, timeoutMs: number): void {
    const now = this.now();
    const units = velocity * this.speeds[axis];
    this.motions[axis] = { from: this.at(axis), velocity: units, startMs: now, endMs: now + timeoutMs };
  }

  moveTo(axis: Axis, target: number, speed = 1): void {
    const now = this.now();
    const from = this.at(axis);
    const velocity = Math.sign(target - from) * this.speeds[axis] * Math.max(speed, 0.01);
    const seconds = velocity === 0 ? 0 : (target - from) / velocity;
    this.motions[axis] = { from, velocity, startMs: now, endMs: now + seconds * 1000 };
  }

  /** At once, as a test may want it. */
  place(axis: Axis, value: number): void {
    this.motions[axis] = { from: value, velocity: 0, startMs: 0, endMs: 0 };
  }

  stop(axis: Axis): void {
    this.place(axis, this.at(axis));
  }

  private at(axis: Axis): number {
    const { from, velocity, startMs, endMs } = this.motions[axis];
    const { min, max } = this.ranges[axis];
    const seconds = (Math.min(this.now(), endMs) - startMs) / 1000;
    return Math.min(Math.max(velocity === 0 ? from : from + velocity * seconds, min), max);
  }
}
