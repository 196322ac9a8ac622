/** Zones as masks over the cells, made once for a layout. */
import { CELL, type Layout } from './plane.ts';
import type { MotionSettings, Point, Zone } from './types.ts';

/** Whether the point is inside, by the even-odd rule. */
export function inside(points: Point[], x: number, y: number): boolean {
  let odd = false;
  for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
    const { x: xi, y: yi } = points[i]!;
    const { x: xj, y: yj } = points[j]!;
    if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}

/** What the threshold is multiplied by: 1 at 50. */
export const thresholdFactor = (sensitivity: number): number =>
  2 ** ((50 - Math.min(100, Math.max(0, sensitivity))) / 25);

export interface ZoneMask {
  zone: Zone;
  /** 1 in cells that belong to the zone. */
  cells: Uint8Array;
}

export class ZoneMasks {
  /** Include zones; without any, everything counts. */
  readonly include: ZoneMask[];
  /** 1 in cells where nothing counts. */
  readonly ignored: Uint8Array;
  /** Of the threshold, for each cell. */
  readonly factor: Float32Array;

  constructor({ zones, sensitivity }: MotionSettings, layout: Layout) {
    const cells = layout.columns * layout.rows;
    this.ignored = new Uint8Array(cells);
    this.factor = new Float32Array(cells).fill(thresholdFactor(sensitivity));
    this.include = zones
      .filter(({ kind }) => kind === 'include')
      .map((zone) => ({ zone, cells: rasterise(zone.points, layout) }));
    for (const { kind, points } of zones) {
      if (kind === 'ignore') rasterise(points, layout).forEach((inZone, cell) => (this.ignored[cell]! |= inZone));
    }
    // Where zones overlap the most sensitive one decides.
    const own = new Float32Array(cells).fill(Infinity);
    for (const { zone, cells: mask } of this.include) {
      const factor = thresholdFactor(zone.sensitivity ?? sensitivity);
      mask.forEach((inZone, cell) => inZone && (own[cell] = Math.min(own[cell]!, factor)));
    }
    own.forEach((factor, cell) => factor < Infinity && (this.factor[cell] = factor));
  }
}

/** A cell belongs to a polygon that holds its centre. */
function rasterise(points: Point[], { columns, rows, factor, frameWidth, frameHeight }: Layout): Uint8Array {
  const side = CELL * factor;
  const cells = new Uint8Array(columns * rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (inside(points, ((column + 0.5) * side) / frameWidth, ((row + 0.5) * side) / frameHeight))
        cells[row * columns + column] = 1;
    }
  }
  return cells;
}
