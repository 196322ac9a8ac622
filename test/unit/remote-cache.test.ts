import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cachedName, RemoteCache } from '../../engine/playback/remote-cache.ts';
import type { PlaceLink } from '../../engine/retention/place-link.ts';
import { EngineError } from '../../engine/types.ts';

describe('files fetched from buckets', () => {
  const root = mkdtempSync(join(tmpdir(), 'flow-nvr-cache-'));
  const folder = join(root, 'cache');
  const storage = 's3://b/x';
  let fetches: string[];
  let fail: EngineError | null;
  let cache: RemoteCache;
  beforeEach(() => {
    fetches = [];
    fail = null;
    const link = {
      call: async (_call: string, path: string, to: string, bytes: number) => {
        fetches.push(path);
        await new Promise((resolve) => setTimeout(resolve, 5));
        if (fail) throw fail;
        writeFileSync(to, Buffer.alloc(bytes));
      },
    } as unknown as PlaceLink;
    cache = new RemoteCache(folder, (of) => (of === storage ? link : null), 100);
  });
  after(() => rmSync(root, { recursive: true, force: true }));

  const file = (path: string, bytes = 40) => ({ storage, path, bytes });
  const has = (path: string): boolean => existsSync(join(folder, cachedName(storage, path)));

  it('are fetched once for all who want them', async () => {
    await Promise.all([cache.fetch(file('a')), cache.fetch(file('a')), cache.fetch(file('b'))]);
    await cache.fetch(file('a'));
    assert.deepEqual(fetches.sort(), ['a', 'b']);
  });

  it('make room for each other, the last used stay', async () => {
    await cache.fetch(file('a'));
    await cache.fetch(file('b'));
    // `b` was used long ago.
    utimesSync(join(folder, cachedName(storage, 'b')), 1, 1);
    await cache.fetch(file('c'));
    assert.deepEqual([has('a'), has('b'), has('c')], [true, false, true]);
    await cache.fetch(file('large', 1000));
    assert.deepEqual([has('a'), has('c'), has('large')], [false, false, true]);
    cache.close();
    assert.equal(existsSync(folder), false);
  });

  it('say why they cannot be had, and are tried again', async () => {
    fail = new EngineError('away', 'the bucket b: access is refused');
    await assert.rejects(cache.fetch(file('a')), { code: 'bucket', message: /access is refused/ });
    fail = new EngineError('not-found', 'not there any more');
    await assert.rejects(cache.fetch(file('a')), { code: 'not-found' });
    await assert.rejects(cache.fetch({ ...file('a'), storage: 's3://other' }), {
      code: 'bucket',
      message: /retention/,
    });
    fail = null;
    await cache.fetch(file('a'));
    assert.equal(readdirSync(folder).length, 1);
  });
});
