import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MotionEvents } from '../../engine/motion/events.ts';
import { MotionModel } from '../../engine/motion/model.ts';
import { DEFAULT_SETTINGS, GRID_HEIGHT, GRID_WIDTH } from '../../engine/motion/types.ts';
import type { FrameMotion, MotionEvent, MotionSettings, Point, Zone } from '../../engine/motion/types.ts';
import { inside } from '../../engine/motion/zones.ts';

const WIDTH = 320;
const HEIGHT = 180;

/** Numbers that look random and are the same each time. */
function numbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** A wall with grain, in blocks that are larger than a pixel. */
const WALL = (() => {
  const next = numbers(3);
  const blocks = Array.from({ length: 40 * 23 }, () => next() * 40);
  return Float32Array.from({ length: WIDTH * HEIGHT }, (_, i) => {
    const [x, y] = [i % WIDTH, Math.floor(i / WIDTH)];
    return 90 + blocks[(y >> 3) * 40 + (x >> 3)]! + ((x * 7 + y * 13) % 5);
  });
})();

/** Noise, between -0.5 and 0.5. */
const GRAIN = (() => {
  const next = numbers(5);
  return Float32Array.from({ length: 0x4000 }, () => next() - 0.5);
})();

interface Thing {
  x: number;
  y: number;
  width: number;
  height: number;
  /** Grey level, or added to that of the wall. */
  tone: number;
  seeThrough?: boolean;
}

interface Frame {
  things?: Thing[];
  light?: number;
  noise?: number;
  shift?: number;
}

/** Frames a fifth of a second apart; `frame` says what is in each. */
class Camera {
  readonly model: MotionModel;
  private readonly pixels = new Uint8Array(WIDTH * HEIGHT);
  private readonly next = numbers(9);
  private readonly stepMs: number;
  time = 1_000_000;

  constructor(settings: Partial<MotionSettings> = {}, stepMs = 200) {
    this.model = new MotionModel({ ...DEFAULT_SETTINGS, ...settings });
    this.stepMs = stepMs;
  }

  paint({ things = [], light = 1, noise = 2, shift = 0 }: Frame): Uint8Array {
    const from = Math.floor(this.next() * 1000);
    const offset = shift + (shift < 0 ? WALL.length : 0);
    for (let i = 0, at = offset; i < this.pixels.length; i++, at++) {
      if (at === WALL.length) at = 0;
      const value = WALL[at]! * light + noise * GRAIN[(from + i) & 0x3fff]!;
      this.pixels[i] = value > 255 ? 255 : value;
    }
    for (const { x, y, width, height, tone, seeThrough } of things) {
      for (let row = Math.max(0, Math.round(y)); row < Math.min(HEIGHT, Math.round(y + height)); row++) {
        const [from, to] = [Math.round(x), Math.round(x + width)].map((at) => Math.min(WIDTH, Math.max(0, at)));
        const part = this.pixels.subarray(row * WIDTH + from!, row * WIDTH + to!);
        if (seeThrough === true) part.forEach((value, i) => (part[i] = value + tone));
        else part.fill(tone * light);
      }
    }
    return this.pixels;
  }

  step(frame: Frame = {}): FrameMotion {
    this.time += this.stepMs;
    return this.model.step({ time: this.time, width: WIDTH, height: HEIGHT, pixels: this.paint(frame) });
  }

  run(seconds: number, frame: (second: number) => Frame = () => ({})): FrameMotion[] {
    const count = Math.round((seconds * 1000) / this.stepMs);
    return Array.from({ length: count }, (_, i) => this.step(frame((i * this.stepMs) / 1000)));
  }
}

const person = (x: number, y = 90): Thing => ({ x, y, width: 18, height: 50, tone: 30 });
const walk = (second: number): Frame => ({ things: [person(-20 + 50 * second)] });
const moving = (frames: FrameMotion[]): FrameMotion[] => frames.filter(({ score }) => score > 0);
const rectangle = (x: number, y: number, width: number, height: number): Point[] => [
  { x, y },
  { x: x + width, y },
  { x: x + width, y: y + height },
  { x, y: y + height },
];

/** Bars from top to bottom, and what is before them. */
const BARS = [180, 150, 120, 100, 80, 60, 40].map((tone, i): Thing => ({
  x: i * 46,
  y: 0,
  width: 46,
  height: 180,
  tone,
}));
const PLAIN: Thing[] = [{ x: 0, y: 0, width: WIDTH, height: HEIGHT, tone: 112 }];
const before = (place: Thing[], ...things: Thing[]): Frame => ({ things: [...place, ...things] });
const eventsOf = (frames: FrameMotion[]): MotionEvent[] => {
  const events = new MotionEvents(DEFAULT_SETTINGS, () => 'event');
  return frames.flatMap((frame) => events.step(frame));
};

describe('motion model', () => {
  it('sees nothing in a picture that stays, whatever it shows', () => {
    const picture = fc.record({
      seed: fc.integer({ min: 1, max: 1e6 }),
      light: fc.double({ min: 0.05, max: 2, noNaN: true }),
    });
    fc.assert(
      fc.property(picture, ({ seed, light }) => {
        const next = numbers(seed);
        const pixels = Uint8Array.from({ length: 64 * 36 }, () => Math.min(255, next() * 200 * light));
        const model = new MotionModel(DEFAULT_SETTINGS);
        for (let i = 0; i < 12; i++) {
          const { score, boxes, zones, cells } = model.step({ time: i * 200, width: 64, height: 36, pixels });
          assert.deepEqual([score, boxes.length, zones.length], [0, 0, 0]);
          assert.ok(cells.every((byte) => byte === 0));
        }
      }),
      { numRuns: 30 },
    );
  });

  it('follows someone who walks through, from the first moment', () => {
    const camera = new Camera();
    assert.equal(moving(camera.run(3)).length, 0);
    const entered = camera.time;
    const seen = moving(camera.run(7, walk));
    assert.ok(seen.length > 25, `${seen.length} frames`);
    assert.ok(Math.abs(seen[0]!.since! - entered) <= 600, `${seen[0]!.since! - entered} ms`);
    const { boxes, cells } = seen[10]!;
    assert.equal(boxes.length, 1);
    assert.ok(Math.abs(boxes[0]!.height - 50 / HEIGHT) < 0.08, `${boxes[0]!.height}`);
    const set = cells.reduce((sum, byte) => sum + byte.toString(2).split('1').length - 1, 0);
    assert.ok(set >= 6 && set < 40, `${set} cells`);
    assert.equal(moving(camera.run(4)).length, 0);
  });

  it('keeps someone who stands still, and gives up on a thing that was left behind', () => {
    const camera = new Camera();
    camera.run(3);
    const stay = (second: number): Frame => ({ things: [person(Math.min(150, -20 + 50 * second))] });
    const visit = camera.run(25, stay);
    assert.ok(visit.slice(10).every(({ score }) => score > 0));
    const { time, movedAt } = visit.at(-1)!;
    assert.ok(time - movedAt! > 15_000, `moved ${time - movedAt!} ms ago`);
    camera.run(40, () => ({ things: [person(150)] }));
    assert.equal(moving(camera.run(5, () => ({ things: [person(150)] }))).length, 0);
  });

  it('finds what is plain before strong edges, also when it is quick, and no more of the picture', () => {
    for (const seconds of [0.8, 1.6, 3]) {
      const camera = new Camera();
      camera.run(4, () => before(BARS));
      const thing = (second: number): Thing => ({
        x: (second / seconds) * WIDTH,
        y: 60,
        width: 32,
        height: 60,
        tone: 50,
      });
      const entered = camera.time;
      const frames = camera.run(seconds, (second) => before(BARS, thing(second)));
      const seen = moving(frames);
      assert.ok(seen.length >= frames.length - 3, `${seen.length} of ${frames.length} frames in ${seconds} s`);
      assert.ok(Math.abs(seen[0]!.since! - entered) <= 400, `${seen[0]!.since! - entered} ms`);
      const wide = seen.filter(({ boxes }) => boxes.length !== 1 || boxes[0]!.width > 0.15);
      assert.ok(wide.length <= 1, JSON.stringify(wide.map(({ boxes }) => boxes)));
      const events = eventsOf([...frames, ...camera.run(5, () => before(BARS))]);
      assert.deepEqual(
        events.map(({ phase }) => phase).filter((phase) => phase !== 'update'),
        ['start', 'end'],
      );
    }
  });

  it('takes something near and plain for no change of light', () => {
    const camera = new Camera();
    camera.run(4);
    const thing = (second: number): Thing => ({ x: -90 + 80 * second, y: 30, width: 90, height: 150, tone: 40 });
    const seen = moving(camera.run(5, (second) => ({ things: [thing(second)] })));
    assert.ok(seen.length >= 15, `${seen.length} frames`);
    const wide = seen.filter(({ boxes }) => boxes.some(({ width }) => width > 0.36));
    assert.ok(wide.length <= 3, `${wide.length} of ${seen.length}`);
    assert.equal(moving(camera.run(4)).length, 0);
  });

  it('keeps something plain and faint that comes to stand on plain ground', () => {
    const camera = new Camera();
    const frame = (second: number): Frame =>
      before(PLAIN, { x: Math.min(120, -30 + 36 * second), y: 80, width: 30, height: 70, tone: 125 });
    camera.run(4, () => before(PLAIN));
    const entered = camera.time;
    const frames = camera.run(16, frame);
    const seen = moving(frames);
    assert.ok(seen.length >= frames.length - 8, `${seen.length} of ${frames.length} frames`);
    assert.ok(seen[0]!.since! - entered <= 600, `${seen[0]!.since! - entered} ms`);
  });

  it('takes drops for no part of someone who walks through the rain', () => {
    const camera = new Camera();
    const next = numbers(21);
    const rain = (): Thing[] =>
      Array.from({ length: 18 }, () => ({ x: next() * 316, y: next() * 170, width: 2, height: 12, tone: 210 }));
    assert.equal(moving(camera.run(20, () => ({ things: rain() }))).length, 0);
    const seen = moving(camera.run(8, (second) => ({ things: [person(-20 + 45 * second), ...rain()] })));
    assert.ok(seen.length > 25, `${seen.length} frames`);
    const wide = seen.filter(({ boxes }) => boxes.some(({ width }) => width > 0.3));
    assert.ok(wide.length <= 2, `${wide.length} of ${seen.length}`);
    assert.equal(moving(camera.run(10, () => ({ things: rain() })).slice(10)).length, 0);
  });

  it('is not haunted by someone who was there at first', () => {
    const camera = new Camera();
    camera.run(8, (second) => ({ things: [person(150 + 50 * second)] }));
    assert.equal(moving(camera.run(10)).length, 0);
  });

  it('takes light for light, and says so when it lasts', () => {
    const camera = new Camera();
    camera.run(4);
    const frames = camera.run(8, (second) => ({ light: second < 4 ? 1.6 : 1 }));
    assert.equal(moving(frames).length, 0);
    assert.equal(frames.filter(({ scene }) => scene === 'scene-change').length, 2);
    assert.equal(frames[0]!.scene, 'light');
    const dusk = camera.run(20, (second) => ({ light: 1 - second / 30 }));
    assert.equal(moving(dusk).length, 0);
    assert.ok(dusk.every(({ scene }) => scene !== 'scene-change'));
  });

  it('takes a camera that shakes for that', () => {
    const camera = new Camera();
    camera.run(4);
    const frames = camera.run(8, (second) => ({ shift: Math.round(3 * Math.sin(second * 17)) }));
    assert.equal(moving(frames).length, 0);
    assert.ok(frames.some(({ scene }) => scene === 'shake'));
  });

  it('finds someone while exposure changes', () => {
    const camera = new Camera();
    camera.run(4);
    const seen = moving(camera.run(7, (second) => ({ ...walk(second), light: 1 + 0.3 * Math.sin(second / 2) })));
    assert.ok(seen.length > 20, `${seen.length} frames`);
  });

  it('learns to ignore what changes in its place, and shows that', () => {
    const camera = new Camera();
    const flag = (second: number): Frame => ({
      things: [{ x: 200, y: 40, width: 24, height: 20, tone: Math.round(second * 5) % 3 === 0 ? 20 : 220 }],
    });
    assert.equal(moving(camera.run(40, flag)).length, 0);
    const { noise, threshold, ignored } = camera.model.picture();
    assert.deepEqual([noise.length, threshold.length, ignored.length], Array(3).fill(GRID_WIDTH * GRID_HEIGHT));
    const there = 5 * GRID_WIDTH + 21;
    const elsewhere = 12 * GRID_WIDTH + 5;
    assert.ok(noise[there]! > 3 * noise[elsewhere]!, `${noise[there]!} and ${noise[elsewhere]!}`);
    assert.ok(threshold[there]! > 2 * threshold[elsewhere]!);
    // Someone who walks by is seen all the same.
    const seen = moving(
      camera.run(7, (second) => ({ things: [...flag(second).things!, person(-20 + 50 * second, 30)] })),
    );
    assert.ok(seen.length > 20, `${seen.length} frames`);
  });

  it('counts in zones only', () => {
    const zone = (id: string, kind: Zone['kind'], points: Point[], more: Partial<Zone> = {}): Zone => ({
      ...{ id, name: id, kind, points },
      ...more,
    });
    const seenWith = (zones: Zone[]): FrameMotion[] => {
      const camera = new Camera({ zones });
      camera.run(3);
      return moving(camera.run(7, walk));
    };
    const left = rectangle(0, 0, 0.4, 1);
    const right = rectangle(0.6, 0, 0.4, 1);
    const inLeft = seenWith([zone('left', 'include', left)]);
    assert.ok(inLeft.length > 5);
    assert.ok(inLeft.every(({ zones, boxes }) => zones.join() === 'left' && boxes[0]!.x < 0.4));
    assert.equal(seenWith([zone('all', 'ignore', rectangle(0, 0, 1, 1))]).length, 0);
    assert.equal(seenWith([zone('right', 'include', right, { minSize: 0.2 })]).length, 0);
    assert.equal(seenWith([zone('right', 'include', right, { maxSize: 0.001 })]).length, 0);
    const loitering = seenWith([zone('right', 'include', right, { loiterMs: 1000 })]);
    assert.ok(loitering.length > 0 && loitering.length < seenWith([zone('right', 'include', right)]).length);
    assert.equal(seenWith([zone('right', 'include', right, { loiterMs: 10_000 })]).length, 0);
  });

  it('knows the inside of any polygon from its outside', () => {
    assert.ok(inside(rectangle(0.2, 0.2, 0.5, 0.5), 0.3, 0.6));
    assert.ok(!inside(rectangle(0.2, 0.2, 0.5, 0.5), 0.1, 0.6));
    const arrow: Point[] = [
      { x: 0, y: 0 },
      { x: 1, y: 0.5 },
      { x: 0, y: 1 },
      { x: 0.5, y: 0.5 },
    ];
    assert.ok(inside(arrow, 0.7, 0.5));
    assert.ok(!inside(arrow, 0.2, 0.5));
    assert.ok(!inside([], 0.5, 0.5));
  });

  it('tells after a pause whether something has come, without learning it', () => {
    const camera = new Camera();
    camera.run(5);
    const frame = (things: Thing[]) => ({
      ...{ time: camera.time + 4000, width: WIDTH, height: HEIGHT, pixels: camera.paint({ things }) },
    });
    for (let i = 0; i < 20; i++) assert.equal(camera.model.differs(frame([person(120)])), true);
    assert.equal(camera.model.differs(frame([])), false);
  });

  it('works at one frame every two seconds', () => {
    const camera = new Camera({}, 2000);
    assert.equal(moving(camera.run(20)).length, 0);
    const seen = moving(camera.run(30, (second) => ({ things: [person(-20 + 12 * second)] })));
    assert.ok(seen.length >= 8, `${seen.length} frames`);
    assert.equal(moving(camera.run(20).slice(4)).length, 0);
  });

  it('starts again with another size, and when it is told to', () => {
    const camera = new Camera();
    camera.run(3);
    const small = { width: 64, height: 36, pixels: new Uint8Array(64 * 36).fill(100) };
    assert.equal(camera.model.step({ time: camera.time + 200, ...small }).scene, 'learning');
    assert.equal(camera.step().scene, 'learning');
    camera.run(3);
    camera.model.restart();
    assert.equal(camera.step().scene, 'learning');
    assert.equal(moving(camera.run(3)).length, 0);
    const tiny = { width: 1, height: 1, pixels: new Uint8Array(1) };
    for (let i = 0; i < 3; i++) assert.equal(camera.model.step({ time: camera.time + i * 200, ...tiny }).score, 0);
  });

  it('keeps what it knows when it is set up anew', () => {
    const camera = new Camera();
    camera.run(5);
    camera.model.configure({ ...DEFAULT_SETTINGS, sensitivity: 60 });
    assert.notEqual(camera.step().scene, 'learning');
    assert.ok(moving(camera.run(7, walk)).length > 20);
  });

  it('needs less contrast the more sensitive it is', () => {
    const faint = (sensitivity: number): number => {
      const camera = new Camera({ sensitivity });
      camera.run(4);
      const thing = (second: number): Thing => ({ ...person(-20 + 50 * second), tone: 14, seeThrough: true });
      return moving(camera.run(7, (second) => ({ things: [thing(second)] }))).length;
    };
    const [low, high] = [faint(0), faint(100)];
    assert.ok(low < high, `${low} and ${high}`);
  });
});
