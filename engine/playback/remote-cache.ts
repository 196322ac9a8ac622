/**
 * Files of buckets on this disk, fetched when somebody wants to see them: bounded, the last used are kept. The query
 * thread reads them as any other file; when one is not there it says so, and its question is asked again after the fetch.
 */
import { createHash } from 'node:crypto';
import { rmSync } from 'node:fs';
import { readdir, rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_MODES, ownFolder, type Modes } from '../recording/file-modes.ts';
import type { PlaceLink } from '../retention/place-link.ts';
import { EngineError } from '../types.ts';
import { FairTurns } from './fair-turns.ts';

/** A file that is in a bucket only. */
export interface RemoteFile {
  /** `s3://…` */
  storage: string;
  path: string;
  bytes: number;
}

/** Thrown by what needs the file. */
export class RemoteError extends EngineError {
  readonly file: RemoteFile;

  constructor(file: RemoteFile) {
    super('remote', 'this footage is in a bucket');
    this.file = file;
  }
}

/** Of all files that are kept here. */
export const MAX_CACHE_BYTES = 4 * 1024 ** 3;
/** Left to the recording and the catalogue. */
const MIN_FREE_BYTES = 1024 ** 3;
const AT_ONCE = 4;
const MAX_WAITING = 200;

export function cachedName(storage: string, path: string): string {
  return `${createHash('sha256').update(`${storage}\n${path}`).digest('hex')}.mp4`;
}

export class RemoteCache {
  private readonly folder: string;
  private readonly linkOf: (storage: string) => Pick<PlaceLink, 'call'> | null;
  private readonly maxBytes: number;
  private readonly modes: Modes;
  private readonly fetching = new Map<string, Promise<void>>();
  private readonly turns = new FairTurns({
    ...{ atOnce: AT_ONCE, mostWaiting: MAX_WAITING, busy: 'too much is fetched at once; try again later' },
  });

  /**
   * @param folder what an earlier process left in it is removed
   * @param linkOf null for a bucket that nobody has told how to reach
   */
  constructor(
    folder: string,
    linkOf: (storage: string) => Pick<PlaceLink, 'call'> | null,
    maxBytes = MAX_CACHE_BYTES,
    modes: Modes = DEFAULT_MODES,
  ) {
    this.modes = modes;
    this.folder = folder;
    this.linkOf = linkOf;
    this.maxBytes = maxBytes;
    rmSync(folder, { recursive: true, force: true });
  }

  /**
   * The file is here when this resolves. It is fetched once for all who want it, but each of them waits for a turn of
   * their own, as somebody with much waiting may have asked for it first. Rejects with `bucket`, `busy`, `not-found`,
   * `gone`.
   */
  async fetch(file: RemoteFile): Promise<void> {
    const name = cachedName(file.storage, file.path);
    // One that is under way takes no turn: the others have theirs.
    const underWay = this.fetching.get(name) ?? (await this.turns.run(() => this.begin(file, name)))?.fetching;
    await underWay;
  }

  /** Fetches the file, unless somebody else does: @returns what to wait for then, which needs no turn. */
  private async begin(file: RemoteFile, name: string): Promise<{ fetching: Promise<void> } | undefined> {
    const fetching = this.fetching.get(name);
    if (fetching) return { fetching };
    const own = this.get(file, name).finally(() => this.fetching.delete(name));
    this.fetching.set(name, own);
    await own;
    return undefined;
  }

  private async get({ storage, path, bytes }: RemoteFile, name: string): Promise<void> {
    const to = join(this.folder, name);
    if (await isThere(to)) return;
    const link = this.linkOf(storage);
    if (!link) {
      throw new EngineError(
        'bucket',
        'this footage is in a bucket that no retention node names any more: add it there',
      );
    }
    await this.makeRoom(bytes);
    try {
      await link.call('fetch', path, to, bytes);
    } catch (error) {
      if (error instanceof EngineError && error.code === 'not-found') throw error;
      const why = error instanceof Error ? error.message : String(error);
      throw new EngineError('bucket', `this footage cannot be fetched now: ${why}`, { cause: error });
    }
  }

  private async makeRoom(bytes: number): Promise<void> {
    await ownFolder(this.folder, this.modes);
    const names = (await readdir(this.folder)).filter((name) => name.endsWith('.mp4'));
    const files = await Promise.all(
      names.map(async (name) => {
        const file = join(this.folder, name);
        const { size, mtimeMs } = await stat(file);
        return { file, size, usedMs: mtimeMs };
      }),
    );
    let sum = files.reduce((all, { size }) => all + size, 0);
    for (const { file, size } of files.sort((a, b) => a.usedMs - b.usedMs)) {
      if (sum + bytes <= this.maxBytes) break;
      await rm(file, { force: true });
      sum -= size;
    }
    const { bavail, bsize } = await statfs(this.folder);
    if (bavail * bsize < bytes + MIN_FREE_BYTES) {
      throw new EngineError('busy', 'the disk has no room to fetch this footage; the recordings come first');
    }
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function isThere(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
    throw error;
  }
}
