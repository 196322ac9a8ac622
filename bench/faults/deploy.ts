import { setTimeout as wait } from 'node:timers/promises';
import { TAB } from '../../test/support/flow.ts';
import { Rig } from '../../test/support/rig.ts';
import { check, type Check } from '../measure.ts';
import type { Scale } from './scale.ts';

/** (b) A full Deploy with unchanged cameras, and Deploys that change another node, of each kind. */
export async function deploy({ cameras, calmMs }: Scale): Promise<Check[]> {
  const rig = await Rig.recording({ cameras });
  try {
    const other = (version: number) => ({
      id: 'other',
      type: 'function',
      z: TAB,
      func: `// ${version}`,
      outputs: 0,
      wires: [],
    });
    const checks: Check[] = [];
    const kinds = [
      { what: 'full Deploy, nothing changed', type: 'full', flow: rig.flow() },
      { what: 'full Deploy, another node changed', type: 'full', flow: [...rig.flow(), other(1)] },
      { what: 'Deploy of changed nodes', type: 'nodes', flow: [...rig.flow(), other(2)] },
      { what: 'Deploy of changed flows', type: 'flows', flow: [...rig.flow(), other(3)] },
    ] as const;
    await wait(calmMs);
    const begin = Date.now() - calmMs;
    const times: { what: string; from: number; to: number }[] = [];
    for (const { what, type, flow } of kinds) {
      const from = Date.now();
      await rig.red.deploy([...flow], type);
      await wait(calmMs);
      times.push({ what, from, to: Date.now() });
    }
    await wait(1000);
    await rig.red.stop();
    for (const { what, from, to } of times)
      checks.push(check(`b: frames lost, ${what}`, await rig.lost(from, to), 'frames', 0));
    const counts = [...(await rig.count(begin, times.at(-1)!.to)).values()];
    checks.push(
      check(
        'b: frames lost in all',
        counts.reduce((sum, { lost }) => sum + lost, 0),
        'frames',
        0,
      ),
      check(
        'b: frames recorded twice',
        counts.reduce((sum, { duplicates }) => sum + duplicates, 0),
        'frames',
        0,
      ),
    );
    return checks;
  } finally {
    await rig.dispose();
  }
}
