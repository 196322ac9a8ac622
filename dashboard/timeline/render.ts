/** Draws a timeline on a canvas: days, ticks, and a lane for each camera. What a tile shows is made into paths once. */
import type { EventView } from './events.ts';
import { isTag, laneOfTag, type Lane, type TagCurve } from './lanes.ts';
import { columnMs, tileMs, tilesOf, xOf, type View } from './scale.ts';
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

interface Paths {
  recorded: Path2D;
  gaps: Path2D;
  deleted: Path2D;
  motion: Path2D;
  events: [kind: string, Path2D][];
}

const made = new WeakMap<Lane, Paths>();

/** In columns from the start of the tile; heights from 0 to 1. */
function pathsOf(lane: Lane, tile: Tile): Paths {
  const known = made.get(lane);
  if (known) return known;
  const ms = columnMs(tile.level);
  const bars = (spans: readonly (readonly [number, number, ...unknown[]])[], least: number): Path2D => {
    const path = new Path2D();
    for (const [start, end] of spans) path.rect((start - tile.start) / ms, 0, Math.max(least, (end - start) / ms), 1);
    return path;
  };
  const motion = new Path2D();
  runs(lane.motion, (column, length, value) => {
    const height = Math.max(0.1, Math.min(1, (value / 255) * 1.5));
    motion.rect(column, 1 - height, length, height);
  });
  const events = [...lane.events].map(([kind, counts]): [string, Path2D] => {
    const path = new Path2D();
    // At most two columns make a pixel: what is narrower would fade.
    runs(counts, (column, length, count) => {
      const height = Math.min(1, 0.35 + Math.log2(count) / 8);
      path.rect(column, 1 - height, Math.max(2, length), height);
    });
    return [kind, path];
  });
  const paths = {
    recorded: bars(lane.recorded, 1),
    gaps: bars(lane.gaps, 2),
    deleted: bars(lane.deleted, 1),
    motion,
    events,
  };
  made.set(lane, paths);
  return paths;
}

/** Neighbours of the same value as one; what is 0 is left out. */
function runs(values: Uint8Array, each: (from: number, length: number, value: number) => void): void {
  for (let i = 0; i < values.length;) {
    const value = values[i]!;
    let end = i + 1;
    while (end < values.length && values[end] === value) end++;
    if (value > 0) each(i, end - i, value);
    i = end;
  }
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
  for (const lane of lanes) drawLane(context, scene, palette, lane, ratio);
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

function drawLane(
  context: CanvasRenderingContext2D,
  scene: Scene,
  palette: Palette,
  box: LaneBox,
  ratio: number,
): void {
  const { view, width, level, tiles } = scene;
  context.fillStyle = palette.line;
  context.fillRect(0, box.top, width, 1);
  const bar = { top: box.top + BAR_TOP, height: box.height - BAR_TOP - BAR_BOTTOM };
  const single = isTag(box.camera) ? null : scene.events(box.camera, view);
  for (const index of tilesOf(view, level)) {
    const span = { start: index * tileMs(level), end: (index + 1) * tileMs(level) };
    const [left, right] = [xOf(view, width, span.start), xOf(view, width, span.end)];
    context.save();
    context.beginPath();
    // On whole pixels: between two tiles nothing shines through.
    const [from, to] = [Math.round(left * ratio) / ratio, Math.round(right * ratio) / ratio];
    context.rect(from, box.top, to - from, box.height);
    context.clip();
    for (const tile of tiles.best(level, index)) {
      const lane = tile.lanes.get(box.camera);
      if (!lane) continue;
      const paths = pathsOf(lane, tile);
      const scale = (columnMs(tile.level) / (view.end - view.start)) * width;
      const at = (top: number, tall: number): void =>
        context.setTransform(ratio * scale, 0, 0, ratio * tall, ratio * xOf(view, width, tile.start), ratio * top);
      const fill = (path: Path2D, style: string | CanvasPattern, alpha: number): void => {
        context.globalAlpha = alpha;
        context.fillStyle = style;
        context.fill(path);
      };
      at(bar.top, bar.height);
      fill(paths.recorded, palette.recorded, 0.3);
      fill(paths.deleted, palette.deleted, 0.25);
      fill(paths.gaps, palette.gap, 0.18);
      fill(paths.motion, palette.motion, 0.9);
      at(bar.top + bar.height - 2, 2);
      fill(paths.recorded, palette.recorded, 1);
      at(bar.top, 2);
      fill(paths.gaps, palette.gap, 1);
      // A pattern would be stretched with its shape: it is drawn over what the shape leaves.
      hatchSpans(context, scene, palette.gap, lane.gaps, bar, ratio);
      hatchSpans(context, scene, palette.deleted, lane.deleted, bar, ratio);
      if (!single) {
        at(box.top + EVENTS_TOP, EVENTS_HEIGHT);
        for (const [kind, path] of paths.events) {
          if (!scene.hidden.has(kind)) fill(path, palette.kinds[kind] ?? palette.soft, 1);
        }
      }
      context.setTransform(ratio, 0, 0, ratio, 0, 0);
      context.globalAlpha = 1;
      for (const curve of lane.tags) drawCurve(context, scene, palette, curve, box);
    }
    context.restore();
  }
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
  ratio: number,
): void {
  if (spans.length === 0) return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.globalAlpha = 0.7;
  context.fillStyle = hatch(context, colour);
  for (const [start, end] of spans) {
    if (end < view.start || start > view.end) continue;
    const [from, to] = [Math.max(-6, xOf(view, width, start)), Math.min(width + 6, xOf(view, width, end))];
    if (to - from >= 3) context.fillRect(from, bar.top, to - from, bar.height);
  }
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

/** Steps: a value holds until the next; what it was in between is a line from the least to the most. */
function drawCurve(
  context: CanvasRenderingContext2D,
  { view, width }: Scene,
  palette: Palette,
  { points }: TagCurve,
  box: LaneBox,
): void {
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
  context.lineTo(xOf(view, width, view.end), y(before!));
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
