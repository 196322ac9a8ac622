import assert from 'node:assert/strict';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { appendFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { NodeRed, type FlowNode } from '../support/node-red.ts';

const require = createRequire(import.meta.url);
const { hashSync } = require('bcryptjs') as { hashSync: (password: string, rounds: number) => string };

/** Answers with what Node-RED's admin server has: a test cannot look into another process. */
const LIST_ROUTES = `
module.exports.httpAdminMiddleware = (req, res, next) => {
  if (req.url !== '/test/routes') return next();
  const { httpAdmin } = require('node:module').createRequire(process.argv[1])('@node-red/runtime');
  const { stack } = httpAdmin._router ?? httpAdmin.router;
  const routes = stack.flatMap(({ route }) => route ? Object.keys(route.methods).map((method) => [method, route.path]) : []);
  res.json(routes);
};`;

type Route = [method: string, path: string];

interface Answer {
  status: number;
  text: string;
  headers: Record<string, unknown>;
}

/** Not fetch: it sets Host and the Sec- headers itself. */
async function ask(red: NodeRed, method: string, path: string, headers: object, body?: string): Promise<Answer> {
  const sent = request(`${red.url}${path}`, { method, headers: { ...headers }, agent: false });
  sent.end(body);
  const [response] = (await once(sent, 'response')) as [import('node:http').IncomingMessage];
  let text = '';
  for await (const chunk of response as AsyncIterable<Buffer>) text += chunk.toString();
  return { status: response.statusCode ?? 0, text, headers: response.headers };
}

const JSON_TYPE = { 'content-type': 'application/json' };
const concrete = (path: string): string => path.replace(/:\w+/g, 'x');

async function ownRoutes(red: NodeRed): Promise<Route[]> {
  return ((await red.get('/test/routes')) as Route[]).filter(([, path]) => path.startsWith('/nvr/'));
}

describe('the routes that the editor uses', function () {
  this.timeout(90_000);
  let red: NodeRed;
  let server: Server;
  let port = 0;
  let heard = '';
  const flow = (more: object = {}): FlowNode[] => [
    { id: 'tab', type: 'tab', label: 'Test' },
    { id: 'nvr', type: 'nvr-config', storage: 'nvr', catalog: '', httpPath: 'nvr', ffmpegPath: '', ...more },
    {
      ...{ id: 'camera', type: 'camera-source', z: 'tab', nvr: 'nvr', name: 'Yard', camera: 'yard' },
      ...{ url: 'https://127.0.0.1:1/x', subUrl: 'rtsp://127.0.0.4:1/x', transport: 'tcp', audio: false },
      ...{ wires: [[], []], credentials: { username: 'viewer', password: 'st0red-s3cret' } },
    },
  ];

  before(async () => {
    // What the password would be sent to: RTSP that wants Basic.
    server = createServer((socket) => {
      socket.on('error', () => undefined); // FFmpeg hangs up as it likes
      socket.on('data', (data) => {
        heard += data.toString();
        const sequence = /CSeq: (\d+)/.exec(data.toString())?.[1] ?? '1';
        socket.write(
          `RTSP/1.0 401 Unauthorized\r\nCSeq: ${sequence}\r\nWWW-Authenticate: Basic realm="x"\r\nContent-Length: 0\r\n\r\n`,
        );
      });
    }).listen(0, '0.0.0.0');
    await once(server, 'listening');
    port = (server.address() as AddressInfo).port;
    red = await NodeRed.create();
    await appendFile(join(red.userDir, 'settings.cjs'), LIST_ROUTES);
    await red.start();
    await red.deploy(flow());
  });
  after(async () => {
    await red.dispose();
    server.close();
  });

  it('refuse pages of other sites, foreign names and what is not JSON, all of them', async () => {
    const routes = await ownRoutes(red);
    assert.ok(routes.length >= 12, JSON.stringify(routes));
    for (const [method, path] of routes) {
      const at = concrete(path);
      const host = { host: `127.0.0.1:${red.port}` };
      const refused: [object, number][] = [
        [{ ...JSON_TYPE, ...host, 'sec-fetch-site': 'cross-site' }, 403],
        [{ ...JSON_TYPE, ...host, 'sec-fetch-site': 'same-site' }, 403],
        [{ ...JSON_TYPE, ...host, origin: 'https://evil.example' }, 403],
        [{ ...JSON_TYPE, ...host, origin: 'null' }, 403],
        [{ ...JSON_TYPE, host: 'evil.example', origin: 'http://evil.example', 'sec-fetch-site': 'same-origin' }, 403],
        [{ ...JSON_TYPE, host: 'evil.example' }, 403],
        ...(method === 'post'
          ? ([
              [{ ...host, 'content-type': 'text/plain' }, 415],
              [{ ...host, 'content-type': 'application/x-www-form-urlencoded' }, 415],
              [{ ...host, 'content-type': 'multipart/form-data; boundary=x' }, 415],
              [{ ...host }, 415],
            ] as [object, number][])
          : []),
      ];
      for (const [headers, status] of refused) {
        const answer = await ask(red, method.toUpperCase(), at, headers, method === 'post' ? '{}' : undefined);
        assert.equal(answer.status, status, `${method} ${at} ${JSON.stringify(headers)}: ${answer.text}`);
        assert.deepEqual(
          [answer.headers['cache-control'], answer.headers['x-content-type-options']],
          ['no-store', 'nosniff'],
        );
        assert.equal(typeof (JSON.parse(answer.text) as { message: unknown }).message, 'string');
      }
    }
  });

  it('answer bad requests with JSON, without a stack trace or a path of this machine', async () => {
    const routes = await ownRoutes(red);
    for (const [method, path] of routes) {
      const bodies =
        method === 'post' ? ['{', '[]', '7', 'null', '{}', '{"address":{},"url":[],"nvr":"camera"}'] : [''];
      for (const body of bodies) {
        for (const at of [concrete(path), path.replace(/:\w+/g, '%'), path.replace(/:\w+/g, '__proto__')]) {
          if (at.includes('discover')) continue; // it would look for cameras
          const headers = { ...JSON_TYPE, host: `127.0.0.1:${red.port}` };
          const { status, text } = await ask(red, method.toUpperCase(), at, headers, body || undefined);
          assert.doesNotThrow(() => JSON.parse(text), `${method} ${at} ${body}: ${text}`);
          assert.doesNotMatch(text, /\n\s+at |node_modules|\.[jt]s:\d/, `${method} ${at} ${body}`);
          assert.ok(status < 500 || status === 503 || status === 502, `${method} ${at} ${body}: ${status} ${text}`);
        }
      }
    }
  });

  it('take names that are set in the NVR configuration, and say where', async () => {
    const check = (host: string): Promise<Answer> =>
      ask(red, 'POST', '/nvr/check-config', { ...JSON_TYPE, host, origin: `http://${host}` }, '{}');
    assert.match((await check('nvr.example.com')).text, /Host names/);
    await red.deploy(flow({ hostNames: 'other.example.com, NVR.example.com' }));
    assert.equal((await check('nvr.example.com')).status, 200);
    assert.equal((await check('evil.example.com')).status, 403);
    await red.deploy(flow());
    assert.equal((await check('nvr.example.com')).status, 403);
  });

  it('use a stored password at the host that it was stored for only', async () => {
    const account = { id: 'camera', username: 'viewer', password: '__PWRD__', transport: 'tcp' };
    const tries: [string, object][] = [
      ['/nvr/test-stream', { url: `rtsp://127.0.0.2:${port}/x` }],
      ['/nvr/test-stream', { url: `rtsp://127.0.0.1:1@127.0.0.2:${port}/x` }],
      // It has TLS where it was stored for.
      ['/nvr/test-stream', { url: `rtsp://127.0.0.1:${port}/x` }],
      ['/nvr/onvif/profiles', { address: `127.0.0.2:${port}` }],
      ['/nvr/onvif/still', { address: `http://127.0.0.1:${port}` }],
      ['/nvr/onvif/clock', { address: `127.0.0.2:${port}` }],
    ];
    heard = '';
    for (const [path, body] of tries) {
      for (const id of ['camera', 'nvr', '', 'constructor']) {
        const answer = await ask(red, 'POST', path, JSON_TYPE, JSON.stringify({ ...account, ...body, id }));
        assert.equal(answer.status, 403, `${path} ${JSON.stringify(body)}: ${answer.text}`);
        assert.match(answer.text, /enter it again/);
      }
    }
    assert.equal(heard, '', 'nobody was asked');
    const own = { ...account, url: `rtsp://127.0.0.4:${port}/x` };
    const answer = await ask(red, 'POST', '/nvr/test-stream', JSON_TYPE, JSON.stringify(own));
    assert.equal((JSON.parse(answer.text) as { reason: string }).reason, 'auth');
    assert.ok(heard.includes(Buffer.from('viewer:st0red-s3cret').toString('base64')), heard);
  });

  it('run no program that a request names', async () => {
    const ran = join(red.userDir, 'ran');
    const program = join(red.userDir, 'ffmpeg');
    await writeFile(program, `#!/bin/sh\necho "$@" >> '${ran}'\n`, { mode: 0o755 });
    const body = { url: 'lavfi:testsrc2=size=64x64:rate=5', ffmpegPath: program, transport: 'tcp' };
    const tested = await ask(red, 'POST', '/nvr/test-stream', JSON_TYPE, JSON.stringify(body));
    assert.equal((JSON.parse(tested.text) as { ok: boolean }).ok, true, tested.text);
    const checked = await ask(red, 'POST', '/nvr/check-config', JSON_TYPE, JSON.stringify({ ffmpegPath: program }));
    assert.deepEqual((JSON.parse(checked.text) as { ffmpeg: object }).ffmpeg, { file: program, version: null });
    assert.ok(!existsSync(ran));
  });
});

describe('the routes that the editor uses, with a login', function () {
  this.timeout(90_000);
  let red: NodeRed;
  const users = ['read', '*'].map((permissions) => ({
    ...{ username: permissions === '*' ? 'admin' : 'reader', permissions },
    password: hashSync('pass', 4),
  }));

  before(async () => {
    red = await NodeRed.create();
    const settings = `${LIST_ROUTES}\nmodule.exports.adminAuth = ${JSON.stringify({ type: 'credentials', users, default: { permissions: '*' } })};`;
    await appendFile(join(red.userDir, 'settings.cjs'), settings);
    await red.start();
  });
  after(() => red.dispose());

  async function signIn(username: string): Promise<object> {
    const body = { client_id: 'node-red-editor', grant_type: 'password', scope: '', username, password: 'pass' };
    const answer = (await red.post('/auth/token', body)) as { access_token: string };
    return { authorization: `Bearer ${answer.access_token}` };
  }

  it('show no pictures to an account that may only read, and let it start nothing', async () => {
    const reader = await signIn('reader');
    for (const [method, path] of await ownRoutes(red)) {
      const headers = { ...JSON_TYPE, ...reader };
      const { status } = await ask(red, method.toUpperCase(), concrete(path), headers, method === 'post' ? '{}' : '');
      const names = path === '/nvr/ptz/presets/:nvr/:camera' || path === '/nvr/retention/preview/:nvr';
      if (names) assert.notEqual(status, 401, path);
      else assert.equal(status, 401, path);
    }
  });

  it('work behind a reverse proxy that changes names, for who is signed in, but not for who is not', async () => {
    const proxied = { ...JSON_TYPE, host: 'backend.example:1880', origin: 'https://nvr.example.com' };
    const check = async (headers: object): Promise<number> =>
      (await ask(red, 'POST', '/nvr/check-config', { ...proxied, ...headers }, '{}')).status;
    const admin = await signIn('admin');
    assert.equal(await check(admin), 200);
    assert.equal(await check({ ...admin, 'sec-fetch-site': 'same-origin' }), 200);
    assert.equal(await check({ ...admin, 'sec-fetch-site': 'cross-site' }), 403);
    // Everybody may do everything here, and a page of another site is somebody.
    assert.equal(await check({}), 403);
    assert.equal(await check({ authorization: 'Bearer made-up' }), 403);
  });
});
