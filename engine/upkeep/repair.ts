/** Makes one fault right. Nothing is ever deleted: what cannot be used is moved to the storage folder's quarantine. */
import { copyFileSync, existsSync, mkdirSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Catalog, SegmentRow } from '../catalog/catalog.ts';
import { isLost, type Reconciler } from '../catalog/reconcile.ts';
import { scanSegmentFile, type ScannedFile } from '../catalog/segment-file.ts';
import { DEFAULT_MODES } from '../recording/file-modes.ts';
import { parseSegmentPath } from '../recording/segment-path.ts';
import type { Fault } from './types.ts';

/** In the storage folder; its files keep their paths in it. */
export const QUARANTINE = '.quarantine';

/** @param row as it is now @returns what was done; null when it is not as it was found */
export function repair(
  fault: Omit<Fault, 'repair'>,
  row: SegmentRow | null,
  catalog: Catalog,
  reconciler: Reconciler,
): Fault['repair'] {
  const { kind, storage, path } = fault;
  if (!parseSegmentPath(path)) return null;
  if ((row === null) !== (kind === 'no-row') || (row && row.doomed !== null)) return null;
  if (row && kind === 'no-file') {
    if (!isLost(storage, path)) return null;
    return reconciler.forget(row) ? 'gap' : 'copy';
  }
  // A disk that was taken out meanwhile has nothing that could be made right.
  if (!existsSync(join(storage, path))) return null;
  const scanned = scan(join(storage, path));
  const whole = scanned !== null && scanned.goodBytes === scanned.fileBytes;
  if (kind === 'open' || (whole && kind !== 'hash')) {
    if (!reindex(storage, path, row, catalog, reconciler)) return null;
    return row === null && catalog.isLeftover(storage, path) ? 'double' : 'indexed';
  }
  const aside = quarantine(storage, path);
  if (scanned && kind !== 'hash') {
    // The good part of it goes on being shown; the file as it was found is aside.
    const file = join(storage, path);
    copyFileSync(aside, `${file}.part`);
    renameSync(`${file}.part`, file);
    reindex(storage, path, row, catalog, reconciler);
    return 'shortened';
  }
  return row && !reconciler.forget(row) ? 'copy' : 'quarantined';
}

/** Reads the file anew; time that its row had and it has not becomes a gap. False when it cannot be read. */
function reindex(
  storage: string,
  path: string,
  row: SegmentRow | null,
  catalog: Catalog,
  reconciler: Reconciler,
): boolean {
  if (!reconciler.readFile(storage, path, row)) return false;
  const end = catalog.db
    .prepare('SELECT end_ms FROM segment WHERE storage_id = (SELECT id FROM storage WHERE path = ?) AND path = ?')
    .pluck()
    .get(storage, path) as number | null | undefined;
  if (row?.end && typeof end === 'number' && end < row.end)
    reconciler.tellMissing({ ...row, start: end, end: row.end });
  return true;
}

function scan(file: string): ScannedFile | null {
  try {
    return scanSegmentFile(file);
  } catch {
    return null; // it cannot be read, or is no MP4: either way there is nothing in it to keep in place
  }
}

/** @returns where it is now */
function quarantine(storage: string, path: string): string {
  const wanted = join(storage, QUARANTINE, path);
  let to = wanted;
  for (let copy = 1; existsSync(to); copy++) to = `${wanted}.${copy}`;
  // The file keeps its own rights: its folders need not give more than any of them.
  mkdirSync(dirname(to), { recursive: true, mode: DEFAULT_MODES.folder });
  renameSync(join(storage, path), to);
  return to;
}
