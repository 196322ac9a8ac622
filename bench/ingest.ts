/**
 * What recording costs, against the least that it can cost: FFmpeg copying the same streams to files.
 *
 * Both run at the same time, against the same cameras, over the same seconds, so that whatever else the machine does is
 * charged to both alike. The yardstick is one `ffmpeg -c copy` per stream, main and sub, into MP4 files of a minute: what
 * people run from a shell script. CPU is that of the whole process trees. Memory is measured when the yardstick has ended,
 * because FFmpeg's libraries would otherwise be shared with it and look half as big; and so is the event loop's delay,
 * because measuring it costs CPU.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Rig, type CameraSetup } from '../test/support/rig.ts';
import { check, cpuSeconds, progress, pssMegabytes, tree, type BenchResult } from './measure.ts';
import type { Options } from './run.ts';

const MAX_RATIO = 1.3;
const MAX_P99_MS = 15;

function bareFfmpeg(url: string, file: string): ChildProcess {
  const input = ['-v', 'error', '-nostdin', '-rtsp_transport', 'tcp', '-i', url];
  const output = ['-c', 'copy', '-f', 'segment', '-segment_time', '60', '-reset_timestamps', '1', `${file}-%03d.mp4`];
  return spawn('ffmpeg', [...input, ...output], { stdio: 'ignore' });
}

async function end(processes: ChildProcess[]): Promise<void> {
  const ended = processes.filter(({ exitCode }) => exitCode === null).map((child) => once(child, 'exit'));
  for (const child of processes) child.kill('SIGTERM');
  await Promise.all(ended);
}

export default async function ingest(options: Options): Promise<BenchResult> {
  const number = options.cameras ?? 8;
  const seconds = options.seconds ?? (options.short ? 10 : 60);
  const loopSeconds = options.short ? 4 : 20;
  // Until start-up is over: connections, Node compiling what has become hot, and its one big clean-up of what Node-RED's
  // start left behind, 20 to 25 s later.
  const settleSeconds = options.short ? 26 : 30;
  const setup: CameraSetup = { main: { size: 'main' }, ...(options.sub ? { sub: { size: 'sub' } } : {}) };
  const names = Array.from({ length: number }, (_, i) => `cam${`${i + 1}`.padStart(2, '0')}`);

  const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-ingest-'));
  const yardstick: ChildProcess[] = [];
  process.once('exit', () => yardstick.forEach((child) => child.kill('SIGKILL')));
  progress(`${number} cameras, ${options.sub ? 'main and sub' : 'main only'}, ${seconds} s`);
  const rig = await Rig.recording({
    cameras: Object.fromEntries(names.map((name) => [name, setup])),
    recorder: { segment: 60 },
  });
  try {
    for (const { camera, stream } of rig.streams) {
      const name = `${camera}-${stream}`;
      yardstick.push(bareFfmpeg(rig.cameras.url(name), join(folder, name)));
    }
    await wait(settleSeconds * 1000);

    const bare = yardstick.map(({ pid }) => pid ?? 0);
    const cpu = () => ({
      ours: cpuSeconds(rig.red.pid),
      bare: cpuSeconds(...bare),
      node: cpuSeconds(rig.red.pid) - cpuSeconds(...tree(rig.red.pid).filter((pid) => pid !== rig.red.pid)),
      cameras: cpuSeconds(rig.cameras.pid),
    });
    const from = Date.now();
    const before = cpu();
    await wait(seconds * 1000);
    const after = cpu();
    const cpuS = (Date.now() - from) / 1000;
    const died = yardstick.filter(({ exitCode }) => exitCode !== null).length;
    if (died > 0) throw new Error(`${died} of the bare ffmpeg processes ended early`);
    await end(yardstick);

    rig.red.measureLoopDelay();
    let pss = 0;
    for (let i = 0; i < loopSeconds; i++) {
      await wait(1000);
      pss = Math.max(pss, pssMegabytes(rig.red.pid));
    }
    await wait(1000);
    const loop = await rig.red.loopDelay();
    const to = Date.now();
    // What was sent until then is on its way through a fragment and a batch for some moments.
    await wait(1000);
    await rig.red.stop();

    const counts = [...(await rig.count(from, to)).values()];
    const sum = (of: 'lost' | 'duplicates' | 'frames') => counts.reduce((total, count) => total + count[of], 0);
    const percent = (of: keyof typeof before) => Math.round(((after[of] - before[of]) / cpuS) * 1000) / 10;
    return {
      checks: [
        check(
          'tree CPU against bare ffmpeg -c copy',
          (after.ours - before.ours) / (after.bare - before.bare),
          'x',
          MAX_RATIO,
        ),
        check('PSS of the tree', pss, 'MB', number >= 20 ? 1024 : 512),
        check('event loop delay p99', loop.p99Ms, 'ms', MAX_P99_MS),
        check('frames lost', sum('lost'), 'frames', 0),
        check('frames recorded twice', sum('duplicates'), 'frames', 0),
      ],
      details: {
        cameras: number,
        streams: rig.streams.length,
        measuredSeconds: seconds,
        frames: sum('frames'),
        percentOfACore: {
          ours: percent('ours'),
          ofItNode: percent('node'),
          bare: percent('bare'),
          cameras: percent('cameras'),
        },
        eventLoop: loop,
      },
    };
  } finally {
    await end(yardstick);
    await rig.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}
