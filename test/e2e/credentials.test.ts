import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { capture, tab, TAB } from '../support/flow.ts';
import type { FlowNode } from '../support/node-red.ts';
import { Rig } from '../support/rig.ts';

const RIGHT = 'r1ght?p@ss';
const WRONG = 'wr0ng/p@ss#';
const RAW = 'S3cr/e@t!';

/** Errors are where passwords leak: here every way to be wrong is tried. */
describe('credentials that are wrong or in the wrong place', function () {
  this.timeout(60_000);
  let rig: Rig;
  const source = (id: string, url: string, credentials?: object): FlowNode => ({
    ...{
      id: `source-${id}`,
      type: 'camera-source',
      z: TAB,
      name: id,
      nvr: 'nvr-store',
      camera: id,
      url,
      subUrl: '',
      transport: 'tcp',
    },
    ...{ audio: true, wires: [['capture-camera'], []] },
    ...(credentials ? { credentials } : {}),
  });

  before(async () => {
    rig = await Rig.create({ cameras: { guarded: { main: { user: 'viewer', password: RIGHT } } } });
    const url = rig.url('guarded', 'main');
    const typed = (password: string) => url.replace('rtsp://', `rtsp://viewer:${encodeURIComponent(password)}@`);
    const nvr = rig.flow().find(({ id }) => id === 'nvr-store')!;
    await rig.red.deploy([
      ...tab(),
      ...capture('camera'),
      nvr,
      source('stored-wrong', url, { username: 'viewer', password: WRONG }),
      source('typed-wrong', typed(WRONG)),
      source('typed-right', typed(RIGHT)),
      source('no-host', `rtsp://viewer:${encodeURIComponent(WRONG)}@no-such-host.invalid/main`),
      source('no-path', `${typed(RIGHT)}-nowhere`),
      source('refused', `rtsp://viewer:${encodeURIComponent(WRONG)}@127.0.0.1:9/main`),
      // As people type them: nothing is percent-encoded.
      source('raw', `rtsp://viewer:${RAW}@127.0.0.1:9/main`),
      source('query', `http://127.0.0.1:9/video?user=viewer&pwd=${encodeURIComponent(WRONG)}`),
      source(
        'path-of-xm',
        `rtsp://127.0.0.1:9/user=viewer_password=${encodeURIComponent(WRONG)}_channel=1_stream=0.sdp`,
      ),
      source('token', `http://127.0.0.1:9/video?access_token=${encodeURIComponent(WRONG)}`),
      source('no-scheme', `//viewer:${encodeURIComponent(WRONG)}@127.0.0.1/main`),
      source('no-url', `rtsp://viewer:${encodeURIComponent(WRONG)}@a host/main`),
      source('bad-url', `gopher://viewer:${encodeURIComponent(WRONG)}@127.0.0.1/main`),
    ]);
  });
  after(() => rig.dispose());

  const offline = (name: string, reason: string) =>
    rig.waitForCamera(
      (camera) => camera.camera === name && camera.state === 'offline' && camera.reason === reason,
      12_000,
    );

  it('are told by their reason', async () => {
    await Promise.all([
      offline('stored-wrong', 'auth'),
      offline('typed-wrong', 'auth'),
      offline('no-host', 'host'),
      offline('no-path', 'path'),
      offline('refused', 'refused'),
      ...['raw', 'query', 'path-of-xm', 'token'].map((name) => offline(name, 'refused')),
      offline('no-scheme', 'path'),
      rig.waitForCamera(({ camera, state }) => camera === 'typed-right' && state === 'online', 12_000),
    ]);
  });

  it('are told in the editor when it tests the stream', async () => {
    const url = rig.url('guarded', 'main');
    const test = (body: object) =>
      rig.red.post('/nvr/test-stream', { url, transport: 'tcp', username: 'viewer', ...body });
    const wrong = (await test({ password: WRONG })) as { ok: boolean; reason: string; message: string };
    assert.deepEqual([wrong.ok, wrong.reason], [false, 'auth']);
    assert.ok(!JSON.stringify(wrong).includes(WRONG));
    const right = (await test({ password: RIGHT })) as { ok: boolean; video: object; audio: unknown; still: string };
    assert.equal(right.ok, true, JSON.stringify(right));
    assert.deepEqual(right.video, { codec: 'h264', width: 640, height: 360, fps: 25 });
    assert.equal(right.audio, null);
    assert.match(right.still, /^data:image\/jpeg;base64,\/9j\//);
    // The editor does not know a stored password: it sends Node-RED's placeholder.
    const stored = (await test({ id: 'source-stored-wrong', password: '__PWRD__' })) as { ok: boolean; reason: string };
    assert.deepEqual([stored.ok, stored.reason], [false, 'auth']);
  });

  it('are nowhere to be read', async () => {
    const places = { log: rig.red.log, messages: await readFile(join(rig.red.userDir, 'captured.jsonl'), 'utf8') };
    for (const [place, text] of Object.entries(places)) {
      for (const secret of [RIGHT, WRONG, RAW]) {
        for (const form of [secret, encodeURIComponent(secret)])
          assert.ok(!text.includes(form), `${place} has ${form}`);
      }
    }
  });
});
