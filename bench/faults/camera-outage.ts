import { setTimeout as wait } from 'node:timers/promises';
import { Rig } from '../../test/support/rig.ts';
import { check, type Check } from '../measure.ts';
import type { Scale } from './scale.ts';

const worst = (values: number[]): number => (values.length === 0 ? Infinity : Math.max(...values));

/** (d) The cameras' server is killed and restarted. */
export async function cameraRestart({ cameras, calmMs, outageMs }: Scale): Promise<Check[]> {
  const rig = await Rig.recording({ cameras });
  try {
    await wait(calmMs);
    const goneAt = Date.now();
    await rig.cameras.kill();
    const told = rig.streams.map(async ({ camera, stream }) => {
      const is = (gap: { camera: string; stream: string; start: number }) =>
        gap.camera === camera && gap.stream === stream && gap.start > goneAt - 2000;
      return rig.waitForGap(is, 10_000);
    });
    const messages = await Promise.all(told);
    await wait(Math.max(0, goneAt + outageMs - Date.now()));
    const backAt = await rig.cameras.restart();
    const again = await rig.recordingSince(backAt);
    await wait(calmMs);
    const closed = rig.streams.map(({ camera, stream }) =>
      rig.waitForGap(
        (gap) => gap.camera === camera && gap.stream === stream && gap.end !== null && gap.end > goneAt,
        5000,
      ),
    );
    await Promise.all(closed);
    await rig.red.stop();

    const errors: number[] = [];
    const unexplained: string[] = [];
    for (const { camera, stream } of rig.streams) {
      const stamps = await rig.frames({ camera, stream });
      const lastBefore = worst(stamps.filter(({ sentMs }) => sentMs <= goneAt + 100).map(({ sentMs }) => sentMs));
      const firstAfter = Math.min(
        ...stamps.filter(({ sentMs }) => sentMs >= backAt - 1000).map(({ sentMs }) => sentMs),
      );
      const gap = rig
        .gaps()
        .find(
          (row) =>
            row.camera === camera && row.stream === stream && row.start > goneAt - 2000 && row.start < goneAt + 5000,
        );
      if (gap?.cause !== 'camera-offline') unexplained.push(`${camera} ${stream}: ${gap?.cause}`);
      errors.push(gap ? Math.abs(gap.start - lastBefore) : Infinity, Math.abs((gap?.end ?? Infinity) - firstAfter));
    }
    return [
      check('d: recording again after the return of the cameras', (again - backAt) / 1000, 's', 2),
      check(
        'd: gap message after the start of the gap',
        worst(messages.map(({ at, msg }) => at - msg.payload.start)) / 1000,
        's',
        5,
      ),
      check('d: error of the gap in the ledger', worst(errors) / 1000, 's', 1),
      check('d: streams without a gap by camera-offline', unexplained.length, 'streams', 0),
    ];
  } finally {
    await rig.dispose();
  }
}

/** (e) The cameras hang: connections stay up, nothing comes. */
export async function cameraHang({ cameras, calmMs }: Scale): Promise<Check[]> {
  const rig = await Rig.recording({ cameras });
  try {
    await wait(calmMs);
    const hungAt = Date.now();
    rig.cameras.pause();
    const offline = Object.keys(rig.options.cameras).map((name) =>
      rig.waitForCamera(({ camera, state }, at) => camera === name && at > hungAt && state !== 'online', 15_000),
    );
    const gaps = rig.streams.map(({ camera, stream }) =>
      rig.waitForGap((gap) => gap.camera === camera && gap.stream === stream && gap.start > hungAt - 2000, 15_000),
    );
    const [noticed, told] = await Promise.all([Promise.all(offline), Promise.all(gaps)]);
    const aliveAt = Date.now();
    rig.cameras.resume();
    const again = await rig.recordingSince(aliveAt);
    const reasons = noticed.filter(({ msg: { payload } }) => 'reason' in payload && payload.reason === 'stalled');
    return [
      check('e: hang noticed', worst(noticed.map(({ at }) => at - hungAt)) / 1000, 's', 10),
      check('e: cameras offline as stalled', reasons.length, 'cameras', noticed.length, 'atLeast'),
      check(
        'e: gap message after the start of the gap',
        worst(told.map(({ at, msg }) => at - msg.payload.start)) / 1000,
        's',
        5,
      ),
      check('e: recording again after the hang', (again - aliveAt) / 1000, 's', 10),
    ];
  } finally {
    await rig.dispose();
  }
}
