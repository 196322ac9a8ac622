import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import express, { type RequestHandler } from 'express';
import type { NodeAPI } from 'node-red';
import type { NvrService } from '../../engine/http/service.ts';
import { Tokens } from '../../engine/http/tokens.ts';
import { dashboardToken, type DashboardSettings } from '../../nodes/nvr-config/dashboard-access.ts';

/** An address of this computer that is not loopback. */
const OUTSIDE = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

interface Answer {
  status: number;
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
    const RED = { settings, log: { error: (text: string) => errors.push(text) } } as unknown as NodeAPI;
    const wanted: DashboardSettings = { access: 'control', open: false, ...dashboard };
    const place = { service: { tokens } as unknown as NvrService, dashboard: wanted };
    app.get('/nvr/dashboard/token', ...dashboardToken(RED, place));
    server = app.listen(0, '0.0.0.0');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }

  /** With headers that fetch would not send. */
  async function ask(port: number, host = '127.0.0.1', headers: Record<string, string> = {}): Promise<Answer> {
    const asking = request({
      host,
      port,
      path: '/nvr/dashboard/token',
      headers: { host: `${host}:${port}`, ...headers },
    });
    asking.end();
    const [response] = (await once(asking, 'response')) as [import('node:http').IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return { status: response.statusCode!, body: JSON.parse(Buffer.concat(chunks).toString()) as Answer['body'] };
  }

  it('is this computer, where nothing asks who opens the dashboard', async () => {
    const port = await serve({});
    const { status, body } = await ask(port);
    assert.equal(status, 200);
    assert.deepEqual(body.rights, ['live', 'playback', 'export', 'control']);
    const { rights, cameras, expiresMs } = await tokens.verify(body.token!);
    assert.deepEqual([rights, cameras], [body.rights, '*']);
    assert.ok(expiresMs <= Date.now() + 601_000);
    assert.equal((await ask(port, 'localhost')).status, 200);
  });

  it('is nobody else then, and they are told what to do', async function () {
    if (!OUTSIDE) this.skip();
    const { status, body } = await ask(await serve({}), OUTSIDE);
    assert.equal(status, 403);
    assert.equal(body.token, undefined);
    assert.match(body.message!, /httpNodeAuth.*dashboard\.middleware.*Open to the network/s);
  });

  for (const header of ['X-Forwarded-For', 'Forwarded', 'X-Real-IP', 'Via', 'X-Forwarded-Proto']) {
    it(`is not who comes through a reverse proxy (${header})`, async () => {
      assert.equal((await ask(await serve({}), '127.0.0.1', { [header]: '127.0.0.1' })).status, 403);
    });
  }

  it('is not a page whose name was made to mean this computer, nor another site in its browser', async () => {
    const port = await serve({});
    assert.equal((await ask(port, '127.0.0.1', { host: 'evil.example' })).status, 403);
    assert.equal((await ask(port, '127.0.0.1', { 'Sec-Fetch-Site': 'cross-site' })).status, 403);
    assert.equal((await ask(port, '127.0.0.1', { 'Sec-Fetch-Site': 'same-origin' })).status, 200);
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
    assert.deepEqual((await ask(await serve({}, { access: 'view' }))).body.rights, ['live', 'playback']);
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
