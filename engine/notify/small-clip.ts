/** A clip made small enough for a messenger: H.264, no larger than it may be. */
import { stat, rm } from 'node:fs/promises';
import { spawn } from 'node:child_process';
import { ffmpegMissing, LastLines } from '../ingest/ffmpeg-process.ts';
import { adoptChild, lowerPriority } from '../thread/child.ts';
import { EngineError } from '../types.ts';
import type { SmallClip } from './types.ts';

export interface SmallPlan {
  height: number;
  videoKbps: number;
  /** 0 leaves the sound out. */
  audioKbps: number;
  fps: number;
}

/** What a picture needs to be worth looking at, in kb/s. */
const STEPS = [
  { height: 1080, kbps: 3500 },
  { height: 720, kbps: 1200 },
  { height: 480, kbps: 500 },
  { height: 360, kbps: 200 },
  { height: 240, kbps: 0 },
] as const;
/** More than a messenger's picture gains from. */
const MAX_KBPS = 4000;
const AUDIO_KBPS = 48;
/** Below it a picture is none, at any size. */
const MIN_KBPS = 24;
/** Of the size that is allowed: MP4's own tables, and an encoder that does not always hit. */
const USED = 0.92;
const ATTEMPTS = 4;
/** A second of footage takes less, also on a small computer. */
const TIMEOUT_PER_SECOND_MS = 4000;

/**
 * The best picture for a size. Throws `too-long` when there is none.
 *
 * @param use share of the size to use; less after an attempt that came out too large
 */
export function planSmall(durationS: number, hasAudio: boolean, maxBytes: number, use = USED): SmallPlan {
  const total = (maxBytes * 8 * use) / 1000 / Math.max(1, durationS);
  const audioKbps = hasAudio && total > AUDIO_KBPS * 4 ? AUDIO_KBPS : 0;
  const videoKbps = Math.floor(Math.min(MAX_KBPS, total - audioKbps));
  if (videoKbps < MIN_KBPS) {
    throw new EngineError(
      'too-long',
      `${Math.round(durationS)} s do not fit into ${(maxBytes / 1e6).toFixed(1)} MB: shorten the clip or allow more`,
    );
  }
  const { height } = STEPS.find(({ kbps }) => videoKbps >= kbps)!;
  return { height, videoKbps, audioKbps, fps: videoKbps >= 200 ? 25 : videoKbps >= 80 ? 12 : 6 };
}

/** Of one pass: the buffer of a second holds the rate close to what was asked for. */
export function smallArgs(input: string, { height, videoKbps, audioKbps, fps }: SmallPlan, output: string): string[] {
  return [
    ...[
      '-hide_banner',
      '-loglevel',
      'error',
      '-i',
      input,
      '-map',
      '0:v:0',
      ...(audioKbps > 0 ? ['-map', '0:a:0?'] : []),
    ],
    // No larger than it is, and even: H.264 needs that.
    ...['-vf', `fps='min(source_fps,${fps})',scale=-2:'trunc(min(${height},ih)/2)*2'`],
    ...['-c:v', 'libx264', '-preset', 'veryfast', '-threads', '1', '-pix_fmt', 'yuv420p', '-profile:v', 'main'],
    ...['-b:v', `${videoKbps}k`, '-maxrate', `${videoKbps}k`, '-bufsize', `${videoKbps}k`, '-g', `${fps * 4}`],
    ...(audioKbps > 0 ? ['-c:a', 'aac', '-b:a', `${audioKbps}k`, '-ac', '1'] : ['-an']),
    ...['-movflags', '+faststart', '-f', 'mp4', '-y', output],
  ];
}

/** Makes it; beside its input a little later than that. Rejects with `too-long`, `ffmpeg`, `timeout`, an AbortError. */
export async function makeSmall(
  ffmpegPath: string,
  input: string,
  output: string,
  { durationMs, hasAudio, maxBytes }: { durationMs: number; hasAudio: boolean; maxBytes: number },
  signal: AbortSignal,
): Promise<SmallClip> {
  const seconds = durationMs / 1000;
  let use = USED;
  for (let attempt = 1; ; attempt++) {
    const plan = planSmall(seconds, hasAudio, maxBytes, use);
    const timeoutMs = 30_000 + seconds * TIMEOUT_PER_SECOND_MS;
    try {
      await encode(ffmpegPath, smallArgs(input, plan, output), timeoutMs, signal);
      const { size } = await stat(output);
      if (size <= maxBytes) return { file: output, bytes: size, height: plan.height };
      if (attempt === ATTEMPTS)
        throw new EngineError('too-long', 'it could not be made small enough: shorten the clip');
      use *= (maxBytes / size) * 0.9;
    } catch (error) {
      await rm(output, { force: true });
      throw error;
    }
  }
}

/** With the lowest priority: it has time, and the recording has none. */
function encode(ffmpegPath: string, args: string[], timeoutMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(ffmpegPath, args, {
      ...{ stdio: ['ignore', 'ignore', 'pipe'], windowsHide: true, killSignal: 'SIGKILL' },
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
    });
    adoptChild(child);
    const last = new LastLines([]);
    lowerPriority(child, 15);
    child.stderr.on('data', (chunk: Buffer) => last.push(chunk));
    let failed: Error | null = null;
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) failed = error;
      else if (error.name === 'AbortError')
        failed = new EngineError('timeout', 'making the small version takes too long');
      else failed = ffmpegMissing(ffmpegPath, error);
      if (child.pid === undefined) reject(failed);
    });
    child.on('close', (code) => {
      last.end();
      if (failed) reject(failed);
      else if (code === 0) resolve();
      else
        reject(
          new EngineError(
            'ffmpeg',
            `no small version could be made: ${last.lines.at(-1) ?? `FFmpeg ended with ${code}`}`,
          ),
        );
    });
  });
}
