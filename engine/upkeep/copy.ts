/** Copies footage somewhere else before it goes, and reads every copy again: what is told as copied is there. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32 } from '../media/crc32.ts';
import { DEFAULT_MODES, type Modes } from '../recording/file-modes.ts';
import { footageFile } from '../recording/segment-path.ts';
import { EngineError } from '../types.ts';
import type { CopyItem, CopyReport } from './types.ts';

const CHUNK = 1024 * 1024;

/**
 * Into a folder that is there already (a disk that is not mounted has none), with the paths they have in their storage.
 * Throws `copy`, or what the disk says; what was copied until then stays and need not be copied again.
 */
export async function copyFootage(
  items: readonly CopyItem[],
  folder: string,
  pause: (ms: number) => Promise<void>,
  progress: (done: number) => void = () => undefined,
  modes: Modes = DEFAULT_MODES,
): Promise<CopyReport> {
  if (!existsSync(folder) || !statSync(folder).isDirectory()) {
    throw new EngineError('copy', `${folder} is not there: make the folder, or mount its disk`);
  }
  const left = items.filter((item) => !isCopied(item, join(folder, item.path)));
  const needed = left.reduce((sum, { bytes }) => sum + bytes, 0);
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < needed) {
    throw new EngineError('copy', `${folder} has too little room: ${Math.ceil(needed / 1e6)} MB are to be copied`);
  }
  let bytes = 0;
  for (const item of left) {
    const from = performance.now();
    copyOne(item, footageFile(folder, item.path), modes);
    bytes += item.bytes;
    progress(needed > 0 ? bytes / needed : 1);
    // Recording wants the disk, too.
    await pause(performance.now() - from);
  }
  return { files: items.length, bytes: items.reduce((sum, item) => sum + item.bytes, 0) };
}

function copyOne({ storage, path, hash }: CopyItem, to: string, modes: Modes): void {
  mkdirSync(dirname(to), { recursive: true, mode: modes.folder });
  const part = `${to}.partial`;
  const source = openSync(join(storage, path), 'r');
  let sum = 0;
  try {
    const target = openSync(part, 'w', modes.file);
    try {
      for (const chunk of chunksOf(source)) {
        sum = crc32(chunk, sum);
        for (let done = 0; done < chunk.length;) done += writeSync(target, chunk, done);
      }
      fsyncSync(target);
    } finally {
      closeSync(target);
    }
    if (hash !== null && sum !== hash) {
      throw new EngineError('copy', `${path} is not what was recorded: check the disk of ${storage}`);
    }
    if (hashOf(part) !== sum) throw new EngineError('copy', `${to} is not what was written: check its disk`);
    renameSync(part, to);
  } catch (error) {
    if (existsSync(part)) unlinkSync(part);
    throw error;
  } finally {
    closeSync(source);
  }
}

/** Of a copy that was cut short. */
function isCopied({ bytes, hash }: CopyItem, file: string): boolean {
  return hash !== null && existsSync(file) && statSync(file).size === bytes && hashOf(file) === hash;
}

function hashOf(file: string): number {
  const fd = openSync(file, 'r');
  try {
    let sum = 0;
    for (const chunk of chunksOf(fd)) sum = crc32(chunk, sum);
    return sum;
  } finally {
    closeSync(fd);
  }
}

function* chunksOf(fd: number): Generator<Buffer> {
  const chunk = Buffer.allocUnsafe(CHUNK);
  for (let at = 0; ;) {
    const bytes = readSync(fd, chunk, 0, CHUNK, at);
    if (bytes === 0) return;
    yield chunk.subarray(0, bytes);
    at += bytes;
  }
}
