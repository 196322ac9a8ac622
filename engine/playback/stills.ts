/** Pictures of a moment, and strips of them for scrubbing. Made by FFmpeg from keyframes, scaled by sharp, kept. */
import type { EngineHost } from '../engine-host.ts';
import { runJob } from '../ingest/ffmpeg-process.ts';
import { BOUNDED } from '../media/decoding.ts';
import { openJpeg } from '../media/jpeg.ts';
import { stillAtArgs } from '../media/still.ts';
import { modesOf } from '../recording/file-modes.ts';
import { EngineError, type StreamName } from '../types.ts';
import { FairTurns } from './fair-turns.ts';
import type { QueryHost } from './query-host.ts';
import { StripStore } from './strip-store.ts';

export interface Still {
  image: Buffer;
  /** When it was taken, ms. */
  time: number;
}

export interface Strip {
  /** One row of pictures of equal size. */
  image: Buffer;
  /** When each of them was taken, from left to right. */
  times: number[];
}

const TIMEOUT_MS = 15_000;
const MAX_CACHE_BYTES = 64 * 1024 * 1024;
const AT_ONCE = 2;
/** What was recorded so long ago is in files that do not change any more. */
const SETTLED_MS = 60_000;
/** What may still change serves those who ask at the same time. */
const UNSETTLED_GOOD_MS = 5000;
const MAX_WAITING = 50;

/** The keyframes of the fMP4 on stdin side by side. */
export function stripArgs(count: number, width: number): string[] {
  return [
    ...['-hide_banner', '-loglevel', 'error', ...BOUNDED, '-skip_frame', 'nokey', '-f', 'mp4', '-i', 'pipe:0'],
    ...['-map', '0:v:0', '-vf', `scale=${width}:-2,tile=${count}x1`, '-fps_mode', 'passthrough', '-frames:v', '1'],
    ...['-f', 'image2pipe', '-c:v', 'mjpeg', '-q:v', '4', 'pipe:1'],
  ];
}

export class Stills {
  private readonly host: Pick<EngineHost, 'config' | 'snapshot'>;
  private readonly query: QueryHost;
  private readonly cache = new Map<string, { bytes: number; value: Still | Strip; goodUntil: number }>();
  private cacheBytes = 0;
  private readonly turns = new FairTurns({
    ...{ atOnce: AT_ONCE, mostWaiting: MAX_WAITING, busy: 'too many pictures at once; try again later' },
  });

  private readonly strips: StripStore;

  /** @param folder where strips are kept */
  constructor(host: Pick<EngineHost, 'config' | 'snapshot'>, query: QueryHost, folder: string) {
    this.host = host;
    this.query = query;
    this.strips = new StripStore(folder, modesOf(host.config.readers));
  }

  /** The picture of now. Rejects with `offline`, `unknown-camera`, `busy`. */
  async now(camera: string, width: number | null): Promise<Still> {
    const { image, time } = await this.turns.run(() => this.host.snapshot(camera));
    return { image: await scaled(Buffer.from(image), width), time };
  }

  /** The picture of a recorded moment. Rejects with `not-found`. */
  at(camera: string, stream: StreamName, time: number, width: number | null, nowMs: number): Promise<Still> {
    const lasting = isSettled(time, nowMs);
    return this.cached(`still ${camera} ${stream} ${time} ${width}`, nowMs, lasting, async () => {
      const { runs } = await this.query.call('at', camera, stream, time, nowMs);
      const [run] = runs;
      const chunk = run?.chunks[0];
      if (!chunk) throw new EngineError('not-found', 'nothing is recorded at this moment');
      const init = await this.query.call('init', camera, run.init);
      const media = await this.query.call('media', camera, chunk.segment, chunk.firstGop, 1, run.timescale);
      const input = Buffer.concat([init, media]);
      // The picture that was on show at that moment began at most a frame before it. The GOP begins at one second.
      const frameMs = chunk.durationMs / Math.max(1, chunk.frames);
      const offset = 1000 + Math.max(0, time - chunk.startMs - frameMs + 1);
      let job = await runJob(this.host.config.ffmpegPath, stillAtArgs(offset), { timeoutMs: TIMEOUT_MS, input });
      // Behind the last picture of the GOP.
      if (job.stdout.length === 0)
        job = await runJob(this.host.config.ffmpegPath, stillAtArgs(1000), { timeoutMs: TIMEOUT_MS, input });
      if (job.stdout.length === 0) {
        throw new EngineError('ffmpeg', `no picture could be made: ${job.stderr.at(-1) ?? 'FFmpeg gave no reason'}`);
      }
      return { image: await scaled(job.stdout, width), time };
    });
  }

  /** `count` pictures of a range, from keyframes alone. Rejects with `not-found`. */
  strip(
    camera: string,
    stream: StreamName,
    range: { start: number; end: number; count: number; width: number },
    nowMs: number,
  ): Promise<Strip> {
    const key = `strip ${camera} ${stream} ${range.start} ${range.end} ${range.count} ${range.width}`;
    // What is still recorded will have other pictures.
    const lasting = isSettled(range.end, nowMs);
    return this.cached(key, nowMs, lasting, async () => {
      const kept = lasting ? await this.strips.get(key) : null;
      if (kept) return kept;
      const strip = await this.makeStrip(camera, stream, range, nowMs);
      // A full disk costs the next who asks some time, and nobody the pictures.
      if (lasting) await this.strips.put(key, strip).catch(() => undefined);
      return strip;
    });
  }

  private async makeStrip(
    camera: string,
    stream: StreamName,
    { start, end, count, width }: { start: number; end: number; count: number; width: number },
    nowMs: number,
  ): Promise<Strip> {
    const wanted = Array.from({ length: count }, (_, i) => Math.round(start + ((end - start) * i) / count));
    const { media, times } = await this.query.call('keyframes', camera, stream, wanted, nowMs);
    if (times.length === 0) throw new EngineError('not-found', 'nothing is recorded in this range');
    const job = await runJob(this.host.config.ffmpegPath, stripArgs(times.length, width), {
      ...{ timeoutMs: TIMEOUT_MS, input: Buffer.from(media) },
    });
    if (job.stdout.length === 0) {
      throw new EngineError('ffmpeg', `no pictures could be made: ${job.stderr.at(-1) ?? 'FFmpeg gave no reason'}`);
    }
    return { image: job.stdout, times };
  }

  private async cached<T extends Still | Strip>(
    key: string,
    nowMs: number,
    lasting: boolean,
    make: () => Promise<T>,
  ): Promise<T> {
    const known = this.cache.get(key);
    if (known && nowMs < known.goodUntil) {
      this.cache.delete(key);
      this.cache.set(key, known); // the last used is the last to go
      return known.value as T;
    }
    const value = await this.turns.run(make);
    this.forget(key); // what is good no more, or was made meanwhile
    const bytes = value.image.length;
    this.cache.set(key, { bytes, value, goodUntil: lasting ? Infinity : nowMs + UNSETTLED_GOOD_MS });
    this.cacheBytes += bytes;
    for (const oldest of this.cache.keys()) {
      if (this.cacheBytes <= MAX_CACHE_BYTES) break;
      this.forget(oldest);
    }
    return value;
  }

  private forget(key: string): void {
    this.cacheBytes -= this.cache.get(key)?.bytes ?? 0;
    this.cache.delete(key);
  }
}

const isSettled = (time: number, nowMs: number): boolean => time < nowMs - SETTLED_MS;

async function scaled(image: Buffer, width: number | null): Promise<Buffer> {
  if (width === null) return image;
  return (await openJpeg(image)).resize({ width, withoutEnlargement: true }).jpeg({ quality: 82 }).toBuffer();
}
