/** Encodes a live stream to H.264 while somebody watches, in hardware where the machine can, at low priority. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { spawnFfmpeg } from '../ingest/ffmpeg-process.ts';
import { lowerPriority } from '../thread/child.ts';
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
    ...['-hide_banner', '-loglevel', 'error', ...input, '-f', 'mp4', '-i', 'pipe:0', '-map', '0:v:0', '-map', '0:a:0?'],
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
  /** What came while the encoder was chosen. */
  private early: LiveFragment[] = [];

  constructor(ffmpegPath: string, sink: { media(media: LiveMedia): void; failed(message: string): void }) {
    this.ffmpegPath = ffmpegPath;
    this.sink = sink;
  }

  init(init: LiveInit): void {
    this.end();
    const run = ++this.run;
    this.early = [];
    findH264Encoder(this.ffmpegPath)
      .then((choice) => {
        if (run === this.run && !this.closed) this.start(init, choice);
      })
      .catch((error: unknown) => this.sink.failed(error instanceof Error ? error.message : String(error)));
  }

  private start(init: LiveInit, choice: EncoderChoice): void {
    const child = spawnFfmpeg(this.ffmpegPath, liveEncodeArgs(choice), 'pipe') as ChildProcessWithoutNullStreams;
    this.child = child;
    this.skipping = true;
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
    let said = '';
    lowerPriority(child, 10);
    child.on('error', (error) => this.sink.failed(`cannot encode for this viewer: ${error.message}`));
    child.stderr.on('data', (chunk: Buffer) => (said = chunk.toString().slice(-300)));
    child.stdout.on('data', (chunk: Buffer) => {
      if (this.child !== child) return;
      try {
        parser.push(chunk);
      } catch (error) {
        said = error instanceof Error ? error.message : String(error);
        child.kill('SIGKILL'); // `close` tells
      }
    });
    child.on('close', () => {
      if (this.child !== child) return;
      this.child = null;
      this.sink.failed(`encoding for this viewer ended: ${said.trim() || 'FFmpeg gave no reason'}`);
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
    child.stdin.write(fragment.data);
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
    child?.stdin.end();
    child?.kill('SIGTERM');
  }
}
