/** What a tile knows of a lane as pixels, a column of it as a column: one picture is drawn quicker than a thousand bars. Pure. */
import type { Lane } from './lanes.ts';
import { columnMs, TILE_COLUMNS } from './scale.ts';
import type { Tile } from './tiles.ts';

/** 0 to 255 each. */
export type Colour = readonly [red: number, green: number, blue: number];

export interface LaneColours {
  recorded: Colour;
  deleted: Colour;
  gap: Colour;
  motion: Colour;
  /** By kind of event. */
  kinds: Readonly<Record<string, Colour>>;
  other: Colour;
}

/** The events' rows, nothing, and the bar's rows, from top to bottom. */
export interface LaneRows {
  events: number;
  space: number;
  bar: number;
  /** Of a line along the bar's edge. */
  line: number;
}

/** Red, green, blue, opacity: 0 to 255, 0 to 1. */
type Paint = [red: number, green: number, blue: number, alpha: number];

const NOTHING: Paint = [0, 0, 0, 0];

/** Lowest byte first, as all computers that run browsers have it. */
function packed([red, green, blue, alpha]: Paint): number {
  return (red | (green << 8) | (blue << 16) | ((alpha * 255) << 24)) >>> 0;
}

/** One colour over another. */
function over([red, green, blue]: Colour, alpha: number, below: Paint): Paint {
  if (alpha <= 0) return below;
  const all = alpha + below[3] * (1 - alpha);
  const mix = (above: number, under: number): number => (above * alpha + under * below[3] * (1 - alpha)) / all;
  return [mix(red, below[0]), mix(green, below[1]), mix(blue, below[2]), all];
}

/** How much of each column spans cover, 0 to 1; none is narrower than so many columns. */
function coverage(
  spans: readonly (readonly [number, number, ...unknown[]])[],
  tile: Tile,
  least: number,
): Float32Array {
  const cover = new Float32Array(TILE_COLUMNS);
  const ms = columnMs(tile.level);
  for (const [start, end] of spans) {
    const from = (start - tile.start) / ms;
    const to = Math.max(from + least, (end - tile.start) / ms);
    for (let column = Math.max(0, Math.floor(from)); column < Math.min(TILE_COLUMNS, to); column++)
      cover[column] = Math.min(1, cover[column]! + Math.min(to, column + 1) - Math.max(from, column));
  }
  return cover;
}

/** {@link TILE_COLUMNS} wide, a pixel each, its bytes as ImageData has them. */
export type Pixels = Uint32Array<ArrayBuffer>;

/**
 * Puts a lane in, from a row on.
 * @param hidden kinds of events that are left out; null for all
 */
export function putLane(
  pixels: Pixels,
  first: number,
  lane: Lane,
  tile: Tile,
  rows: LaneRows,
  colours: LaneColours,
  hidden: ReadonlySet<string> | null,
): void {
  const recorded = coverage(lane.recorded, tile, 1);
  const deleted = coverage(lane.deleted, tile, 1);
  const gaps = coverage(lane.gaps, tile, 2);
  const top = first + rows.events + rows.space;
  const bottom = top + rows.bar;
  // A column's colours: of the bar, where it moved, along the upper edge, along the lower one.
  const [plain, moved, upper, lower] = [0, 1, 2, 3].map(() => new Uint32Array(TILE_COLUMNS)) as [
    Pixels,
    Pixels,
    Pixels,
    Pixels,
  ];
  /** The first row in which it moved. */
  const moves = new Int32Array(TILE_COLUMNS).fill(bottom);
  for (let column = 0; column < TILE_COLUMNS; column++) {
    const [shown, gone, missing, level] = [recorded[column]!, deleted[column]!, gaps[column]!, lane.motion[column]!];
    let paint = over(colours.recorded, shown * 0.3, NOTHING);
    paint = over(colours.deleted, gone * 0.25, paint);
    paint = over(colours.gap, missing * 0.18, paint);
    plain[column] = packed(paint);
    upper[column] = missing > 0 ? packed(over(colours.gap, missing, paint)) : 0;
    if (level > 0) {
      const share = Math.max(0.1, Math.min(1, (level / 255) * 1.5));
      moves[column] = bottom - Math.max(1, Math.round(share * rows.bar));
      paint = over(colours.motion, 0.9, paint);
      moved[column] = packed(paint);
    }
    lower[column] = shown > 0 ? packed(over(colours.recorded, shown, paint)) : 0;
  }
  for (let row = top; row < bottom; row++) {
    const edge = row < top + rows.line ? upper : row >= bottom - rows.line ? lower : null;
    for (let column = 0, at = row * TILE_COLUMNS; column < TILE_COLUMNS; column++, at++)
      pixels[at] = edge?.[column] || (row >= moves[column]! ? moved[column]! : plain[column]!);
  }
  for (const [kind, counts] of lane.events) {
    if (!hidden || hidden.has(kind)) continue;
    const colour = packed([...(colours.kinds[kind] ?? colours.other), 1]);
    for (let column = 0; column < TILE_COLUMNS; column++) {
      // At most two columns make a pixel: what is narrower would fade.
      const count = counts[column]! || (counts[column - 1] ?? 0);
      if (count === 0) continue;
      const tall = Math.max(1, Math.round(Math.min(1, 0.35 + Math.log2(count) / 8) * rows.events));
      for (let row = first + rows.events - tall; row < first + rows.events; row++)
        pixels[row * TILE_COLUMNS + column] = colour;
    }
  }
}
