import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { PassThrough, Writable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import type { Clock } from '../../engine/clock.ts';
import type { Spawn } from '../../engine/ingest/ffmpeg-process.ts';
import { Analyser, type AnalyserState, type MotionMode } from '../../engine/motion/analyser.ts';
import { analysisSize, greyArgs } from '../../engine/motion/grey-decoder.ts';
import { DEFAULT_SETTINGS, type MotionEvent } from '../../engine/motion/types.ts';

const T0 = 1_760_000_000_000;
const [WIDTH, HEIGHT] = [320, 180];
const TIMESCALE = 1000;

class TestClock implements Clock {
  ms = 0;
  private timers: { at: number; call: () => void }[] = [];
  now(): number {
    return T0 + this.ms;
  }
  monotonic(): number {
    return this.ms;
  }
  after(ms: number, call: () => void): () => void {
    const timer = { at: this.ms + ms, call };
    this.timers.push(timer);
    return () => (this.timers = this.timers.filter((other) => other !== timer));
  }
  advance(ms: number): void {
    const end = this.ms + ms;
    for (;;) {
      const [next] = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.ms = next.at;
      this.timers = this.timers.filter((timer) => timer !== next);
      next.call();
    }
    this.ms = end;
  }
}

/** FFmpeg as the decoder sees it. What is written to it waits while it is `stuck`. */
class Decoder extends EventEmitter {
  stuck = false;
  killed = false;
  readonly stdin = new Writable({
    highWaterMark: 1024 * 1024,
    write: (_chunk, _encoding, done) => {
      if (!this.stuck) done();
    },
  });
  readonly stdout = new PassThrough();
  readonly stderr = new PassThrough();
  kill(): boolean {
    this.killed = true;
    return true;
  }
}

/** A yard with a dark thing in it; null for none. */
function picture(x: number | null): Uint8Array {
  const pixels = new Uint8Array(WIDTH * HEIGHT);
  for (let row = 0; row < HEIGHT; row++) {
    for (let column = 0; column < WIDTH; column++) {
      const inside = x !== null && column >= x && column < x + 30 && row >= 60 && row < 120;
      pixels[row * WIDTH + column] = inside ? 30 : 120 + ((column >> 4) % 4) * 12 + ((row >> 4) % 3) * 10;
    }
  }
  return pixels;
}

class Bench {
  readonly clock = new TestClock();
  readonly decoders: Decoder[] = [];
  readonly events: (MotionEvent & { at: number })[] = [];
  readonly wants: (number | null)[] = [];
  readonly states: AnalyserState[] = [];
  readonly analyser: Analyser;
  private ids = 0;

  constructor(mode: MotionMode) {
    const spawn = (() => {
      const decoder = new Decoder();
      this.decoders.push(decoder);
      return decoder;
    }) as unknown as Spawn;
    this.analyser = new Analyser(
      mode,
      DEFAULT_SETTINGS,
      {
        want: (sinceMs) => this.wants.push(sinceMs),
        event: (event, at) => this.events.push({ ...event, at }),
        frame: () => undefined,
        activity: () => undefined,
        state: (state) => this.states.push(state),
      },
      { clock: this.clock, spawn, ffmpegPath: 'ffmpeg', newId: () => `event-${++this.ids}` },
    );
    this.analyser.media({ kind: 'init', data: new Uint8Array(1), width: WIDTH, height: HEIGHT, timescale: TIMESCALE });
  }

  /** A fragment of now, and the picture that comes of it. */
  async show(x: number | null, key = true, bytes = 1000): Promise<void> {
    const { clock } = this;
    const fragment = { kind: 'fragment' as const, data: new Uint8Array(bytes), key };
    this.analyser.media({ ...fragment, startMs: clock.now(), startTicks: clock.ms });
    const decoder = this.decoders.at(-1)!;
    // In either order, as pipes are read.
    const time = `frame:0    pts:0       pts_time:${clock.ms / TIMESCALE}\nt=1\n`;
    if (this.ids % 2 === 0) decoder.stderr.write(time);
    decoder.stdout.write(Buffer.from(picture(x)));
    await turn();
    if (this.ids % 2 === 1) decoder.stderr.write(time);
    await turn();
    await turn();
  }

  /** A fragment of now of which nothing comes. */
  feed(): void {
    const { clock } = this;
    const fragment = { kind: 'fragment' as const, data: new Uint8Array(1000), key: true };
    this.analyser.media({ ...fragment, startMs: clock.now(), startTicks: clock.ms });
  }

  async cross(stepMs = 200): Promise<void> {
    for (let x = 0; x <= 280; x += 20) {
      this.clock.advance(stepMs);
      await this.show(x);
    }
  }

  async quiet(ms: number, stepMs = 200): Promise<void> {
    for (let at = 0; at < ms; at += stepMs) {
      this.clock.advance(stepMs);
      await this.show(null);
    }
  }
}

describe('analysis of a stream', () => {
  it('makes one event of one crossing, and each picture has the time it was taken at', async () => {
    const bench = new Bench('full');
    await bench.quiet(3000);
    const begun = bench.clock.now();
    await bench.cross();
    const over = bench.clock.now();
    await bench.quiet(4000);
    const phases = bench.events.map(({ phase }) => phase);
    assert.deepEqual([...new Set(phases)], ['start', 'update', 'end']);
    assert.equal(phases.filter((phase) => phase === 'start').length, 1);
    const end = bench.events.at(-1)!;
    assert.ok(end.phase === 'end' && Math.abs(end.start - begun) <= 800 && Math.abs(end.end! - over) <= 600);
    assert.ok(bench.events.every(({ at }) => at > begun && at <= bench.clock.now()));
    bench.analyser.close();
  });

  it('closes an event when the camera goes away, and when it is closed itself', async () => {
    for (const away of [(bench: Bench) => bench.clock.advance(8000), (bench: Bench) => bench.analyser.close()]) {
      const bench = new Bench('full');
      await bench.quiet(3000);
      await bench.cross();
      assert.notEqual(bench.events.at(-1)!.phase, 'end');
      const last = bench.clock.now();
      away(bench);
      const end = bench.events.at(-1)!;
      assert.ok(end.phase === 'end' && end.end! <= last);
      bench.analyser.close();
      assert.equal(bench.events.filter(({ phase }) => phase === 'end').length, 1);
    }
  });

  it('wants keyframes while nothing happens, what was between them when one differs, and keyframes again', async () => {
    const bench = new Bench('adaptive');
    await bench.quiet(8000, 1000);
    assert.deepEqual(bench.wants, []);
    const last = bench.clock.now();
    bench.clock.advance(1000);
    await bench.show(100);
    assert.deepEqual(bench.wants, [last]);
    // What comes again, from that keyframe on: the first is known already.
    bench.clock.ms -= 1000;
    await bench.show(null);
    await bench.cross(100);
    await bench.quiet(8000);
    assert.deepEqual(bench.wants, [last, null]);
    assert.deepEqual([...new Set(bench.events.map(({ phase }) => phase))], ['start', 'update', 'end']);
    bench.analyser.close();
  });

  it('looks at keyframes only while the machine is too slow, says so, and comes back', async () => {
    const bench = new Bench('full');
    assert.deepEqual(bench.wants, [-Infinity]);
    await bench.quiet(2000);
    bench.decoders.at(-1)!.stuck = true;
    for (let i = 0; i < 5; i++) await bench.show(null, true, 1024 * 1024);
    assert.equal(bench.wants.at(-1), null);
    assert.equal(bench.decoders.length, 2, 'what waits is too old');
    assert.ok(bench.decoders[0]!.killed);
    assert.deepEqual([bench.states.at(-1)!.slow, bench.states.at(-1)!.mode], [true, 'keyframes']);
    await bench.quiet(31_000, 1000);
    assert.ok(typeof bench.wants.at(-1) === 'number');
    bench.clock.advance(1000);
    assert.deepEqual([bench.states.at(-1)!.slow, bench.states.at(-1)!.mode], [false, 'full']);
    bench.analyser.close();
  });

  it('tells why nothing can be decoded, and tries again', async () => {
    const bench = new Bench('full');
    await bench.quiet(1000);
    const [decoder] = bench.decoders;
    decoder!.stderr.write('Invalid data found when processing input\n');
    await turn();
    decoder!.emit('close', 1);
    assert.match(bench.states.at(-1)!.problem!, /cannot be decoded: Invalid data found/);
    bench.clock.advance(3000);
    assert.equal(bench.decoders.length, 2);
    await bench.quiet(1000);
    bench.clock.advance(1000);
    assert.equal(bench.states.at(-1)!.problem, null);
    bench.analyser.close();
  });

  it('ends a decoder that is fed and shows nothing, and takes longer each time to try again', async () => {
    const bench = new Bench('full');
    await bench.quiet(1000);
    const starts: number[] = [];
    for (let ms = 0; ms < 120_000; ms += 200) {
      const { length } = bench.decoders;
      bench.feed();
      bench.clock.advance(200);
      if (bench.decoders.length > length) starts.push(bench.clock.ms);
    }
    assert.match(bench.states.at(-1)!.problem!, /makes no pictures/);
    assert.ok(bench.decoders.slice(0, -1).every(({ killed }) => killed));
    const waits = starts.slice(1).map((at, i) => at - starts[i]!);
    assert.ok(waits.length >= 3 && waits.every((ms, i) => ms > (waits[i - 1] ?? 15_000)), waits.join());
    bench.analyser.close();
  });
});

describe('the decoder', () => {
  it('makes small pictures of any shape', () => {
    assert.deepEqual(analysisSize({ width: 1920, height: 1080 }), { width: 320, height: 180 });
    assert.deepEqual(analysisSize({ width: 640, height: 480 }), { width: 320, height: 240 });
    assert.deepEqual(analysisSize({ width: 1080, height: 1920 }), { width: 180, height: 320 });
    assert.deepEqual(analysisSize({ width: 160, height: 90 }), { width: 160, height: 90 });
    assert.deepEqual(analysisSize({ width: 8000, height: 20 }), { width: 320, height: 16 });
  });

  it('is told nothing that it would have to find out, and holds no picture back', () => {
    const args = greyArgs({ width: 320, height: 180 }).join(' ');
    assert.match(args, /-analyzeduration 0 -fpsprobesize 0 -max_pixels 67108864 -copyts -f mp4 -i pipe:0/);
    assert.match(args, /-c:v rawvideo -threads 1 -f rawvideo -flush_packets 1 pipe:1$/);
  });
});
