/** A small disk: rules keep it from being full, and where nothing may be deleted recording ends before it is. Needs root. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { play } from '../../bench/retention-disk.ts';
import type { RetentionStateMessage } from '../../engine/retention/types.ts';
import { unplayable } from '../support/media-files.ts';
import { capture, entrance, TAB } from '../support/flow.ts';
import { Rig } from '../support/rig.ts';

const run = promisify(execFile);
const CLI = join(import.meta.dirname, '../../cli/flow-nvr.ts');

describe('a disk that is too small', function () {
  this.timeout(90_000);

  it('never has less room than the rules ask for, and loses the oldest only', async () => {
    const { checks } = await play({ megabytes: 96, seconds: 18, minFreeMB: 60, segment: 3 });
    const bad = checks.filter(({ ok }) => !ok);
    assert.deepEqual(
      bad.map(({ name, value, unit, limit }) => `${name}: ${value} ${unit} (limit ${limit})`),
      [],
    );
  });

  it('ends recording before it is full when all is held, says so, and goes on when something may go', async () => {
    const storage = await mkdtemp(join(tmpdir(), 'flow-nvr-disk-'));
    await run('mount', ['-t', 'tmpfs', '-o', 'size=34m', 'flow-nvr-test', storage]);
    let rig: Rig | undefined;
    try {
      rig = await Rig.recording({
        cameras: { cam1: { main: { size: 'main' } }, cam2: { main: { size: 'main' } } },
        ...{ storage, recorder: { segment: 4 } },
      });
      const { red } = rig;
      await red.deploy(
        [
          ...rig.flow(),
          ...['done', 'state'].flatMap(capture),
          ...entrance('retention', ['retention-1']),
          {
            ...{ id: 'retention-1', type: 'retention', z: TAB, name: '', nvr: 'nvr-store', storages: [], total: '' },
            ...{ rules: [{ cameras: '', continuous: '1 s' }], minFree: '', veto: '' },
            wires: [['capture-done'], [], ['capture-state']],
          },
        ],
        'nodes',
      );
      await wait(1000);
      const payload = { command: 'hold', name: 'all', start: 1, end: Date.now() + 3_600_000 };
      await red.send('retention', { payload });
      type Hold = { payload: { type: string; hold: { id: string } } };
      const { msg } = await red.waitFor<Hold>('done', (one) => one.payload.type === 'hold', 5000, 'hold');
      const gap = await rig.waitForGap((one) => one.cause === 'storage-full', 45_000);
      await red.send('retention', { payload: { command: 'run' } });
      type State = { payload: RetentionStateMessage };
      await red.waitFor<State>('state', (one) => one.payload.blocked, 10_000, 'blocked');
      await wait(4000);
      const { bavail, bsize } = await statfs(storage);
      assert.ok(bavail * bsize > 4e6, `${bavail * bsize} bytes left`);
      assert.deepEqual(await unplayable(await rig.files()), []);
      // What was closed in order has a hash; what failed would have none.
      const none = rig.catalog((db) =>
        db.prepare("SELECT count(*) FROM segment WHERE hash IS NULL OR state = 'open'").pluck().get(),
      );
      assert.equal(none, 0);
      type Status = { status: { fill?: string; source: { id: string } } };
      const red1 = (await red.captured<Status>('status')).filter(({ msg: { status } }) => status.fill === 'red');
      for (const node of ['recorder-1', 'retention-1'])
        assert.ok(
          red1.some(({ msg: { status } }) => status.source.id === node),
          `${node} says nothing`,
        );

      const roomAt = Date.now();
      await red.send('retention', { payload: { command: 'release', id: msg.payload.hold.id } });
      await red.send('retention', { payload: { command: 'run' } });
      await rig.recordingSince(roomAt, 15_000);
      const closed = await rig.waitForGap((one) => one.gapId === gap.msg.payload.gapId && one.end !== null, 10_000);
      assert.ok(closed.msg.payload.end! >= roomAt - 1000);
      await red.stop();
      const { stdout } = await run(process.execPath, [CLI, 'reconcile', '--check', '--verify', storage]);
      assert.match(stdout, / 0 differences/);
    } finally {
      await rig?.dispose();
      await run('umount', ['-l', storage]);
      await rm(storage, { recursive: true, force: true });
    }
  });
});
