import assert from 'node:assert/strict';
import helper from 'node-red-node-test-helper';
import ptz from '../../nodes/ptz/ptz.ts';
import { toCommand, type PtzConfig } from '../../nodes/ptz/ptz-spec.ts';
import { OnvifCamera, type CameraOptions } from '../support/onvif-camera.ts';
import { CAMERA, Harness, type TestMessage } from './harness.ts';

const PTZ = {
  ...{ id: 'ptz-node', type: 'ptz', name: '', nvr: 'storage-settings', camera: 'yard', moveTimeout: 5 },
  ...{ panTiltTravel: '', zoomTravel: '', events: true, allEvents: false },
};

describe('ptz', function () {
  this.timeout(30_000);
  let harness: Harness;
  let sim: OnvifCamera | null;
  beforeEach(() => {
    harness = new Harness();
    sim = null;
  });
  afterEach(async () => {
    await harness.dispose();
    await sim?.stop();
  });

  async function load(options: Partial<CameraOptions> = {}, node: object = {}, own = false): Promise<OnvifCamera> {
    const camera = await new OnvifCamera({ speeds: { pan: 5, tilt: 5, zoom: 5 }, ...options }).start();
    sim = camera;
    const flow = [
      { ...CAMERA, wires: [[], []] },
      { ...PTZ, address: `127.0.0.1:${camera.port}`, ...node, wires: [['results'], ['events']] },
      { id: 'results', type: 'helper' },
      { id: 'events', type: 'helper' },
    ];
    const account = { username: 'admin', password: camera.options.password };
    await harness.load(flow, {}, own ? { 'ptz-node': account } : { camera: account }, [ptz]);
    return camera;
  }
  const ask = async (payload: object): Promise<TestMessage> => {
    const { command } = payload as { command: string };
    const answer = harness.message('results', (msg) => msg.payload['command'] === command);
    harness.node('ptz-node').receive({ payload });
    return answer;
  };

  it("steers with the camera-source's account, and has motion detection look away until the camera stands", async () => {
    const camera = await load();
    const { host } = helper.getNode('storage-settings') as unknown as {
      host: { setTurning: (camera: string, turning: boolean) => Promise<void> };
    };
    const told: string[] = [];
    const stands = new Promise<void>((resolve) => {
      host.setTurning = (id, turning) => {
        told.push(`${id} ${turning}`);
        if (!turning) resolve();
        return Promise.resolve();
      };
    });
    const moved = harness.message('results', ({ payload }) => payload['moving'] === true);
    const result = await ask({ command: 'move', pan: 0.5, tilt: 0, timeout: 200 });
    assert.deepEqual(result.payload, { type: 'ptz', camera: 'yard', command: 'move', action: 'ContinuousMove' });
    assert.equal((await moved).camera, 'yard');
    await stands;
    assert.deepEqual(told, ['yard true', 'yard false']);
    assert.ok(!camera.table.moving);
  });

  it('answers with presets and status, with an account of its own', async () => {
    await load({ auth: 'digest' }, {}, true);
    assert.deepEqual((await ask({ command: 'presets' })).payload['presets'], [
      { token: '1', name: 'Door', position: { pan: 0.5, tilt: 0.25, zoom: 0 }, stillTime: null },
      { token: '2', name: 'Gate', position: { pan: 0.25, tilt: 0.125, zoom: 0 }, stillTime: null },
    ]);
    assert.equal((await ask({ command: 'goto-preset', preset: 'Gate' })).payload['preset'], '2');
    const { payload } = await ask({ command: 'status' });
    assert.deepEqual((payload['ptz'] as { panTilt: string[] }).panTilt, ['absolute', 'relative', 'continuous']);
  });

  it("passes the camera's events on as recorders and motion-detect take them", async () => {
    const camera = await load();
    while (camera.callsOf('PullMessages').length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    const start = harness.message('events', ({ payload }) => payload['phase'] === 'start');
    const end = harness.message('events', ({ payload }) => payload['phase'] === 'end');
    const topic = 'tns1:VideoSource/MotionAlarm';
    camera.events.emit({ topic, data: { State: 'true' } });
    camera.events.emit({ topic, data: { State: 'false' } });
    const [first, last] = [(await start).payload, (await end).payload];
    assert.deepEqual([first['type'], first['kind'], first['camera'], first['end']], ['motion', 'motion', 'yard', null]);
    assert.equal(first['eventId'], last['eventId']);
    const input = harness.message('events', ({ payload }) => payload['kind'] === 'digital-input');
    camera.events.emit({ topic: 'tns1:Device/Trigger/DigitalInput', data: { LogicalState: 'true' } });
    assert.equal((await input).payload['type'], 'onvif-event');
  });

  it('says what is wrong, and never the account', async () => {
    await load({ kind: 'fixed' });
    assert.match(await harness.errorOf('ptz-node', { payload: { command: 'move', pan: 1 } }), /cannot be steered/);
    assert.match(await harness.errorOf('ptz-node', { payload: { command: 'dance' } }), /use move, stop/);
    await harness.dispose();
    await sim?.stop();
    harness = new Harness();
    await load({ username: 'other' });
    const error = await harness.errorOf('ptz-node', { payload: { command: 'status' } });
    assert.match(error, /refuses the account/);
    assert.doesNotMatch(error + JSON.stringify(harness.node('ptz-node').status.args), /admin|pass word/);
  });

  it('does not start without its camera or with wrong settings', async () => {
    await load({}, { camera: 'elsewhere' });
    assert.match(JSON.stringify(harness.node('ptz-node').status.args), /no camera elsewhere/);
  });

  it('checks every message', () => {
    const config: PtzConfig = { moveTimeoutMs: 5000, travel: null, idleMs: 0, rules: [] };
    const rows: [object, RegExp | object][] = [
      [{ command: 'move', pan: '1' }, /pan must be a number/],
      [{ command: 'move', pan: 1, timeout: 1e9 }, /timeout must be/],
      [{ command: 'zoom' }, /speed .* or position/],
      [
        { command: 'zoom', position: 0.5 },
        { command: 'steer', way: 'absolute', axes: { zoom: 0.5 }, degrees: false },
      ],
      [{ command: 'goto-preset' }, /preset must be/],
      [
        { command: 'goto-preset', preset: 3 },
        { command: 'goto-preset', preset: '3' },
      ],
      [{ command: 'set-preset' }, /needs a name/],
      [{ command: 'focus' }, /focus needs/],
      [{ command: 'aux' }, /aux needs/],
      [
        { command: 'aux', relay: '', active: true },
        { command: 'relay', relay: '', active: true },
      ],
      [{ command: 'imaging', irCutFilter: 'dark' }, /on, off or auto/],
      [{ command: 'imaging' }, { command: 'imaging', settings: null }],
      [{ command: 'patrol', stops: [] }, /1 to 100 presets/],
      [
        { command: 'patrol', stops: ['a', { preset: 'b', dwell: 2000 }] },
        {
          command: 'patrol',
          stops: [
            { preset: 'a', dwellMs: 10_000 },
            { preset: 'b', dwellMs: 2000 },
          ],
          resumeMs: 60_000,
        },
      ],
    ];
    for (const [payload, expected] of rows) {
      const run = (): unknown => toCommand(payload as Record<string, unknown>, config);
      if (expected instanceof RegExp) assert.throws(run, { code: 'bad-message', message: expected });
      else assert.deepEqual(run(), expected);
    }
  });
});
