/** Reads a segment file as it is on disk, whole or torn, without its media. */
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { boxesIn, readBoxHeader } from '../media/boxes.ts';
import { parseFragment } from '../media/fragment.ts';
import { INDEX_RESERVE, parseInitSegment, sealHeader, type InitSegment } from '../media/init-segment.ts';
import type { Gop } from './gop-index.ts';

export interface ScannedFile {
  init: InitSegment;
  /** ftyp + moov as in the file. */
  headerBytes: number;
  /** Offset of the first GOP. */
  offset: number;
  gops: Gop[];
  /** Up to the end of the last whole fragment. */
  goodBytes: number;
  fileBytes: number;
  sealed: boolean;
}

const MAX_HEADER = 1024 * 1024;
/** The index of one fragment: of seconds of video, a few kilobytes. */
const MAX_MOOF = 16 * 1024 * 1024;

/**
 * Null when there is not one whole fragment in it. Throws what the system says when it cannot be read, and for a header
 * that is none.
 * @param before what was found of the same file when it was shorter: only what was added is read
 */
export function scanSegmentFile(file: string, before: ScannedFile | null = null): ScannedFile | null {
  // What is no file, a pipe for example, would be waited for without an end.
  const fd = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const found = fstatSync(fd);
    return found.isFile() ? scan(fd, found.size, before) : null;
  } finally {
    closeSync(fd);
  }
}

function read(fd: number, offset: number, length: number): Buffer {
  const out = Buffer.alloc(length);
  return out.subarray(0, readSync(fd, out, 0, length, offset));
}

function scan(fd: number, fileBytes: number, before: ScannedFile | null): ScannedFile | null {
  let offset = before?.goodBytes ?? 0;
  let init: InitSegment | null = before?.init ?? null;
  let headerBytes = before?.headerBytes ?? 0;
  let firstGop = before?.offset ?? 0;
  let sealed = before?.sealed ?? false;
  const gops: Gop[] = before?.gops.map((gop) => ({ ...gop })) ?? [];
  let good = offset;
  while (offset < fileBytes) {
    let header;
    // Outside of what is caught: a disk that cannot be read has not said that the file ends here.
    const start = read(fd, offset, 16);
    try {
      header = readBoxHeader(start, 0);
    } catch {
      break; // not a box: the tail of a file whose last write did not reach the disk
    }
    if (!header || offset + header.size > fileBytes) break;
    if (header.type === 'moov') {
      if (offset + header.size > MAX_HEADER) return null;
      headerBytes = offset + header.size;
      init = parseInitSegment(read(fd, 0, headerBytes));
    } else if (header.type === 'sidx') {
      sealed = true;
    } else if (header.type === 'moof' && init) {
      if (header.size > MAX_MOOF) break;
      const moof = read(fd, offset, header.size);
      const behind = read(fd, offset + header.size, 16);
      let next;
      let fragment;
      try {
        next = readBoxHeader(behind, 0);
        fragment = parseFragment(moof, init.video.id);
      } catch {
        break; // as above
      }
      if (next?.type !== 'mdat' || offset + header.size + next.size > fileBytes) break;
      const bytes = header.size + next.size;
      if (gops.length === 0) firstGop = offset;
      if (fragment.key || gops.length === 0) gops.push({ bytes: 0, durationTicks: 0, frames: 0 });
      const gop = gops.at(-1)!;
      gop.bytes += bytes;
      gop.durationTicks += fragment.durationTicks;
      gop.frames += fragment.frames;
      offset += bytes;
      good = offset;
      continue;
    }
    offset += header.size;
  }
  if (!init || gops.length === 0) return null;
  return { init, headerBytes, offset: firstGop, gops, goodBytes: good, fileBytes, sealed };
}

/** Cuts off a torn tail and writes the index that closing would have written. */
export function repairSegmentFile(file: string, scanned: ScannedFile): void {
  if (scanned.sealed && scanned.goodBytes === scanned.fileBytes) return;
  const fd = openSync(file, 'r+');
  try {
    ftruncateSync(fd, scanned.goodBytes);
    const header = read(fd, 0, scanned.offset);
    const hasReserve = [...boxesIn(header)].some((box) => box.type === 'free' && box.end - box.start === INDEX_RESERVE);
    if (hasReserve) {
      for (const { offset, bytes } of sealHeader(header, scanned.init.video, scanned.gops))
        writeSync(fd, bytes, 0, bytes.length, offset);
    }
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
