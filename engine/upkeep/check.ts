/**
 * Compares catalogue and files both ways, and changes nothing unless asked to. Runs while cameras are recorded: what
 * looks wrong is looked at again before it is told, and what is being written or deleted is left alone.
 */
import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Catalog, SegmentRow } from '../catalog/catalog.ts';
import { decodeGopIndex } from '../catalog/gop-index.ts';
import { hourFolders, type Reconciler } from '../catalog/reconcile.ts';
import { scanSegmentFile } from '../catalog/segment-file.ts';
import { boxesIn } from '../media/boxes.ts';
import { crc32 } from '../media/crc32.ts';
import { parseSegmentPath } from '../recording/segment-path.ts';
import { diskOfFiles } from '../retention/deletion.ts';
import { isBucket } from '../retention/tiers.ts';
import { EngineError } from '../types.ts';
import { repair } from './repair.ts';
import {
  MAX_TOLD,
  type CheckOptions,
  type CheckProgress,
  type CheckReport,
  type Fault,
  type FaultKind,
} from './types.ts';

/** What looks wrong may be half done: it is asked again after this. */
const SETTLE_MS = 2000;
/** A file that changed so recently is being written. */
const FRESH_MS = 15_000;
const CHUNK = 1024 * 1024;
const HOUR_MS = 3_600_000;
/** No file is longer. */
const LONGEST_FILE_MS = 2 * HOUR_MS;

export interface CheckEffects {
  now(): number;
  pause(ms: number): Promise<void>;
  progress(progress: CheckProgress): void;
  /** Rows that nobody writes to are faults; not while somebody may be recording. */
  alone: boolean;
  /** Hashes that were not known are written down. */
  record: boolean;
}

export interface CheckedRow extends SegmentRow {
  gops: Uint8Array | null;
  hash: number | null;
}

const ROWS = `SELECT s.id, c.key AS camera, s.stream, st.path AS storage, s.path, s.start_ms AS start, s.end_ms AS "end", s.bytes,
    s.state, s.doomed, s.gops, s.hash
  FROM segment s JOIN camera c ON c.id = s.camera_id JOIN storage st ON st.id = s.storage_id WHERE st.path = ?`;

type Suspect = Omit<Fault, 'repair'>;

/** @param reconciler for repairs */
export async function checkStorages(
  catalog: Catalog,
  storages: readonly string[],
  options: CheckOptions,
  effects: CheckEffects,
  reconciler: Reconciler,
): Promise<CheckReport> {
  const report: CheckReport = {
    ...{
      files: 0,
      bytes: 0,
      faults: 0,
      done: 0,
      counts: {},
      found: [],
      repaired: 0,
      hashed: 0,
      absent: [],
      unread: [],
    },
  };
  const folders = storages.flatMap((storage) => {
    if (isBucket(storage)) {
      report.unread.push(storage);
      return [];
    }
    const onDisk = hourFolders(storage);
    if (isAway(storage)) {
      report.absent.push(storage);
      return [];
    }
    const all = new Set([...onDisk, ...catalog.folders(storage)]);
    return [...all].filter((folder) => concerns(folder, options)).map((folder) => ({ storage, folder }));
  });
  const checker = new FolderCheck(catalog, options, effects, report);
  for (const [at, { storage, folder }] of folders.entries()) {
    if (report.absent.includes(storage)) continue;
    const suspects = await checker.folder(storage, folder);
    if (suspects.length > 0) await effects.pause(SETTLE_MS);
    for (const suspect of suspects) {
      const fault = await checker.again(suspect);
      if (!fault || report.absent.includes(storage)) continue;
      // Its disk may be taken out while it is read: then it has no faults that anybody could see.
      if (isAway(storage)) {
        report.absent.push(storage);
        continue;
      }
      report.faults++;
      report.counts[fault.kind] = (report.counts[fault.kind] ?? 0) + 1;
      const done = options.repair ? repair(fault, checker.row(fault.storage, fault.path), catalog, reconciler) : null;
      if (done) report.repaired++;
      if (report.found.length < MAX_TOLD) report.found.push({ ...fault, repair: done });
    }
    report.done = (at + 1) / folders.length;
    effects.progress(report);
    await effects.pause(0);
  }
  report.done = 1;
  return report;
}

/** Neither the marker of a storage folder there, nor footage. */
const isAway = (storage: string): boolean => !diskOfFiles.present(storage) && hourFolders(storage).length === 0;

/** Whether a folder `<camera>/<day>/<hour>` may hold files that are asked for. */
function concerns(folder: string, { camera, range }: CheckOptions): boolean {
  const [of, day, hour] = folder.split('/');
  if (camera !== null && of !== camera) return false;
  if (range === null) return true;
  const start = Date.parse(`${day}T${hour}:00:00Z`);
  return !(start >= range.end || start + HOUR_MS + LONGEST_FILE_MS <= range.start);
}

class FolderCheck {
  private readonly catalog: Catalog;
  private readonly options: CheckOptions;
  private readonly effects: CheckEffects;
  private readonly report: CheckReport;

  constructor(catalog: Catalog, options: CheckOptions, effects: CheckEffects, report: CheckReport) {
    this.catalog = catalog;
    this.options = options;
    this.effects = effects;
    this.report = report;
  }

  row(storage: string, path: string): CheckedRow | null {
    return (this.catalog.db.prepare(`${ROWS} AND s.path = ?`).get(storage, path) as CheckedRow | undefined) ?? null;
  }

  private wanted(start: number, end: number | null): boolean {
    const { range } = this.options;
    return range === null || (start < range.end && (end ?? start + LONGEST_FILE_MS) > range.start);
  }

  async folder(storage: string, folder: string): Promise<Suspect[]> {
    const suspects: Suspect[] = [];
    // Files first: a row that comes later is no fault, a file would be.
    const names = new Set(filesIn(join(storage, folder)).map((name) => `${folder}/${name}`));
    const rows = this.catalog.db
      .prepare(`${ROWS} AND s.path >= ? AND s.path < ?`)
      .all(storage, `${folder}/`, `${folder}0`);
    for (const row of rows as CheckedRow[]) {
      names.delete(row.path);
      if (!this.wanted(row.start, row.end)) continue;
      this.report.files++;
      const found = await this.look(row, true);
      if (found) suspects.push(found);
    }
    for (const path of names) {
      const parsed = parseSegmentPath(path);
      // What moves is told by whoever moves it, there and here.
      if (!parsed || !this.wanted(parsed.startMs, null) || this.catalog.isLeftover(storage, path)) continue;
      const { camera, stream, startMs } = parsed;
      const detail = 'the catalogue does not know this file';
      suspects.push({ kind: 'no-row', camera, stream, storage, path, start: startMs, end: null, detail });
    }
    return suspects;
  }

  /** Null when it was not wrong after all. */
  async again(suspect: Suspect): Promise<Suspect | null> {
    const { storage, path } = suspect;
    const row = this.row(storage, path);
    if (row) return suspect.kind === 'no-row' ? null : this.look(row, suspect.kind === 'hash');
    if (suspect.kind !== 'no-row' || this.catalog.isLeftover(storage, path)) return null;
    const changed = changedAt(join(storage, path));
    return changed === null || changed > this.effects.now() - FRESH_MS ? null : suspect;
  }

  private async look(row: CheckedRow, read: boolean): Promise<Suspect | null> {
    if (row.doomed !== null) return null; // whoever deletes it is on its way
    const { camera, stream, storage, path, start, end } = row;
    const file = join(storage, path);
    const fault = (kind: FaultKind, detail: string): Suspect => ({
      ...{ kind, camera, stream, storage, path, start, end, detail },
    });
    if (!parseSegmentPath(path)) return fault('broken', 'its path is that of no footage: it may be any file');
    if (row.state === 'open') {
      const fresh = (changedAt(file) ?? 0) > this.effects.now() - FRESH_MS;
      return this.effects.alone && !fresh ? fault('open', 'its recording ended without closing it') : null;
    }
    try {
      const wrong = structureOf(file, row);
      if (wrong) return fault(wrong.kind, wrong.detail);
      if (!read || !this.options.verify) return null;
      const hash = await this.hash(file);
      if (row.hash !== null)
        return hash === row.hash ? null : fault('hash', 'its bytes are not those that were recorded');
      return this.learn(row, file, hash) ? null : fault('broken', 'its boxes do not follow each other');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return fault('no-file', 'the file is not there');
      if (code === undefined && !(error instanceof EngineError)) throw error;
      return fault('broken', message);
    }
  }

  /** A file that has no hash, after a crash for example, gets one when it is whole. */
  private learn(row: CheckedRow, file: string, hash: number): boolean {
    const scanned = scanSegmentFile(file);
    if (!scanned || scanned.goodBytes !== row.bytes) return false;
    if (this.effects.record) {
      const update = 'UPDATE segment SET hash = ? WHERE id = ? AND start_ms = ? AND bytes = ? AND hash IS NULL';
      this.report.hashed += this.catalog.db.prepare(update).run(hash, row.id, row.start, row.bytes).changes;
    }
    return true;
  }

  /** Reads at most half of the time, and not faster than asked: recorders come first. */
  private async hash(file: string): Promise<number> {
    const fd = openSync(file, 'r');
    try {
      const chunk = Buffer.allocUnsafe(CHUNK);
      let sum = 0;
      for (let at = 0; ;) {
        const from = performance.now();
        const bytes = readSync(fd, chunk, 0, CHUNK, at);
        if (bytes === 0) return sum;
        sum = crc32(chunk.subarray(0, bytes), sum);
        at += bytes;
        this.report.bytes += bytes;
        const tookMs = performance.now() - from;
        await this.effects.pause(Math.max(tookMs, (bytes * 1000) / this.options.bytesPerSecond - tookMs));
        this.effects.progress(this.report);
      }
    } finally {
      closeSync(fd);
    }
  }
}

/** What is wrong with a file's size, header, or the places of its GOPs. Throws when it cannot be read. */
function structureOf(file: string, { bytes, gops }: CheckedRow): { kind: 'size' | 'broken'; detail: string } | null {
  const fd = openSync(file, 'r');
  try {
    const { size } = fstatSync(fd);
    if (size !== bytes) return { kind: 'size', detail: `it has ${size} bytes, and should have ${bytes}` };
    const broken = (detail: string): { kind: 'broken'; detail: string } => ({ kind: 'broken', detail });
    const index = decodeGopIndex(gops ?? Buffer.alloc(0));
    const read = (offset: number, length: number): Buffer => {
      const out = Buffer.alloc(length);
      return out.subarray(0, readSync(fd, out, 0, length, offset));
    };
    const types = [...boxesIn(read(0, index.offset))].map(({ type }) => type);
    if (types[0] !== 'ftyp' || !types.includes('moov')) return broken('it does not begin with a header');
    let at = index.offset;
    for (const gop of index.gops) {
      if (read(at + 4, 4).toString('latin1') !== 'moof') return broken(`there is no fragment at byte ${at}`);
      at += gop.bytes;
    }
    return at === size ? null : broken(`its index ends at byte ${at} of ${size}`);
  } finally {
    closeSync(fd);
  }
}

function changedAt(file: string): number | null {
  try {
    return statSync(file).mtimeMs;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return null;
  }
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return [];
    throw error;
  }
}
