/** How soon a command to a camera is on the wire, and what listening to many cameras costs. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { OnvifCamera, type CameraEffects } from '../engine/onvif/camera.ts';
import { check, progress, type BenchResult } from './measure.ts';
import type { Ask } from './ptz/cameras.ts';
import type { Options } from './run.ts';

const ACCOUNT = { username: 'admin', password: 'bench' };
/** One whole round of waiting for events, so that every request of an idle camera is counted. */
const IDLE_MS = 31_000;
const nothing = (): void => undefined;
const EFFECTS: CameraEffects = {
  ...{ onTurning: nothing, onEvent: nothing, onNotification: nothing, onPatrol: nothing, onProblem: nothing },
  ...{ onConnected: nothing, onVisit: nothing, onPresets: nothing, onAtPreset: nothing },
};

const open = (address: string, events: boolean): OnvifCamera =>
  new OnvifCamera({ address, account: ACCOUNT, travel: null, events, idleMs: 0 }, EFFECTS);
const now = (): number => performance.timeOrigin + performance.now();
const percentile = (values: readonly number[], part: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(Math.floor(values.length * part), values.length - 1)] ?? NaN;

export default async function bench({ short, cameras = 100 }: Options): Promise<BenchResult> {
  const child = fork(join(import.meta.dirname, 'ptz', 'cameras.ts'));
  const kill = (): boolean => child.kill('SIGKILL');
  process.once('exit', kill);
  const ask = async <T>(question: Ask): Promise<T> => {
    const answer = once(child, 'message');
    child.send(question);
    return ((await answer) as [T])[0];
  };
  try {
    const options = { auth: 'digest' as const, password: ACCOUNT.password, latencyMs: 5 };
    const [address] = await ask<string[]>({ ask: 'start', count: 1, options });
    const camera = open(address!, false);
    await camera.describe();
    const moves: number[] = [];
    for (let i = 0; i < (short ? 100 : 400); i++) {
      const asked = now();
      await camera.execute({ command: 'steer', way: 'move', axes: { pan: 0.5 }, timeoutMs: 2000 });
      const [at] = await ask<number[]>({ ask: 'take', action: 'ContinuousMove' });
      moves.push(at! - asked);
    }
    progress(`moves: median ${percentile(moves, 0.5).toFixed(1)} ms`);
    const stops: number[] = [];
    for (let i = 0; i < (short ? 20 : 60); i++) {
      const steps = Array.from({ length: 50 }, () =>
        camera.execute({ command: 'steer', way: 'relative', axes: { pan: 0.01, tilt: 0 } }),
      );
      await sleep(12);
      const asked = now();
      await camera.execute({ command: 'stop' });
      const [at] = await ask<number[]>({ ask: 'take', action: 'Stop' });
      stops.push(at! - asked);
      await Promise.all(steps);
    }
    progress(`stops: median ${percentile(stops, 0.5).toFixed(1)} ms`);
    await camera.close();

    const addresses = await ask<string[]>({ ask: 'start', count: cameras, options: { ...options, latencyMs: 0 } });
    const all = addresses.map((one) => open(one, true));
    while ((await ask<number>({ ask: 'subscriptions' })) < cameras) await sleep(200);
    await sleep(2000);
    const [from, before] = [performance.now(), process.cpuUsage()];
    await sleep(IDLE_MS);
    const { user, system } = process.cpuUsage(before);
    const core = ((user + system) / 1000 / (performance.now() - from)) * 100;
    await Promise.all(all.map((one) => one.close()));
    return {
      checks: [
        check('a move is on the wire, p95', percentile(moves, 0.95), 'ms', 50),
        check('stop is on the wire with 50 moves waiting, slowest', Math.max(...stops), 'ms', 30),
        check(`${cameras} idle cameras with events`, core, '% of a core', 3),
      ],
      details: { moveMedianMs: percentile(moves, 0.5), stopMedianMs: percentile(stops, 0.5) },
    };
  } finally {
    process.off('exit', kill);
    kill();
  }
}
