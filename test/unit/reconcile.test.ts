import assert from 'node:assert/strict';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { lookAt, Reconciler, type ReconcileReport } from '../../engine/catalog/reconcile.ts';
import { checkStorages } from '../../engine/upkeep/check.ts';
import type { CheckReport } from '../../engine/upkeep/types.ts';
import { deleteMarked, diskOfFiles } from '../../engine/retention/deletion.ts';
import { DeletionStore } from '../../engine/retention/deletion-store.ts';
import { FolderPlace } from '../../engine/retention/folder-place.ts';
import type { Move } from '../../engine/retention/tiers.ts';
import type { Planned } from '../../engine/retention/types.ts';
import { copyFootage } from '../../engine/upkeep/copy.ts';
import { MoveStore } from '../../engine/retention/move-store.ts';
import { addFootage, numberedMedia } from '../support/footage.ts';

const T0 = Date.UTC(2026, 4, 1, 10);
const HOUR = 3_600_000;

/** What must not be lost when catalogue and files are compared. */
describe('reconcile', () => {
  let media: Buffer;
  let root: string;
  let first: string;
  let second: string;
  let catalog: Catalog;
  let gapId = 1;
  before(() => {
    media = numberedMedia({ seconds: 2, width: 128, height: 96, kbps: 100 });
  });
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'flow-nvr-reconcile-'));
    [first, second] = [join(root, 'first'), join(root, 'second')];
    for (const storage of [first, second]) {
      mkdirSync(storage);
      writeFileSync(join(storage, '.flow-nvr'), '');
    }
    catalog = Catalog.open(join(root, 'catalog.sqlite'));
  });
  afterEach(() => {
    catalog.close();
    rmSync(root, { recursive: true, force: true });
  });

  /** One file an hour. @returns their paths */
  const add = (hours: number, open = false): string[] =>
    Array.from({ length: hours }, (_, hour) => {
      const of = { camera: 'yard', startMs: T0 + hour * HOUR, segmentMs: 60_000, open };
      return addFootage(catalog, first, media, of)[0]!.path;
    });
  const reconciler = (look = lookAt): Reconciler => new Reconciler(catalog, () => gapId++, look);
  const walk = (storage: string, look = lookAt): Partial<ReconcileReport> => {
    const one = reconciler(look);
    Array.from(one.walk(storage, Infinity));
    return Object.fromEntries(Object.entries(one.report).filter(([, count]) => count > 0));
  };
  const places = (): unknown[] =>
    catalog.db
      .prepare('SELECT st.path FROM segment s JOIN storage st ON st.id = s.storage_id ORDER BY s.start_ms')
      .pluck()
      .all();
  const leftovers = (storage: string): string[] => new MoveStore(catalog.db).leftovers(storage).map(({ path }) => path);
  /** The disk is taken out: what is left is its mount point. */
  const unplug = (storage: string): void => {
    renameSync(storage, `${storage}-unplugged`);
    mkdirSync(storage);
  };

  it('gives the row to a copy whose disk was taken out', () => {
    const [path] = add(1);
    cpSync(join(first, 'yard'), join(second, 'yard'), { recursive: true });
    unplug(first);
    assert.deepEqual(walk(second), { moved: 1 });
    assert.deepEqual([leftovers(second), places()], [[], [second]]);
    assert.ok(existsSync(join(second, path!)));
    // The disk is back: now there are two of it.
    rmSync(first, { recursive: true });
    renameSync(`${first}-unplugged`, first);
    assert.deepEqual(walk(first), { doubles: 1 });
    assert.deepEqual([leftovers(first), leftovers(second), places()], [[path], [], [second]]);
  });

  it('makes a leftover of a copy only where the other one was seen', () => {
    const [path] = add(1);
    cpSync(join(first, 'yard'), join(second, 'yard'), { recursive: true });
    assert.deepEqual(
      walk(second, () => 'unknown'),
      { left: 1 },
    );
    truncateSync(join(first, path!), 1000);
    assert.deepEqual(walk(second), { left: 1 });
    assert.deepEqual([leftovers(second), places()], [[], [first]]);
    assert.equal(lookAt('s3://bucket/nvr', path!, 1), 'unknown');
  });

  /** What every read of it fails with, whoever asks. */
  const makeUnreadable = (path: string): void => {
    rmSync(join(first, path));
    mkdirSync(join(first, path));
  };
  const states = (): unknown[] => catalog.db.prepare('SELECT state FROM segment ORDER BY start_ms').pluck().all();

  it('leaves a file that cannot be read, and its row', () => {
    const [open, closed] = add(2);
    catalog.db.prepare("UPDATE segment SET state = 'open' WHERE path = ?").run(open);
    makeUnreadable(open!);
    makeUnreadable(closed!);
    const one = reconciler();
    one.finishOpen([first, second]);
    assert.deepEqual([one.report.left, one.report.empty, states()], [1, 0, ['open', 'closed']]);
    assert.match(one.problem!, /EISDIR/);
    catalog.db.prepare('DELETE FROM segment').run();
    assert.deepEqual(walk(first), { left: 2 });
    assert.ok(existsSync(join(first, open!)) && existsSync(join(first, closed!)));
  });

  it('deletes what was read and has no picture, and keeps what is no video', () => {
    const [empty, other] = add(2, true);
    truncateSync(join(first, empty!), 100);
    writeFileSync(join(first, other!), Buffer.concat([Buffer.from([0, 0, 0, 16]), Buffer.from('moovsomething')]));
    const one = reconciler();
    one.finishOpen([first, second]);
    assert.deepEqual([existsSync(join(first, empty!)), existsSync(join(first, other!)), states()], [false, true, []]);
  });

  it('keeps the open rows of a disk that is not there', () => {
    add(1, true);
    unplug(first);
    reconciler().finishOpen([first, second]);
    assert.deepEqual(states(), ['open']);
    rmSync(first, { recursive: true });
    renameSync(`${first}-unplugged`, first);
    reconciler().finishOpen([first, second]);
    assert.deepEqual(states(), ['closed']);
  });

  it('forgets nothing of a disk that is taken out while it is looked at', () => {
    add(3);
    const one = reconciler();
    const steps = one.walk(first, Infinity);
    steps.next();
    unplug(first);
    Array.from(steps);
    assert.deepEqual([one.report.missing, places().length], [0, 3]);
  });

  it('asks again before each row that it forgets', () => {
    const files = addFootage(catalog, first, media, { camera: 'yard', startMs: T0, segmentMs: 1000 });
    assert.equal(files.length, 2);
    for (const { path } of files) rmSync(join(first, path));
    const drop = catalog.dropSegment.bind(catalog);
    catalog.dropSegment = (...of) => {
      drop(...of);
      unplug(first);
    };
    assert.deepEqual([walk(first), places().length], [{ missing: 1 }, 1]);
  });

  const check = (pause: () => void): Promise<CheckReport> =>
    checkStorages(
      catalog,
      [first],
      { camera: null, range: null, verify: false, repair: true, bytesPerSecond: Infinity },
      {
        ...{ now: () => Date.now() + HOUR, progress: () => undefined, alone: true, record: true },
        pause: () => Promise.resolve(pause()),
      },
      reconciler(),
    );

  it('checks no disk that is taken out meanwhile, and repairs nothing there', async () => {
    add(3);
    let once = (): void => {
      once = () => undefined;
      unplug(first);
    };
    const { faults, repaired, absent } = await check(() => once());
    assert.deepEqual([faults, repaired, absent, places().length], [0, 0, [first], 3]);
  });

  it('repairs nothing on a disk that is taken out between two of its files', async () => {
    const files = addFootage(catalog, first, media, { camera: 'yard', startMs: T0, segmentMs: 1000 });
    for (const { path } of files) rmSync(join(first, path));
    const drop = catalog.dropSegment.bind(catalog);
    catalog.dropSegment = (...of) => {
      drop(...of);
      unplug(first);
    };
    const { repaired, absent } = await check(() => undefined);
    assert.deepEqual([repaired, absent, places().length], [1, [first], 1]);
  });

  it('keeps footage of which nothing is known as long as what is worth most', () => {
    add(2);
    catalog.db.prepare('DELETE FROM segment').run();
    walk(first);
    assert.deepEqual(catalog.db.prepare('SELECT kind FROM segment').pluck().all(), [2, 2]);
  });

  it('touches no file outside of its storage folder, whatever a row says, and tells it', async () => {
    rmSync(join(first, add(2)[0]!));
    const victim = join(root, 'victim.txt');
    writeFileSync(victim, 'precious');
    const { db } = catalog;
    db.prepare("UPDATE segment SET path = '../victim.txt' WHERE start_ms = ?").run(T0);
    const [bad, good] = db
      .prepare(
        "SELECT id, start_ms AS start, 'age' AS reason, 'event' AS kind, ? AS storage FROM segment ORDER BY start_ms",
      )
      .all(first) as [Planned, Planned];

    const store = new DeletionStore(db);
    assert.deepEqual(
      [store.mark([bad, good], 0).map(({ id }) => id), store.filesOf([bad])],
      [[good.id], []],
      'the other one can be deleted',
    );
    store.unmark(store.marked());
    const moves = new MoveStore(db);
    const move = { ...bad, storage: first, to: second, action: 'move' } as unknown as Move;
    assert.throws(() => moves.begin(move), { code: 'damaged', message: /victim/ });
    db.prepare("INSERT INTO leftover SELECT id, '../victim.txt', 1 FROM storage").run();
    assert.deepEqual(moves.leftovers(first), []);
    const place = new FolderPlace(second, () => true);
    const removed = await place.remove([{ path: '../victim.txt', begun: false }], () => undefined);
    assert.match(removed[0]!, /no footage/);
    const job = { from: join(first, 'any'), path: '../victim.txt', bytes: 1, hash: null };
    await assert.rejects(
      place.take(job, () => undefined),
      { code: 'outside' },
    );
    const item = { storage: first, path: '../victim.txt', bytes: 8, hash: null };
    mkdirSync(join(root, 'copies', 'deep'), { recursive: true });
    await assert.rejects(
      copyFootage([item], join(root, 'copies', 'deep'), () => Promise.resolve()),
      { code: 'outside' },
    );

    const { faults, repaired, counts } = await check(() => undefined);
    assert.deepEqual([faults, repaired, counts], [1, 0, { broken: 1 }]);
    assert.deepEqual(walk(first), { left: 1 });
    // Marked by somebody else, or open: as a foreign catalogue may have it.
    db.prepare("UPDATE segment SET doomed = 'age', state = 'open' WHERE id = ?").run(bad.id);
    const { failed, error } = deleteMarked(store, store.marked(), diskOfFiles, Date.now());
    assert.deepEqual([failed.length, /victim/.test(error ?? '')], [1, true]);
    const one = reconciler();
    one.finishOpen([first, second]);
    assert.match(one.problem!, /victim/);
    assert.deepEqual([readFileSync(victim, 'utf8'), places().length], ['precious', 2]);
  });
});
