import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { Reconciler } from '../../engine/catalog/reconcile.ts';
import { segmentPath } from '../../engine/recording/segment-path.ts';
import { CatalogSource } from '../../engine/retention/catalog-source.ts';
import { DeletionStore } from '../../engine/retention/deletion-store.ts';
import { deleteMarked, diskOfFiles } from '../../engine/retention/deletion.ts';
import { LEDGER_MS, pruneSteps } from '../../engine/retention/pruning.ts';
import { forecast, plan, planFrom } from '../../engine/retention/rules.ts';
import {
  KINDS,
  type Hold,
  type Kind,
  type Only,
  type Planned,
  type RuleSet,
  type Segment,
} from '../../engine/retention/types.ts';
import type { RecordingTrigger } from '../../engine/types.ts';

const T0 = Date.UTC(2026, 4, 1);
const MINUTE = 60_000;
const hold = (of: Partial<Hold>): Hold => ({
  ...{ id: 'h', name: 'case', camera: null, start: T0, end: T0 + 1, until: null, who: 'me', why: 'x', created: T0 },
  ...of,
});

describe('retention in the catalogue', () => {
  let folder: string;
  let catalog: Catalog;
  let store: DeletionStore;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-retention-'));
    writeFileSync(join(folder, '.flow-nvr'), '');
    catalog = Catalog.open(join(folder, 'catalog.sqlite'));
    store = new DeletionStore(catalog.db);
  });
  afterEach(() => {
    catalog.close();
    rmSync(folder, { recursive: true, force: true });
  });

  interface Footage {
    camera?: string;
    minute: number;
    bytes?: number;
    recording?: string | null;
    storage?: string;
    file?: boolean;
  }
  /** A minute of footage; with `file`, a file of its bytes. */
  const add = ({ camera = 'yard', minute, bytes = 10, recording = null, storage = folder, file }: Footage): string => {
    const startMs = T0 + minute * MINUTE;
    const path = segmentPath(camera, 'main', startMs);
    catalog.openSegment({
      ...{ camera, stream: 'main', storage, path, recordingId: recording, init: Buffer.from('init') },
      ...{ startMs, startTicks: 0 },
    });
    catalog.closeSegment({ storage, path, endMs: startMs + MINUTE, bytes, frames: 1, gops: Buffer.alloc(0) });
    if (file) {
      mkdirSync(dirname(join(storage, path)), { recursive: true });
      writeFileSync(join(storage, path), Buffer.alloc(bytes));
    }
    return join(storage, path);
  };
  const kinds = (): Kind[] =>
    (catalog.db.prepare('SELECT kind FROM segment ORDER BY start_ms').pluck().all() as number[]).map(
      (kind) => KINDS[kind]!,
    );
  const planAll = (of: Partial<RuleSet> = {}, holds = store.holds()): Planned[] =>
    planFrom(
      new CatalogSource(catalog.db),
      { rules: [{ id: 'r', cameras: '*', keep: { continuousMs: 0 } }], ...of },
      ...([holds, T0 + 1e9] as const),
      [{ storage: folder, disk: 'd', freeBytes: 1e12, totalBytes: 1e12, bytesPerSecond: 0 }],
    ).items;
  const rows = (table: string): object[] =>
    catalog.db.prepare(`SELECT * FROM ${table} ORDER BY start_ms`).all() as object[];

  it('knows what files show, whichever came first', () => {
    const record = (id: string, trigger: RecordingTrigger): void =>
      catalog.startRecording({ id, camera: 'yard', stream: 'main', trigger, startMs: T0 });
    const event = (id: string, type: string, start: number, end: number | null): void => {
      catalog.putEvent({ id, type, camera: 'yard', source: null, start: T0 + start, end: end && T0 + end, data: {} });
    };
    const active = (minute: number, seconds: number): void =>
      catalog.putActivity('yard', {
        ...{ start: T0 + minute * MINUTE, cells: Buffer.alloc(72), seconds, peak: 1, data: Buffer.alloc(1) },
      });
    record('all', 'continuous');
    record('some', 'event');
    event('early', 'motion', 2 * MINUTE + 20_000, 2 * MINUTE + 30_000);
    active(4, 3);
    active(6, 0);
    for (let minute = 0; minute < 14; minute++) add({ minute, recording: minute === 0 ? 'some' : 'all' });
    event('late', 'motion', 8 * MINUTE + 20_000, null);
    event('late', 'motion', 8 * MINUTE + 20_000, 9 * MINUTE + 55_000);
    event('plate', 'lpr', 12 * MINUTE + 30_000, 12 * MINUTE + 30_000);
    const c = 'continuous';
    const m = 'motion';
    // Activity is known by the minute, and what is within ten seconds counts: so one file more on either side.
    assert.deepEqual(kinds(), ['event', c, m, m, m, m, c, c, m, m, m, c, 'event', c]);
    event('late', 'lpr', 8 * MINUTE, 8 * MINUTE + 1);
    active(12, 5);
    assert.equal(kinds()[12], 'event', 'never less than it was');
  });

  it('plans as from a list, for any footage', () => {
    const footage = fc.array(
      fc.record({
        ...{
          camera: fc.constantFrom('a', 'b'),
          storage: fc.constantFrom('/one', '/two'),
          kind: fc.constantFrom(0, 1, 2),
        },
        ...{
          length: fc.integer({ min: 0, max: 5 * MINUTE }),
          bytes: fc.integer({ min: 0, max: 99 }),
          doomed: fc.boolean(),
        },
      }),
      { maxLength: 30 },
    );
    const minutes = fc.integer({ min: 0, max: 35 });
    const rules = fc.record({
      keep: fc.record({ continuousMs: minutes, motionMs: minutes, eventMs: minutes }),
      quotaBytes: fc.constantFrom(0, 300, 5000),
      free: fc.integer({ min: 0, max: 1000 }),
      held: minutes,
    });
    const { db } = catalog;
    db.exec("INSERT INTO storage VALUES (1, '/one'), (2, '/two'); INSERT INTO camera VALUES (1, 'a'), (2, 'b')");
    const insert = db.prepare(
      `INSERT INTO segment (id, camera_id, stream, storage_id, path, start_ms, end_ms, start_ticks, bytes, state, kind, doomed)
       VALUES (?, ?, 'main', ?, ?, ?, ?, 0, ?, 'closed', ?, ?)`,
    );
    fc.assert(
      fc.property(footage, rules, (files, { keep, quotaBytes, free, held }) => {
        db.exec('DELETE FROM segment');
        const segments = files.map(({ camera, storage, kind, length, bytes, doomed }, id): Segment => {
          const start = T0 + id * MINUTE;
          const where = [camera === 'a' ? 1 : 2, storage === '/one' ? 1 : 2, `${id}`];
          insert.run(id, ...where, start, start + length, bytes, kind, doomed ? 'age' : null);
          return { id, camera, storage, start, end: start + length, bytes: doomed ? 0 : bytes, kind: KINDS[kind] };
        });
        db.exec('UPDATE segment SET bytes = 0 WHERE doomed IS NOT NULL');
        const usable = segments.filter((_, i) => !files[i]!.doomed);
        const inMs = { continuousMs: keep.continuousMs * MINUTE, motionMs: keep.motionMs * MINUTE };
        const set: RuleSet = {
          rules: [{ id: 'r', cameras: ['a'], keep: { ...inMs, eventMs: keep.eventMs * MINUTE }, quotaBytes }],
          storages: { '/two': { bytes: 400 } },
        };
        const holds = [hold({ camera: 'a', start: T0 + held * MINUTE, end: T0 + (held + 3) * MINUTE })];
        const space = ['/one', '/two'].map((storage) => ({
          ...{ storage, disk: 'd', freeBytes: free, totalBytes: 1e6, bytesPerSecond: 0.2 },
        }));
        const now = T0 + 36 * MINUTE;
        const source = new CatalogSource(db);
        assert.deepEqual(planFrom(source, set, holds, now, space), plan(usable, set, holds, now, space));
        const rates = new Map([['a', 1]]);
        const [told] = forecast(source, set, holds, now, space, rates);
        const aged = plan(
          usable,
          { rules: set.rules },
          holds,
          now,
          space.map((s) => ({ ...s, bytesPerSecond: 0 })),
        );
        const byAge = aged.items.filter(({ reason }) => reason === 'age').reduce((sum, { bytes }) => sum + bytes, 0);
        assert.ok(told!.deleteBytes >= byAge);
      }),
      { numRuns: 150 },
    );
  });

  it('finds events by label, zone and trigger', () => {
    const event = (id: string, type: string, minute: number, data: object): void => {
      const start = T0 + minute * MINUTE;
      catalog.putEvent({ id, type, camera: 'yard', source: null, start, end: start + 5000, data });
    };
    add({ minute: 0 });
    event('a', 'motion', 1, { zones: ['gate'] });
    event('b', 'motion', 2, { zones: ['door'], label: 'person' });
    event('c', 'external', 3, { label: 'person' });
    catalog.startRecording({ id: 'p', camera: 'yard', stream: 'main', trigger: 'panic', startMs: T0 + 4 * MINUTE });
    catalog.endRecording('p', T0 + 5 * MINUTE);
    const source = new CatalogSource(catalog.db);
    const minutes = (only: Only, start = 0, end = 60): number[] =>
      source
        .shown('yard', only, { start: T0 + start * MINUTE, end: T0 + end * MINUTE })
        .map((range) => Math.floor((range.start + 10_000 - T0) / MINUTE))
        .sort();
    assert.deepEqual(minutes({ labels: ['person'] }), [2, 3]);
    assert.deepEqual(minutes({ labels: ['person'], zones: ['door', 'gate'] }), [2]);
    assert.deepEqual(minutes({ zones: ['gate'] }), [1]);
    assert.deepEqual(minutes({ triggers: ['panic', 'external'] }), [3, 4]);
    assert.deepEqual(minutes({ triggers: ['motion'] }, 1.5), [2]);
    assert.deepEqual(minutes({ labels: ['person'] }, 0, 2.5), [2]);
    assert.deepEqual(source.shown('nobody', { labels: ['person'] }, { start: 0, end: T0 * 2 }), []);
  });

  it('forgets what is long before the oldest footage, a little at a time', () => {
    const before = T0 - LEDGER_MS;
    add({ minute: 0 });
    for (let i = 1; i <= 120; i++) {
      const start = before - i * MINUTE;
      catalog.openGap({ id: i, camera: 'yard', stream: 'main', start, end: start + 1, cause: 'stalled' });
      const minute = { start, cells: Buffer.alloc(72), seconds: 0, peak: 0, data: Buffer.alloc(1) };
      catalog.putActivity('yard', minute);
    }
    catalog.openGap({ id: 900, camera: 'yard', stream: 'main', start: before - 5, end: null, cause: 'stalled' });
    catalog.openGap({ id: 901, camera: 'yard', stream: 'main', start: before - 5, end: before + 5, cause: 'stalled' });
    catalog.startRecording({ id: 'r', camera: 'yard', stream: 'sub', trigger: 'continuous', startMs: before - 9 });
    catalog.endRecording('r', before - 8);
    catalog.db.exec("INSERT INTO init (data) VALUES (x'00')");
    const count = (table: string): number =>
      catalog.db.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
    const run = (holds: Hold[]): number[] => [...pruneSteps(catalog.db, (call) => store.write(call), holds, T0 * 2)];
    assert.equal(Math.max(...run([hold({ start: T0 - 10 * MINUTE - LEDGER_MS })])), 1, 'nothing but a header');
    assert.ok(run([]).every((rows) => rows <= 50));
    assert.deepEqual(['gap', 'activity', 'activity_seconds', 'recording', 'init'].map(count), [2, 0, 0, 0, 1]);
  });

  it('deletes files, then rows, and remembers what was deleted as ranges', () => {
    const files = Array.from({ length: 6 }, (_, minute) => add({ minute, file: true }));
    store.putHold(hold({ start: T0 + 3 * MINUTE, end: T0 + 3 * MINUTE + 1 }));
    const items = planAll();
    assert.deepEqual(
      items.map(({ start }) => (start - T0) / MINUTE),
      [0, 1, 2, 4, 5],
    );
    const now = T0 + 10 * 86_400_000;
    for (const batch of [items.slice(0, 2), items.slice(2)]) {
      const { deleted, failed } = deleteMarked(store, store.mark(batch, now), diskOfFiles, now);
      assert.deepEqual([deleted.length, failed.length], [batch.length, 0]);
    }
    assert.deepEqual(
      files.map((file) => existsSync(file)),
      [false, false, false, true, false, false],
    );
    const ranges = rows('deleted').map((row) => {
      const { start_ms, end_ms, reason, bytes, files } = row as Record<string, unknown>;
      return [(Number(start_ms) - T0) / MINUTE, (Number(end_ms) - T0) / MINUTE, reason, bytes, files];
    });
    assert.deepEqual(ranges, [
      [0, 3, 'age', 30, 3],
      [4, 6, 'age', 20, 2],
    ]);
    const coverage = catalog.coverage('yard', 'main', { start: T0, end: T0 + 7 * MINUTE }, [], now);
    assert.deepEqual(coverage.deleted, [
      { start: T0, end: T0 + 3 * MINUTE, reason: 'age' },
      { start: T0 + 4 * MINUTE, end: T0 + 6 * MINUTE, reason: 'age' },
    ]);
    assert.deepEqual(coverage.unscheduled, [{ start: T0 + 6 * MINUTE, end: T0 + 7 * MINUTE }]);
    // What was between goes too: the ranges become one, and the hour's folder is empty.
    assert.equal(store.dropHold('h'), true);
    deleteMarked(store, store.mark(planAll(), now), diskOfFiles, now);
    assert.equal(rows('deleted').length, 1);
    assert.equal(existsSync(dirname(dirname(files[0]!))), false);
    assert.deepEqual(catalog.db.prepare('SELECT bytes, files FROM usage').get(), { bytes: 0, files: 0 });
  });

  it('does not mark what is held, open, or another file by now', () => {
    add({ minute: 0 });
    add({ minute: 1 });
    const [first, second] = planAll();
    store.putHold(hold({ camera: 'yard', start: T0, end: T0 + 1 }));
    assert.deepEqual(store.mark([first!, { ...second!, start: second!.start - 1 }], T0), []);
    assert.deepEqual(
      store.mark([first!, second!], T0).map(({ start }) => start),
      [second!.start],
    );
    assert.deepEqual(store.mark([second!], T0), []);
    store.unmark(store.marked());
    assert.equal(store.mark([second!], T0).length, 1);
  });

  it('leaves rows alone whose files cannot be deleted', () => {
    add({ minute: 0 });
    const away = add({ minute: 1, storage: join(folder, 'not-mounted') });
    add({ minute: 2, file: true });
    const all = store.mark(
      plan(
        [0, 1, 2].map((i) => ({
          id: i + 1,
          camera: 'yard',
          storage: i === 1 ? join(folder, 'not-mounted') : folder,
          start: T0 + i * MINUTE,
          end: 0,
          bytes: 1,
          kind: 'motion',
        })),
        { rules: [{ id: 'r', cameras: '*', keep: { continuousMs: 0 } }] },
        ...([[], T0 * 2] as const),
        [folder, join(folder, 'not-mounted')].map((storage) => ({
          ...{ storage, disk: storage, freeBytes: 1, totalBytes: 1, bytesPerSecond: 0 },
        })),
      ).items,
      T0,
    );
    assert.equal(all.length, 3);
    const result = deleteMarked(
      store,
      all,
      {
        ...diskOfFiles,
        unlink: (file) => {
          if (file.includes('00-02-')) throw Object.assign(new Error('EROFS: read-only'), { code: 'EROFS' });
          diskOfFiles.unlink(file);
        },
      },
      T0,
    );
    // The first was gone already, of the second nobody knows, the third stays.
    assert.deepEqual(
      result.deleted.map(({ start }) => start),
      [T0],
    );
    assert.equal(result.failed.length, 2);
    assert.ok(result.failed.some(({ path, storage }) => join(storage, path) === away));
    assert.equal(rows('segment').length, 2);
  });

  it('finishes after a crash what was marked, and does not take it for lost or new', () => {
    const files = [0, 1, 2].map((minute) => add({ minute, file: true, bytes: 5000 }));
    const items = planAll().slice(0, 2);
    store.mark(items, T0);
    rmSync(files[0]!);
    catalog.close();
    catalog = Catalog.open(join(folder, 'catalog.sqlite'));
    const reconciler = new Reconciler(catalog, () => 1);
    reconciler.finishOpen([folder]);
    assert.deepEqual(
      files.map((file) => existsSync(file)),
      [false, false, true],
    );
    for (const step of reconciler.walk(folder, Infinity)) assert.ok(step);
    assert.deepEqual(reconciler.report, { indexed: 0, missing: 0, empty: 0, doubles: 0, moved: 0, copies: 0, left: 0 });
    assert.equal(rows('segment').length, 1);
    assert.equal(rows('deleted').length, 1);
    assert.equal(rows('gap').length, 0);
  });

  it('walks past files that are being deleted', () => {
    const file = add({ minute: 0, file: true });
    store.mark(planAll(), T0);
    rmSync(file);
    const reconciler = new Reconciler(catalog, () => 1);
    for (const step of reconciler.walk(folder, Infinity)) assert.ok(step);
    assert.equal(reconciler.report.missing, 0);
    assert.equal(store.marked().length, 1);
  });

  it('keeps holds, and forgets those that ended', () => {
    const made = hold({ camera: 'yard', until: T0 + 5 });
    store.putHold(made);
    store.putHold(hold({ id: 'other' }));
    assert.deepEqual(store.holds(), [made, hold({ id: 'other' })]);
    new DeletionStore(catalog.db).dropEndedHolds(T0 + 6);
    assert.deepEqual(store.holds(), [hold({ id: 'other' })]);
    assert.equal(store.dropHold('h'), false);
  });
});
