import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { StripStore } from '../../engine/playback/strip-store.ts';
import { FileWriter } from '../../engine/recording/file-writer.ts';
import { emptyFile, limit, modesOf, ownFolder, READERS } from '../../engine/recording/file-modes.ts';
import { FolderPlace } from '../../engine/retention/folder-place.ts';
import { backUp } from '../../engine/upkeep/backup.ts';
import { copyFootage } from '../../engine/upkeep/copy.ts';
import { toEngineConfig } from '../../nodes/nvr-config/settings.ts';

const PATH = 'yard/2026-05-01/10/2026-05-01T10-00-00.000Z_main.mp4';
const WANTED = { owner: [0o700, 0o600], group: [0o750, 0o640], everybody: [0o755, 0o644] } as const;

describe('who may read what is stored', () => {
  let root: string;
  let umask: number;
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'flow-nvr-modes-'));
    umask = process.umask(0);
  });
  afterEach(() => {
    process.umask(umask);
    rmSync(root, { recursive: true, force: true });
  });

  const mode = (...path: string[]): number => statSync(join(root, ...path)).mode & 0o777;
  /** All that is below, by what it is. */
  function modesBelow(folder: string): { folders: number[]; files: number[] } {
    const found = { folders: new Set([mode(folder)]), files: new Set<number>() };
    for (const name of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      const isFolder = statSync(join(root, folder, name)).isDirectory();
      (isFolder ? found.folders : found.files).add(mode(folder, name));
    }
    return { folders: [...found.folders], files: [...found.files] };
  }
  function write(storage: string, modes = modesOf()): void {
    const problems: string[] = [];
    const writer = new FileWriter(
      join(root, storage),
      (reply) => {
        if (reply.event === 'failed') problems.push(reply.message);
      },
      () => null,
      modes,
    );
    writer.handle({ op: 'open', id: '1', path: PATH, header: Buffer.alloc(10) });
    writer.handle({ op: 'append', id: '1', data: Buffer.alloc(10) });
    writer.handle({ op: 'close', id: '1', writes: [] });
    assert.deepEqual(problems, []);
  }

  for (const readers of READERS) {
    const [folder, file] = WANTED[readers];
    const modes = modesOf(readers);

    it(`makes footage, tiers, copies and caches for ${readers}`, async () => {
      write('nvr', modes);
      const from = join(root, 'nvr', PATH);
      const place = new FolderPlace(join(root, 'tier'), () => false, undefined, modes);
      await place.take({ from, path: PATH, bytes: 20, hash: null }, () => undefined);
      mkdirSync(join(root, 'copies'), { mode: folder });
      const item = { storage: join(root, 'nvr'), path: PATH, bytes: 20, hash: null };
      await copyFootage([item], join(root, 'copies'), () => Promise.resolve(), undefined, modes);
      await new StripStore(join(root, 'strips'), modes).put('a', { image: Buffer.alloc(9), times: [1] });
      await ownFolder(join(root, 'clips'), modes);
      await emptyFile(join(root, 'clips', 'a.mp4'), modes);
      for (const place of ['nvr', 'tier', 'copies', 'strips', 'clips']) {
        assert.deepEqual(modesBelow(place), { folders: [folder], files: [file] }, place);
      }
    });

    it(`makes the catalogue, and what SQLite has beside it, for ${readers}`, () => {
      const catalog = Catalog.open(join(root, 'made', 'catalog.sqlite'), modes);
      catalog.openGap({ id: 1, camera: 'yard', stream: 'main', start: 1, end: 2, cause: 'restart' });
      assert.ok(existsSync(join(root, 'made', 'catalog.sqlite-wal')));
      assert.deepEqual(modesBelow('made'), { folders: [folder], files: [file] });
      catalog.close();
    });
  }

  it('is the user and its group, whatever a flow says that is not known', () => {
    const properties = { storage: '', catalog: '', ffmpegPath: '', httpPath: '' };
    assert.equal(toEngineConfig(properties, root).readers, 'group');
    assert.equal(toEngineConfig({ ...properties, readers: 'owner' }, root).readers, 'owner');
    assert.equal(toEngineConfig({ ...properties, readers: '__proto__' as 'owner' }, root).readers, 'group');
  });

  it("takes rights that are too many from cameras' folders and the catalogue, and leaves the user's own folder", () => {
    mkdirSync(join(root, 'nvr', 'yard'), { recursive: true, mode: 0o777 });
    write('nvr');
    assert.deepEqual([mode('nvr'), mode('nvr', 'yard')], [0o777, 0o750]);
    const file = join(root, 'nvr', 'catalog.sqlite');
    Catalog.open(file).close();
    chmodSync(file, 0o666);
    Catalog.open(file).close();
    assert.equal(mode('nvr', 'catalog.sqlite'), 0o666, 'only who knows what is set changes it');
    Catalog.open(file, modesOf('group')).close();
    assert.equal(mode('nvr', 'catalog.sqlite'), 0o640);
    Catalog.open(file, modesOf('everybody')).close();
    assert.equal(mode('nvr', 'catalog.sqlite'), 0o640, 'gives none');
  });

  it('leaves what a link leads to, and what is not there', () => {
    mkdirSync(join(root, 'elsewhere'), { mode: 0o777 });
    symlinkSync(join(root, 'elsewhere'), join(root, 'link'));
    limit(join(root, 'link'), 0o700);
    limit(join(root, 'nothing'), 0o700);
    assert.equal(mode('elsewhere'), 0o777);
  });

  it('keeps backups for their owner', async () => {
    const file = join(root, 'catalog.sqlite');
    Catalog.open(file).close();
    writeFileSync(join(root, 'flows.json'), '[]');
    const files = [{ name: 'flows.json', file: join(root, 'flows.json') }];
    await backUp({ catalog: file, storages: [], files }, { folder: join(root, 'backups'), keep: 1 }, Date.now());
    assert.equal(mode('backups'), 0o750);
    const [name] = readdirSync(join(root, 'backups'));
    assert.deepEqual(modesBelow(join('backups', name!)), { folders: [0o700], files: [0o600] });
    assert.equal(mode('catalog.sqlite-id'), 0o640);
  });
});
