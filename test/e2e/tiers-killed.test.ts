import assert from 'node:assert/strict';
import { killing } from '../support/killing.ts';

const LIVES = 8;

describe('a process that moves and uploads footage, killed at any moment', function () {
  this.timeout(150_000);

  it('loses nothing, keeps nothing twice, and leaves nothing behind', async () => {
    const { files, movedPerLife, ...wreck } = await killing(LIVES, Math.random, () => undefined);
    assert.deepEqual(wreck, { lost: 0, undead: 0, unknown: [], uploads: 0, leftovers: 0, differences: 0 });
    assert.ok(files > 30 && movedPerLife > 1, `${files} files, ${movedPerLife} moved by each life`);
  });
});
