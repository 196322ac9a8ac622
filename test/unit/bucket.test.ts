import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { BucketPlace } from '../../engine/retention/bucket-place.ts';
import { TestBucket } from '../support/bucket.ts';

const MB = 1024 * 1024;

describe('a bucket as a tier', function () {
  this.timeout(20_000);
  const bucket = new TestBucket();
  let folder: string;
  let place: BucketPlace;
  const alive = (): void => undefined;
  before(async () => {
    await bucket.start();
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-bucket-'));
    place = new BucketPlace(bucket.access('nvr'));
  });
  after(async () => {
    await bucket.dispose();
    rmSync(folder, { recursive: true, force: true });
  });
  const file = (bytes: number): { from: string; data: Buffer; hash: number } => {
    const [from, data] = [join(folder, 'file'), randomBytes(bytes)];
    writeFileSync(from, data);
    return { from, data, hash: crc32(data) };
  };

  it('takes small files in one piece and large ones in parts, and gives them back', async () => {
    assert.equal((await place.probe()).freeBytes, null);
    for (const bytes of [1000, 8 * MB, 8 * MB + 1, 20 * MB]) {
      const { from, data, hash } = file(bytes);
      const path = `yard/2026-01-01/00/${bytes}.mp4`;
      bucket.requests.length = 0;
      const sha256 = createHash('sha256').update(data).digest('hex');
      assert.deepEqual(await place.take({ from, path, bytes, hash }, alive), { hash: sha256 });
      assert.ok(bucket.read(`nvr/${path}`).equals(data), `${bytes} bytes`);
      assert.equal(
        bucket.requests.some((request) => request.startsWith('POST')),
        bytes > 8 * MB,
        'in parts',
      );
      await place.fetch(path, join(folder, 'back'), bytes, alive);
      assert.ok(readFileSync(join(folder, 'back')).equals(data));
    }
    assert.deepEqual(bucket.uploads, []);
    const removals = bucket.keys.map((key) => ({ path: key.slice(4), begun: false }));
    assert.deepEqual(await place.remove(removals, alive), [null, null, null, null]);
    assert.deepEqual(bucket.keys, []);
  });

  it('does not take what is not as it was recorded', async () => {
    const { from, hash } = file(1000);
    const job = { from, path: 'a', bytes: 1000, hash };
    await assert.rejects(place.take({ ...job, bytes: 999 }, alive), { code: 'damaged' });
    await assert.rejects(place.take({ ...job, hash: hash ^ 1 }, alive), { code: 'damaged' });
    await assert.rejects(place.take({ ...job, from: join(folder, 'none') }, alive), { code: 'gone' });
    await assert.rejects(place.take({ ...job, from: folder }, alive), { code: 'unreadable' });
    assert.deepEqual(bucket.keys, []);
  });

  it('goes on with an upload that was cut off, and sends no part twice', async () => {
    const { from, data } = file(28 * MB);
    const job = { from, path: 'cut', bytes: 28 * MB, hash: null };
    let parts = 0;
    bucket.refuse = (method, path) => method === 'PUT' && path.includes('cut') && ++parts > 2;
    await assert.rejects(place.take(job, alive), { code: 'away' });
    assert.equal(bucket.uploads.length, 1);
    bucket.refuse = null;
    bucket.requests.length = 0;
    await place.take(job, alive);
    assert.equal(bucket.requests.filter((request) => request.startsWith('PUT')).length, 2, 'of four parts');
    assert.ok(bucket.read('nvr/cut').equals(data));
    assert.deepEqual(bucket.uploads, []);
    await place.remove([{ path: 'cut', begun: false }], alive);
  });

  it('never takes for whole what begins with parts of another file', async () => {
    const { from: other } = file(20 * MB);
    let posts = 0;
    bucket.refuse = (method) => method === 'POST' && ++posts > 1;
    const job = { from: other, path: 'other', bytes: 20 * MB, hash: null };
    await assert.rejects(place.take(job, alive), { code: 'away' });
    bucket.refuse = null;
    const { data } = file(20 * MB);
    await assert.rejects(place.take(job, alive), { code: 'bad-copy' }, 'the sum told at its beginning is the other');
    await place.take(job, alive);
    assert.ok(bucket.read('nvr/other').equals(data));
    await place.remove([{ path: 'other', begun: true }], alive);
  });

  it('leaves no parts behind of what is not to be there any more', async () => {
    // As after a process that was killed.
    const { S3Client, CreateMultipartUploadCommand } = await import('@aws-sdk/client-s3');
    const { endpoint, accessKey: accessKeyId, secretKey: secretAccessKey } = bucket.access();
    const credentials = { accessKeyId, secretAccessKey };
    const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials });
    for (const Key of ['nvr/killed', 'nvr/killed-too'])
      await client.send(new CreateMultipartUploadCommand({ Bucket: bucket.bucket, Key }));
    assert.deepEqual(await place.remove([{ path: 'killed', begun: true }], alive), [null]);
    assert.deepEqual(
      bucket.uploads.map(({ key }) => key),
      ['nvr/killed-too'],
      'only what is named',
    );
    assert.deepEqual(await place.remove([{ path: 'killed-too', begun: true }], alive), [null]);
    assert.deepEqual([bucket.uploads, bucket.keys], [[], []]);
  });

  it('says what is wrong without the keys', async () => {
    const { from } = file(10);
    const access = bucket.access();
    const told = async (change: object): Promise<string> => {
      const other = new BucketPlace({ ...access, ...change });
      const error = await other.take({ from, path: 'x', bytes: 10, hash: null }, alive).then(
        () => assert.fail('taken'),
        (reason: unknown) => reason as Error,
      );
      return error.message;
    };
    // s3rver knows keys, and does not compute signatures of version 4.
    assert.match(await told({ accessKey: 'geheim' }), /refused/);
    assert.match(await told({ bucket: 'other' }), /none of this name/);
    const silent = await told({ endpoint: 'http://127.0.0.1:9', secretKey: 'geheim' });
    assert.match(silent, /127\.0\.0\.1:9 cannot be reached/);
    assert.doesNotMatch(silent, /geheim/);
    await assert.rejects(place.fetch('none', join(folder, 'x'), 1, alive), { code: 'not-found' });
  });
});
