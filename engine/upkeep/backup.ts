/**
 * A backup is a folder `nvr-<time>` with the catalogue, the files of the configuration, and what they belong to
 * (`nvr.json`). It is made under another name, checked, and renamed: there is a whole one, or none.
 */
import {
  closeSync,
  copyFileSync,
  chmodSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { EngineError } from '../types.ts';
import type { BackupOptions, BackupReport, BackupSource } from './types.ts';

/** Of a backup folder. */
export const CATALOG_NAME = 'catalog.sqlite';
export const MANIFEST_NAME = 'nvr.json';
const NAME = /^nvr-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z$/;
const PARTIAL = /^\.nvr-.*\.partial$/;
/** Copied at once; others wait for the disk meanwhile. */
const PAGES = 256;
/** Left on the disk beside a backup: recording needs it more. */
const SPARE_BYTES = 64 * 1024 * 1024;

export interface BackupManifest {
  version: 1;
  created: string;
  /** `user_version` of the catalogue. */
  schema: number;
  catalog: string;
  storages: string[];
  files: string[];
}

/** The backups in a folder, oldest first; none when it is not there. */
export function backupsIn(folder: string): { name: string; time: number }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  return names
    .filter((name) => NAME.test(name))
    .sort()
    .map((name) => ({ name, time: Date.parse(name.slice(4, 14) + name.slice(14).replaceAll('-', ':')) }));
}

/**
 * Throws `backup` when there is no room or the copy is not good, and whatever the disk says.
 * @param progress hears the share that is done
 */
export async function backUp(
  { catalog, storages, files }: BackupSource,
  { folder, keep }: Pick<BackupOptions, 'folder' | 'keep'>,
  now: number,
  progress: (done: number) => void = () => undefined,
): Promise<BackupReport> {
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder).filter((one) => PARTIAL.test(one))) removeAll(join(folder, name));
  const name = `nvr-${new Date(now).toISOString().replaceAll(':', '-')}`;
  const part = join(folder, `.${name}.partial`);
  const { bavail, bsize } = statfsSync(folder);
  const needed = statSync(catalog).size + SPARE_BYTES;
  if (bavail * bsize < needed) {
    throw new EngineError(
      'backup',
      `no backup was made: ${folder} has less than ${Math.ceil(needed / 1e6)} MB left; free some space or choose another folder`,
    );
  }
  mkdirSync(part, { mode: 0o700 });
  try {
    const schema = await copyCatalog(catalog, join(part, CATALOG_NAME), progress);
    const copied: string[] = [];
    for (const { name: as, file } of files) {
      if (!existsSync(file)) continue;
      copyFileSync(file, join(part, as));
      chmodSync(join(part, as), 0o600);
      copied.push(as);
    }
    const manifest: BackupManifest = {
      ...{ version: 1, created: new Date(now).toISOString(), schema, catalog, storages, files: copied },
    };
    writeFileSync(join(part, MANIFEST_NAME), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });
    const all = readdirSync(part);
    for (const one of [...all.map((of) => join(part, of)), part]) sync(one);
    const bytes = all.reduce((sum, one) => sum + statSync(join(part, one)).size, 0);
    renameSync(part, join(folder, name));
    sync(folder);
    for (const old of backupsIn(folder).slice(0, -Math.max(1, keep))) {
      // Renamed before it is taken apart: half of a backup is never to be seen.
      renameSync(join(folder, old.name), join(folder, `.${old.name}.partial`));
      removeAll(join(folder, `.${old.name}.partial`));
    }
    return { folder: join(folder, name), bytes, files: copied };
  } catch (error) {
    removeAll(part);
    throw error;
  }
}

/** As it is at one moment, while others go on writing; checked. Returns its schema. */
async function copyCatalog(from: string, to: string, progress: (done: number) => void): Promise<number> {
  const source = new Sqlite(from, { readonly: true, fileMustExist: true, timeout: 5000 });
  try {
    // What is written meanwhile would make SQLite begin again and again; a transaction keeps the moment.
    source.exec('BEGIN');
    source.prepare('SELECT count(*) FROM camera').get();
    await source.backup(to, {
      progress: ({ totalPages, remainingPages }) => {
        progress(totalPages > 0 ? 1 - remainingPages / totalPages : 0);
        return PAGES;
      },
    });
    source.exec('COMMIT');
  } finally {
    source.close();
  }
  return checkCatalog(to);
}

/** Makes it one file without a log beside it. Throws `backup` when it is damaged. Returns its schema. */
function checkCatalog(file: string): number {
  const copy = new Sqlite(file, { fileMustExist: true });
  try {
    copy.pragma('journal_mode = DELETE');
    const found = copy.pragma('integrity_check(1)', { simple: true }) as string;
    if (found !== 'ok') throw new EngineError('backup', `the copy of the catalogue is damaged: ${found}`);
    return copy.pragma('user_version', { simple: true }) as number;
  } finally {
    copy.close();
  }
}

function removeAll(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

function sync(path: string): void {
  if (process.platform === 'win32') return; // folders cannot be opened there, nor files synced that were opened to read
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
