import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Rig } from '../support/rig.ts';

const run = promisify(execFile);
const SCRIPT = fileURLToPath(new URL('../../cli/flow-nvr.ts', import.meta.url));

/** A catalogue can be lost; the files tell all that is needed to make it again. */
describe('a lost catalogue', function () {
  this.timeout(90_000);
  let rig: Rig;

  before(async () => {
    rig = await Rig.recording({
      cameras: { aac: { main: { audio: 'aac' } }, h265: { main: { video: 'h265' }, sub: {} } },
    });
    await wait(13_000);
    // Killed, so that files without an end are among them.
    await rig.red.kill();
  });
  after(() => rig.dispose());

  const withoutCatalog = async () => {
    for (const suffix of ['', '-wal', '-shm']) await rm(join(rig.storage, `catalog.sqlite${suffix}`), { force: true });
  };

  it('is rebuilt from the files by npm run reconcile', async () => {
    const files = await rig.files();
    await withoutCatalog();
    await run(process.execPath, [SCRIPT, 'reconcile', rig.storage]);
    const rows = rig.segments();
    assert.equal(rows.length, files.length);
    for (const { camera, stream, start, end } of rows) {
      const stamps = await rig.frames({ camera, stream });
      const inside = stamps.filter(({ sentMs }) => sentMs >= start - 500 && sentMs <= end! + 500);
      assert.ok(inside.length >= ((end! - start) / 1000) * 25 - 2, `${camera} ${stream}: ${inside.length} frames`);
    }
  });

  it('is rebuilt when Node-RED starts without it, and recording goes on', async () => {
    const files = await rig.files();
    await withoutCatalog();
    const restarted = Date.now();
    await rig.red.start();
    await rig.recordingSince(restarted);
    await wait(1000);
    await rig.red.stop();
    const rows = rig.segments();
    assert.equal(rows.length, (await rig.files()).length);
    assert.ok(rows.length > files.length);
    assert.equal(rows.filter(({ state }) => state === 'open').length, 0);
  });

  it('has a gap where a file is missing', async () => {
    const victim = (await rig.files({ camera: 'aac', stream: 'main' }))[0]!;
    await rename(victim, join(rig.red.userDir, 'taken-away.mp4'));
    const restarted = Date.now();
    await rig.red.start();
    await rig.recordingSince(restarted);
    await rig.red.stop();
    const missing = rig.gaps().filter(({ cause }) => cause === 'file-missing');
    assert.equal(missing.length, 1);
    assert.equal(missing[0]!.camera, 'aac');
    assert.equal(rig.segments().length, (await rig.files()).length);
  });
});
