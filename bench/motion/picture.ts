/** A grey picture in floating point, and things to paint into it. */
import { Random } from './random.ts';

export const WIDTH = 640;
export const HEIGHT = 360;

export type Plane = Float32Array;
export const newPlane = (): Plane => new Float32Array(WIDTH * HEIGHT);

/** Smooth noise with details down to `size` pixels, -1..1 about. */
export function texture(random: Random, size: number, octaves: number): Plane {
  const plane = newPlane();
  for (
    let octave = 0, step = size * 2 ** (octaves - 1), weight = 1;
    octave < octaves;
    octave++, step /= 2, weight *= 0.6
  ) {
    const columns = Math.ceil(WIDTH / step) + 2;
    const grid = Float32Array.from({ length: columns * (Math.ceil(HEIGHT / step) + 2) }, () => random.between(-1, 1));
    for (let y = 0; y < HEIGHT; y++) {
      const gy = y / step;
      const row = Math.floor(gy);
      const fy = gy - row;
      for (let x = 0; x < WIDTH; x++) {
        const gx = x / step;
        const column = Math.floor(gx);
        const fx = gx - column;
        const at = row * columns + column;
        const upper = grid[at]! * (1 - fx) + grid[at + 1]! * fx;
        const lower = grid[at + columns]! * (1 - fx) + grid[at + columns + 1]! * fx;
        plane[y * WIDTH + x]! += weight * (upper * (1 - fy) + lower * fy);
      }
    }
  }
  return plane;
}

/** A place: ground and wall with grain, some boxes with hard edges, windows, lines. */
export function place(seed: number): Plane {
  const random = new Random(seed);
  const coarse = texture(random, 24, 4);
  const fine = texture(random, 2, 3);
  const horizon = random.between(0.25, 0.55) * HEIGHT;
  const [wall, ground] = [random.between(70, 190), random.between(60, 170)];
  const [roughWall, roughGround] = [random.between(2, 9), random.between(3, 14)];
  const plane = newPlane();
  for (let y = 0; y < HEIGHT; y++) {
    for (let x = 0; x < WIDTH; x++) {
      const i = y * WIDTH + x;
      const above = y < horizon;
      plane[i] =
        (above ? wall : ground) + 14 * coarse[i]! + (above ? roughWall : roughGround) * fine[i]! + (y / HEIGHT) * 20;
    }
  }
  for (let n = 0; n < 14; n++) {
    const [w, h] = [random.between(10, 120), random.between(8, 90)];
    const [left, top] = [random.between(-20, WIDTH), random.between(0, HEIGHT - 20)];
    const tone = random.between(-45, 45);
    const grain = random.between(0, 1) < 0.3 ? 20 : 0;
    rectangle(
      plane,
      left,
      top,
      w,
      h,
      (value, x, y) => value + tone + (grain > 0 && (x >> 3) % 2 === (y >> 3) % 2 ? grain : 0),
    );
  }
  return plane;
}

export function rectangle(
  ...[plane, left, top, width, height, tone]: [
    Plane,
    number,
    number,
    number,
    number,
    (v: number, x: number, y: number) => number,
  ]
): void {
  for (let y = Math.max(0, Math.round(top)); y < Math.min(HEIGHT, Math.round(top + height)); y++) {
    for (let x = Math.max(0, Math.round(left)); x < Math.min(WIDTH, Math.round(left + width)); x++) {
      plane[y * WIDTH + x] = tone(plane[y * WIDTH + x]!, x, y);
    }
  }
}

/** How much of a pixel whose distance from an edge is `inside` lies inside. */
const share = (inside: number): number => (inside <= -0.5 ? 0 : inside >= 0.5 ? 1 : inside + 0.5);

/** A thick line with round ends, which limbs, bodies and heads are made of; `opacity` below 1 for shadows. */
export function limb(
  plane: Plane,
  [x0, y0, x1, y1]: readonly [number, number, number, number],
  radius: number,
  tone: (x: number, y: number) => number,
  opacity = 1,
): void {
  const [dx, dy] = [x1 - x0, y1 - y0];
  const square = dx * dx + dy * dy || 1e-6;
  const top = Math.max(0, Math.floor(Math.min(y0, y1) - radius - 1));
  const bottom = Math.min(HEIGHT - 1, Math.ceil(Math.max(y0, y1) + radius + 1));
  const left = Math.max(0, Math.floor(Math.min(x0, x1) - radius - 1));
  const right = Math.min(WIDTH - 1, Math.ceil(Math.max(x0, x1) + radius + 1));
  for (let y = top; y <= bottom; y++) {
    for (let x = left; x <= right; x++) {
      const along = Math.min(1, Math.max(0, ((x - x0) * dx + (y - y0) * dy) / square));
      const part = opacity * share(radius - Math.hypot(x - x0 - along * dx, y - y0 - along * dy));
      if (part <= 0) continue;
      const i = y * WIDTH + x;
      plane[i]! += part * (tone(x, y) - plane[i]!);
    }
  }
}

export interface Figure {
  /** Feet (person) or middle of the bottom (car, box), pixels. */
  x: number;
  y: number;
  height: number;
  /** Tones of the parts. */
  tones: number[];
  /** Phase of the walk, radians. */
  phase: number;
  /** 0: stands, 1: strides. */
  stride: number;
}

export function person(plane: Plane, { x, y, height: h, tones, phase, stride }: Figure): void {
  const swing = stride * Math.sin(phase) * 0.16 * h;
  const bob = stride * Math.abs(Math.cos(phase)) * 0.015 * h + Math.sin(phase * 0.21) * 0.004 * h;
  const sway = Math.sin(phase * 0.13) * 0.01 * h;
  const [coat, trousers, skin] = [tones[0]!, tones[1]!, tones[2]!];
  limb(plane, [x - 0.1 * h, y, x + 0.14 * h, y + 0.02 * h], 0.035 * h, () => 20, 0.35);
  const hip = y - 0.47 * h - bob;
  const neck = y - 0.82 * h - bob;
  const cloth = (tone: number) => (px: number, py: number) =>
    tone + ((((px - x + 1000) >> 2) + ((py - y + 1000) >> 2)) % 2) * 8;
  limb(plane, [x + sway, hip, x + swing, y - 0.03 * h], 0.05 * h, () => trousers);
  limb(plane, [x + sway, hip, x - swing, y - 0.03 * h], 0.05 * h, () => trousers - 6);
  limb(plane, [x + sway, neck + 0.07 * h, x + sway, hip], 0.1 * h, cloth(coat));
  limb(
    plane,
    [x + sway - 0.09 * h, neck + 0.06 * h, x - swing * 0.8 - 0.08 * h, hip + 0.02 * h],
    0.03 * h,
    () => coat - 10,
  );
  limb(
    plane,
    [x + sway + 0.09 * h, neck + 0.06 * h, x + swing * 0.8 + 0.08 * h, hip + 0.02 * h],
    0.03 * h,
    () => coat + 6,
  );
  limb(plane, [x + sway, neck - 0.07 * h, x + sway, neck - 0.1 * h], 0.065 * h, () => skin);
}

export function car(plane: Plane, { x, y, height: h, tones }: Figure): void {
  const w = 2.6 * h;
  limb(plane, [x - w * 0.5, y, x + w * 0.5, y], 0.12 * h, () => 15, 0.5);
  rectangle(plane, x - w / 2, y - 0.62 * h, w, 0.5 * h, (_, px) => tones[0]! + (px % 37 === 0 ? -20 : 0));
  rectangle(plane, x - w * 0.28, y - h, w * 0.55, 0.4 * h, () => tones[1]!);
  rectangle(plane, x - w * 0.24, y - 0.94 * h, w * 0.22, 0.3 * h, () => tones[2]!);
  for (const side of [-0.3, 0.3])
    limb(plane, [x + side * w, y - 0.12 * h, x + side * w, y - 0.11 * h], 0.15 * h, () => 25);
}

const SEGMENTS = ['abcdef', 'bc', 'abged', 'abgcd', 'fgbc', 'afgcd', 'afgedc', 'abc', 'abcdefg', 'abcdfg'];

/** Digits of seven segments, white with a dark edge, as cameras write their time. */
export function clock(plane: Plane, text: string, left: number, top: number, size: number): void {
  const w = size * 0.5;
  const at: Record<string, [number, number, number, number]> = {
    a: [0, 0, 1, 0],
    b: [1, 0, 1, 1],
    c: [1, 1, 1, 2],
    d: [0, 2, 1, 2],
    e: [0, 1, 0, 2],
    f: [0, 0, 0, 1],
    g: [0, 1, 1, 1],
  };
  text.split('').forEach((letter, n) => {
    const x = left + n * size * 0.75;
    if (letter === ':') {
      for (const y of [0.3, 0.7]) rectangle(plane, x + w / 2, top + y * size, 2, 2, () => 235);
      return;
    }
    for (const [tone, radius] of [
      [20, size * 0.09 + 1],
      [235, size * 0.09],
    ] as const) {
      for (const segment of SEGMENTS[Number(letter)]!) {
        const [x0, y0, x1, y1] = at[segment]!;
        limb(plane, [x + x0 * w, top + (y0 * size) / 2, x + x1 * w, top + (y1 * size) / 2], radius, () => tone);
      }
    }
  });
}

/** Noise to take from at random places. */
export function grain(random: Random): Float32Array {
  return Float32Array.from({ length: 1 << 18 }, () => random.normal());
}
