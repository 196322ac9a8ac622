/** Active cells that belong together. */
import { CELL } from './plane.ts';
import type { Background } from './background.ts';

/** In pixels of the small picture; `max…` is one past the last. */
export interface Blob {
  label: number;
  minX: number;
  minY: number;
  maxX: number;
  maxY: number;
  /** Of its pixels, weighed by how much they differ. */
  centerX: number;
  centerY: number;
  /** Pixels over the threshold. */
  area: number;
  /** Their sum in thresholds. */
  strength: number;
  cells: number;
  /** How steep its contours are against its contrast: about 1 for things, near 0 for shadows of clouds and glows. */
  sharpness: number;
}

/** Cells that may lie between two parts of one blob, plus one. */
const REACH = 2;
/** By how much light may change the contrast of an edge of the background. */
const MORE_CONTRAST = 1;
const LESS_CONTRAST = 0.5;
/** Units of light that do so. */
const FULL_CHANGE = 40;
/** Cells from which on a blob is large. */
const WIDE = 6;
/** A larger number of blobs is weather, not objects. */
const MAX_BLOBS = 250;

export class BlobFinder {
  /** Number of the blob of each cell, from 1; 0 for none. */
  readonly labels: Uint8Array;
  private readonly queue: Uint16Array;
  private readonly background: Background;

  constructor(background: Background) {
    this.background = background;
    this.labels = new Uint8Array(background.active.length);
    this.queue = new Uint16Array(background.active.length);
  }

  find(): Blob[] {
    const { background, labels } = this;
    const { active } = background;
    labels.fill(0);
    const blobs: Blob[] = [];
    if (background.activeCells === 0) return blobs;
    if (background.activeCells >= WIDE) background.averageValue();
    for (let cell = 0; cell < active.length && blobs.length < MAX_BLOBS; cell++) {
      if (active[cell]! > 0 && labels[cell] === 0) blobs.push(this.grow(cell, blobs.length + 1));
    }
    return blobs;
  }

  private grow(seed: number, label: number): Blob {
    const { background, labels, queue } = this;
    const { active, strength, minX, maxX, minY, maxY, layout } = background;
    const { columns, rows } = layout;
    const blob: Blob = {
      ...{ label, minX: 1e9, minY: 1e9, maxX: 0, maxY: 0, centerX: 0, centerY: 0 },
      ...{ area: 0, strength: 0, cells: 0, sharpness: 0 },
    };
    let length = 1;
    queue[0] = seed;
    labels[seed] = label;
    for (let next = 0; next < length; next++) {
      const cell = queue[next]!;
      const column = cell % columns;
      const row = (cell - column) / columns;
      blob.minX = Math.min(blob.minX, minX[cell]!);
      blob.minY = Math.min(blob.minY, minY[cell]!);
      blob.maxX = Math.max(blob.maxX, maxX[cell]! + 1);
      blob.maxY = Math.max(blob.maxY, maxY[cell]! + 1);
      blob.area += active[cell]!;
      blob.strength += strength[cell]!;
      blob.centerX += (strength[cell]! * (minX[cell]! + maxX[cell]! + 1)) / 2;
      blob.centerY += (strength[cell]! * (minY[cell]! + maxY[cell]! + 1)) / 2;
      for (let y = Math.max(0, row - REACH); y <= Math.min(rows - 1, row + REACH); y++) {
        for (let x = Math.max(0, column - REACH); x <= Math.min(columns - 1, column + REACH); x++) {
          const other = y * columns + x;
          if (active[other]! === 0 || labels[other] !== 0) continue;
          labels[other] = label;
          queue[length++] = other;
        }
      }
    }
    blob.cells = length;
    blob.centerX /= blob.strength;
    blob.centerY /= blob.strength;
    blob.sharpness = this.sharpness(length);
    return blob;
  }

  /** Of the first so many cells in the queue. */
  private sharpness(length: number): number {
    const { queue, background } = this;
    const { columns } = background.layout;
    let sum = 0;
    let squares = 0;
    let contrast = 0;
    let most = 0;
    for (let n = 0; n < length; n++) most = Math.max(most, Math.abs(background.cellDifference[queue[n]!]!));
    // The brighter or darker it has become, the more may the contrast have changed.
    const change = Math.min(1, most / FULL_CHANGE);
    let contours = 0;
    for (let n = 0; n < length; n++) {
      const cell = queue[n]!;
      const column = cell % columns;
      const row = (cell - column) / columns;
      contrast +=
        length < WIDE
          ? this.contrast(column, row)
          : Math.abs(background.cellDifference[cell]! - background.light[cell]!);
      // The inside of what is large tells nothing.
      if (length >= WIDE && !this.isContour(column, row)) continue;
      const steep = length < WIDE ? this.steepness(column, row) : this.wideSteepness(column, row, change);
      sum += steep;
      squares += steep * steep;
      contours++;
    }
    return topQuarter(sum, squares, Math.max(1, contours)) / Math.max(1e-6, contrast / length);
  }

  /** Whether nothing differs up to two cells from there. */
  private isContour(column: number, row: number): boolean {
    const { active, layout } = this.background;
    const { columns, rows } = layout;
    const cell = row * columns + column;
    return (
      (column > 1 && active[cell - 2] === 0) ||
      (column < columns - 2 && active[cell + 2] === 0) ||
      (row > 1 && active[cell - 2 * columns] === 0) ||
      (row < rows - 2 && active[cell + 2 * columns] === 0)
    );
  }

  /** Mean difference of 2 x 2 pixels, without what was found to be light if that is taken off. */
  private quad(x: number, y: number, withLight: boolean): number {
    const { difference, light, layout } = this.background;
    const i = y * layout.width + x;
    const mean =
      (difference[i]! + difference[i + 1]! + difference[i + layout.width]! + difference[i + layout.width + 1]!) / 4;
    return withLight ? mean + light[(y >> 2) * layout.columns + (x >> 2)]! : mean;
  }

  /** How far a quad is from the middle between its neighbours: nothing on the slope of a shadow, much at an edge. */
  private steepness(column: number, row: number): number {
    const { width, height } = this.background.layout;
    let steepest = 0;
    for (let y = row * CELL; y < (row + 1) * CELL; y += 2) {
      for (let x = column * CELL; x < (column + 1) * CELL; x += 2) {
        const here = 2 * this.quad(x, y, true);
        if (x > 1 && x + 3 < width) {
          steepest = Math.max(steepest, Math.abs(this.quad(x + 2, y, true) + this.quad(x - 2, y, true) - here));
        }
        if (y > 1 && y + 3 < height) {
          steepest = Math.max(steepest, Math.abs(this.quad(x, y + 2, true) + this.quad(x, y - 2, true) - here));
        }
      }
    }
    return steepest;
  }

  /**
   * The same between whole cells: what is large and soft has blocks, when few bits draw it, but they follow a slope. What an
   * edge of the background does when its contrast changes is no edge of a thing.
   */
  private wideSteepness(column: number, row: number, change: number): number {
    const { columns, rows } = this.background.layout;
    const cell = row * columns + column;
    const across =
      column > 0 && column < columns - 1
        ? Math.max(this.bend(cell, 1, change), this.bendBetween(column, row, 1, change))
        : this.step(cell, column > 0 ? cell - 1 : cell + 1);
    const down =
      row > 0 && row < rows - 1
        ? Math.max(this.bend(cell, columns, change), this.bendBetween(column, row, columns, change))
        : this.step(cell, row > 0 ? cell - columns : cell + columns);
    return Math.max(across, down);
  }

  /** The same half a cell on, because edges seldom are where those of cells are. */
  private bendBetween(column: number, row: number, step: number, change: number): number {
    const { width, height } = this.background.layout;
    const across = step === 1;
    const x = column * CELL + (across ? CELL / 2 : 0);
    const y = row * CELL + (across ? 0 : CELL / 2);
    if (across ? x < CELL || x + 2 * CELL > width : y < CELL || y + 2 * CELL > height) return 0;
    const [dx, dy] = across ? [CELL, 0] : [0, CELL];
    const { value } = this.background;
    const bend = this.block(x - dx, y - dy) + this.block(x + dx, y + dy) - 2 * this.block(x, y);
    const own = this.mean(value, x - dx, y - dy) + this.mean(value, x + dx, y + dy) - 2 * this.mean(value, x, y);
    return unexplained(bend, own, change);
  }

  /** Mean difference of 4 x 4 pixels. */
  private block(x: number, y: number): number {
    const { difference, light, layout } = this.background;
    const half = CELL / 2;
    const lit = (i: number, j: number): number => light[(j >> 2) * layout.columns + (i >> 2)]!;
    return this.mean(difference, x, y) + (lit(x, y) + lit(x + half, y + half)) / 2;
  }

  private mean(plane: Float32Array, x: number, y: number): number {
    const { width } = this.background.layout;
    let sum = 0;
    for (let i = y * width + x, end = i + CELL * width; i < end; i += width) {
      sum += plane[i]! + plane[i + 1]! + (plane[i + 2]! + plane[i + 3]!);
    }
    return sum / (CELL * CELL);
  }

  private bend(cell: number, step: number, change: number): number {
    const { cellDifference, cellValue } = this.background;
    const bend = cellDifference[cell - step]! + cellDifference[cell + step]! - 2 * cellDifference[cell]!;
    const own = cellValue[cell - step]! + cellValue[cell + step]! - 2 * cellValue[cell]!;
    return unexplained(bend, own, change);
  }

  /** At the picture's border there is but one neighbour. A slope is known by what differs there, too. */
  private step(cell: number, next: number): number {
    const { cellDifference } = this.background;
    const [here, there] = [cellDifference[cell]!, cellDifference[next]!];
    return Math.max(0, Math.abs(here - there) - Math.min(Math.abs(here), Math.abs(there)));
  }

  private contrast(column: number, row: number): number {
    let most = 0;
    for (let y = row * CELL; y < (row + 1) * CELL; y += 2) {
      for (let x = column * CELL; x < (column + 1) * CELL; x += 2)
        most = Math.max(most, Math.abs(this.quad(x, y, false)));
    }
    return most;
  }
}

/** What of a bend is not that of the background, with more or less contrast. */
function unexplained(bend: number, own: number, change: number): number {
  const explained = Math.abs(own) * change * (bend * own > 0 ? MORE_CONTRAST : LESS_CONTRAST);
  return Math.max(0, Math.abs(bend) - explained);
}

/** About the mean of the largest quarter of so many values. */
function topQuarter(sum: number, squares: number, count: number): number {
  const mean = sum / count;
  return mean + 1.27 * Math.sqrt(Math.max(0, squares / count - mean * mean));
}
