/**
 * A backup is a folder `nvr-<time>` with the catalogue, the files of the configuration, and what they belong to
 * (`nvr.json`). It is made under another name, checked, and renamed: there is a whole one, or none. Several NVRs may share
 * a folder: each looks at its own only.
 */
import { randomUUID } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  chmodSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { DEFAULT_MODES, prepareDatabase, type Modes } from '../recording/file-modes.ts';
import { EngineError } from '../types.ts';
import type { BackupOptions, BackupReport, BackupSource } from './types.ts';

/** Of a backup folder. */
export const CATALOG_NAME = 'catalog.sqlite';
export const MANIFEST_NAME = 'nvr.json';
const NAME = /^nvr-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z$/;
const PARTIAL = '.partial';
/** Beside the catalogue. Not in it, so that a catalogue which is restored elsewhere does not remove what is not its own. */
const ID_SUFFIX = '-id';
/** What was made later than this from now was made with a wrong clock; some hours may be a clock that was just set. */
const FUTURE_MS = 86_400_000;
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
  /** Of the NVR that made it: paths are the same in many containers. Backups that lack it are told by their catalogue. */
  installation?: string;
  storages: string[];
  files: string[];
}

type Owner = Required<Pick<BackupManifest, 'catalog' | 'installation'>>;
interface Made {
  name: string;
  time: number;
}

/** The backups in a folder, oldest first; none when it is not there. */
export function backupsIn(folder: string): Made[] {
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

/** Whether this NVR made one since then; what a wrong clock made later than tomorrow is none. */
export function isBackedUp(catalog: string, folder: string, since: number, now: number): boolean {
  const owner = ownerOf(catalog);
  return backupsIn(folder).some(
    (one) => one.time >= since && !isFuture(one, now) && isOwn(join(folder, one.name), owner),
  );
}

const isFuture = ({ time }: Made, now: number): boolean => time > now + FUTURE_MS;

/**
 * Those to remove, so that with the one just made `keep` are left. Those of the future go first, the oldest of them
 * before others: when it is the clock of now that is wrong, all that there were are of the future.
 * @param made oldest first
 */
export function outdated(made: readonly Made[], latest: string, keep: number, now: number): Made[] {
  const others = made.filter(({ name }) => name !== latest);
  const future = others.filter((one) => isFuture(one, now));
  const past = others.filter((one) => !isFuture(one, now));
  return [...future, ...past].slice(0, Math.max(0, others.length + 1 - Math.max(1, keep)));
}

/** False, too, for what cannot be read: it is left alone. */
function isOwn(backup: string, { catalog, installation }: Owner): boolean {
  try {
    const made = JSON.parse(readFileSync(join(backup, MANIFEST_NAME), 'utf8')) as BackupManifest;
    return made.installation === undefined ? made.catalog === catalog : made.installation === installation;
  } catch {
    return false;
  }
}

/** Which NVR this is; found out once, and remembered beside the catalogue. */
function ownerOf(catalog: string): Owner {
  const file = catalog + ID_SUFFIX;
  if (!existsSync(file)) {
    writeFileSync(file + PARTIAL, `${randomUUID()}\n`, { mode: DEFAULT_MODES.file });
    sync(file + PARTIAL);
    renameSync(file + PARTIAL, file);
  }
  return { catalog, installation: readFileSync(file, 'utf8').trim() };
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
  modes: Modes = DEFAULT_MODES,
): Promise<BackupReport> {
  mkdirSync(folder, { recursive: true, mode: modes.folder });
  const needed = statSync(catalog).size + SPARE_BYTES;
  const owner = ownerOf(catalog);
  // Of others may be under way.
  const ending = `.${owner.installation}${PARTIAL}`;
  for (const one of readdirSync(folder))
    if (one.startsWith('.nvr-') && one.endsWith(ending)) removeAll(join(folder, one));
  const name = `nvr-${new Date(now).toISOString().replaceAll(':', '-')}`;
  const part = join(folder, `.${name}${ending}`);
  const { bavail, bsize } = statfsSync(folder);
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
      ...{ version: 1, created: new Date(now).toISOString(), schema, ...owner, storages, files: copied },
    };
    writeFileSync(join(part, MANIFEST_NAME), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o600 });
    const all = readdirSync(part);
    for (const one of [...all.map((of) => join(part, of)), part]) sync(one);
    const bytes = all.reduce((sum, one) => sum + statSync(join(part, one)).size, 0);
    renameSync(part, join(folder, name));
    sync(folder);
    const own = backupsIn(folder).filter((one) => isOwn(join(folder, one.name), owner));
    for (const old of outdated(own, name, keep, now)) {
      // Renamed before it is taken apart: half of a backup is never to be seen.
      renameSync(join(folder, old.name), join(folder, `.${old.name}${ending}`));
      removeAll(join(folder, `.${old.name}${ending}`));
    }
    return { folder: join(folder, name), bytes, files: copied };
  } catch (error) {
    removeAll(part);
    throw error;
  }
}

/** As it is at one moment, while others go on writing; checked. Returns its schema. */
async function copyCatalog(from: string, to: string, progress: (done: number) => void): Promise<number> {
  prepareDatabase(to, 0o600); // as the folder it is in, whoever may read the catalogue
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
