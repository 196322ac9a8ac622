import assert from 'node:assert/strict';
import fc from 'fast-check';
import { TimeCheck } from '../../engine/ingest/time-check.ts';
import type { Fragment } from '../../engine/media/fragment.ts';
import { MediaClock, StepDetector } from '../../engine/media/media-clock.ts';

const TIMESCALE = 90_000;
const EPOCH = 1_700_000_000_000;
const PACE_MS = 200;

interface Camera {
  fps: number;
  /** Of its media time, which is so much slower than time. */
  drift: number;
  /** Most of what the network adds at random. */
  jitterMs: number;
  /** When the network is behind, and by how much at most. */
  queue?: { from: number; to: number; ms: number };
  /** Fragments come in bursts of so many ms, as from HLS. */
  burstMs?: number;
}

/** Error in ms at each picture, from the first on. */
function errors(camera: Camera, seconds: number, random: () => number): { t: number; error: number }[] {
  const { fps, drift, jitterMs, queue, burstMs = 0 } = camera;
  const ticksAt = (t: number): number => Math.round((t / (1 + drift) / 1000) * TIMESCALE);
  const clock = new MediaClock(TIMESCALE, EPOCH, 0);
  const told: { t: number; error: number }[] = [];
  let before = -Infinity;
  let arrived = 0;
  for (let t = 0; t < seconds * 1000; t += 1000 / fps) {
    const behind = queue && t >= queue.from && t < queue.to ? queue.ms : 0;
    const sent = burstMs > 0 ? Math.ceil((t + 1) / burstMs) * burstMs : t;
    arrived = Math.max(arrived, sent + behind + jitterMs * random() ** 3);
    const read = Math.ceil(arrived / PACE_MS) * PACE_MS;
    const utc = clock.utc(ticksAt(t));
    assert.ok(utc >= before, `${utc - before} ms after the one before`);
    before = utc;
    told.push({ t, error: utc - EPOCH - t });
    clock.observe(ticksAt(t), EPOCH + read, read);
  }
  return told;
}

const worst = (of: { t: number; error: number }[], from = 0): number =>
  of.reduce((most, { t, error }) => (t >= from ? Math.max(most, Math.abs(error)) : most), 0);

describe('media clock', () => {
  const of = (drift: number): Camera => ({ fps: 25, drift, jitterMs: 30 });

  it('stays with a clock of quartz, whatever the network adds', () => {
    for (const drift of [-0.0001, 0, 0.00005]) assert.ok(worst(errors(of(drift), 1200, Math.random)) <= 100);
  });

  it('finds out that a camera counts pictures instead of time', () => {
    for (const drift of [-0.05, -0.01, -0.004, -0.001, 0.001, 0.004, 0.01, 0.05]) {
      const told = errors(of(drift), 1200, Math.random);
      const unseen = 500 + Math.abs(drift) * 25_000;
      assert.ok(worst(told) < unseen, `${drift}: ${worst(told)} ms before it is seen`);
      assert.ok(worst(told, 600_000) < 100, `${drift}: ${worst(told, 600_000)} ms behind it`);
    }
  });

  it('does not take a queue in the network for drift', () => {
    for (const drift of [0, 0.004]) {
      for (const seconds of [20, 120, 280]) {
        const queue = { from: 600_000, to: 600_000 + seconds * 1000, ms: 2500 };
        const told = errors({ ...of(drift), queue }, 1200, Math.random);
        assert.ok(worst(told, 500_000) < 250, `${drift}, ${seconds} s: ${worst(told, 500_000)} ms`);
      }
    }
  });

  it('finds its time again when it began behind a queue', () => {
    const queue = { from: 0, to: 30_000, ms: 3000 };
    const told = errors({ ...of(0), queue }, 300, Math.random);
    assert.ok(worst(told, 120_000) < 250, `${worst(told, 120_000)}`);
  });

  it('bears bursts, and any camera', () => {
    const camera = fc.record({
      fps: fc.constantFrom(1, 5, 10, 12.5, 15, 25, 30, 60),
      drift: fc.double({ min: -0.02, max: 0.02, noNaN: true }),
      jitterMs: fc.nat(150),
      burstMs: fc.constantFrom(0, 0, 500, 2000, 6000, 10_000),
    });
    fc.assert(
      fc.property(camera, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (of, numbers) => {
        const told = errors(of, 900, () => numbers.next().value as number);
        const bound = 300 + of.burstMs / 10 + 1000 / of.fps;
        assert.ok(worst(told, 700_000) < bound, `${worst(told, 700_000)} ms`);
      }),
      { numRuns: 30 },
    );
  });

  it('moves with the wall clock', () => {
    const clock = new MediaClock(1000, EPOCH, 0);
    for (let t = 0; t <= 60_000; t += 100) clock.observe(t, EPOCH + t, t);
    clock.step(3_600_000);
    for (let t = 60_100; t <= 120_000; t += 100) {
      assert.equal(clock.utc(t), EPOCH + 3_600_000 + t);
      clock.observe(t, EPOCH + 3_600_000 + t, t);
    }
  });

  it('bears media time that stands still', () => {
    const clock = new MediaClock(1000, EPOCH, 0);
    for (let t = 0; t <= 100_000; t += 100) clock.observe(5, EPOCH + t, t);
    assert.ok(Number.isFinite(clock.utc(5)));
  });

  it('tells steps from time passing', () => {
    const steps = new StepDetector(1000, 0);
    assert.equal(steps.check(2000, 1000), 0);
    assert.equal(steps.check(3_603_000, 2000), 3_600_000);
    assert.equal(steps.check(4000, 3000), -3_600_000);
  });
});

describe('times of a camera', () => {
  const FRAGMENT: Fragment = {
    ...{ data: Buffer.alloc(0), key: false, frames: 5, startTicks: 0, durationTicks: 0 },
    ...{ decodeTimes: [], sampleCounts: [] },
  };

  /** What is said of 15 minutes of fragments of 200 ms, whose media is `mediaMs` long at `t` and comes `lateMs` later; and when. */
  function said(
    mediaMs: (t: number) => number,
    {
      lateMs = () => 0,
      frames = 5,
      steady = true,
    }: { lateMs?: (t: number) => number; frames?: number; steady?: boolean } = {},
  ): string | null {
    const [clock, check] = [new MediaClock(TIMESCALE, EPOCH, 0), new TimeCheck(0, steady)];
    const ticksAt = (t: number): number => Math.round((mediaMs(t) / 1000) * TIMESCALE);
    for (let t = 200; t <= 900_000; t += 200) {
      const came = t + lateMs(t);
      const [startTicks, endTicks] = [ticksAt(t - 200), ticksAt(t)];
      // FFmpeg never goes back.
      const durationTicks = Math.max(frames, endTicks - startTicks);
      const wrong = check.look({ ...FRAGMENT, frames, startTicks, durationTicks }, clock, {
        utc: EPOCH + came,
        mono: came,
      });
      if (wrong) return `${wrong.kind} after ${Math.floor(t / 60_000)} min`;
      clock.observe(startTicks + durationTicks, EPOCH + came, came);
    }
    return null;
  }

  it('are used as long as their pace is near to that of time', () => {
    for (const pace of [1, 0.985, 1.015])
      assert.equal(
        said((t) => t * pace),
        null,
      );
    for (const pace of [0.95, 1.05, 1.12])
      assert.equal(
        said((t) => t * pace),
        'pace after 10 min',
      );
    for (const pace of [0.5, 0.8, 1.25, 2])
      assert.equal(
        said((t) => t * pace),
        'pace after 1 min',
      );
  });

  it('are used of what comes in bursts, whatever their pace seems to be', () => {
    assert.equal(
      said((t) => t * 0.8, { steady: false }),
      null,
    );
  });

  it('are not mistaken for those of the network', () => {
    for (const seconds of [120, 200, 300]) {
      const lateMs = (t: number): number => 1000 + 1000 * Math.sin((t / 1000 / seconds) * 2 * Math.PI);
      assert.equal(
        said((t) => t, { lateMs }),
        null,
        `a delay that swings in ${seconds} s`,
      );
    }
    for (const [percent, most] of [
      [2.5, 3000],
      [5, 4000],
      [10, 6000],
    ] as const) {
      const grows = (t: number): number => Math.min(most, (t * percent) / 100);
      assert.equal(
        said((t) => t, { lateMs: grows }),
        null,
        `a queue that grows by ${percent} %`,
      );
      assert.equal(
        said((t) => t, { lateMs: (t) => most - grows(t) }),
        null,
        `one that empties by ${percent} %`,
      );
    }
  });

  it('are not used when they jump', () => {
    const HOUR = 3_600_000;
    assert.equal(
      said((t) => (t < 300_000 ? t : t + HOUR)),
      'jump after 5 min',
    );
    for (const frames of [1, 3, 5]) {
      assert.equal(
        said((t) => (t < 300_000 ? t : Math.max(300_000, t - HOUR)), { frames }),
        'jump after 5 min',
      );
    }
  });

  it('are used when pictures are missing, for they are right', () => {
    // Nobody took them for half a minute: some waited, some are lost, and then it goes on.
    const lateMs = (t: number): number => (t >= 300_000 && t < 304_000 ? 330_000 - t : 0);
    const mediaMs = (t: number): number => (t < 304_000 ? t : t + 26_000);
    const check = new TimeCheck(0, true);
    const clock = new MediaClock(TIMESCALE, EPOCH, 0);
    for (let t = 200; t < 310_000; t += 200) {
      const came = t < 304_000 ? t + lateMs(t) : t + 26_000;
      const [from, to] = [mediaMs(t - 200), mediaMs(t)].map((ms) => Math.round((ms / 1000) * TIMESCALE)) as [
        number,
        number,
      ];
      const now = { utc: EPOCH + came, mono: came };
      assert.equal(check.look({ ...FRAGMENT, startTicks: from, durationTicks: to - from }, clock, now), null);
      clock.observe(to, now.utc, now.mono);
    }
  });
});
