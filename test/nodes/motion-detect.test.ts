import assert from 'node:assert/strict';
import { CAMERA, Harness } from './harness.ts';

/** Something crosses the bars in the first two of every six seconds. */
const CROSSED = [
  'lavfi:smptebars=size=320x180:rate=10[yard];color=c=0x303830:size=32x60:rate=10[thing]',
  "[yard][thing]overlay=x='(mod(t,6)-3)*160':y=60:shortest=1",
].join(';');

const MOTION = {
  ...{ id: 'motion-node', type: 'motion-detect', nvr: 'storage-settings', mode: 'full', sensitivity: 50 },
  ...{ minSize: 0.03, maxSize: 100, hold: 1, stills: true, drawBoxes: true, levels: false, zones: [] },
};

describe('motion-detect', function () {
  this.timeout(60_000);
  let harness: Harness;
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  const flow = (motion: object = {}, camera: object = {}): object[] => [
    { ...CAMERA, ...camera, wires: [['motion-node'], []] },
    { ...MOTION, ...motion, wires: [['moved'], ['levels']] },
    { id: 'moved', type: 'helper' },
    { id: 'levels', type: 'helper' },
  ];

  it('tells what moves in a camera that is wired to it', async () => {
    await harness.load(flow({ levels: true }, { url: CROSSED }));
    const level = harness.message('levels', ({ payload }) => payload['scene'] === 'steady');
    const still = harness.message('moved', ({ payload }) => Buffer.isBuffer(payload['still']));
    const start = await harness.message('moved', ({ payload }) => payload['phase'] === 'start');
    assert.equal(start.camera, 'yard');
    const end = await harness.message('moved', ({ payload }) => payload['phase'] === 'end');
    assert.equal(end.payload['eventId'], start.payload['eventId']);
    assert.equal((await still).payload['eventId'], start.payload['eventId']);
    assert.equal((await level).payload['type'], 'motion-levels');
  });

  it('makes events of what others have noticed', async () => {
    await harness.load(flow({}, { url: 'lavfi:color=c=gray:size=160x90:rate=10' }));
    const seen: [string, string][] = [];
    const end = harness.message('moved', ({ payload }) => {
      if (payload['type'] === 'motion') seen.push([payload['phase'] as string, payload['eventId'] as string]);
      return payload['phase'] === 'end';
    });
    const node = harness.node('motion-node');
    for (const phase of ['start', 'update', 'end']) {
      node.receive({ payload: { type: 'motion', camera: 'yard', phase, eventId: 'theirs' } });
    }
    await end;
    assert.deepEqual(
      seen.map(([phase]) => phase),
      ['start', 'update', 'end'],
    );
    assert.equal(new Set(seen.map(([, id]) => id)).size, 1);
  });

  it('refuses what it cannot do with what to do', async () => {
    await harness.load(flow());
    const rows: [object, RegExp][] = [
      [{ command: 'dance' }, /use enable, disable, sensitivity, snooze, profile, schedule/],
      [{ command: 'sensitivity', value: 'much' }, /value must be a number from 0 to 100/],
      [{ command: 'snooze', zone: 'lawn', minutes: 5 }, /there is no such zone/],
      [{ command: 'disable', camera: '../x' }, /must be the id of a camera/],
      [{ type: 'motion', phase: 'start' }, /names no camera/],
      [{ type: 'motion', camera: 'yard', phase: 'middle' }, /start, update or end/],
      [{ type: 'camera', camera: 'nowhere' }, /there is no camera nowhere/],
    ];
    for (const [payload, expected] of rows) assert.match(await harness.errorOf('motion-node', { payload }), expected);
  });

  it('does not start with settings that make no sense', async () => {
    await harness.load(flow({ sensitivity: 900 }));
    assert.match(JSON.stringify(harness.node('motion-node').status.args), /sensitivity must be a number from 0 to/);
  });
});
