/**
 * Makes what a message about an event has: the clip by copy, its picture and preview, a small version, a link, and what is
 * missing and why. Runs on the main thread and waits only: FFmpeg, sharp and the query thread do the work.
 */
import { constants } from 'node:fs';
import { copyFile, link, rm, stat } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { Clips } from '../playback/clips.ts';
import type { QueryHost } from '../playback/query-host.ts';
import type { Stills } from '../playback/stills.ts';
import { emptyFile, ownFolder, type Modes } from '../recording/file-modes.ts';
import { EngineError, type Coverage, type StreamName, type TimeRange } from '../types.ts';
import { animate, PREVIEW_FRAMES, PREVIEW_WIDTH } from './preview.ts';
import { rangesByCamera } from './policy.ts';
import { makeSmall } from './small-clip.ts';
import { SCHEMA, type ClipJob, type ClipMessage, type MadeClip } from './types.ts';

const THUMBNAIL_WIDTH = 640;
/** What was filmed is on disk after this, or will not be. */
const LATE_MS = 12_000;
export const LOOK_AGAIN_MS = 250;
/** A gap that is told may still end with pictures that were late; not after this. */
const STALLED_MS = 7000;
/** So near to the end of a range may a gap end that goes on: it is told in steps. */
const TAIL_MS = 1000;
/** A catalogue or disk that does not answer is waited for; then the message says that there is no clip. */
const GIVE_UP_MS = 3_600_000;
/** It may also be late because others came first: tried so often at least. */
const GIVE_UP_ATTEMPTS = 20;
const PROGRESS_MS = 1000;
/** A picture has the time at which it came, 50 to 100 ms after it was filmed: that of the end is so much later. */
const BEHIND_MS = 200;
/** What will not be otherwise when it is tried again. */
const FINAL_CODES: readonly string[] = ['not-found', 'codec-change', 'bad-request', 'unknown-camera'];

export interface MakerOptions {
  stream: StreamName;
  maxClipMs: number;
  /** Of a small version, which is made only then. */
  smallBytes: number | null;
  preview: boolean;
  /** Where clips are kept. */
  folder: string;
}

export interface MakerEffects {
  clips: Pick<Clips, 'job' | 'wait'>;
  stills: Pick<Stills, 'at' | 'strip'>;
  query: Pick<QueryHost, 'call'>;
  ffmpegPath: string;
  /** Of the files that are made. */
  modes: Modes;
  /** A link to the footage of a camera, or null. */
  link: (camera: string, range: TimeRange) => Promise<string | null>;
  progress: (eventId: string, camera: string, percent: number) => void;
  /** Something that is less than it should be, for the log. */
  warn: (message: string) => void;
  now: () => number;
}

/** It cannot be made now. */
export class NotYet extends Error {
  /** Null when there is only more to wait for. */
  readonly problem: string | null;
  constructor(problem: string | null) {
    super(problem ?? 'not on disk yet');
    this.problem = problem;
  }
}

/** The same for a job whenever it is made. */
export function idOf({ node, events }: ClipJob): string {
  return createHash('sha256').update(`${node}\n${events[0]!.eventId}`).digest('hex').slice(0, 32);
}

/** What is missing of a range, in words. */
export function missingText({
  gaps,
  deleted,
  unscheduled,
}: Pick<Coverage, 'gaps' | 'deleted' | 'unscheduled'>): string {
  const parts = [
    ...gaps.map(({ start, end, cause }) => `${cause} (${span(start, end)})`),
    ...deleted.map(({ start, end, reason }) => `deleted by ${reason} (${span(start, end)})`),
    ...unscheduled.map(({ start, end }) => `not recorded (${span(start, end)})`),
  ];
  const more = parts.length > 6 ? [`and ${parts.length - 6} more`] : [];
  return [...parts.slice(0, 6), ...more].join(', ');
}

const span = (start: number, end: number): string =>
  `${new Date(start).toISOString().slice(11, 23)} to ${new Date(end).toISOString().slice(11, 23)} UTC`;

export class ClipMaker {
  private readonly effects: MakerEffects;
  private readonly options: MakerOptions;
  private readonly ended = new AbortController();

  constructor(effects: MakerEffects, options: MakerOptions) {
    this.effects = effects;
    this.options = options;
  }

  close(): void {
    this.ended.abort();
  }

  /** Rejects with {@link NotYet}, or an AbortError after {@link close}. */
  async make(job: ClipJob): Promise<ClipMessage> {
    const [first] = job.events as [ClipJob['events'][0]];
    const id = idOf(job);
    const ranges = rangesByCamera(job.events, this.options.maxClipMs);
    // All at once: most of the time is FFmpeg's, and no more than two of these run anyway.
    const clips = await Promise.all(ranges.map((range, i) => this.clip(job, `${id}-${i}`, range)));
    const firstClip = clips.find(({ file }) => file !== null) ?? clips[0]!;
    const { correlationId, kind, label, severity } = first;
    return {
      ...firstClip,
      ...{ type: 'clip', schema: SCHEMA, id, eventId: first.eventId, correlationId, kind, label, severity },
      ...{ zones: [...new Set(job.events.flatMap(({ zones }) => zones))] },
      ...{ eventStart: first.start, eventEnd: first.end },
      ...{ cameras: [...new Set(ranges.map(({ camera }) => camera))], clips },
      events: job.events.map((event) => {
        const { eventId, cameras, start, end } = event;
        return {
          eventId,
          correlationId: event.correlationId,
          kind: event.kind,
          cameras,
          start,
          end,
          label: event.label,
        };
      }),
    };
  }

  private async clip(job: ClipJob, name: string, range: TimeRange & { camera: string }): Promise<MadeClip> {
    const { camera, start, end } = range;
    const { query, now } = this.effects;
    const { stream } = this.options;
    const bare: MadeClip = {
      ...{ camera, start, end, file: null, bytes: 0, reason: null, url: null, coverage: null },
      ...{ small: null, thumbnail: null, preview: null },
    };
    let coverage: Coverage | null = null;
    try {
      coverage = await query.call('coverage', camera, stream, { start, end }, now());
      const { final } = await query.call('playable', camera, stream, { start, end: end + BEHIND_MS }, now());
      if (!final && !isOver(coverage, now())) throw new NotYet(null);
      // What is over is asked as of later: the last GOP of a file that is still open is all there is.
      const asOf = final ? now() : Math.max(now(), end + BEHIND_MS + LATE_MS);
      return await this.complete(job, name, { ...bare, coverage }, asOf);
    } catch (error) {
      this.ended.signal.throwIfAborted();
      if (error instanceof NotYet) throw error;
      const problem = error instanceof Error ? error.message : String(error);
      const final = error instanceof EngineError && FINAL_CODES.includes(error.code);
      const gaveUp = now() - job.wanted > GIVE_UP_MS && job.attempts >= GIVE_UP_ATTEMPTS;
      if (!final && !gaveUp) throw new NotYet(problem);
      const missing = coverage ? missingText(coverage) : '';
      return { ...bare, coverage, reason: missing ? `${problem}: ${missing}` : problem };
    }
  }

  private async complete(job: ClipJob, name: string, bare: MadeClip, asOf: number): Promise<MadeClip> {
    const { camera, start, end } = bare;
    const { clips } = this.effects;
    const { stream, folder } = this.options;
    const made = await clips.job({ camera, stream, start, end: end + BEHIND_MS, speed: 1 }, asOf);
    const leave = clips.wait(made);
    const eventId = job.events[0]!.eventId;
    const timer = setInterval(() => {
      if (made.status.state === 'running')
        this.effects.progress(eventId, camera, Math.floor(made.status.progress * 100));
    }, PROGRESS_MS);
    let file: string;
    try {
      await unless(this.ended.signal, made.done);
      await ownFolder(folder, this.effects.modes);
      const stamp = new Date(start).toISOString().replaceAll(':', '-');
      file = join(folder, `${camera}_${stamp}_${name}.mp4`);
      await place(made.file, file);
    } finally {
      clearInterval(timer);
      leave();
    }
    const { size } = await stat(file);
    const clip = { ...bare, file, bytes: size };
    const [url, thumbnail, preview, small] = await Promise.all([
      this.effects.link(camera, { start, end }),
      this.optional(`no picture of ${camera}`, () => this.thumbnail(job, clip)),
      this.options.preview ? this.optional(`no preview of ${camera}`, () => this.preview(clip)) : null,
      this.small(job, clip),
    ]);
    const missing = missingText(bare.coverage!);
    const reasons = [...(missing ? [`a part is missing: ${missing}`] : []), ...(small.reason ? [small.reason] : [])];
    return { ...clip, url, thumbnail, preview, small: small.clip, reason: reasons.join('; ') || null };
  }

  /** What a message can do without. */
  private async optional<T>(otherwise: string, work: () => Promise<T>): Promise<T | null> {
    try {
      return await work();
    } catch (error) {
      this.ended.signal.throwIfAborted();
      this.effects.warn(`${otherwise}: ${error instanceof Error ? error.message : String(error)}`);
      return null;
    }
  }

  /** Of the moment of the event, or the first there is behind it. */
  private async thumbnail(job: ClipJob, { camera, coverage }: MadeClip): Promise<Buffer> {
    const event = job.events.find(({ cameras }) => cameras.includes(camera)) ?? job.events[0]!;
    const behind = coverage!.recorded.find(({ end }) => end > event.start) ?? coverage!.recorded.at(-1);
    const time = behind ? Math.min(Math.max(event.start, behind.start), behind.end - 1) : event.start;
    const { stills, now } = this.effects;
    const { image } = await stills.at(camera, this.options.stream, Math.round(time), THUMBNAIL_WIDTH, now());
    return image;
  }

  private async preview({ camera, start, end }: MadeClip): Promise<Buffer> {
    const { stills, now } = this.effects;
    const range = { start, end, count: PREVIEW_FRAMES, width: PREVIEW_WIDTH };
    return animate(await stills.strip(camera, this.options.stream, range, now()));
  }

  private async small(
    job: ClipJob,
    { camera, file, coverage }: MadeClip,
  ): Promise<{ clip: MadeClip['small']; reason: string | null }> {
    const wanted = job.events.map(({ smallBytes }) => smallBytes).filter((bytes) => bytes !== undefined);
    const maxBytes = wanted.length > 0 ? Math.min(...wanted) : this.options.smallBytes;
    if (maxBytes === null) return { clip: null, reason: null };
    const durationMs = coverage!.recorded.reduce((sum, { start, end }) => sum + end - start, 0);
    const output = file!.replace(/\.mp4$/, '_small.mp4');
    try {
      const { ffmpegPath } = this.effects;
      await emptyFile(output, this.effects.modes);
      const of = { durationMs, hasAudio: true, maxBytes };
      return { clip: await makeSmall(ffmpegPath, file!, output, of, this.ended.signal), reason: null };
    } catch (error) {
      this.ended.signal.throwIfAborted();
      const reason = `no small version of ${camera}: ${error instanceof Error ? error.message : String(error)}`;
      this.effects.warn(reason);
      return { clip: null, reason };
    }
  }
}

/** Nothing more comes to the disk: it is told why, and not just late, or it is too late. */
function isOver({ gaps, deleted, end }: Coverage, nowMs: number): boolean {
  if (nowMs - end > LATE_MS) return true;
  const told = Math.max(...[...gaps, ...deleted].map((range) => range.end), 0);
  return nowMs - end > STALLED_MS && told >= end - TAIL_MS;
}

/** Under a name of its own, without a second copy where the disk can do that. */
async function place(from: string, to: string): Promise<void> {
  await rm(to, { force: true }); // of an attempt before
  try {
    await link(from, to);
  } catch {
    await copyFile(from, to, constants.COPYFILE_FICLONE); // a disk without links; its own error tells if that is not it
  }
}

/** The promise, unless the signal ends the wait for it. */
function unless<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
