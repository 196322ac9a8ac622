/**
 * What deleting costs: a catalogue of a million files, of which 50,000 (a tenth of that with --short) are too old and on
 * disk, while eight cameras are recorded. The old files are links to one small file: what is measured is the catalogue.
 */
import { linkSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Catalog } from '../engine/catalog/catalog.ts';
import { segmentPath } from '../engine/recording/segment-path.ts';
import { CatalogSource } from '../engine/retention/catalog-source.ts';
import { planFrom } from '../engine/retention/rules.ts';
import type { DeletedMessage, RetentionStateMessage, Rule } from '../engine/retention/types.ts';
import { capture, entrance, TAB } from '../test/support/flow.ts';
import { Rig } from '../test/support/rig.ts';
import { check, progress, type BenchResult } from './measure.ts';
import type { Options } from './run.ts';

const CAMERAS = 20;
const FILES = 50_000;
const FILE_MS = 60_000;
const EVENTS = 4000;
const DAY_MS = 86_400_000;
const TIMEOUT_MS = 180_000;

const nameOf = (camera: number): string => `old${`${camera}`.padStart(2, '0')}`;

/** A minute a file, written as recorders do: all cameras together, time going on. Every seventh shows an event. */
function fill(catalogFile: string, archive: string, start: number): void {
  const catalog = Catalog.open(catalogFile);
  const { db } = catalog;
  db.pragma('synchronous = OFF');
  // A sum at the end is quicker than a million small ones.
  const trigger = db.prepare("SELECT sql FROM sqlite_master WHERE name = 'segment_added'").pluck().get() as string;
  db.transaction(() => {
    db.exec('DROP TRIGGER segment_added');
    db.prepare('INSERT INTO storage (id, path) VALUES (1000, ?)').run(archive);
    for (let camera = 1; camera <= CAMERAS; camera++)
      db.prepare('INSERT INTO camera (id, key) VALUES (?, ?)').run(1000 + camera, nameOf(camera));
    db.prepare(
      `WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < @files - 1)
       INSERT INTO segment (camera_id, stream, storage_id, path, start_ms, end_ms, start_ticks, bytes, frames, gops, state, kind)
       SELECT c.id, 'main', 1000, c.key || strftime('/%Y-%m-%d/%H/%Y-%m-%dT%H-%M-%S.000Z_main.mp4', @start / 1000 + i * 60, 'unixepoch'),
         @start + i * 60000, @start + (i + 1) * 60000, 0, 30000000, 1500, zeroblob(300), 'closed',
         CASE WHEN i % 7 = 0 THEN 2 WHEN i % 3 = 0 THEN 1 ELSE 0 END
       FROM n CROSS JOIN camera c WHERE c.id > 1000`,
    ).run({ files: FILES, start });
    db.exec('INSERT INTO usage SELECT storage_id, camera_id, sum(bytes), count(*) FROM segment GROUP BY 1, 2');
    db.exec(trigger);
  })();
  db.pragma('wal_checkpoint(TRUNCATE)');
  catalog.close();
}

/** The first files of each camera, on disk. */
function makeFiles(archive: string, start: number, files: number): void {
  const template = join(archive, 'template');
  mkdirSync(archive, { recursive: true });
  writeFileSync(join(archive, '.flow-nvr'), '');
  writeFileSync(template, 'x');
  const folders = new Set<string>();
  for (let camera = 1; camera <= CAMERAS; camera++) {
    for (let i = 0; i < files; i++) {
      const file = join(archive, segmentPath(nameOf(camera), 'main', start + i * FILE_MS));
      if (!folders.has(dirname(file))) mkdirSync(dirname(file), { recursive: true });
      folders.add(dirname(file));
      linkSync(template, file);
    }
  }
}

/** Events with labels, of two cameras, all over their footage. */
function addEvents(catalogFile: string, start: number): void {
  const catalog = Catalog.open(catalogFile);
  catalog.db.pragma('synchronous = OFF');
  catalog.transaction(() => {
    for (let i = 0; i < EVENTS; i++) {
      const at = start + Math.floor((i / EVENTS) * FILES) * FILE_MS;
      const data = { label: i % 2 ? 'person' : 'car', zones: ['gate'], score: 1, boxes: [], last: at };
      const of = { id: `${i}`, type: 'motion', camera: nameOf(1 + (i % 4 < 2 ? 0 : 1)), source: null };
      catalog.putEvent({ ...of, start: at, end: at + 10_000, data });
    }
  });
  catalog.close();
}

/** How long plans take that look at all of it: many rules of all kinds, most of which find nothing to do. */
function planMs(catalogFile: string, archive: string, now: number, special: readonly Rule[] = []): number {
  const catalog = Catalog.open(catalogFile);
  const plain = Array.from({ length: 10 }, (_, i) => ({
    ...{ id: `${i}`, cameras: i === 0 ? ('*' as const) : [nameOf(2 * i), nameOf(2 * i + 1)], quotaBytes: 1e12 },
    keep: { continuousMs: 7 * DAY_MS, motionMs: 14 * DAY_MS, eventMs: 30 * DAY_MS },
  }));
  const rules = [...plain, ...special];
  const holds = Array.from({ length: 20 }, (_, i) => ({
    ...{ id: `${i}`, name: '', camera: i % 2 ? nameOf(i) : null, until: null, who: '', why: '', created: 0 },
    ...{ start: now - (34 - i) * DAY_MS, end: now - (34 - i) * DAY_MS + 3_600_000 },
  }));
  const space = [{ storage: archive, disk: '', freeBytes: 1e9, totalBytes: 4e13, bytesPerSecond: 1e7 }];
  const times = Array.from({ length: 5 }, () => {
    const from = performance.now();
    planFrom(new CatalogSource(catalog.db), { rules, total: { bytes: 1e13 } }, holds, now, space);
    return performance.now() - from;
  });
  catalog.close();
  return times.sort((a, b) => a - b)[2]!;
}

export default async function retention(options: Options): Promise<BenchResult> {
  const old = options.short ? 250 : 2500;
  const wanted = old * CAMERAS;
  const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-retention-'));
  const archive = join(folder, 'archive');
  const storage = join(folder, 'storage');
  const catalogFile = join(storage, 'catalog.sqlite');
  mkdirSync(storage, { recursive: true });
  progress('a catalogue of 1,000,000 files is made');
  const start = Math.floor(Date.now() / FILE_MS) * FILE_MS - FILES * FILE_MS;
  fill(catalogFile, archive, start);
  makeFiles(archive, start, old);
  const planned = planMs(catalogFile, archive, Date.now());
  addEvents(catalogFile, start);
  const withLabels = planMs(catalogFile, archive, Date.now(), [
    ...['person', 'car'].map((label) => ({
      ...{ id: label, cameras: [nameOf(1), nameOf(2)], keep: { eventMs: 400 * DAY_MS } },
      only: { labels: [label], zones: ['gate', 'door'] },
    })),
  ]);
  progress('8 cameras are recorded');
  const names = Array.from({ length: 8 }, (_, i) => `cam${i + 1}`);
  const rig = await Rig.recording({
    cameras: Object.fromEntries(names.map((name) => [name, { main: { size: 'main' as const } }])),
    ...{ storage, recorder: { segment: 5 } },
  });
  try {
    const recordedFrom = Date.now() + 1000;
    await wait(2000);
    // Half a file after the last that is to go, and with time to spare for what this takes.
    const keep = `${Math.round((Date.now() - (start + old * FILE_MS)) / 1000) - 15} s`;
    const cameras = Array.from({ length: CAMERAS }, (_, i) => nameOf(i + 1)).join(',');
    progress(`${wanted} files are deleted`);
    await rig.red.deploy(
      [
        ...rig.flow(),
        ...['deleted', 'state'].flatMap(capture),
        ...entrance('retention', ['retention-1']),
        {
          ...{ id: 'retention-1', type: 'retention', z: TAB, name: '', nvr: 'nvr-store', storages: [], total: '' },
          ...{ rules: [{ cameras, continuous: keep }], minFree: '', veto: '' },
          wires: [['capture-deleted'], [], ['capture-state']],
        },
      ],
      'nodes',
    );
    await wait(1000);
    rig.red.measureLoopDelay();
    const from = performance.now();
    await rig.red.send('retention', { payload: { command: 'run' } });
    const deleted = await rig.red.waitFor<{ payload: DeletedMessage }>(
      'deleted',
      ({ payload }) => payload.files > 0,
      ...([TIMEOUT_MS, 'end of the run'] as const),
    );
    const { files } = deleted.msg.payload;
    const seconds = (performance.now() - from) / 1000;
    const loop = await rig.red.loopDelay();
    const state = await rig.red.waitFor<{ payload: RetentionStateMessage }>('state', () => true, 10_000, 'state');
    const { planMs: plannedMs, lockMs } = state.msg.payload;
    await wait(1000);
    const recordedTo = Date.now();
    await wait(1500);
    await rig.red.stop();
    const lost = await rig.lost(recordedFrom, recordedTo);
    const left = readdirSync(archive, { recursive: true }).filter((name) => String(name).endsWith('.mp4')).length;
    return {
      checks: [
        check('plan of ten rules over a million files', planned, 'ms', 200),
        check(`plan with rules for labels and ${EVENTS} events`, withLabels, 'ms', 200),
        check('plan during the run', plannedMs, 'ms', 200),
        check('longest lock of the catalogue', lockMs, 'ms', 20),
        check('event loop delay p99', loop.p99Ms, 'ms', 20),
        check('files deleted', files, 'files', wanted, 'atLeast'),
        check('old files left on disk', left, 'files', 0),
        check('frames lost by the recording', lost, 'frames', 0),
      ],
      details: { filesPerSecond: Math.round(files / seconds) },
    };
  } finally {
    await rig.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}
