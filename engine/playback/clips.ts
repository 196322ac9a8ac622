/**
 * Clips: footage of a range as one MP4 that plays from its first byte, by copy; only a timelapse encodes. Made at low
 * priority, two at a time, into temporary files that are kept for a while so that players can fetch parts of them.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import { rm, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import {
  cageBroke,
  ENCODER,
  ffmpegMissing,
  killTree,
  LastLines,
  lowerPriority,
  startFfmpeg,
} from '../ingest/ffmpeg-process.ts';
import { BOUNDED } from '../media/decoding.ts';
import { DEFAULT_MODES, emptyFile, ownFolder, type Modes } from '../recording/file-modes.ts';
import { EngineError, type StreamName, type TimeRange } from '../types.ts';
import { forAll, whoAsks } from './asker.ts';
import { copyPlan, timelapsePlan, type CopyPlan } from './clip-plan.ts';
import { FairTurns } from './fair-turns.ts';
import type { Playable } from './footage.ts';
import type { QueryHost } from './query-host.ts';
import type { Chunk, Run } from './runs.ts';

export interface ClipRequest extends TimeRange {
  camera: string;
  stream: StreamName;
  /** 1 copies; 2 or more makes a timelapse so many times faster. */
  speed: number;
}

export interface ClipState {
  state: 'waiting' | 'running' | 'done' | 'failed';
  /** 0..1 */
  progress: number;
  bytes: number;
  message?: string;
}

export interface Job {
  status: ClipState;
  file: string;
  usedAt: number;
  /** Until then the same range need not be made again: more of it may be recorded later. */
  goodUntil: number;
  done: Promise<void>;
  /** It goes on without anybody waiting for it: its progress is asked for instead. */
  background: boolean;
  waiters: number;
  ended: AbortController;
  /** Ids of those who have asked for it and wait for a turn to make it; whose turn comes first makes it for all. */
  askers: Set<string>;
  /** Aborted when it is made: the others need no turn then. */
  begun: AbortController;
  make: () => Promise<void>;
  fail: (error: unknown) => void;
}

export const MAX_CLIP_MS = 24 * 3_600_000;
const AT_ONCE = 2;
const MAX_WAITING = 20;
const MAX_KEPT = 20;
const KEEP_MS = 10 * 60_000;
/** Of one clip, and of those that are kept together. */
export const MAX_CLIP_BYTES = 8 * 1024 ** 3;
/** Left to the recording and the catalogue. */
const MIN_FREE_BYTES = 1024 ** 3;
/** A clip of a range that is still being recorded serves those who fetch it in parts for so long. */
const UNFINISHED_MS = 30_000;
/** From here on a timelapse is made of keyframes alone. */
const KEYFRAMES_FROM = 10;
const TIMELAPSE_FPS = 25;
/** Between 1 and this, nearly every picture would be encoded for nearly the same footage. */
const MIN_TIMELAPSE = 2;
/** A picture of a timelapse differs so much more from the one before it than one of the footage does. */
const PICTURE_FACTOR = 4;
/** Chunks (some seconds of footage) held in memory for each clip that is made. */
const READ_AHEAD = 6;
/** FFmpeg that takes nothing for so long hangs. It has longer to write the end of a file, which may be all of it again. */
const STALL_MS = 60_000;
const END_MS = 10 * 60_000;
/** CPU seconds of FFmpeg for a second of footage, on the slowest computer; and what it takes without any. */
const CPU_FACTOR = 20;
const CPU_SECONDS = 120;

const seconds = (ms: number): string => (ms / 1000).toFixed(3);
const QUIET = ['-hide_banner', '-loglevel', 'error'];
/** With the times it has: FFmpeg would move the first packet to zero, and that may be one of sound. */
const FROM_STDIN = ['-copyts', '-f', 'mp4', '-i', 'pipe:0'];
/** All there is to know of our media is in its header. */
const NO_PROBING = ['-analyzeduration', '0', '-fpsprobesize', '0'];

/**
 * FFmpeg's arguments: fragmented MP4 on stdin whose time 0 is `leadMs` before the moment the clip is to begin. The lead
 * is kept, for decoding starts at its keyframe, and hidden by an edit list. The index goes into room left for it at the
 * start: `faststart` would write the whole file a second time.
 */
export function clipArgs(
  { leadMs, durationMs, indexBytes }: Pick<CopyPlan, 'leadMs' | 'durationMs' | 'indexBytes'>,
  file: string,
): string[] {
  return [
    ...[...QUIET, ...NO_PROBING, '-itsoffset', seconds(-leadMs), ...FROM_STDIN, '-map', '0', '-c', 'copy'],
    ...['-t', seconds(durationMs), '-avoid_negative_ts', 'disabled'],
    ...['-moov_size', `${indexBytes}`, '-f', 'mp4', '-y', file],
  ];
}

/**
 * The same for a timelapse; of keyframes alone when they are as {@link timelapsePlan} says. What it will have can only be
 * estimated, so that FFmpeg ends it at `maxBytes`.
 */
export function timelapseArgs(
  leadMs: number,
  speed: number,
  keyframes: boolean,
  file: string,
  maxBytes: number,
): string[] {
  const filter = keyframes
    ? `setpts=(PTS-STARTPTS)/${TIMELAPSE_FPS},fps=${TIMELAPSE_FPS}`
    : `trim=start=${seconds(leadMs)},setpts=(PTS-STARTPTS)/${speed},fps=${TIMELAPSE_FPS}`;
  return [
    ...[...QUIET, ...BOUNDED, ...(keyframes ? ['-skip_frame', 'nokey'] : []), ...FROM_STDIN],
    ...['-map', '0:v:0', '-vf', filter],
    ...['-c:v', 'libx264', '-preset', 'veryfast', '-crf', '23', '-pix_fmt', 'yuv420p'],
    ...['-movflags', '+faststart', '-fs', `${maxBytes}`, '-f', 'mp4', '-y', file],
  ];
}

/**
 * Bytes of a clip: of a copy what its footage has; of a timelapse an upper estimate from the number of its pictures, and
 * no more than its footage has.
 */
export function clipBytes(runs: readonly Run[], speed: number): number {
  const chunks = runs.flatMap((run) => run.chunks);
  const sum = (of: (chunk: Chunk) => number): number => chunks.reduce((total, chunk) => total + of(chunk), 0);
  const bytes = sum((chunk) => chunk.bytes);
  if (speed === 1) return bytes;
  const frames = sum((chunk) => chunk.frames);
  const there = speed >= KEYFRAMES_FROM ? sum(({ gops }) => gops) : frames;
  const pictures = Math.min(there, (sum(({ durationMs }) => durationMs) / 1000 / speed) * TIMELAPSE_FPS);
  return Math.ceil(Math.min(bytes, (bytes / Math.max(1, frames)) * PICTURE_FACTOR * pictures));
}

export class Clips {
  private readonly query: QueryHost;
  private readonly ffmpegPath: string;
  private readonly folder: string;
  private readonly maxBytes: number;
  private readonly modes: Modes;
  private readonly jobs = new Map<string, Job>();
  private readonly turns = new FairTurns({
    ...{ atOnce: AT_ONCE, mostWaiting: MAX_WAITING, busy: 'too many clips are being made; try again later' },
  });
  private readonly children = new Set<ChildProcessWithoutNullStreams>();

  /**
   * @param folder for temporary files; what an earlier process left in it is removed
   * @param maxBytes of one clip
   */
  constructor(
    query: QueryHost,
    ffmpegPath: string,
    folder: string,
    maxBytes = MAX_CLIP_BYTES,
    modes: Modes = DEFAULT_MODES,
  ) {
    this.modes = modes;
    this.query = query;
    this.ffmpegPath = ffmpegPath;
    this.folder = folder;
    this.maxBytes = maxBytes;
    rmSync(folder, { recursive: true, force: true });
  }

  /**
   * The clip's job, started unless it is there already. Rejects with `not-found` when nothing is recorded in the range,
   * `codec-change` when the camera was set up anew in the middle of it, `busy`, `bad-request` when it would be too large.
   */
  async job(request: ClipRequest, nowMs: number): Promise<Job> {
    if (request.speed !== 1 && request.speed < MIN_TIMELAPSE)
      throw new EngineError('bad-request', `speed must be 1, or ${MIN_TIMELAPSE} and more for a timelapse`);
    const key = JSON.stringify([request.camera, request.stream, request.start, request.end, request.speed]);
    const known = this.jobs.get(key);
    if (known && isGood(known, nowMs)) {
      known.usedAt = nowMs;
      this.waitToo(known);
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
    const bytes = clipBytes(playable.runs, request.speed);
    if (bytes > this.maxBytes) throw this.tooLarge(bytes);
    if (known) await rm(known.file, { force: true });
    const meanwhile = this.jobs.get(key);
    if (meanwhile && isGood(meanwhile, nowMs)) {
      this.waitToo(meanwhile);
      return meanwhile; // asked for twice at the same moment
    }
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const job: Job = {
      ...{ status: { state: 'waiting', progress: 0, bytes: 0 }, done: Promise.resolve(), usedAt: nowMs },
      file: join(this.folder, `${randomUUID()}.mp4`),
      goodUntil: playable.final ? Infinity : nowMs + UNFINISHED_MS,
      ...{ background: false, waiters: 0, ended: new AbortController(), askers: new Set() },
      ...{ begun: new AbortController(), make: () => make().then(() => resolve(undefined), reject), fail: reject },
    };
    job.done = promise.catch(async (error: unknown) => {
      job.status.state = 'failed';
      job.status.message = messageFor(error);
      await rm(job.file, { force: true });
      throw error;
    });
    job.done.catch(() => undefined); // told to whoever waits for it
    const make = async (): Promise<void> => {
      job.ended.signal.throwIfAborted();
      job.status.state = 'running';
      await this.forget(nowMs);
      await this.makeRoom(bytes);
      await this.make(request, playable, job);
      job.status.bytes = (await stat(job.file)).size;
      // FFmpeg ended it there: half a clip must not look like a whole one.
      if (request.speed !== 1 && job.status.bytes >= this.maxBytes) throw this.tooLarge(job.status.bytes);
      job.status.progress = 1;
      job.status.state = 'done';
    };
    this.waitForTurn(job); // throws `busy`: then there is no job
    this.jobs.set(key, job);
    return job;
  }

  /** Somebody else wants it, too: whoever asked for it first may have to wait much longer. */
  private waitToo(job: Job): void {
    if (job.status.state !== 'waiting' || job.askers.has(whoAsks().asker.id)) return;
    try {
      this.waitForTurn(job);
    } catch (error) {
      // No place of their own is left to them: they wait with those who have one.
      if (!(error instanceof EngineError && error.code === 'busy')) throw error;
    }
  }

  /** Makes the clip when the turn of who asks has come, unless it is made by then. Throws `busy`. */
  private waitForTurn(job: Job): void {
    const { id } = whoAsks().asker;
    const turn = this.turns.begin(AbortSignal.any([job.ended.signal, job.begun.signal]));
    job.askers.add(id);
    const begun = async (end: () => void): Promise<void> => {
      try {
        if (job.status.state !== 'waiting') return;
        const making = forAll(job.make); // for whoever wants it, even if who asked leaves
        job.begun.abort();
        await making;
      } finally {
        end();
      }
    };
    turn
      .then(begun, (error: unknown) => {
        job.askers.delete(id);
        if (job.askers.size === 0 && job.status.state === 'waiting') job.fail(error);
      })
      .catch(job.fail);
  }

  /** Somebody waits for the job until the returned function is called; when nobody does any more, it is given up. */
  wait(job: Job): () => void {
    job.waiters++;
    let left = false;
    return () => {
      if (left) return;
      left = true;
      job.waiters--;
      const working = job.status.state === 'waiting' || job.status.state === 'running';
      if (working && job.waiters === 0 && !job.background) job.ended.abort();
    };
  }

  private tooLarge(bytes: number): EngineError {
    const gigabytes = (of: number): string => (of / 1024 ** 3).toFixed(1);
    return new EngineError(
      'bad-request',
      `this clip would have ${gigabytes(bytes)} GiB, more than the ${gigabytes(this.maxBytes)} a clip may have: ask for a shorter time`,
    );
  }

  private async makeRoom(bytes: number): Promise<void> {
    await ownFolder(this.folder, this.modes);
    const { bavail, bsize } = await statfs(this.folder);
    if (bavail * bsize < bytes + MIN_FREE_BYTES) {
      throw new EngineError('busy', 'the disk has no room to make this clip; the recordings come first');
    }
  }

  private async make(request: ClipRequest, playable: Playable, job: Job): Promise<void> {
    const { runs } = playable;
    const { camera, speed } = request;
    const { signal } = job.ended;
    const keyframes = speed >= KEYFRAMES_FROM;
    const plan = copyPlan(runs, request);
    await emptyFile(job.file, this.modes);
    const args =
      speed === 1 ? clipArgs(plan, job.file) : timelapseArgs(plan.leadMs, speed, keyframes, job.file, this.maxBytes);
    const footageMs = runs.reduce((sum, run) => run.chunks.reduce((ms, chunk) => ms + chunk.durationMs, sum), 0);
    const need = {
      ...{ ...ENCODER, cpuSeconds: CPU_SECONDS + (footageMs / 1000) * CPU_FACTOR },
      output: { folder: this.folder, bytes: 2 * this.maxBytes + MIN_FREE_BYTES },
    };
    const child = startFfmpeg(this.ffmpegPath, args, { need, group: true }) as ChildProcessWithoutNullStreams;
    this.children.add(child);
    const last = new LastLines([]);
    const closed = new Promise<number | null>((resolve, reject) => {
      child.once('error', (cause) => reject(ffmpegMissing(this.ffmpegPath, cause)));
      child.once('close', resolve);
    });
    closed.catch(() => undefined); // waited for below
    signal.addEventListener('abort', () => killTree(child));
    const stall = new AbortController();
    let watch: NodeJS.Timeout | undefined;
    /** FFmpeg did something; it has so long for the next. */
    const alive = (ms: number): void => {
      clearTimeout(watch);
      watch = setTimeout(() => {
        stall.abort();
        killTree(child);
      }, ms);
    };
    child.on('spawn', () => lowerPriority(child, 10));
    child.stdin.on('error', () => undefined); // it had enough (`-t`) or failed; its exit code tells
    child.stderr.on('data', (chunk: Buffer) => last.push(chunk));
    child.stdout.resume();
    // What closes its input early is no error here: a clip needs no more than its end.
    const inputClosed = new Promise<void>((resolve) => child.stdin.once('close', resolve));
    const feed = async (media: Uint8Array): Promise<void> => {
      if (!child.stdin.writable || child.stdin.write(media)) return;
      alive(STALL_MS);
      await Promise.race([new Promise<void>((resolve) => child.stdin.once('drain', resolve)), inputClosed]);
      clearTimeout(watch);
    };
    try {
      const wanted: (() => Promise<Uint8Array>)[] = [
        () => this.query.call('init', camera, runs[0]!.init),
        ...(keyframes
          ? timelapsePlan(runs, speed, TIMELAPSE_FPS).map(
              ({ segment, gop, atTicks }) =>
                () =>
                  this.query.call('keyframe', camera, segment, gop, atTicks),
            )
          : plan.steps.map(
              ({ segment, firstGop, gops, atTicks }) =>
                () =>
                  this.query.call('media', camera, segment, firstGop, gops, atTicks),
            )),
      ];
      // FFmpeg takes a tenth of a second to start: what it will read is fetched meanwhile.
      const ahead: Promise<Uint8Array>[] = [];
      for (let next = 0; next < wanted.length || ahead.length > 0;) {
        if (!child.stdin.writable || signal.aborted) break;
        while (next < wanted.length && ahead.length < READ_AHEAD) {
          const media = wanted[next++]!();
          media.catch(() => undefined); // told when its turn comes
          ahead.push(media);
        }
        await feed(await ahead.shift()!);
        job.status.progress = Math.min(0.99, (next - ahead.length) / wanted.length);
      }
      child.stdin.end();
      alive(END_MS);
      const code = await closed;
      signal.throwIfAborted();
      if (stall.signal.aborted) throw new EngineError('timeout', 'FFmpeg hangs: the clip could not be made');
      if (code !== 0 && (await cageBroke(child))) {
        await this.make(request, playable, job); // without what broke
        return;
      }
      if (code !== 0)
        throw new EngineError(
          'ffmpeg',
          `the clip could not be made: ${last.lines.at(-1) ?? `FFmpeg ended with ${code}`}`,
        );
    } finally {
      clearTimeout(watch);
      this.children.delete(child);
      if (child.exitCode === null && child.signalCode === null) killTree(child);
    }
  }

  /** Removes clips that nobody fetched for a while, and the oldest beyond the number kept. */
  private async forget(nowMs: number): Promise<void> {
    const idle = [...this.jobs].filter(([, { status }]) => status.state === 'done' || status.state === 'failed');
    idle.sort(([, a], [, b]) => b.usedAt - a.usedAt);
    let bytes = 0;
    for (const [i, [key, { file, usedAt, status, waiters }]] of idle.entries()) {
      bytes += status.bytes;
      const kept = i < MAX_KEPT && bytes <= MAX_CLIP_BYTES && nowMs - usedAt < KEEP_MS;
      if (kept || waiters > 0) continue;
      this.jobs.delete(key);
      await rm(file, { force: true });
    }
  }

  close(): void {
    for (const child of this.children) killTree(child);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function isGood({ status: { state }, ended, goodUntil }: Job, nowMs: number): boolean {
  if (ended.signal.aborted) return false;
  return state === 'waiting' || state === 'running' || (state === 'done' && nowMs < goodUntil);
}

/** What is told of a failure. FFmpeg's own words name files: they are for the log. */
function messageFor(error: unknown): string {
  if (error instanceof EngineError && error.code !== 'ffmpeg') return error.message;
  if (error instanceof Error && error.name === 'AbortError') return 'it was given up: nobody waited for it';
  return 'the clip could not be made; the log of Node-RED says why';
}
