import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import sharp from 'sharp';
import { Catalog } from '../../engine/catalog/catalog.ts';
import type { EventCursor } from '../../engine/events/event-query.ts';
import { CatalogReader } from '../../engine/playback/catalog-reader.ts';
import { ActivityReader } from '../../engine/playback/activity-reader.ts';
import { Audience } from '../../engine/playback/audience.ts';
import { BASE_MS, copyPlan, timelapsePlan } from '../../engine/playback/clip-plan.ts';
import { clipArgs, clipBytes, Clips, timelapseArgs } from '../../engine/playback/clips.ts';
import { QueryHost } from '../../engine/playback/query-host.ts';
import { Stills } from '../../engine/playback/stills.ts';
import { Footage } from '../../engine/playback/footage.ts';
import { Ledger } from '../../engine/playback/ledger.ts';
import { mediaPlaylist } from '../../engine/playback/playlist.ts';
import { CHUNK_MS, runsOf, type Chunk, type FilePart, type Run } from '../../engine/playback/runs.ts';
import { joinSorted, type Span } from '../../engine/playback/spans.ts';
import { addFootage, cutFiles, numberedMedia, numberIn, type MadeFile } from '../support/footage.ts';

const TIMESCALE = 90_000;
const T0 = Date.UTC(2026, 4, 4, 12);

/** Files of runs with gaps between them, GOPs from 0.2 to 12 s; the last file may be growing. */
const recordings = fc
  .tuple(
    fc.array(
      fc.record({
        gapMs: fc.constantFrom(0, 0, 0, 3000, 60_000),
        gops: fc.array(fc.integer({ min: 200, max: 12_000 }), { minLength: 1, maxLength: 20 }),
        init: fc.constantFrom(1, 1, 1, 2),
      }),
      { minLength: 1, maxLength: 6 },
    ),
    fc.boolean(),
  )
  .map(([files, growing]): FilePart[] => {
    let at = T0;
    let ticks = 0;
    return files.map(({ gapMs, gops, init }, i) => {
      at += gapMs;
      if (gapMs > 0) ticks = 0;
      const part: FilePart = {
        ...{ segment: i + 1, init, startMs: at, startTicks: ticks, timescale: TIMESCALE, tickMs: 1000 / TIMESCALE },
        gops: gops.map((ms) => ({ bytes: ms, durationTicks: ms * 90, frames: 25 })),
        growing: growing && i === files.length - 1,
      };
      const length = gops.reduce((sum, ms) => sum + ms, 0);
      at += length;
      ticks += length * 90;
      return part;
    });
  });

const ranges = fc
  .tuple(fc.integer({ min: -5000, max: 400_000 }), fc.integer({ min: 1, max: 300_000 }))
  .map(([start, length]) => ({ start: T0 + start, end: T0 + start + length }));

describe('runs of footage', () => {
  it('hold every GOP of the range once, in order, in chunks of bounded length', () => {
    fc.assert(
      fc.property(recordings, ranges, (files, range) => {
        const chunks = runsOf(files, range).flatMap((run) => run.chunks);
        const told = chunks.flatMap(({ segment, firstGop, gops }) =>
          Array.from({ length: gops }, (_, i) => `${segment} ${firstGop + i}`),
        );
        const wanted = files.flatMap((file) => {
          let at = file.startMs;
          return file.gops.flatMap(({ durationTicks }, i) => {
            const start = at;
            at += durationTicks / 90;
            return at > range.start && start < range.end ? [`${file.segment} ${i}`] : [];
          });
        });
        // Only the end of a growing file may be kept back.
        assert.deepEqual(told, wanted.slice(0, told.length));
        const growing = files.find((file) => file.growing)?.segment;
        assert.ok(wanted.slice(told.length).every((name) => name.startsWith(`${growing} `)));
        // And nothing of it where it reaches beyond the range.
        const whole = files.every(
          (file) =>
            !file.growing ||
            file.gops.reduce((at, { durationTicks }) => at + durationTicks / 90, file.startMs) >= range.end,
        );
        if (whole) assert.equal(told.length, wanted.length);
        for (const { gops, durationMs, bytes } of chunks) {
          assert.ok(gops === 1 || durationMs <= CHUNK_MS);
          assert.equal(bytes, Math.round(durationMs)); // a byte for each millisecond here
        }
      }),
    );
  });

  it('are without a seam inside, and begin anew where the codec or the time line does', () => {
    fc.assert(
      fc.property(recordings, ranges, (files, range) => {
        const byId = new Map(files.map((file) => [file.segment, file]));
        const runs = runsOf(files, range);
        for (const { chunks, init } of runs) {
          chunks.slice(1).forEach(({ startTicks }, i) => {
            assert.equal(startTicks, chunks[i]!.startTicks + chunks[i]!.durationTicks);
          });
          assert.ok(chunks.every(({ segment }) => byId.get(segment)!.init === init));
        }
        runs.slice(1).forEach(({ init, chunks }, i) => {
          const before = runs[i]!.chunks.at(-1)!;
          const cut = chunks[0]!.startMs - (before.startMs + before.durationMs) > 1000;
          const restarted = chunks[0]!.startTicks < before.startTicks + before.durationTicks;
          assert.ok(init !== runs[i]!.init || cut || restarted);
        });
      }),
    );
  });

  it('only ever become longer while a file grows', () => {
    fc.assert(
      fc.property(recordings, fc.nat(100), (files, end) => {
        const range = { start: T0, end: T0 + 10_000_000 };
        const [last] = files.slice(-1);
        let before: string[] = [];
        for (let count = 0; count <= last!.gops.length; count++) {
          const now = [...files.slice(0, -1), { ...last!, gops: last!.gops.slice(0, count), growing: true }];
          const text = mediaPlaylist({ runs: runsOf(now, range), final: false }, range, '');
          const lines = text.split('\n').filter((line) => line.endsWith('.m4s') || line.startsWith('#EXTINF'));
          assert.deepEqual(lines.slice(0, before.length), before);
          before = lines;
        }
        const closed = [...files.slice(0, -1), { ...last!, growing: false }];
        const text = mediaPlaylist({ runs: runsOf(closed, range), final: end % 2 === 0 }, range, '');
        const lines = text.split('\n').filter((line) => line.endsWith('.m4s') || line.startsWith('#EXTINF'));
        assert.deepEqual(lines.slice(0, before.length), before);
      }),
    );
  });
});

describe('runs of a camera whose ticks are not as long as they say', () => {
  it('are cut alike, at the times at which it was filmed', () => {
    fc.assert(
      fc.property(recordings, fc.double({ min: -0.05, max: 0.05, noNaN: true }), (files, drift) => {
        const range = { start: T0 - 10_000_000, end: T0 + 10_000_000 };
        const chunks = (tickMs: number): Chunk[] =>
          files.slice(0, 1).flatMap((file) => runsOf([{ ...file, tickMs }], range).flatMap((run) => run.chunks));
        const told = chunks(1000 / TIMESCALE);
        const seen = chunks(((1 + drift) * 1000) / TIMESCALE);
        assert.equal(seen.length, told.length);
        for (const [i, chunk] of seen.entries()) {
          const { startMs, durationMs, ...same } = told[i]!;
          assert.deepEqual(chunk, { ...chunk, ...same });
          const began = files[0]!.startMs;
          assert.ok(Math.abs(chunk.startMs - began - (startMs - began) * (1 + drift)) <= 1);
          assert.ok(Math.abs(chunk.durationMs - durationMs * (1 + drift)) <= 1);
        }
      }),
    );
  });
});

describe('playlists', () => {
  it('follow RFC 8216', () => {
    fc.assert(
      fc.property(recordings, ranges, fc.boolean(), (files, range, final) => {
        const runs = runsOf(files, range);
        const text = mediaPlaylist({ runs, final }, range, '?token=a.b.c');
        const target = Number(/#EXT-X-TARGETDURATION:(\d+)/.exec(text)![1]);
        for (const [, seconds] of text.matchAll(/#EXTINF:([\d.]+),/g)) assert.ok(Math.round(Number(seconds)) <= target);
        assert.equal(text.match(/#EXT-X-DISCONTINUITY/g)?.length ?? 0, Math.max(0, runs.length - 1));
        assert.equal(text.match(/#EXT-X-MAP/g)?.length ?? 0, runs.length);
        assert.equal(text.includes('#EXT-X-ENDLIST'), final);
        for (const line of text.split('\n')) {
          if (line !== '' && !line.startsWith('#')) assert.match(line, /^\d+-\d+-\d+-\d+\.m4s\?token=a\.b\.c$/);
        }
        // What grows would be played from its end otherwise.
        if (!final && runs.length > 0) assert.match(text, /#EXT-X-START:TIME-OFFSET=/);
      }),
    );
  });
});

describe('clip plans', () => {
  it('put the runs one behind the other, without overlap', () => {
    fc.assert(
      fc.property(recordings, ranges, (files, range) => {
        const runs = runsOf(
          files.map((file) => ({ ...file, init: 1, growing: false })),
          range,
        );
        if (runs.length === 0) return;
        const { steps, leadMs, durationMs } = copyPlan(runs, range);
        const chunks = runs.flatMap((run) => run.chunks);
        assert.equal(steps[0]!.atTicks, (TIMESCALE * BASE_MS) / 1000);
        steps.slice(1).forEach(({ atTicks }, i) => {
          const over = atTicks - (steps[i]!.atTicks + chunks[i]!.durationTicks);
          assert.ok(over === 0 || over === 3600);
        });
        const total = chunks.reduce((sum, chunk) => sum + chunk.durationMs, 0);
        assert.ok(leadMs >= BASE_MS && leadMs <= BASE_MS + chunks[0]!.durationMs);
        assert.ok(durationMs <= total - (leadMs - BASE_MS) + runs.length * 40 + 1);
        assert.ok(durationMs <= range.end - range.start + runs.length * 40);
      }),
    );
  });

  it('are as long as the media of what was asked for, however the camera counts', () => {
    const gops = Array.from({ length: 60 }, () => ({ bytes: 1, durationTicks: TIMESCALE, frames: 25 }));
    const file = { segment: 1, init: 1, startMs: T0, startTicks: 0, timescale: TIMESCALE, gops, growing: false };
    for (const drift of [-0.015, 0, 0.015]) {
      const tickMs = ((1 + drift) * 1000) / TIMESCALE;
      const range = { start: T0 + 500, end: T0 + 50_500 };
      const { leadMs, durationMs } = copyPlan(runsOf([{ ...file, tickMs }], range), range);
      assert.ok(Math.abs(durationMs * (1 + drift) - 50_000) < 1);
      assert.ok(Math.abs((leadMs - BASE_MS) * (1 + drift) - 500) < 1);
    }
  });

  it('show no more keyframes in a timelapse than it has frames', () => {
    fc.assert(
      fc.property(recordings, ranges, fc.integer({ min: 10, max: 1000 }), (files, range, speed) => {
        const runs = runsOf(files, range);
        const steps = timelapsePlan(runs, speed, 25);
        steps.slice(1).forEach(({ atTicks }, i) => assert.ok(atTicks - steps[i]!.atTicks >= TIMESCALE));
        assert.equal(steps.length > 0, runs.length > 0);
      }),
    );
  });

  it('become these command lines', () => {
    assert.equal(
      clipArgs({ leadMs: 480, durationMs: 60_000, indexBytes: 200_000 }, '/t/a.mp4').join(' '),
      '-hide_banner -loglevel error -analyzeduration 0 -fpsprobesize 0 -itsoffset -0.480 -copyts -f mp4 -i pipe:0 -map 0 -c copy -t 60.000 -avoid_negative_ts disabled -moov_size 200000 -f mp4 -y /t/a.mp4',
    );
    assert.equal(
      timelapseArgs(480, 4, false, '/t/a.mp4', 9000).join(' '),
      '-hide_banner -loglevel error -max_pixels 67108864 -copyts -f mp4 -i pipe:0 -map 0:v:0 -vf trim=start=0.480,setpts=(PTS-STARTPTS)/4,fps=25 -c:v libx264 -preset veryfast -crf 23 -pix_fmt yuv420p -movflags +faststart -fs 9000 -f mp4 -y /t/a.mp4',
    );
    assert.equal(
      timelapseArgs(480, 60, true, '/t/a.mp4', 9000).join(' '),
      '-hide_banner -loglevel error -max_pixels 67108864 -skip_frame nokey -copyts -f mp4 -i pipe:0 -map 0:v:0 -vf setpts=(PTS-STARTPTS)/25,fps=25 -c:v libx264 -preset veryfast -crf 23 -pix_fmt yuv420p -movflags +faststart -fs 9000 -f mp4 -y /t/a.mp4',
    );
  });
});

describe('clips and stills', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-clips-'));
  let query: QueryHost;
  let clips: Clips;
  let stills: Stills;
  let files: MadeFile[];
  before(() => {
    const file = join(folder, 'catalog.sqlite');
    const catalog = Catalog.open(file);
    const media = numberedMedia({ seconds: 12, width: 320, height: 180, kbps: 300, audio: true });
    files = addFootage(catalog, folder, media, { camera: 'a', startMs: T0, segmentMs: 5000 });
    addFootage(catalog, folder, media, { camera: 'a', startMs: T0 + 60_000, segmentMs: 5000 });
    catalog.close();
    query = new QueryHost({ catalog: file, cache: folder }, () => Promise.reject(new Error('no bucket')));
    clips = new Clips(query, 'ffmpeg', join(folder, 'tmp'));
    const config = { storages: [folder], catalog: file, ffmpegPath: 'ffmpeg' };
    const host = { config, snapshot: () => Promise.reject(new Error('no camera')) };
    stills = new Stills(host, query, join(folder, 'strips'));
  });
  after(async () => {
    clips.close();
    await query.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Numbers of the frames that a player shows. */
  const shown = (file: string): number[] => {
    const args = [
      '-v',
      'error',
      '-i',
      file,
      '-map',
      '0:v',
      '-fps_mode',
      'passthrough',
      '-f',
      'rawvideo',
      '-pix_fmt',
      'gray',
      'pipe:1',
    ];
    const { stdout } = spawnSync('ffmpeg', args, { maxBuffer: 256 * 1024 * 1024 });
    return Array.from({ length: stdout.length / (320 * 180) }, (_, i) => numberIn(stdout.subarray(i * 320 * 180), 320));
  };
  const clip = async (start: number, end: number, speed = 1): Promise<string> => {
    const job = await clips.job({ camera: 'a', stream: 'main', start, end, speed }, Date.now());
    await job.done;
    return job.file;
  };
  const firstMs = (): number => files[0]!.startMs;

  it('begin with the frame that was asked for and end with the last, over files', async () => {
    for (const from of [0, 20, 2480, 4990, 5500]) {
      const numbers = shown(await clip(firstMs() + from, firstMs() + from + 4000));
      assert.ok(Math.abs(numbers[0]! - from / 40) <= 1, `${numbers[0]} for ${from} ms`);
      numbers.slice(1).forEach((number, i) => assert.equal(number, numbers[i]! + 1));
      assert.ok(Math.abs(numbers.length - 100) <= 1, `${numbers.length} frames`);
    }
  });

  it('jump over what is missing', async () => {
    const numbers = shown(await clip(firstMs() + 10_000, firstMs() + 61_520));
    assert.deepEqual(numbers[0], 250);
    const jump = numbers.findIndex((number, i) => i > 0 && number !== numbers[i - 1]! + 1);
    assert.deepEqual([numbers[jump - 1], numbers[jump]], [299, 0]);
    assert.ok(Math.abs(numbers.at(-1)! - 37) <= 2, `ends with ${numbers.at(-1)}`);
  });

  it('are shortened to timelapses', async () => {
    const four = shown(await clip(firstMs() + 2000, firstMs() + 10_000, 4));
    assert.ok(Math.abs(four.length - 50) <= 2 && Math.abs(four[0]! - 50) <= 4, `${four.length} from ${four[0]}`);
    const twenty = shown(await clip(firstMs(), firstMs() + 12_000, 20));
    assert.ok(Math.abs(twenty.length - 15) <= 3, twenty.join());
    assert.ok(
      twenty.every((number) => number % 25 === 0),
      twenty.join(),
    );
  });

  it('have a bound, whatever their speed', async () => {
    const day = (hours: number): Run[] => {
      const gops = hours * 1800; // of 2 s, at 4 Mbit/s
      const size = { bytes: gops * 1e6, frames: gops * 50, durationMs: gops * 2000, durationTicks: gops * 180_000 };
      return [
        { init: 1, timescale: 90_000, chunks: [{ segment: 1, firstGop: 0, gops, startMs: 0, startTicks: 0, ...size }] },
      ];
    };
    assert.equal(clipBytes(day(1), 1), 1.8e9);
    assert.equal(clipBytes(day(24), 2), clipBytes(day(24), 1), 'never more than the footage');
    for (const [speed, gigabytes] of [
      [8, 21.6],
      [10, 3.456],
      [60, 2.88],
      [1000, 0.1728],
    ] as const)
      assert.equal(clipBytes(day(24), speed), Math.round(gigabytes * 1e9), `${speed} times`);

    const request = { camera: 'a', stream: 'main' as const, start: firstMs(), end: firstMs() + 11_000 };
    const small = new Clips(query, 'ffmpeg', join(folder, 'small'), 20_000);
    try {
      for (const speed of [1, 2, 10])
        await assert.rejects(small.job({ ...request, speed }, Date.now()), { code: 'bad-request', message: /GiB/ });
      for (const speed of [1.001, 1.999])
        await assert.rejects(small.job({ ...request, speed }, Date.now()), { code: 'bad-request', message: /speed/ });
    } finally {
      small.close();
    }
  });

  it('that FFmpeg ended at the bound are none', async () => {
    // Where the estimate was too low: it writes as much as it may.
    const full = join(folder, 'full.sh');
    writeFileSync(full, '#!/bin/sh\ncat >/dev/null\nfor file; do :; done\nhead -c 5000000 /dev/zero >"$file"\n', {
      mode: 0o755,
    });
    const bounded = new Clips(query, full, join(folder, 'bounded'), 5_000_000);
    try {
      const request = { camera: 'a', stream: 'main' as const, start: firstMs(), end: firstMs() + 11_000, speed: 2 };
      const job = await bounded.job(request, Date.now());
      await assert.rejects(job.done, { code: 'bad-request', message: /GiB/ });
      assert.deepEqual([job.status.state, existsSync(job.file)], ['failed', false]);
    } finally {
      bounded.close();
    }
  });

  it('are given up when nobody waits any more, and not before', async () => {
    const request = { camera: 'a', stream: 'main' as const, start: firstMs(), end: firstMs() + 11_000, speed: 2 };
    const job = await clips.job(request, Date.now());
    const leave = [clips.wait(job), clips.wait(job)];
    leave[0]!();
    leave[0]!();
    assert.equal(job.ended.signal.aborted, false);
    leave[1]!();
    await assert.rejects(job.done);
    assert.equal(job.status.state, 'failed');
    assert.ok(!existsSync(job.file));
    // Asked for again, it is made again.
    await (
      await clips.job(request, Date.now())
    ).done;
  });

  it('keep their strips: a second process need not make them', async () => {
    const range = { start: firstMs(), end: firstMs() + 10_000, count: 5, width: 80 };
    const made = await stills.strip('a', 'main', range, Date.now());
    assert.equal(made.times.length, 5);
    const config = { storages: [folder], catalog: join(folder, 'catalog.sqlite'), ffmpegPath: 'no-ffmpeg-here' };
    const host = { config, snapshot: () => Promise.reject(new Error('no camera')) };
    const second = new Stills(host, query, join(folder, 'strips'));
    const kept = await second.strip('a', 'main', range, Date.now());
    assert.deepEqual(kept, made);
    await assert.rejects(second.strip('a', 'main', { ...range, count: 6 }, Date.now()));
  });

  it('are made anew while more of the time they show may come, and kept from then on', async () => {
    const ffmpeg = join(folder, 'picture.sh');
    writeFileSync(ffmpeg, '#!/bin/sh\ncat >/dev/null\necho picture\n', { mode: 0o755 });
    const chunk = { segment: 1, firstGop: 0, gops: 1, startMs: T0, durationMs: 1000, bytes: 1, frames: 25 };
    const run = { init: 1, timescale: 90_000, chunks: [{ ...chunk, startTicks: 0, durationTicks: 90_000 }] };
    let made = 0;
    const growing = {
      call: (command: string, _camera: string, _stream: string, wanted: number[], nowMs: number) => {
        if (command === 'keyframes' || command === 'at') made++;
        if (command === 'keyframes')
          return Promise.resolve({ media: new Uint8Array(1), times: wanted.filter((time) => time <= nowMs) });
        return Promise.resolve(command === 'at' ? { runs: [run] } : new Uint8Array(1));
      },
    };
    const host = {
      config: { storages: [folder], catalog: '', ffmpegPath: ffmpeg },
      snapshot: () => Promise.reject(new Error('none')),
    };
    const fresh = new Stills(host, growing as unknown as QueryHost, join(folder, 'growing'));
    const hour = { start: T0, end: T0 + 3_600_000, count: 60, width: 160 };
    const settled = hour.end + 60_001;
    const asked: [nowMs: number, pictures: number, made: number][] = [
      [T0 + 300_000, 6, 1],
      [T0 + 304_999, 6, 1],
      [T0 + 1_800_000, 31, 2],
      [hour.end + 50_000, 60, 3],
      [settled, 60, 4],
      [settled + 86_400_000, 60, 4],
    ];
    for (const [nowMs, pictures, count] of asked) {
      const { times } = await fresh.strip('a', 'main', hour, nowMs);
      assert.deepEqual([times.length, made], [pictures, count], `${(nowMs - T0) / 1000} s`);
    }
    made = 0;
    for (const [afterMs, count] of [
      [0, 1],
      [4000, 1],
      [5000, 2],
      [60_001, 3],
      [86_400_000, 3],
    ] as const) {
      await fresh.at('a', 'main', T0 + 500, null, T0 + 500 + afterMs);
      assert.equal(made, count, `${afterMs} ms`);
    }
  });

  it('show the frame that was on show at that moment', async () => {
    for (const at of [0, 39, 41, 1000, 1999, 4970, 5030, 11_950]) {
      const { image } = await stills.at('a', 'main', firstMs() + at, null, T0 + 200_000);
      const gray = await sharp(image).grayscale().raw().toBuffer();
      // The very first frame of a file with sound lasts half a frame longer.
      const number = numberIn(gray, 320);
      assert.ok(Math.abs(number - Math.floor(at / 40)) <= 1, `${at} ms: ${number}`);
    }
    await assert.rejects(stills.at('a', 'main', T0 + 30_000, null, T0 + 200_000), /nothing is recorded/);
  });
});

describe('audience', () => {
  it('is who asked a moment ago, once for each camera', () => {
    const audience = new Audience();
    for (let i = 0; i < 5; i++) audience.seen('a', 'anna', T0 + i * 4000);
    audience.seen('a', 'bert', T0);
    audience.seen('b', 'anna', T0 + 16_000);
    assert.deepEqual([...audience.counts(T0 + 20_000)].sort(), [
      ['a', 2],
      ['b', 1],
    ]);
    assert.deepEqual([...audience.counts(T0 + 40_000)].sort(), [
      ['a', 1],
      ['b', 1],
    ]);
    assert.deepEqual([...audience.counts(T0 + 90_000)], []);
  });
});

describe('spans', () => {
  it('cover what they covered, and are further apart than what is joined', () => {
    const spans = fc
      .array(fc.tuple(fc.nat(10_000), fc.integer({ min: 1, max: 2000 })))
      .map((all) => all.map(([start, length]): Span => [start, start + length]).sort((a, b) => a[0] - b[0]));
    fc.assert(
      fc.property(spans, fc.nat(500), (all, joinMs) => {
        const window = { start: 1000, end: 9000 };
        const joined = joinSorted(all, window, joinMs);
        joined.slice(1).forEach(([start], i) => assert.ok(start > joined[i]![1] + joinMs));
        for (const [start, end] of all) {
          const [from, to] = [Math.max(start, 1000), Math.min(end, 9000)];
          if (to > from) assert.ok(joined.some((span) => span[0] <= from && span[1] >= to));
        }
      }),
    );
  });
});

describe('footage in files', function () {
  this.timeout(30_000);
  const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-footage-'));
  const media = numberedMedia({ seconds: 12, width: 320, height: 180, kbps: 300 });
  let catalog: Catalog;
  let footage: Footage;
  let ledger: Ledger;
  before(() => {
    const file = join(folder, 'catalog.sqlite');
    catalog = Catalog.open(file);
    const reader = new CatalogReader(file);
    footage = new Footage(reader, folder);
    ledger = new Ledger(reader, footage, new ActivityReader(reader));
  });
  after(() => {
    catalog.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('is one run over files, and another behind a gap', () => {
    addFootage(catalog, folder, media, { camera: 'a', startMs: T0, segmentMs: 5000 });
    addFootage(catalog, folder, media, { camera: 'a', startMs: T0 + 30_000, segmentMs: 5000 });
    const range = { start: T0 + 2500, end: T0 + 34_000 };
    const { runs, final } = footage.playable('a', 'main', range, T0 + 100_000);
    assert.equal(final, true);
    assert.equal(runs.length, 2);
    assert.equal(runs[0]!.chunks[0]!.startMs, T0 + 2000);
    for (const { chunks } of runs) {
      for (const { segment, firstGop, gops, bytes } of chunks) {
        assert.equal(footage.media('a', segment, firstGop, gops).length, bytes);
        assert.throws(() => footage.media('b', segment, firstGop, gops), /not there any more/);
      }
    }
    const { recorded, unscheduled } = ledger.coverage('a', 'main', range, T0 + 100_000);
    assert.deepEqual(recorded, [
      { start: range.start, end: T0 + 12_000 },
      { start: T0 + 30_000, end: range.end },
    ]);
    assert.deepEqual(unscheduled, [{ start: T0 + 12_000, end: T0 + 30_000 }]);
    assert.doesNotThrow(() => ledger.coverage('a', 'main', range, T0 + 100_000, 3));
    assert.throws(() => ledger.coverage('a', 'main', range, T0 + 100_000, 2), { code: 'too-many' });
    assert.throws(() => ledger.coverage('a', 'main', range, T0 + 100_000, 1), { code: 'too-many' });
  });

  it('that is being written ends at its last whole GOP, and is final when nothing can come any more', () => {
    const [file] = cutFiles(media, { camera: 'open', startMs: T0, segmentMs: 60_000, open: true });
    const { path, startMs, init, data, gops } = file!;
    const at = (whole: number): number =>
      data.length - gops.slice(whole).reduce((sum, { bytes }) => sum + bytes, 0) + (whole < gops.length ? 10 : 0);
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), data.subarray(0, at(6)));
    catalog.openSegment({
      ...{ camera: 'open', stream: 'main', storage: folder, path, recordingId: null, init: init.data, startMs },
      startTicks: 0,
    });
    const playable = (end: number, now: number) =>
      footage.playable('open', 'main', { start: T0, end: T0 + end }, T0 + now);
    const length = ({ runs }: { runs: { chunks: { gops: number }[] }[] }): number =>
      runs.flatMap(({ chunks }) => chunks).reduce((sum, chunk) => sum + chunk.gops, 0);
    // Six GOPs are there, the sixth may not be whole, and the fifth may still become part of a longer chunk.
    assert.deepEqual([length(playable(60_000, 6000)), playable(60_000, 6000).final], [4, false]);
    // A range that ended inside of what is there is complete.
    assert.deepEqual([length(playable(3500, 6000)), playable(3500, 6000).final], [4, true]);
    assert.ok(playable(3500, 3600).final, 'however little time has passed');
    // What was not written ten seconds after it was filmed never will be: a camera that went away.
    assert.deepEqual([length(playable(8000, 30_000)), playable(8000, 30_000).final], [6, true]);
    appendFileSync(join(folder, path), data.subarray(at(6)));
    assert.equal(length(playable(60_000, 13_000)), 8);
    const { recorded } = ledger.coverage('open', 'main', { start: T0, end: T0 + 60_000 }, T0 + 13_000);
    assert.deepEqual(recorded, [{ start: T0, end: T0 + 12_000 }]);
  });

  it('is summed up as it comes and goes', () => {
    const [state] = ledger.storage([folder], T0);
    const of = (camera: string) => state!.cameras.find((one) => one.camera === camera);
    assert.equal(of('a')!.files, 6);
    assert.ok(of('a')!.bytes > 100_000);
    const before = of('a')!.bytes;
    const row = catalog.segmentsUnder(folder, 'a/2026-05-04/12')[0]!;
    catalog.dropSegment(folder, row.path);
    const after = ledger.storage([folder], T0 + 20_000)[0]!.cameras.find(({ camera }) => camera === 'a')!;
    assert.deepEqual([after.files, after.bytes], [5, before - row.bytes]);
    const extent = ledger.extents().find(({ camera }) => camera === 'a')!;
    assert.equal(extent.newest, T0 + 42_000);
  });

  it('gives events newest first, page by page, each once', () => {
    for (let i = 0; i < 40; i++) {
      const start = T0 + Math.floor(i / 3) * 1000;
      const camera = i % 2 === 0 ? 'a' : 'open';
      catalog.openGap({ id: 1000 + i, camera, stream: 'main', start, end: start + 10, cause: 'stalled' });
      catalog.startRecording({ id: `rec-${i}`, camera, stream: 'main', trigger: 'event', startMs: start });
    }
    const filter = { cameras: null, types: ['recording', 'gap'] as const, start: 0, end: T0 * 2 };
    const seen: string[] = [];
    let cursor: EventCursor | null = null;
    for (;;) {
      const page = ledger.events(filter, cursor, 7);
      seen.push(...page.events.map(({ id }) => id));
      cursor = page.cursor;
      if (!cursor) break;
    }
    assert.equal(seen.length, 80);
    assert.equal(new Set(seen).size, 80);
  });

  it('counts the events of a timeline where they begin, by kind', () => {
    const base = T0 + 7_200_000;
    const event = { type: 'motion', camera: 'a', source: null, data: {} } as const;
    for (let i = 0; i < 300; i++) catalog.putEvent({ ...event, id: `m${i}`, start: base + 5, end: base + 60 });
    catalog.putEvent({ ...event, id: 'last', start: base + 9_999, end: null });
    catalog.putEvent({ ...event, id: 'next', start: base + 10_000, end: null });
    catalog.putEvent({ ...event, id: 'other', type: 'scene-change', start: base + 5000, end: base + 5000 });
    catalog.startRecording({ id: 'asked', camera: 'a', stream: 'main', trigger: 'event', startMs: base + 3000 });
    catalog.startRecording({ id: 'always', camera: 'a', stream: 'main', trigger: 'continuous', startMs: base + 3000 });
    const range = { start: base, end: base + 10_000 };
    const { lanes } = JSON.parse(ledger.timeline(['a', 'open'], 'main', range, 10, base + 20_000)) as {
      lanes: { events: Record<string, string> }[];
    };
    const counts = Object.entries(lanes[0]!.events).map(([kind, text]) => [kind, [...Buffer.from(text, 'base64')]]);
    assert.deepEqual(Object.fromEntries(counts), {
      motion: [255, 0, 0, 0, 0, 0, 0, 0, 0, 1],
      'scene-change': [0, 0, 0, 0, 0, 1, 0, 0, 0, 0],
      recording: [0, 0, 0, 1, 0, 0, 0, 0, 0, 0],
    });
    assert.deepEqual(lanes[1]!.events, {});
  });

  it('draws the same timeline fine and coarse', () => {
    const range = { start: T0 - 40 * 86_400_000, end: T0 + 86_400_000 };
    const lanes = (width: number): unknown =>
      (JSON.parse(ledger.timeline(['a', 'nobody'], 'main', range, width, T0 + 100_000)) as { lanes: unknown[] }).lanes;
    const gone = [T0 - 9_000_000, T0 - 8_000_000, 'age'];
    catalog.db
      .prepare("INSERT INTO deleted SELECT 1, id, 'main', ?, ?, ?, 0, 1, 1 FROM camera WHERE key = 'a'")
      .run(...gone);
    const coarse = lanes(1000) as { recorded: Span[]; deleted: unknown[] }[];
    assert.deepEqual(coarse[0]!.deleted, [gone]);
    const fine = lanes(100_000) as { recorded: Span[] }[];
    assert.equal(coarse[0]!.recorded.length, 1);
    assert.equal(fine[0]!.recorded[0]![0], coarse[0]!.recorded[0]![0]);
    assert.equal(fine[0]!.recorded.at(-1)![1], coarse[0]!.recorded[0]![1]);
    assert.deepEqual(coarse[1]!.recorded, []);
  });
});
