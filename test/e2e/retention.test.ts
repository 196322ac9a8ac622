import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { EngineHost } from '../../engine/engine-host.ts';
import type { RetentionMessage } from '../../engine/retention/types.ts';

const CAMERAS = ['door', 'yard'];

describe('retention while cameras are recorded', function () {
  this.timeout(60_000);
  let storage: string;
  let host: EngineHost;
  const messages: RetentionMessage[] = [];

  before(async () => {
    storage = await mkdtemp(join(tmpdir(), 'flow-nvr-retention-'));
    host = new EngineHost({ storages: [storage], catalog: join(storage, 'c.sqlite'), ffmpegPath: 'ffmpeg' });
    host.on('retention', (message) => messages.push(message));
    const recorder = { id: 'r', mode: 'continuous' as const, streams: ['main' as const], schedule: [] };
    await host.setRecorder({ ...recorder, preRollMs: 0, postRollMs: 0, segmentMs: 2000 });
    for (const id of CAMERAS) {
      const mainUrl = 'lavfi:testsrc2=size=320x180:rate=10';
      await host.setCamera({ id, name: id, mainUrl, transport: 'tcp', audio: false });
      await host.attach('r', id);
    }
  });
  after(async () => {
    await host.shutdown();
    await rm(storage, { recursive: true, force: true });
  });

  const query = <T>(sql: string): T[] => {
    const db = new Sqlite(join(storage, 'c.sqlite'), { readonly: true });
    try {
      return db.prepare(sql).all() as T[];
    } finally {
      db.close();
    }
  };
  interface Row {
    camera: string;
    path: string;
    start: number;
    end: number;
    bytes: number;
  }
  const rows = (): Row[] =>
    query<Row>(
      `SELECT c.key AS camera, path, start_ms AS start, end_ms AS "end", bytes FROM segment s JOIN camera c ON c.id = s.camera_id
       WHERE state = 'closed' ORDER BY start_ms`,
    );
  const spec = (quotaBytes: number) => ({
    ...{ node: 'n', vetoMs: 0, rules: { rules: [{ id: 'all', cameras: '*' as const, keep: {}, quotaBytes }] } },
  });

  it('deletes the oldest that is not held, tells so, and rows and files stay the same', async () => {
    for (let i = 0; i < 300 && (i === 0 || rows().length < 12); i++) await wait(100);
    const before = rows();
    assert.ok(before.length >= 12, `${before.length} files`);
    const kept = before.filter(({ camera }) => camera === 'door').slice(0, 2);
    const held = await host.hold({
      ...{ name: 'theft', camera: 'door', start: kept[0]!.start + 1, end: kept[1]!.end - 1 },
      ...{ until: null, who: 'me', why: 'police' },
    });
    assert.deepEqual(await host.holds(), [held]);
    const quota = before.slice(-6).reduce((sum, { bytes }) => sum + bytes, 0);
    await host.setRetention(spec(quota));
    await host.runRetention();

    const left = rows();
    assert.ok(left.reduce((sum, { bytes }) => sum + bytes, 0) <= quota + 2 * before[0]!.bytes);
    const gone = before.filter(({ path }) => !left.some((row) => row.path === path));
    const newest = Math.max(...gone.map(({ start }) => start));
    const older = left.filter(({ start }) => start < newest).map(({ path }) => path);
    assert.deepEqual(
      older,
      kept.map(({ path }) => path),
      'only what is held is older than what is gone',
    );
    const deleted = messages.find((message) => message.type === 'deleted');
    assert.equal(deleted?.files, gone.length);

    const first = gone.find(({ camera }) => camera === 'yard')!;
    const coverage = await host.coverage('yard', 'main', first.start, Date.now() - 3000);
    assert.deepEqual([coverage.deleted[0]?.reason, coverage.deleted[0]?.start], ['quota', first.start]);
    assert.deepEqual(coverage.gaps, []);
    assert.deepEqual(coverage.unscheduled, []);

    const stated = () => messages.findLast((message) => message.type === 'storage');
    // What is written is measured over some seconds.
    for (let i = 0; i < 40 && !((stated()?.storages[0]?.bytesPerSecond ?? 0) > 0); i++) {
      await wait(500);
      await host.runRetention();
    }
    const state = stated();
    assert.ok(state && state.storages[0]!.bytesPerSecond > 0, 'it knows what is written');
    assert.deepEqual([state.holds, state.blocked, state.problem], [1, false, null]);

    await host.setRetention(spec(0));
    await host.runRetention();
    assert.deepEqual(
      rows()
        .filter(({ end }) => end < held.created)
        .map(({ path }) => path),
      kept.map(({ path }) => path),
    );
    await host.releaseHold(held.id);
    await host.runRetention();
    assert.ok(!rows().some(({ path }) => path === kept[0]!.path));
  });

  it('takes rules from one node only, and none when it is gone', async () => {
    await assert.rejects(host.setRetention({ ...spec(1), node: 'other' }), { code: 'one-retention' });
    host.releaseRetention('n', true);
    await assert.rejects(host.runRetention(), { code: 'no-rules' });
  });

  it('leaves the catalogue as the files are', async () => {
    await host.shutdown();
    const names = (await readdir(storage, { recursive: true })).filter((name) => name.endsWith('.mp4'));
    assert.deepEqual(
      names.sort(),
      rows()
        .map(({ path }) => path)
        .sort(),
    );
    assert.deepEqual(query("SELECT id FROM segment WHERE state = 'open' OR doomed IS NOT NULL"), []);
    assert.ok(names.length > 0);
  });
});
