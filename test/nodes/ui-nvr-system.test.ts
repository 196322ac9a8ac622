import assert from 'node:assert/strict';
import helper from 'node-red-node-test-helper';
import system from '../../nodes/ui-nvr-system/ui-nvr-system.ts';
import { DASHBOARD, PAGE } from './dashboard-page.ts';
import { Harness } from './harness.ts';

const SYSTEM = {
  ...{ id: 'widget', type: 'ui-nvr-system', name: '', nvr: 'storage-settings', group: 'group', order: 1 },
  ...{ width: 12, height: 12, wires: [['out']] },
};

describe('ui-nvr-system', function () {
  this.timeout(30_000);
  let harness: Harness;
  before(() => helper.startServer());
  after(() => helper.stopServer());
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  it('says what to install or choose, where there is no dashboard', async () => {
    const out = { id: 'out', type: 'helper' };
    await harness.load([{ ...SYSTEM, group: '' }, out], {}, {}, [system]);
    assert.match(JSON.stringify(harness.node('widget').status.args), /choose a group of a dashboard/);
  });

  it('tells what is wrong with a message', async () => {
    await harness.load([...PAGE, SYSTEM, { id: 'out', type: 'helper' }], {}, {}, [...DASHBOARD, system]);
    const wrong: [payload: unknown, says: RegExp][] = [
      [{ command: 'dance' }, /unknown command/],
      [{ command: 'show' }, /tab must be one of cameras/],
      [{ command: 'show', tab: 'secrets' }, /tab must be one of cameras/],
      ['show', /must be an object/],
    ];
    for (const [payload, says] of wrong) assert.match(await harness.errorOf('widget', { payload }), says);
  });

  it('uses the usual target for one that is none', async () => {
    for (const [target, warns] of [
      [99, 0],
      [undefined, 0],
      [0, 1],
      [101, 1],
      ['most', 1],
    ] as const) {
      await harness.load([...PAGE, { ...SYSTEM, target }, { id: 'out', type: 'helper' }], {}, {}, [
        ...DASHBOARD,
        system,
      ]);
      assert.equal(harness.node('widget').warn.callCount, warns, String(target));
      await harness.dispose();
      harness = new Harness();
    }
  });
});
