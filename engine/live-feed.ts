/** Media on its way to viewers: the streams that somebody watches, as fast as their thread takes them. */
import type { Camera } from './camera.ts';
import type { TimedFragment } from './media/gop-ring.ts';
import { codecsOf, type InitSegment } from './media/init-segment.ts';
import { EngineError, type StreamName } from './types.ts';

/** What a watched stream sends: its init segment whenever a run begins, and its fragments. */
export type LiveMedia =
  | { kind: 'init'; data: Uint8Array; codecs: string; width: number; height: number; hasAudio: boolean }
  | { kind: 'fragment'; data: Uint8Array; key: boolean; startMs: number; endMs: number };

/** Bytes of one stream under way; beyond that its viewers skip to a keyframe, for their thread is busy. */
const MAX_BACKLOG = 8 * 1024 * 1024;

export class LiveFeed {
  private readonly send: (camera: string, stream: StreamName, media: LiveMedia, transfer: ArrayBuffer[]) => void;
  private readonly watched = new Map<string, { backlog: number; skipping: boolean }>();

  constructor(send: (camera: string, stream: StreamName, media: LiveMedia, transfer: ArrayBuffer[]) => void) {
    this.send = send;
  }

  /** Begins with the current GOP, at once. Throws `no-stream`. */
  watch(camera: Camera, stream: StreamName): void {
    const { id } = camera.spec;
    if (!camera.streamState(stream)) throw new EngineError('no-stream', `camera ${id} has no ${stream} stream`);
    this.watched.set(`${id} ${stream}`, { backlog: 0, skipping: false });
    camera.setWatched(stream, true);
    const init = camera.initOf(stream);
    if (!init) return;
    this.run(id, stream, init);
    for (const fragment of camera.currentGop(stream)) this.fragment(id, stream, fragment);
  }

  unwatch(camera: string, stream: StreamName): void {
    this.watched.delete(`${camera} ${stream}`);
  }

  isWatched(camera: string, stream: StreamName): boolean {
    return this.watched.has(`${camera} ${stream}`);
  }

  /** The viewers' thread has taken so many bytes. */
  acknowledge(camera: string, stream: StreamName, bytes: number): void {
    const watched = this.watched.get(`${camera} ${stream}`);
    if (watched) watched.backlog -= bytes;
  }

  run(camera: string, stream: StreamName, init: InitSegment): void {
    if (!this.isWatched(camera, stream)) return;
    const { width, height } = init.video;
    const [codecs, hasAudio] = [codecsOf(init), init.audio !== null];
    this.send(camera, stream, { kind: 'init', data: init.data, codecs, width, height, hasAudio }, []);
  }

  fragment(camera: string, stream: StreamName, { data, key, startMs, endMs }: TimedFragment): void {
    const watched = this.watched.get(`${camera} ${stream}`);
    if (!watched) return;
    if (watched.backlog > MAX_BACKLOG) watched.skipping = true;
    if (watched.skipping && !(key && watched.backlog < MAX_BACKLOG / 2)) return;
    watched.skipping = false;
    watched.backlog += data.length;
    const copy = new Uint8Array(data); // the ring's memory is used again
    this.send(camera, stream, { kind: 'fragment', data: copy, key, startMs, endMs }, [copy.buffer]);
  }
}
