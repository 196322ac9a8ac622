/** What the camera sees when nothing happens, how much that varies at each pixel, and where the picture differs from it. */
import { CELL, unitsPerLevel, type Layout } from './plane.ts';
import type { Alignment } from './alignment.ts';

/** Thresholds at sensitivity 50: multiples of the mean deviation, and grey levels on top of it. */
const NOISE_FACTOR = 3.2;
const BASE_LEVELS = 5;
/** The noise that a new background is believed to have, in grey levels. */
const FIRST_NOISE = 2;
/** ms in which the background follows where nothing is. */
const FOLLOW_MS = 6000;
const NOISE_UP_MS = 5000;
const NOISE_DOWN_MS = 20_000;
/** Pixels over the threshold that make a cell active. */
const MIN_PIXELS = 3;
/** Usual share of the threshold that noise reaches in a cell on average; above it the whole picture is noisier. */
const USUAL_NOISE = 0.26;
/** Share of the cells that must be so noisy. */
const NOISY_SHARE = 0.65;
/** Cells a side of the regions whose light is measured. */
const REGION = 7;

/** The brightest, in units. */
const WHITE = 255;
/** What is taken to be brighter than white, at most. */
const BRIGHTEST = 380;
/** Grey levels of noise that there are at least. */
const MIN_NOISE = 0.3;
/** Share of a region's cells that may differ as they like: a thing hides more than half of them when it is near. */
const LIGHT_SHARE = 0.3;
/** Units of a region's light from which on it may be a thing, and share of its ends that are edges if it is. */
const DOUBTFUL = 4;
const SHARP_ENDS = 0.5;
/** Cells that must tell of the light of a region. */
const MIN_CELLS = 5;
/** Units by which a cell may vary that stays the same. */
const STABLE_UNITS = 2;
/** ms after which what differs is no longer averaged with what was there before. */
const FIRST_LOOK_MS = 3000;
/** ms in which everything is learned each time; and from frame to frame, from which on there is time for it. */
const FIRST_MS = 4000;
const SLOW_MS = 700;
/** Parts in which it is learned later. */
const TURNS = 8;
/** Units by which the light of a region may change before the picture is compared again. */
const SMALL_LIGHT = 0.4;
/** Units of light that are left to learning. */
const MIN_RELIGHT = 0.4;
/** ms in which the background takes on the light of its regions. */
const RELIGHT_MS = 800;

/**
 * Ways in which a cell of the background follows the picture. `each`: as usual, but in each frame, because what differs
 * there may be gone in the next.
 */
export const FOLLOW = { usual: 0, keep: 1, absorb: 2, fast: 3, each: 4 } as const;

export class Background {
  readonly layout: Layout;
  readonly value: Float32Array;
  /** Mean deviation in units. */
  readonly noise: Float32Array;
  /** 1 / threshold. */
  private readonly inverse: Float32Array;
  /** Difference to the background, light taken off. */
  readonly difference: Float32Array;
  /** Pixels that edges may be off. */
  private blur = 0;
  readonly cellDifference: Float32Array;
  /** ms since what differs in an active cell has changed, and what it was then. */
  readonly stableMs: Float32Array;
  private readonly stableDifference: Float32Array;
  /** 1 in cells that objects hid in the last frame: they do not tell what the light is. */
  private readonly hidden: Uint8Array;
  /** Means of the background, as of the last `averageValue`. */
  readonly cellValue: Float32Array;
  private readonly cellRatio: Float32Array;
  /** At least the square of the largest ratio. */
  private readonly cellPeak: Float32Array;
  readonly light: Float32Array;
  /** The most that a region's light has changed since the last frame. */
  private lightStep = 0;
  private readonly regionColumns: number;
  private readonly regionRows: number;
  private readonly regionLight: Float32Array;
  private readonly sorted = new Float32Array(REGION * REGION);
  private readonly noiseHistogram = new Uint16Array(64);
  /** Pixels over the threshold of each cell; 0 if it is not active. */
  readonly active: Uint8Array;
  /** Sum of what they are over it, in thresholds. */
  readonly strength: Float32Array;
  readonly minX: Uint8Array;
  readonly maxX: Uint8Array;
  readonly minY: Uint8Array;
  readonly maxY: Uint8Array;
  activeCells = 0;
  /** By how much the whole picture is noisier than it was learned to be, 1 or more. */
  noisier = 1;
  /** ms that were learned. */
  age = 0;
  private frames = 0;
  private turn = 0;
  /** Whether the last frame had to be compared twice. */
  private unsettled = false;
  /** The most that a pixel of the background may be. */
  private brightest = WHITE;
  /** ms since each part of the rows was learned. */
  private readonly waited = new Float64Array(TURNS);
  private usual = 0;
  private up = 0;
  private down = 0;

  constructor(layout: Layout) {
    this.layout = layout;
    const pixels = layout.width * layout.height;
    const cells = layout.columns * layout.rows;
    this.value = new Float32Array(pixels);
    this.noise = new Float32Array(pixels);
    this.inverse = new Float32Array(pixels);
    this.difference = new Float32Array(pixels);
    this.cellDifference = new Float32Array(cells);
    this.cellValue = new Float32Array(cells);
    this.hidden = new Uint8Array(cells);
    this.stableMs = new Float32Array(cells);
    this.stableDifference = new Float32Array(cells);
    this.cellRatio = new Float32Array(cells);
    this.cellPeak = new Float32Array(cells);
    this.light = new Float32Array(cells);
    this.active = new Uint8Array(cells);
    this.strength = new Float32Array(cells);
    this.minX = new Uint8Array(cells);
    this.maxX = new Uint8Array(cells);
    this.minY = new Uint8Array(cells);
    this.maxY = new Uint8Array(cells);
    this.regionColumns = Math.max(1, Math.round(layout.columns / REGION));
    this.regionRows = Math.max(1, Math.round(layout.rows / REGION));
    this.regionLight = new Float32Array(this.regionColumns * this.regionRows);
  }

  start(current: Float32Array): void {
    this.value.set(current);
    for (let i = 0; i < current.length; i++) this.noise[i] = FIRST_NOISE * unitsPerLevel(current[i]!);
    this.age = 0;
    this.frames = 1;
    this.noisier = 1;
    this.waited.fill(0);
    this.brightest = WHITE;
    this.light.fill(0);
    this.hidden.fill(0);
    this.regionLight.fill(0);
    this.thresholds();
  }

  private thresholds(): void {
    const { value, noise, inverse } = this;
    for (let i = 0; i < value.length; i++) {
      inverse[i] = 1 / (NOISE_FACTOR * noise[i]! + BASE_LEVELS * unitsOf(value[i]!));
    }
  }

  /**
   * Finds the active cells. `placed` takes the picture where the camera has moved. `factor` of each cell multiplies its
   * threshold; 0 where nothing is looked for. `shake`: by how many pixels the camera has moved lately.
   */
  compare(
    current: Float32Array,
    placed: Float32Array,
    alignment: Alignment,
    factor: Float32Array,
    shake: number,
  ): void {
    alignment.fitLight(current, this.value);
    this.blur = blurOf(shake);
    // With the light of the last frame, which mostly is still about the same.
    const roughly = this.unsettled && !this.isBright(alignment);
    if (roughly) this.measureCells(current, alignment);
    else this.differ(current, alignment);
    this.measureLight();
    const { offset } = alignment;
    alignment.fitRest(current, this.value, this.light);
    if (alignment.shifted) alignment.place(current, placed);
    const refitted = alignment.shifted || alignment.gain !== 0 || alignment.offset !== offset;
    const again = refitted || this.lightStep > SMALL_LIGHT;
    if (again || roughly) {
      this.blur = blurOf(Math.max(shake, Math.hypot(alignment.shiftX, alignment.shiftY)));
      this.differ(alignment.shifted ? placed : current, alignment);
    }
    this.unsettled = again;
    this.measureNoise();
    this.activate(factor, alignment);
  }

  /** Whether something should be brighter than white. */
  private isBright({ offset, gain, mean }: Alignment): boolean {
    return this.brightest * (1 + gain) + offset - gain * mean > WHITE + 1;
  }

  /** The cells' mean differences alone, when all else will be computed again. */
  private measureCells(current: Float32Array, { offset }: Alignment): void {
    const { value, cellDifference, layout } = this;
    const { width, columns, rows } = layout;
    for (let row = 0, cell = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, cell++) {
        const start = row * CELL * width + column * CELL;
        let sum = 0;
        for (let i = start, end = start + CELL * width; i < end; i += width) {
          sum += current[i]! - value[i]! + (current[i + 1]! - value[i + 1]!);
          sum += current[i + 2]! - value[i + 2]! + (current[i + 3]! - value[i + 3]!);
        }
        cellDifference[cell] = sum / (CELL * CELL) - offset;
      }
    }
  }

  /** What most cells of a region have in common, and between the regions' centres in proportion. */
  private measureLight(): void {
    const { layout, cellDifference, regionLight, regionColumns, regionRows, light, sorted, hidden } = this;
    const { columns, rows } = layout;
    this.lightStep = 0;
    for (let r = 0; r < regionRows; r++) {
      const row0 = Math.floor((r * rows) / regionRows);
      const row1 = Math.floor(((r + 1) * rows) / regionRows);
      for (let c = 0; c < regionColumns; c++) {
        const column0 = Math.floor((c * columns) / regionColumns);
        const column1 = Math.floor(((c + 1) * columns) / regionColumns);
        let count = 0;
        for (let row = row0; row < row1; row++) {
          // Every other cell, as on a chessboard.
          for (let column = column0 + ((row + column0) & 1); column < column1 && count < sorted.length; column += 2) {
            const cell = row * columns + column;
            if (hidden[cell]! > 0) continue;
            const value = cellDifference[cell]!;
            let at = count++;
            for (; at > 0 && sorted[at - 1]! > value; at--) sorted[at] = sorted[at - 1]!;
            sorted[at] = value;
          }
        }
        const few = (count * LIGHT_SHARE) | 0;
        const units = count < MIN_CELLS ? 0 : leastOf(sorted[few]!, sorted[count - 1 - few]!);
        const region = r * regionColumns + c;
        this.lightStep = Math.max(this.lightStep, Math.abs(units - regionLight[region]!));
        regionLight[region] = units;
      }
    }
    this.doubtLight();
    if (regionLight.every((units) => units === 0)) {
      light.fill(0);
      return;
    }
    for (let row = 0, cell = 0; row < rows; row++) {
      const y = Math.min(regionRows - 1, Math.max(0, ((row + 0.5) * regionRows) / rows - 0.5));
      const r0 = Math.floor(y);
      const r1 = Math.min(regionRows - 1, r0 + 1);
      for (let column = 0; column < columns; column++, cell++) {
        const x = Math.min(regionColumns - 1, Math.max(0, ((column + 0.5) * regionColumns) / columns - 0.5));
        const c0 = Math.floor(x);
        const c1 = Math.min(regionColumns - 1, c0 + 1);
        const upper =
          regionLight[r0 * regionColumns + c0]! * (1 - x + c0) + regionLight[r0 * regionColumns + c1]! * (x - c0);
        const lower =
          regionLight[r1 * regionColumns + c0]! * (1 - x + c0) + regionLight[r1 * regionColumns + c1]! * (x - c0);
        light[cell] = upper * (1 - y + r0) + lower * (y - r0);
      }
    }
  }

  /** A region that something near fills has not become brighter or darker: where that ends, it ends at an edge. */
  private doubtLight(): void {
    const { layout, regionLight, regionColumns, regionRows } = this;
    let lit = 0;
    for (const units of regionLight) if (Math.abs(units) > DOUBTFUL) lit++;
    if (lit === 0 || lit > regionLight.length / 2) return;
    this.averageValue();
    for (let region = 0; region < regionLight.length; region++) {
      if (Math.abs(regionLight[region]!) <= DOUBTFUL) continue;
      const column = (((region % regionColumns) + 0.5) * layout.columns) / regionColumns;
      const row = ((Math.floor(region / regionColumns) + 0.5) * layout.rows) / regionRows;
      if (this.endsAtEdges(Math.floor(column), Math.floor(row), regionLight[region]!)) regionLight[region] = 0;
    }
  }

  /** Looks from there in the four directions, each three times side by side. */
  private endsAtEdges(column: number, row: number, units: number): boolean {
    const { columns, rows } = this.layout;
    let edges = 0;
    let ends = 0;
    for (let beside = -2; beside <= 2; beside += 2) {
      for (const [x, y, step, left] of [
        [column, row + beside, -1, column],
        [column, row + beside, 1, columns - 1 - column],
        [column + beside, row, -columns, row],
        [column + beside, row, columns, rows - 1 - row],
      ] as const) {
        if (x < 0 || x >= columns || y < 0 || y >= rows) continue;
        const edge = this.endOf(y * columns + x, step, left, units);
        if (edge !== null) ends++;
        if (edge === true) edges++;
      }
    }
    return edges >= 2 && edges > SHARP_ENDS * ends;
  }

  /** Whether the light ends within a cell or two; null if it does not in the picture, or at an edge of the background. */
  private endOf(from: number, step: number, left: number, units: number): boolean | null {
    const { cellDifference, cellValue } = this;
    let cell = from;
    for (let n = 0; n < left; n++, cell += step) {
      if (cellDifference[cell]! / units >= 0.5) continue;
      const before = cell - step;
      if (n === 0) return null;
      const inner = n > 1 ? before - step : before;
      const fall = cellDifference[inner]! - cellDifference[cell + step]!;
      const own = cellValue[inner]! - cellValue[cell + step]!;
      if (Math.abs(own) > 0.7 * Math.abs(fall)) return null;
      const falls = (high: number, low: number): boolean =>
        cellDifference[high]! / units > 0.75 && cellDifference[low]! / units < 0.25;
      return falls(before, cell + step) || falls(inner, cell);
    }
    return null;
  }

  /** Differences, and how they are in proportion to their thresholds. Written out, because it is most of the work. */
  private differ(current: Float32Array, alignment: Alignment): void {
    const { layout, difference, inverse, light, value, cellDifference, cellRatio, cellPeak } = this;
    const { width, columns, rows } = layout;
    const scale = 1 + alignment.gain;
    const all = alignment.offset - alignment.gain * alignment.mean;
    for (let row = 0, cell = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, cell++) {
        const add = all + light[cell]!;
        const start = row * CELL * width + column * CELL;
        let rests = 0;
        let sum = 0;
        let squares = 0;
        for (let i = start, end = start + CELL * width; i < end; i += width) {
          const d0 = current[i]! - scale * value[i]! - add;
          const d1 = current[i + 1]! - scale * value[i + 1]! - add;
          const d2 = current[i + 2]! - scale * value[i + 2]! - add;
          const d3 = current[i + 3]! - scale * value[i + 3]! - add;
          difference[i] = d0;
          difference[i + 1] = d1;
          difference[i + 2] = d2;
          difference[i + 3] = d3;
          rests += d0 + d1 + (d2 + d3);
          const r0 = Math.abs(d0) * inverse[i]!;
          const r1 = Math.abs(d1) * inverse[i + 1]!;
          const r2 = Math.abs(d2) * inverse[i + 2]!;
          const r3 = Math.abs(d3) * inverse[i + 3]!;
          sum += r0 + r1 + (r2 + r3);
          const most = r0 * r0 + r1 * r1 + (r2 * r2 + r3 * r3);
          if (most > squares) squares = most;
        }
        cellDifference[cell] = rests / (CELL * CELL) + light[cell]!;
        cellRatio[cell] = sum / (CELL * CELL);
        cellPeak[cell] = squares;
      }
    }
    if (this.blur > 0 || this.isBright(alignment)) this.lookAgain(current, scale, all);
  }

  /**
   * Where much differs: what should be brighter than white is white, and edges of a picture that shakes differ a little
   * all along.
   */
  private lookAgain(current: Float32Array, scale: number, add: number): void {
    const { layout, difference, value, light, cellDifference, cellRatio, cellPeak } = this;
    const { width, columns, rows } = layout;
    for (let row = 0, cell = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, cell++) {
        if (cellPeak[cell]! < 0.4) continue;
        const lit = light[cell]!;
        let rests = 0;
        let sum = 0;
        let squares = 0;
        for (let y = 0, start = row * CELL * width + column * CELL; y < CELL; y++, start += width) {
          for (let i = start; i < start + CELL; i++) {
            const rest = current[i]! - Math.min(WHITE, scale * value[i]! + add) - lit;
            difference[i] = rest;
            rests += rest;
            const share = this.ratio(i);
            sum += share;
            squares = Math.max(squares, share * share);
          }
        }
        cellDifference[cell] = rests / (CELL * CELL) + lit;
        cellRatio[cell] = sum / (CELL * CELL);
        cellPeak[cell] = squares;
      }
    }
  }

  /** Measures for how long what differs in each active cell has been the same. */
  measureStable(elapsedMs: number): void {
    const { active, cellDifference, stableDifference, stableMs } = this;
    for (let cell = 0; cell < active.length; cell++) {
      const now = cellDifference[cell]!;
      const changed = Math.abs(now - stableDifference[cell]!) > STABLE_UNITS + 0.1 * Math.abs(now);
      if (active[cell] === 0 || changed) {
        stableMs[cell] = 0;
        stableDifference[cell] = now;
      } else stableMs[cell]! += elapsedMs;
    }
  }

  averageValue(): void {
    const { value, cellValue, layout } = this;
    const { width, columns, rows } = layout;
    for (let row = 0, cell = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, cell++) {
        let sum = 0;
        const start = row * CELL * width + column * CELL;
        for (let i = start, end = start + CELL * width; i < end; i += width) {
          sum += value[i]! + value[i + 1]! + (value[i + 2]! + value[i + 3]!);
        }
        cellValue[cell] = sum / (CELL * CELL);
      }
    }
  }

  differsAt(i: number): boolean {
    return this.ratio(i) >= this.noisier;
  }

  /** A pixel's difference by its threshold; less what an edge there explains that is off by `blur` pixels. */
  private ratio(i: number): number {
    const { difference, inverse, value, blur, layout } = this;
    const { width } = layout;
    let size = Math.abs(difference[i]!);
    if (blur > 0 && i > width && i < value.length - width - 1) {
      size -= blur * (Math.abs(value[i + 1]! - value[i - 1]!) + Math.abs(value[i + width]! - value[i - width]!));
      if (size < 0) return 0;
    }
    return size * inverse[i]!;
  }

  /** Night noise, or a keyframe that draws the whole picture anew: it is everywhere, which objects are not. */
  private measureNoise(): void {
    const { cellRatio, noiseHistogram } = this;
    noiseHistogram.fill(0);
    for (let cell = 0; cell < cellRatio.length; cell++) {
      noiseHistogram[Math.min(63, (cellRatio[cell]! * 32) | 0)]!++;
    }
    const wanted = cellRatio.length * NOISY_SHARE;
    let bin = 0;
    for (let below = 0; bin < 63; bin++) if ((below += noiseHistogram[bin]!) >= wanted) break;
    this.noisier = Math.max(1, (bin + 0.5) / 32 / USUAL_NOISE);
  }

  private activate(factor: Float32Array, { shiftX, shiftY }: Alignment): void {
    const { layout, cellPeak, active, strength, noisier } = this;
    const { width, height, columns, rows } = layout;
    // What the shift has moved in from outside is unknown.
    const marginX = shiftX === 0 ? 0 : Math.ceil(Math.abs(shiftX)) + 1;
    const marginY = shiftY === 0 ? 0 : Math.ceil(Math.abs(shiftY)) + 1;
    this.activeCells = 0;
    for (let row = 0, cell = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, cell++) {
        active[cell] = 0;
        strength[cell] = 0;
        const limit = noisier * factor[cell]!;
        if (limit === 0 || cellPeak[cell]! < limit * limit) continue;
        let count = 0;
        let sum = 0;
        let minX = width;
        let maxX = 0;
        let minY = height;
        let maxY = 0;
        for (let y = row * CELL; y < (row + 1) * CELL; y++) {
          if (y < marginY || y >= height - marginY) continue;
          for (let x = column * CELL; x < (column + 1) * CELL; x++) {
            const share = this.ratio(y * width + x);
            if (share < limit || x < marginX || x >= width - marginX) continue;
            count++;
            sum += Math.min(4, share / limit);
            if (x < minX) minX = x;
            if (x > maxX) maxX = x;
            if (y < minY) minY = y;
            if (y > maxY) maxY = y;
          }
        }
        if (count < MIN_PIXELS && sum < 5) continue;
        active[cell] = count;
        strength[cell] = sum;
        this.minX[cell] = minX;
        this.maxX[cell] = maxX;
        this.minY[cell] = minY;
        this.maxY[cell] = maxY;
        this.activeCells++;
      }
    }
  }

  /** Mean deviation and threshold of a cell, in units. */
  cell(column: number, row: number): { deviation: number; limit: number } {
    const { layout, noise, inverse } = this;
    let deviation = 0;
    let limit = 0;
    for (let y = 0, i = row * CELL * layout.width + column * CELL; y < CELL; y++, i += layout.width) {
      for (let x = i; x < i + CELL; x++) {
        deviation += noise[x]!;
        limit += 1 / inverse[x]!;
      }
    }
    return { deviation: deviation / (CELL * CELL), limit: (limit * this.noisier) / (CELL * CELL) };
  }

  /**
   * Follows the picture, in each cell in its way (see FOLLOW). When the first seconds are over, a quarter of the rows each
   * time, for all the time since their last turn.
   */
  learn(current: Float32Array, alignment: Alignment, elapsedMs: number, follow: Uint8Array): void {
    const { columns, rows } = this.layout;
    this.age += elapsedMs;
    this.frames++;
    this.relight(alignment, elapsedMs);
    const all = this.age < FIRST_MS || elapsedMs > SLOW_MS;
    for (let turn = 0; turn < TURNS; turn++) this.waited[turn]! += elapsedMs;
    this.turn = (this.turn + 1) % TURNS;
    for (let row = 0; row < rows; row++) {
      const due = all || row % TURNS === this.turn;
      if (due) this.setRates(this.waited[row % TURNS]!);
      for (let column = 0, cell = row * columns; column < columns; column++, cell++) {
        const way = follow[cell]!;
        this.hidden[cell] = way === FOLLOW.keep ? 1 : 0;
        if (way === FOLLOW.absorb) this.absorb(current, row, column);
        else if (way === FOLLOW.fast)
          this.followCell(current, row, column, Math.max(0.3, 1 - Math.exp(-elapsedMs / 500)));
        else if (way === FOLLOW.each) {
          this.setRates(elapsedMs);
          if (this.age > FIRST_LOOK_MS) this.usual = 1 - Math.exp(-elapsedMs / FOLLOW_MS);
          this.followCell(current, row, column, this.usual);
          if (due) this.setRates(this.waited[row % TURNS]!);
        } else if (due && way === FOLLOW.usual) this.followCell(current, row, column, this.usual);
      }
    }
    if (all) this.waited.fill(0);
    else this.waited[this.turn] = 0;
  }

  private setRates(elapsedMs: number): void {
    // At first the mean of all there was, weighed by time, so that it does not matter how many frames that were.
    const first = Math.min(0.5, Math.max(1 / this.frames, elapsedMs / Math.max(1, this.age)));
    this.usual = Math.max(first, 1 - Math.exp(-elapsedMs / FOLLOW_MS));
    this.up = Math.max(first * 0.7, 1 - Math.exp(-elapsedMs / NOISE_UP_MS));
    this.down = Math.max(first * 0.5, 1 - Math.exp(-elapsedMs / NOISE_DOWN_MS));
  }

  /** What has become brighter as a whole or in a region is brighter from now on, also behind objects. */
  private relight({ offset, gain, mean }: Alignment, elapsedMs: number): void {
    const { value, light, regionLight, layout } = this;
    const local = regionLight.some((units) => Math.abs(units) > MIN_RELIGHT);
    if (Math.abs(offset) < MIN_RELIGHT && gain === 0 && !local) return;
    const { width, columns, rows } = layout;
    const share = local ? 1 - Math.exp(-elapsedMs / RELIGHT_MS) : 0;
    const scale = 1 + gain;
    let brightest = 0;
    for (let row = 0, cell = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, cell++) {
        const add = offset - gain * mean + share * light[cell]!;
        const start = row * CELL * width + column * CELL;
        for (let i = start, end = start + CELL * width; i < end; i += width) {
          const v0 = scale * value[i]! + add;
          const v1 = scale * value[i + 1]! + add;
          const v2 = scale * value[i + 2]! + add;
          const v3 = scale * value[i + 3]! + add;
          value[i] = v0;
          value[i + 1] = v1;
          value[i + 2] = v2;
          value[i + 3] = v3;
          const most = Math.max(v0, v1, v2, v3);
          if (most > brightest) brightest = most;
        }
        light[cell]! *= 1 - share;
      }
    }
    for (let region = 0; region < regionLight.length; region++) regionLight[region]! *= 1 - share;
    this.brightest = brightest;
    if (brightest <= BRIGHTEST) return;
    for (let i = 0; i < value.length; i++) value[i] = Math.min(BRIGHTEST, value[i]!);
    this.brightest = BRIGHTEST;
  }

  private absorb(current: Float32Array, row: number, column: number): void {
    const { value, layout } = this;
    for (let y = 0, i = row * CELL * layout.width + column * CELL; y < CELL; y++, i += layout.width) {
      value.set(current.subarray(i, i + CELL), i);
    }
  }

  private followCell(current: Float32Array, row: number, column: number, rate: number): void {
    const { layout, value, noise, inverse, difference, up, down } = this;
    const { width } = layout;
    for (let y = 0, line = row * CELL * width + column * CELL; y < CELL; y++, line += width) {
      for (let i = line, end = line + CELL; i < end; i++) {
        const before = value[i]!;
        const now = current[i]!;
        // Brighter than white: the picture does not tell how much.
        const next = now > WHITE - 1 && before > now ? before : before + rate * (now - before);
        value[i] = next;
        const level = unitsOf(next);
        const deviation = noise[i]!;
        // An object's contrast is no noise, but leaves that it moves are: so far, and no farther.
        const far = 3 * deviation + 6 * level;
        let rest = difference[i]!;
        if (rest < 0) rest = -rest;
        if (rest > far) rest = far;
        const learned = Math.max(MIN_NOISE * level, deviation + (rest > deviation ? up : down) * (rest - deviation));
        noise[i] = learned;
        inverse[i] = 1 / (NOISE_FACTOR * learned + BASE_LEVELS * level);
      }
    }
  }
}

/** What is nearest to none, from `low` to `high`. */
const leastOf = (low: number, high: number): number => (low > 0 ? low : high < 0 ? high : 0);

/** Units a grey level, from a table: whole units are near enough. */
const UNITS_PER_LEVEL = Float32Array.from({ length: 512 }, (_, units) => unitsPerLevel(units));
const unitsOf = (units: number): number => UNITS_PER_LEVEL[units < 0 ? 0 : units | 0]!;
/** How far off edges are taken to be, in pixels, when the camera moves so far. */
const blurOf = (shift: number): number => (shift > 0.1 ? 0.12 + 0.2 * Math.min(2, shift) : 0);
