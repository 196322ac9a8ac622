import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { FragmentParser } from '../../engine/media/fragment.ts';
import { GopRing, type TimedFragment } from '../../engine/media/gop-ring.ts';
import type { InitSegment } from '../../engine/media/init-segment.ts';
import { nextBoundary } from '../../engine/recording/segment-path.ts';
import { Track, type Demanded, type TrackOutput } from '../../engine/recording/track.ts';
import type { GapCause, RecordingMessage } from '../../engine/types.ts';

/** A fragment, and the time between two. */
const STEP_MS = 200;
const FRAGMENTS_PER_GOP = 5;
const T0 = Date.UTC(2026, 0, 1);
const CONTINUOUS: Demanded = { trigger: 'continuous', preRollMs: 0 };

/** Of a real stream, made once. */
let INIT: InitSegment;

function makeInit(): InitSegment {
  const input = [
    '-f',
    'lavfi',
    '-i',
    'testsrc2=size=64x36:rate=5:duration=1',
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
  ];
  const output = ['-f', 'mp4', '-movflags', '+empty_moov+default_base_moof+frag_keyframe', 'pipe:1'];
  const made = spawnSync('ffmpeg', ['-v', 'error', ...input, ...output]);
  assert.equal(made.status, 0, made.stderr.toString());
  const found: InitSegment[] = [];
  new FragmentParser(
    (init) => found.push(init),
    () => undefined,
  ).push(made.stdout);
  return found[0]!;
}

interface File {
  id: string;
  path: string;
  bytes: number;
  start: number;
  end: number | null;
}

/** A track with a clock of its own, a disk that does what it is told, and all that it says written down. */
class Bench {
  utc = T0;
  mono = 1000;
  ticks = 0;
  index = 0;
  full = false;
  lostOnClose = false;
  onProblem: (cause: string | null) => void = () => undefined;
  behind = false;
  wanted: Demanded | null = CONTINUOUS;
  /** What is filmed from then on is not wanted. */
  until = Infinity;
  /** On the way here. */
  lateMs = 0;
  /** What is wrong about the length of a tick. */
  drift = 0;
  online = true;
  /** The user's command, which takes the wish away. */
  stopped = false;
  readonly ring = new GopRing();
  readonly files: File[] = [];
  readonly gaps = new Map<number, { start: number; end: number | null; cause: GapCause }>();
  readonly messages: RecordingMessage[] = [];
  readonly dropped: string[] = [];
  problem: string | null = null;
  readonly track: Track;
  private readonly stepTicks = (INIT.video.timescale * STEP_MS) / 1000;
  private replies: (() => void)[] = [];
  private nextGap = 1;

  constructor(segmentMs = 10_000, camera = 'yard') {
    const output: TrackOutput = {
      storages: ['/a'],
      open: (id, _storage, path) => void this.files.push({ id, path, bytes: 0, start: this.start, end: null }),
      append: (id, _storage, bytes, fill) => {
        fill(Buffer.alloc(bytes), 0);
        const file = this.files.find((candidate) => candidate.id === id)!;
        const { full } = this;
        if (!full) file.bytes += bytes;
        this.replies.push(() => {
          if (full) this.track.failed(id, 'storage-full', 'full', 0, this.mono);
          else this.track.appended(id);
        });
      },
      close: (id) =>
        void this.replies.push(() => {
          if (this.lostOnClose) this.track.failed(id, 'storage-missing', 'removed', 0, this.mono);
          else this.track.closed(id, null);
        }),
      trim: () => undefined,
      refuses: () => (this.behind ? { cause: 'storage-slow', message: 'slow' } : null),
      startRecording: () => undefined,
      endRecording: () => undefined,
      openSegment: ({ path, startMs }) => {
        this.files.find((file) => file.path === path)!.start = startMs;
      },
      closeSegment: ({ path, endMs }) => {
        this.files.find((file) => file.path === path)!.end = endMs;
      },
      dropSegment: (_storage, path) => void this.dropped.push(path),
      nextGapId: () => this.nextGap++,
      gap: ({ id, start, end, cause }) => void this.gaps.set(id, { start, end, cause }),
      recording: (message) => void this.messages.push(message),
      problem: (problem) => {
        this.problem = problem?.cause ?? null;
        this.onProblem(this.problem);
      },
    };
    this.track = new Track({ camera, stream: 'main', segmentMs }, output, null);
    this.track.run(INIT);
  }

  private start = 0;

  /** Time passes; the camera films if it is online, the disk answers, and every second there is a tick. */
  pass(ms: number): void {
    for (let passed = 0; passed < ms; passed += STEP_MS) {
      this.utc += STEP_MS;
      this.mono += STEP_MS;
      const now = { utc: this.utc, mono: this.mono };
      if (this.online) {
        const endMs = this.utc - this.lateMs;
        const startMs = endMs - STEP_MS;
        const fragment: TimedFragment = {
          ...{
            data: Buffer.alloc(100),
            startTicks: this.ticks,
            durationTicks: this.stepTicks,
            frames: 5,
            decodeTimes: [],
            sampleCounts: [],
          },
          ...{
            key: this.index % FRAGMENTS_PER_GOP === 0,
            startMs,
            endMs,
            tickMs: (STEP_MS / this.stepTicks) * (1 + this.drift),
          },
        };
        this.ring.push(fragment);
        this.track.fragment(fragment, this.ring, this.demandedAt(startMs), now, this.stopped);
        this.index++;
      }
      this.ticks += this.stepTicks;
      for (const reply of this.replies.splice(0)) reply();
      if ((this.utc / STEP_MS) % 5 === 0)
        this.track.tick(this.demandedAt(this.utc - 1000), now, this.online ? null : 'camera-offline', this.stopped);
    }
    for (const reply of this.replies.splice(0)) reply();
  }

  private demandedAt(utc: number): Demanded | null {
    return this.stopped || utc >= this.until ? null : this.wanted;
  }

  /** The wall clock is set: the times of what the camera films from now on are on the new one. */
  step(ms: number): void {
    this.utc += ms;
    this.ring.clear(); // as the camera does
    this.track.clockStep();
  }

  /** The camera comes back: a new run, which begins with a keyframe. */
  reconnect(): void {
    this.online = true;
    this.index = 0;
    this.ring.clear();
    this.track.run(INIT);
  }

  stop(): void {
    this.track.stop(null, this.utc);
    for (const reply of this.replies.splice(0)) reply();
  }

  get kept(): File[] {
    return this.files.filter(({ path }) => !this.dropped.includes(path));
  }
}

describe('track', () => {
  before(() => {
    INIT = makeInit();
  });

  it('begins a file at the first keyframe behind each boundary, and no picture is in two or none', () => {
    const bench = new Bench();
    bench.pass(35_000);
    bench.stop();
    assert.ok(bench.files.length >= 4);
    bench.files.slice(1).forEach((file, i) => {
      const before = bench.files[i]!;
      assert.equal(before.end, file.start);
      const boundary = nextBoundary('yard', before.start, 10_000);
      assert.ok(file.start >= boundary && file.start < boundary + FRAGMENTS_PER_GOP * STEP_MS);
    });
    assert.equal(bench.gaps.size, 0);
    assert.equal(
      bench.files.reduce((sum, { bytes }) => sum + bytes, 0),
      100 * (35_000 / STEP_MS),
    );
  });

  it('cuts a file whose ticks lead away from the time, and leaves neither a hole nor an overlap', () => {
    for (const drift of [-0.01, 0.01]) {
      const bench = new Bench(600_000);
      bench.drift = drift;
      bench.pass(180_000);
      bench.drift = 0; // now it is known
      bench.pass(180_000);
      bench.stop();
      // After 0.5 s of error, and one GOP; the boundary of ten minutes may come in between.
      assert.ok(bench.files.length >= 4 && bench.files.length <= 6, `${bench.files.length} files`);
      bench.files.slice(1).forEach((file, i) => assert.equal(bench.files[i]!.end, file.start));
      assert.equal(bench.gaps.size, 0);
    }
  });

  it('leaves nothing out between two events, however the camera counts', () => {
    for (const drift of [-0.01, 0.01]) {
      const bench = new Bench(600_000);
      bench.drift = drift;
      bench.ring.keepMs = 8000;
      bench.wanted = { trigger: 'event', preRollMs: 0 };
      bench.pass(44_000);
      bench.wanted = null;
      bench.pass(4000);
      bench.wanted = { trigger: 'event', preRollMs: 5000 };
      bench.pass(4000);
      bench.stop();
      assert.ok(bench.files.reduce((sum, { bytes }) => sum + bytes, 0) >= 100 * (52_000 / STEP_MS));
      assert.equal(bench.gaps.size, 0);
    }
  });

  it('ends with the pictures that were filmed until then, however late they come', () => {
    const bench = new Bench(600_000);
    bench.lateMs = 3000;
    bench.wanted = { trigger: 'event', preRollMs: 0 };
    bench.until = T0 + 22_000;
    bench.pass(40_000);
    bench.files.slice(1).forEach((file, i) => assert.equal(bench.files[i]!.end, file.start));
    assert.equal(bench.files.at(-1)!.end, bench.until);
    assert.equal(bench.messages.filter(({ phase }) => phase === 'start').length, 1);
  });

  it('closes the gap of a stall with the first picture behind it', () => {
    const bench = new Bench(600_000);
    bench.pass(10_000);
    bench.online = false;
    bench.pass(4400);
    assert.deepEqual([...bench.gaps.values()], [{ start: T0 + 10_000, end: null, cause: 'camera-offline' }]);
    bench.online = true;
    bench.pass(1000);
    assert.deepEqual([...bench.gaps.values()], [{ start: T0 + 10_000, end: T0 + 14_400, cause: 'camera-offline' }]);
  });

  it('records an event from its pre-roll on, and says how many bytes it has', () => {
    const bench = new Bench();
    bench.ring.keepMs = 4000;
    bench.wanted = null;
    bench.pass(10_000);
    assert.equal(bench.files.length, 0);
    bench.wanted = { trigger: 'event', preRollMs: 3000 };
    const asked = bench.utc;
    bench.pass(5000);
    bench.wanted = null;
    bench.pass(1000);
    const [file] = bench.files;
    assert.ok(file!.start <= asked - 3000 && file!.start > asked - 3000 - FRAGMENTS_PER_GOP * STEP_MS - STEP_MS);
    assert.ok(bench.files.at(-1)!.end! >= asked + 5000 - STEP_MS);
    const end = bench.messages.find(({ phase }) => phase === 'end')!;
    assert.equal(end.trigger, 'event');
    assert.ok(end.bytes > bench.files.reduce((sum, { bytes }) => sum + bytes, 0));
    assert.equal(bench.gaps.size, 0);
  });

  it('records overlapping events as one recording, whose files join', () => {
    const bench = new Bench(5000);
    const event: Demanded = { trigger: 'event', preRollMs: 3000 };
    bench.ring.keepMs = 4000;
    bench.wanted = null;
    bench.pass(10_000);
    // Two triggers, the second within the first one's post-roll: to the track that is one long wish.
    bench.wanted = event;
    bench.pass(12_000);
    bench.wanted = null;
    bench.pass(1000);
    assert.equal(bench.messages.filter(({ phase }) => phase === 'start').length, 1);
    assert.ok(bench.files.length >= 3);
    bench.files.slice(1).forEach((file, i) => assert.equal(bench.files[i]!.end, file.start));

    // The next one's pre-roll reaches back into the last: no more is taken twice than the GOP that was cut.
    const before = bench.files.at(-1)!;
    bench.wanted = event;
    bench.pass(3000);
    bench.stop();
    const next = bench.files.find(({ start }) => start > before.start)!;
    assert.ok(next.start <= before.end! && next.start > before.end! - FRAGMENTS_PER_GOP * STEP_MS);
    assert.equal(bench.messages.filter(({ phase }) => phase === 'start').length, 2);
    assert.equal(bench.gaps.size, 0);
  });

  it('does not end the files of all cameras at once', () => {
    const ends = ['cam1', 'cam2', 'cam3', 'cam4', 'cam5', 'cam6'].map((camera) => {
      const bench = new Bench(20_000, camera);
      bench.pass(25_000);
      bench.stop();
      return bench.files[0]!.end;
    });
    assert.equal(new Set(ends).size, 6, ends.join());
  });

  for (const [where, hour] of [
    ['forward', 3_600_000],
    ['back', -3_600_000],
  ] as const) {
    it(`begins anew when the clock is set ${where} by an hour, and loses no picture`, () => {
      const bench = new Bench();
      bench.pass(7000);
      const last = bench.utc;
      bench.step(hour);
      bench.pass(7000);
      bench.stop();
      const before = bench.files.findLast(({ start }) => start < last && start > T0);
      const after = bench.files[bench.files.indexOf(before!) + 1];
      // Until the next keyframe the file that is open goes on, on the clock that it began with.
      assert.ok(before!.end! >= last && before!.end! <= last + FRAGMENTS_PER_GOP * STEP_MS);
      assert.ok(Math.abs(after!.start - hour - before!.end!) <= STEP_MS);
      const pictures = bench.files.reduce((sum, { bytes }) => sum + bytes, 0);
      assert.equal(pictures, 100 * (14_000 / STEP_MS));
      const gaps = [...bench.gaps.values()];
      assert.deepEqual(
        gaps.map(({ cause }) => cause),
        hour > 0 ? ['clock-step'] : [],
      );
      for (const gap of gaps) assert.deepEqual([gap.start, gap.end], [before!.end, after!.start]);
    });
  }

  it('tells what the user stopped, from the last picture to the first', () => {
    const bench = new Bench();
    bench.pass(5000);
    bench.stopped = true;
    const stopped = bench.utc;
    bench.pass(5000);
    bench.stopped = false;
    bench.pass(3000);
    bench.stop();
    const [gap, ...others] = [...bench.gaps.values()];
    assert.deepEqual(others, []);
    assert.equal(gap!.cause, 'user-stop');
    assert.ok(Math.abs(gap!.start - stopped) <= STEP_MS);
    const next = bench.files.find(({ start }) => start > stopped)!;
    assert.ok(gap!.end! > stopped && next.start - gap!.end! <= STEP_MS, `${next.start - gap!.end!} ms untold`);
  });

  it('waits while the disk is full, goes on by itself, and the gap is what is missing', () => {
    const bench = new Bench();
    bench.pass(12_000);
    const before = bench.files.at(-1)!;
    bench.full = true;
    bench.pass(10_000);
    assert.equal(bench.problem, 'storage-full');
    bench.full = false;
    bench.pass(6000);
    bench.stop();
    assert.equal(bench.problem, null);
    const after = bench.kept.at(-1)!;
    assert.ok(after.start > before.start);
    const gaps = [...bench.gaps.values()];
    assert.equal(gaps.length, 1);
    assert.equal(gaps[0]!.cause, 'storage-full');
    assert.equal(gaps[0]!.end, after.start);
  });

  it('says so when a file that was just ended could not be kept', () => {
    const bench = new Bench();
    const problems: (string | null)[] = [];
    bench.onProblem = (cause) => problems.push(cause);
    while (bench.files.length < 2) bench.pass(STEP_MS);
    bench.lostOnClose = true;
    while (bench.files.length < 3) bench.pass(STEP_MS);
    const [, lost, next] = bench.files;
    assert.deepEqual(problems, ['storage-missing', null]);
    assert.deepEqual([...bench.gaps.values()], [{ start: lost!.start, end: next!.start, cause: 'storage-missing' }]);
  });

  it('tells a gap within 3 to 5 s of its start, from the last picture on', () => {
    const bench = new Bench();
    bench.pass(5000);
    const last = bench.utc;
    bench.online = false;
    bench.pass(2800);
    assert.equal(bench.gaps.size, 0);
    bench.pass(2000);
    assert.deepEqual([...bench.gaps.values()], [{ start: last, end: null, cause: 'camera-offline' }]);
    bench.reconnect();
    bench.pass(2000);
    assert.deepEqual([...bench.gaps.values()], [{ start: last, end: last + 4800, cause: 'camera-offline' }]);
  });

  it('puts every second that is wanted into a file or into a gap, whatever happens', () => {
    const happening = fc.oneof(
      fc.constantFrom(
        'offline',
        'online',
        'full',
        'room',
        'slow',
        'fast',
        'run',
        'stop',
        'start',
        'lost',
        'kept',
        'step',
      ),
      fc.integer({ min: 1, max: 60 }),
    );
    fc.assert(
      fc.property(fc.array(happening, { maxLength: 40 }), (story) => {
        const bench = new Bench();
        bench.pass(2000);
        for (const event of story) {
          if (typeof event === 'number') bench.pass(event * STEP_MS);
          else if (event === 'offline') bench.online = false;
          else if (event === 'online' && !bench.online) bench.reconnect();
          else if (event === 'run' && bench.online) bench.reconnect();
          else if (event === 'full' || event === 'room') bench.full = event === 'full';
          else if (event === 'start') bench.stopped = false;
          else if (event === 'stop') {
            bench.stopped = true;
            bench.pass(1000); // what was stopped for less than a second is not told
          } else if (event === 'lost' || event === 'kept') bench.lostOnClose = event === 'lost';
          else if (event === 'step') bench.step(30_000);
          else if (event === 'slow' || event === 'fast') bench.behind = event === 'slow';
        }
        // In the end all is well again.
        Object.assign(bench, { full: false, behind: false, stopped: false, lostOnClose: false });
        if (!bench.online) bench.reconnect();
        bench.pass(6000);
        bench.stop();
        const told = [...bench.kept.filter(({ end }) => end !== null), ...bench.gaps.values()].sort(
          (a, b) => a.start - b.start,
        );
        let at = T0 + STEP_MS;
        for (const { start, end } of told) {
          // Shorter holes are the rounding of times and one fragment's length.
          assert.ok(start <= at + 300 + STEP_MS, `nothing is told of ${at - T0} to ${start - T0}`);
          at = Math.max(at, end ?? bench.utc);
        }
        assert.ok(at >= bench.utc - FRAGMENTS_PER_GOP * STEP_MS);
        for (const { end } of bench.gaps.values()) assert.notEqual(end, null);
      }),
      { numRuns: 200 },
    );
  });
});
