/**
 * What the picture does as a whole: brighter, more contrast, moved. Found by least squares over the difference to the
 * background (linear in all four, the shift by the optical flow equation of Lucas and Kanade), weighted so that what fits
 * badly (objects) has no say.
 */
import type { Layout } from './plane.ts';

const MAX_ITERATIONS = 5;
/** Pixels; a camera that moves farther shows another scene. */
const MAX_SHIFT = 8;
/** Every so many columns and rows one pixel takes part. */
const STEP_X = 4;
const STEP_Y = 3;
const BINS = 1024;
/** Share of the cost that must be left at most. */
const BETTER = 0.93;

export class Alignment {
  /** Units that everything is brighter. */
  offset = 0;
  /** Units that everything is brighter for each unit above the mean. */
  gain = 0;
  /** The background's mean, which `gain` turns about. */
  mean = 0;
  /** Pixels that the background has moved. */
  shiftX = 0;
  shiftY = 0;
  /** Median distance of a pixel's difference from the median difference, before anything else was fitted. */
  spread = 0;
  /** Mean of the differences, none counted more than 1, before the last step of the fit. */
  private cost = 0;
  private readonly layout: Layout;
  private readonly histogram = new Uint16Array(BINS);
  /** Normal equations, 4 x 5, row by row. */
  private readonly equations = new Float64Array(20);
  private readonly solution = new Float64Array(4);

  constructor(layout: Layout) {
    this.layout = layout;
  }

  /** The light of the whole picture, roughly. */
  fitLight(current: Float32Array, background: Float32Array): void {
    this.median(current, background);
    this.gain = 0;
    this.shiftX = 0;
    this.shiftY = 0;
  }

  /**
   * The rest, when it is known what `light` each cell has in addition. Nothing is believed that does not explain a good
   * part of the differences: a shadow's border pulls at the shift, too.
   */
  fitRest(current: Float32Array, background: Float32Array, light: Float32Array): void {
    const { offset } = this;
    let scale = Math.max(2, 2 * this.spread);
    this.cost = 0;
    // A glance at every third line tells mostly that there is nothing.
    const glance = this.improve(current, background, light, scale, 3 * STEP_Y);
    this.forget(offset);
    if (glance < 0.06) return;
    this.improve(current, background, light, scale);
    const first = this.cost;
    for (let iteration = 1; iteration < MAX_ITERATIONS; iteration++) {
      if (this.improve(current, background, light, scale) < 0.06) break;
    }
    scale = Math.max(2, 2 * this.spread);
    const { shiftX, shiftY, gain, offset: found } = this;
    this.improve(current, background, light, scale);
    if (this.cost > BETTER * first) return this.forget(offset);
    Object.assign(this, { shiftX, shiftY, gain, offset: found });
    if (Math.abs(shiftX) < 0.04 && Math.abs(shiftY) < 0.04) this.shiftX = this.shiftY = 0;
  }

  private forget(offset: number): void {
    this.offset = offset;
    this.gain = this.shiftX = this.shiftY = 0;
  }

  private median(current: Float32Array, background: Float32Array): void {
    const { histogram, layout } = this;
    const { width, height } = layout;
    histogram.fill(0);
    let count = 0;
    let sum = 0;
    for (let y = 1; y < height - 1; y += STEP_Y) {
      for (let i = y * width + 1 + ((y * 7) % STEP_X), end = (y + 1) * width - 1; i < end; i += STEP_X) {
        const of = background[i]!;
        sum += of;
        histogram[(2 * (current[i]! - of) + BINS / 2) | 0]!++;
        count++;
      }
    }
    this.mean = count > 0 ? sum / count : 0;
    let bin = 0;
    let below = 0;
    while (bin < BINS - 1 && below + histogram[bin]! < count / 2) below += histogram[bin++]!;
    const part = histogram[bin]! > 0 ? (count / 2 - below) / histogram[bin]! : 0.5;
    this.offset = (bin + part - BINS / 2) / 2;
    let within = histogram[bin]!;
    let distance = 0;
    while (within < count / 2 && distance < BINS / 2) {
      distance++;
      within += (histogram[bin - distance] ?? 0) + (histogram[bin + distance] ?? 0);
    }
    this.spread = distance / 2;
  }

  /** One step of weighted least squares; returns by how many pixels the shift changed. */
  private improve(
    current: Float32Array,
    background: Float32Array,
    light: Float32Array,
    scale: number,
    stepY = STEP_Y,
  ): number {
    const { layout, mean, offset, gain, equations } = this;
    const { width, height, columns } = layout;
    const wholeX = Math.round(this.shiftX);
    const wholeY = Math.round(this.shiftY);
    const partX = this.shiftX - wholeX;
    const partY = this.shiftY - wholeY;
    const from = -wholeY * width - wholeX;
    const marginX = 1 + Math.abs(wholeX);
    const marginY = 1 + Math.abs(wholeY);
    const inverse = 1 / (scale * scale);
    let cost = 0;
    let count = 0;
    let s00 = 0,
      s01 = 0,
      s02 = 0,
      s03 = 0,
      s11 = 0,
      s12 = 0,
      s13 = 0,
      s22 = 0,
      s23 = 0,
      s33 = 0;
    let r0 = 0,
      r1 = 0,
      r2 = 0,
      r3 = 0;
    for (let y = marginY; y < height - marginY; y += stepY) {
      const line = y * width;
      const cellRow = (y >> 2) * columns;
      const end = line + width - marginX;
      for (let i = line + marginX + ((y * 7) % STEP_X); i < end; i += STEP_X) {
        const j = i + from;
        const b = background[j]! - mean;
        const gx = (background[j - 1]! - background[j + 1]!) / 2;
        const gy = (background[j - width]! - background[j + width]!) / 2;
        const rest =
          current[i]! -
          light[cellRow + ((i - line) >> 2)]! -
          (background[j]! + offset + gain * b + partX * gx + partY * gy);
        const square = rest * rest * inverse;
        const weight = 1 / ((1 + square) * (1 + square));
        cost += square / (1 + square);
        count++;
        const wb = weight * b;
        const wx = weight * gx;
        const wy = weight * gy;
        const wr = weight * rest;
        s00 += weight;
        s01 += wb;
        s02 += wx;
        s03 += wy;
        s11 += wb * b;
        s12 += wb * gx;
        s13 += wb * gy;
        s22 += wx * gx;
        s23 += wx * gy;
        s33 += wy * gy;
        r0 += wr;
        r1 += wr * b;
        r2 += wr * gx;
        r3 += wr * gy;
      }
    }
    this.cost = cost / Math.max(1, count);
    // A little stiffness, so that a picture without contrast has neither gain nor shift.
    const stiff = 0.5 * s00 + 1e-6;
    equations.set([s00 + 1e-6, s01, s02, s03, r0, s01, s11 + 10 * stiff, s12, s13, r1], 0);
    equations.set([s02, s12, s22 + stiff, s23, r2, s03, s13, s23, s33 + stiff, r3], 10);
    if (!solve(equations, this.solution)) return 0;
    const [dOffset, dGain, dX, dY] = this.solution as unknown as [number, number, number, number];
    this.offset += dOffset;
    this.gain = clamp(gain + dGain, 0.5);
    const shiftX = clamp(this.shiftX + clamp(dX, 1.5), MAX_SHIFT);
    const shiftY = clamp(this.shiftY + clamp(dY, 1.5), MAX_SHIFT);
    const moved = Math.max(
      Math.abs(shiftX - this.shiftX),
      Math.abs(shiftY - this.shiftY),
      Math.abs(dOffset) / 10,
      Math.abs(dGain),
    );
    this.shiftX = shiftX;
    this.shiftY = shiftY;
    return moved;
  }

  get shifted(): boolean {
    return this.shiftX !== 0 || this.shiftY !== 0;
  }

  /** Moves the picture back to where the background is. */
  place(current: Float32Array, into: Float32Array): void {
    const { shiftX, shiftY } = this;
    const { width, height } = this.layout;
    const left = Math.floor(shiftX);
    const up = Math.floor(shiftY);
    const right = shiftX - left;
    const down = shiftY - up;
    const [a, b, c, d] = [(1 - right) * (1 - down), right * (1 - down), (1 - right) * down, right * down];
    for (let y = 0, i = 0; y < height; y++) {
      const row0 = Math.min(height - 1, Math.max(0, y + up)) * width;
      const row1 = Math.min(height - 1, Math.max(0, y + up + 1)) * width;
      for (let x = 0; x < width; x++, i++) {
        const x0 = Math.min(width - 1, Math.max(0, x + left));
        const x1 = Math.min(width - 1, Math.max(0, x + left + 1));
        into[i] = a * current[row0 + x0]! + b * current[row0 + x1]! + c * current[row1 + x0]! + d * current[row1 + x1]!;
      }
    }
  }
}

const clamp = (value: number, limit: number): number => Math.min(limit, Math.max(-limit, value));

/** Gaussian elimination with pivots of 4 equations with the right side in the fifth column. */
function solve(m: Float64Array, into: Float64Array): boolean {
  for (let column = 0; column < 4; column++) {
    let pivot = column;
    for (let row = column + 1; row < 4; row++) {
      if (Math.abs(m[row * 5 + column]!) > Math.abs(m[pivot * 5 + column]!)) pivot = row;
    }
    if (Math.abs(m[pivot * 5 + column]!) < 1e-9) return false;
    for (let k = 0; k < 5; k++) {
      const swap = m[column * 5 + k]!;
      m[column * 5 + k] = m[pivot * 5 + k]!;
      m[pivot * 5 + k] = swap;
    }
    for (let row = 0; row < 4; row++) {
      if (row === column) continue;
      const factor = m[row * 5 + column]! / m[column * 5 + column]!;
      for (let k = column; k < 5; k++) m[row * 5 + k]! -= factor * m[column * 5 + k]!;
    }
  }
  for (let row = 0; row < 4; row++) into[row] = m[row * 5 + 4]! / m[row * 5 + row]!;
  return true;
}
