import { setTimeout as wait } from 'node:timers/promises';
import { FRAME_MS, Rig } from '../../test/support/rig.ts';
import { unplayable } from '../../test/support/media-files.ts';
import { check, type Check } from '../measure.ts';
import type { Scale } from './scale.ts';

/** What an orphan may take to notice that its parent is dead. */
const ORPHAN_MS = 2000;

/** (c) SIGKILL of Node-RED, and its restart. */
export async function killed({ cameras, calmMs }: Scale): Promise<Check[]> {
  const rig = await Rig.recording({ cameras });
  try {
    // Long enough for a finished file beside the one being written.
    await wait(calmMs + 3000);
    const killedAt = Date.now();
    await rig.red.kill();
    await wait(ORPHAN_MS);
    const orphans = rig.red.children().length;
    const before = [...(await rig.count(0, killedAt)).values()];
    const bad = await unplayable(await rig.files());

    const restartedAt = Date.now();
    await rig.red.start();
    const first = await rig.recordingSince(restartedAt);
    await wait(calmMs);
    await rig.red.stop();
    const gaps = rig.gaps();
    const explained = rig.streams.filter(({ camera, stream }) =>
      gaps.some((gap) => {
        if (gap.camera !== camera || gap.stream !== stream || gap.cause !== 'restart' || gap.end === null) return false;
        return Math.abs(gap.start - killedAt) <= 1000 && Math.abs(gap.end - first) <= 1000;
      }),
    );
    const lastMs = before.map(({ last }) => killedAt - (last?.sentMs ?? 0));
    const holes = before.reduce((sum, { missing }) => sum + missing.reduce((n, [from, to]) => n + to - from + 1, 0), 0);
    return [
      check('c: lost before the kill', Math.max(0, Math.max(...lastMs) - FRAME_MS) / 1000, 's', 1),
      check('c: frames lost between files before the kill', holes, 'frames', 0),
      check('c: files that do not play after the kill', bad.length, 'files', 0),
      check('c: orphaned ffmpeg processes', orphans, 'processes', 0),
      check('c: recording again after the restart', (first - restartedAt) / 1000, 's', 3),
      check('c: files that do not play in the end', (await unplayable(await rig.files())).length, 'files', 0),
      check('c: streams whose gap is in the ledger', explained.length, 'streams', rig.streams.length, 'atLeast'),
      check(
        'c: segments still open in the catalogue',
        rig.segments().filter(({ state }) => state === 'open').length,
        'rows',
        0,
      ),
    ];
  } finally {
    await rig.dispose();
  }
}
