/** The small picture that everything is computed on: averaged over squares of pixels, in logarithmic units. */
import type { GreyFrame } from './types.ts';

/** Pixels a row that the small picture has about. */
const WIDTH = 160;
/** Pixels of the small picture along the side of a cell, the unit in which motion is found. */
export const CELL = 4;
/** Grey level below which the scale becomes linear, so that the noise of black is not blown up. */
const KNEE = 32;
/** Units from black to white. */
const SCALE = 255 / Math.log(1 + 255 / KNEE);

export interface Layout {
  /** Of the frames. */
  frameWidth: number;
  frameHeight: number;
  /** Pixels of the frame along the side of a small one. */
  factor: number;
  width: number;
  height: number;
  columns: number;
  rows: number;
}

/** Throws nothing: a frame smaller than a cell has a layout of no cells. */
export function layoutOf(frameWidth: number, frameHeight: number): Layout {
  const factor = Math.max(1, Math.round(frameWidth / WIDTH));
  const columns = Math.floor(frameWidth / factor / CELL);
  const rows = Math.floor(frameHeight / factor / CELL);
  return { frameWidth, frameHeight, factor, width: columns * CELL, height: rows * CELL, columns, rows };
}

/** Units that one grey level makes at a brightness given in units. */
export const unitsPerLevel = (units: number): number => SCALE / (KNEE * Math.exp(units / SCALE));

/**
 * A change of light multiplies what the camera sees, so it adds the same to all pixels of a logarithmic picture, and
 * objects keep their contrast by day and night.
 */
export class Shrinker {
  private readonly units: Float32Array;
  private readonly layout: Layout;

  constructor(layout: Layout) {
    this.layout = layout;
    const samples = layout.factor * layout.factor;
    this.units = Float32Array.from(
      { length: 255 * samples + 1 },
      (_, sum) => SCALE * Math.log(1 + sum / samples / KNEE),
    );
  }

  shrink(frame: GreyFrame, into: Float32Array): void {
    const { units } = this;
    const { factor, width, height } = this.layout;
    const { pixels, width: stride } = frame;
    if (factor === 2 && stride % 4 === 0 && pixels.byteOffset % 4 === 0) {
      this.shrinkPairs(frame, into);
      return;
    }
    if (factor === 2) {
      for (let y = 0, to = 0; y < height; y++) {
        let at = 2 * y * stride;
        for (let x = 0; x < width; x++, to++, at += 2) {
          into[to] = units[pixels[at]! + pixels[at + 1]! + pixels[at + stride]! + pixels[at + stride + 1]!]!;
        }
      }
      return;
    }
    for (let y = 0, to = 0; y < height; y++) {
      for (let x = 0; x < width; x++, to++) {
        let sum = 0;
        for (let row = 0; row < factor; row++) {
          const at = (y * factor + row) * stride + x * factor;
          for (let column = 0; column < factor; column++) sum += pixels[at + column]!;
        }
        into[to] = units[sum]!;
      }
    }
  }

  /** By two, four pixels of two rows at a time: in 32 bits there is room for two sums. */
  private shrinkPairs({ pixels, width: stride }: GreyFrame, into: Float32Array): void {
    const { units } = this;
    const { width, height } = this.layout;
    const words = new Uint32Array(pixels.buffer, pixels.byteOffset, pixels.byteLength >> 2);
    const line = stride >> 2;
    for (let y = 0, to = 0; y < height; y++) {
      for (let x = 0, at = 2 * y * line; x < width; x += 2, at++, to += 2) {
        const upper = words[at]!;
        const lower = words[at + line]!;
        const even = (upper & 0x00ff00ff) + (lower & 0x00ff00ff);
        const sums = even + ((upper >>> 8) & 0x00ff00ff) + ((lower >>> 8) & 0x00ff00ff);
        into[to] = units[sums & 0xffff]!;
        into[to + 1] = units[sums >>> 16]!;
      }
    }
  }
}
