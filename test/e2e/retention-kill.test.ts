import assert from 'node:assert/strict';
import { killDeleting } from '../../bench/retention-kill/deleting.ts';

describe('SIGKILL while deleting and backing up', function () {
  this.timeout(60_000);

  it('loses nothing that is kept, keeps nothing twice, and leaves no half of a backup', async () => {
    const bad = (await killDeleting(12)).checks.filter(({ ok }) => !ok);
    assert.deepEqual(
      bad.map(({ name, value, unit, limit }) => `${name}: ${value} ${unit} (limit ${limit})`),
      [],
    );
  });
});
