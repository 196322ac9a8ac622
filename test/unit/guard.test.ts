import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { request as ask, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import express, { json, urlencoded, type Express } from 'express';
import type { NodeAPI } from 'node-red';
import { DASHBOARD, askerOf } from '../../engine/http/access.ts';
import { Journal, word } from '../../engine/http/journal.ts';
import { createRouter } from '../../engine/http/router.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { Tokens, type Grant } from '../../engine/http/tokens.ts';
import { FairTurns } from '../../engine/playback/fair-turns.ts';
import { takeBodyFailures } from '../../nodes/nvr-config/body-failures.ts';
import { problemsOf, type HostileAnswer } from '../support/hostile-answers.ts';

const [START, END] = [1_777_901_400_000, 1_777_901_460_000];
const ALL = ['live', 'playback', 'export', 'control', 'admin'] as const;

describe('what every route goes through', () => {
  let folder: string;
  let tokens: Tokens;
  let server: Server | undefined;
  const lines: string[] = [];

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-guard-'));
    tokens = new Tokens(folder);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(() => {
    server?.close();
    server?.closeAllConnections();
    lines.length = 0;
  });

  const router = (nvr: object) =>
    createRouter({ service: () => ({ tokens, ...nvr }) as unknown as NvrService, log: (line) => lines.push(line) });
  async function serve(nvr: object = {}, app: Express = express()): Promise<number> {
    app.use('/nvr', router(nvr));
    server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return (server.address() as AddressInfo).port;
  }
  const mint = (grant: Partial<Grant> = {}): Promise<string> =>
    tokens.mint({ cameras: '*', rights: ALL, ...grant }, 60_000);

  /** As it is, where fetch would tidy it up. */
  async function send(
    port: number,
    path: string,
    options: { method?: string; headers?: Record<string, string>; body?: string | Buffer } = {},
  ): Promise<HostileAnswer> {
    const { method = 'GET', headers = {}, body } = options;
    const sent = ask({ host: '127.0.0.1', port, path: `/nvr${path}`, method, headers });
    sent.end(body);
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    const chunks: Buffer[] = [];
    for await (const chunk of answer) chunks.push(chunk as Buffer);
    return { status: answer.statusCode!, headers: answer.headers, body: Buffer.concat(chunks) };
  }

  describe('asks for the token before it looks at the body', () => {
    /** As Node-RED does where the editor and the NVR have the same root. */
    function behindEditor(): Express {
      const app = express();
      const editor = express();
      editor.use(json({ limit: '5mb' }), urlencoded({ limit: '5mb', extended: true }));
      const nodes = express();
      editor.use(nodes);
      app.use('/', editor);
      takeBodyFailures({ httpAdmin: nodes, settings: { httpNodeRoot: '/' } } as unknown as NodeAPI, 'nvr');
      return app;
    }
    const JSON_TYPE = { 'content-type': 'application/json' };
    const BAD: [status: number, headers: Record<string, string>, body: string | Buffer][] = [
      [400, JSON_TYPE, '{"command": '],
      [400, JSON_TYPE, '['.repeat(20_000) + ']'.repeat(20_000)],
      [400, { ...JSON_TYPE, 'content-encoding': 'gzip' }, 'not gzip'],
      [413, JSON_TYPE, JSON.stringify({ command: 'x'.repeat(70_000) })],
      [413, JSON_TYPE, JSON.stringify({ command: 'x'.repeat(6_000_000) })],
      [413, { ...JSON_TYPE, 'content-encoding': 'gzip' }, gzipSync(JSON.stringify({ command: 'x'.repeat(70_000) }))],
      [415, { ...JSON_TYPE, 'content-type': 'application/json; charset=x' }, '{}'],
      [415, { ...JSON_TYPE, 'content-encoding': 'x' }, '{}'],
      [415, { 'content-type': 'application/x-www-form-urlencoded' }, 'command=panic'],
      [415, { 'content-type': 'text/plain' }, '{"command": "panic"}'],
    ];
    for (const [where, app] of [
      ['alone', express],
      ['behind an editor', behindEditor],
    ] as const) {
      it(`and says what is wrong with it without a word of ours, ${where}`, async () => {
        const port = await serve({}, app());
        const token = await mint();
        for (const [status, headers, body] of BAD) {
          const what = `${status} ${JSON.stringify(headers)} ${body.toString('latin1', 0, 40)}`;
          const stranger = await send(port, '/api/control', { method: 'POST', headers, body });
          assert.deepEqual([stranger.status, problemsOf(stranger)], [401, []], what);
          const known = { ...headers, authorization: `Bearer ${token}` };
          const answer = await send(port, '/api/control', { method: 'POST', headers: known, body });
          assert.deepEqual([answer.status, problemsOf(answer)], [status, []], what);
          const { error } = JSON.parse(answer.body.toString()) as { error: string };
          assert.equal(error, { 400: 'bad-request', 413: 'too-large', 415: 'media-type' }[status], what);
        }
        assert.deepEqual(lines, []);
      });
    }
  });

  it('answers with JSON of its own, whatever the address and the method', async () => {
    const port = await serve({}, express());
    for (const [method, path] of [
      ...['/api/ptz/%zz', '/api/board/%', '/vod/%c0%ae/index.m3u8', '/snapshot/%ff.jpg'].map((path) => ['GET', path]),
      ...['/%', '/<script>', '/api', '/API/x'].map((path) => ['GET', path]),
      ...['OPTIONS', 'TRACE', 'PUT', 'DELETE', 'PATCH', 'PROPFIND'].map((method) => [method, '/api/cameras']),
    ] as [string, string][]) {
      const answer = await send(port, path, { method });
      assert.ok([400, 404].includes(answer.status), `${method} ${path}: ${answer.status}`);
      assert.deepEqual(problemsOf(answer), []);
      assert.match(String(answer.headers['content-type']), /^application\/json/);
      assert.deepEqual(Object.keys(JSON.parse(answer.body.toString()) as object), ['error', 'message'], path);
      assert.ok(!/script|%|PUT/.test(answer.body.toString()), path);
    }
  });

  it('leaves a line in the log for whatever is changed or handed out, with who, what and how it ended', async () => {
    const routes = (router({}).stack as unknown as { route?: { path: string; methods: Record<string, boolean> } }[])
      .flatMap(({ route }) => (route ? Object.keys(route.methods).map((method) => [method, route.path] as const) : []))
      .filter(
        ([method, path]) => method !== 'get' || ['/api/config', '/api/support', '/clip/:camera.mp4'].includes(path),
      );
    assert.ok(routes.length >= 13);
    const host = {
      cameraMessage: () => ({}),
      recordersOf: () => ['r'],
      commandRecorder: () => Promise.resolve(),
    };
    const port = await serve({ host, ptz: new Map(), boards: new Map() });
    const token = await mint();
    const id = (await tokens.verify(token)).id.slice(0, 8);
    for (const [method, route] of routes) {
      lines.length = 0;
      const path = route.replace(':camera', 'front').replace(/:(id|widget)/, 'a%0Anvr:%20forged');
      const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
      await send(port, `${path}?start=${START}&end=${END}`, {
        ...{ method: method.toUpperCase(), headers },
        ...(method === 'post' ? { body: '{"command": "stop-record", "cameras": ["a\\nb", 1], "minutes": "x"}' } : {}),
      });
      const own = lines.filter((line) => line.includes(' by token '));
      assert.equal(own.length, 1, `${method} ${route}: ${lines.join('\n')}`);
      assert.match(own[0]!, new RegExp(`^nvr: [^\\n]+ by token ${id} from 127\\.0\\.0\\.1: [a-z-]+$`));
      if (route === '/api/control/:camera') assert.match(own[0]!, /^nvr: stop-record of front by .*: done$/);
    }
  });

  it('tells what is done many times a second only now and then, and nothing that was sent', () => {
    let now = 0;
    const told: string[] = [];
    const journal = new Journal(
      (line) => told.push(line),
      () => now,
    );
    for (; now < 20_000; now += 100) journal.note('steering of gate', { id: 'abcdefghij' }, '::1', 'done', 5000);
    assert.deepEqual(told, Array(4).fill('nvr: steering of gate by token abcdefgh from ::1: done'));
    for (let i = 0; i < 5000; i++) journal.note(`steering of ${i}`, { id: 'x' }, undefined, 'done', 5000);
    assert.deepEqual(
      [word('front'), word('a\nb'), word({}), word('x'.repeat(65)), word('')],
      ['front', '?', '?', '?', '?'],
    );
  });

  it('counts tokens of the same page or person as one, and each link as its own', async () => {
    const of = async (grant: Partial<Grant>) => askerOf(await tokens.verify(await mint(grant)));
    const page = { by: `${DASHBOARD} ::1`, rights: ['live', 'playback'] as const };
    assert.deepEqual(await of(page), await of(page));
    assert.equal((await of(page)).kind, 'operator');
    assert.notEqual((await of(page)).id, (await of({ ...page, by: `${DASHBOARD} ::2` })).id);
    const range = { start: START, end: END };
    const [link, other] = [await of({ ...page, range }), await of({ ...page, range })];
    assert.deepEqual([link.kind, other.kind, link.id === other.id], ['link', 'link', false]);
    assert.equal((await of({ rights: ['playback'] })).kind, 'viewer');
    assert.equal((await of({ rights: ['control'] })).kind, 'operator');
  });

  it('takes whoever left out of the queue, and says when to try again', async () => {
    const turns = new FairTurns({ atOnce: 1, mostWaiting: 10, busy: 'too many pictures at once' });
    const [asked, begun, ended]: number[][] = [[], [], []];
    const gates = new Map<number, () => void>();
    const stills = {
      strip: async (_camera: string, _stream: string, { count }: { count: number }) => {
        const made = turns.run(async () => {
          begun!.push(count);
          await new Promise<void>((resolve) => gates.set(count, resolve));
          return { image: Buffer.from('jpg'), times: [START] };
        });
        asked!.push(count);
        return made.finally(() => ended!.push(count));
      },
    };
    const seen = async (numbers: readonly number[] | undefined, all: number[]): Promise<void> => {
      while (!all.every((one) => numbers!.includes(one))) await new Promise(setImmediate);
    };
    const port = await serve({ stills });
    const link = await mint({ rights: ['playback'], range: { start: START, end: END } });
    const strip = (count: number, token: string, signal?: AbortSignal): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}/nvr/strip/front.jpg?start=${START}&end=${END}&count=${count}&token=${token}`, {
        ...(signal ? { signal } : {}),
      });
    const first = strip(1, link);
    await seen(begun, [1]);
    const leaving = new AbortController();
    const left = Promise.allSettled([2, 3].map((count) => strip(count, link, leaving.signal)));
    await seen(asked, [2, 3]);
    const refused = await strip(4, link);
    assert.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '2'], 'a link may have two waiting');
    leaving.abort();
    await left;
    await seen(ended, [2, 3, 4]);
    const last = new Map([
      [5, strip(5, await mint())],
      [6, strip(6, link)],
    ]);
    await seen(asked, [5, 6]);
    gates.get(1)!();
    assert.equal((await first).status, 200);
    for (const [count, answer] of last) {
      await seen(begun, [count]);
      gates.get(count)!();
      assert.equal((await answer).status, 200);
    }
    assert.deepEqual(begun, [1, 5, 6], 'those who left were not waited for, and the operator was first');
  });

  it('does not take for a guess what was a good token', async () => {
    const port = await serve();
    const ended = await tokens.mint({ cameras: '*', rights: ALL }, -1000);
    const revoked = await mint();
    tokens.revoke(await tokens.verify(revoked));
    const statusOf = async (token: string): Promise<number> =>
      (await send(port, '/api/cameras', { headers: { authorization: `Bearer ${token}` } })).status;
    for (let i = 0; i < 310; i++) assert.equal(await statusOf('a.b.c'), i < 300 ? 401 : 429);
    assert.deepEqual([await statusOf(ended), await statusOf(revoked)], [401, 401]);
  });

  it('lets no playlist go on for a token that may not see what is live', async () => {
    const playable = { runs: [{ init: 1, timescale: 1000, chunks: [] }], final: false };
    const port = await serve({ query: { call: () => Promise.resolve(playable) } });
    const list = async (rights: Grant['rights']): Promise<string> => {
      const token = await mint({ rights });
      return (await send(port, `/vod/front/index.m3u8?start=${START}&end=${END}&token=${token}`)).body.toString();
    };
    assert.match(await list(['playback']), /#EXT-X-ENDLIST/);
    assert.doesNotMatch(await list(['playback', 'live']), /#EXT-X-ENDLIST/);
  });
});
