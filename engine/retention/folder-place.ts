/** A tier that is a folder: copies are made under another name, synced, read back, and only then given theirs. */
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from '../media/crc32.ts';
import { DEFAULT_MODES, limit, type Modes } from '../recording/file-modes.ts';
import { footageFile, parseSegmentPath } from '../recording/segment-path.ts';
import { EngineError } from '../types.ts';
import { diskOfFiles, MARKER } from './deletion.ts';
import { sourceError, type Place, type Removal, type Room, type TakeJob } from './place.ts';

const CHUNK_BYTES = 1024 * 1024;
/** What is written is on the disk after so much of it, so that it does not pile up in memory for one long wait. */
const SYNC_BYTES = 16 * CHUNK_BYTES;
/** No file is begun that would leave less. */
const RESERVE_BYTES = 16 * CHUNK_BYTES;
const PARTIAL = '.partial';

/** What tests make slow, full or broken. */
export interface DiskCalls {
  read: typeof readSync;
  write: typeof writeSync;
  free(folder: string): number;
}

const realCalls: DiskCalls = {
  read: readSync,
  write: writeSync,
  free: (folder) => {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  },
};

export class FolderPlace implements Place {
  private readonly root: string;
  private readonly known: () => boolean;
  private readonly calls: DiskCalls;
  private readonly modes: Modes;
  private readonly buffer = Buffer.alloc(CHUNK_BYTES);

  /** @param known whether footage was ever stored there: then a folder without its marker is a mount point without its disk */
  constructor(root: string, known: () => boolean, calls: DiskCalls = realCalls, modes: Modes = DEFAULT_MODES) {
    this.modes = modes;
    this.root = root;
    this.known = known;
    this.calls = calls;
  }

  /** Makes a folder that is new. Throws `away`. */
  probe(): Promise<Room> {
    const { root } = this;
    if (!existsSync(join(root, MARKER))) {
      if (this.known()) {
        throw new EngineError(
          'away',
          `the tier ${root} is not there: mount its disk (or, if it was replaced by an empty one, make an empty file ${MARKER} in it)`,
        );
      }
      mkdirSync(root, { recursive: true, mode: this.modes.folder });
      writeFileSync(
        join(root, MARKER),
        'Storage folder of Flow NVR. Keep this file: it tells the disk from its empty mount point.\n',
        { mode: this.modes.file },
      );
    }
    const { blocks, bsize } = statfsSync(root);
    const totalBytes = blocks * bsize;
    return Promise.resolve({ disk: `${statSync(root).dev}`, freeBytes: this.calls.free(root), totalBytes });
  }

  /** Throws `away`, `full`, of the source `gone`, `unreadable` or `damaged`, `bad-copy`, or the system's error. */
  async take({ from, path, bytes, hash }: TakeJob, alive: () => void): Promise<{ hash: string }> {
    const { freeBytes } = await this.probe();
    if ((freeBytes ?? 0) < bytes + RESERVE_BYTES) throw new EngineError('full', `the tier ${this.root} is full`);
    const file = footageFile(this.root, path);
    const partial = file + PARTIAL;
    const source = ofSource(from, () => openSync(from, 'r'));
    try {
      const made = mkdirSync(dirname(file), { recursive: true, mode: this.modes.folder });
      limit(join(this.root, path.slice(0, path.indexOf('/'))), this.modes.folder);
      const target = openSync(partial, 'w', this.modes.file);
      let copied: { sha256: string; crc32: number };
      try {
        copied = this.copy({ from, source }, target, bytes, alive);
        fsyncSync(target);
      } finally {
        closeSync(target);
      }
      if (hash !== null && copied.crc32 !== hash) {
        throw new EngineError('damaged', `${from} is not what was recorded: it stays where it is`);
      }
      if (this.hashOf(partial, bytes, alive) !== copied.sha256) {
        throw new EngineError(
          'bad-copy',
          `the tier ${this.root} gives back other bytes than were written: check its disk`,
        );
      }
      renameSync(partial, file);
      // Up to the folder that was there before.
      for (let folder = dirname(file); ; folder = dirname(folder)) {
        fsyncFolder(folder);
        if (!made || folder === this.root || folder === dirname(made)) break;
      }
      return { hash: copied.sha256 };
    } catch (error) {
      removeFile(partial);
      if ((error as NodeJS.ErrnoException).code === 'ENOSPC') {
        throw new EngineError('full', `the tier ${this.root} is full`, { cause: error });
      }
      throw error;
    } finally {
      closeSync(source);
    }
  }

  private copy(
    { from, source }: { from: string; source: number },
    target: number,
    bytes: number,
    alive: () => void,
  ): { sha256: string; crc32: number } {
    const { read, write } = this.calls;
    const sha256 = createHash('sha256');
    let crc = 0;
    let done = 0;
    for (;;) {
      const count = ofSource(from, () => read(source, this.buffer, 0, CHUNK_BYTES, done));
      if (count === 0) break;
      const chunk = this.buffer.subarray(0, count);
      sha256.update(chunk);
      crc = crc32(chunk, crc);
      for (let at = 0; at < count;) at += write(target, this.buffer, at, count - at, done + at);
      done += count;
      if (done % SYNC_BYTES === 0) fdatasyncSync(target);
      alive();
    }
    if (done !== bytes) throw new EngineError('damaged', `a file has ${done} bytes where ${bytes} were recorded`);
    return { sha256: sha256.digest('hex'), crc32: crc };
  }

  private hashOf(file: string, bytes: number, alive: () => void): string {
    const fd = openSync(file, 'r');
    try {
      const sum = createHash('sha256');
      let done = 0;
      for (;;) {
        const count = this.calls.read(fd, this.buffer, 0, CHUNK_BYTES, done);
        if (count === 0) break;
        sum.update(this.buffer.subarray(0, count));
        done += count;
        alive();
      }
      return done === bytes ? sum.digest('hex') : '';
    } finally {
      closeSync(fd);
    }
  }

  remove(files: readonly Removal[], alive: () => void): Promise<(string | null)[]> {
    if (!diskOfFiles.present(this.root)) throw new EngineError('away', `the tier ${this.root} is not there`);
    const paths = files.map(({ path }) => path);
    const results = paths.map((path) => {
      alive();
      return parseSegmentPath(path) ? removeLeftover(join(this.root, path)) : `${path} is no footage`;
    });
    const removed = paths.filter((_, at) => results[at] === null);
    for (const folder of new Set(removed.map((path) => dirname(join(this.root, path))))) {
      diskOfFiles.removeEmpty(folder);
      diskOfFiles.removeEmpty(dirname(folder));
    }
    return Promise.resolve(results);
  }
}

/** Removes a file and what a copy of it was begun as; what is wrong with it, or null. */
export function removeLeftover(file: string): string | null {
  try {
    removeFile(file + PARTIAL);
    removeFile(file);
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

function ofSource(from: string, call: () => number): number {
  try {
    return call();
  } catch (error) {
    throw sourceError(from, error);
  }
}

function removeFile(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if (!['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) throw error;
  }
}

function fsyncFolder(folder: string): void {
  if (process.platform === 'win32') return; // folders cannot be opened there
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
