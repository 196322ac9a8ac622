/** Draws a timeline on a canvas: days, ticks, and a lane for each camera. What a tile shows is made into a picture once. */
import type { EventView } from './events.ts';
import { putLane, type Colour, type LaneColours, type LaneRows, type Pixels } from './lane-pixels.ts';
import { isTag, laneOfTag, type TagCurve } from './lanes.ts';
import { TILE_COLUMNS, tileMs, tilesOf, xOf, type View } from './scale.ts';
import { midnights, ticksOf } from './ticks.ts';
import type { Tile, TileStore } from './tiles.ts';
import type { Zone } from './zone.ts';

export const AXIS_HEIGHT = 34;
/** Parts of a lane, in pixels from its top. */
const EVENTS_TOP = 5;
const EVENTS_HEIGHT = 9;
const BAR_TOP = 18;
const BAR_BOTTOM = 6;
/** Between labels of the axis. */
const LABEL_SPACING = 92;

export interface Palette {
  ground: string;
  text: string;
  soft: string;
  line: string;
  band: string;
  recorded: string;
  motion: string;
  gap: string;
  deleted: string;
  primary: string;
  kinds: Record<string, string>;
  font: string;
}

export interface LaneBox {
  camera: string;
  top: number;
  height: number;
}

export interface Scene {
  view: View;
  level: number;
  width: number;
  height: number;
  zone: Zone;
  language: string;
  lanes: readonly LaneBox[];
  tiles: TileStore;
  /** Single events of a camera in view; null where there are too many to be told apart. */
  events: (camera: string, view: View) => readonly EventView[] | null;
  hidden: ReadonlySet<string>;
  holds: readonly { camera: string | null; start: number; end: number }[];
  /** When something moved in the rectangle that was drawn. */
  moved: { camera: string; spans: readonly { start: number; end: number }[] } | null;
  marks: { in: number | null; out: number | null };
  selected: string | null;
  now: number;
}

/** The lanes below each other: cameras, then process values. */
export function layOut(cameras: readonly string[], tags: readonly string[], laneHeight: number): LaneBox[] {
  let top = AXIS_HEIGHT;
  return [...cameras, ...tags.map(laneOfTag)].map((camera) => {
    const box = { camera, top, height: laneHeight };
    top += laneHeight;
    return box;
  });
}

/** Those of some levels of zoom: 30 MB with nine lanes. */
const MAX_PICTURES = 40;
/** The last used is the last to go. */
const pictures = new Map<string, { of: Tile; key: string; picture: OffscreenCanvas }>();

/** All lanes of a tile as one picture, its rows as high as on show, from below the axis on. */
function pictureOf(tile: Tile, scene: Scene, palette: Palette, ratio: number): OffscreenCanvas {
  const { lanes, hidden, view } = scene;
  const single = lanes.filter(({ camera }) => scene.events(camera, view) !== null).map(({ camera }) => camera);
  const place = `${tile.level} ${tile.index}`;
  const shown = lanes.map(({ camera, height }) => `${camera} ${height}`);
  const key = [palette.recorded, palette.motion, ratio, ...shown, ';', ...single, ';', ...hidden].join(' ');
  const known = pictures.get(place);
  pictures.delete(place);
  if (known?.of === tile && known.key === key) {
    pictures.set(place, known);
    return known.picture;
  }
  const height = Math.max(1, Math.round((scene.height - AXIS_HEIGHT) * ratio));
  const pixels: Pixels = new Uint32Array(TILE_COLUMNS * height);
  for (const box of lanes) {
    const lane = tile.lanes.get(box.camera);
    if (!lane || isTag(box.camera)) continue;
    const first = Math.round((box.top + EVENTS_TOP - AXIS_HEIGHT) * ratio);
    const withEvents = single.includes(box.camera) ? null : hidden;
    putLane(pixels, first, lane, tile, rowsOf(box, ratio), coloursOf(palette), withEvents);
  }
  const picture = new OffscreenCanvas(TILE_COLUMNS, height);
  const data = new ImageData(new Uint8ClampedArray(pixels.buffer), TILE_COLUMNS, height);
  picture.getContext('2d')!.putImageData(data, 0, 0);
  pictures.set(place, { of: tile, key, picture });
  if (pictures.size > MAX_PICTURES) pictures.delete(pictures.keys().next().value!);
  return picture;
}

const barOf = ({ top, height }: LaneBox) => ({ top: top + BAR_TOP, height: height - BAR_TOP - BAR_BOTTOM });

/** In pixels of the screen. */
function rowsOf(box: LaneBox, ratio: number): LaneRows {
  const rows = (pixels: number): number => Math.max(1, Math.round(pixels * ratio));
  const space = BAR_TOP - EVENTS_TOP - EVENTS_HEIGHT;
  return { events: rows(EVENTS_HEIGHT), space: rows(space), bar: rows(barOf(box).height), line: rows(2) };
}

const known = new WeakMap<Palette, LaneColours>();

/** The palette as numbers. */
function coloursOf(palette: Palette): LaneColours {
  const found = known.get(palette);
  if (found) return found;
  const probe = new OffscreenCanvas(1, 1).getContext('2d', { willReadFrequently: true })!;
  const colour = (style: string): Colour => {
    probe.fillStyle = style;
    probe.fillRect(0, 0, 1, 1);
    const [red = 0, green = 0, blue = 0] = probe.getImageData(0, 0, 1, 1).data;
    return [red, green, blue];
  };
  const { recorded, deleted, gap, motion, soft, kinds } = palette;
  const colours = {
    ...{ recorded: colour(recorded), deleted: colour(deleted), gap: colour(gap), motion: colour(motion) },
    kinds: Object.fromEntries(Object.entries(kinds).map(([kind, style]) => [kind, colour(style)])),
    other: colour(soft),
  };
  known.set(palette, colours);
  return colours;
}

const hatches = new Map<string, CanvasPattern>();

/** Slanting lines: what is missing is told by more than a colour. */
function hatch(context: CanvasRenderingContext2D, colour: string): CanvasPattern | string {
  const known = hatches.get(colour);
  if (known) return known;
  const tile = new OffscreenCanvas(6, 6);
  const drawing = tile.getContext('2d')!;
  drawing.strokeStyle = colour;
  drawing.lineWidth = 1.6;
  drawing.beginPath();
  for (const x of [-6, 0, 6]) {
    drawing.moveTo(x, 6);
    drawing.lineTo(x + 6, 0);
  }
  drawing.stroke();
  const pattern = context.createPattern(tile, 'repeat');
  if (!pattern) return colour;
  if (hatches.size > 50) hatches.clear();
  hatches.set(colour, pattern);
  return pattern;
}

export function draw(context: CanvasRenderingContext2D, scene: Scene, palette: Palette, ratio: number): void {
  const { width, height, lanes } = scene;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.fillStyle = palette.ground;
  context.fillRect(0, 0, width, height);
  drawDays(context, scene, palette);
  drawTiles(context, scene, palette, ratio);
  for (const lane of lanes) drawLane(context, scene, palette, lane);
  drawMarks(context, scene, palette);
  drawAxis(context, scene, palette);
}

function drawDays(context: CanvasRenderingContext2D, scene: Scene, palette: Palette): void {
  const { view, width, height, zone } = scene;
  const days = midnights(view, zone);
  if (days.length > 100) return;
  context.fillStyle = palette.band;
  days.slice(0, -1).forEach((start, i) => {
    const { day, month } = zone.clock(start + 1);
    if ((day + (month % 2)) % 2 === 0) return;
    const [from, to] = [Math.max(0, xOf(view, width, start)), Math.min(width, xOf(view, width, days[i + 1]!))];
    context.fillRect(from, 0, to - from, height);
  });
  // What has not been yet.
  const now = xOf(view, width, scene.now);
  if (now < width) {
    context.globalAlpha = 0.5;
    context.fillStyle = palette.line;
    context.fillRect(Math.max(0, now), AXIS_HEIGHT, width - Math.max(0, now), height - AXIS_HEIGHT);
    context.globalAlpha = 1;
  }
}

function drawAxis(context: CanvasRenderingContext2D, scene: Scene, palette: Palette): void {
  const { view, width, height, zone, language } = scene;
  const ticks = ticksOf(view, width, LABEL_SPACING, zone);
  context.font = palette.font;
  context.textBaseline = 'alphabetic';
  context.lineWidth = 1;
  let free = -Infinity;
  for (const { time, kind, detail } of ticks) {
    const x = Math.round(xOf(view, width, time)) + 0.5;
    context.strokeStyle = kind === 'day' ? palette.soft : palette.line;
    context.globalAlpha = kind === 'day' ? 0.55 : 1;
    context.beginPath();
    context.moveTo(x, kind === 'day' ? 2 : AXIS_HEIGHT - 8);
    context.lineTo(x, height);
    context.stroke();
    context.globalAlpha = 1;
    const days = kind === 'day' && view.end - view.start > 20 * 3_600_000;
    const label = days
      ? zone.format(time, language, { weekday: 'short', day: 'numeric', month: 'short' })
      : zone.timeOfDay(time, language, detail);
    const wide = context.measureText(label).width;
    if (x + 5 < free || x + 5 + wide > width + 30) continue;
    context.fillStyle = kind === 'day' ? palette.text : palette.soft;
    context.fillText(label, x + 5, AXIS_HEIGHT - 9);
    free = x + wide + 14;
  }
}

/** What tiles know: their pictures, and what would be stretched with these. */
function drawTiles(context: CanvasRenderingContext2D, scene: Scene, palette: Palette, ratio: number): void {
  const { view, width, height, level, tiles, lanes } = scene;
  for (const index of tilesOf(view, level)) {
    const [left, right] = [index, index + 1].map((at) => xOf(view, width, at * tileMs(level))) as [number, number];
    context.save();
    context.beginPath();
    // On whole pixels: between two tiles nothing shines through.
    const [from, to] = [Math.round(left * ratio) / ratio, Math.round(right * ratio) / ratio];
    context.rect(from, AXIS_HEIGHT, to - from, height);
    context.clip();
    for (const tile of tiles.best(level, index)) {
      const picture = pictureOf(tile, scene, palette, ratio);
      const [x, end] = [xOf(view, width, tile.start), xOf(view, width, tile.end)];
      // Where a coarser tile stands in, its columns stay bars.
      context.imageSmoothingEnabled = tile.level <= level;
      context.drawImage(picture, x, AXIS_HEIGHT, end - x, picture.height / ratio);
      for (const box of lanes) {
        const lane = tile.lanes.get(box.camera);
        if (!lane) continue;
        hatchSpans(context, scene, palette.gap, lane.gaps, barOf(box));
        hatchSpans(context, scene, palette.deleted, lane.deleted, barOf(box));
      }
    }
    context.restore();
  }
}

/** What is drawn anew of each lane. */
function drawLane(context: CanvasRenderingContext2D, scene: Scene, palette: Palette, box: LaneBox): void {
  const { view, width } = scene;
  const bar = barOf(box);
  context.fillStyle = palette.line;
  context.fillRect(0, box.top, width, 1);
  if (isTag(box.camera)) drawCurve(context, scene, palette, box);
  const single = isTag(box.camera) ? null : scene.events(box.camera, view);
  if (single) drawEvents(context, scene, palette, box, single);
  context.fillStyle = palette.primary;
  for (const { camera, start, end } of scene.holds) {
    if ((camera !== null && camera !== box.camera) || end < view.start || start > view.end) continue;
    const [from, to] = [Math.max(0, xOf(view, width, start)), Math.min(width, xOf(view, width, end))];
    context.fillRect(from, bar.top + bar.height + 2, Math.max(2, to - from), 2);
  }
  if (scene.moved?.camera === box.camera) {
    for (const { start, end } of scene.moved.spans) {
      const x = xOf(view, width, start);
      if (x > width || end < view.start) continue;
      context.fillStyle = palette.text;
      context.fillRect(x, bar.top - 3, Math.max(2, xOf(view, width, end) - x), 3);
    }
  }
}

function hatchSpans(
  context: CanvasRenderingContext2D,
  { view, width }: Scene,
  colour: string,
  spans: readonly (readonly [number, number, string])[],
  bar: { top: number; height: number },
): void {
  if (spans.length === 0) return;
  context.globalAlpha = 0.7;
  context.fillStyle = hatch(context, colour);
  for (const [start, end] of spans) {
    if (end < view.start || start > view.end) continue;
    const [from, to] = [Math.max(-6, xOf(view, width, start)), Math.min(width + 6, xOf(view, width, end))];
    if (to - from >= 3) context.fillRect(from, bar.top, to - from, bar.height);
  }
  context.globalAlpha = 1;
}

function drawEvents(
  context: CanvasRenderingContext2D,
  scene: Scene,
  palette: Palette,
  box: LaneBox,
  events: readonly EventView[],
): void {
  const { view, width, hidden, selected, now } = scene;
  for (const { id, kind, start, end } of events) {
    if (hidden.has(kind)) continue;
    const x = xOf(view, width, start);
    const wide = Math.max(4, xOf(view, width, end ?? now) - x);
    if (x + wide < 0 || x > width) continue;
    const top = box.top + EVENTS_TOP;
    context.fillStyle = palette.kinds[kind] ?? palette.soft;
    context.beginPath();
    context.roundRect(x, top, wide, EVENTS_HEIGHT, Math.min(4, wide / 2));
    context.fill();
    if (id !== selected) continue;
    context.strokeStyle = palette.text;
    context.lineWidth = 2;
    context.stroke();
  }
}

/** Of all tiles in view, oldest first: a value holds over their seams. */
function pointsOf({ view, level, tiles }: Scene, lane: string): TagCurve['points'] {
  const points = tilesOf(view, level).flatMap((index) =>
    tiles.best(level, index).flatMap((tile) => tile.lanes.get(lane)?.tags.flatMap((tag) => tag.points) ?? []),
  );
  points.sort(([a], [b]) => a - b);
  // A coarser tile stands in for several.
  return points.filter(([time], i) => time !== points[i - 1]?.[0]);
}

/** Steps: a value holds until the next; what it was in between is a line from the least to the most. */
function drawCurve(context: CanvasRenderingContext2D, scene: Scene, palette: Palette, box: LaneBox): void {
  const { view, width } = scene;
  const points = pointsOf(scene, box.camera);
  if (points.length === 0) return;
  let [least, most] = [Infinity, -Infinity];
  for (const [, min, max] of points) [least, most] = [Math.min(least, min), Math.max(most, max)];
  const [top, tall] = [box.top + 6, box.height - 12];
  const y = (value: number): number => top + (most > least ? 1 - (value - least) / (most - least) : 0.5) * tall;
  context.strokeStyle = palette.primary;
  context.lineWidth = 1.5;
  context.beginPath();
  let before: number | null = null;
  for (const [time, min, max, last] of points) {
    const x = xOf(view, width, time);
    if (before === null) context.moveTo(x, y(last));
    else context.lineTo(x, y(before));
    if (max > min) {
      context.lineTo(x, y(min));
      context.lineTo(x, y(max));
    }
    context.lineTo(x, y(last));
    before = last;
  }
  // It holds until now; what comes is not known.
  context.lineTo(xOf(view, width, Math.min(view.end, scene.now)), y(before!));
  context.stroke();
}

function drawMarks(context: CanvasRenderingContext2D, scene: Scene, palette: Palette): void {
  const { view, width, height, marks } = scene;
  const [from, to] = [marks.in, marks.out].map((time) => (time === null ? null : xOf(view, width, time))) as [
    number | null,
    number | null,
  ];
  if (from !== null && to !== null) {
    context.globalAlpha = 0.14;
    context.fillStyle = palette.primary;
    context.fillRect(from, AXIS_HEIGHT, to - from, height - AXIS_HEIGHT);
    context.globalAlpha = 1;
  }
  context.fillStyle = palette.primary;
  [from, to].forEach((x, i) => {
    if (x === null) return;
    context.fillRect(x - 1, AXIS_HEIGHT - 6, 2, height);
    context.fillRect(i === 0 ? x - 1 : x - 7, AXIS_HEIGHT - 6, 8, 6);
  });
}
