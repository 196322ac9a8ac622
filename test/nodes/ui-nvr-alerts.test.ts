import assert from 'node:assert/strict';
import helper from 'node-red-node-test-helper';
import alerts from '../../nodes/ui-nvr-alerts/ui-nvr-alerts.ts';
import { DASHBOARD, PAGE } from './dashboard-page.ts';
import { Harness } from './harness.ts';

const ALERTS = {
  ...{ id: 'widget', type: 'ui-nvr-alerts', name: '', nvr: 'storage-settings', group: 'group', order: 1 },
  ...{ width: 12, height: 12, wires: [['out']] },
};

describe('ui-nvr-alerts', function () {
  this.timeout(30_000);
  let harness: Harness;
  before(() => helper.startServer());
  after(() => helper.stopServer());
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  it('says what to install or choose, where there is no dashboard', async () => {
    const out = { id: 'out', type: 'helper' };
    await harness.load([{ ...ALERTS, group: '' }, out], {}, {}, [alerts]);
    assert.match(JSON.stringify(harness.node('widget').status.args), /choose a group of a dashboard/);
  });

  it('tells what is wrong with a message', async () => {
    await harness.load([...PAGE, ALERTS, { id: 'out', type: 'helper' }], {}, {}, [...DASHBOARD, alerts]);
    const wrong: [payload: unknown, says: RegExp][] = [
      [{ command: 'dance' }, /unknown command/],
      [{ command: 'select' }, /eventId must be/],
      [{ command: 'select', eventId: 'a', time: 'yesterday' }, /time must be a time/],
      [{ command: 'select', eventId: 'a', time: 1, camera: '../x' }, /camera must be/],
      [{ command: 'filter', kinds: ['ghosts'] }, /kinds must be of motion/],
      [{ command: 'filter', severities: 'bad' }, /severities must be of info/],
      [{ command: 'filter', zones: [7] }, /zones must be/],
      [{ command: 'filter', open: 'yes' }, /open must be/],
      [{ command: 'filter', text: 7 }, /text must be/],
      [{ command: 'filter', start: -1 }, /start must be a time/],
      ['filter', /must be an object/],
    ];
    for (const [payload, says] of wrong) assert.match(await harness.errorOf('widget', { payload }), says);
  });
});
