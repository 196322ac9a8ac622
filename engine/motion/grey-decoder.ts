/**
 * Decodes fragments to small grey pictures, in an FFmpeg of low priority. Its stdout carries nothing but pixels; when each
 * picture was taken is printed on its stderr, a line before it.
 */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { LastLines, type Spawn } from '../ingest/ffmpeg-process.ts';
import { lowerPriority } from '../thread/child.ts';

/** Pictures of this width are enough for anything that is worth an event, and cost a thirtieth of 1080p. */
export const ANALYSIS_WIDTH = 320;
export const ANALYSIS_FPS = 5;
/** Lower than any recording's. */
const NICENESS = 12;
const MAX_PENDING = 200;

/** The size that pictures of this size are analysed in: no wider than {@link ANALYSIS_WIDTH}, of even height. */
export function analysisSize({ width, height }: { width: number; height: number }): { width: number; height: number } {
  const scale = Math.min(1, ANALYSIS_WIDTH / width, ANALYSIS_WIDTH / height);
  const even = (value: number): number => Math.max(16, 2 * Math.round((value * scale) / 2));
  return { width: even(width), height: even(height) };
}

/**
 * Nothing is decided from the media but from its header, so the first keyframe is not lost to probing; one thread on both
 * sides, for each of FFmpeg's frame threads holds a picture back. The time may go back: GOPs are sent again.
 */
export function greyArgs({ width, height }: { width: number; height: number }): string[] {
  const filters = [
    `select='isnan(prev_selected_t)+gte(t-prev_selected_t,${0.95 / ANALYSIS_FPS})+lt(t,prev_selected_t)'`,
    `scale=${width}:${height}:flags=area`,
    'format=gray',
    // `print` has nothing to say of a frame without metadata.
    "metadata=mode=add:key=t:value=1,metadata=mode=print:file='pipe\\:2':direct=1",
  ];
  return [
    ...['-hide_banner', '-loglevel', 'error', '-threads', '1', '-analyzeduration', '0', '-fpsprobesize', '0'],
    ...['-copyts', '-f', 'mp4', '-i', 'pipe:0', '-map', '0:v:0', '-vf', filters.join(','), '-fps_mode', 'passthrough'],
    ...['-c:v', 'rawvideo', '-threads', '1', '-f', 'rawvideo', '-flush_packets', '1', 'pipe:1'],
  ];
}

/** What FFmpeg prints for a picture. */
const PRINTED = /^frame:\d+\s+pts:\S+\s+pts_time:(-?[\d.]+)$/;

export interface GreySink {
  /**
   * A picture.
   * @param seconds its time in its stream
   * @param pixels valid during the call
   */
  picture(seconds: number, pixels: Uint8Array): void;
  /** FFmpeg ended by itself. */
  ended(reason: string): void;
}

export class GreyDecoder {
  readonly size: { width: number; height: number };
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly sink: GreySink;
  /** Times whose pictures have not come yet, or pictures whose times have not: the pipes are read in any order. */
  private readonly times: number[] = [];
  private readonly pictures: Uint8Array[] = [];
  private readonly pixels: Uint8Array;
  private filled = 0;
  private line = '';
  private closed = false;

  /** @param picture width and height of the stream */
  constructor(
    ffmpegPath: string,
    spawn: Spawn,
    init: { data: Uint8Array; width: number; height: number },
    sink: GreySink,
  ) {
    this.sink = sink;
    this.size = analysisSize(init);
    this.pixels = new Uint8Array(this.size.width * this.size.height);
    const child = spawn(ffmpegPath, greyArgs(this.size), 'pipe') as ChildProcessWithoutNullStreams;
    this.child = child;
    const said = new LastLines([]);
    lowerPriority(child, NICENESS);
    child.on('error', (error) => said.push(Buffer.from(`${error.message}\n`)));
    child.stdin.on('error', () => undefined); // `close` tells
    child.stderr.on('data', (chunk: Buffer) => this.onPrinted(chunk, said));
    child.stdout.on('data', (chunk: Buffer) => this.onPixels(chunk));
    child.on('close', () => {
      said.end();
      if (!this.closed) sink.ended(said.lines.at(-1) ?? 'FFmpeg gave no reason');
      this.closed = true;
    });
    child.stdin.write(init.data);
  }

  /** Bytes that wait for FFmpeg. */
  get backlog(): number {
    return this.child.stdin.writableLength;
  }

  /** Fragments, from a keyframe on. The memory is FFmpeg's from now on. */
  push(data: Uint8Array): void {
    if (!this.closed) this.child.stdin.write(data);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.child.stdin.end();
    this.child.kill('SIGKILL'); // it has nothing to finish
  }

  private onPrinted(chunk: Buffer, said: LastLines): void {
    const lines = (this.line + chunk.toString('latin1')).split('\n');
    this.line = (lines.pop() ?? '').slice(0, 4096);
    for (const line of lines) {
      const seconds = PRINTED.exec(line)?.[1];
      if (seconds !== undefined) this.onTime(Number(seconds));
      else if (line !== 't=1') said.push(Buffer.from(`${line}\n`));
    }
  }

  private onTime(seconds: number): void {
    const picture = this.pictures.shift();
    if (picture) this.tell(seconds, picture);
    else if (this.times.push(seconds) > MAX_PENDING) this.give('its pictures do not come');
  }

  private onPixels(chunk: Buffer): void {
    let taken = 0;
    while (taken < chunk.length) {
      const count = Math.min(chunk.length - taken, this.pixels.length - this.filled);
      this.pixels.set(chunk.subarray(taken, taken + count), this.filled);
      taken += count;
      this.filled += count;
      if (this.filled < this.pixels.length) return;
      this.filled = 0;
      const seconds = this.times.shift();
      if (seconds !== undefined) this.tell(seconds, this.pixels);
      else if (this.pictures.push(this.pixels.slice()) > MAX_PENDING)
        this.give('it does not say when its pictures are from');
    }
  }

  private tell(seconds: number, pixels: Uint8Array): void {
    if (!this.closed) this.sink.picture(seconds, pixels);
  }

  private give(reason: string): void {
    if (this.closed) return;
    this.close();
    this.sink.ended(`FFmpeg gives up: ${reason}`);
  }
}
