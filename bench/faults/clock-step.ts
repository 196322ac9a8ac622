import { setTimeout as wait } from 'node:timers/promises';
import { FakeClock } from '../../test/support/fake-clock.ts';
import { lostFrames } from '../../test/support/frames.ts';
import { probe, unplayable } from '../../test/support/media-files.ts';
import { Rig } from '../../test/support/rig.ts';
import { check, type Check } from '../measure.ts';
import type { Scale } from './scale.ts';

const HOUR_S = 3600;
/** From the camera's clock to the engine's look at its own: a fragment's length and the network. */
const ON_THE_WAY_MS = 500;

/** (h) The wall clock steps by an hour, forward and then two hours back. */
export async function clockStep({ cameras, calmMs }: Scale): Promise<Check[]> {
  const clock = await FakeClock.create();
  let rig: Rig | undefined;
  try {
    rig = await Rig.recording({ cameras, env: clock.env });
    const begin = Date.now();
    await wait(calmMs);
    const stepped: { hours: number; at: number }[] = [];
    for (const hours of [1, -1]) {
      await clock.set(hours * HOUR_S);
      stepped.push({ hours, at: Date.now() });
      await wait(calmMs + 2000);
    }
    const end = Date.now() - 1000;
    await rig.red.stop();

    const checks = [check('h: frames lost', await rig.lost(begin, end), 'frames', 0)];
    const files = await rig.files();
    const rows = rig.segments();
    // A step must not stretch a row over an hour that was not filmed, nor put a frame of after the step under the time of before.
    const lengthErrors: number[] = [];
    const timeErrors: number[] = [];
    for (const row of rows) {
      const stamp = new Date(row.start).toISOString().replaceAll(':', '-');
      const file = files.find((name) => name.includes(`${row.camera}/`) && name.endsWith(`${stamp}_${row.stream}.mp4`));
      if (file === undefined || row.end === null) {
        lengthErrors.push(Infinity);
        continue;
      }
      lengthErrors.push(Math.abs(row.end - row.start - (await probe(file)).durationS * 1000));
      const { first } = await lostFrames([file]);
      if (first === null) continue;
      // A frame that was on its way when the clock was set may have the time of before or after.
      const offsets = [0, ON_THE_WAY_MS].map((ms) => stepped.findLast(({ at }) => at <= first.sentMs + ms)?.hours ?? 0);
      timeErrors.push(
        Math.min(...offsets.map((hours) => Math.abs(row.start - (first.sentMs + hours * HOUR_S * 1000)))),
      );
    }
    checks.push(
      check('h: error of a segment’s length in the catalogue', Math.max(...lengthErrors) / 1000, 's', 1),
      // Up to a key frame's distance may pass before a new segment can begin.
      check('h: error of a segment’s start', Math.max(...timeErrors) / 1000, 's', 2),
      check('h: files that do not play', (await unplayable(files)).length, 'files', 0),
      check('h: rows of the catalogue beside files', Math.abs(rows.length - files.length), 'rows', 0),
    );
    return checks;
  } finally {
    await rig?.dispose();
    await clock.dispose();
  }
}
