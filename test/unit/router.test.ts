import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import express, { type Express } from 'express';
import { createRouter } from '../../engine/http/router.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { Tokens, type Grant } from '../../engine/http/tokens.ts';
import { EngineError } from '../../engine/types.ts';

const [START, END] = [1_777_901_400_000, 1_777_901_460_000];
const MINUTE_MS = 60_000;

describe('the HTTP routes', () => {
  let folder: string;
  let tokens: Tokens;
  let server: Server;
  /** What the query thread was asked. */
  const asked: string[] = [];

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-router-'));
    tokens = new Tokens(folder);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  afterEach(() => {
    server.close();
    server.closeAllConnections();
    asked.length = 0;
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
    app.use('/nvr', createRouter({ service: () => nvr, log: () => undefined }));
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
});
