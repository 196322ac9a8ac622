import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { CAMERA, Harness, RECORDER } from './harness.ts';

describe('recorder', function () {
  this.timeout(30_000);
  let harness: Harness;
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  const flow = (recorder: object): object[] => [
    { ...CAMERA, wires: [['recorder-node'], []] },
    { ...RECORDER, ...recorder, wires: [['recordings'], ['gaps']] },
    { id: 'recordings', type: 'helper' },
    { id: 'gaps', type: 'helper' },
  ];

  it('records a camera that is wired to it, and says what it wrote', async () => {
    await harness.load(flow({ segment: 2 }));
    const segment = await harness.message('recordings', ({ payload }) => payload['phase'] === 'segment');
    assert.equal(segment.camera, 'yard');
    assert.equal(segment.payload['trigger'], 'continuous');
    assert.ok(existsSync(segment.payload['file'] as string));
  });

  it('records by command, and tells the gap when a continuous one is stopped', async () => {
    await harness.load(flow({}));
    await harness.message('recordings', ({ payload }) => payload['phase'] === 'start');
    const gap = harness.message('gaps', () => true);
    harness.node('recorder-node').receive({ payload: { command: 'stop' } });
    assert.equal((await gap).payload['cause'], 'user-stop');
  });

  it('refuses what it cannot do with what to do', async () => {
    await harness.load(flow({}));
    const rows: [object, RegExp][] = [
      [{ command: 'dance' }, /use start, stop, panic, release, coverage/],
      [{ command: 'coverage', camera: 'yard', start: 5, end: 1 }, /end must be later/],
      [{ command: 'stop', camera: '../x' }, /must be the id of a camera/],
      [{ command: 'stop', camera: 'elsewhere' }, /not wired/],
      [{ type: 'motion' }, /names no camera/],
    ];
    for (const [payload, expected] of rows) assert.match(await harness.errorOf('recorder-node', { payload }), expected);
  });

  it('does not start with settings that are out of range', async () => {
    await harness.load(flow({ preRoll: 900 }));
    assert.match(JSON.stringify(harness.node('recorder-node').status.args), /preRoll must be 0 to 60/);
  });
});
