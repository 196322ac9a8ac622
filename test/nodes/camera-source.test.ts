import assert from 'node:assert/strict';
import { CAMERA, Harness } from './harness.ts';

describe('camera-source', function () {
  this.timeout(30_000);
  let harness: Harness;
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  it('tells that its camera is online, and takes a snapshot', async () => {
    await harness.load([
      { ...CAMERA, wires: [['state'], ['snapshot']] },
      { id: 'state', type: 'helper' },
      { id: 'snapshot', type: 'helper' },
    ]);
    const online = await harness.message('state', ({ payload }) => payload['state'] === 'online');
    assert.equal(online.camera, 'yard');
    assert.equal(online.topic, 'camera/yard');
    assert.equal(online.payload['type'], 'camera');
    const snapshot = harness.message('snapshot', () => true);
    harness.node('camera').receive({ payload: { command: 'snapshot' } });
    const { payload, time } = await snapshot;
    assert.ok(Buffer.isBuffer(payload) && payload.readUInt16BE(0) === 0xffd8);
    assert.ok(typeof time === 'number' && time <= Date.now());
  });

  it('refuses other commands and payloads with what to do', async () => {
    await harness.load([{ ...CAMERA, wires: [[], []] }]);
    assert.match(
      await harness.errorOf('camera', { payload: { command: 'explode' } }),
      /use start, stop, restart, snapshot/,
    );
    assert.match(await harness.errorOf('camera', { payload: 7 }), /must be an object/);
  });

  it('shows a wrong address in its status, without its password', async () => {
    await harness.load([{ ...CAMERA, url: 'gopher://u:s3cret@host/x', wires: [[], []] }]);
    const { status } = harness.node('camera');
    const text = JSON.stringify(status.args);
    assert.match(text, /not supported/);
    assert.doesNotMatch(text, /s3cret/);
  });
});
