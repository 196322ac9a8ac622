/** What goes into a clip, and where in its time. Pure. */
import type { TimeRange } from '../types.ts';
import type { Chunk, Run } from './runs.ts';

/** GOPs to feed, beginning at a time of the clip (in ticks of the video track). */
export interface CopyStep extends Pick<Chunk, 'segment' | 'firstGop' | 'gops'> {
  atTicks: number;
}

export interface CopyPlan {
  steps: CopyStep[];
  /** From time 0 of what is fed to the moment that was asked for: decoding begins at a keyframe before it. */
  leadMs: number;
  /** From that moment to the end, without what is missing. */
  durationMs: number;
  /** Room that is enough for its index in front of the media. */
  indexBytes: number;
}

export interface KeyframeStep {
  segment: number;
  gop: number;
  atTicks: number;
}

/**
 * Where a clip's time begins for FFmpeg: sound may begin some milliseconds before the keyframe it is stored with, and
 * MP4 has no decode times below zero.
 */
export const BASE_MS = 500;
/** Time between the last frame before a gap and the first behind it. */
const SEAM_S = 0.04;

/**
 * The runs one behind the other: what is missing between them takes no time.
 * @param runs at least one, of one codec configuration
 */
export function copyPlan(runs: readonly Run[], range: TimeRange): CopyPlan {
  const steps: CopyStep[] = [];
  let ticks = Math.round((runs[0]!.timescale * BASE_MS) / 1000);
  let durationMs = 0;
  for (const [i, { timescale, chunks }] of runs.entries()) {
    // FFmpeg gives the last frame of a run no length: without this it would share its time with the next run's first.
    if (i > 0) {
      ticks += Math.round(timescale * SEAM_S);
      durationMs += SEAM_S * 1000;
    }
    for (const { segment, firstGop, gops, durationTicks, startMs, durationMs: realMs } of chunks) {
      steps.push({ segment, firstGop, gops, atTicks: ticks });
      ticks += durationTicks;
      const shownMs = Math.max(0, Math.min(startMs + realMs, range.end) - Math.max(startMs, range.start));
      durationMs += shownMs * saidOf(durationTicks, timescale, realMs);
    }
  }
  const [{ timescale, chunks }] = runs as [Run];
  const { startMs, durationTicks, durationMs: firstMs } = chunks[0]!;
  const leadMs = BASE_MS + Math.max(0, range.start - startMs) * saidOf(durationTicks, timescale, firstMs);
  // A frame needs at most 28 bytes (its size, time, order, keyframe and place), a second of sound not a hundred times 12.
  const frames = runs.flatMap(({ chunks }) => chunks).reduce((sum, chunk) => sum + chunk.frames, 0);
  const indexBytes = 32_768 + frames * 32 + Math.ceil((leadMs + durationMs) / 1000) * 1536;
  return { steps, leadMs, durationMs, indexBytes };
}

/** ms of media in one of real time, which a camera may not count alike: FFmpeg knows the media only. */
function saidOf(ticks: number, timescale: number, realMs: number): number {
  return realMs > 0 ? (ticks * 1000) / timescale / realMs : 1;
}

/**
 * The keyframes that a timelapse shows: no more of them than it has frames. Their times are those they are shown at,
 * `fps` times as long: a fragment with a keyframe holds some frames more, and FFmpeg drops what overlaps.
 */
export function timelapsePlan(runs: readonly Run[], speed: number, fps: number): KeyframeStep[] {
  const steps: KeyframeStep[] = [];
  let ticks = 0;
  let last = -Infinity;
  for (const { timescale, chunks } of runs) {
    for (const { segment, firstGop, gops, durationTicks } of chunks) {
      for (let i = 0; i < gops; i++) {
        const atTicks = timescale + Math.round(((ticks + (durationTicks * i) / gops) * fps) / speed);
        if (atTicks - last < timescale) continue;
        last = atTicks;
        steps.push({ segment, gop: firstGop + i, atTicks });
      }
      ticks += durationTicks;
    }
  }
  return steps;
}
