/** Strips that were made, kept on disk beside the catalogue: what was recorded does not change. Bounded; the least used go. */
import { createHash } from 'node:crypto';
import { readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_MODES, ownFolder, type Modes } from '../recording/file-modes.ts';
import type { Strip } from './stills.ts';

const MAX_BYTES = 256 * 1024 * 1024;
/** Looked through after so many bytes more. */
const SWEEP_BYTES = 16 * 1024 * 1024;

export class StripStore {
  private readonly folder: string;
  private readonly modes: Modes;
  private unswept = SWEEP_BYTES;
  private sweeping: Promise<void> | null = null;

  constructor(folder: string, modes: Modes = DEFAULT_MODES) {
    this.modes = modes;
    this.folder = folder;
  }

  private file(key: string): string {
    return join(this.folder, `${createHash('sha256').update(key).digest('hex').slice(0, 32)}.strip`);
  }

  /** Null when there is none. A file: a line of JSON with the times, then the JPEG. */
  async get(key: string): Promise<Strip | null> {
    const file = this.file(key);
    let data: Buffer;
    try {
      data = await readFile(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
    const line = data.indexOf('\n');
    if (line < 0) return null; // cut short when the power went
    const times: unknown = JSON.parse(data.toString('utf8', 0, line));
    const now = new Date();
    await utimes(file, now, now).catch(() => undefined); // swept meanwhile
    return { image: data.subarray(line + 1), times: times as number[] };
  }

  async put(key: string, { image, times }: Strip): Promise<void> {
    const file = this.file(key);
    await ownFolder(this.folder, this.modes);
    await writeFile(`${file}.partial`, Buffer.concat([Buffer.from(`${JSON.stringify(times)}\n`), image]), {
      mode: this.modes.file,
    });
    await rename(`${file}.partial`, file);
    this.unswept += image.length;
    if (this.unswept < SWEEP_BYTES) return;
    this.unswept = 0;
    this.sweeping ??= this.sweep().finally(() => (this.sweeping = null));
    await this.sweeping;
  }

  private async sweep(): Promise<void> {
    const found = await Promise.all(
      (await readdir(this.folder)).map(async (name) => {
        const file = join(this.folder, name);
        const { size, mtimeMs } = await stat(file);
        return { file, size, mtimeMs };
      }),
    );
    let bytes = found.reduce((sum, { size }) => sum + size, 0);
    for (const { file, size } of found.toSorted((a, b) => a.mtimeMs - b.mtimeMs)) {
      if (bytes <= MAX_BYTES) return;
      await rm(file, { force: true });
      bytes -= size;
    }
  }
}
