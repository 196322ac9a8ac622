import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import fc from 'fast-check';
import { parseSource, splitCredentials } from '../../engine/ingest/source-url.ts';
import { withCameras, type FlowNode } from '../../scripts/demo-flow.ts';
import { refusePasswords, takePasswords, variableOf, withPasswords } from '../../scripts/start/camera-accounts.ts';

const FILE = join(import.meta.dirname, '../../scripts/start/camera-accounts.ts');
const TEMPLATE: FlowNode = { id: 'c', type: 'camera-source', camera: 'demo', url: '' };

/** What `npm start` refuses, in its words; null when it does not. */
function refusal(...addresses: string[]): string | null {
  const cameras = addresses.map((url, i) => ({ id: ['front', 'back-door'][i]!, url }));
  try {
    refusePasswords(cameras, ['--port', '1881']);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

/** What is recorded in the end: FFmpeg's input of the camera that is put into the flow. */
async function inputOf(url: string, password: string): Promise<string> {
  const passwords = new Map([[variableOf('front'), password]]);
  const [camera] = withCameras([TEMPLATE], await withPasswords([{ id: 'front', url }], passwords, null));
  return parseSource(camera!['url'] as string, camera!.credentials).input;
}

describe('passwords of npm start -- --camera', () => {
  for (const url of [
    'rtsp://viewer:s3cret@host:554/x',
    'rtsp://viewer:s3cret:@/?#@host/x',
    'rtsp://host/user=admin_password=s3cret_channel=1_stream=0.sdp',
    'http://host/video?user=admin&password=s3cret&channel=1',
  ]) {
    it(`refuses ${url}, with a command that records the same`, async () => {
      const message = refusal(url, 'rtsp://host/2')!;
      assert.match(message, /every user of this computer can read/);
      assert.ok(!message.includes('s3cret'), message);
      assert.match(message, /FLOW_NVR_PASSWORD_FRONT/);
      assert.match(message, /back-door=rtsp:\/\/host\/2 --port 1881\n/);
      const safe = /--camera '?front=([^\s']*)/.exec(message)![1]!;
      assert.equal(refusal(safe), null);
      const { password } = splitCredentials(url);
      assert.equal(await inputOf(safe, password!), parseSource(url).input);
    });
  }

  it('refuses keys and tokens, for which there is no place outside of the address', () => {
    for (const url of ['http://host/x?token=s3cret', 'rtsp://host/x?auth=s3cret', 'http://u@host/x?sig=s3cret']) {
      const message = refusal(url);
      assert.match(message!, /add it in the editor/);
      assert.ok(!message!.includes('s3cret'));
    }
    for (const url of ['rtsp://host/a@b', 'rtsp://u@host/x?channel=1', 'lavfi:testsrc2=size=640x360', '/a/b.mp4']) {
      assert.equal(refusal(url), null, url);
    }
  });

  it('shows no password that anybody could type', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[\x21-\x7e]{4,12}$/), (rest) => {
        const url = `rtsp://viewer:pw-${rest}@host/x`;
        const { password } = splitCredentials(url);
        const message = refusal(url);
        assert.ok(message !== null && password !== undefined && !message.includes(password), message ?? url);
      }),
    );
  });

  it('takes them from the environment, out of reach of child processes', async () => {
    const environment = { PATH: '/bin', FLOW_NVR_PASSWORD_FRONT_DOOR: 'one', FLOW_NVR_PASSWORD_OTHER: 'two' };
    const passwords = takePasswords(environment);
    assert.deepEqual(environment, { PATH: '/bin' });
    const camera = { id: 'front-door', url: 'rtsp://viewer@host/x' };
    const open = { id: 'gate', url: 'rtsp://host/y' };
    assert.deepEqual(await withPasswords([camera, open], passwords, null), [{ ...camera, password: 'one' }, open]);
  });

  it('asks where there is a terminal, and says what to do where there is none', async () => {
    const camera = { id: 'front', url: 'rtsp://viewer@host/x' };
    assert.deepEqual(await withPasswords([camera], new Map(), (id) => Promise.resolve(`of ${id}`)), [
      { ...camera, password: 'of front' },
    ]);
    await assert.rejects(withPasswords([camera], new Map(), null), /set FLOW_NVR_PASSWORD_FRONT in the environment/);
  });

  it('refuses what could be meant for another camera, or for none', async () => {
    const twins = [
      { id: 'a-b', url: 'rtsp://u@host/1' },
      { id: 'a_b', url: 'rtsp://u@host/2' },
    ];
    const given = new Map([['FLOW_NVR_PASSWORD_A_B', 'x']]);
    await assert.rejects(withPasswords(twins, given, null), /of a-b and of a_b/);
    await assert.rejects(withPasswords([{ id: 'a-b', url: 'rtsp://host/1' }], given, null), /names no user/);
  });

  it('does not show what is typed at the terminal', async function () {
    // util-linux's, which gives the command a terminal of its own.
    const { status, output } = spawnSync('script', ['--version'], { encoding: 'utf8' });
    if (status !== 0 || !output.join('').includes('util-linux')) this.skip();
    const code = `import(${JSON.stringify(FILE)}).then((m) => m.askPassword("front")).then((p) => console.log("length " + p.length))`;
    const command = `${process.execPath} -e '${code}'`;
    const terminal = spawn('script', ['-qec', command, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
    let shown = '';
    terminal.stdout.on('data', (chunk: Buffer) => {
      if (!shown.includes('Password') && String(chunk).includes('Password')) terminal.stdin.write('s3cret word\r');
      shown += String(chunk);
    });
    await once(terminal, 'close');
    assert.match(shown, /Password of camera front[\s\S]*length 11/);
    assert.ok(!/s3cret|word\r/.test(shown), shown);
  });
});
