import assert from 'node:assert/strict';
import helper from 'node-red-node-test-helper';
import grid from '../../nodes/ui-nvr-grid/ui-nvr-grid.ts';
import { DASHBOARD, PAGE } from './dashboard-page.ts';
import { Harness } from './harness.ts';

const GRID = {
  ...{ id: 'grid-node', type: 'ui-nvr-grid', name: '', nvr: 'storage-settings', group: 'group', order: 1 },
  ...{ width: 12, height: 8, wires: [['out']] },
};

describe('ui-nvr-grid', function () {
  this.timeout(30_000);
  let harness: Harness;
  before(() => helper.startServer());
  after(() => helper.stopServer());
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  it('says what to install or choose, where there is no dashboard', async () => {
    await harness.load(
      [
        { ...GRID, group: '' },
        { id: 'out', type: 'helper' },
      ],
      {},
      {},
      [grid],
    );
    assert.match(JSON.stringify(harness.node('grid-node').status.args), /choose a group of a dashboard/);
    assert.match(
      await harness.errorOf('grid-node', { payload: { command: 'select' } }),
      /@flowfuse\/node-red-dashboard/,
    );
  });

  it('tells what is wrong with a message, and takes what is right', async () => {
    await harness.load([...PAGE, GRID, { id: 'out', type: 'helper' }], {}, {}, [...DASHBOARD, grid]);
    const wrong: [payload: unknown, says: RegExp][] = [
      [{ command: 'dance' }, /unknown command/],
      [{ command: 'layout', layout: '9x9' }, /layout must be one of auto/],
      [{ command: 'tour', seconds: -1 }, /seconds must be/],
      [{ command: 'select', camera: '../x' }, /camera must be/],
      [{ command: 'order', cameras: 'front' }, /cameras must be/],
      ['2x2', /must be an object/],
    ];
    for (const [payload, says] of wrong) assert.match(await harness.errorOf('grid-node', { payload }), says);
  });
});
