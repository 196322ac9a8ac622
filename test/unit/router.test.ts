import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import express, { type Express, type Response } from 'express';
import { Boundary } from '../../engine/http/boundary.ts';
import { sendMjpeg } from '../../engine/http/mjpeg.ts';
import { answerFor } from '../../engine/http/access.ts';
import { camerasAsked } from '../../engine/http/event-params.ts';
import { createRouter } from '../../engine/http/router.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { Tokens, type Grant } from '../../engine/http/tokens.ts';
import { EngineError } from '../../engine/types.ts';

const [START, END] = [1_777_901_400_000, 1_777_901_460_000];
const MINUTE_MS = 60_000;

describe('the HTTP routes', () => {
  let folder: string;
  let tokens: Tokens;
  let server: Server | undefined;
  /** What the query thread was asked. */
  const asked: string[] = [];
  const lines: string[] = [];

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-router-'));
    tokens = new Tokens(folder);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(() => {
    server?.close();
    server?.closeAllConnections();
    server = undefined;
    asked.length = 0;
    lines.length = 0;
  });

  /** Routes of an NVR without an engine, in a server of their own. @returns their address */
  async function serve(more: object = {}, before: (app: Express) => void = () => undefined): Promise<string> {
    const answers: Record<string, unknown> = {
      events: { events: [], cursor: null },
      playable: { runs: [], final: true },
      timeline: '{}',
      moved: { moved: [], next: null },
    };
    const query = {
      call: (call: string, camera: string) => {
        asked.push(call);
        return Promise.resolve(answers[call] ?? (call === 'coverage' ? coverageOf(camera) : []));
      },
    };
    const host = { cameraMessages: [], currentProblem: null, holds: () => Promise.resolve([]) };
    const nvr = { tokens, host, query, ...more } as unknown as NvrService;
    const app = express();
    before(app);
    app.use('/nvr', createRouter({ service: () => nvr, log: (line) => lines.push(line) }));
    server = app.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/nvr`;
  }

  const coverageOf = (camera: string) => ({
    ...{ camera, stream: 'main', start: START, end: END, recorded: [], gaps: [], deleted: [], unscheduled: [] },
  });
  const mint = (grant: Partial<Grant> = {}): Promise<string> =>
    tokens.mint({ cameras: '*', rights: ['live', 'playback', 'export', 'control', 'admin'], ...grant }, MINUTE_MS);

  it('open to a link what they have of its times, and nothing else', async () => {
    const stills = {
      at: () => Promise.resolve({ image: Buffer.from('jpg'), time: START }),
      strip: () => Promise.resolve({ image: Buffer.from('jpg'), times: [START] }),
    };
    const clips = { job: () => Promise.reject(new EngineError('not-found', 'nothing is recorded in this range')) };
    const base = await serve({ stills, clips });
    const token = await mint({ cameras: ['front'], range: { start: START, end: END } });
    const statusOf = async (path: string): Promise<number> => {
      const response = await fetch(`${base}/${path}${path.includes('?') ? '&' : '?'}token=${token}`);
      await response.arrayBuffer();
      return response.status;
    };
    const times = `start=${START}&end=${END}`;
    for (const path of [
      ...['api/events', 'api/timeline', 'api/coverage', 'api/motion/front', 'strip/front.jpg'].map(
        (route) => `${route}?${times}`,
      ),
      `snapshot/front.jpg?at=${START}`,
    ]) {
      assert.equal(await statusOf(path), 200, path);
    }
    // Nothing is recorded here: that is told, so they are open.
    for (const route of ['vod/front/index.m3u8', 'clip/front.mp4', 'clip/front.json']) {
      assert.equal(await statusOf(`${route}?${times}`), 404, route);
      assert.equal(await statusOf(`${route}?start=${START}&end=${END + MINUTE_MS}`), 403, route);
    }
    asked.length = 0;
    for (const path of [
      'api/events',
      `api/events?at=${START}`,
      `api/events?${times}&at=${START}`,
      `api/timeline?at=${START}&start=0&end=${END}`,
      `strip/front.jpg?at=${START}`,
      `snapshot/front.jpg?${times}`,
      `snapshot/front.jpg?at=${START}&${times}`,
      `snapshot/front.jpg?at=${END + MINUTE_MS}`,
      ...['api/holds', 'api/cameras', 'api/tags', 'api/coverage/daily', 'api/system', 'metrics'].flatMap((route) => [
        route,
        `${route}?at=${START}`,
        `${route}?${times}`,
      ]),
    ]) {
      assert.equal(await statusOf(path), 403, path);
    }
    assert.deepEqual(asked, []);
  });

  it('refuse strangers who guess, and nobody else at their address', async () => {
    const base = await serve();
    const statusOf = async (path: string, token: string | null): Promise<number> => {
      const response = await fetch(`${base}/${path}`, token ? { headers: { Authorization: `Bearer ${token}` } } : {});
      const { error } = (await response.json()) as { error?: string };
      if (response.status === 429) assert.equal(error, 'busy');
      return response.status;
    };
    const token = await mint();
    for (let i = 0; i < 10; i++) assert.equal(await statusOf('api/cameras', token), 200);
    for (let i = 0; i < 300; i++) assert.equal(await statusOf('api/cameras', i % 2 ? null : 'x.y.z'), 401);
    assert.equal(await statusOf('api/cameras', null), 429);
    assert.equal(await statusOf('api/holds', 'x.y.z'), 429);
    assert.equal(await statusOf('api/cameras', token), 200);
    assert.equal(await statusOf('health', null), 200);
    const narrow = await mint({ rights: ['live'] });
    assert.equal(await statusOf('api/cameras', narrow), 403);
  });

  it('ask for the coverage of one camera after the other, of each once, and bound the answer', async () => {
    const lefts: number[] = [];
    let under = 0;
    const call = async (_call: string, camera: string, _stream: string, _range: object, _now: number, most: number) => {
      assert.equal(++under, 1, 'one at a time');
      await new Promise(setImmediate);
      under--;
      lefts.push(most);
      const spans = Array.from({ length: 20_000 }, () => ({ start: START, end: END }));
      if (spans.length > most) throw new EngineError('too-many', 'too many ranges: ask for a shorter range');
      return { ...coverageOf(camera), recorded: spans };
    };
    const base = await serve({ query: { call } });
    const token = await mint();
    const ask = (cameras: string): Promise<globalThis.Response> =>
      fetch(`${base}/api/coverage?cameras=${cameras}&start=${START}&end=${END}&token=${token}`);
    const { coverage } = (await (await ask('a,b,a,b,a')).json()) as { coverage: { camera: string }[] };
    assert.deepEqual(
      coverage.map(({ camera }) => camera),
      ['a', 'b'],
    );
    const refused = await ask('a,b,c');
    assert.deepEqual([refused.status, ((await refused.json()) as { error: string }).error], [400, 'too-many']);
    assert.deepEqual(lefts, [50_000, 30_000, 50_000, 30_000, 10_000]);
    assert.deepEqual(camerasAsked({ cameras: 'a,b,a' }), ['a', 'b']);
  });

  it('answer for what was asked wrongly, what is not there and what does not answer with a status of its own', () => {
    const codes: Record<number, string[]> = {
      400: ['bad-hold', 'ptz-range', 'ptz-empty', 'ptz-position', 'imaging-range', 'too-many'],
      404: ['no-preset', 'no-hold', 'no-recorder', 'unknown-recorder'],
      409: ['ptz-unsupported', 'unsupported', 'too-many-holds'],
      429: ['busy'],
      503: ['device', 'auth', 'network', 'host', 'refused', 'certificate', 'bad-xml', 'remote'],
      500: ['storage-full', 'retention', 'error'], // their texts may name folders
    };
    for (const [status, all] of Object.entries(codes)) {
      for (const code of all) assert.equal(answerFor(new EngineError(code, 'why')).status, Number(status), code);
    }
  });

  describe('for a client that leaves while something is waited for', () => {
    /**
     * Asks for a path, and leaves when `held` was reached, before it goes on.
     * @param held of the NVR: what the answer waits for
     */
    async function leaveDuring(path: string, held: Gate, more: object): Promise<void> {
      const base = await serve({ ...more, tokens: { verify: (token: string) => verify(token) } }, (app) => {
        app.use((_request, response, next) => {
          response.once('close', () => left.open());
          next();
        });
      });
      const left = new Gate();
      const verify = async (token: string) => {
        const access = await tokens.verify(token);
        await atToken.pass();
        return access;
      };
      const leaving = new AbortController();
      const asking = fetch(`${base}/${path}token=${await mint()}`, { signal: leaving.signal });
      await held.reached;
      leaving.abort();
      await assert.rejects(asking, { name: 'AbortError' });
      await left.opened;
      held.open();
      for (let i = 0; i < 10; i++) await new Promise(setImmediate);
    }
    let atToken: Gate;
    beforeEach(() => {
      atToken = new Gate();
      atToken.open();
    });

    it('a live view is not begun', async () => {
      atToken = new Gate();
      let joined = 0;
      const live = {
        join: () => {
          joined++;
          return () => undefined;
        },
      };
      const host = { config: { ffmpegPath: '/bin/true' } };
      await leaveDuring('live/front.mjpeg?', atToken, { live, host });
      assert.equal(joined, 0);
    });

    it('a clip has nobody who waits for it', async () => {
      const atJob = new Gate();
      const counts = { waiting: 0, waited: 0 };
      const clips = {
        job: async () => {
          await atJob.pass();
          return { done: new Promise(() => undefined) };
        },
        wait: () => {
          counts.waiting++;
          counts.waited++;
          return () => counts.waiting--;
        },
      };
      await leaveDuring(`clip/front.mp4?start=${START}&end=${END}&`, atJob, { clips });
      assert.deepEqual(counts, { waiting: 0, waited: 1 }, 'told that it left: nobody else may want the clip');
    });

    it('no file is opened', async () => {
      const file = join(folder, 'clip.mp4');
      writeFileSync(file, 'clip');
      const answers: Response[] = [];
      const job = {
        done: Promise.resolve(),
        get file() {
          answers[0]!.req.socket.destroy(); // the last moment before the file is looked at
          return file;
        },
      };
      const clips = { job: () => Promise.resolve(job), wait: () => () => undefined };
      const base = await serve({ clips }, (app) => {
        app.use((_request, response, next) => {
          answers.push(response);
          next();
        });
      });
      await assert.rejects(fetch(`${base}/clip/front.mp4?start=${START}&end=${END}&token=${await mint()}`));
      for (let i = 0; i < 20; i++) await stat(file);
      assert.equal(answers[0]!.getHeader('Accept-Ranges'), undefined);
    });
  });

  it('end a live view of who has most of them for who has none', async () => {
    const ffmpegPath = join(folder, 'ffmpeg-views.sh');
    writeFileSync(ffmpegPath, '#!/bin/sh\nexec yes\n', { mode: 0o755 });
    const boundary = new Boundary(() => assert.fail('nothing should fail'));
    const left: string[] = [];
    const responses: Writable[] = [];
    const show = (camera: string, id: string): void => {
      const live = { join: () => () => left.push(camera) };
      const nvr = { host: { config: { ffmpegPath } }, live } as unknown as NvrService;
      const response = Object.assign(new Writable({ write: () => undefined }), {
        ...{ set: () => undefined, flushHeaders: () => undefined, req: { socket: { destroyed: false } } },
      });
      responses.push(response);
      const until = Date.now() + MINUTE_MS;
      const access = { id, cameras: '*' as const, rights: ['live' as const], expiresMs: until };
      const of = { camera, stream: 'main' as const, fps: 5, width: 640, access };
      sendMjpeg(nvr, of, response as unknown as Response, boundary);
    };
    for (let i = 0; i < 8; i++) show(`camera${i}`, 'greedy');
    assert.throws(() => show('camera8', 'greedy'), { code: 'busy' });
    show('yard', 'modest');
    assert.deepEqual(left, ['camera7']);
    for (const response of responses) response.destroy();
    while (left.length < 9) await new Promise(setImmediate);
  });

  it('end a live view when its token is taken back', async () => {
    const ffmpegPath = join(folder, 'ffmpeg-revoked.sh');
    writeFileSync(ffmpegPath, '#!/bin/sh\nexec yes\n', { mode: 0o755 });
    const gate = new Gate();
    const nvr = {
      ...{ host: { config: { ffmpegPath } }, live: { join: () => () => gate.open() } },
      tokens: { isRevoked: (id: string) => id === 'taken back' },
    } as unknown as NvrService;
    const response = Object.assign(new Writable({ write: () => undefined }), {
      ...{ set: () => undefined, flushHeaders: () => undefined, req: { socket: { destroyed: false } } },
    });
    const access = {
      id: 'taken back',
      cameras: '*' as const,
      rights: ['live' as const],
      expiresMs: Date.now() + 3_600_000,
    };
    const of = { camera: 'front', stream: 'main' as const, fps: 5, width: 640, access };
    for (let shown = false; !shown;) {
      await new Promise(setImmediate);
      try {
        sendMjpeg(nvr, of, response as unknown as Response, new Boundary(() => assert.fail('nothing should fail')));
        shown = true;
      } catch (error) {
        assert.equal((error as EngineError).code, 'busy'); // of the test before
      }
    }
    await gate.opened;
  });

  it('end a live view with its token, though the client takes nothing', async () => {
    const ffmpegPath = join(folder, 'ffmpeg.sh');
    writeFileSync(ffmpegPath, '#!/bin/sh\nexec yes\n', { mode: 0o755 });
    const host = { config: { ffmpegPath } };
    const access = { id: 'somebody', cameras: '*' as const, rights: ['live' as const] };
    const leaving: Promise<unknown>[] = [];
    const boundary = new Boundary(() => assert.fail('nothing should fail'));
    const show = (until: number): void => {
      const gate = new Gate();
      const live = { join: () => () => gate.open() };
      const nvr = { host, live } as unknown as NvrService;
      const response = Object.assign(new Writable({ write: () => undefined }), {
        ...{ set: () => undefined, flushHeaders: () => undefined, req: { socket: { destroyed: false } } },
      });
      const of = {
        camera: 'front',
        stream: 'main' as const,
        fps: 5,
        width: 640,
        access: { ...access, expiresMs: until },
      };
      sendMjpeg(nvr, of, response as unknown as Response, boundary);
      leaving.push(gate.opened);
    };
    // As many as there is room for: the children of the test before may still have places.
    assert.throws(
      () => {
        for (let i = 0; i <= 8; i++) show(Date.now());
      },
      { code: 'busy' },
    );
    await Promise.all(leaving);
    // The places are free when the children that had them are gone.
    for (let free = false; !free;) {
      await new Promise(setImmediate);
      try {
        show(Date.now());
        free = true;
      } catch (error) {
        assert.equal((error as EngineError).code, 'busy');
      }
    }
    await Promise.all(leaving);
  });
});

/** Something waits at it until it is opened. */
class Gate {
  private readonly come = Promise.withResolvers<undefined>();
  private readonly gone = Promise.withResolvers<undefined>();
  readonly reached: Promise<unknown> = this.come.promise;
  readonly opened: Promise<unknown> = this.gone.promise;

  open(): void {
    this.gone.resolve(undefined);
  }

  async pass(): Promise<void> {
    this.come.resolve(undefined);
    await this.opened;
  }
}
