import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { systemClock } from '../../engine/clock.ts';
import { snapshotArgs } from '../../engine/ingest/ffmpeg-args.ts';
import { runJob, spawnDecoder, spawnFfmpeg, type Worker } from '../../engine/ingest/ffmpeg-process.ts';
import {
  copyKeyframe,
  copyRebased,
  FragmentParser,
  shiftDecodeTimes,
  type Fragment,
} from '../../engine/media/fragment.ts';
import { codecsOf, fileHeader, type InitSegment } from '../../engine/media/init-segment.ts';
import { openJpeg } from '../../engine/media/jpeg.ts';
import { stillAtArgs } from '../../engine/media/still.ts';
import { Analyser } from '../../engine/motion/analyser.ts';
import { DEFAULT_SETTINGS } from '../../engine/motion/types.ts';
import { Clips } from '../../engine/playback/clips.ts';
import { QueryHost } from '../../engine/playback/query-host.ts';
import { Stills, stripArgs } from '../../engine/playback/stills.ts';
import { EngineError } from '../../engine/types.ts';
import { addFootage, numberedMedia } from '../support/footage.ts';
import { hostileContent, seeded, variantOf } from '../support/hostile-media.ts';

/** `FLOW_NVR_HOSTILE=20` looks at twenty times as many variants, of other seeds. */
const TIMES = Number(process.env.FLOW_NVR_HOSTILE ?? 1);
const SEED = TIMES > 1 ? Math.floor(Math.random() * 2 ** 32) : 15;
const T0 = 1_760_000_000_000;
const TIMEOUT_MS = 15_000;

function made(...args: string[]): Buffer {
  const { stdout, stderr, status } = spawnSync('ffmpeg', ['-v', 'error', ...args], { maxBuffer: 64 * 1024 * 1024 });
  assert.equal(status, 0, stderr.toString());
  return stdout;
}
const fragmented = (size: string, seconds: number, ...codec: string[]): Buffer =>
  made(
    ...['-f', 'lavfi', '-i', `testsrc2=size=${size}:rate=25`, '-t', `${seconds}`, ...codec, '-g', '25', '-bf', '0'],
    ...['-pix_fmt', 'yuv420p', '-f', 'mp4', '-movflags', '+empty_moov+default_base_moof+frag_keyframe'],
    ...['-frag_duration', '120000', 'pipe:1'],
  );
const H264 = ['-c:v', 'libx264', '-preset', 'ultrafast'];
const H265 = ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', 'log-level=none', '-tag:v', 'hvc1'];

/** The media in our parts. What it throws is ours, too. */
function parse(media: Buffer, each: (fragment: Fragment, init: InitSegment) => void): void {
  const parser = new FragmentParser(
    (init) => {
      codecsOf(init);
      fileHeader(init);
    },
    (fragment) => each(fragment, parser.init!),
  );
  for (let at = 0; at < media.length; at += 5000) parser.push(media.subarray(at, at + 5000));
}

describe(`hostile media (seed ${SEED})`, function () {
  this.timeout(120_000 * TIMES);
  const random = seeded(SEED);
  const streams: Record<string, Buffer> = {};
  /** Another camera, that records meanwhile. */
  let other: Worker;
  let otherEnds = 0;
  let otherGaps = 0;
  before(async () => {
    streams.h264 = fragmented('320x180', 3, ...H264);
    streams.h265 = fragmented('320x180', 3, ...H265);
    streams.mjpeg = fragmented('320x180', 3, '-c:v', 'mjpeg', '-q:v', '8');
    other = spawnFfmpeg(
      'ffmpeg',
      [
        ...[
          '-v',
          'error',
          '-re',
          '-f',
          'lavfi',
          '-i',
          'testsrc2=size=320x180:rate=25',
          ...H264,
          '-g',
          '25',
          '-f',
          'mp4',
        ],
        ...['-movflags', '+empty_moov+default_base_moof+frag_keyframe', '-frag_duration', '120000', 'pipe:1'],
      ],
      'pipe',
    );
    const parser = new FragmentParser(
      () => undefined,
      ({ startTicks, durationTicks }) => {
        if (startTicks !== otherEnds) otherGaps++;
        otherEnds = startTicks + durationTicks;
      },
    );
    other.stdout!.on('data', (chunk: Buffer) => parser.push(chunk));
    await once(other.stdout!, 'data');
  });
  after(() => other.kill('SIGKILL'));

  it('ends our parsers with an error of ours, or not at all', () => {
    const outcomes = new Map<string, number>();
    const media = Object.values(streams).map((stream) => stream.subarray(0, 30_000));
    for (let i = 0; i < 9000 * TIMES; i++) {
      const variant = variantOf(media[i % media.length]!, random);
      let outcome = 'read';
      try {
        parse(variant, (fragment, init) => {
          copyKeyframe(fragment);
          copyRebased(fragment, init, 25, Buffer.alloc(fragment.data.length), 0);
          shiftDecodeTimes(Buffer.from(fragment.data), init, 25);
        });
      } catch (error) {
        if (!(error instanceof EngineError)) throw error;
        outcome = error.code;
      }
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    }
    // A generator that only makes one kind of variant would show nothing.
    for (const code of ['read', 'bad-media', 'codec']) assert.ok((outcomes.get(code) ?? 0) > 20, code);
  });

  it('does not make them count to what a box says', () => {
    const media = Buffer.from(streams.h264!);
    // Its samples have nothing of their own, and are four billion.
    const trun = media.indexOf('trun', 0, 'latin1');
    media.writeUInt32BE(0, trun + 4);
    media.writeUInt32BE(0xffff_ffff, trun + 8);
    assert.throws(() => parse(media, () => undefined), { code: 'bad-media' });
  });

  for (const codec of ['h264', 'h265']) {
    it(`leaves analysis able to see what follows: ${codec}`, async () => {
      const fragments: Fragment[] = [];
      let init!: InitSegment;
      parse(streams[codec]!, (fragment, of) => {
        init = of;
        fragments.push({ ...fragment, data: Buffer.from(fragment.data) });
      });
      let seen = -Infinity;
      const nothing = (): void => undefined;
      const analyser = new Analyser(
        'full',
        DEFAULT_SETTINGS,
        { ...{ want: nothing, event: nothing, activity: nothing, state: nothing }, frame: ({ time }) => (seen = time) },
        { clock: systemClock, spawn: spawnDecoder, ffmpegPath: 'ffmpeg', newId: () => 'x' },
      );
      const { timescale, width, height } = init.video;
      analyser.media({ kind: 'init', data: init.data, width, height, timescale });
      const runTicks = fragments.at(-1)!.startTicks + fragments.at(-1)!.durationTicks;
      const push = (round: number, hostile: boolean): void => {
        for (const fragment of fragments) {
          const data = Buffer.alloc(fragment.data.length);
          copyRebased(fragment, init, -round * runTicks, data, 0);
          const startTicks = fragment.startTicks + round * runTicks;
          const sent = { startTicks, startMs: T0 + (startTicks * 1000) / timescale, key: fragment.key };
          analyser.media({ kind: 'fragment', data: hostile ? hostileContent(data, random) : data, ...sent });
        }
      };
      const rounds = 18 * TIMES;
      for (let round = 0; round < rounds; round++) {
        push(round, true);
        while (analyser.backlog > 0 && round % 3 === 2) await wait(5);
      }
      const goodFrom = T0 + (rounds * runTicks * 1000) / timescale;
      for (let round = rounds; seen < goodFrom; round++) {
        push(round, false);
        await wait(200);
      }
      analyser.close();
    });
  }

  it('gives stills and strips, or a reason', async () => {
    const jobs = [snapshotArgs(), stillAtArgs(500), stripArgs(3, 160)];
    const work = Array.from({ length: 90 * TIMES }, (_, i) => ({
      args: jobs[i % jobs.length]!,
      input: variantOf(Object.values(streams)[i % 2]!, random),
    }));
    const worker = async (): Promise<void> => {
      for (let job = work.pop(); job; job = work.pop()) {
        try {
          await runJob('ffmpeg', job.args, { timeoutMs: TIMEOUT_MS, input: job.input });
        } catch (error) {
          if (!(error instanceof EngineError)) throw error;
        }
      }
    };
    await Promise.all([worker(), worker()]);
    const good = await runJob('ffmpeg', snapshotArgs(), { timeoutMs: TIMEOUT_MS, input: streams.h264! });
    assert.ok(good.stdout.length > 0);
  });

  it('refuses pictures larger than cameras make, before it has memory for them', async () => {
    const input = fragmented('12000x6000', 0.04, ...H264);
    for (const args of [snapshotArgs(), stillAtArgs(0), stripArgs(1, 160)]) {
      const { stdout, stderr } = await runJob('ffmpeg', args, { timeoutMs: TIMEOUT_MS, input });
      assert.equal(stdout.length, 0, stderr.join('\n'));
    }
  });

  it('makes clips and stills of damaged files, or says why not, and good ones beside them', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-hostile-'));
    const file = join(folder, 'catalog.sqlite');
    const catalog = Catalog.open(file);
    const media = numberedMedia({ seconds: 4, width: 320, height: 180, kbps: 300 });
    addFootage(catalog, folder, media, { camera: 'good', startMs: T0, segmentMs: 5000 });
    const [bad] = addFootage(catalog, folder, media, { camera: 'bad', startMs: T0, segmentMs: 5000 });
    catalog.close();
    const query = new QueryHost({ catalog: file, cache: folder }, () => Promise.reject(new Error('no bucket')));
    const clips = new Clips(query, 'ffmpeg', join(folder, 'clips'));
    const host = {
      config: { storages: [folder], catalog: file, ffmpegPath: 'ffmpeg' },
      snapshot: () => Promise.reject(new EngineError('offline', 'no camera')),
    };
    const stills = new Stills(host, query, join(folder, 'strips'));
    const valid = readFileSync(join(folder, bad!.path));
    const ours = (error: unknown): void => {
      if (!(error instanceof EngineError)) throw error;
    };
    const clip = async (camera: string, start: number, speed: number): Promise<void> => {
      const job = await clips.job({ camera, stream: 'main', start: T0 + start, end: T0 + 3900, speed }, T0 + 100_000);
      await job.done;
    };
    for (let i = 0; i < 8 * TIMES; i++) {
      const variant = variantOf(valid, random);
      writeFileSync(join(folder, bad!.path), variant);
      await Promise.all([
        clip('bad', i, i % 2 === 0 ? 1 : 4).catch(ours),
        stills.at('bad', 'main', T0 + 1000 + i, null, T0 + 100_000).catch(ours),
        stills.strip('bad', 'main', { start: T0, end: T0 + 3000 + i, count: 3, width: 160 }, T0 + 100_000).catch(ours),
      ]);
    }
    await clip('good', 0, 1);
    assert.ok((await stills.at('good', 'main', T0 + 1000, 160, T0 + 100_000)).image.length > 0);
    clips.close();
    await query.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('leaves this process and the next picture, when it is a JPEG', async () => {
    const jpeg = made(
      '-f',
      'lavfi',
      '-i',
      'testsrc2=size=320x180',
      '-frames:v',
      '1',
      '-f',
      'image2pipe',
      '-c:v',
      'mjpeg',
      'pipe:1',
    );
    const small = async (image: Buffer): Promise<Buffer> =>
      (await openJpeg(image)).resize({ width: 100 }).jpeg().toBuffer();
    for (let i = 0; i < 400 * TIMES; i++) {
      await small(variantOf(jpeg, random)).catch((error: unknown) => assert.ok(error instanceof Error));
    }
    const bomb = Buffer.from(jpeg);
    const frame = bomb.indexOf(Buffer.from([0xff, 0xc0]));
    bomb.writeUInt16BE(65_000, frame + 5);
    bomb.writeUInt16BE(65_000, frame + 7);
    await assert.rejects(small(bomb), /pixel limit/);
    const svg = Buffer.from('<svg xmlns="http://www.w3.org/2000/svg" width="10" height="10"/>');
    await assert.rejects(small(svg), { code: 'bad-media' });
    assert.ok((await small(jpeg)).length > 0);
  });

  it('costs another camera no picture', async () => {
    assert.equal(other.exitCode, null);
    await once(other.stdout!, 'data');
    assert.ok(otherEnds > 0);
    assert.equal(otherGaps, 0);
  });
});
