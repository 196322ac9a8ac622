/** The folder with the clips that were told: the oldest go, by age and size. Synchronous, for a thread of its own. */
import { readdirSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';

export interface ShelfBounds {
  ms: number;
  bytes: number;
}

/** What goes, of files with their sizes and ages; the newest stays whatever its size. */
export function surplus<T extends { bytes: number; time: number }>(
  files: readonly T[],
  bounds: ShelfBounds,
  nowMs: number,
): T[] {
  const newest = [...files].sort((a, b) => b.time - a.time);
  let bytes = 0;
  return newest.filter((file, i) => {
    bytes += file.bytes;
    return i > 0 && (bytes > bounds.bytes || nowMs - file.time > bounds.ms);
  });
}

/** Throws the system's error; what is missing already is no error. */
export function tidyShelf(folder: string, bounds: ShelfBounds, nowMs: number): void {
  const gone = (error: unknown): boolean => (error as NodeJS.ErrnoException).code === 'ENOENT';
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch (error) {
    if (gone(error)) return;
    throw error;
  }
  const files = names.flatMap((name) => {
    const path = join(folder, name);
    try {
      const { size, mtimeMs } = statSync(path);
      return [{ path, bytes: size, time: mtimeMs }];
    } catch (error) {
      if (gone(error)) return [];
      throw error;
    }
  });
  for (const { path } of surplus(files, bounds, nowMs)) {
    try {
      unlinkSync(path);
    } catch (error) {
      if (!gone(error)) throw error;
    }
  }
}
