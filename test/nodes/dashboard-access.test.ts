import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { request, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import express, { type RequestHandler } from 'express';
import type { NodeAPI } from 'node-red';
import { ACCESS_FILE, gateOf } from '../../engine/http/gate.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { Tokens } from '../../engine/http/tokens.ts';
import { dashboardToken, enter, type DashboardSettings } from '../../nodes/nvr-config/dashboard-access.ts';

/** An address of this computer that is not loopback. */
const OUTSIDE = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

interface Answer {
  status: number;
  headers: IncomingMessage['headers'];
  body: { token?: string; rights?: string[]; cameras?: unknown; error?: string; message?: string };
}

describe('who gets a token for the dashboard', () => {
  let folder: string;
  let tokens: Tokens;
  let server: Server | undefined;
  const errors: string[] = [];

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-access-'));
    tokens = new Tokens(folder);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(() => server?.close());

  async function serve(settings: object, dashboard: Partial<DashboardSettings> = {}): Promise<number> {
    const app = express();
    const nodes = [
      { type: 'nvr-config', hostNames: 'nvr.example.com' },
      { type: 'ui-base', path: '/dashboard' },
    ];
    const RED = {
      settings: { userDir: folder, ...settings },
      nodes: { eachNode: (visit: (node: object) => void) => nodes.forEach(visit) },
      log: { error: (text: string) => errors.push(text) },
    } as unknown as NodeAPI;
    const wanted: DashboardSettings = { access: 'control', open: false, ...dashboard };
    const place = { service: { tokens } as unknown as NvrService, dashboard: wanted };
    app.get('/nvr/dashboard/token', ...dashboardToken(RED, place));
    app.get('/nvr/enter', enter(RED));
    server = app.listen(0, '0.0.0.0');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** With headers that fetch would not send. */
  async function ask(
    port: number,
    host = '127.0.0.1',
    headers: Record<string, string> = {},
    path = '/nvr/dashboard/token',
  ): Promise<Answer> {
    const asking = request({
      host,
      port,
      path,
      headers: { host: `${host}:${port}`, ...headers },
    });
    asking.end();
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const body = (text.startsWith('{') ? JSON.parse(text) : {}) as Answer['body'];
    return { status: response.statusCode!, headers: response.headers, body };
  }

  const cookieOf = ({ headers }: Answer): string => headers['set-cookie']![0]!.split(';')[0]!;
  /** Comes by a link. */
  const come = (port: number, key: string): Promise<Answer> =>
    ask(port, '127.0.0.1', { accept: 'text/html' }, `/nvr/enter?key=${encodeURIComponent(key)}`);

  it('is a browser that came by a link, where nothing asks who opens the dashboard', async () => {
    const port = await serve({});
    const came = await come(port, gateOf(folder).keyForOne());
    assert.deepEqual([came.status, came.headers.location], [303, '/dashboard']);
    assert.match(came.headers['set-cookie']![0]!, /; Max-Age=2592000; Path=\/; HttpOnly; SameSite=Strict$/);
    const Cookie = cookieOf(came);
    const { status, body, headers } = await ask(port, '127.0.0.1', { Cookie });
    assert.equal(status, 200);
    assert.equal(headers['set-cookie'], undefined, 'a fresh one is not renewed');
    assert.deepEqual(body.rights, ['live', 'playback', 'export', 'control']);
    const { rights, cameras, expiresMs } = await tokens.verify(body.token!);
    assert.deepEqual([rights, cameras], [body.rights, '*']);
    assert.ok(expiresMs <= Date.now() + 601_000);
    // By whatever name a proxy was told to use.
    assert.equal((await ask(port, '127.0.0.1', { Cookie, host: 'nvr.somewhere.example' })).status, 200);
  });

  it('is nobody else then, from this computer or another, and they are told what to do', async () => {
    const port = await serve({});
    for (const headers of [{}, { host: 'localhost' }, { host: `127.0.0.1:${port}` }, { Cookie: 'flow_nvr_access=' }]) {
      const { status, body } = await ask(port, '127.0.0.1', headers);
      assert.deepEqual([status, body.error, body.token], [403, 'closed', undefined]);
      assert.match(body.message!, /Open the dashboard.*httpNodeAuth.*dashboard\.middleware.*Open to the network/s);
    }
  });

  it('is not who made up a key or a cookie, or uses the one for the other', async () => {
    const port = await serve({});
    const gate = gateOf(folder);
    const key = gate.keyForOne();
    const [name, cookie] = gate.cookie().split(';')[0]!.split('=') as [string, string];
    const [end, nonce, mac] = key.split('.') as [string, string, string];
    for (const wrong of ['', key.slice(1), `zzzzzzzz.${nonce}.${mac}`, `${end}.${nonce}.`, cookie, 'x'.repeat(5000)]) {
      assert.equal((await come(port, wrong)).status, 403, wrong);
      assert.equal((await ask(port, '127.0.0.1', { Cookie: `${name}=${wrong}` })).status, wrong === cookie ? 200 : 403);
    }
    assert.equal((await ask(port, '127.0.0.1', { Cookie: `${name}=${key}` })).status, 403);
    assert.equal(
      (await ask(port, '127.0.0.1', { Cookie: `flow_nvr_access=${cookie}` })).status,
      403,
      'of another Node-RED',
    );
    assert.deepEqual([(await come(port, key)).status, (await come(port, key)).status], [303, 403], 'it works once');
    // Other letters at its end are the same bytes in base64url.
    for (const end of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_')
      assert.equal((await come(port, key.slice(0, -1) + end)).status, 403, end);
    const printed = gate.keyToPrint();
    assert.deepEqual([(await come(port, printed)).status, (await come(port, printed)).status], [303, 303]);
    const past = gate.cookie(-1).split(';')[0]!;
    assert.equal((await ask(port, '127.0.0.1', { Cookie: past })).status, 403);
  });

  it('keeps its secret from other users of the machine', () => {
    gateOf(folder).cookie();
    assert.equal(statSync(join(folder, ACCESS_FILE)).mode & 0o777, 0o600);
  });

  it('renews a cookie that is a day old', async () => {
    const port = await serve({});
    const old = gateOf(folder)
      .cookie(20 * 86_400_000)
      .split(';')[0]!;
    const { headers } = await ask(port, '127.0.0.1', { Cookie: old });
    assert.equal((await ask(port, '127.0.0.1', { Cookie: headers['set-cookie']![0]!.split(';')[0]! })).status, 200);
  });

  it('is not another site in the browser that was let in', async () => {
    const port = await serve({});
    const Cookie = gateOf(folder).cookie().split(';')[0]!;
    for (const more of [
      { 'Sec-Fetch-Site': 'cross-site' },
      { 'Sec-Fetch-Site': 'same-site' },
      { Origin: 'http://evil.example' },
    ]) {
      assert.equal((await ask(port, '127.0.0.1', { Cookie, ...more })).status, 403);
    }
    assert.equal((await ask(port, '127.0.0.1', { Cookie, 'Sec-Fetch-Site': 'same-origin' })).status, 200);
  });

  it('is everybody who comes to a name of ours, where that was ticked', async () => {
    const port = await serve({}, { open: true });
    for (const host of ['nvr.example.com', '192.168.1.7:1880', 'localhost', 'nvr.local']) {
      assert.equal((await ask(port, '127.0.0.1', { host })).status, 200, host);
    }
    // A page of that site, whose name was made to mean this computer.
    for (const host of ['evil.example', 'nvr.example.com.evil.example', 'a b']) {
      const { status, body } = await ask(port, '127.0.0.1', { host });
      assert.deepEqual([status, body.token], [403, undefined], host);
    }
  });

  it('is everybody, where that was ticked', async function () {
    if (!OUTSIDE) this.skip();
    assert.equal((await ask(await serve({}, { open: true }), OUTSIDE)).status, 200);
  });

  it('is everybody who got past httpNodeAuth', async function () {
    if (!OUTSIDE) this.skip();
    // Node-RED asks before the request comes here: test/browser/dashboard.test.ts.
    assert.equal((await ask(await serve({ httpNodeAuth: { user: 'u', pass: 'p' } }), OUTSIDE)).status, 200);
  });

  it("is who the dashboard's middleware lets through", async function () {
    if (!OUTSIDE) this.skip();
    const middleware: RequestHandler = (request, response, next) => {
      if (request.headers['x-user']) next();
      else response.status(401).json({ error: 'login' });
    };
    for (const settings of [
      { dashboard: { middleware } },
      { dashboard: { middleware: [middleware] } },
      { ui: { middleware } },
    ]) {
      const port = await serve(settings);
      assert.equal((await ask(port, OUTSIDE)).status, 401);
      assert.equal((await ask(port, OUTSIDE, { 'X-User': 'eva' })).status, 200);
      server!.close();
    }
  });

  it('is not who httpNodeMiddleware refuses; but that alone does not ask who it is', async function () {
    if (!OUTSIDE) this.skip();
    const refuse: RequestHandler = (_request, response) => void response.status(418).json({});
    const pass: RequestHandler = (_request, _response, next) => next();
    assert.equal((await ask(await serve({ httpNodeMiddleware: refuse }))).status, 418);
    server!.close();
    assert.equal((await ask(await serve({ httpNodeMiddleware: pass }), OUTSIDE)).status, 403);
  });

  it('may do what the configuration says, or the middleware for each person', async () => {
    assert.deepEqual((await ask(await serve({}, { access: 'view', open: true }))).body.rights, ['live', 'playback']);
    server!.close();
    const middleware: RequestHandler = (request, _response, next) => {
      (request as { nvr?: object }).nvr = JSON.parse(String(request.headers['x-nvr'])) as object;
      next();
    };
    const port = await serve({ dashboard: { middleware } }, { access: 'admin' });
    const { body } = await ask(port, '127.0.0.1', { 'X-Nvr': '{"access":"view","cameras":["front"]}' });
    assert.deepEqual([body.rights, body.cameras], [['live', 'playback'], ['front']]);
    for (const wrong of ['{"access":"root"}', '{"access":"toString"}', '{"cameras":["../x"]}', '{"cameras":"all"}']) {
      const refused = await ask(port, '127.0.0.1', { 'X-Nvr': wrong });
      assert.deepEqual([refused.status, refused.body.token], [500, undefined], wrong);
    }
    assert.match(errors.at(-1)!, /request\.nvr/);
  });
});
