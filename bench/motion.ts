/**
 * What motion detection costs and how soon it tells. Its CPU is compared with that of Debian's `motion` on the same quiet
 * streams, and with that of a bare FFmpeg that decodes the same frames, all at the same time; delays are those of other
 * cameras, where something moves every few seconds. Then the catalogue is asked about a month of activity.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Catalog } from '../engine/catalog/catalog.ts';
import { ActivityLog, cellsOf, MINUTE_MS } from '../engine/motion/activity.ts';
import { greyArgs } from '../engine/motion/grey-decoder.ts';
import { MotionModel } from '../engine/motion/model.ts';
import { DEFAULT_SETTINGS, GRID_HEIGHT, GRID_WIDTH } from '../engine/motion/types.ts';
import { ActivityReader } from '../engine/playback/activity-reader.ts';
import { CatalogReader } from '../engine/playback/catalog-reader.ts';
import type { MotionMessage } from '../engine/types.ts';
import { ensure } from '../scripts/install-needs.ts';
import { FPS, videoClip } from '../test/support/clips.ts';
import { capture, TAB } from '../test/support/flow.ts';
import type { FlowNode } from '../test/support/node-red.ts';
import { Rig, type CameraSetup, type Message } from '../test/support/rig.ts';
import { check, cpuSeconds, progress, tree, type BenchResult, type Check } from './measure.ts';
import type { Options } from './run.ts';

const SIZE = { width: 320, height: 180 };
const GOP_MS = 1000;
const DAYS = 30;

/** Ids are not words that a property may have: Node-RED would take that for a reference. */
function motionNode(id: `detect-${string}`, mode: string): FlowNode {
  return {
    ...{ id, type: 'motion-detect', z: TAB, nvr: 'nvr-store', mode, sensitivity: DEFAULT_SETTINGS.sensitivity },
    ...{ minSize: DEFAULT_SETTINGS.minSize * 100, maxSize: 100, hold: 1, stills: true, drawBoxes: false },
    ...{ levels: false, zones: [], wires: [[`capture-${id}`], []] },
  };
}

/** Every camera of a rig into motion-detect nodes, beside the recorder. */
function flowOf(rig: Rig, nodes: FlowNode[]): FlowNode[] {
  const flow = rig.flow();
  for (const source of flow.filter(({ type }) => type === 'camera-source')) {
    const wires = source['wires'] as string[][];
    wires[0] = [...(wires[0] ?? []), ...nodes.map(({ id }) => id)];
  }
  return [...flow, ...nodes, ...nodes.flatMap(({ id }) => capture(id))];
}

/** Debian's motion: detects on the sub stream, has the main stream for passing through, as the NVR does. */
function startMotion(rig: Rig, folder: string): ChildProcess {
  const cameras = Object.keys(rig.options.cameras);
  const own = cameras.map((camera, i) => {
    const file = join(folder, `camera${i + 1}.conf`);
    const lines = [
      ...[`camera_id ${i + 1}`, `netcam_url ${rig.url(camera, 'sub')}`, `netcam_high_url ${rig.url(camera, 'main')}`],
      ...['width 640', 'height 360', `framerate 5`],
    ];
    writeFileSync(file, `${lines.join('\n')}\n`);
    return `camera ${file}`;
  });
  const lines = ['daemon off', 'webcontrol_port 0', 'stream_port 0', 'picture_output off', 'movie_passthrough on'];
  lines.push(`target_dir ${folder}`, 'log_level 4', ...own);
  writeFileSync(join(folder, 'motion.conf'), `${lines.join('\n')}\n`);
  return spawn('motion', ['-n', '-c', join(folder, 'motion.conf')], { stdio: 'ignore' });
}

/** For each camera the main stream copied to files, and the sub stream decoded to the very frames that are analysed. */
function startBare(rig: Rig, folder: string): ChildProcess[] {
  const args = greyArgs(SIZE);
  const filter = args[args.indexOf('-vf') + 1]!.split(',metadata=')[0]!;
  return Object.keys(rig.options.cameras).flatMap((camera) => {
    const from = (stream: 'main' | 'sub'): string[] => [
      ...['-v', 'error', '-nostdin', '-threads', '1', '-rtsp_transport', 'tcp', '-i', rig.url(camera, stream)],
    ];
    const copy = ['-c', 'copy', '-f', 'segment', '-segment_time', '60', join(folder, `${camera}-%03d.mp4`)];
    const decode = ['-vf', filter, '-fps_mode', 'passthrough', '-threads', '1', '-f', 'rawvideo', '-y', '/dev/null'];
    return [spawn('ffmpeg', [...from('main'), ...copy]), spawn('ffmpeg', [...from('sub'), ...decode])];
  });
}

async function end(processes: ChildProcess[]): Promise<void> {
  const ended = processes.filter((child) => child.exitCode === null && child.signalCode === null);
  await Promise.all(
    ended.map(async (child) => {
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
      await gone;
      clearTimeout(timer);
    }),
  );
}

/** From when the picture that shows it was taken to when the message of the start was on the wire. */
async function delays(rig: Rig, node: string, sinceMs: number): Promise<number[]> {
  const messages = await rig.red.captured<Message<MotionMessage>>(node);
  return messages.flatMap(({ at, msg: { payload } }) =>
    at > sinceMs && payload.type === 'motion' && payload.phase === 'start' ? [at - payload.time] : [],
  );
}

const p95 = (values: number[]): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * 0.95))] ?? Infinity;

/** Time of the model for a picture, in ms, over the frames of a camera's clip. */
async function modelCost(): Promise<number> {
  const clip = await videoClip('h264', 'sub', 'traffic');
  const scale = ['-vf', `fps=5,scale=${SIZE.width}:${SIZE.height}:flags=area,format=gray`, '-f', 'rawvideo', 'pipe:1'];
  const { stdout } = spawnSync('ffmpeg', ['-v', 'error', '-r', `${FPS}`, '-f', 'h264', '-i', clip, ...scale], {
    maxBuffer: 64 * 1024 * 1024,
  });
  const bytes = SIZE.width * SIZE.height;
  const frames = Array.from({ length: Math.floor(stdout.length / bytes) }, (_, i) =>
    stdout.subarray(i * bytes, (i + 1) * bytes),
  );
  const model = new MotionModel(DEFAULT_SETTINGS);
  let time = 0;
  const run = (rounds: number): void => {
    for (let i = 0; i < rounds; i++) for (const pixels of frames) model.step({ time: (time += 200), ...SIZE, pixels });
  };
  run(20); // until it is compiled
  const from = performance.now();
  run(20);
  return (performance.now() - from) / (20 * frames.length);
}

/** A month of a busy scene: people walk about all the time. */
async function month(): Promise<Check[]> {
  const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-activity-'));
  try {
    mkdirSync(folder, { recursive: true });
    const file = join(folder, 'catalog.sqlite');
    const catalog = Catalog.open(file);
    catalog.db.pragma('synchronous = OFF');
    const before = statSync(file).size;
    const start = Math.floor(Date.now() / MINUTE_MS - DAYS * 1440) * MINUTE_MS;
    const walkers = Array.from({ length: 3 }, () => ({ x: Math.random(), y: 0.5, dx: 0.01, dy: 0 }));
    catalog.db.transaction(() => {
      const log = new ActivityLog();
      // A day that is walked anew, stored for each of the days: packing is what takes time.
      const minutes = [];
      for (let second = 0; second <= 86_400; second++) {
        const cells = new Uint8Array((GRID_WIDTH * GRID_HEIGHT) / 8);
        for (const walker of walkers) {
          if (Math.random() < 0.02) walker.dx = (Math.random() - 0.5) * 0.06;
          if (Math.random() < 0.02) walker.dy = (Math.random() - 0.5) * 0.03;
          walker.x = (walker.x + walker.dx + 1) % 1;
          walker.y = Math.min(0.9, Math.max(0.3, walker.y + walker.dy));
          // The upper left corner is where nobody ever walks.
          const box = { x: walker.x * 0.85, y: walker.y, width: 0.06 + Math.random() * 0.03, height: 0.2 };
          cellsOf(box).forEach((byte, i) => (cells[i]! |= byte));
        }
        const minute = log.add(start + second * 1000, cells);
        if (minute) minutes.push(minute);
      }
      for (let day = 0; day < DAYS; day++) {
        for (const minute of minutes)
          catalog.putActivity('cam1', { ...minute, start: minute.start + day * 86_400_000 });
      }
    })();
    catalog.db.pragma('wal_checkpoint(TRUNCATE)');
    const megabytes = (statSync(file).size - before) / 1e6 / DAYS;
    catalog.close();
    const reader = new ActivityReader(new CatalogReader(file));
    const range = { start, end: start + DAYS * 86_400_000 };
    const times = [
      { x: 0.4, y: 0.5, width: 0.2, height: 0.2 }, // busy
      { x: 0, y: 0, width: 0.1, height: 0.1 }, // nobody ever
      { x: 0.95, y: 0.3, width: 0.02, height: 0.05 },
    ].map((box) => {
      const from = performance.now();
      reader.moved('cam1', cellsOf(box), range, 100);
      return performance.now() - from;
    });
    return [
      check('a region in 30 days, slowest', Math.max(...times), 'ms', 100),
      check('activity of a busy camera', megabytes, 'MB a day', 2),
    ];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export default async function motion(options: Options): Promise<BenchResult> {
  ensure(['motion']);
  const number = options.cameras ?? 4;
  const seconds = options.seconds ?? (options.short ? 7 : 60);
  const settleMs = options.short ? 8000 : 30_000;
  const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-motion-'));
  const setup = (scene: 'still' | 'traffic'): Record<string, CameraSetup> =>
    Object.fromEntries(
      Array.from({ length: number }, (_, i) => [
        `${scene}${i + 1}`,
        { main: { size: 'main', scene: 'still' }, sub: { size: 'sub', scene } },
      ]),
    );
  const checks: Check[] = [check('model, a picture of 320x180', await modelCost(), 'ms', 0.3), ...(await month())];
  progress(`${number} quiet cameras, and ${number} with traffic`);
  const others: ChildProcess[] = [];
  process.once('exit', () => others.forEach((child) => child.kill('SIGKILL')));
  const [quiet, traffic] = await Promise.all([
    Rig.create({ cameras: setup('still'), recorder: { segment: 60 } }),
    Rig.create({ cameras: setup('traffic'), recorder: { segment: 60 } }),
  ]);
  try {
    await Promise.all([
      quiet.red.deploy(flowOf(quiet, [motionNode('detect-adaptive', 'adaptive')])),
      traffic.red.deploy(
        flowOf(traffic, [motionNode('detect-full', 'full'), motionNode('detect-adaptive', 'adaptive')]),
      ),
    ]);
    await Promise.all([quiet.recordingSince(0), traffic.recordingSince(0)]);
    const debian = startMotion(quiet, folder);
    const bare = startBare(quiet, folder);
    others.push(debian, ...bare);
    const pidsOf = (children: ChildProcess[]): number[] => children.map(({ pid }) => pid ?? 0);
    const cpu = () => ({
      ours: cpuSeconds(quiet.red.pid),
      node: cpuSeconds(quiet.red.pid) - cpuSeconds(...tree(quiet.red.pid).filter((pid) => pid !== quiet.red.pid)),
      debian: cpuSeconds(...pidsOf([debian])),
      bare: cpuSeconds(...pidsOf(bare)),
    });
    const measure = async () => {
      const before = cpu();
      const from = performance.now();
      await wait(seconds * 1000);
      const after = cpu();
      const died = others.filter(({ exitCode }) => exitCode !== null).length;
      if (died > 0) throw new Error(`${died} of the processes to compare with ended early`);
      const scale = 100 / ((performance.now() - from) / 1000) / number;
      const percent = (of: keyof typeof before): number => (after[of] - before[of]) * scale;
      return { ours: percent('ours'), node: percent('node'), debian: percent('debian'), bare: percent('bare') };
    };
    await wait(settleMs);
    const settledAt = Date.now();
    const adaptive = await measure();
    await quiet.red.deploy(flowOf(quiet, [motionNode('detect-adaptive', 'full')]), 'nodes');
    await wait(settleMs / 3);
    const full = await measure();
    await end(others);
    const until = Date.now();
    await wait(1500); // through a fragment and a batch
    await Promise.all([quiet.red.stop(), traffic.red.stop()]);
    const counts = [
      ...(await quiet.count(settledAt, until)).values(),
      ...(await traffic.count(settledAt, until)).values(),
    ];
    const lost = counts.reduce((sum, count) => sum + count.lost, 0);
    const late = {
      full: await delays(traffic, 'detect-full', settledAt),
      adaptive: await delays(traffic, 'detect-adaptive', settledAt),
    };
    const round = (of: Record<string, number>) =>
      Object.fromEntries(Object.entries(of).map(([name, value]) => [name, Math.round(value * 100) / 100]));
    checks.push(
      check('adaptive, quiet scene: CPU against motion', adaptive.ours / adaptive.debian, 'x', 0.6),
      check('full: CPU against bare ffmpeg', full.ours / full.bare, 'x', 1.2),
      check('full: picture to message of the start, p95', p95(late.full), 'ms', 350),
      check('adaptive: picture to message of the start, p95', p95(late.adaptive), 'ms', GOP_MS + 350),
      check('frames lost by the recording', lost, 'frames', 0),
      check('events measured', Math.min(late.full.length, late.adaptive.length), 'events', number * 2, 'atLeast'),
    );
    return {
      checks,
      details: {
        ...{ cameras: number, seconds },
        percentOfACoreACamera: { adaptive: round(adaptive), full: round(full) },
        delaysMs: { full: late.full.map(Math.round), adaptive: late.adaptive.map(Math.round) },
      },
    };
  } finally {
    await end(others);
    await Promise.all([quiet.dispose(), traffic.dispose()]);
    await rm(folder, { recursive: true, force: true });
  }
}
