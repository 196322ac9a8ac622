/**
 * Clips: footage of a range as one MP4 that plays from its first byte, by copy; only a timelapse encodes. Made at low
 * priority, two at a time, into temporary files that are kept for a while so that players can fetch parts of them.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmSync, statSync } from 'node:fs';
import { setPriority } from 'node:os';
import { join } from 'node:path';
import { LastLines, spawnFfmpeg } from '../ingest/ffmpeg-process.ts';
import { EngineError, type StreamName, type TimeRange } from '../types.ts';
import type { Playable } from './footage.ts';
import type { QueryHost } from './query-host.ts';

export interface ClipRequest extends TimeRange {
  camera: string;
  stream: StreamName;
  /** 1 copies; more makes a timelapse so many times faster. */
  speed: number;
}

export interface ClipState {
  state: 'waiting' | 'running' | 'done' | 'failed';
  /** 0..1 */
  progress: number;
  bytes: number;
  message?: string;
}

interface Job {
  status: ClipState;
  file: string;
  usedAt: number;
  done: Promise<void>;
}

export const MAX_CLIP_MS = 24 * 3_600_000;
const AT_ONCE = 2;
const MAX_WAITING = 20;
const MAX_KEPT = 20;
const KEEP_MS = 10 * 60_000;
/** From here on a timelapse is made of keyframes alone. */
const KEYFRAMES_FROM = 10;
/** Time between the last frame before a gap and the first behind it, in a clip. */
const SEAM_S = 0.04;

/**
 * FFmpeg's arguments: fragmented MP4 on stdin whose time 0 is `leadMs` before the moment the clip is to begin. The lead
 * is kept, for decoding starts at its keyframe, and hidden by an edit list.
 */
export function clipArgs(leadMs: number, durationMs: number, speed: number, file: string): string[] {
  const seconds = (ms: number): string => (ms / 1000).toFixed(3);
  const output = ['-movflags', '+faststart', '-f', 'mp4', '-y', file];
  if (speed === 1) {
    return [
      ...[
        '-hide_banner',
        '-loglevel',
        'error',
        '-itsoffset',
        seconds(-leadMs),
        '-f',
        'mp4',
        '-i',
        'pipe:0',
        '-map',
        '0',
      ],
      ...['-c', 'copy', '-t', seconds(durationMs), '-avoid_negative_ts', 'disabled', ...output],
    ];
  }
  return [
    ...['-hide_banner', '-loglevel', 'error', ...(speed >= KEYFRAMES_FROM ? ['-skip_frame', 'nokey'] : [])],
    ...[
      '-f',
      'mp4',
      '-i',
      'pipe:0',
      '-map',
      '0:v:0',
      '-vf',
      `trim=start=${seconds(leadMs)},setpts=(PTS-STARTPTS)/${speed},fps=25`,
    ],
    ...['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-pix_fmt', 'yuv420p', ...output],
  ];
}

export class Clips {
  private readonly query: QueryHost;
  private readonly ffmpegPath: string;
  private readonly folder: string;
  private readonly jobs = new Map<string, Job>();
  private running = 0;
  private readonly queue: (() => void)[] = [];
  private readonly children = new Set<ChildProcessWithoutNullStreams>();

  /** @param folder for temporary files; what an earlier process left in it is removed */
  constructor(query: QueryHost, ffmpegPath: string, folder: string) {
    this.query = query;
    this.ffmpegPath = ffmpegPath;
    this.folder = folder;
    rmSync(folder, { recursive: true, force: true });
  }

  /**
   * The clip's job, started unless it is there already. Rejects with `not-found` when nothing is recorded in the range,
   * `codec-change` when the camera was set up anew in the middle of it, `busy`.
   */
  async job(request: ClipRequest, nowMs: number): Promise<Readonly<Job>> {
    const key = JSON.stringify([request.camera, request.stream, request.start, request.end, request.speed]);
    const known = this.jobs.get(key);
    if (known && known.status.state !== 'failed') {
      known.usedAt = nowMs;
      return known;
    }
    const { camera, stream, start, end } = request;
    const playable = await this.query.call('playable', camera, stream, { start, end }, nowMs);
    if (playable.runs.length === 0) throw new EngineError('not-found', 'nothing is recorded in this range');
    if (new Set(playable.runs.map(({ init }) => init)).size > 1) {
      throw new EngineError(
        'codec-change',
        `the camera's encoding was changed at ${new Date(playable.runs.find(({ init }) => init !== playable.runs[0]!.init)!.chunks[0]!.startMs).toISOString()}: ask for the time before or after it`,
      );
    }
    if (this.queue.length >= MAX_WAITING)
      throw new EngineError('busy', 'too many clips are being made; try again later');
    this.forget(nowMs);
    const file = join(this.folder, `${nowMs}-${this.jobs.size}-${Math.random().toString(36).slice(2)}.mp4`);
    const status: ClipState = { state: 'waiting', progress: 0, bytes: 0 };
    const job: Job = { status, file, usedAt: nowMs, done: Promise.resolve() };
    job.done = this.turn(async () => {
      status.state = 'running';
      await this.make(request, playable, job);
      status.bytes = statSync(file).size;
      status.progress = 1;
      status.state = 'done';
    }).catch((error: unknown) => {
      status.state = 'failed';
      status.message = error instanceof Error ? error.message : String(error);
      rmSync(file, { force: true });
      throw error;
    });
    job.done.catch(() => undefined); // told to whoever waits for it
    this.jobs.set(key, job);
    return job;
  }

  private async turn(work: () => Promise<void>): Promise<void> {
    if (this.running >= AT_ONCE) await new Promise<void>((resolve) => this.queue.push(resolve));
    this.running++;
    try {
      await work();
    } finally {
      this.running--;
      this.queue.shift()?.();
    }
  }

  private async make(request: ClipRequest, { runs }: Playable, { status, file }: Job): Promise<void> {
    const { camera, start, end, speed } = request;
    // FFmpeg gives the last frame of a run no length: without this it would share its time with the next run's first.
    const chunks = runs.flatMap((run, i) =>
      run.chunks.map((chunk, j) => ({ ...chunk, gapTicks: i > 0 && j === 0 ? Math.round(run.timescale * SEAM_S) : 0 })),
    );
    const leadMs = Math.max(0, start - chunks[0]!.startMs);
    mkdirSync(this.folder, { recursive: true });
    const args = clipArgs(leadMs, end - start, speed, file);
    const child = spawnFfmpeg(this.ffmpegPath, args, 'pipe') as ChildProcessWithoutNullStreams;
    this.children.add(child);
    const last = new LastLines([]);
    const ended = { gone: false };
    const closed = new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => {
        ended.gone = true;
        resolve(code);
      });
    });
    closed.catch(() => undefined);
    try {
      child.on('spawn', () => setPriority(child.pid!, 10));
      child.stdin.on('error', () => undefined); // it had enough (`-t`) or failed; its exit code tells
      child.stderr.on('data', (chunk: Buffer) => last.push(chunk));
      child.stdout.resume();
      child.stdin.write(await this.query.call('init', camera, runs[0]!.init));
      const total = chunks.reduce((sum, { bytes }) => sum + bytes, 0);
      let fed = 0;
      let ticks = 0;
      for (const { segment, firstGop, gops, bytes, durationTicks, gapTicks } of chunks) {
        if (ended.gone) break;
        ticks += gapTicks;
        const media = await this.query.call('media', camera, segment, firstGop, gops, ticks);
        ticks += durationTicks;
        fed += bytes;
        if (!child.stdin.write(media)) await Promise.race([once(child.stdin, 'drain'), closed]);
        status.progress = Math.min(0.99, fed / total);
      }
      child.stdin.end();
      const code = await closed;
      if (code !== 0)
        throw new EngineError(
          'ffmpeg',
          `the clip could not be made: ${last.lines.at(-1) ?? `FFmpeg ended with ${code}`}`,
        );
    } finally {
      this.children.delete(child);
      if (!ended.gone) child.kill('SIGKILL');
    }
  }

  /** Removes clips that nobody fetched for a while, and the oldest beyond the number kept. */
  private forget(nowMs: number): void {
    const idle = [...this.jobs].filter(([, { status }]) => status.state === 'done' || status.state === 'failed');
    idle.sort(([, a], [, b]) => a.usedAt - b.usedAt);
    const surplus = idle.length - MAX_KEPT;
    idle.forEach(([key, { file, usedAt }], i) => {
      if (i >= surplus && nowMs - usedAt < KEEP_MS) return;
      this.jobs.delete(key);
      rmSync(file, { force: true });
    });
  }

  close(): void {
    for (const child of this.children) child.kill('SIGKILL');
    rmSync(this.folder, { recursive: true, force: true });
  }
}
