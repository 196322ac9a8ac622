import assert from 'node:assert/strict';
import {
  existsSync,
  fstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { randomBytes } from 'node:crypto';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { Reconciler } from '../../engine/catalog/reconcile.ts';
import { systemClock } from '../../engine/clock.ts';
import { segmentPath } from '../../engine/recording/segment-path.ts';
import { CatalogSource } from '../../engine/retention/catalog-source.ts';
import { DeletionStore } from '../../engine/retention/deletion-store.ts';
import { diskOfFiles } from '../../engine/retention/deletion.ts';
import { FolderPlace, type DiskCalls } from '../../engine/retention/folder-place.ts';
import { MoveStore } from '../../engine/retention/move-store.ts';
import type { PlaceBackend, PlaceReply } from '../../engine/retention/place.ts';
import { PlaceLink } from '../../engine/retention/place-link.ts';
import { Tiering } from '../../engine/retention/tiering.ts';
import { MAX_MOVES, type Move } from '../../engine/retention/tiers.ts';
import type { MovedMessage, RetentionSpec, Space } from '../../engine/retention/types.ts';
import { EngineError } from '../../engine/types.ts';
import { addFootage, numberedMedia, type MadeFile } from '../support/footage.ts';

const MINUTE = 60_000;
const T0 = Math.floor(Date.now() / MINUTE) * MINUTE - 1000 * MINUTE;

describe('moving to a tier', () => {
  let root: string;
  let hot: string;
  let other: string;
  let warm: string;
  let catalog: Catalog;
  let store: MoveStore;
  let tiering: Tiering;
  let messages: MovedMessage[];
  let calls: Partial<DiskCalls>;
  /** Answers of the tier's thread wait for this. */
  let hang: Promise<void> | null;
  let begun: number;
  let onTake: () => void;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'flow-nvr-tiers-'));
    [hot, other, warm] = [join(root, 'hot'), join(root, 'other'), join(root, 'warm')];
    for (const folder of [hot, other]) {
      mkdirSync(folder);
      writeFileSync(join(folder, '.flow-nvr'), '');
    }
    catalog = Catalog.open(join(root, 'catalog.sqlite'));
    store = new MoveStore(catalog.db);
    messages = [];
    calls = {};
    hang = null;
    begun = 0;
    onTake = () => undefined;
    // As the thread does it, but here: so that its disk can be made to fail.
    const backend: PlaceBackend = ({ to }, onReply) => {
      begun++;
      let stopped = false;
      const place = new FolderPlace(to, () => store.knows(to), {
        ...{ read: readSync, write: writeSync, free: () => 1e12 },
        ...calls,
      });
      const tell = (reply: PlaceReply): void => {
        if (!stopped) onReply(reply);
      };
      return {
        send: ({ id, call, args }) => {
          const work = async (): Promise<unknown> => {
            await (hang ?? wait(1));
            if (stopped) return null;
            if (call === 'probe') return place.probe();
            if (call === 'remove') return place.remove(args[0] as never, () => undefined);
            if (call === 'reconcile') return null;
            onTake();
            return place.take(args[0] as never, () => undefined);
          };
          work().then(
            (result) => tell({ id, result }),
            (error: unknown) => tell({ id, error: error as EngineError }),
          );
        },
        stop: () => (stopped = true),
      };
    };
    tiering = new Tiering({
      ...{ clock: systemClock, store, files: diskOfFiles, recorded: [hot, other], own: () => true },
      source: () => new CatalogSource(catalog.db),
      open: (data) => new PlaceLink({ ...data, catalog: '' }, backend, systemClock, 200),
      tell: (message) => messages.push(message),
    });
  });
  afterEach(() => {
    tiering.close();
    catalog.close();
    rmSync(root, { recursive: true, force: true });
  });

  const add = (count: number, from = 0, bytes = 3_000_000, storage = hot): string[] =>
    Array.from({ length: count }, (_, place) => {
      const startMs = T0 + (from + place) * MINUTE;
      const path = segmentPath('yard', 'main', startMs);
      catalog.openSegment({
        ...{ camera: 'yard', stream: 'main', storage, path, recordingId: null, init: Buffer.from('init') },
        ...{ startMs, startTicks: 0 },
      });
      const end = { endMs: startMs + MINUTE, bytes, frames: 1, gops: Buffer.alloc(0) };
      catalog.closeSegment({ storage, path, ...end });
      mkdirSync(dirname(join(storage, path)), { recursive: true });
      writeFileSync(join(storage, path), randomBytes(bytes));
      return path;
    });
  const spec = (): RetentionSpec => ({
    ...{ node: 'n', vetoMs: 0 },
    rules: { rules: [], tiers: [{ to: warm, afterMs: MINUTE, least: 'continuous' }] },
  });
  const space = (): Space[] => [
    { storage: other, disk: 'o', freeBytes: 1e12, totalBytes: 2e12, bytesPerSecond: 0 },
    { storage: hot, disk: 'h', freeBytes: 1e12, totalBytes: 2e12, bytesPerSecond: 0 },
    { storage: warm, disk: 'w', freeBytes: 1e12, totalBytes: 2e12, bytesPerSecond: 0 },
  ];
  const until = async (test: () => boolean): Promise<void> => {
    for (let i = 0; !test(); i++) {
      assert.ok(i < 500, `it does not come to that: ${JSON.stringify(tiering.states)}`);
      await wait(10);
    }
  };
  const placeOf = (path: string): string | undefined =>
    catalog.db
      .prepare('SELECT st.path FROM segment s JOIN storage st ON st.id = s.storage_id WHERE s.path = ?')
      .pluck()
      .get(path) as string | undefined;
  const filesIn = (folder: string): string[] =>
    existsSync(folder)
      ? readdirSync(folder, { recursive: true })
          .map(String)
          .filter((name) => name.includes('.mp4'))
          .sort()
      : [];
  const left = (): unknown[] => catalog.db.prepare('SELECT * FROM leftover').all();
  const start = async (): Promise<void> => {
    tiering.set(spec());
    tiering.run(space());
    await until(() => tiering.states[0]!.state !== 'starting');
  };

  it('takes every file as it was, tells it, and leaves nothing behind', async () => {
    const paths = add(12);
    const before = paths.map((path) => readFileSync(join(hot, path)));
    await start();
    await until(() => messages.length > 0);
    assert.deepEqual(filesIn(warm), [...paths].sort());
    assert.deepEqual([filesIn(hot), left()], [[], []]);
    for (const [i, path] of paths.entries()) {
      assert.equal(placeOf(path), warm);
      assert.ok(readFileSync(join(warm, path)).equals(before[i]!));
    }
    const [{ from, to, copied, files, bytes, shares }] = messages as [MovedMessage];
    assert.deepEqual([from, to, copied, files, bytes], [hot, warm, false, 12, 36_000_000]);
    assert.deepEqual([shares[0]?.camera, shares[0]?.reason], ['yard', 'age']);
    assert.equal(new CatalogSource(catalog.db).used('yard', warm).files, 12);
  });

  it('stops when the tier is full, says so, and goes on when there is room', async () => {
    const paths = add(3);
    let full = true;
    let written = 0;
    calls.write = ((fd: number, data: Buffer, ...more: [number, number, number]) => {
      if (full && ++written > 4) throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      return writeSync(fd, data, ...more);
    }) as typeof writeSync;
    await start();
    await until(() => tiering.problem !== null);
    assert.match(tiering.problem!, /is full/);
    await until(() => filesIn(warm).length === 1 && left().length === 0);
    assert.deepEqual(filesIn(hot), paths.slice(1), 'what was not moved is where it was');
    full = false;
    tiering.set(null);
    await start();
    await until(() => filesIn(warm).length === 3);
  });

  it('does not keep what comes back from the disk otherwise than it was written', async () => {
    const [path] = add(1) as [string];
    const source = readFileSync(join(hot, path));
    let reads = 0;
    calls.read = ((fd: number, data: Buffer, ...more: [number, number, number]) => {
      const count = readSync(fd, data, ...more);
      // The second time it is read from the tier.
      if (++reads === 5 && count > 0) data[0]! ^= 1;
      return count;
    }) as typeof readSync;
    await start();
    await until(() => tiering.problem !== null);
    assert.match(tiering.problem!, /other bytes/);
    assert.equal(placeOf(path), hot);
    assert.ok(readFileSync(join(hot, path)).equals(source));
    await until(() => left().length === 0);
    assert.deepEqual(filesIn(warm), []);
  });

  it('leaves a damaged file where it is, and moves the others', async () => {
    const paths = add(3);
    writeFileSync(join(hot, paths[1]!), 'short');
    await start();
    await until(() => messages.length > 0);
    assert.deepEqual(filesIn(warm), [paths[0], paths[2]]);
    assert.deepEqual([placeOf(paths[1]!), filesIn(hot)], [hot, [paths[1]]]);
  });

  it('leaves where they are files that their own disk does not give back, and moves the others', async () => {
    const [torn, folder, ...good] = add(6) as [string, string, ...string[]];
    const { ino } = statSync(join(hot, torn));
    calls.read = ((fd: number, ...more: [Buffer, number, number, number]) => {
      if (fstatSync(fd).ino === ino) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' });
      return readSync(fd, ...more);
    }) as typeof readSync;
    rmSync(join(hot, folder));
    mkdirSync(join(hot, folder));
    await start();
    await until(() => messages.length > 0 && left().length === 0);
    assert.deepEqual(filesIn(warm), good);
    assert.deepEqual([placeOf(torn), placeOf(folder)], [hot, hot]);
    assert.equal(tiering.states[0]!.state, 'ok');
  });

  it('asks nothing of a disk that is away, and takes from the others', async () => {
    const paths = add(3, MAX_MOVES, 10);
    const away = catalog.transaction(() => add(MAX_MOVES, 0, 10, other)); // all of a plan
    let takes = 0;
    onTake = () => takes++;
    renameSync(other, `${other}-disk`);
    // It went after it was looked at: the first file tells.
    await start();
    await until(() => messages.length > 0 && left().length === 0);
    assert.deepEqual([filesIn(warm), takes], [paths, 4]);
    renameSync(`${other}-disk`, other);
    tiering.run(space());
    await until(() => filesIn(warm).length > 3);
    assert.equal(placeOf(away[0]!), warm, 'none of them was put off');
  });

  it('does not plan again and again what cannot be moved', async () => {
    const count = MAX_MOVES + 1;
    catalog.transaction(() => add(count, 0, 10));
    rmSync(join(hot, 'yard'), { recursive: true });
    let takes = 0;
    onTake = () => takes++;
    await start();
    await until(() => takes >= MAX_MOVES && tiering.states[0]!.waitingFiles === 0);
    assert.equal(takes, MAX_MOVES);
    tiering.run(space());
    await until(() => takes === count && tiering.states[0]!.waitingFiles === 0);
  });

  it('moves no more for room than is missing, however many plans it makes', async () => {
    const paths = add(10, 0, 10);
    const rules = spec();
    const tiers = [{ ...rules.rules.tiers![0]!, afterMs: 1e12 }];
    tiering.set({ ...rules, rules: { ...rules.rules, tiers, minFree: { bytes: 60 } } });
    tiering.run(space().map((one) => (one.storage === hot ? { ...one, freeBytes: 0 } : one)));
    await until(() => messages.length > 0);
    assert.deepEqual(filesIn(hot), paths.slice(6));
  });

  it('lets go in an emergency what a bucket has, whether that answers or not', () => {
    const to = 's3://b/x';
    const [all, copies, some] = [MAX_MOVES + 120, MAX_MOVES + 100, MAX_MOVES + 10];
    const paths = catalog.transaction(() => add(all, 0, 10));
    for (const path of paths.slice(0, copies)) {
      const of = 'SELECT id, start_ms AS start, ? AS storage FROM segment WHERE path = ?';
      const copy = { ...(catalog.db.prepare(of).get(hot, path) as Move), to, action: 'copy' } as Move;
      assert.ok(store.commit(copy, store.begin(copy)!));
    }
    hang = new Promise(() => undefined);
    const tiers = [{ to, afterMs: MINUTE, least: 'continuous' as const, keepMs: 1e12 }];
    tiering.set({ ...spec(), rules: { rules: [], tiers } });
    const short = (bytes: number): Space[] =>
      space().map((one) => (one.storage === hot ? { ...one, freeBytes: 3600 * 10 - bytes, bytesPerSecond: 10 } : one));
    tiering.relieve(short(0));
    assert.equal(filesIn(hot).length, all);
    tiering.relieve(short(some * 10));
    assert.deepEqual(filesIn(hot), paths.slice(some), 'more than one plan holds, and no more than is missing');
    assert.deepEqual([placeOf(paths[0]!), left()], [to, []]);
    tiering.relieve(short(20_000));
    assert.deepEqual(filesIn(hot), paths.slice(copies), 'what the bucket has not stays');
    assert.equal(new CatalogSource(catalog.db).used('yard', to).files, copies, 'nothing is lost');
  });

  it('forgets a file that is deleted while it is copied', async () => {
    const paths = add(3);
    const deletions = new DeletionStore(catalog.db);
    onTake = () => {
      onTake = () => undefined;
      // Retention marks it and unlinks it, just now.
      const id = catalog.db.prepare('SELECT id FROM segment WHERE path = ?').pluck().get(paths[0]) as number;
      const item = { id, camera: 'yard', storage: hot, start: T0, end: T0 + MINUTE, bytes: 3_000_000 };
      const marked = deletions.mark([{ ...item, kind: 'continuous', reason: 'quota' }], Date.now());
      assert.equal(marked.length, 1);
      deletions.drop(marked, Date.now());
      // Its bytes can be read on: the copy comes out whole, and is not wanted any more.
      setTimeout(() => unlinkSync(join(hot, paths[0]!)), 50);
    };
    await start();
    await until(() => messages.length > 0 && left().length === 0);
    assert.equal(placeOf(paths[0]!), undefined);
    assert.deepEqual(filesIn(warm), paths.slice(1));
  });

  it('leaves a disk that hangs, goes on with deletions, and takes it up again', async () => {
    const paths = add(4);
    await start();
    await until(() => filesIn(warm).length === 4);
    const more = add(2, 4);
    let wake!: () => void;
    hang = new Promise((resolve) => (wake = resolve));
    tiering.run(space());
    await until(() => tiering.states[0]!.state === 'away');
    assert.match(tiering.problem!, /does not answer/);
    assert.deepEqual(tiering.folders, [], 'nothing is planned there');
    assert.deepEqual(filesIn(hot).length, 2);
    // Rows of the tier go without it.
    const deletions = new DeletionStore(catalog.db);
    const id = catalog.db.prepare('SELECT id FROM segment WHERE path = ?').pluck().get(paths[0]) as number;
    const item = { id, camera: 'yard', storage: warm, start: T0, end: T0 + MINUTE, bytes: 3_000_000 };
    deletions.drop(
      deletions.mark([{ ...item, kind: 'continuous', reason: 'age' }], Date.now()),
      Date.now(),
      (storage) => tiering.has(storage),
    );
    assert.equal(placeOf(paths[0]!), undefined);
    assert.ok(existsSync(join(warm, paths[0]!)), 'its file waits');
    hang = null;
    wake();
    tiering.set(null);
    await start();
    await until(() => filesIn(warm).length === 5 && left().length === 0);
    assert.ok(!existsSync(join(warm, paths[0]!)));
    assert.deepEqual(
      more.map((path) => placeOf(path)),
      [warm, warm],
    );
    assert.ok(begun >= 2);
  });

  it('takes a folder without its marker for a mount point without its disk', async () => {
    add(1);
    await start();
    await until(() => filesIn(warm).length === 1);
    tiering.set(null);
    renameSync(warm, `${warm}-disk`);
    mkdirSync(warm);
    const [path] = add(1, 1);
    await start();
    assert.deepEqual([tiering.states[0]!.state, tiering.folders], ['away', []]);
    assert.match(tiering.problem!, /mount its disk/);
    await wait(50);
    assert.deepEqual([readdirSync(warm), placeOf(path!)], [[], hot]);
    // Nor are its files lost.
    const reconciler = new Reconciler(catalog, () => 1);
    for (const folder of reconciler.walk(warm, Infinity)) assert.ok(folder);
    assert.equal(reconciler.report.missing, 0);
  });

  it('does not index a file twice that a row knows in another folder', async () => {
    mkdirSync(warm);
    writeFileSync(join(warm, '.flow-nvr'), '');
    const media = numberedMedia({ seconds: 4, width: 320, height: 180, kbps: 200 });
    const made = addFootage(catalog, warm, media, { camera: 'door', startMs: T0, segmentMs: 2000 });
    const [twin, other] = made as [MadeFile, MadeFile];
    const place = (path: string, data: Buffer): void => {
      mkdirSync(dirname(join(hot, path)), { recursive: true });
      writeFileSync(join(hot, path), data);
    };
    place(twin.path, twin.data);
    // Of the same name, but not the same.
    place(other.path, twin.data);
    const walk = (): object => {
      const reconciler = new Reconciler(catalog, () => 1);
      for (const folder of reconciler.walk(hot, Infinity)) assert.ok(folder);
      return reconciler.report;
    };
    assert.deepEqual(walk(), { indexed: 1, missing: 0, empty: 0, doubles: 1, moved: 0, copies: 0, left: 0 });
    assert.deepEqual([placeOf(twin.path), store.leftovers(hot).map(({ path }) => path)], [warm, [twin.path]]);
    assert.deepEqual(walk(), { indexed: 0, missing: 0, empty: 0, doubles: 0, moved: 0, copies: 0, left: 0 });
    await start();
    await until(() => left().length === 0);
    assert.ok(!existsSync(join(hot, twin.path)) && existsSync(join(warm, twin.path)));
  });

  it('does not send a copy again that a row names: a crash would take it for a leftover', () => {
    const [path] = add(1);
    const { id, start } = catalog.db.prepare('SELECT id, start_ms AS start FROM segment WHERE path = ?').get(path) as {
      id: number;
      start: number;
    };
    const copy = { id, start, storage: hot, to: 's3://b/x', action: 'copy' } as Move;
    assert.ok(store.commit(copy, store.begin(copy)!));
    assert.equal(store.begin(copy), null);
    assert.equal(store.begin({ ...copy, action: 'move' }), null);
    assert.deepEqual(store.leftovers('s3://b/x'), []);
    assert.ok(store.release({ ...copy, action: 'release' }));
  });

  it('knows which upload goes on: one that was begun, of a file that is still to go there', () => {
    const [path, other] = add(2);
    const moves = [path, other].map((name) => {
      const of = 'SELECT id, start_ms AS start FROM segment WHERE path = ?';
      return { ...(catalog.db.prepare(of).get(name) as object), storage: hot, to: 's3://b/x', action: 'move' } as Move;
    });
    assert.equal(store.begun('s3://b/x'), null);
    const file = store.begin(moves[0]!)!;
    assert.equal(store.begun('s3://b/x'), path);
    assert.ok(store.commit(moves[0]!, file));
    assert.equal(store.begun('s3://b/x'), null, 'it is there');
    store.begin(moves[1]!);
    assert.equal(store.begun('s3://b/x'), other);
    catalog.db.prepare('DELETE FROM segment WHERE path = ?').run(other);
    assert.equal(store.begun('s3://b/x'), null, 'it is deleted');
    assert.equal(store.leftovers('s3://b/x').length, 1);
  });

  it('compares a folder with what is known of it at one moment', () => {
    mkdirSync(join(warm, 'yard'), { recursive: true });
    writeFileSync(join(warm, '.flow-nvr'), '');
    const [path] = add(1);
    const { id, start } = catalog.db.prepare('SELECT id, start_ms AS start FROM segment WHERE path = ?').get(path) as {
      id: number;
      start: number;
    };
    const move = { id, start, storage: hot, to: warm, action: 'move' } as Move;
    const file = store.begin(move)!;
    mkdirSync(dirname(join(warm, path!)), { recursive: true });
    renameSync(join(hot, path!), join(warm, path!));
    // The move ends just after the rows were read.
    const knownUnder = catalog.knownUnder.bind(catalog);
    catalog.knownUnder = (...of) => {
      const known = knownUnder(...of);
      assert.ok(store.commit(move, file));
      return known;
    };
    const reconciler = new Reconciler(catalog, () => 1);
    for (const folder of reconciler.walk(warm, Infinity)) assert.ok(folder);
    assert.ok(existsSync(join(warm, path!)), 'what cannot be read is not taken for an empty file');
    assert.equal(placeOf(path!), warm);
  });

  it('removes what is left in a folder that is no tier any more, when no thread can be at it', () => {
    const [path, other] = add(2, 0, 10) as [string, string];
    mkdirSync(warm);
    writeFileSync(join(warm, '.flow-nvr'), '');
    const leave = (name: string): void => {
      const of = 'SELECT id, start_ms AS start, ? AS storage FROM segment WHERE path = ?';
      store.begin({ ...(catalog.db.prepare(of).get(hot, name) as Move), to: warm, action: 'move' });
      mkdirSync(dirname(join(warm, name)), { recursive: true });
      writeFileSync(join(warm, `${name}.partial`), 'half');
    };
    const none = { ...spec(), rules: { rules: [] } };
    leave(path);
    tiering.set(none);
    tiering.run(space());
    assert.deepEqual([filesIn(warm), left(), filesIn(hot)], [[], [], [path, other]]);
    tiering.set(spec());
    tiering.set(none);
    leave(other);
    tiering.run(space());
    assert.deepEqual([filesIn(warm), left().length], [[`${other}.partial`], 1]);
  });

  it('puts in order what a crash left', async () => {
    const [copying, copied, moved, deleted] = add(4) as [string, string, string, string];
    await start();
    await until(() => filesIn(warm).length === 4);
    tiering.set(null);
    // Everything is in the tier; now as if the crash had been at other moments.
    const db = catalog.db;
    const idOf = (storage: string): number =>
      db.prepare('SELECT id FROM storage WHERE path = ?').pluck().get(storage) as number;
    const back = (path: string): void => {
      mkdirSync(dirname(join(hot, path)), { recursive: true });
      writeFileSync(join(hot, path), readFileSync(join(warm, path)));
      db.prepare('UPDATE segment SET storage_id = ? WHERE path = ?').run(idOf(hot), path);
    };
    const leave = (storage: string, path: string): void =>
      void db.prepare('INSERT INTO leftover VALUES (?, ?, 0)').run(idOf(storage), path);
    back(copying);
    renameSync(join(warm, copying), join(warm, `${copying}.partial`));
    leave(warm, copying);
    back(copied);
    leave(warm, copied);
    writeFileSync(join(hot, moved), readFileSync(join(warm, moved)));
    leave(hot, moved);
    db.prepare('DELETE FROM segment WHERE path = ?').run(deleted);
    leave(warm, deleted);
    const rules = spec();
    tiering.set({ ...rules, rules: { ...rules.rules, tiers: [{ ...rules.rules.tiers![0]!, afterMs: 1e12 }] } });
    tiering.run(space());
    await until(() => left().length === 0);
    assert.deepEqual(filesIn(hot), [copying, copied].sort());
    assert.deepEqual(filesIn(warm), [moved]);
  });
});
