import assert from 'node:assert/strict';
import helper from 'node-red-node-test-helper';
import timeline from '../../nodes/ui-nvr-timeline/ui-nvr-timeline.ts';
import { DASHBOARD, PAGE } from './dashboard-page.ts';
import { Harness } from './harness.ts';

const TIMELINE = {
  ...{ id: 'past-node', type: 'ui-nvr-timeline', name: '', nvr: 'storage-settings', group: 'group', order: 1 },
  ...{ width: 12, height: 12, zone: 'Europe/Berlin', stream: 'main', wires: [['out']] },
};

describe('ui-nvr-timeline', function () {
  this.timeout(30_000);
  let harness: Harness;
  before(() => helper.startServer());
  after(() => helper.stopServer());
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  it('says what to install or choose, where there is no dashboard', async () => {
    const out = { id: 'out', type: 'helper' };
    await harness.load([{ ...TIMELINE, group: '' }, out], {}, {}, [timeline]);
    assert.match(JSON.stringify(harness.node('past-node').status.args), /choose a group of a dashboard/);
  });

  it('tells what is wrong with a message', async () => {
    await harness.load([...PAGE, TIMELINE, { id: 'out', type: 'helper' }], {}, {}, [...DASHBOARD, timeline]);
    const wrong: [payload: unknown, says: RegExp][] = [
      [{ command: 'dance' }, /unknown command/],
      [{ command: 'select', cameras: [] }, /1 to 9 camera ids/],
      [{ command: 'select', cameras: ['../x'] }, /camera must be/],
      [{ command: 'seek', time: 'yesterday' }, /time must be a time/],
      [{ command: 'range', start: 5, end: 5 }, /end must be later/],
      [{ command: 'speed', speed: 0 }, /0\.25 to 16/],
      ['live', /must be an object/],
    ];
    for (const [payload, says] of wrong) assert.match(await harness.errorOf('past-node', { payload }), says);
  });
});
