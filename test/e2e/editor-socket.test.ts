/** What strangers send to the editor of a real Node-RED ends nothing: neither its WebSocket nor its login is to be trusted. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { hash } from 'bcryptjs';
import fc from 'fast-check';
import { WebSocket } from 'ws';
import { isCommsMessage } from '../../nodes/nvr-config/comms-guard.ts';
import { NodeRed } from '../support/node-red.ts';

const HOSTILE = [
  ...['null', '1', '"x"', '[]', '[null]', 'true'],
  ...['{"auth":1}', '{"auth":{}}', '{"auth":[]}', '{"auth":{"toString":null}}', '{"auth":true}'],
  ...[
    '{"subscribe":1}',
    '{"subscribe":{}}',
    '{"subscribe":"a{2,1}"}',
    '{"subscribe":"(?<"}',
    `{"subscribe":"${'+'.repeat(40)}"}`,
  ],
  ...[
    '{"topic":1}',
    '{"topic":{"toString":null}}',
    '{"topic":"multiplayer/connect"}',
    '{"topic":"multiplayer/connect","data":null}',
  ],
  ...[
    '{"topic":"multiplayer/location","data":1}',
    '{"topic":"multiplayer/connect","data":{"session":{"toString":null}}}',
  ],
  '{"topic":"multiplayer/location","data":{"workspace":{"toString":1,"valueOf":1}}}',
  '{"topic":"multiplayer/location","data":{"cursor":{"x":{"valueOf":null,"toString":null}}}}',
  `{"topic":"x","data":${'['.repeat(2000)}${']'.repeat(2000)}}`,
];
const GOOD = [
  '{"subscribe":"notification/#"}',
  '{"subscribe":"status/+"}',
  'no JSON',
  '{"auth":"no such token"}',
  '{}',
];

describe('messages to the editor', () => {
  it('are let through as the editor sends them, and not when Node-RED would fail on them', () => {
    for (const text of GOOD) assert.ok(isCommsMessage(text), text);
    for (const data of [{ session: 'abc' }, { workspace: 'a.b', cursor: { x: 1, y: 2 } }])
      assert.ok(isCommsMessage(JSON.stringify({ topic: 'multiplayer/connect', data })));
    for (const text of HOSTILE) assert.ok(!isCommsMessage(text), text);
    fc.assert(fc.property(fc.json({ maxDepth: 6 }), (text) => typeof isCommsMessage(text) === 'boolean'));
  });
});

for (const how of ['without a login', 'with a login', 'without the guard of its settings'] as const) {
  describe(`the editor ${how}`, function () {
    this.timeout(60_000);
    let red: NodeRed;
    let url: string;
    before(async () => {
      red = await NodeRed.create({ guarded: how !== 'without the guard of its settings' });
      if (how === 'with a login') {
        const login = { username: 'admin', hash: await hash('only for tests', 4) };
        writeFileSync(join(red.userDir, 'editor-login.json'), JSON.stringify(login));
      }
      await red.start();
      url = `http://127.0.0.1:${red.port}`;
      if (how !== 'with a login')
        await red.deploy([{ id: 'nvr-store', type: 'nvr-config', storage: '', catalog: '' }] as never);
    });
    after(() => red.dispose());

    async function say(...texts: string[]): Promise<void> {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/comms`);
      socket.on('error', () => undefined);
      await Promise.race([once(socket, 'open'), once(socket, 'close')]);
      const closed = socket.readyState === WebSocket.CLOSED ? null : once(socket, 'close');
      for (const text of texts) socket.send(text);
      socket.close();
      await closed;
    }
    const isUp = async (): Promise<void> => {
      const answer = await fetch(`${url}/auth/login`);
      assert.equal(answer.status, 200);
      await answer.body?.cancel();
    };

    it('outlives whatever is sent to its WebSocket', async () => {
      for (const text of [...HOSTILE, ...GOOD]) {
        await say(text);
        await say('{"subscribe":"notification/#"}', text, 'null');
      }
      await isUp();
    });

    it('still tells its pages what happens', async () => {
      if (how === 'with a login') return;
      const socket = new WebSocket(`${url.replace('http', 'ws')}/comms`);
      const told = once(socket, 'message');
      await once(socket, 'open');
      socket.send('{"subscribe":"notification/#"}');
      await told;
      socket.terminate();
    });

    it('outlives whatever is sent to its login', async () => {
      if (how === 'without the guard of its settings') return; // it has no login then either
      const base = {
        client_id: 'node-red-editor',
        grant_type: 'password',
        scope: '',
        username: 'admin',
        password: 'wrong',
      };
      const values: unknown[] = [1, null, true, [], {}, ['a'], { a: 1 }, { toString: null }];
      const post = async (path: string, type: string, body: string): Promise<number> => {
        const answer = await fetch(url + path, { method: 'POST', headers: { 'Content-Type': type }, body });
        await answer.body?.cancel();
        return answer.status;
      };
      if (how === 'with a login') {
        const right = JSON.stringify({ ...base, password: 'only for tests' });
        assert.equal(await post('/auth/token', 'application/json', right), 200);
      }
      for (const value of values) {
        for (const name of Object.keys(base))
          await post('/auth/token', 'application/json', JSON.stringify({ ...base, [name]: value }));
        await post('/auth/revoke', 'application/json', JSON.stringify({ token: value }));
        await post('/flows', 'application/json', JSON.stringify({ access_token: value }));
        await post('/nvr/token', 'application/json', JSON.stringify({ access_token: value }));
      }
      for (const text of ['password[a]=1', 'password=1&password=2', 'username[]=admin', 'scope[a]=b'])
        await post('/auth/token', 'application/x-www-form-urlencoded', `${new URLSearchParams(base)}&${text}`);
      await (await fetch(`${url}/flows?access_token[a]=1&access_token[b]=2`)).body?.cancel();
      await isUp();
    });
  });
}

describe('routes that packages have for the editor below paths of their nodes', function () {
  this.timeout(60_000);
  let red: NodeRed;
  before(async () => {
    red = await NodeRed.create({ guarded: true, dashboard: true });
    await red.start();
    await red.deploy([{ id: 'dash', type: 'ui-base', name: 'Dashboard', path: '/dashboard' }] as never);
  });
  after(() => red.dispose());

  const ask = async (method: string, path: string, headers: Record<string, string>): Promise<number> => {
    const sent = request(red.url + path, {
      method,
      headers: { 'content-type': 'application/json', ...headers },
      agent: false,
    });
    sent.end('{}');
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    answer.resume();
    return answer.statusCode ?? 0;
  };

  it('refuse pages of other sites and foreign names, as the editor does', async () => {
    for (const [method, path] of [
      ['PATCH', '/dashboard/api/v1/dash/edit/page'],
      ['PATCH', '/dashboard/api/v1/dash/flows'],
      ['POST', '/dashboard/chart/x/clear'],
      ['POST', '/flows'],
    ] as const) {
      assert.equal(await ask(method, path, { Host: 'evil.example' }), 403, `${path} by a foreign name`);
      assert.equal(await ask(method, path, { Origin: 'http://evil.example' }), 403, `${path} by a foreign page`);
      assert.notEqual(await ask(method, path, {}), 403, `${path} by a program`);
    }
  });

  it('leave the pages of the dashboard to the dashboard, and none of either goes into a frame of another site', async () => {
    const page = await fetch(`${red.url}/dashboard/`);
    assert.equal(page.status, 403); // a browser without a key
    assert.match(await page.text(), /not admitted|Open the dashboard/);
    const editor = await fetch(`${red.url}/`);
    assert.equal(editor.headers.get('x-frame-options'), 'SAMEORIGIN');
    await editor.body?.cancel();
  });
});
