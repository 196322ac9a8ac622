/** Who sees cameras through a reverse proxy on Node-RED's own computer, which makes everybody look local. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import WebSocket from 'ws';
import { DashboardSocket } from '../support/dashboard-socket.ts';
import { capture, dashboard, tab, TAB } from '../support/flow.ts';
import { NodeRed, type FlowNode } from '../support/node-red.ts';
import { PROXIES, ReverseProxy } from '../support/reverse-proxy.ts';

const NAMES = Object.keys(PROXIES) as (keyof typeof PROXIES)[];

describe('behind a reverse proxy', function () {
  this.timeout(60_000);
  let red: NodeRed;
  const proxies = new Map<string, ReverseProxy>();

  const flow = (openToNetwork: boolean): FlowNode[] => [
    ...tab(),
    ...dashboard(),
    ...capture('camera'),
    {
      ...{
        id: 'nvr-store',
        type: 'nvr-config',
        name: '',
        storage: 'nvr',
        catalog: '',
        httpPath: 'nvr',
        ffmpegPath: '',
      },
      openToNetwork,
    },
    {
      ...{
        id: 'source-yard',
        type: 'camera-source',
        z: TAB,
        name: 'Yard',
        nvr: 'nvr-store',
        camera: 'yard',
        subUrl: '',
      },
      ...{ url: 'lavfi:testsrc2=size=160x90:rate=5', transport: 'tcp', audio: false, wires: [['capture-camera'], []] },
    },
  ];
  const ask = async (port: number, headers: Record<string, string>): Promise<{ status: number; token?: string }> => {
    const asking = request({ host: '127.0.0.1', port, path: '/nvr/dashboard/token', headers });
    asking.end();
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    let text = '';
    for await (const chunk of response) text += String(chunk);
    return { status: response.statusCode!, ...(JSON.parse(text) as { token?: string }) };
  };
  /** The first message of the live media. */
  const live = async (port: number, token: string): Promise<unknown> => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}/nvr/live/yard?token=${token}`);
    try {
      return ((await once(socket, 'message')) as unknown[])[0];
    } finally {
      socket.terminate();
    }
  };

  before(async () => {
    // Its settings guard the dashboard, as those of npm start do.
    red = await NodeRed.create({ dashboard: true, guarded: true });
    await red.start();
    for (const name of NAMES) proxies.set(name, await ReverseProxy.start(name, red.port));
    await red.deploy(flow(false));
    await red.waitFor<{ camera?: string }>('camera', ({ camera }) => camera === 'yard', 20_000);
  });
  after(async () => {
    for (const proxy of proxies.values()) await proxy.stop();
    await red.dispose();
  });

  for (const name of NAMES) {
    it(`lets in who came by a link, and nobody else (${name})`, async () => {
      const { port } = proxies.get(name)!;
      for (const host of [`127.0.0.1:${port}`, 'localhost', 'nvr.example.com']) {
        assert.deepEqual(
          await ask(port, { host }).then(({ status, token }) => [status, token]),
          [403, undefined],
          host,
        );
        assert.equal(
          (await fetch(`http://127.0.0.1:${port}/dashboard/live`, { headers: { Accept: 'text/html' } })).status,
          403,
        );
        await assert.rejects(DashboardSocket.open({ port, headers: { host } }), /refused/);
      }
      const Cookie = await red.dashboardCookie();
      assert.equal((await fetch(`http://127.0.0.1:${port}/dashboard/live`, { headers: { Cookie } })).status, 200);
      const { status, token } = await ask(port, { host: `127.0.0.1:${port}`, Cookie });
      assert.equal(status, 200);
      assert.ok(await live(port, token!));
      const socket = await DashboardSocket.open({ port, headers: { Cookie } });
      await socket.load('grid-widget');
      // A page of another site, in the browser that was let in.
      const foreign = { Cookie, Origin: 'http://evil.example' };
      assert.equal((await ask(port, foreign)).status, 403);
      await assert.rejects(DashboardSocket.open({ port, headers: foreign }), /refused/);
    });
  }

  it('lets in by names of ours alone, where it is open to the network', async () => {
    await red.deploy(flow(true));
    for (const name of ['nginx, Host $host', 'HAProxy'] as const) {
      const { port } = proxies.get(name)!;
      assert.equal((await ask(port, { host: `127.0.0.1:${port}` })).status, 200, name);
      assert.equal((await ask(port, { host: 'evil.example' })).status, 403, name);
      await assert.rejects(DashboardSocket.open({ port, headers: { host: 'evil.example' } }), /refused/);
      await DashboardSocket.open({ port });
    }
  });
});
