/** Makes catalogue and files agree again after a crash, a lost catalogue, or files that someone moved or deleted. */
import { readdirSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { parseSegmentPath } from '../recording/segment-path.ts';
import { deleteMarked, diskOfFiles } from '../retention/deletion.ts';
import { DeletionStore } from '../retention/deletion-store.ts';
import { isBucket } from '../retention/tiers.ts';
import type { Catalog, SegmentRow, Twin } from './catalog.ts';
import { encodeGopIndex, ticksOf } from './gop-index.ts';
import { repairSegmentFile, scanSegmentFile } from './segment-file.ts';

export interface ReconcileReport {
  /** Open or unknown files that were read and indexed. */
  indexed: number;
  /** Rows whose file is gone; each became a gap `file-missing`. */
  missing: number;
  /** Files without a single whole picture, deleted. */
  empty: number;
  /** Files that a row knows in another folder, for a move was cut short; they will be removed. */
  doubles: number;
  /** Files that are in another folder than their row said. */
  moved: number;
  /** Rows whose file is gone, and has a copy in a bucket. */
  copies: number;
  /** Files, and rows, that were left as they are: what is wrong with one of them is told as the problem. */
  left: number;
}

export class Reconciler {
  readonly report: ReconcileReport = { indexed: 0, missing: 0, empty: 0, doubles: 0, moved: 0, copies: 0, left: 0 };
  /** Why something was left as it is: the first reason there was. */
  problem: string | null = null;
  private readonly catalog: Catalog;
  private readonly nextGapId: () => number;
  private readonly look: typeof lookAt;

  /** @param look at files on other disks, which may hang: who must not wait says that it does not know */
  constructor(catalog: Catalog, nextGapId: () => number, look: typeof lookAt = lookAt) {
    this.catalog = catalog;
    this.nextGapId = nextGapId;
    this.look = look;
  }

  /**
   * What a crash left open, or half deleted; quick, and done before anything is recorded.
   * @param storages where nothing is deleted elsewhere: a disk that hangs must not keep the recording from beginning
   */
  finishOpen(storages: readonly string[]): void {
    const deletions = new DeletionStore(this.catalog.db);
    const marked = deletions.marked().filter(({ storage }) => storages.includes(storage));
    deleteMarked(deletions, marked, diskOfFiles, Date.now());
    for (const row of this.catalog.openSegments()) this.readFile(row.storage, row.path, row);
    this.catalog.transaction(() => this.catalog.endCrashedRecordings(this.nextGapId));
  }

  /**
   * Every folder of a storage against the rows, one folder a step so that the thread can answer in between. Files
   * that began at or after `before` belong to whoever records now.
   * @param forget whether rows are given up whose files are not there
   */
  *walk(storage: string, before: number, forget = true): Generator<string> {
    const onDisk = new Set(hourFolders(storage));
    for (const folder of new Set([...onDisk, ...this.catalog.folders(storage)])) {
      yield folder;
      const names = onDisk.has(folder) ? list(join(storage, folder)) : [];
      const known = this.catalog.knownUnder(storage, folder);
      const rows = new Map(known.rows.map((row) => [row.path, row]));
      for (const name of names) {
        const path = `${folder}/${name}`;
        const parsed = parseSegmentPath(path);
        if (!parsed || parsed.startMs >= before) continue;
        if (!rows.has(path) && !known.leftovers.has(path)) this.readFile(storage, path, null);
        rows.delete(path);
      }
      if (!forget) continue;
      for (const row of rows.values()) {
        // One that is being deleted is told as such by whoever deletes it; one may have come since the folder was read.
        const isMine = row.state === 'closed' && row.start < before && row.doomed === null;
        if (!isMine) continue;
        // A storage that is not mounted has not lost its files; it may have been unmounted since the row before.
        if (!parseSegmentPath(row.path)) this.leaveOutside(row);
        else if (isLost(storage, row.path)) this.forget(row);
      }
    }
  }

  /**
   * Reads a file and indexes it; one that was read and has not a single whole picture is deleted. One that cannot be read
   * is left as it is, and so is its row.
   * @param row what is known of it
   * @returns false when it was left
   */
  readFile(storage: string, path: string, row: SegmentRow | null): boolean {
    try {
      this.readThrough(storage, path, row);
      return true;
    } catch (error) {
      if (!isOfSystem(error)) throw error;
      this.leave(`${join(storage, path)} is left as it is: ${error.message}`);
      return false;
    }
  }

  /** Throws what the system says of the file. */
  private readThrough(storage: string, path: string, row: SegmentRow | null): void {
    const file = join(storage, path);
    const parsed = parseSegmentPath(path);
    if (!parsed) {
      if (row) this.leaveOutside(row);
      return;
    }
    let scanned = null;
    try {
      scanned = scanSegmentFile(file);
    } catch (error) {
      if (isMissing(error)) {
        // Moved away just now; or lost, if its storage folder is there.
        if (row && isLost(storage, path)) this.forget(row);
        return;
      }
      if (isOfSystem(error)) throw error;
      // No MP4: whatever it is, it is not deleted, but there is nothing to show in it.
      if (row) this.forget(row);
      return;
    }
    if (!scanned) {
      removeEmpty(file);
      if (row) this.forget(row);
      this.report.empty++;
      return;
    }
    const index = { timescale: scanned.init.video.timescale, offset: scanned.offset, gops: scanned.gops };
    const look = (twin: string, bytes: number): Twin => this.look(twin, path, bytes);
    const known = row ? null : this.catalog.settleDouble(storage, path, encodeGopIndex(index), look);
    if (known === 'left') {
      this.leave(`${file} has the pictures of a file in another folder, of which nobody can say whether it is there`);
      return;
    }
    if (known) {
      this.report[known === 'moved' ? 'moved' : 'doubles']++;
      return;
    }
    repairSegmentFile(file, scanned);
    const { init, gops } = scanned;
    const { camera, stream, startMs } = parsed;
    const tickMs = row?.tickMs ?? 1000 / init.video.timescale;
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
        endMs: startMs + Math.round(ticksOf(gops) * tickMs),
        bytes: scanned.goodBytes,
        frames: gops.reduce((sum, gop) => sum + gop.frames, 0),
        gops: encodeGopIndex(index),
      });
      // What it shows, and whether somebody holds it, was in a catalogue that is lost: it is kept as long as what is worth most.
      if (!row) this.catalog.setBestKind(storage, path);
    });
    this.report.indexed++;
  }

  /** The row of a file that is gone becomes a gap; false where it has a copy, which takes its place. */
  forget(row: SegmentRow): boolean {
    if (this.catalog.useCopy(row.storage, row.path)) {
      this.report.copies++;
      return false;
    }
    this.catalog.transaction(() => {
      this.catalog.dropSegment(row.storage, row.path);
      if (row.end !== null) this.tellMissing(row); // else how long it was is not known; the `restart` gap covers it
    });
    this.report.missing++;
    return true;
  }

  /** A foreign catalogue may name any file of this machine. */
  private leaveOutside({ storage, path }: SegmentRow): void {
    this.leave(`the catalogue names ${path} in ${storage}, which is no footage: row and file are left alone`);
  }

  private leave(problem: string): void {
    this.report.left++;
    this.problem ??= problem;
  }

  tellMissing({ camera, stream, start, end }: Pick<SegmentRow, 'camera' | 'stream' | 'start' | 'end'>): void {
    this.catalog.openGap({ id: this.nextGapId(), camera, stream, start, end, cause: 'file-missing' });
  }
}

/** Looks at a file that a row names. One of another size is not that of the row, but may be all that is left of it. */
export function lookAt(storage: string, path: string, bytes: number): Twin {
  if (isBucket(storage)) return 'unknown';
  if (!diskOfFiles.present(storage)) return 'gone';
  try {
    return statSync(join(storage, path)).size === bytes ? 'there' : 'unknown';
  } catch (error) {
    return isMissing(error) ? 'gone' : 'unknown';
  }
}

/** Of the system, not of what is in a file. */
const isOfSystem = (error: unknown): error is NodeJS.ErrnoException =>
  error instanceof Error && typeof (error as NodeJS.ErrnoException).errno === 'number';

/**
 * Not there, although its storage folder is: asked in this order, for a disk may go at any time. (A mount point without
 * its disk is a folder like any other, but for the marker.)
 */
export function isLost(storage: string, path: string): boolean {
  try {
    statSync(join(storage, path));
    return false;
  } catch (error) {
    return isMissing(error) && diskOfFiles.present(storage);
  }
}

const isMissing = (error: unknown): boolean =>
  ['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '');

/** Entries of a folder; none when it is gone. */
function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (isMissing(error)) return [];
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
