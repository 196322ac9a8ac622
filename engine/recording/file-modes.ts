/**
 * Who may read what is stored: the rights with which files and folders are made. They are given with each call; a umask would be
 * that of all of Node-RED, and worker threads cannot set one. A stricter umask of the process holds all the same.
 */
import { chmodSync, closeSync, lstatSync, mkdirSync, openSync } from 'node:fs';
import { chmod, lstat, mkdir, open } from 'node:fs/promises';

export const READERS = ['owner', 'group', 'everybody'] as const;
export type Readers = (typeof READERS)[number];

export interface Modes {
  folder: number;
  file: number;
}

const MODES: Record<Readers, Modes> = {
  owner: { folder: 0o700, file: 0o600 },
  group: { folder: 0o750, file: 0o640 },
  everybody: { folder: 0o755, file: 0o644 },
};

/** Who can read the disk is the business of its owner; footage is nobody else's by default. */
export function modesOf(readers: Readers = 'group'): Modes {
  return MODES[readers];
}

export const DEFAULT_MODES = modesOf();

/** Disks without rights (FAT, many network shares), and what belongs to somebody else: left as it is, it is no reason not to record. */
const UNCHANGEABLE: readonly string[] = ['EPERM', 'EACCES', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EINVAL', 'EROFS'];

function ignoreUnchangeable(error: unknown): void {
  const { code = '' } = error as NodeJS.ErrnoException;
  if (code !== 'ENOENT' && !UNCHANGEABLE.includes(code)) throw error;
}

/** Those of the rights that `mode` does not have, and something has, are taken from it; none are given. What a link leads to is left. */
function tooMany(found: { mode: number; isSymbolicLink(): boolean }, mode: number): boolean {
  return !found.isSymbolicLink() && (found.mode & 0o777 & ~mode) !== 0;
}

/** For what the NVR itself made, perhaps with an older version; what is not there is no error. */
export function limit(path: string, mode: number): void {
  try {
    const found = lstatSync(path);
    if (tooMany(found, mode)) chmodSync(path, found.mode & mode);
  } catch (error) {
    ignoreUnchangeable(error);
  }
}

/** A folder that only the NVR uses: one that is there already is limited. Throws as `mkdirSync`. */
export function makeOwnFolder(path: string, { folder }: Modes): void {
  mkdirSync(path, { recursive: true, mode: folder });
  limit(path, folder);
}

/** The same without waiting for the disk. */
export async function ownFolder(path: string, { folder }: Modes): Promise<void> {
  await mkdir(path, { recursive: true, mode: folder });
  try {
    const found = await lstat(path);
    if (tooMany(found, folder)) await chmod(path, found.mode & folder);
  } catch (error) {
    ignoreUnchangeable(error);
  }
}

/** An empty file for a program that would make it with rights of its own, and keeps those of one that is there. */
export async function emptyFile(path: string, { file }: Modes): Promise<void> {
  await (await open(path, 'w', file)).close();
}

/** Makes an SQLite file before SQLite does: that gives the files beside it the rights of this one. */
export function prepareDatabase(file: string, mode: number): void {
  closeSync(openSync(file, 'a', mode));
  for (const end of ['', '-wal', '-shm']) limit(file + end, mode);
}
