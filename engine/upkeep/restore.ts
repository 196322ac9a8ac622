/** Puts a backup's catalogue in place and makes it agree with the files that are there. Node-RED must not be running. */
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  statSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import Sqlite, { type Database } from 'better-sqlite3';
import { Catalog } from '../catalog/catalog.ts';
import { Reconciler, type ReconcileReport } from '../catalog/reconcile.ts';
import { DEFAULT_MODES } from '../recording/file-modes.ts';
import { isBucket } from '../retention/tiers.ts';
import { EngineError } from '../types.ts';
import { CATALOG_NAME, MANIFEST_NAME, type BackupManifest } from './backup.ts';

export interface RestoreReport extends ReconcileReport {
  /** Where the catalogue that was there is now; null when there was none. */
  setAside: string | null;
  /** Files of the configuration that the backup has; they are not put anywhere. */
  files: string[];
  /** Storage folders, of those that may be touched, that are not there now. */
  absent: string[];
  /** Folders that only the backup names: their rows were left out, and nothing in them was touched. */
  foreign: string[];
}

/** Whether somebody, a Node-RED that runs for example, has the catalogue open. */
export function isInUse(catalog: string): boolean {
  if (!existsSync(catalog)) return false;
  const db = new Sqlite(catalog, { fileMustExist: true, timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    db.exec('BEGIN IMMEDIATE; ROLLBACK');
    return false;
  } catch (error) {
    if (/^SQLITE_(BUSY|LOCKED)/.test((error as { code?: string }).code ?? '')) return true;
    return false; // broken: nobody can be using it
  } finally {
    db.close();
  }
}

/**
 * Deletes and repairs files only in `named` and in the folders of the catalogue that is replaced. A backup may come from
 * anywhere and name any folder: what it says of others is left out of the catalogue, so that retention deletes nothing there
 * later.
 * @param named where the footage is now; where the backup names one other folder, that is taken for the first of them
 * @param step hears the folders that are compared
 * Throws `restore`.
 */
export function restore(
  backup: string,
  catalog: string,
  named: readonly string[],
  step: (folder: string) => void = () => undefined,
): RestoreReport {
  const from = join(backup, CATALOG_NAME);
  if (!existsSync(from)) throw new EngineError('restore', `${backup} is no backup: there is no ${CATALOG_NAME} in it`);
  if (isInUse(catalog)) throw new EngineError('restore', `${catalog} is in use: stop Node-RED first`);
  mkdirSync(dirname(catalog), { recursive: true, mode: DEFAULT_MODES.folder });
  const part = `${catalog}.partial`;
  copyFileSync(from, part);
  chmodSync(part, existsSync(catalog) ? statSync(catalog).mode & 0o666 : DEFAULT_MODES.file);
  verify(part);
  const storages = sameAs(part, named);
  relocate(part, storages);
  const foreign = leaveOut(part, new Set([...storages, ...foldersIn(catalog)]));
  const setAside = moveAside(catalog);
  renameSync(part, catalog);
  const opened = Catalog.open(catalog);
  try {
    let gapId = Date.now() * 1000;
    const reconciler = new Reconciler(opened, () => gapId++);
    const all = [...new Set([...storages, ...foldersOf(opened.db)])];
    const there = all.filter((one) => existsSync(one));
    // Of moves that were under way then: what they name may be footage by now.
    opened.db.exec('DELETE FROM leftover');
    // What was marked for deletion then is for the rules of now to decide on.
    opened.db.exec('UPDATE segment SET doomed = NULL');
    reconciler.finishOpen(there);
    // Files that were moved since are found before any is taken for lost.
    for (const forget of [false, true]) {
      for (const storage of there) for (const folder of reconciler.walk(storage, Infinity, forget)) step(folder);
    }
    return {
      ...{ ...reconciler.report, setAside, files: manifestOf(backup)?.files ?? [] },
      absent: all.filter((one) => !existsSync(one)),
      foreign,
    };
  } finally {
    opened.close();
  }
}

const foldersOf = (db: Database): string[] =>
  (db.prepare('SELECT path FROM storage').pluck().all() as string[]).filter((path) => !isBucket(path));

/** The folders of the catalogue that is there now; none when there is none, or it cannot be read. */
function foldersIn(catalog: string): string[] {
  if (!existsSync(catalog)) return [];
  const db = new Sqlite(catalog, { readonly: true, fileMustExist: true });
  try {
    return foldersOf(db);
  } catch (error) {
    if (error instanceof Sqlite.SqliteError) return []; // broken: that is why a backup is restored
    throw error;
  } finally {
    db.close();
  }
}

/** Removes what a catalogue says of folders that are not `ours`. @returns those folders */
function leaveOut(file: string, ours: ReadonlySet<string>): string[] {
  const catalog = Catalog.open(file); // brings an old backup up to date: older ones know no copies
  try {
    const { db } = catalog;
    const own = new Set(ownPrograms());
    const strange = programsIn(db).find((one) => !own.has(one));
    if (strange !== undefined) {
      throw new EngineError(
        'restore',
        `the backup has something in it that runs by itself, and is not used: ${strange.slice(0, 200)}`,
      );
    }
    const foreign = foldersOf(db).filter((path) => !ours.has(path));
    const idOf = db.prepare('SELECT id FROM storage WHERE path = ?').pluck();
    catalog.transaction(() => {
      for (const path of foreign) {
        const id = idOf.get(path);
        // A copy somewhere else takes the place of what was here.
        db.prepare('UPDATE segment SET copy_id = NULL WHERE copy_id = ?').run(id);
        const stays = 'UPDATE OR IGNORE segment SET storage_id = copy_id, copy_id = NULL';
        db.prepare(`${stays} WHERE storage_id = ? AND state = 'closed' AND doomed IS NULL AND copy_id IS NOT NULL`).run(
          id,
        );
        for (const table of ['segment', 'leftover', 'usage', 'storage']) {
          db.prepare(`DELETE FROM ${table} WHERE ${table === 'storage' ? 'id' : 'storage_id'} = ?`).run(id);
        }
      }
    });
    db.pragma('journal_mode = DELETE'); // one file, which can be renamed
    return foreign;
  } finally {
    catalog.close();
  }
}

/** What SQLite runs when rows change: one of a stranger could name other folders again at any time. */
function programsIn(db: Database): string[] {
  return db.prepare("SELECT sql FROM sqlite_master WHERE type IN ('trigger', 'view')").pluck().all() as string[];
}

function ownPrograms(): string[] {
  const catalog = Catalog.open(':memory:');
  try {
    return programsIn(catalog.db);
  } finally {
    catalog.close();
  }
}

function manifestOf(backup: string): BackupManifest | null {
  const file = join(backup, MANIFEST_NAME);
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as BackupManifest) : null;
}

function verify(file: string): void {
  const db = new Sqlite(file, { fileMustExist: true });
  try {
    const found = db.pragma('integrity_check(1)', { simple: true }) as string;
    if (found !== 'ok') throw new EngineError('restore', `the backup is damaged: ${found}`);
    db.prepare('SELECT count(*) FROM segment').get();
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError('restore', `the backup cannot be read: ${(error as Error).message}`, { cause: error });
  } finally {
    db.close();
  }
}

/** A folder that the backup names by another way to it has that name: else its files would be taken for copies of themselves. */
function sameAs(file: string, folders: readonly string[]): string[] {
  const db = new Sqlite(file, { fileMustExist: true });
  try {
    const known = foldersOf(db);
    const real = (path: string): string | null => (existsSync(path) ? realpathSync(path) : null);
    return folders.map((path) =>
      known.includes(path) ? path : (known.find((one) => existsSync(path) && real(one) === real(path)) ?? path),
    );
  } finally {
    db.close();
  }
}

/** Footage that is somewhere else now, on another computer for example. */
function relocate(file: string, storages: readonly string[]): void {
  const db = new Sqlite(file, { fileMustExist: true });
  try {
    const known = foldersOf(db);
    const unknown = storages.filter((one) => !known.includes(one));
    const gone = known.filter((one) => !storages.includes(one) && !existsSync(one));
    if (unknown.length === 1 && gone.length === 1) {
      db.prepare('UPDATE storage SET path = ? WHERE path = ?').run(unknown[0], gone[0]);
    }
  } finally {
    db.close();
  }
}

function moveAside(catalog: string): string | null {
  if (!existsSync(catalog)) return null;
  const aside = `${catalog}.before-restore-${new Date().toISOString().replaceAll(':', '-')}`;
  for (const suffix of ['-wal', '-shm', '']) {
    if (existsSync(catalog + suffix)) renameSync(catalog + suffix, aside + suffix);
  }
  return aside;
}
