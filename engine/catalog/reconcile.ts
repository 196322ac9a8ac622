/** Makes catalogue and files agree again after a crash, a lost catalogue, or files that someone moved or deleted. */
import { readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseSegmentPath } from '../recording/segment-path.ts';
import { deleteMarked, diskOfFiles } from '../retention/deletion.ts';
import { DeletionStore } from '../retention/deletion-store.ts';
import type { Catalog, SegmentRow } from './catalog.ts';
import { encodeGopIndex, ticksOf } from './gop-index.ts';
import { repairSegmentFile, scanSegmentFile } from './segment-file.ts';

export interface ReconcileReport {
  /** Open or unknown files that were read and indexed. */
  indexed: number;
  /** Rows whose file is gone; each became a gap `file-missing`. */
  missing: number;
  /** Files without a single whole picture, deleted. */
  empty: number;
}

export class Reconciler {
  readonly report: ReconcileReport = { indexed: 0, missing: 0, empty: 0 };
  private readonly catalog: Catalog;
  private readonly nextGapId: () => number;

  constructor(catalog: Catalog, nextGapId: () => number) {
    this.catalog = catalog;
    this.nextGapId = nextGapId;
  }

  /** What a crash left open, or half deleted; quick, and done before anything is recorded. */
  finishOpen(): void {
    const deletions = new DeletionStore(this.catalog.db);
    deleteMarked(deletions, deletions.marked(), diskOfFiles, Date.now());
    for (const row of this.catalog.openSegments()) this.readFile(row.storage, row.path, row);
    this.catalog.transaction(() => this.catalog.endCrashedRecordings(this.nextGapId));
  }

  /**
   * Every folder of a storage against the rows, one folder a step so that the thread can answer in between. Files
   * that began at or after `before` belong to whoever records now.
   */
  *walk(storage: string, before: number): Generator<string> {
    const onDisk = new Set(hourFolders(storage));
    const reachable = readable(storage);
    for (const folder of new Set([...onDisk, ...this.catalog.folders(storage)])) {
      yield folder;
      const names = onDisk.has(folder) ? list(join(storage, folder)) : [];
      const rows = new Map(this.catalog.segmentsUnder(storage, folder).map((row) => [row.path, row]));
      for (const name of names) {
        const path = `${folder}/${name}`;
        const parsed = parseSegmentPath(path);
        if (!parsed || parsed.startMs >= before) continue;
        if (!rows.has(path)) this.readFile(storage, path, null);
        rows.delete(path);
      }
      // A storage that is not mounted has not lost its files.
      if (!reachable) continue;
      for (const row of rows.values()) {
        // One that is being deleted is told as such by whoever deletes it.
        if (row.state === 'closed' && row.start < before && row.doomed === null) this.forget(row);
      }
    }
  }

  /** Reads a file and indexes it; one without a single whole picture is deleted. @param row what is known of it */
  readFile(storage: string, path: string, row: SegmentRow | null): void {
    const file = join(storage, path);
    const parsed = parseSegmentPath(path);
    let scanned = null;
    try {
      scanned = scanSegmentFile(file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' && !row) return; // unreadable and unknown: leave it alone
    }
    if (!parsed || !scanned) {
      if (scanned === null && parsed) removeEmpty(file);
      if (row) this.forget(row);
      this.report.empty++;
      return;
    }
    repairSegmentFile(file, scanned);
    const { init, gops, offset } = scanned;
    const { camera, stream, startMs } = parsed;
    const { timescale } = init.video;
    this.catalog.transaction(() => {
      if (!row)
        this.catalog.openSegment({
          camera,
          stream,
          storage,
          path,
          recordingId: null,
          init: init.data,
          startMs,
          startTicks: 0,
        });
      this.catalog.closeSegment({
        storage,
        path,
        endMs: startMs + Math.round((ticksOf(gops) * 1000) / timescale),
        bytes: scanned.goodBytes,
        frames: gops.reduce((sum, gop) => sum + gop.frames, 0),
        gops: encodeGopIndex({ timescale, offset, gops }),
      });
    });
    this.report.indexed++;
  }

  /** The row of a file that is gone becomes a gap. */
  forget(row: SegmentRow): void {
    this.catalog.transaction(() => {
      this.catalog.dropSegment(row.storage, row.path);
      if (row.end !== null) this.tellMissing(row); // else how long it was is not known; the `restart` gap covers it
    });
    this.report.missing++;
  }

  tellMissing({ camera, stream, start, end }: Pick<SegmentRow, 'camera' | 'stream' | 'start' | 'end'>): void {
    this.catalog.openGap({ id: this.nextGapId(), camera, stream, start, end, cause: 'file-missing' });
  }
}

function readable(folder: string): boolean {
  try {
    readdirSync(folder);
    return true;
  } catch {
    return false;
  }
}

/** Entries of a folder; none when it is gone. */
function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}

/** `<camera>/<day>/<hour>` of all that lie in a storage folder. */
export function hourFolders(storage: string): string[] {
  const below = (folder: string, pattern: RegExp): string[] =>
    list(join(storage, folder))
      .filter((name) => pattern.test(name))
      .map((name) => (folder ? `${folder}/${name}` : name));
  return below('', /^[a-z0-9][a-z0-9_-]*$/)
    .flatMap((camera) => below(camera, /^\d{4}-\d\d-\d\d$/))
    .flatMap((day) => below(day, /^\d\d$/));
}

function removeEmpty(file: string): void {
  try {
    unlinkSync(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
