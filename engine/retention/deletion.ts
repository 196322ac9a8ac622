/** Deletes files that the catalogue has marked, outside of its transactions, and then their rows. */
import { existsSync, rmdirSync, unlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { footageFile } from '../recording/segment-path.ts';
import type { DeletionStore, Marked } from './deletion-store.ts';

export interface FileEffects {
  /** False for a storage folder that is not there now: its files are not deleted, only out of reach. */
  present(storage: string): boolean;
  /** Throws as `unlinkSync`. */
  unlink(file: string): void;
  /** Removes a folder if it is empty; no error if it is not. */
  removeEmpty(folder: string): void;
}

/** Tells a storage folder from the empty mount point of its disk. */
export const MARKER = '.flow-nvr';
/** Nothing is written into the folder of an hour so long ago, whatever the clocks of the cameras. */
export const QUIET_MS = 26 * 3_600_000;

export const diskOfFiles: FileEffects = {
  present: (storage) => existsSync(join(storage, MARKER)),
  unlink: unlinkSync,
  removeEmpty: (folder) => {
    try {
      rmdirSync(folder);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? '';
      if (!['ENOTEMPTY', 'EEXIST', 'ENOENT', 'EBUSY', 'EACCES', 'EPERM', 'EROFS'].includes(code)) throw error;
    }
  },
};

/** What is wrong with one file, and not with its disk. */
const OF_THE_FILE: readonly string[] = ['EPERM', 'EACCES', 'EBUSY', 'EISDIR', 'ETXTBSY', 'ELOOP', 'ENAMETOOLONG'];

export interface DeletionResult {
  /** Those whose files were gone already freed nothing: they have no bytes here. */
  deleted: Marked[];
  /** Their files are still there. */
  failed: Marked[];
  /** Of these, those whose neighbours may well be deleted. */
  stuck: Marked[];
  /** Why, for one of them. */
  error: string | null;
}

/** Rows go only when their files have. What failed stays marked. */
export function deleteMarked(
  store: Pick<DeletionStore, 'drop'>,
  marked: readonly Marked[],
  files: FileEffects,
  now: number,
): DeletionResult {
  const result: DeletionResult = { deleted: [], failed: [], stuck: [], error: null };
  for (const one of marked) {
    try {
      files.unlink(footageFile(one.storage, one.path));
      result.deleted.push(one);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' && files.present(one.storage)) {
        result.deleted.push({ ...one, bytes: 0 });
        continue;
      }
      result.failed.push(one);
      if (OF_THE_FILE.includes(code ?? '')) result.stuck.push(one);
      result.error =
        code === 'ENOENT' ? `the storage folder ${one.storage} is not there: is its disk mounted?` : message;
    }
  }
  if (result.deleted.length > 0) store.drop(result.deleted, now);
  const folders = new Set(
    result.deleted
      .filter(({ start }) => start < now - QUIET_MS)
      .map(({ storage, path }) => join(storage, dirname(path))),
  );
  for (const folder of folders) files.removeEmpty(folder);
  for (const day of new Set([...folders].map(dirname))) files.removeEmpty(day);
  return result;
}
