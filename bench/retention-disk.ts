/**
 * A disk that is far too small: four cameras fill a tmpfs of 300 MB over and over (with --short one of 120 MB for half a
 * minute), and rules must keep it from ever being full. Needs root to mount.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { DeletedMessage, RetentionStateMessage } from '../engine/retention/types.ts';
import { capture, entrance, TAB } from '../test/support/flow.ts';
import { Rig } from '../test/support/rig.ts';
import { check, progress, type BenchResult } from './measure.ts';
import type { Options } from './run.ts';

const run = promisify(execFile);
const CLI = join(import.meta.dirname, '../cli/flow-nvr.ts');

export interface DiskScale {
  megabytes: number;
  seconds: number;
  /** Free space that the rules ask for. */
  minFreeMB: number;
  segment: number;
}

export const FULL: DiskScale = { megabytes: 300, seconds: 600, minFreeMB: 70, segment: 10 };
export const SHORT: DiskScale = { megabytes: 130, seconds: 25, minFreeMB: 65, segment: 4 };

export default async function retentionDisk(options: Options): Promise<BenchResult> {
  return play(options.short ? SHORT : FULL);
}

export async function play({ megabytes, seconds, minFreeMB, segment }: DiskScale): Promise<BenchResult> {
  const storage = await mkdtemp(join(tmpdir(), 'flow-nvr-disk-'));
  await run('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m`, 'flow-nvr-test', storage]);
  let rig: Rig | undefined;
  try {
    const names = ['cam1', 'cam2', 'cam3', 'cam4'];
    rig = await Rig.recording({
      cameras: Object.fromEntries(names.map((name) => [name, { main: { size: 'main' as const } }])),
      ...{ storage, recorder: { segment } },
    });
    const free = async (): Promise<number> => {
      const { bavail, bsize } = await statfs(storage);
      return (bavail * bsize) / 1e6;
    };
    // A case is held from the first second on: it must be there at the end, though it is the oldest.
    const heldFrom = Date.now();
    await rig.red.deploy(
      [
        ...rig.flow(),
        ...['done', 'about', 'state'].flatMap(capture),
        ...entrance('retention', ['retention-1']),
        {
          ...{ id: 'retention-1', type: 'retention', z: TAB, name: '', nvr: 'nvr-store', storages: [], total: '' },
          ...{ rules: [], minFree: `${minFreeMB} MB`, veto: '' },
          wires: [['capture-done'], ['capture-about'], ['capture-state']],
        },
      ],
      'nodes',
    );
    await wait(2000);
    await rig.red.send('retention', {
      payload: { command: 'hold', name: 'case', camera: 'cam1', start: heldFrom, end: heldFrom + 1000 },
    });
    let least = Infinity;
    const end = Date.now() + seconds * 1000;
    let told = 0;
    while (Date.now() < end) {
      least = Math.min(least, await free());
      await wait(100);
      if (Date.now() - told < 60_000) continue;
      told = Date.now();
      progress(`${Math.round((end - told) / 1000)} s to go, ${Math.round(least)} MB were free at least`);
    }
    // While it is recorded: no difference may be seen that is none.
    await rig.red.send('retention', { payload: { command: 'check', verify: true, rate: 1000 } });
    type Check = { payload: { type: string; phase: string; faults: number; found: unknown[] } };
    const online = await rig.red.waitFor<Check>(
      'done',
      ({ payload }) => payload.type === 'check' && payload.phase === 'end',
      30_000,
      'end of the check',
    );
    type Done = { payload: DeletedMessage };
    const deleted = (await rig.red.captured<Done>('done')).filter(({ msg }) => 'shares' in msg.payload);
    const states = await rig.red.captured<{ payload: RetentionStateMessage }>('state');
    await wait(1500);
    await rig.red.stop();
    const shell = await run(process.execPath, [CLI, 'reconcile', '--check', '--verify', storage]).catch(
      (error: unknown) => error as { stdout: string; code: number },
    );
    const offline = 'code' in shell ? shell.code : 0;
    if (offline !== 0 || online.msg.payload.faults > 0) {
      progress(`${shell.stdout}\n${JSON.stringify(online.msg.payload.found)}`);
    }
    // Of each camera, what is left must be younger than all that went; but for what is held.
    const rows = rig.segments();
    const ages = rig.catalog((db) =>
      db
        .prepare<[], { start: number; end: number; camera: string }>(
          'SELECT c.key AS camera, start_ms AS start, end_ms AS "end" FROM deleted d JOIN camera c ON c.id = d.camera_id',
        )
        .all(),
    );
    const held = rows.filter(
      ({ camera, start, end: to }) => camera === 'cam1' && start < heldFrom + 1000 && to! > heldFrom,
    );
    const wrong = rows.filter(
      (row) => !held.includes(row) && ages.some(({ camera, start }) => camera === row.camera && start > row.start),
    );
    const missing = rig.gaps().filter(({ cause }) => cause !== 'restart');
    if (missing.length > 0) progress(JSON.stringify(missing));
    const files = deleted.reduce((sum, { msg }) => sum + msg.payload.files, 0);
    return {
      checks: [
        check('free space at least', least, 'MB', minFreeMB, 'atLeast'),
        check('gaps in the recordings', missing.length, 'gaps', 0),
        check('files deleted', files, 'files', 4, 'atLeast'),
        check('files left that are older than what went', wrong.length, 'files', 0),
        check('files left that are held', held.length, 'files', 1, 'atLeast'),
        check('differences found while recording', online.msg.payload.faults, 'faults', 0),
        check('differences found at the end (exit code of reconcile --check)', offline, '', 0),
      ],
      details: {
        files: rows.length,
        runs: deleted.length,
        emergencies: states.filter(({ msg }) => msg.payload.emergency).length,
        gaps: missing,
      },
    };
  } finally {
    await rig?.dispose();
    if (existsSync(storage)) await run('umount', ['-l', storage]);
    await rm(storage, { recursive: true, force: true });
  }
}
