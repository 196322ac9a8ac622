import { setTimeout as wait } from 'node:timers/promises';
import { Rig } from '../../test/support/rig.ts';
import { check, type Check } from '../measure.ts';
import type { Scale } from './scale.ts';

/** A dip is less than this share of the usual bytes in any two seconds. The clips have a key frame a second, and a window may catch one more or less. */
const LOWEST_SHARE = 0.8;
const WINDOW_MS = 2000;

/** (a) A function node blocks the event loop, with cameras that drop frames when their client does not read for 1 s. */
export async function blockedLoop({ cameras, calmMs, blocksMs, asleep }: Scale): Promise<Check[]> {
  const rig = await Rig.recording({ cameras, impatient: true });
  try {
    const proxy = rig.proxy!;
    await wait(1000);
    const begin = Date.now();
    await wait(calmMs + WINDOW_MS);
    const usual = proxy.lowestRate(begin, Date.now(), calmMs);
    const blocks: { ms: number; from: number; to: number; lowest: number }[] = [];
    for (const ms of blocksMs) {
      const from = Date.now();
      await rig.red.send('block', { ms, asleep });
      // The function node starts when the request is answered; a later request is answered when it ends.
      await rig.red.get('/settings');
      const to = Date.now();
      if (to - from < ms * 0.9) throw new Error(`the event loop was blocked for ${to - from} ms, not ${ms}`);
      await wait(calmMs);
      blocks.push({ ms, from, to, lowest: proxy.lowestRate(from, to + calmMs, WINDOW_MS) });
    }
    await rig.red.stop();
    const checks: Check[] = [];
    for (const { ms, from, to, lowest } of blocks) {
      const seconds = `event loop blocked for ${ms / 1000} s`;
      checks.push(
        check(`a: frames lost, ${seconds}`, await rig.lost(from, to), 'frames', 0),
        check(`a: lowest rate of bytes taken, ${seconds}`, lowest / usual, 'of usual', LOWEST_SHARE, 'atLeast'),
      );
    }
    checks.push(
      check('a: frames lost in all', await rig.lost(begin, blocks.at(-1)!.to + calmMs / 2), 'frames', 0),
      check('a: packets dropped by the cameras', proxy.count.dropped, 'packets', 0),
    );
    return checks;
  } finally {
    await rig.dispose();
  }
}
