/**
 * How fast footage is found and delivered from a large catalogue (30 days of 20 cameras, a minute a file), over HTTP, while
 * eight cameras are recorded. The catalogue is generated; the files of one camera's last minutes are real.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Catalog } from '../engine/catalog/catalog.ts';
import { encodeGopIndex } from '../engine/catalog/gop-index.ts';
import { scanSegmentFile } from '../engine/catalog/segment-file.ts';
import { segmentPath } from '../engine/recording/segment-path.ts';
import { videoClip } from '../test/support/clips.ts';
import { Rig } from '../test/support/rig.ts';
import { check, progress, type BenchResult } from './measure.ts';
import type { Options } from './run.ts';

const CAMERAS = 20;
const DAYS = 30;
const FILE_MS = 60_000;
const DAY_MS = 86_400_000;
const MAX_MS = 50;
const REAL_FILES = 5;

/** A minute of 1080p at 4 Mb/s with a keyframe a second, as a recorder would have written it. */
async function realFile(file: string): Promise<void> {
  const clip = await videoClip('h264', 'main');
  mkdirSync(dirname(file), { recursive: true });
  const input = ['-v', 'error', '-stream_loop', '5', '-r', '25', '-f', 'h264', '-i', clip, '-t', '60', '-c', 'copy'];
  const output = ['-f', 'mp4', '-movflags', '+empty_moov+default_base_moof+frag_keyframe'];
  output.push('-frag_duration', '120000', '-y', file);
  const made = spawnSync('ffmpeg', [...input, ...output]);
  if (made.status !== 0) throw new Error(made.stderr.toString());
}

/** Rows for `old01` … `old20`; the last minutes of `old01` have real files. Returns where they end. */
async function fill(catalogFile: string, archive: string): Promise<number> {
  const end = Math.floor(Date.now() / FILE_MS) * FILE_MS - 10 * FILE_MS;
  const template = join(archive, 'template.mp4');
  await realFile(template);
  const scanned = scanSegmentFile(template);
  if (!scanned) throw new Error('the generated file cannot be read');
  const { init, offset, gops } = scanned;
  const index = encodeGopIndex({ timescale: init.video.timescale, offset, gops });
  const catalog = Catalog.open(catalogFile);
  const { db } = catalog;
  db.pragma('synchronous = OFF');
  const files = (DAYS * DAY_MS) / FILE_MS;
  db.transaction(() => {
    db.prepare('INSERT INTO storage (id, path) VALUES (1000, ?)').run(archive);
    db.prepare('INSERT INTO init (id, data) VALUES (1000, ?)').run(init.data);
    for (let camera = 1; camera <= CAMERAS; camera++) {
      const key = `old${`${camera}`.padStart(2, '0')}`;
      db.prepare('INSERT INTO camera (id, key) VALUES (?, ?)').run(1000 + camera, key);
      db.prepare(
        `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @files - 1)
         INSERT INTO segment (camera_id, stream, storage_id, path, init_id, start_ms, end_ms, start_ticks, bytes, frames, gops, state)
         SELECT @camera, 'main', 1000, @key || '/' || i || '.mp4', 1000, @start + i * 60000, @start + (i + 1) * 60000,
           i * 60 * @timescale, 30000000, 1500, @index, 'closed' FROM n WHERE i % 1440 <> 700`,
      ).run({
        ...{ files, camera: 1000 + camera, key, start: end - DAYS * DAY_MS, timescale: init.video.timescale, index },
      });
      db.prepare(
        `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9999)
         INSERT INTO recording (id, camera_id, stream, trigger, start_ms, end_ms)
         SELECT @key || '-' || i, @camera, 'main', 'event', @start + i * @every, @start + i * @every + 20000 FROM n`,
      ).run({ key, camera: 1000 + camera, start: end - DAYS * DAY_MS, every: Math.floor((DAYS * DAY_MS) / 10_000) });
      db.prepare(
        `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @days - 1)
         INSERT INTO gap (camera_id, stream, start_ms, end_ms, cause)
         SELECT @camera, 'main', @start + i * 86400000 + 42000000, @start + i * 86400000 + 42060000, 'camera-offline' FROM n`,
      ).run({ camera: 1000 + camera, days: DAYS, start: end - DAYS * DAY_MS });
    }
    for (let i = 0; i < REAL_FILES; i++) {
      const start = end - (REAL_FILES - i) * FILE_MS;
      const path = segmentPath('old01', 'main', start);
      mkdirSync(dirname(join(archive, path)), { recursive: true });
      spawnSync('ln', ['-f', template, join(archive, path)]);
      db.prepare('UPDATE segment SET path = ?, bytes = ? WHERE camera_id = 1001 AND start_ms = ?').run(
        path,
        statSync(template).size,
        start,
      );
    }
  })();
  catalog.close();
  return end;
}

export default async function playback(options: Options): Promise<BenchResult> {
  const rounds = options.short ? 30 : 200;
  const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-playback-'));
  const archive = join(folder, 'archive');
  const storage = join(folder, 'storage');
  mkdirSync(storage, { recursive: true });
  progress('a catalogue of 864,000 files and 200,000 events is made');
  const end = await fill(join(storage, 'catalog.sqlite'), archive);
  const names = Array.from({ length: 8 }, (_, i) => `cam${i + 1}`);
  progress('8 cameras are recorded');
  const rig = await Rig.recording({
    cameras: Object.fromEntries(names.map((name) => [name, { main: { size: 'main' as const } }])),
    ...{ storage, recorder: { segment: 60 } },
  });
  try {
    const minted = await rig.red.post('/nvr/token', {
      ...{ nvr: 'nvr-store', cameras: '*', rights: ['playback', 'export', 'live', 'admin'], minutes: 60 },
    });
    const headers = { Authorization: `Bearer ${(minted as { token: string }).token}` };
    const get = async (path: string): Promise<{ ms: number; firstMs: number; body: Buffer }> => {
      const from = performance.now();
      const response = await fetch(`${rig.red.url}/nvr/${path}`, { headers });
      const reader = response.body!.getReader();
      const chunks = [(await reader.read()).value ?? new Uint8Array()];
      const firstMs = performance.now() - from;
      for (let read = await reader.read(); !read.done; read = await reader.read()) chunks.push(read.value);
      const body = Buffer.concat(chunks);
      if (response.status !== 200) throw new Error(`${path}: ${response.status} ${body.toString().slice(0, 300)}`);
      return { ms: performance.now() - from, firstMs, body };
    };
    /** The 95th percentile of so many requests, each for another place, after a few that warm up. */
    const p95 = async (path: (i: number) => string, of: 'ms' | 'firstMs' = 'ms'): Promise<number> => {
      for (let i = 0; i < 5; i++) await get(path(rounds + i));
      const times: number[] = [];
      for (let i = 0; i < rounds; i++) times.push((await get(path(i)))[of]);
      return times.sort((a, b) => a - b)[Math.floor(times.length * 0.95)] ?? Infinity;
    };
    const all = Array.from({ length: CAMERAS }, (_, i) => `old${`${i + 1}`.padStart(2, '0')}`).join(',');
    const day = (i: number): number => end - ((i * 7) % (DAYS - 1)) * DAY_MS;
    const recordedFrom = Date.now() + 1000;
    rig.red.measureLoopDelay();
    const figures = {
      'timeline of 24 h, 20 cameras': await p95(
        (i) => `api/timeline?cameras=${all}&start=${day(i) - DAY_MS}&end=${day(i)}`,
      ),
      'timeline of 30 days, one camera': await p95((i) => {
        const camera = `old${`${(i % CAMERAS) + 1}`.padStart(2, '0')}`;
        return `api/timeline?cameras=${camera}&start=${end - DAYS * DAY_MS}&end=${end}`;
      }),
      'playlist of one hour': await p95((i) => `vod/old02/index.m3u8?start=${day(i) - 3_600_000}&end=${day(i)}`),
      'page of events': await p95((i) => `api/events?start=${day(i) - DAY_MS}&end=${day(i)}&types=recording`),
    };
    const list = (await get(`vod/old01/index.m3u8?start=${end - REAL_FILES * FILE_MS}&end=${end}`)).body.toString();
    const parts = list.split('\n').filter((line) => line.endsWith('.m4s'));
    const seek = await p95((i) => `vod/old01/${parts[(i * 37) % parts.length]!}`, 'firstMs');
    const clips: number[] = [];
    for (let i = 0; i < (options.short ? 3 : 4); i++) {
      const start = end - REAL_FILES * FILE_MS + i * FILE_MS + 500;
      clips.push((await get(`clip/old01.mp4?start=${start}&end=${start + 60_000}`)).ms);
    }
    const clipMs = clips.sort((a, b) => a - b)[Math.floor(clips.length / 2)]!;
    await wait(1000);
    const loop = await rig.red.loopDelay();
    const recordedTo = Date.now();
    await wait(1500);
    await rig.red.stop();
    const lost = [...(await rig.count(recordedFrom, recordedTo)).values()].reduce((sum, count) => sum + count.lost, 0);
    return {
      checks: [
        ...Object.entries(figures).map(([name, ms]) => check(`${name}, p95`, ms, 'ms', MAX_MS)),
        check('first bytes of a seek, p95', seek, 'ms', MAX_MS),
        check('60 s clip of 1080p, times real time', 60_000 / clipMs, 'x', 200, 'atLeast'),
        check('frames lost by the recording', lost, 'frames', 0),
        check('event loop delay p99', loop.p99Ms, 'ms', 20),
      ],
      details: { rounds, clipMs: Math.round(clipMs), parts: parts.length },
    };
  } finally {
    await rig.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}
