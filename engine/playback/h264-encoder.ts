/** Encodes a live stream to H.264 while somebody watches, in hardware where the machine can, at low priority. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { FedWatch, Retries } from '../ingest/fed-watch.ts';
import { ENCODER, LastLines, lowerPriority, startFfmpeg } from '../ingest/ffmpeg-process.ts';
import { BOUNDED } from '../media/decoding.ts';
import { FragmentParser } from '../media/fragment.ts';
import { codecsOf, type InitSegment } from '../media/init-segment.ts';
import type { LiveMedia } from '../live-feed.ts';
import { findH264Encoder, type EncoderChoice } from './hardware.ts';
import type { LiveFragment, LiveInit, Viewer } from './live-hub.ts';

/** The encoder's input may lag by this; then it skips to a keyframe. */
const MAX_WAITING_BYTES = 8 * 1024 * 1024;

/** Arguments of the live encoder: fMP4 on stdin, fMP4 with a keyframe a second on stdout. */
export function liveEncodeArgs({ input, filter, output }: EncoderChoice): string[] {
  return [
    ...['-hide_banner', '-loglevel', 'error', ...input, ...BOUNDED, '-f', 'mp4', '-i', 'pipe:0'],
    ...['-map', '0:v:0', '-map', '0:a:0?'],
    ...(filter ? ['-vf', filter] : []),
    ...[...output, '-force_key_frames', 'expr:gte(t,n_forced)', '-bf', '0', '-c:a', 'copy', '-f', 'mp4'],
    ...[
      '-movflags',
      '+empty_moov+default_base_moof+frag_keyframe',
      '-frag_duration',
      '120000',
      '-flush_packets',
      '1',
      'pipe:1',
    ],
  ];
}

export class H264Encoder implements Viewer {
  private readonly ffmpegPath: string;
  private readonly sink: { media(media: LiveMedia): void; failed(message: string): void };
  private child: ChildProcessWithoutNullStreams | null = null;
  private skipping = true;
  private closed = false;
  private run = 0;
  private watch = new FedWatch();
  private readonly retries = new Retries();
  private retry: NodeJS.Timeout | undefined;
  private restart: () => void = () => undefined;
  /** What came while there was no encoder. */
  private early: LiveFragment[] = [];

  constructor(ffmpegPath: string, sink: { media(media: LiveMedia): void; failed(message: string): void }) {
    this.ffmpegPath = ffmpegPath;
    this.sink = sink;
  }

  init(init: LiveInit): void {
    this.end();
    const run = ++this.run;
    this.early = [];
    findH264Encoder(this.ffmpegPath).then(
      (choice) => {
        this.restart = () => {
          if (run === this.run && !this.closed) this.start(init, choice);
        };
        this.restart();
      },
      (error: unknown) => this.sink.failed(messageOf(error)),
    );
  }

  private start(init: LiveInit, choice: EncoderChoice): void {
    let child: ChildProcessWithoutNullStreams;
    try {
      const options = { need: choice.uncaged ? 'uncaged' : ENCODER } as const;
      child = startFfmpeg(this.ffmpegPath, liveEncodeArgs(choice), options) as ChildProcessWithoutNullStreams;
    } catch (error) {
      this.sink.failed(messageOf(error));
      return;
    }
    this.child = child;
    this.skipping = true;
    const watch = (this.watch = new FedWatch());
    this.retries.started(performance.now());
    let found: InitSegment | null = null;
    let offsetMs: number | null = null;
    const parser = new FragmentParser(
      (encoded) => {
        found = encoded;
        const { width, height } = encoded.video;
        const codecs = codecsOf(encoded);
        this.sink.media({ kind: 'init', data: encoded.data, codecs, width, height, hasAudio: encoded.audio !== null });
      },
      ({ data, key, startTicks, durationTicks }) => {
        const startMs = (startTicks * 1000) / (found?.video.timescale ?? 1000);
        offsetMs ??= Date.now() - startMs;
        const times = { startMs: offsetMs + startMs, endMs: offsetMs + startMs + durationTicks };
        this.sink.media({ kind: 'fragment', data: new Uint8Array(data), key, ...times });
      },
    );
    const last = new LastLines([]);
    child.on('spawn', () => lowerPriority(child, 10));
    child.on('error', (error) => this.sink.failed(`cannot encode for this viewer: ${error.message}`));
    child.stdin.on('error', () => undefined); // `close` tells
    child.stderr.on('data', (chunk: Buffer) => last.push(chunk));
    child.stdout.on('data', (chunk: Buffer) => {
      if (this.child !== child) return;
      watch.gave();
      try {
        parser.push(chunk);
      } catch (error) {
        // What an encoder writes that a camera's media has led astray need not be MP4.
        this.end();
        this.sink.failed(`encoding for this viewer ended: ${messageOf(error)}`);
      }
    });
    child.on('close', () => {
      if (this.child !== child) return;
      this.child = null;
      last.end();
      this.sink.failed(`encoding for this viewer ended: ${last.lines.at(-1) ?? 'FFmpeg gave no reason'}`);
    });
    child.stdin.write(init.data);
    for (const fragment of this.early.splice(0)) this.fragment(fragment);
  }

  fragment(fragment: LiveFragment): void {
    const { child } = this;
    if (!child) {
      if (fragment.key) this.early = [];
      if (this.early.length < 1000) this.early.push(fragment);
      return;
    }
    if (child.stdin.writableLength > MAX_WAITING_BYTES) this.skipping = true;
    if (this.skipping && !(fragment.key && child.stdin.writableLength < MAX_WAITING_BYTES / 2)) return;
    this.skipping = false;
    if (this.watch.fed(performance.now())) this.hung();
    else child.stdin.write(fragment.data);
  }

  /** Another one begins at the next keyframe. */
  private hung(): void {
    this.end();
    this.retry = setTimeout(this.restart, this.retries.failed(performance.now()));
  }

  failed(message: string): void {
    this.sink.failed(message);
  }

  close(): void {
    this.closed = true;
    this.end();
  }

  private end(): void {
    const { child } = this;
    this.child = null;
    clearTimeout(this.retry);
    child?.stdin.end();
    child?.kill('SIGKILL'); // it has nothing to finish, and one that hangs takes no other
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
