import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { decodeGopIndex, encodeGopIndex } from '../../engine/catalog/gop-index.ts';
import { computeCoverage, mergeRanges, subtractRanges } from '../../engine/catalog/coverage.ts';
import { copyRebased, FragmentParser, parseFragment, type Fragment } from '../../engine/media/fragment.ts';
import { GopRing, type TimedFragment } from '../../engine/media/gop-ring.ts';
import { codecsOf, type InitSegment } from '../../engine/media/init-segment.ts';
import { mergeEntries } from '../../engine/media/init-segment.ts';

function parse(stream: Buffer, chunk: number): { init: InitSegment; fragments: Fragment[] } {
  let init: InitSegment | null = null;
  const fragments: Fragment[] = [];
  const parser = new FragmentParser(
    (found) => (init = found),
    (fragment) => fragments.push(fragment),
  );
  for (let at = 0; at < stream.length; at += chunk) parser.push(stream.subarray(at, at + chunk));
  assert.ok(init);
  return { init, fragments };
}

describe('fragment parser', () => {
  let stream: Buffer;
  before(() => {
    const input = ['-f', 'lavfi', '-i', 'testsrc2=size=160x90:rate=25:duration=3'];
    const sound = ['-f', 'lavfi', '-i', 'sine=duration=3', '-c:a', 'aac', '-c:v', 'libx264', '-preset', 'ultrafast'];
    const output = ['-g', '25', '-f', 'mp4', '-movflags', '+empty_moov+default_base_moof+frag_keyframe', 'pipe:1'];
    const made = spawnSync('ffmpeg', ['-v', 'error', ...input, ...sound, '-frag_duration', '200000', ...output]);
    assert.equal(made.status, 0, made.stderr.toString());
    stream = made.stdout;
  });

  it('finds the same fragments however the bytes are cut', () => {
    const whole = parse(stream, stream.length);
    assert.equal(codecsOf(whole.init).split(',')[1], 'mp4a.40.2');
    assert.match(codecsOf(whole.init), /^avc1\.[0-9a-f]{6},/);
    assert.equal(
      whole.fragments.reduce((sum, fragment) => sum + fragment.frames, 0),
      75,
    );
    assert.equal(whole.fragments.filter((fragment) => fragment.key).length, 3);
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (chunk) => {
        const cut = parse(stream, chunk);
        assert.deepEqual(
          cut.fragments.map(({ data }) => data.length),
          whole.fragments.map(({ data }) => data.length),
        );
      }),
      { numRuns: 20 },
    );
  });

  it('rebases decode times', () => {
    const { init, fragments } = parse(stream, stream.length);
    const last = fragments.at(-1)!;
    const copy = Buffer.alloc(last.data.length);
    copyRebased(last, init, last.startTicks, copy, 0);
    assert.equal(parseFragment(copy, init.video.id).startTicks, 0);
    assert.equal(parseFragment(copy, init.video.id).durationTicks, last.durationTicks);
  });

  it('refuses what is not MP4', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 400 }), (bytes) => {
        const parser = new FragmentParser(
          () => undefined,
          () => undefined,
        );
        try {
          parser.push(Buffer.from(bytes));
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'bad-media');
        }
      }),
    );
  });
});

describe('GOP ring', () => {
  const fragment = (startMs: number, key: boolean, bytes = 10): TimedFragment => ({
    ...{
      data: Buffer.alloc(bytes),
      startTicks: startMs,
      tickMs: 1,
      durationTicks: 100,
      frames: 1,
      key,
      decodeTimes: [],
      sampleCounts: [],
    },
    ...{ startMs, endMs: startMs + 100 },
  });

  it('keeps whole GOPs for the time it is asked to', () => {
    const ring = new GopRing();
    ring.keepMs = 2000;
    for (let t = 0; t < 10_000; t += 100) ring.push(fragment(t, t % 1000 === 0));
    const kept = ring.since(8500);
    assert.equal(kept[0]!.startMs, 8000);
    assert.ok(kept[0]!.key);
    assert.ok(ring.since(0)[0]!.startMs >= 6000);
  });

  it('never holds more bytes than it may', () => {
    const ring = new GopRing(1000);
    ring.keepMs = 1e9;
    for (let t = 0; t < 100_000; t += 100) ring.push(fragment(t, t % 500 === 0, 50));
    assert.ok(ring.since(0).reduce((sum, { data }) => sum + data.length, 0) <= 1000);
  });
});

describe('GOP index and coverage', () => {
  it('survives encoding', () => {
    const nat = fc.nat({ max: 2 ** 40 });
    const gop = fc.record({ bytes: nat, durationTicks: nat, frames: nat }, { noNullPrototype: true });
    fc.assert(
      fc.property(
        fc.record({ timescale: nat, offset: nat, gops: fc.array(gop) }, { noNullPrototype: true }),
        (index) => {
          assert.deepEqual(decodeGopIndex(encodeGopIndex(index)), index);
        },
      ),
    );
  });

  it('loses nothing when entries are merged', () => {
    const entry = fc.record({ bytes: fc.nat(), durationTicks: fc.nat() });
    fc.assert(
      fc.property(fc.array(entry), fc.integer({ min: 1, max: 300 }), (entries, most) => {
        const merged = mergeEntries(entries, most);
        assert.ok(merged.length <= most);
        assert.equal(
          merged.reduce((sum, { bytes }) => sum + bytes, 0),
          entries.reduce((sum, { bytes }) => sum + bytes, 0),
        );
      }),
    );
  });

  it('puts every moment of a range in exactly one place', () => {
    const range = fc.record({ start: fc.nat(1000), length: fc.integer({ min: 1, max: 300 }) });
    fc.assert(
      fc.property(fc.array(range), fc.array(range), (recorded, missing) => {
        const window = { camera: 'a', stream: 'main' as const, start: 100, end: 900 };
        const toRange = ({ start, length }: { start: number; length: number }): { start: number; end: number } => ({
          start,
          end: start + length,
        });
        const gaps = missing.map((gap) => ({ ...toRange(gap), cause: 'stalled' as const }));
        const told = computeCoverage(window, recorded.map(toRange), gaps, 10_000);
        const length = (ranges: readonly { start: number; end: number }[]): number =>
          ranges.reduce((sum, { start, end }) => sum + end - start, 0);
        const unique = mergeRanges(told.gaps, window);
        assert.equal(length(told.recorded) + length(unique) + length(told.unscheduled), 800);
        assert.deepEqual(
          subtractRanges(window, mergeRanges([...told.recorded, ...unique, ...told.unscheduled], window)),
          [],
        );
      }),
    );
  });
});
