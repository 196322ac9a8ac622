import assert from 'node:assert/strict';
import { OnvifCamera } from '../support/onvif-camera.ts';
import { NodeRed } from '../support/node-red.ts';

describe("finding ONVIF cameras from camera-source's dialog", function () {
  this.timeout(60_000);
  let red: NodeRed;
  let camera: OnvifCamera;
  before(async () => {
    camera = await new OnvifCamera({ name: 'Yard' }).start();
    red = await NodeRed.create();
    await red.start();
  });
  after(async () => {
    await red.dispose();
    await camera.stop();
  });

  it('gives the streams of a camera, and says what is wrong without the account', async () => {
    const { username, password } = camera.options;
    const address = `127.0.0.1:${camera.port}`;
    const result = (await red.post('/nvr/onvif/profiles', { address, username, password })) as Record<string, unknown>;
    assert.deepEqual(
      [result['ok'], result['model'], result['main']],
      [true, 'Yard', 'rtsp://127.0.0.1/stream/main?a=1&b=2'],
    );
    assert.ok(!JSON.stringify(result).includes(password));
    const wrong = (await red.post('/nvr/onvif/profiles', { address, username, password: 'n0pe' })) as object;
    assert.equal((wrong as { reason: string }).reason, 'auth');
    assert.doesNotMatch(JSON.stringify(wrong), /n0pe/);
  });

  it('asks one address for itself', async () => {
    assert.deepEqual(await red.post('/nvr/onvif/discover', { address: '127.0.0.1' }), { devices: [] });
    await assert.rejects(red.post('/nvr/onvif/discover', { address: 'ftp://x' }), /400|no ONVIF address/);
  });
});
