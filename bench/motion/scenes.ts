/** Clips to find motion in: what happens in them is told by code, so what should be found is known. */
import {
  car,
  clock,
  grain,
  HEIGHT,
  limb,
  newPlane,
  person,
  place,
  texture,
  WIDTH,
  type Figure,
  type Plane,
} from './picture.ts';
import { Random } from './random.ts';

/** Seconds from the start of the clip. */
export interface Label {
  start: number;
  end: number;
}

export interface Scene {
  name: string;
  seconds: number;
  fps: number;
  /** Seconds between keyframes. */
  gop: number;
  kbps: number;
  labels: Label[];
  /** Paints the frame of this second, anew. */
  paint: (second: number, into: Uint8Array) => void;
}

interface Actor {
  label: Label;
  draw: (plane: Plane, second: number) => void;
}

/** What the world does to the picture; all may be left out. */
interface World {
  seed: number;
  actors?: Actor[];
  /** Standard deviation of the sensor's noise, grey levels. */
  noise?: (second: number) => number;
  /** Multiplies light. */
  gain?: (second: number) => number;
  /** Maps grey levels after light. */
  tone?: (value: number, second: number) => number;
  shift?: (second: number) => [number, number];
  /** Light at a place: for clouds and headlights. */
  light?: (x: number, y: number, second: number) => number;
  foliage?: { left: number; top: number; width: number; height: number; reach: number };
  /** Streaks a frame. */
  rain?: number;
  clock?: { left: number; top: number; size: number };
}

const CLIP = { fps: 12, gop: 2, kbps: 500 };

function scene(name: string, seconds: number, world: World, form: Partial<typeof CLIP> = {}): Scene {
  // Made when first painted: a list of scenes costs nothing.
  let painter: Scene['paint'] | null = null;
  return {
    name,
    seconds,
    ...CLIP,
    ...form,
    labels: together((world.actors ?? []).map(({ label }) => label)),
    paint: (second, into) => (painter ??= painterOf(world))(second, into),
  };
}

/** Two at once are one event. */
function together(labels: Label[]): Label[] {
  const merged: Label[] = [];
  for (const { start, end } of labels.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1);
    if (last && start < last.end + 1) last.end = Math.max(last.end, end);
    else merged.push({ start, end });
  }
  return merged;
}

function painterOf(world: World): Scene['paint'] {
  const random = new Random(world.seed * 31 + 7);
  const empty = place(world.seed);
  const leaves = texture(new Random(world.seed + 99), 5, 2);
  const plane = newPlane();
  const noise = grain(random);
  const curve = new Float32Array(256);
  return (second, into) => {
    const [shiftX, shiftY] = world.shift?.(second) ?? [0, 0];
    move(empty, plane, shiftX, shiftY);
    if (world.foliage) sway(plane, leaves, second, world.foliage);
    for (const { draw } of world.actors ?? []) draw(plane, second);
    if (world.light) {
      // It is smooth: every eighth place is enough, and between them straight.
      for (let y = 0, i = 0; y < HEIGHT; y++) {
        for (let x = 0, next = world.light(0, y, second); x < WIDTH; x += 8) {
          const here = next;
          next = world.light(x + 8, y, second);
          for (let k = 0; k < 8; k++, i++) plane[i]! *= here + (k / 8) * (next - here);
        }
      }
    }
    for (let n = 0; n < (world.rain ?? 0); n++) {
      const [x, y, length] = [random.between(0, WIDTH), random.between(-20, HEIGHT), random.between(10, 34)];
      limb(plane, [x, y, x + length * 0.15, y + length], 0.5, () => 215, random.between(0.15, 0.5));
    }
    const gain = world.gain?.(second) ?? 1;
    const level = world.noise?.(second) ?? 1.5;
    for (let v = 0; v < 256; v++) curve[v] = world.tone ? world.tone(v, second) : v;
    let from = 0;
    for (let i = 0; i < plane.length; i++) {
      if (i % WIDTH === 0) from = Math.floor(random.next() * (noise.length - WIDTH));
      const value = Math.min(255, Math.max(0, plane[i]! * gain));
      // Uint8Array would wrap around.
      into[i] = Math.min(255, Math.max(0, curve[Math.round(value)]! + level * noise[from++]! + 0.5));
    }
    if (world.clock) {
      const { left, top, size } = world.clock;
      const text = new Date(36_000_000 + second * 1000).toISOString().slice(11, 19);
      const overlay = plane;
      for (let y = Math.max(0, top - 4); y < top + size + 4; y++)
        for (let x = 0; x < WIDTH; x++) overlay[y * WIDTH + x] = into[y * WIDTH + x]!;
      clock(overlay, text, left, top, size);
      for (let y = Math.max(0, top - 4); y < top + size + 4; y++)
        for (let x = 0; x < WIDTH; x++) into[y * WIDTH + x] = overlay[y * WIDTH + x]!;
    }
  };
}

function move(from: Plane, to: Plane, shiftX: number, shiftY: number): void {
  if (shiftX === 0 && shiftY === 0) return to.set(from);
  const [left, top] = [Math.floor(-shiftX), Math.floor(-shiftY)];
  const [fx, fy] = [-shiftX - left, -shiftY - top];
  const clampX = (x: number) => Math.min(WIDTH - 1, Math.max(0, x));
  for (let y = 0, i = 0; y < HEIGHT; y++) {
    const row0 = Math.min(HEIGHT - 1, Math.max(0, y + top)) * WIDTH;
    const row1 = Math.min(HEIGHT - 1, Math.max(0, y + top + 1)) * WIDTH;
    for (let x = 0; x < WIDTH; x++, i++) {
      const [x0, x1] = [clampX(x + left), clampX(x + left + 1)];
      to[i] =
        (from[row0 + x0]! * (1 - fx) + from[row0 + x1]! * fx) * (1 - fy) +
        (from[row1 + x0]! * (1 - fx) + from[row1 + x1]! * fx) * fy;
    }
  }
}

/** Leaves that swing with the gusts, each twig in its own time. */
function sway(plane: Plane, leaves: Plane, second: number, area: NonNullable<World['foliage']>): void {
  const gust = 0.55 + 0.45 * Math.sin(second * 0.7) * Math.sin(second * 0.23 + 1);
  for (let y = Math.max(0, area.top); y < Math.min(HEIGHT, area.top + area.height); y++) {
    for (let x = Math.max(0, area.left); x < Math.min(WIDTH, area.left + area.width); x++) {
      // An oval with a ragged edge.
      const [dx, dy] = [(x - area.left) / area.width - 0.5, (y - area.top) / area.height - 0.5];
      const phase = x * 0.035 + y * 0.021;
      const swing = area.reach * gust * (0.5 - dy);
      const sx = Math.round(x + swing * Math.sin(second * 2.9 + phase));
      const sy = Math.round(y + 0.5 * swing * Math.sin(second * 3.7 + phase * 1.7));
      const at = Math.min(HEIGHT - 1, Math.max(0, sy)) * WIDTH + Math.min(WIDTH - 1, Math.max(0, sx));
      const leaf = leaves[at]!;
      if (dx * dx + dy * dy + 0.06 * leaf > 0.21) continue;
      plane[y * WIDTH + x] = 75 + 55 * leaf;
    }
  }
}

/** Where someone is at which second, in shares of the picture; between them straight. */
type Way = readonly (readonly [second: number, x: number, y: number, height?: number])[];

function at(way: Way, second: number): { x: number; y: number; height: number; speed: number } | null {
  if (second < way[0]![0] || second > way.at(-1)![0]) return null;
  const next = way.findIndex(([when]) => when >= second) || 1;
  const [a, b] = [way[next - 1]!, way[next]!];
  const part = (second - a[0]) / (b[0] - a[0] || 1);
  const mix = (from: number, to: number) => from + part * (to - from);
  return {
    ...{ x: mix(a[1], b[1]) * WIDTH, y: mix(a[2], b[2]) * HEIGHT, height: mix(a[3] ?? 0.3, b[3] ?? 0.3) * HEIGHT },
    speed: Math.hypot((b[1] - a[1]) * WIDTH, (b[2] - a[2]) * HEIGHT) / (b[0] - a[0] || 1),
  };
}

/** The label is when a part of it, half its width, is in the picture. */
function labelOf(way: Way, seconds: (second: number) => boolean): Label {
  const step = 1 / 60;
  let start = way[0]![0];
  let end = way.at(-1)![0];
  while (start < end && !seconds(start)) start += step;
  while (end > start && !seconds(end)) end -= step;
  return { start, end };
}

function actor(kind: typeof person, halfWidth: number, way: Way, tones: number[]): Actor {
  const visible = (second: number): boolean => {
    const where = at(way, second);
    if (!where) return false;
    const reach = where.height * halfWidth * 0.8;
    return where.x > -reach && where.x < WIDTH + reach && where.y - where.height * 0.8 < HEIGHT && where.y > 0;
  };
  let walked = 0;
  let before = 0;
  const draw = (plane: Plane, second: number): void => {
    const where = at(way, second);
    if (!where) return;
    const elapsed = Math.max(0, Math.min(0.2, second - before));
    before = second;
    walked += (where.speed * elapsed) / (where.height * 0.13) + elapsed * 0.8;
    const figure: Figure = { ...where, tones, phase: walked, stride: Math.min(1, where.speed / (where.height * 0.3)) };
    kind(plane, figure);
  };
  return { label: labelOf(way, visible), draw };
}

const DARK = [45, 35, 150];
const LIGHT = [205, 70, 180];
const someone = (way: Way, tones: number[] = DARK): Actor => actor(person, 0.2, way, tones);
const vehicle = (way: Way, tones: number[] = [190, 160, 50]): Actor => actor(car, 1.3, way, tones);

/** All scenes, with everything that chance decides taken from the seed. */
export function scenes(seed: number): Scene[] {
  const r = new Random(seed * 77 + 5);
  const world = (number: number): { seed: number } => ({ seed: seed * 100 + number });
  /** In, to a place, a while there, and out again. */
  const visit = (
    start: number,
    stay: number,
    height: number,
    tones: number[],
    side = r.next() < 0.5 ? 1 : -1,
  ): Actor => {
    const out = side > 0 ? -0.12 : 1.12;
    const x = r.between(0.35, 0.65);
    const y = r.between(0.75, 0.95);
    const walk = (Math.abs(x - out) * WIDTH) / (height * HEIGHT * r.between(0.7, 1.0));
    const leave = start + walk + stay;
    const back = r.next() < 0.5 ? out : 1 - out;
    const walkBack = (Math.abs(x - back) * WIDTH) / (height * HEIGHT * r.between(0.7, 1.0));
    return someone(
      [
        [start, out, y, height],
        [start + walk, x, y, height],
        [leave, x + 0.004, y, height],
        [leave + walkBack, back, y, height],
      ],
      tones,
    );
  };
  const cross = (
    start: number,
    seconds: number,
    y: number,
    height: number,
    tones: number[],
    back = r.next() < 0.5,
  ): Actor =>
    someone(
      [
        [start, back ? 1.1 : -0.1, y, height],
        [start + seconds, back ? -0.1 : 1.1, y + r.between(-0.05, 0.05), height],
      ],
      tones,
    );
  const low = { kbps: 90, gop: 4 };
  const tones = () => (r.next() < 0.5 ? DARK : LIGHT);
  const bush = { left: 380, top: 60, width: 230, height: 260, reach: 7 };
  const night = { noise: () => 7, tone: (v: number) => 22 + v * 0.33 };
  const gusts = (reach: number) => {
    const [a, b, c, d] = [r.between(5, 9), r.between(3, 6), r.between(0, 6), r.between(0, 6)];
    return (t: number): [number, number] => {
      const gust = reach * Math.max(0, Math.sin(t * 0.5 + c)) ** 2;
      return [gust * Math.sin(t * a + d), 0.6 * gust * Math.sin(t * b)];
    };
  };
  const [on, off] = [r.between(9, 12), r.between(22, 26)];
  return [
    scene('visits', 62, { ...world(1), actors: [visit(3, 14, 0.42, tones()), visit(33, 12, 0.35, tones())] }),
    scene(
      'small and distant',
      62,
      {
        ...world(2),
        actors: [cross(3, 16, 0.5, 0.09, DARK), cross(24, 12, 0.55, 0.075, LIGHT), cross(42, 14, 0.6, 0.1, tones())],
      },
      { kbps: 400 },
    ),
    scene('fast', 32, {
      ...world(3),
      actors: [
        cross(4, 0.72, 0.85, 0.4, tones()),
        vehicle([
          [11, -0.3, 0.8, 0.25],
          [11.9, 1.3, 0.8, 0.25],
        ]),
        cross(18, 0.9, 0.7, 0.3, tones()),
        cross(25, 0.72, 0.9, 0.5, tones()),
      ],
    }),
    scene('slow', 62, { ...world(4), actors: [cross(4, 50, 0.85, 0.3, tones())] }),
    scene('low contrast', 50, {
      ...world(5),
      actors: [
        cross(5, 9, 0.85, 0.33, [118, 122, 125]),
        cross(20, 9, 0.8, 0.3, [100, 96, 110]),
        cross(36, 8, 0.9, 0.4, [135, 120, 125]),
      ],
    }),
    scene(
      'night, people',
      60,
      {
        ...world(6),
        ...night,
        actors: [cross(6, 8, 0.9, 0.35, LIGHT), visit(22, 8, 0.38, LIGHT), cross(50, 6, 0.8, 0.25, DARK)],
      },
      low,
    ),
    scene(
      'foliage, people',
      56,
      {
        ...world(7),
        foliage: bush,
        actors: [cross(8, 8, 0.95, 0.4, LIGHT), cross(24, 8, 0.9, 0.35, DARK), cross(40, 9, 0.92, 0.3, LIGHT)],
      },
      { kbps: 700 },
    ),
    scene(
      'rain, people',
      50,
      {
        ...world(8),
        rain: 160,
        noise: () => 2.5,
        actors: [cross(8, 7, 0.9, 0.35, tones()), cross(22, 7, 0.8, 0.28, tones()), visit(34, 4, 0.4, tones())],
      },
      { kbps: 700 },
    ),
    scene('two at once', 44, {
      ...world(9),
      actors: [
        someone([
          [4, -0.1, 0.8, 0.3],
          [14, 1.1, 0.8, 0.3],
        ]),
        cross(5, 11, 0.95, 0.4, LIGHT, true),
        vehicle([
          [24, -0.3, 0.85, 0.2],
          [29, 1.3, 0.85, 0.2],
        ]),
        cross(36, 6, 0.8, 0.3, DARK),
      ],
    }),
    scene(
      'cars',
      60,
      {
        ...world(10),
        actors: [
          vehicle([
            [4, 1.3, 0.8, 0.2],
            [8, 0.5, 0.8, 0.2],
            [28, 0.5, 0.8, 0.2],
            [32, -0.3, 0.8, 0.2],
          ]),
          vehicle([
            [42, -0.3, 0.7, 0.15],
            [46, 1.3, 0.7, 0.15],
          ]),
        ],
      },
      { gop: 4, kbps: 300 },
    ),
    scene('approaching', 44, {
      ...world(11),
      actors: [
        someone([
          [4, -0.05, 0.45, 0.07],
          [8, 0.35, 0.45, 0.08],
          [18, 0.5, 1.0, 0.5],
          [22, -0.15, 1.0, 0.5],
        ]),
        someone([
          [28, 1.1, 0.9, 0.45],
          [32, 0.7, 0.85, 0.4],
          [42, 0.6, 0.5, 0.1],
        ]),
      ],
    }),
    scene(
      'shake, people',
      44,
      { ...world(12), shift: gusts(3), actors: [cross(6, 8, 0.85, 0.35, tones()), cross(24, 10, 0.8, 0.25, tones())] },
      { kbps: 800 },
    ),
    scene('clock, people', 44, {
      ...world(13),
      clock: { left: 20, top: 14, size: 22 },
      actors: [cross(8, 8, 0.85, 0.3, tones()), cross(26, 10, 0.8, 0.2, tones())],
    }),
    scene(
      'busy day',
      90,
      {
        ...world(14),
        foliage: { ...bush, left: -40, width: 200 },
        clock: { left: 400, top: 12, size: 20 },
        gain: (t) => 1 - 0.12 * Math.sin(t / 9),
        actors: [
          visit(8, 10, 0.36, DARK),
          vehicle([
            [40, 1.3, 0.8, 0.22],
            [44, -0.3, 0.8, 0.22],
          ]),
          cross(52, 9, 0.7, 0.18, LIGHT),
          cross(70, 8, 0.95, 0.5, DARK),
        ],
      },
      { kbps: 800 },
    ),

    scene('silent: lights', 40, {
      ...world(21),
      gain: (t) => (t > on && t < off ? 0.25 : 1),
      noise: (t) => (t > on && t < off ? 4 : 1.5),
    }),
    scene(
      'silent: dusk',
      60,
      { ...world(22), gain: (t) => 1 - (0.75 * t) / 60, noise: (t) => 1.5 + t / 15 },
      { kbps: 250 },
    ),
    scene(
      'silent: infrared',
      40,
      {
        ...world(23),
        tone: (v, t) => (t < on + 6 ? 15 + v * 0.3 : 255 * ((255 - 0.6 * v) / 255) ** 1.6 * 0.5 + v * 0.5),
        noise: (t) => (t < on + 6 ? 4 : 6),
      },
      { kbps: 200, gop: 4 },
    ),
    scene('silent: night', 60, { ...world(24), ...night }, { kbps: 70, gop: 4 }),
    scene(
      'silent: noisy night',
      60,
      { ...world(25), noise: () => 11, tone: (v) => 14 + v * 0.25 },
      { kbps: 110, gop: 2 },
    ),
    scene(
      'silent: foliage',
      60,
      { ...world(26), foliage: { left: 120, top: 10, width: 420, height: 300, reach: 9 } },
      { kbps: 800 },
    ),
    scene('silent: rain', 50, { ...world(27), rain: 260, noise: () => 2.5 }, { kbps: 600 }),
    scene('silent: clock', 45, { ...world(28), clock: { left: 380, top: 14, size: 24 } }, { kbps: 300 }),
    scene('silent: shake', 50, { ...world(29), shift: gusts(6) }, { kbps: 800 }),
    scene('silent: trembling', 40, { ...world(30), shift: gusts(0.9) }, { kbps: 400 }),
    scene('silent: exposure', 50, { ...world(31), gain: (t) => 1 + 0.45 * Math.max(0, Math.sin(t * 0.45)) ** 2 }),
    scene('silent: clouds', 60, {
      ...world(32),
      light: (x, _, t) =>
        1 -
        0.4 / (1 + Math.exp((Math.abs(x - (t * 40 - 200)) - 150) / 18)) -
        0.35 / (1 + Math.exp((Math.abs(x + 100 - (t - 25) * 60) - 90) / 14)),
    }),
    scene(
      'silent: headlights',
      40,
      {
        ...world(33),
        noise: () => 5,
        tone: (v) => Math.min(255, 18 + v * 0.4),
        light: (x, y, t) => 1 + 2.2 * Math.exp(-(((x - ((t % 13) - 4) * 160) / 130) ** 2) - ((y - 200) / 110) ** 2),
      },
      { kbps: 200 },
    ),
  ];
}
