/**
 * What moving costs: gigabytes of files go to another folder as fast as it takes them, and some to a bucket, while four
 * cameras are recorded. Both folders are on one disk here, which is worse than two.
 */
import { randomFillSync } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Catalog } from '../engine/catalog/catalog.ts';
import { segmentPath } from '../engine/recording/segment-path.ts';
import type { RetentionMessage, RetentionStateMessage } from '../engine/retention/types.ts';
import { TestBucket } from '../test/support/bucket.ts';
import { capture, entrance, TAB } from '../test/support/flow.ts';
import { Rig } from '../test/support/rig.ts';
import { check, progress, type BenchResult } from './measure.ts';
import type { Options } from './run.ts';

const FILE_BYTES = 10_000_000;
const FILE_MS = 60_000;
const CAMERAS = 4;
/** Every tenth shows an event, and goes to the bucket. */
const EVENTS = 10;
const TIMEOUT_MS = 180_000;

function fill(storage: string, files: number, start: number): void {
  mkdirSync(storage, { recursive: true });
  writeFileSync(join(storage, '.flow-nvr'), '');
  const catalog = Catalog.open(join(storage, 'catalog.sqlite'));
  const data = Buffer.alloc(FILE_BYTES);
  randomFillSync(data);
  for (let i = 0; i < files; i++) {
    const startMs = start + i * FILE_MS;
    const path = segmentPath('old', 'main', startMs);
    data.writeUInt32LE(i);
    mkdirSync(dirname(join(storage, path)), { recursive: true });
    writeFileSync(join(storage, path), data);
    catalog.openSegment({
      ...{ camera: 'old', stream: 'main', storage, path, recordingId: null, init: Buffer.from('init') },
      ...{ startMs, startTicks: 0 },
    });
    const end = { endMs: startMs + FILE_MS, bytes: FILE_BYTES, frames: 1, gops: Buffer.from(`${i}`) };
    catalog.closeSegment({ storage, path, ...end });
    if (i % EVENTS === 0) catalog.db.prepare('UPDATE segment SET kind = 2 WHERE path = ?').run(path);
  }
  catalog.close();
}

export default async function tiers(options: Options): Promise<BenchResult> {
  const files = options.short ? 60 : 300;
  const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-tiers-'));
  const [storage, warm] = [join(folder, 'hot'), join(folder, 'warm')];
  const bucket = new TestBucket();
  await bucket.start();
  progress(`${files} files of ${FILE_BYTES / 1e6} MB are made`);
  fill(storage, files, Math.floor(Date.now() / FILE_MS) * FILE_MS - 2 * files * FILE_MS - 86_400_000);
  const names = Array.from({ length: CAMERAS }, (_, i) => `cam${i + 1}`);
  const rig = await Rig.recording({
    cameras: Object.fromEntries(names.map((name) => [name, { main: { size: 'main' as const } }])),
    ...{ storage, recorder: { segment: 5 } },
  });
  try {
    await wait(3000);
    const recordedFrom = Date.now();
    await rig.red.loopDelay();
    progress('they are moved');
    const { endpoint, accessKey, secretKey } = bucket.access();
    const tier = { to: warm, after: '1 d', least: 'continuous' };
    const from = performance.now();
    await rig.red.deploy(
      [
        ...rig.flow(),
        ...['moved', 'state'].flatMap(capture),
        ...entrance('retention', ['retention-1']),
        {
          ...{ id: 'retention-1', type: 'retention', z: TAB, name: '', nvr: 'nvr-store', storages: [], total: '' },
          ...{ rules: [], minFree: '', veto: '', tiers: [tier], bucket: bucket.bucket, bucketEndpoint: endpoint },
          ...{ bucketPathStyle: true, bucketAfter: '1 d', bucketLeast: 'event', bucketKeep: '' },
          credentials: { accessKey, secretKey },
          wires: [['capture-moved'], [], ['capture-state']],
        },
      ],
      'nodes',
    );
    let state: RetentionStateMessage | null = null;
    let lockMs = 0;
    let [there, sent] = [0, 0];
    while (there + sent < files) {
      if (performance.now() - from > TIMEOUT_MS) break;
      await rig.red.send('retention', { payload: { command: 'run' } });
      await wait(500);
      const states = await rig.red.captured<{ payload: RetentionStateMessage }>('state');
      state = states.at(-1)?.msg.payload ?? null;
      lockMs = Math.max(lockMs, ...states.map(({ msg }) => msg.payload.lockMs));
      [there, sent] = [0, 1].map((i) => state?.tiers[i]?.movedFiles ?? 0) as [number, number];
    }
    const seconds = (performance.now() - from) / 1000;
    const loop = await rig.red.loopDelay();
    const recordedTo = Date.now();
    await wait(2000);
    const moved = await rig.red.captured<{ payload: RetentionMessage }>('moved');
    const told = moved.reduce((sum, { msg: { payload } }) => sum + (payload.type === 'moved' ? payload.files : 0), 0);
    await rig.red.stop();
    const lost = await rig.lost(recordedFrom, recordedTo);
    const mp4 = (of: string): number =>
      readdirSync(of, { recursive: true }).filter((name) => String(name).includes('.mp4')).length;
    const left = readdirSync(join(storage, 'old'), { recursive: true }).filter((name) => String(name).includes('.mp4'));
    return {
      checks: [
        check('files in the folder', mp4(warm), 'files', files - Math.ceil(files / EVENTS), 'atLeast'),
        check('objects in the bucket', bucket.keys.length, 'files', Math.ceil(files / EVENTS), 'atLeast'),
        check('files left', left.length, 'files', 0),
        check('files told as moved', told, 'files', files, 'atLeast'),
        check('frames lost by the recording', lost, 'frames', 0),
        check('event loop delay p99', loop.p99Ms, 'ms', 20),
        check('longest lock of the catalogue', lockMs, 'ms', 20),
      ],
      details: {
        megabytesPerSecond: Math.round((files * FILE_BYTES) / 1e6 / seconds),
        lastFileMegabytesPerSecond: state?.tiers.map(({ bytesPerSecond }) => Math.round((bytesPerSecond ?? 0) / 1e6)),
      },
    };
  } finally {
    await rig.dispose();
    await bucket.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}
