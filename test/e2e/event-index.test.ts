import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import express from 'express';
import { EngineHost } from '../../engine/engine-host.ts';
import { readEvent, readTag } from '../../engine/events/incoming.ts';
import type { IndexedEvent } from '../../engine/events/types.ts';
import { createRouter } from '../../engine/http/router.ts';
import { NvrService } from '../../engine/http/service.ts';
import type { Grant } from '../../engine/http/tokens.ts';

const SPEC = {
  ...{ node: 'index', preMs: 1000, postMs: 4000, holdMs: 86_400_000, deadband: 0, keepMs: 86_400_000 * 400 },
  clock: { mode: 'trust' as const, offsetMs: 0 },
};

describe('events while cameras are recorded', function () {
  this.timeout(60_000);
  let storage: string;
  let host: EngineHost;
  let service: NvrService;
  let server: Server;
  const told: IndexedEvent[] = [];

  async function start(): Promise<void> {
    host = new EngineHost({ storages: [storage], catalog: join(storage, 'c.sqlite'), ffmpegPath: 'ffmpeg' });
    host.on('event', (event) => told.push(event));
    service = new NvrService(host);
    const recorder = { id: 'r', mode: 'continuous' as const, streams: ['main' as const], schedule: [] };
    await host.setRecorder({ ...recorder, preRollMs: 0, postRollMs: 0, segmentMs: 2000 });
    for (const id of ['door', 'yard']) {
      const mainUrl = 'lavfi:testsrc2=size=320x180:rate=10';
      await host.setCamera({ id, name: id, mainUrl, transport: 'tcp', audio: false });
      await host.attach('r', id);
    }
  }
  before(async () => {
    storage = await mkdtemp(join(tmpdir(), 'flow-nvr-events-'));
    await start();
    server = createServer(express().use('/nvr', createRouter({ service: () => service, log: () => undefined })));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  after(async () => {
    await Promise.all([host.shutdown(), service.close()]);
    server.closeAllConnections();
    server.close();
    await rm(storage, { recursive: true, force: true });
  });

  const put = (fields: object): Promise<string | null> =>
    host.putIndexed('index', readEvent({ type: 'external', ...fields }, undefined)!, Date.now());
  const until = async <T>(get: () => T | undefined, ms = 20_000): Promise<NonNullable<T>> => {
    for (const end = Date.now() + ms; ;) {
      const found = get();
      if (found !== undefined && found !== null) return found;
      assert.ok(Date.now() < end, `not in ${ms} ms; last: ${JSON.stringify(told.at(-1))}`);
      await wait(50);
    }
  };
  const files = (camera: string): { start: number; end: number }[] => {
    const db = new Sqlite(join(storage, 'c.sqlite'), { readonly: true });
    try {
      return db
        .prepare(
          `SELECT start_ms AS start, end_ms AS "end" FROM segment s JOIN camera c ON c.id = s.camera_id
           WHERE c.key = ? AND state = 'closed' ORDER BY start_ms`,
        )
        .all(camera) as { start: number; end: number }[];
    } finally {
      db.close();
    }
  };

  it('waits for what comes after an event over a restart, until its node is there to hear of it', async () => {
    await until(() => (files('door').length > 1 && files('yard').length > 1 ? true : undefined));
    await host.setIndex(SPEC);
    const id = await put({ cameras: ['door', 'yard'], label: 'jam', correlationId: '1', severity: 'error' });
    assert.equal(told.at(-1)?.phase, 'indexed');
    await Promise.all([host.shutdown(), service.close()]);
    told.length = 0;
    await start();
    await wait(7000);
    assert.equal(told.length, 0, 'nobody would have heard of it');
    await host.setIndex(SPEC);
    const complete = await until(() => told.find(({ phase }) => phase === 'complete'));
    assert.equal(complete.eventId, id);
    for (const footage of complete.footage) {
      assert.equal(footage.state, 'complete');
      const { recorded, gaps, unscheduled } = footage.coverage;
      assert.ok(recorded.length >= 1 && recorded[0]!.start === complete.start - 1000, JSON.stringify(footage));
      assert.ok(recorded.at(-1)!.end >= complete.end! + 3500, 'up to the end, by the process that came after');
      // What the restart cost is told, too.
      assert.ok(gaps.every(({ cause }) => cause === 'restart'));
      assert.ok(
        unscheduled.every(({ start: from, end }) => end - from < 500),
        JSON.stringify(unscheduled),
      );
    }
    assert.deepEqual(complete.problems, []);
  });

  it('keeps its footage from retention until its clip is made', async () => {
    const [event] = told.filter(({ phase }) => phase === 'complete');
    const touching = (): number =>
      files('door').filter(({ start: from, end }) => from < event!.end! + 4000 && end > event!.start - 1000).length;
    const before = touching();
    await until(() => (files('door').at(-1)!.start > event!.end! + 6000 ? true : undefined));
    const rules = { rules: [{ id: 'all', cameras: '*' as const, keep: { continuousMs: 1 } }] };
    await host.setRetention({ node: 'n', vetoMs: 0, rules });
    await host.runRetention();
    assert.ok(before > 0);
    assert.equal(touching(), before);
    assert.ok(files('door')[0]!.end > event!.start - 1000, 'what is older is gone');
    await host.releaseEventHold(event!.eventId);
    await host.releaseEventHold(event!.eventId);
    await host.runRetention();
    assert.equal(touching(), 0);
    host.releaseRetention('n', true);
  });

  it('says what is wrong with an event, and keeps it', async () => {
    const at = Date.now();
    await put({ cameras: ['door', 'nowhere'], correlationId: 'far', sourceTime: at + 3_600_000 });
    const future = told.at(-1)!;
    assert.ok(Math.abs(future.start - at) < 1000 && future.uncertaintyMs > 3_000_000);
    assert.match(future.problems.join(), /in the future.*no camera nowhere/);
    const [event] = told.filter(({ phase }) => phase === 'complete');
    await put({ cameras: ['door'], correlationId: 'gone', sourceTime: event!.start });
    assert.match(told.at(-1)!.problems.join(), /footage of door is deleted already \(age\)/);
    await assert.rejects(host.putIndexed('nobody', readEvent({ type: 'external' }, undefined)!, at), {
      code: 'engine',
    });
  });

  it('stores 1000 at once, each once', async () => {
    const from = told.length;
    const ids = await Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        put({ source: 's', correlationId: `${i % 900}`, label: 'many', cameras: ['yard'] }),
      ),
    );
    assert.equal(ids.length, 1000);
    assert.equal(told.slice(from).filter(({ phase }) => phase === 'indexed').length, 900);
  });

  it('is found, acknowledged and annotated over HTTP, by who may', async () => {
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/nvr`;
    const mint = (grant: Grant): Promise<string> => service.tokens.mint(grant, 60_000);
    const all = await mint({ cameras: '*', rights: ['playback', 'control'] });
    const door = await mint({ cameras: ['door'], rights: ['playback', 'control'] });
    const viewer = await mint({ cameras: '*', rights: ['playback'] });
    const ask = async (
      token: string,
      path: string,
      body?: unknown,
    ): Promise<{ status: number; body: Record<string, unknown> }> => {
      const response = await fetch(`${base}/${path}`, {
        headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
        ...(body === undefined ? {} : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body) }),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    type Found = {
      id: string;
      camera: string;
      cameras: string[];
      label: string;
      notes: { who: string; text: string }[];
      acknowledged: { who: string } | null;
    };
    const find = async (token: string, query: string): Promise<Found[]> => {
      const answer = await ask(token, `api/events?${query}`);
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
      return answer.body['events'] as Found[];
    };
    const [jam] = await find(all, 'text=JAM&severity=error');
    assert.deepEqual(jam!.cameras, ['door', 'yard']);
    assert.deepEqual((await find(door, 'labels=jam'))[0]!.cameras, ['door'], 'no other camera is named');
    assert.deepEqual(await find(door, 'labels=many'), []);
    const [many] = await find(all, 'labels=many&limit=1');
    const rows: [string, string, unknown, number][] = [
      [door, `api/events/${many!.id}/acknowledge`, {}, 404],
      [viewer, `api/events/${jam!.id}/acknowledge`, {}, 403],
      [door, 'api/events?cameras=yard', undefined, 403],
      [door, 'api/events/acknowledge', { query: { cameras: ['yard'] } }, 403],
      [door, 'api/tags', undefined, 403],
      [all, 'api/events/none/notes', { text: 'x' }, 404],
      [all, `api/events/${jam!.id}/notes`, { text: '' }, 400],
      [all, `api/events/${jam!.id}/notes`, { text: 'x'.repeat(4001) }, 400],
      [all, `api/events/${jam!.id}/notes`, '{"text":', 400],
      [all, `api/events/${jam!.id}/notes`, { text: 'x'.repeat(100_000) }, 413],
      [all, 'api/events/acknowledge', { query: { order: 'any' } }, 400],
      [all, 'api/events/acknowledge', { query: { region: { x: 1 } } }, 400],
      [all, 'api/events?severity=bad', undefined, 400],
      [all, 'api/events?text=!!', undefined, 400],
      [door, `api/events/${jam!.id}/notes`, { who: 'Anna', text: 'belt changed' }, 201],
      [all, `api/events/${jam!.id}/acknowledge`, {}, 200],
    ];
    for (const [token, path, body, status] of rows) assert.equal((await ask(token, path, body)).status, status, path);
    const [after] = await find(all, 'text=belt');
    assert.deepEqual([after!.notes[0]!.who, after!.id], ['Anna', jam!.id]);
    assert.match(after!.acknowledged!.who, /^token /);
    assert.deepEqual(await ask(all, 'api/events/acknowledge', { who: 'Bo', query: { labels: ['many'] } }), {
      ...{ status: 200, body: { acknowledged: 900 } },
    });
    assert.equal((await find(all, 'labels=many&acknowledged=false')).length, 0);
    assert.equal(told.filter(({ phase, label }) => phase === 'acknowledged' && label === 'many').length, 900);
    const fields = { type: 'tag', source: 'plc', name: 'speed', unit: 'm/s' };
    const at = Date.now() - 10_000;
    for (const [i, value] of [1, 1, 5, 2].entries())
      await host.putTag('index', readTag({ ...fields, value, time: at + i * 100 }), Date.now());
    const { body } = await ask(all, `api/timeline?start=${at - 1000}&end=${at + 9000}&width=10&tags=speed`);
    assert.deepEqual((body['tags'] as { points: unknown }[])[0]!.points, [[at, 1, 5, 2]]);
    assert.equal(((await ask(all, 'api/tags')).body['tags'] as { unit: string }[])[0]!.unit, 'm/s');
  });
});
