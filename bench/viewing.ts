/**
 * What people see, in a real Chromium: how soon a live picture comes and how old it is, whether a seek shows the frame that
 * was asked for, how many views go at once; and whether viewers cost the server memory. Frames count in the picture, and
 * the cameras note when each was sent.
 */
import { setTimeout as wait } from 'node:timers/promises';
import WebSocket from 'ws';
import { clipFrames } from '../test/support/clips.ts';
import { FRAME_MS, Rig } from '../test/support/rig.ts';
import { Viewer, type Shown } from '../test/support/viewer.ts';
import { check, progress, pssMegabytes, type BenchResult, type Check } from './measure.ts';
import type { Options } from './run.ts';

const VIEWS = 10;
const CAMERA = 'cam1';
const CLIP_FRAMES = clipFrames('h264');

const percentile = (values: number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Infinity;

interface Bench {
  rig: Rig;
  viewer: Viewer;
  token: string;
  short: boolean;
}

const live = ({ rig, token }: Bench, camera: string): string =>
  `${rig.red.url.replace('http', 'ws')}/nvr/live/${camera}?token=${token}`;

/** When each frame that was shown was sent: the last time the camera sent one with this number in the clip. */
async function ages({ rig }: Bench, shown: readonly Shown[]): Promise<number[]> {
  const first = (await rig.cameras.stats())[`${CAMERA}-main`]?.first;
  if (first === null || first === undefined) throw new Error('the camera has sent nothing');
  const stamps = await rig.frames({ camera: CAMERA, stream: 'main' });
  return shown.map(({ index, at }) => {
    const sent = stamps.findLast(({ number, sentMs }) => sentMs <= at && (number - first) % CLIP_FRAMES === index);
    if (!sent) throw new Error(`no frame ${index} was sent before it was shown`);
    return at - sent.sentMs;
  });
}

async function openings(bench: Bench): Promise<Check> {
  const times: number[] = [];
  for (let i = 0; i < (bench.short ? 6 : 20); i++) {
    const { view, firstMs } = await bench.viewer.openLive(live(bench, `cam${1 + (i % VIEWS)}`));
    times.push(firstMs);
    await bench.viewer.closeLive(view);
  }
  return check('live picture after opening, slowest', Math.max(...times), 'ms', 1500);
}

async function latency(bench: Bench): Promise<Check> {
  const { view } = await bench.viewer.openLive(live(bench, CAMERA));
  await wait(2000);
  const from = (await bench.viewer.shown(view)).length;
  await wait(bench.short ? 5000 : 20_000);
  const shown = (await bench.viewer.shown(view)).slice(from);
  await bench.viewer.closeLive(view);
  await wait(2500); // until the recording has them too
  const values = await ages(bench, shown);
  progress(`glass to glass: median ${Math.round(percentile(values, 0.5))} ms of ${values.length} frames`);
  return check('glass to glass, p95', percentile(values, 0.95), 'ms', 700);
}

async function manyViews(bench: Bench): Promise<Check[]> {
  const opened = await Promise.all(
    Array.from({ length: VIEWS }, (_, i) => bench.viewer.openLive(live(bench, `cam${i + 1}`))),
  );
  await wait(2000);
  const before = await Promise.all(opened.map(async ({ view }) => (await bench.viewer.shown(view)).length));
  const seconds = 5;
  await wait(seconds * 1000);
  const rates = await Promise.all(
    opened.map(async ({ view }, i) => ((await bench.viewer.shown(view)).length - before[i]!) / seconds),
  );
  const states = await Promise.all(opened.map(({ view }) => bench.viewer.states(view)));
  const steady = states.filter((list) => list.every(([state]) => state === 'connecting' || state === 'playing'));
  for (const { view } of opened) await bench.viewer.closeLive(view);
  progress(`${VIEWS} views: ${rates.map((rate) => rate.toFixed(0)).join(' ')} frames a second`);
  return [
    check('views at once that play without an interruption', steady.length, 'views', VIEWS, 'atLeast'),
    // The page decodes all of them without a GPU, and draws each frame to read its number.
    check('slowest of them', Math.min(...rates), 'frames/s', 10, 'atLeast'),
  ];
}

async function seeks(bench: Bench): Promise<Check[]> {
  const { rig, viewer, token } = bench;
  const end = Date.now() - 3000;
  const start = end - (bench.short ? 17_000 : 60_000);
  const { duration } = await viewer.openRecorded(
    `${rig.red.url}/nvr/vod/${CAMERA}/index.m3u8?start=${start}&end=${end}&token=${token}`,
  );
  const first = (await rig.cameras.stats())[`${CAMERA}-main`]!.first!;
  const stamps = await rig.frames({ camera: CAMERA, stream: 'main' });
  const times: number[] = [];
  const offsets: number[] = [];
  let outside = 0;
  const drifts: number[] = [];
  for (let i = 0; i < (bench.short ? 12 : 50); i++) {
    const time = 1 + Math.random() * (duration - 2);
    const { shown, date } = await viewer.seekTo(time);
    const settled = shown.at(-1)!;
    times.push(shown[0]!.ms);
    // Each frame is on show from its time to the next one's.
    offsets.push(Math.abs(time - settled.mediaTime - FRAME_MS / 2000) * 1000);
    if (shown.some(({ mediaTime }) => Math.abs(mediaTime - time) > 1)) outside++;
    if (date === null) throw new Error('the player knows no date');
    const near = stamps.filter(({ number }) => (number - first) % CLIP_FRAMES === settled.index);
    drifts.push(Math.min(...near.map(({ sentMs }) => Math.abs(sentMs - date))));
  }
  progress(`seeks: median ${Math.round(percentile(times, 0.5))} ms`);
  return [
    check('seek to the first frame, p95', percentile(times, 0.95), 'ms', 500),
    check('seeks that showed a frame of another GOP', outside, 'seeks', 0),
    check('frame on show from the one asked for, p95', percentile(offsets, 0.95) / FRAME_MS, 'frames', 1),
    check('date of the player from when the frame was sent, p95', percentile(drifts, 0.95), 'ms', 500),
  ];
}

/** Connects and takes until the first media. */
function connect(address: string): Promise<WebSocket> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address);
    socket.on('message', (_data, binary) => {
      if (binary) resolve(socket);
    });
    socket.on('error', reject);
  });
}

async function memory(bench: Bench): Promise<Check[]> {
  const { rig } = bench;
  const come = async (times: number): Promise<void> => {
    for (let i = 0; i < times / 10; i++) {
      const sockets = await Promise.all(
        Array.from({ length: 10 }, (_, k) => connect(live(bench, `cam${1 + (k % VIEWS)}`))),
      );
      for (const socket of sockets) socket.terminate();
    }
  };
  /** The least of some seconds: between two collections memory goes up and down. */
  const settled = async (): Promise<number> => {
    let least = Infinity;
    for (let i = 0; i < 6; i++) {
      await wait(500);
      least = Math.min(least, pssMegabytes(rig.red.pid));
    }
    return least;
  };
  await come(bench.short ? 50 : 100);
  const before = await settled();
  await come(200);
  const after = await settled();
  const stalled = await Promise.all(
    Array.from({ length: 20 }, async (_, k) => {
      const socket = await connect(live(bench, `cam${1 + (k % VIEWS)}`));
      socket.pause();
      return socket;
    }),
  );
  await wait(bench.short ? 4000 : 30_000);
  const withStalled = await settled();
  for (const socket of stalled) socket.terminate();
  progress(`memory: ${before.toFixed(0)}, ${after.toFixed(0)}, ${withStalled.toFixed(0)} MB`);
  return [
    check('memory after 200 connects', after / before, 'of before', 1.1),
    check('memory with 20 stalled viewers', withStalled / before, 'of before', 1.1),
  ];
}

export default async function viewing(options: Options): Promise<BenchResult> {
  const names = Array.from({ length: VIEWS }, (_, i) => `cam${i + 1}`);
  progress(`${VIEWS} cameras are recorded`);
  const rig = await Rig.create({
    cameras: Object.fromEntries(names.map((name) => [name, { main: { size: 'sub' as const } }])),
    recorder: { segment: 10 },
  });
  try {
    await rig.red.deploy([...rig.flow(), ...Viewer.flow()]);
    await rig.recordingSince(0);
    const recordingSince = performance.now();
    const { token } = (await rig.red.post('/nvr/token', {
      ...{ nvr: 'nvr-store', cameras: '*', rights: ['playback', 'live'], minutes: 60 },
    })) as { token: string };
    const viewer = await Viewer.open(rig);
    const bench: Bench = { rig, viewer, token, short: options.short };
    const checks: Check[] = [];
    try {
      checks.push(await openings(bench), await latency(bench), ...(await manyViews(bench)));
      await wait(Math.max(0, (bench.short ? 22_500 : 66_000) - (performance.now() - recordingSince)));
      checks.push(...(await seeks(bench)));
      checks.push(check('errors in the page', viewer.problems.length, 'errors', 0));
    } finally {
      await viewer.close();
    }
    checks.push(...(await memory(bench)));
    return { checks };
  } finally {
    await rig.dispose();
  }
}
