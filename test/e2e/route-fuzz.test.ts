import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Agent, request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { tab, TAB } from '../support/flow.ts';
import { problemsOf, type HostileAnswer } from '../support/hostile-answers.ts';
import { HostileRequests, type HostileRequest } from '../support/hostile-requests.ts';
import { NodeRed } from '../support/node-red.ts';

const REQUESTS = 10_000;
const AT_ONCE = 16;
const SEED = 15;
const PASSWORD = 'Fuzz3d#camera/pass';
/** A live picture of a camera that is away, and a camera that does not answer its steering: those are true. */
const TRUE_503 = new Set(['offline', 'device', 'network', 'refused', 'timeout', 'gone']);
/** What they are for: they tell an administrator what is in the log and the configuration. */
const TELLS_FOLDERS = /^\/api\/(log|config|support|system)(\?|$)/;
/** Where dots lead out of the NVR's path, the editor's own files are asked for, and it answers before us. */
const LEADS_OUT = /\/(\.|%2e){2}([/?]|%2f|$)/i;
/** They are costly to answer, and have next to no parameters. */
const RARE = ['/api/support', '/api/system', '/metrics'];

interface Document {
  paths: Record<string, Record<string, { parameters: { name: string; in: string }[] }>>;
}

describe('10,000 hostile requests to every route of a real Node-RED', function () {
  this.timeout(240_000);
  let red: NodeRed;
  let since = 0;
  const agent = new Agent({ keepAlive: true, maxSockets: AT_ONCE });

  const send = ({ method, path, headers, body }: HostileRequest): Promise<HostileAnswer | null> =>
    new Promise((resolve, reject) => {
      const sent = request({ agent, host: '127.0.0.1', port: red.port, path: `/nvr${path}`, method, headers });
      const onAnswer = (answer: IncomingMessage): void => {
        const chunks: Buffer[] = [];
        const done = (): void =>
          resolve({ status: answer.statusCode!, headers: answer.headers, body: Buffer.concat(chunks) });
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.once('end', done);
        answer.once('error', done);
        // A live view has no end.
        if (/^multipart/.test(answer.headers['content-type'] ?? '')) {
          done();
          sent.destroy();
        }
      };
      sent.once('response', onAnswer);
      sent.once('error', (error: NodeJS.ErrnoException) => {
        // It was refused before its body was read to the end.
        if (['ECONNRESET', 'EPIPE'].includes(error.code ?? '')) resolve(null);
        else reject(error);
      });
      sent.end(body ?? undefined);
    });

  const mint = async (cameras: string[] | '*', rights: string[]): Promise<string> => {
    const answer = await red.post('/nvr/token', { nvr: 'nvr-store', cameras, rights, minutes: 60 });
    return (answer as { token: string }).token;
  };
  const camera = (id: string, url: string, credentials: object = {}) => ({
    ...{ id: `source-${id}`, type: 'camera-source', z: TAB, name: id, nvr: 'nvr-store', camera: id, url, subUrl: '' },
    ...{ transport: 'tcp', audio: false, wires: [['recorder-node'], []], credentials },
  });

  before(async () => {
    red = await NodeRed.create();
    await red.start();
    since = Date.now();
    await red.deploy([
      ...tab(),
      {
        id: 'nvr-store',
        type: 'nvr-config',
        name: 'nvr',
        storage: 'nvr',
        catalog: '',
        httpPath: 'nvr',
        ffmpegPath: '',
      },
      camera('yard', 'lavfi:testsrc2=size=160x90:rate=10'),
      camera('gate', 'rtsp://127.0.0.1:1/', { username: 'admin', password: PASSWORD }),
      {
        id: 'recorder-node',
        type: 'recorder',
        z: TAB,
        name: '',
        nvr: 'nvr-store',
        mode: 'continuous',
        streams: 'main',
        preRoll: 0,
        postRoll: 0,
        segment: 2,
        schedule: [],
        wires: [[], []],
      },
    ] as Parameters<NodeRed['deploy']>[0]);
    const token = await mint('*', ['playback']);
    for (let recorded = 0; recorded < 3000; await wait(200)) {
      assert.ok(red.running, red.log);
      const answer = await fetch(
        `${red.url}/nvr/api/coverage?cameras=yard&start=${since}&end=${Date.now()}&token=${token}`,
      );
      if (!answer.ok) continue; // there is no catalogue yet
      const { coverage } = (await answer.json()) as { coverage: { recorded: { start: number; end: number }[] }[] };
      recorded = coverage.flatMap((one) => one.recorded).reduce((sum, { start, end }) => sum + end - start, 0);
    }
  });
  after(async () => {
    agent.destroy();
    await red.dispose();
  });

  it('gets no status of 500 or more, no stack trace, no folder and no secret, and Node-RED goes on', async () => {
    const all = ['live', 'playback', 'export', 'control', 'admin'];
    const full = await mint('*', all);
    const range = { start: since, end: since + 3000 };
    const shared = (await (
      await fetch(`${red.url}/nvr/api/share`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: `Bearer ${full}` },
        body: JSON.stringify({ ...range, cameras: ['yard'], minutes: 60 }),
      })
    ).json()) as { token: string };
    const tokens = [
      full,
      full,
      shared.token,
      await mint(['gate'], all),
      await mint('*', ['live', 'playback', 'export']),
    ];
    const forged = [
      full.slice(0, -4),
      `${full.split('.')[0]}.${Buffer.from('{"cameras":"*"}').toString('base64url')}.x`,
    ];
    const { paths } = JSON.parse(
      readFileSync(join(import.meta.dirname, '../../docs/openapi.json'), 'utf8'),
    ) as Document;
    const routes = Object.entries(paths)
      .filter(([path]) => !RARE.includes(path))
      .flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, { parameters }]) => ({
          ...{ method, path },
          parameters: parameters.flatMap(({ name, in: place }) => (place === 'query' ? name : [])),
        })),
      );
    assert.ok(routes.length > 30);
    const times = [`${since}`, `${since + 1000}`, `${since + 3000}`, new Date(since).toISOString()];
    const hostile = new HostileRequests({
      ...{ seed: SEED, tokens: [...tokens, ...tokens, ...tokens, ...forged, ''] },
      routes: [...routes, ...routes, ...RARE.map((path) => ({ method: 'get', path, parameters: ['after', 'tz'] }))],
      good: {
        ...{
          camera: ['yard', 'gate'],
          cameras: ['yard', 'yard,gate'],
          start: [times[0]!],
          end: times.slice(1),
          at: times,
        },
        ...{ stream: ['main', 'sub'], width: ['160'], count: ['3'], fps: ['5'], speed: ['1', '2'], limit: ['5'] },
        ...{ types: ['motion,recording'], text: ['a'], x: ['0'], order: ['oldest'], tz: ['UTC'], file: ['init-1.mp4'] },
      },
      fields: {
        ...{ command: ['record', 'stop-record', 'start', 'stop', 'restart', 'panic', 'release', 'move'] },
        ...{ cameras: [['yard'], ['gate', 'yard']], camera: ['yard', null], start: [since], end: [since + 3000] },
        ...{ minutes: [1, 60], name: ['a'], why: ['b'], who: ['c'], until: [null], text: ['a note'], query: [{}] },
      },
    });
    const keys = await readFile(join(red.userDir, 'nvr', '.flow-nvr-keys.json'), 'utf8');
    const secrets = [
      ...(JSON.parse(keys) as { keys: string[] }).keys,
      ...[PASSWORD, encodeURIComponent(PASSWORD), Buffer.from(`admin:${PASSWORD}`).toString('base64')],
    ];
    const statuses = new Map<number, number>();
    const wrong: string[] = [];
    const check = (asked: HostileRequest, answer: HostileAnswer): void => {
      const { status, headers, body } = answer;
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      const text = `${JSON.stringify(headers)}\n${body.toString('latin1')}`;
      const isPage = /text\/html/.test(String(headers['content-type']));
      // HEAD has no body to say why.
      const { error = 'offline' } =
        status === 503 && body.length > 0 ? (JSON.parse(body.toString()) as { error?: string }) : {};
      // The id of an event is any text, and quoted when there is no such event. What is in that file is looked for.
      const unquoted = Buffer.from(body.toString('latin1').replaceAll('/etc/passwd', ''), 'latin1');
      const seen = status === 503 && TRUE_503.has(error) ? 404 : status;
      const problems = problemsOf({ status: seen, headers, body: unquoted });
      const found = [
        ...problems.filter(
          (problem) => !(status === 200 && TELLS_FOLDERS.test(asked.path) && !/^status|stack/.test(problem)),
        ),
        ...(secrets.some((secret) => text.includes(secret)) ? ['a secret'] : []),
        ...(isPage && !(status === 301 && LEADS_OUT.test(asked.path)) ? ['a page that is not ours'] : []),
        ...(status === 429 && !headers['retry-after'] ? ['429 without Retry-After'] : []),
      ];
      if (found.length > 0)
        wrong.push(
          `${found.join(', ')}: ${asked.method} ${asked.path.slice(0, 300)} ${JSON.stringify(asked.headers).slice(0, 300)} ${asked.body?.toString('latin1', 0, 200) ?? ''}\n  ${status} ${body.toString('latin1', 0, 300)}`,
        );
    };
    let sent = 0;
    const attack = async (): Promise<void> => {
      while (sent++ < REQUESTS && wrong.length < 20) {
        const asked = hostile.next();
        const answer = await send(asked);
        if (answer) check(asked, answer);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, attack));
    assert.deepEqual(wrong, []);
    assert.ok(red.running);
    for (const status of [200, 204, 400, 401, 403, 404, 413, 415])
      assert.ok((statuses.get(status) ?? 0) > 0, `no answer ${status}: ${JSON.stringify([...statuses])}`);
    assert.ok(!red.log.includes(PASSWORD));
    assert.equal((await fetch(`${red.url}/nvr/api/cameras?token=${await mint('*', ['playback'])}`)).status, 200);
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  });
});
