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
  online = true;
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

  constructor(segmentMs = 10_000) {
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
          else this.track.closed(id);
        }),
      isBehind: () => this.behind,
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
    this.track = new Track({ camera: 'yard', stream: 'main', segmentMs }, output, null);
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
        const startMs = this.utc - STEP_MS;
        const fragment: TimedFragment = {
          ...{
            data: Buffer.alloc(100),
            startTicks: this.ticks,
            durationTicks: this.stepTicks,
            frames: 5,
            decodeTimes: [],
          },
          ...{ key: this.index % FRAGMENTS_PER_GOP === 0, startMs, endMs: this.utc },
        };
        this.ring.push(fragment);
        this.track.fragment(fragment, this.ring, this.wanted, now);
        this.index++;
      }
      this.ticks += this.stepTicks;
      for (const reply of this.replies.splice(0)) reply();
      if ((this.utc / STEP_MS) % 5 === 0)
        this.track.tick(this.wanted, now, this.online ? null : 'camera-offline', false);
    }
    for (const reply of this.replies.splice(0)) reply();
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
      fc.constantFrom('offline', 'online', 'full', 'room', 'slow', 'fast', 'run'),
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
          else if (event === 'slow' || event === 'fast') bench.behind = event === 'slow';
        }
        // In the end all is well again.
        bench.full = false;
        bench.behind = false;
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
