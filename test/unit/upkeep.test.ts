import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import Sqlite from 'better-sqlite3';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { Reconciler } from '../../engine/catalog/reconcile.ts';
import { backUp, backupsIn, isBackedUp, outdated } from '../../engine/upkeep/backup.ts';
import { checkStorages } from '../../engine/upkeep/check.ts';
import { copyFootage } from '../../engine/upkeep/copy.ts';
import { isInUse, restore } from '../../engine/upkeep/restore.ts';
import type { CheckOptions, CheckReport, CopyItem } from '../../engine/upkeep/types.ts';
import { MoveStore } from '../../engine/retention/move-store.ts';
import type { Move } from '../../engine/retention/tiers.ts';
import { lastTimeOf, Upkeep, type RunningJob } from '../../engine/retention/upkeep.ts';
import type { RetentionMessage } from '../../engine/retention/types.ts';
import { addFootage, numberedMedia } from '../support/footage.ts';

const T0 = Date.UTC(2026, 4, 1, 10);
const CLI = join(import.meta.dirname, '../../cli/flow-nvr.ts');

describe('upkeep', () => {
  let media: Buffer;
  let root: string;
  let storage: string;
  let file: string;
  let catalog: Catalog;
  let files: string[];
  before(() => {
    media = numberedMedia({ seconds: 6, width: 320, height: 180, kbps: 300 });
  });
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'flow-nvr-upkeep-'));
    storage = join(root, 'nvr');
    mkdirSync(storage);
    writeFileSync(join(storage, '.flow-nvr'), '');
    file = join(storage, 'catalog.sqlite');
    catalog = Catalog.open(file);
    const made = addFootage(catalog, storage, media, { camera: 'yard', startMs: T0, segmentMs: 1000 });
    files = made.map(({ path }) => join(storage, path));
    assert.equal(files.length, 6);
  });
  afterEach(() => {
    catalog.close();
    rmSync(root, { recursive: true, force: true });
  });

  const check = (
    options: Partial<CheckOptions> = {},
    alone = true,
    storages: readonly string[] = [storage],
  ): Promise<CheckReport> =>
    checkStorages(
      catalog,
      storages,
      { ...{ camera: null, range: null, verify: false, repair: false, bytesPerSecond: Infinity }, ...options },
      {
        now: () => Date.now() + 60_000,
        pause: () => Promise.resolve(),
        progress: () => undefined,
        alone,
        record: true,
      },
      new Reconciler(catalog, () => gapId++),
    );
  let gapId = 1;
  const kinds = (report: CheckReport): string[] => report.found.map(({ kind }) => kind).sort();
  const gaps = (): unknown[][] =>
    catalog.db
      .prepare('SELECT start_ms - ?, end_ms - ?, cause FROM gap ORDER BY start_ms')
      .raw()
      .all(T0, T0) as unknown[][];
  /** A byte in the middle of the media. */
  const flip = (path: string): void => {
    const data = readFileSync(path);
    data[data.length - 500]! ^= 1;
    writeFileSync(path, data);
  };

  it('finds nothing wrong where nothing is, and reads all when asked', async () => {
    const { files: looked, faults } = await check();
    assert.deepEqual([looked, faults], [6, 0]);
    const total = files.reduce((sum, one) => sum + statSync(one).size, 0);
    assert.equal((await check({ verify: true })).bytes, total);
    assert.equal((await check({ camera: 'door' })).files, 0);
    assert.equal((await check({ range: { start: T0 + 2500, end: T0 + 3500 } })).files, 2);
    assert.equal((await check({ range: { start: T0 + 86_400_000, end: T0 + 86_500_000 } })).files, 0);
  });

  it('finds every kind of fault, changes nothing, and makes all right when asked', async () => {
    unlinkSync(files[0]!);
    appendFileSync(files[1]!, 'tail');
    truncateSync(files[2]!, 6000);
    flip(files[3]!);
    catalog.db.prepare("DELETE FROM segment WHERE path LIKE '%00-04%'").run();
    catalog.db.prepare("UPDATE segment SET state = 'open' WHERE path LIKE '%00-05%'").run();
    writeFileSync(files[4]!.replace('00-04', '00-30'), 'no video');
    const before = readdirSync(storage, { recursive: true }).sort();
    const expected = ['hash', 'no-file', 'no-row', 'no-row', 'open', 'size', 'size'];
    assert.deepEqual(kinds(await check({ verify: true })), expected);
    assert.deepEqual(
      kinds(await check({ verify: true }, false)),
      expected.filter((kind) => kind !== 'open'),
      'not while recording',
    );
    assert.deepEqual(readdirSync(storage, { recursive: true }).sort(), before);
    assert.deepEqual(gaps(), []);

    const repaired = await check({ verify: true, repair: true });
    assert.equal(repaired.repaired, 7);
    assert.deepEqual(repaired.counts, { hash: 1, 'no-file': 1, 'no-row': 2, open: 1, size: 2 });
    assert.deepEqual(repaired.found.map(({ path, repair }) => [path.slice(-16, -14), repair]).sort(), [
      ['00', 'gap'],
      ['01', 'shortened'],
      ['02', 'quarantined'],
      ['03', 'quarantined'],
      ['04', 'indexed'],
      ['05', 'indexed'],
      ['30', 'quarantined'],
    ]);
    assert.equal((await check({ verify: true })).faults, 0);
    assert.deepEqual(gaps(), [
      [0, 1000, 'file-missing'],
      [2000, 3000, 'file-missing'],
      [3000, 4000, 'file-missing'],
    ]);
    const aside = readdirSync(join(storage, '.quarantine'), { recursive: true }).filter((name) =>
      String(name).endsWith('.mp4'),
    );
    assert.equal(aside.length, 4, 'nothing was deleted');
  });

  it('leaves alone what is being written or deleted', async () => {
    catalog.db.prepare("UPDATE segment SET doomed = 'age' WHERE path LIKE '%00-00%'").run();
    unlinkSync(files[0]!);
    catalog.db.prepare("DELETE FROM segment WHERE path LIKE '%00-04%'").run();
    const later = new Date(Date.now() + 60_000);
    utimesSync(files[4]!, later, later);
    assert.equal((await check({}, false)).faults, 0);
  });

  it('learns the hash of a file that has none when it is whole', async () => {
    catalog.db.prepare('UPDATE segment SET hash = NULL').run();
    const all = readFileSync(files[2]!);
    all.writeUInt32BE(7, all.length - 3000);
    assert.equal((await check({ verify: true })).hashed, 6);
    assert.equal(
      catalog.db.prepare('SELECT hash FROM segment ORDER BY start_ms').pluck().get(),
      crc32(readFileSync(files[0]!)),
    );
    flip(files[0]!);
    assert.deepEqual(kinds(await check({ verify: true })), ['hash']);
  });

  it('says so when a storage folder is not there, and does not take its footage for lost', async () => {
    renameSync(storage, `${storage}-away`);
    const report = await check({ repair: true });
    renameSync(`${storage}-away`, storage);
    assert.deepEqual([report.absent, report.faults], [[storage], 0]);
  });

  /** As a move leaves it when `after` is true, and before its source is removed otherwise. */
  const move = (warm: string, name: string, after: boolean): void => {
    const to = join(warm, name.slice(storage.length));
    mkdirSync(dirname(to), { recursive: true });
    copyFileSync(name, to);
    if (after) unlinkSync(name);
    const store = new MoveStore(catalog.db);
    const { id, start } = catalog.db
      .prepare('SELECT id, start_ms AS start FROM segment WHERE path = ?')
      .get(name.slice(storage.length + 1)) as { id: number; start: number };
    const moved = { id, start, storage, to: warm, action: 'move' } as Move;
    assert.ok(store.commit(moved, store.begin(moved)!));
    if (after) store.settle(storage, [name.slice(storage.length + 1)]);
  };
  const tier = (): string => {
    const warm = join(root, 'warm');
    mkdirSync(warm);
    writeFileSync(join(warm, '.flow-nvr'), '');
    return warm;
  };

  it('knows tiers: what moves is no fault, and a copy in a bucket takes the place of what is lost', async () => {
    const [warm, bucket] = [tier(), 's3://footage/nvr'];
    move(warm, files[0]!, true);
    move(warm, files[1]!, false);
    // Begun, and whole but for its row.
    const begun = files[2]!.slice(storage.length + 1);
    copyFileSync(files[2]!, join(warm, begun));
    const { db } = catalog;
    db.prepare('INSERT INTO leftover SELECT id, ?, 0 FROM storage WHERE path = ?').run(begun, warm);
    db.prepare('INSERT INTO storage (path) VALUES (?)').run(bucket);
    const inBucket = (column: string, at: number): unknown =>
      db
        .prepare(`UPDATE segment SET ${column} = (SELECT id FROM storage WHERE path = ?) WHERE path = ?`)
        .run(bucket, files[at]!.slice(storage.length + 1));
    inBucket('storage_id', 3);
    unlinkSync(files[3]!);
    inBucket('copy_id', 4);
    const all = [storage, warm, bucket];
    const fine = await check({ verify: true }, true, all);
    assert.deepEqual([fine.files, fine.found, fine.unread, fine.absent], [5, [], [bucket], []]);

    unlinkSync(files[4]!);
    copyFileSync(files[5]!, join(warm, files[5]!.slice(storage.length)));
    const repaired = await check({ repair: true }, true, all);
    assert.deepEqual(repaired.found.map(({ kind, repair }) => [kind, repair]).sort(), [
      ['no-file', 'copy'],
      ['no-row', 'double'],
    ]);
    assert.equal((await check({}, true, all)).faults, 0);
    assert.equal(db.prepare("SELECT count(*) FROM segment WHERE state = 'closed'").pluck().get(), 6);
    assert.deepEqual(gaps(), []);
  });

  it('restores a backup from before footage moved, and takes none of it for lost', async () => {
    const folder = join(root, 'backups');
    const warm = tier();
    move(warm, files[0]!, true);
    // Under way as the backup is made, and done after it.
    const path = files[2]!.slice(storage.length + 1);
    catalog.db.prepare('INSERT INTO leftover SELECT id, ?, 0 FROM storage WHERE path = ?').run(path, warm);
    const { folder: made } = await backUp({ catalog: file, storages: [storage], files: [] }, { folder, keep: 1 }, T0);
    for (const name of files.slice(1, 4)) move(warm, name, true);
    catalog.close();
    const report = restore(made, file, [storage]);
    assert.deepEqual([report.moved, report.indexed, report.missing, report.doubles], [3, 0, 0, 0]);
    catalog = Catalog.open(file);
    const sound = await check({ verify: true }, true, [storage, warm]);
    assert.deepEqual([sound.files, sound.faults, sound.hashed], [6, 0, 0]);
    assert.deepEqual(gaps(), []);
    assert.equal(catalog.db.prepare('SELECT count(*) FROM leftover').pluck().get(), 0);
  });

  it('is there for shells, too', () => {
    const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
      spawnSync(process.execPath, [CLI, ...args], { encoding: 'utf8' });
    catalog.close();
    assert.deepEqual([run('reconcile', '--check', '--verify', storage).status, run('reconcile').status], [0, 2]);
    flip(files[1]!);
    assert.equal(run('reconcile', '--check', storage).status, 0);
    const found = run('reconcile', '--check', '--verify', storage);
    assert.equal(found.status, 1);
    assert.match(found.stdout, /^hash\t.*00-01.*\n6 files, 1 differences\n$/);
    catalog = Catalog.open(file);
  });

  it('reconciles from a shell only what nobody is writing to', () => {
    const run = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
      spawnSync(process.execPath, [CLI, 'reconcile', ...args, storage], { encoding: 'utf8' });
    catalog.db.prepare("UPDATE segment SET state = 'open' WHERE path LIKE '%00-05%'").run();
    truncateSync(files[5]!, 100);
    const refused = run();
    assert.equal(refused.status, 1);
    assert.match(refused.stderr, /in use: stop Node-RED first/);
    assert.deepEqual([statSync(files[5]!).size, catalog.openSegments().length], [100, 1]);
    assert.equal(run('--check').status, 0, 'it may be looked at');
    catalog.close();
    assert.match(run().stdout, /^0 files indexed, 1 rows without a file, 1 files without a picture\n$/);
    catalog = Catalog.open(file);
  });

  it('backs up while others write, keeps the newest, and leaves no half of one', async () => {
    const folder = join(root, 'backups');
    const flows = join(root, 'flows.json');
    writeFileSync(flows, '[]');
    const source = { catalog: file, storages: [storage], files: [{ name: 'flows.json', file: flows }] };
    isBackedUp(file, folder, 0, T0);
    const id = readFileSync(`${file}-id`, 'utf8').trim();
    mkdirSync(join(folder, `.nvr-2026-01-01T00-00-00.000Z.${id}.partial`), { recursive: true });
    const others = setInterval(
      () => catalog.openGap({ id: gapId++, camera: 'yard', stream: 'main', start: 1, end: 2, cause: 'stalled' }),
      1,
    );
    for (let day = 0; day < 4; day++) await backUp(source, { folder, keep: 2 }, T0 + day * 86_400_000);
    clearInterval(others);
    assert.deepEqual(
      backupsIn(folder).map(({ time }) => (time - T0) / 86_400_000),
      [2, 3],
    );
    assert.equal(readdirSync(folder).length, 2);
    const made = join(folder, backupsIn(folder)[1]!.name);
    assert.deepEqual(readdirSync(made).sort(), ['catalog.sqlite', 'flows.json', 'nvr.json']);
    assert.equal(statSync(join(made, 'flows.json')).mode & 0o777, 0o600);
    await assert.rejects(backUp({ ...source, catalog: join(root, 'none') }, { folder, keep: 2 }, T0), /ENOENT|unable/);
    assert.equal(readdirSync(folder).length, 2);
    const damaged = join(root, 'damaged.sqlite');
    const data = readFileSync(join(made, 'catalog.sqlite'));
    writeFileSync(damaged, data.fill(7, 4096 * 3, 4096 * 6));
    await assert.rejects(backUp({ ...source, catalog: damaged }, { folder, keep: 2 }, T0));
    assert.equal(readdirSync(folder).length, 2);
  });

  it('makes a backup, and keeps it, whatever a wrong clock made before', async () => {
    const folder = join(root, 'backups');
    const source = { catalog: file, storages: [storage], files: [] };
    const day = 86_400_000;
    const ahead = await backUp(source, { folder, keep: 2 }, Date.UTC(2036, 0, 1));
    assert.equal(isBackedUp(file, folder, T0, T0 + day), false);
    await backUp(source, { folder, keep: 2 }, T0);
    assert.equal(isBackedUp(file, folder, T0, T0 + day), true);
    assert.equal(isBackedUp(file, folder, T0 + 1, T0 + day), false);
    assert.equal(isBackedUp(file, folder, T0 - day, T0 - 3_600_000), true, 'the clock was set back by an hour');
    const next = await backUp(source, { folder, keep: 2 }, T0 + day);
    assert.ok(!existsSync(ahead.folder));
    // The clock of now is wrong, and all there is seems to be of the future.
    const behind = await backUp(source, { folder, keep: 2 }, 0);
    assert.deepEqual(
      backupsIn(folder).map(({ time }) => time),
      [0, T0 + day],
    );
    await backUp(source, { folder, keep: 1 }, -1000);
    assert.deepEqual([existsSync(next.folder), existsSync(behind.folder)], [false, false]);
    assert.deepEqual(
      backupsIn(folder).map(({ time }) => time),
      [-1000],
    );
  });

  it('never takes the backup that was just made for one too many', () => {
    const made = [1, 2, 3].map((hour) => ({ name: `nvr-${hour}`, time: T0 + hour * 3_600_000 }));
    const names = (keep: number): string[] => outdated(made, 'nvr-1', keep, T0).map(({ name }) => name);
    assert.deepEqual([names(0), names(1), names(2), names(3)], [['nvr-2', 'nvr-3'], ['nvr-2', 'nvr-3'], ['nvr-2'], []]);
  });

  it('shares a folder of backups with other NVRs', async () => {
    const folder = join(root, 'nas');
    const other = join(root, 'other.sqlite');
    Catalog.open(other).close();
    const backUpAt = (of: string, time: number): Promise<{ folder: string }> =>
      backUp({ catalog: of, storages: [], files: [] }, { folder, keep: 1 }, time);
    const { folder: mine } = await backUpAt(file, T0);
    assert.equal(isBackedUp(other, folder, T0, T0), false);
    const id = readFileSync(`${file}-id`, 'utf8').trim();
    const underWay = join(folder, `.nvr-2026-01-01T00-00-00.000Z.${id}.partial`);
    mkdirSync(underWay);
    await backUpAt(other, T0 + 1000);
    const { folder: theirs } = await backUpAt(other, T0 + 2000);
    assert.deepEqual(readdirSync(folder).sort(), [underWay, mine, theirs].map((one) => basename(one)).sort());
    // In a container with the same paths.
    writeFileSync(`${file}-id`, 'another\n');
    assert.equal(isBackedUp(file, folder, T0, T0), false);
    // From before backups named their NVR.
    const manifest = join(mine, 'nvr.json');
    const { installation, ...rest } = JSON.parse(readFileSync(manifest, 'utf8')) as Record<string, unknown>;
    assert.equal(installation, id);
    writeFileSync(manifest, JSON.stringify(rest));
    assert.equal(isBackedUp(file, folder, T0, T0), true);
    assert.equal(isBackedUp(other, folder, T0 + 3000, T0), false);
    writeFileSync(manifest, 'no JSON');
    await backUpAt(file, T0 + 4000);
    assert.ok(existsSync(mine), 'whose it is, nobody knows');
  });

  it('restores a backup and makes it agree with the files that there are now', async () => {
    const folder = join(root, 'backups');
    catalog.db.prepare("DELETE FROM segment WHERE path LIKE '%00-05%'").run();
    catalog.putEvent({ id: 'e', type: 'motion', camera: 'yard', source: null, start: T0, end: T0 + 10, data: {} });
    const { folder: made } = await backUp({ catalog: file, storages: [storage], files: [] }, { folder, keep: 1 }, T0);
    unlinkSync(files[0]!);
    assert.ok(isInUse(file));
    assert.throws(() => restore(made, file, [storage]), /stop Node-RED/);
    catalog.close();
    assert.throws(() => restore(root, file, [storage]), /no backup/);
    // On another disk, as after the loss of the first.
    const moved = join(root, 'moved');
    renameSync(storage, moved);
    const report = restore(made, join(moved, 'catalog.sqlite'), [moved]);
    assert.deepEqual([report.indexed, report.missing, report.absent], [1, 1, []]);
    assert.ok(report.setAside && existsSync(report.setAside));
    storage = moved;
    catalog = Catalog.open(join(moved, 'catalog.sqlite'));
    assert.equal((await check()).faults, 0);
    assert.equal((await check()).files, 5);
    assert.equal(catalog.db.prepare("SELECT count(*) FROM event WHERE id = 'e'").pluck().get(), 1);
    assert.deepEqual(gaps(), [[0, 1000, 'file-missing']]);
    const broken = join(root, 'broken');
    mkdirSync(broken);
    writeFileSync(join(broken, 'catalog.sqlite'), Buffer.alloc(9000, 1));
    catalog.close();
    assert.throws(() => restore(broken, join(moved, 'catalog.sqlite'), [moved]), /cannot be read|damaged/);
    catalog = Catalog.open(join(moved, 'catalog.sqlite'));
    assert.equal((await check()).files, 5, 'as it was');
  });

  describe('with a backup from a stranger', () => {
    let foreign: string;
    let made: string;
    let theirs: string[];

    /** Footage of somebody else, which the backup names: to be deleted, left open, whole, and empty. */
    beforeEach(async () => {
      foreign = join(root, 'somebody');
      mkdirSync(foreign);
      writeFileSync(join(foreign, '.flow-nvr'), '');
      const rows = addFootage(catalog, foreign, media, { camera: 'theirs', startMs: T0, segmentMs: 1000 });
      theirs = rows.map(({ path }) => join(foreign, path));
      const { db } = catalog;
      const change = (set: string, name: string): void => {
        db.prepare(`UPDATE segment SET ${set} WHERE path = ?`).run(name.slice(foreign.length + 1));
      };
      change("doomed = 'age'", theirs[0]!);
      change("state = 'open'", theirs[1]!);
      truncateSync(theirs[1]!, statSync(theirs[1]!).size - 10);
      truncateSync(theirs[2]!, 1200); // its header alone
      change("state = 'open'", theirs[2]!);
      const folder = join(root, 'backups');
      ({ folder: made } = await backUp({ catalog: file, storages: [storage], files: [] }, { folder, keep: 1 }, T0));
      catalog.close();
      for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
    });

    const sizes = (): number[] => theirs.map((name) => statSync(name).size);

    it('touches nothing in folders that only the backup names, and forgets them', () => {
      const before = sizes();
      const report = restore(made, file, [storage]);
      assert.deepEqual(sizes(), before);
      assert.deepEqual([report.foreign, report.absent, report.missing], [[foreign], [], 0]);
      catalog = Catalog.open(file);
      // Nor does retention later: it knows folders by these rows.
      assert.deepEqual(catalog.db.prepare('SELECT path FROM storage').pluck().all(), [storage]);
      assert.equal(catalog.db.prepare('SELECT count(*) FROM segment').pluck().get(), 6);
      assert.deepEqual(catalog.db.prepare('SELECT DISTINCT storage_id FROM usage').pluck().all().length, 1);
    });

    it('takes folders that are named, or that the catalogue had which is replaced', () => {
      const named = restore(made, file, [storage, foreign]);
      assert.deepEqual(named.foreign, []);
      assert.ok(existsSync(theirs[0]!), 'that it was being deleted is for the rules of now to decide anew');
      const again = restore(made, file, [storage]);
      assert.deepEqual(again.foreign, []);
      catalog = Catalog.open(file);
    });

    it('takes a folder that is named by another way to it for itself', () => {
      const way = join(root, 'way');
      symlinkSync(storage, way);
      const report = restore(made, file, [way]);
      assert.deepEqual([report.indexed, report.doubles, report.missing, report.foreign], [0, 0, 0, [foreign]]);
      catalog = Catalog.open(file);
      assert.deepEqual(catalog.db.prepare('SELECT path FROM storage').pluck().all(), [storage]);
    });

    it('keeps what has a copy in a bucket', () => {
      const backup = new Sqlite(join(made, 'catalog.sqlite'));
      backup.exec("INSERT INTO storage (path) VALUES ('s3://footage/nvr')");
      const set = 'UPDATE segment SET copy_id = (SELECT id FROM storage ORDER BY id DESC LIMIT 1) WHERE path = ?';
      backup.prepare(set).run(theirs[4]!.slice(foreign.length + 1));
      backup.close();
      restore(made, file, [storage]);
      catalog = Catalog.open(file);
      const of = "SELECT st.path FROM segment s JOIN storage st ON st.id = s.storage_id WHERE s.path LIKE 'theirs%'";
      assert.deepEqual(catalog.db.prepare(of).pluck().all(), ['s3://footage/nvr']);
    });

    it('refuses one that would name them again by itself', () => {
      const backup = new Sqlite(join(made, 'catalog.sqlite'));
      backup.exec(
        "CREATE TRIGGER again AFTER INSERT ON segment BEGIN INSERT OR IGNORE INTO storage (path) VALUES ('/home'); END",
      );
      backup.close();
      assert.throws(() => restore(made, file, [storage]), /runs by itself.*again/);
      assert.ok(!existsSync(file));
      catalog = Catalog.open(file);
    });
  });

  it('copies footage and reads it again; what is not as it was recorded is told', async () => {
    const items = catalog.db
      .prepare('SELECT path, bytes, hash FROM segment ORDER BY start_ms')
      .all()
      .map((row) => ({ ...(row as Omit<CopyItem, 'storage'>), storage }));
    const usb = join(root, 'usb');
    const copy = (of: CopyItem[] = items): Promise<object> => copyFootage(of, usb, () => Promise.resolve());
    await assert.rejects(copy(), /mount its disk/);
    mkdirSync(usb);
    assert.equal(((await copy(items.slice(0, 3))) as { files: number }).files, 3);
    await copy();
    for (const { path } of items) assert.deepEqual(readFileSync(join(usb, path)), readFileSync(join(storage, path)));
    rmSync(join(usb, items[4]!.path));
    flip(files[4]!);
    await assert.rejects(copy(), /not what was recorded/);
    assert.ok(!existsSync(join(usb, items[4]!.path)));
    await assert.rejects(copy([{ ...items[0]!, bytes: 1e15, hash: 1 }]), /too little room/);
  });

  it('is a catalogue that other programs read', async () => {
    const { folder } = await backUp({ catalog: file, storages: [storage], files: [] }, { folder: root, keep: 1 }, T0);
    const db = new Sqlite(join(folder, 'catalog.sqlite'), { readonly: true });
    assert.equal(db.prepare('SELECT count(*) FROM segment').pluck().get(), 6);
    db.close();
    assert.ok(!existsSync(join(folder, 'catalog.sqlite-wal')));
  });
});

describe('backups by the clock', () => {
  it('are due at a time of day, and again after a failure', async () => {
    const noon = new Date(2026, 4, 5, 12).getTime();
    assert.equal(lastTimeOf('03:00', noon), new Date(2026, 4, 5, 3).getTime());
    assert.equal(lastTimeOf('23:30', noon), new Date(2026, 4, 4, 23, 30).getTime());
    let now = noon;
    let last: number | null = null;
    let fail = false;
    let hang = false;
    const jobs: string[] = [];
    const messages: RetentionMessage[] = [];
    const upkeep = new Upkeep({
      clock: { now: () => now, monotonic: () => now, after: () => () => undefined },
      tell: (message) => messages.push(message),
      start: (job): RunningJob => {
        if (job.kind !== 'backup') throw new Error(job.kind);
        const { folder, since } = job.options;
        const there = last !== null && since !== null && last >= since;
        if (!there) jobs.push(folder);
        if (hang) return { done: new Promise(() => undefined), stop: () => undefined };
        const done = fail
          ? Promise.reject(new Error('no disk'))
          : Promise.resolve(there ? null : { folder: '/b', bytes: 1, files: [] });
        return { done, stop: () => undefined };
      },
      ...{ catalog: '/c', storages: () => [], backupFolder: '/default' },
    });
    const later = async (hours: number): Promise<number> => {
      now += hours * 3_600_000;
      upkeep.check();
      await new Promise((resolve) => setImmediate(resolve));
      return jobs.length;
    };
    assert.equal(await later(1), 0, 'nobody asked for any');
    upkeep.set({ at: '03:00', folder: '', keep: 3, files: [] });
    assert.equal(await later(0), 1, 'there is none yet');
    assert.deepEqual(jobs, ['/default']);
    last = now;
    assert.equal(await later(13), 1);
    fail = true;
    assert.equal(await later(2), 2);
    assert.match(upkeep.problem ?? '', /no disk/);
    assert.ok(
      messages.some((message) => message.type === 'backup' && message.phase === 'end' && message.error !== null),
    );
    assert.equal(await later(0.5), 2, 'not at once');
    fail = false;
    assert.equal(await later(1), 3);
    assert.equal(upkeep.problem, null);
    hang = true;
    assert.equal(await later(24), 4);
    assert.equal(await later(0.5), 4);
    assert.equal(upkeep.problem, null);
    assert.equal(await later(1), 4);
    assert.match(String(upkeep.problem), /does not get on/);
  });
});
