/** What npm start puts before the editor and the dashboard: a login, a key, and no pages of other sites. */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import WebSocket from 'ws';
import { requireLogin } from '../../scripts/start/login.ts';
import { writeSettings } from '../../scripts/start/settings-file.ts';
import { DashboardSocket } from '../support/dashboard-socket.ts';
import { freePort } from '../support/node-red.ts';

const START = join(import.meta.dirname, '../../scripts/start.ts');
const PASSWORD = 'a long s3cret';
const START_MS = 90_000;

describe('npm start guards', function () {
  this.timeout(120_000);
  let userDir: string;
  let port: number;
  let child: ChildProcess;
  let output = '';

  const ask = async (
    method: string,
    path: string,
    headers: Record<string, string> = {},
    body?: string,
  ): Promise<{ status: number; headers: IncomingMessage['headers']; text: string }> => {
    const asking = request({ host: '127.0.0.1', port, method, path, headers });
    asking.end(body);
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return { status: response.statusCode!, headers: response.headers, text };
  };
  const statusOf = async (...args: Parameters<typeof ask>): Promise<number> => (await ask(...args)).status;

  before(async () => {
    userDir = mkdtempSync(join(tmpdir(), 'flow-nvr-guards-'));
    port = await freePort();
    const args = [
      '--port',
      `${port}`,
      '--user-dir',
      userDir,
      '--login',
      '--camera',
      'gate=lavfi:testsrc=size=320x240:rate=5',
    ];
    child = spawn(process.execPath, [START, ...args], {
      env: { ...process.env, FLOW_NVR_EDITOR_USER: 'eva', FLOW_NVR_EDITOR_PASSWORD: PASSWORD },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [child.stdout!, child.stderr!])
      stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
    for (const deadline = performance.now() + START_MS; !output.includes('Ctrl-C'); await wait(100)) {
      assert.ok(child.exitCode === null && performance.now() < deadline, output);
    }
  });
  after(async () => {
    if (child.exitCode === null) {
      child.kill('SIGINT');
      await once(child, 'exit');
    }
    rmSync(userDir, { recursive: true, force: true, maxRetries: 3 });
  });

  it('the editor by the login, and deploys its cameras all the same', async () => {
    assert.equal(await statusOf('GET', '/flows'), 401);
    const form = { 'Content-Type': 'application/x-www-form-urlencoded' };
    const login = (password: string): ReturnType<typeof ask> => {
      const fields = { client_id: 'node-red-editor', grant_type: 'password', scope: '*', username: 'eva', password };
      return ask('POST', '/auth/token', form, new URLSearchParams(fields).toString());
    };
    assert.equal((await login('wrong')).status, 403);
    const { access_token: token } = JSON.parse((await login(PASSWORD)).text) as { access_token: string };
    const flows = await ask('GET', '/flows', { Authorization: `Bearer ${token}` });
    assert.match(flows.text, /nvr-camera-gate/);
    const file = join(userDir, 'editor-login.json');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    for (const text of [output, readFileSync(file, 'utf8')]) assert.ok(!text.includes(PASSWORD));
  });

  it('the editor from pages of other sites, on its WebSocket too', async () => {
    const origin = `http://127.0.0.1:${port}`;
    const json = { 'Content-Type': 'application/json' };
    assert.equal(await statusOf('POST', '/flows', { ...json, Origin: 'http://evil.example' }, '[]'), 403);
    assert.equal(await statusOf('POST', '/flows', { ...json, 'Sec-Fetch-Site': 'cross-site' }, '[]'), 403);
    assert.equal(await statusOf('POST', '/flows', { 'Content-Type': 'text/plain' }, '[]'), 415);
    assert.equal(
      await statusOf('POST', '/flows', { ...json, Origin: origin }, '[]'),
      401,
      'its own page comes to the login',
    );
    for (const path of ['/', '/settings', '/flows']) {
      assert.equal(await statusOf('GET', path, { Host: 'evil.example' }), 403, path);
    }
    const link = { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'navigate' };
    assert.equal(await statusOf('GET', '/', { ...link, 'Sec-Fetch-Dest': 'document' }), 200);
    assert.equal(await statusOf('GET', '/', { ...link, 'Sec-Fetch-Dest': 'iframe' }), 403);
    // What the flow answers to is for the flow to guard.
    assert.notEqual(await statusOf('GET', '/nvr/health', { 'Sec-Fetch-Site': 'cross-site' }), 403);

    const opens = async (from: string): Promise<boolean> => {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/comms`, { origin: from });
      const opened = await Promise.race([
        once(socket, 'open').then(() => true),
        new Promise<boolean>((resolve) => socket.on('error', () => resolve(false))),
      ]);
      socket.terminate();
      return opened;
    };
    assert.deepEqual([await opens(origin), await opens('http://evil.example')], [true, false]);
  });

  it('the dashboard and its socket by the key that it prints', async () => {
    const html = { Accept: 'text/html', 'Accept-Language': 'de-DE' };
    const refused = await ask('GET', '/dashboard/live', html);
    assert.equal(refused.status, 403);
    assert.match(refused.text, /noch nicht zugelassen/);
    assert.equal(await statusOf('GET', '/dashboard/_setup'), 403);
    assert.equal(await statusOf('GET', '/nvr/dashboard/token'), 403);
    await assert.rejects(DashboardSocket.open({ port }), /refused/);

    const path = /(\/nvr\/enter\?key=\S+)/.exec(output)![1]!;
    const came = await ask('GET', path, html);
    assert.equal(came.status, 303);
    const Cookie = came.headers['set-cookie']![0]!.split(';')[0]!;
    assert.equal(came.headers.location, '/dashboard');
    assert.equal(await statusOf('GET', '/dashboard/live', { ...html, Cookie }), 200);
    assert.equal(await statusOf('GET', '/nvr/dashboard/token', { Cookie }), 200);
    await DashboardSocket.open({ port, headers: { Cookie } });
    await assert.rejects(DashboardSocket.open({ port, headers: { Cookie, Origin: 'http://evil.example' } }), /refused/);
  });
});

describe('the settings and the login of npm start', () => {
  let userDir: string;
  beforeEach(() => (userDir = mkdtempSync(join(tmpdir(), 'flow-nvr-settings-'))));
  afterEach(() => rmSync(userDir, { recursive: true, force: true }));
  const settings = (): string => readFileSync(join(userDir, 'settings.js'), 'utf8');

  it('come with guards into a folder of an earlier version, and keep what encrypts its passwords', () => {
    const secret = '5'.repeat(64);
    const earlier = `/** Node-RED's settings, made by npm start when there were none. Yours to change. */
module.exports = {
  flowFile: 'flows.json',
  flowFilePretty: true,
  // Encrypts the cameras' passwords in flows_cred.json. Without it they are lost.
  credentialSecret: '${secret}',
  editorTheme: { tours: false, page: { title: 'Flow NVR' } },
  telemetry: { enabled: false, updateNotification: false },
};
`;
    writeFileSync(join(userDir, 'settings.js'), earlier);
    assert.equal(writeSettings(userDir), false);
    assert.ok(settings().includes(secret) && settings().includes('httpAdminMiddleware: nvr.editor'));
  });

  it('are left alone when somebody has changed them', () => {
    writeFileSync(join(userDir, 'settings.js'), 'module.exports = {};\n');
    assert.equal(writeSettings(userDir), false);
    assert.equal(settings(), 'module.exports = {};\n');
  });

  it('open no editor to the network without a login, unless that is said', () => {
    writeFileSync(join(userDir, 'settings.js'), 'module.exports = {};\n');
    const start = { userDir, noLogin: false, first: true };
    assert.throws(() => requireLogin({ ...start, host: '0.0.0.0' }), /--login.*--no-login/);
    assert.match(requireLogin({ ...start, host: '0.0.0.0', noLogin: true })!, /no login/);
    assert.match(requireLogin({ ...start, host: '127.0.0.1' })!, /--login/);
    writeFileSync(join(userDir, 'editor-login.json'), '{}');
    assert.equal(requireLogin({ ...start, host: '0.0.0.0' }), null);
  });
});
