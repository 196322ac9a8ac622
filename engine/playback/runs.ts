/** GOPs of files, put together to what players fetch and play on without a seam. Pure. */
import type { Gop } from '../catalog/gop-index.ts';
import type { TimeRange } from '../types.ts';

/** A file with footage of a range. */
export interface FilePart {
  /** Its row. */
  segment: number;
  /** Row of its init segment. */
  init: number;
  startMs: number;
  /** Where the file stood in its run, in ticks of its video track. */
  startTicks: number;
  timescale: number;
  /** Length of a tick of the camera in ms: what its timescale says, or a little more or less. */
  tickMs: number;
  gops: readonly Gop[];
  /** GOPs may still be added behind the last one here. */
  growing: boolean;
}

/** Some GOPs of one file, in order: what a player fetches at once. */
export interface Chunk {
  segment: number;
  firstGop: number;
  gops: number;
  startMs: number;
  durationMs: number;
  bytes: number;
  frames: number;
  /** Where it stands in its run, in ticks of its video track. */
  startTicks: number;
  durationTicks: number;
}

/** Media with one codec configuration and one time line. */
export interface Run {
  init: number;
  timescale: number;
  chunks: Chunk[];
}

/** Players fetch this much at once; a longer GOP stays whole. */
export const CHUNK_MS = 4000;
/** The difference up to which two files of a run belong together: rounding of ticks. */
const SEAM_MS = 50;
/** How far the clock of a run may be corrected between two files. */
const DRIFT_MS = 1000;

/**
 * The GOPs that hold the range, from the one that holds its start. A chunk at the end of a growing file is left out as
 * long as it may become longer, so that what was told once never changes.
 * @param files in the order of their start
 */
export function runsOf(files: readonly FilePart[], range: TimeRange): Run[] {
  const runs: Run[] = [];
  let endTicks = 0;
  let endMs = 0;
  for (const file of files) {
    const last = runs.at(-1);
    const seamless =
      last?.init === file.init &&
      last.timescale === file.timescale &&
      Math.abs(file.startTicks - endTicks) * file.tickMs <= SEAM_MS &&
      Math.abs(file.startMs - endMs) <= DRIFT_MS;
    const { chunks, ticks } = chunksOf(file, range);
    endTicks = file.startTicks + ticks;
    endMs = file.startMs + ticks * file.tickMs;
    if (chunks.length === 0) continue;
    if (seamless) last.chunks.push(...chunks);
    else runs.push({ init: file.init, timescale: file.timescale, chunks });
  }
  return runs;
}

function chunksOf(file: FilePart, range: TimeRange): { chunks: Chunk[]; ticks: number } {
  const msOf = (ticks: number): number => ticks * file.tickMs;
  const chunks: Chunk[] = [];
  let ticks = 0;
  for (const [i, gop] of file.gops.entries()) {
    const startMs = file.startMs + msOf(ticks);
    const endMs = startMs + msOf(gop.durationTicks);
    const current = chunks.at(-1);
    if (endMs > range.start && startMs < range.end) {
      // By what its ticks are said to be: how long they were is only known when the file is whole.
      const told = current ? ((current.durationTicks + gop.durationTicks) * 1000) / file.timescale : 0;
      if (current && told <= CHUNK_MS) {
        current.gops++;
        current.bytes += gop.bytes;
        current.frames += gop.frames;
        current.durationTicks += gop.durationTicks;
        current.durationMs = msOf(current.durationTicks);
      } else {
        chunks.push({
          ...{ segment: file.segment, firstGop: i, gops: 1, startMs: Math.round(startMs) },
          ...{ durationMs: msOf(gop.durationTicks), bytes: gop.bytes, frames: gop.frames },
          ...{ startTicks: file.startTicks + ticks, durationTicks: gop.durationTicks },
        });
      }
    }
    ticks += gop.durationTicks;
  }
  // What comes is in no chunk of this range once its end is there.
  if (file.growing && file.startMs + msOf(ticks) < range.end) chunks.pop();
  return { chunks, ticks };
}
