import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import express from 'express';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { EngineHost } from '../../engine/engine-host.ts';
import { createRouter } from '../../engine/http/router.ts';
import { NvrService } from '../../engine/http/service.ts';
import type { MovedMessage, RetentionSpec, RetentionStateMessage, Tier } from '../../engine/retention/types.ts';
import { TestBucket } from '../support/bucket.ts';
import { addFootage, numberedMedia, repeated, type MadeFile } from '../support/footage.ts';

const SEGMENT_MS = 2000;

describe('footage in tiers', function () {
  this.timeout(60_000);
  const root = mkdtempSync(join(tmpdir(), 'flow-nvr-tiers-'));
  const [hot, warm] = [join(root, 'hot'), join(root, 'warm')];
  const bucket = new TestBucket();
  const remote = 's3://footage/nvr';
  const moved: MovedMessage[] = [];
  const log: string[] = [];
  let host: EngineHost;
  let service: NvrService;
  let server: Server;
  let base: string;
  let token: string;
  let files: MadeFile[];
  let range: { start: number; end: number };

  before(async () => {
    await bucket.start();
    mkdirSync(hot);
    writeFileSync(join(hot, '.flow-nvr'), '');
    const config = { storages: [hot], catalog: join(root, 'catalog.sqlite'), ffmpegPath: 'ffmpeg' };
    const catalog = Catalog.open(config.catalog);
    const media = repeated(numberedMedia({ seconds: 10, width: 320, height: 180, kbps: 800 }), 6);
    const startMs = Math.floor(Date.now() / 1000) * 1000 - 3_600_000;
    files = addFootage(catalog, hot, media, { camera: 'yard', startMs, segmentMs: SEGMENT_MS });
    catalog.close();
    range = { start: files[0]!.startMs, end: files.at(-1)!.endMs };
    host = new EngineHost(config);
    host.on('retention', (message) => {
      if (message.type === 'moved') moved.push(message);
    });
    service = new NvrService(host);
    const app = express();
    app.use('/nvr', createRouter({ service: () => service, log: (line) => log.push(line) }));
    server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/nvr`;
    token = await service.tokens.mint({ cameras: '*', rights: ['playback', 'export', 'admin'] }, 3_600_000);
  });
  after(async () => {
    server.closeAllConnections();
    server.close();
    await Promise.all([host.shutdown(), service.close()]);
    await bucket.dispose();
    rmSync(root, { recursive: true, force: true });
  });

  const spec = (...tiers: Tier[]): RetentionSpec => ({
    ...{ node: 'n', vetoMs: 0, buckets: { [remote]: bucket.access('nvr') } },
    rules: { rules: [], tiers },
  });
  const state = (): RetentionStateMessage => host.retentionState!;
  const get = (path: string): Promise<Response> =>
    fetch(`${base}${path}`, { headers: { authorization: `Bearer ${token}` } });
  const query = (): string => `start=${range.start}&end=${range.end}`;
  const sum = async (response: Response): Promise<string> => {
    assert.equal(response.status, 200, response.url);
    return createHash('sha256')
      .update(Buffer.from(await response.arrayBuffer()))
      .digest('hex');
  };
  const partsOf = async (): Promise<string[]> => {
    const list = await (await get(`/vod/yard/index.m3u8?${query()}`)).text();
    return list.split('\n').filter((line) => /^[\d-]+\.m4s/.test(line));
  };
  const play = async (parts: readonly string[]): Promise<string[]> => {
    const sums: string[] = [];
    for (const part of parts) sums.push(await sum(await get(`/vod/yard/${part}`)));
    return sums;
  };
  const videos = (folder: string): string[] =>
    readdirSync(folder, { recursive: true })
      .map(String)
      .filter((name) => name.includes('.mp4'));
  const until = async (test: () => boolean, what: string): Promise<void> => {
    for (let i = 0; !test(); i++) {
      assert.ok(i < 300, `${what}: ${JSON.stringify(host.retentionState?.tiers)}`);
      if (i % 10 === 9) await host.runRetention();
      await wait(50);
    }
  };
  let original: string[];

  it('plays on, the same to the byte, while it moves', async () => {
    const parts = await partsOf();
    assert.ok(parts.length >= 25, `${parts.length} parts`);
    original = await play(parts);
    await host.setRetention(spec({ to: warm, afterMs: 60_000, least: 'continuous' }));
    await host.runRetention();
    let rounds = 0;
    const done = (): boolean => moved.reduce((all, { files: n }) => all + n, 0) >= files.length;
    while (!done()) {
      assert.ok(++rounds < 100, 'it is not moved');
      assert.deepEqual(await play(parts), original);
      if (rounds % 3 === 0) await host.runRetention();
    }
    assert.deepEqual([videos(hot), videos(warm).length], [[], files.length]);
    assert.deepEqual(await play(parts), original);
    assert.deepEqual([moved[0]!.from, moved[0]!.to, moved[0]!.copied], [hot, warm, false]);
    await host.runRetention();
    const { storages, tiers, problem } = state();
    assert.equal(problem, null);
    assert.equal(tiers[0]!.state, 'ok');
    assert.deepEqual(
      storages.map(({ storage }) => storage),
      [hot, warm],
    );
    const metrics = await (await get('/metrics')).text();
    assert.match(metrics, /flow_nvr_tier_up\{tier="1"\} 1/);
  });

  it('is copied to a bucket, and goes there when its time here is over', async () => {
    const tier: Tier = { to: remote, afterMs: 60_000, least: 'continuous', keepMs: 86_400_000 };
    await host.setRetention(spec({ to: warm, afterMs: 60_000, least: 'continuous' }, tier));
    await until(() => bucket.keys.length === files.length && state().tiers[1]!.waitingFiles === 0, 'it is not copied');
    assert.equal(videos(warm).length, files.length);
    await host.setRetention(spec({ to: warm, afterMs: 60_000, least: 'continuous' }, { ...tier, keepMs: 0 }));
    await until(() => videos(warm).length === 0, 'it is not let go');
    assert.deepEqual(bucket.uploads, []);
    assert.doesNotMatch(JSON.stringify([state(), moved]), /S3RVER/, 'no secrets');
  });

  it('is fetched from there once, however many ask, and is the same', async () => {
    const cache = join(root, '.flow-nvr-cache');
    bucket.requests.length = 0;
    const parts = await partsOf();
    const [timeline, coverage] = await Promise.all(
      ['timeline', 'coverage'].map((name) => get(`/api/${name}?camera=yard&${query()}`)),
    );
    assert.deepEqual([timeline!.status, coverage!.status], [200, 200]);
    const fetched = (): number => bucket.requests.filter((request) => /^GET .*mp4$/.test(request)).length;
    assert.equal(fetched(), 0, 'lists and timelines need none of it');
    const same = await Promise.all(Array.from({ length: 5 }, async () => sum(await get(`/vod/yard/${parts[0]}`))));
    assert.deepEqual([...new Set(same)], [original[0]]);
    assert.equal(fetched(), 1);
    assert.deepEqual(await play(parts), original);
    const clip = await get(`/clip/yard.mp4?${query()}`);
    assert.ok(Buffer.from(await clip.arrayBuffer()).length > 1_000_000);
    assert.equal(fetched(), files.length, 'each of them once');
    assert.deepEqual(log.length, 1, `the export alone: ${log.join()}`);
    assert.equal(videos(cache).length, files.length);
  });

  it('says why when the bucket does not answer, and comes again when it does', async () => {
    rmSync(join(root, '.flow-nvr-cache'), { recursive: true });
    await bucket.stop();
    const [part] = await partsOf();
    const answer = await get(`/vod/yard/${part}`);
    const { error, message } = (await answer.json()) as { error: string; message: string };
    assert.deepEqual([answer.status, error], [503, 'bucket']);
    assert.match(message, /cannot be reached/);
    assert.doesNotMatch(message, /S3RVER/);
    assert.equal((await get(`/api/timeline?camera=yard&${query()}`)).status, 200);
    await bucket.start();
    assert.equal(await sum(await get(`/vod/yard/${part}`)), original[0]);
  });

  it('is deleted there as well when its time is over', async () => {
    const all = spec({ to: remote, afterMs: 60_000, least: 'continuous' });
    const held = await host.hold({
      ...{ name: 'case', camera: 'yard', start: files[3]!.startMs + 1, end: files[3]!.endMs - 1 },
      ...{ until: null, who: '', why: '' },
    });
    const keep = { id: 'r', cameras: '*' as const, keep: { continuousMs: 60_000 } };
    await host.setRetention({ ...all, rules: { ...all.rules, rules: [keep] } });
    await until(() => bucket.keys.length === 1, 'it is not deleted');
    assert.deepEqual(bucket.keys, [`nvr/${files[3]!.path}`], 'what is held is there');
    await host.releaseHold(held.id);
    await until(() => bucket.keys.length === 0, 'it is not deleted');
  });

  it('stays where it is while the disk of a tier is away; recording and deletion go on', async function () {
    const disk = join(root, 'nas');
    mkdirSync(disk);
    const run = (...args: string[]): boolean => spawnSync(args[0]!, args.slice(1)).status === 0;
    if (!run('mount', '-t', 'tmpfs', '-o', 'size=20m', 'flow-nvr-test', disk)) this.skip();
    try {
      await host.setRecorder({
        ...{ id: 'rec', mode: 'continuous', streams: ['main'], schedule: [] },
        ...{ preRollMs: 0, postRollMs: 0, segmentMs: 1000 },
      });
      const mainUrl = 'lavfi:testsrc2=size=320x180:rate=10';
      await host.setCamera({ id: 'lavfi', name: 'lavfi', mainUrl, transport: 'tcp', audio: false });
      await host.attach('rec', 'lavfi');
      const rules = spec({ to: disk, afterMs: 2000, least: 'continuous' });
      await host.setRetention(rules);
      await until(() => videos(disk).length >= 3, 'it is not moved');
      assert.ok(run('umount', disk));
      await host.setRetention({ ...rules, vetoMs: 1 }); // looks at the tier anew
      await until(() => (state().problem ?? '').includes('mount its disk'), 'it is not told');
      const then = videos(hot).length;
      await until(() => videos(hot).length >= then + 3, 'recording does not go on');
      assert.deepEqual(readdirSync(disk), [], 'nothing is written to the empty mount point');
      assert.deepEqual(
        (await host.coverage('lavfi', 'main', 0, Date.now())).gaps.filter(({ cause }) => cause === 'file-missing'),
        [],
      );
      // A limit that deletes on the disk that is there.
      const quota = { [hot]: { bytes: 1 } };
      await host.setRetention({ ...rules, rules: { ...rules.rules, tiers: [], storages: quota } });
      await until(() => videos(hot).length <= 3, 'it does not delete');
    } finally {
      host.releaseCamera('lavfi', true);
      run('umount', '-l', disk);
    }
    assert.ok(existsSync(disk));
  });
});
