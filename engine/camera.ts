/** One camera at work: its streams, their rings, and its state put together from theirs. */
import type { Clock } from './clock.ts';
import { StreamIngest, type IngestEffects, type IngestState } from './ingest/stream-ingest.ts';
import { GopRing, type TimedFragment } from './media/gop-ring.ts';
import { codecsOf, type InitSegment } from './media/init-segment.ts';
import type { CameraMessage, CameraSpec, CameraState, StreamInfo, StreamName } from './types.ts';

export interface CameraListener {
  run(stream: StreamName, init: InitSegment): void;
  fragment(stream: StreamName, fragment: TimedFragment, ring: GopRing): void;
  clockStep(stream: StreamName): void;
  state(message: CameraMessage): void;
}

interface Stream {
  ingest: StreamIngest;
  ring: GopRing;
  init: InitSegment | null;
  state: IngestState;
}

export class Camera {
  readonly spec: CameraSpec;
  private readonly clock: Clock;
  private readonly listener: CameraListener;
  private readonly streams = new Map<StreamName, Stream>();
  private state: CameraState;

  /** Throws `bad-url`. */
  constructor(spec: CameraSpec, listener: CameraListener, effects: IngestEffects) {
    this.spec = spec;
    this.clock = effects.clock;
    this.listener = listener;
    this.state = { state: 'stopped', since: this.clock.now() };
    const names: StreamName[] = spec.subUrl ? ['main', 'sub'] : ['main'];
    for (const name of names) this.streams.set(name, this.makeStream(name, effects));
  }

  private makeStream(name: StreamName, effects: IngestEffects): Stream {
    const ring = new GopRing();
    const ingest = new StreamIngest(
      this.spec,
      name,
      {
        state: (state) => {
          stream.state = state;
          this.update();
        },
        run: (init) => {
          stream.init = init;
          ring.clear();
          this.listener.run(name, init);
        },
        fragment: (fragment) => {
          ring.push(fragment);
          this.listener.fragment(name, fragment, ring);
        },
        clockStep: () => {
          ring.clear();
          this.listener.clockStep(name);
        },
      },
      effects,
    );
    const stream: Stream = { ingest, ring, init: null, state: { state: 'stopped' } };
    return stream;
  }

  start(): void {
    for (const stream of this.streams.values()) stream.ingest.start();
  }

  async stop(): Promise<void> {
    await Promise.all([...this.streams.values()].map((stream) => stream.ingest.stop()));
  }

  restart(): void {
    for (const stream of this.streams.values()) stream.ingest.restart();
  }

  keepMs(name: StreamName, ms: number): void {
    const stream = this.streams.get(name);
    if (stream) stream.ring.keepMs = ms;
  }

  /** A stream that somebody watches is read as soon as there is something. */
  setWatched(name: StreamName, watched: boolean): void {
    this.streams.get(name)?.ingest.setEager(watched);
  }

  /** A stream that is looked at all the time is read more often. */
  setAnalysed(name: StreamName, analysed: boolean): void {
    this.streams.get(name)?.ingest.setBrisk(analysed);
  }

  /** The fragments since the last keyframe; none while the stream is down. */
  currentGop(name: StreamName): TimedFragment[] {
    const stream = this.streams.get(name);
    return stream?.state.state === 'online' ? stream.ring.since(Infinity) : [];
  }

  /** The stream to analyse. */
  get smallest(): StreamName {
    return this.streams.has('sub') ? 'sub' : 'main';
  }

  /** Fragments from the keyframe at or before that time on, or from the oldest that is still held. */
  since(name: StreamName, ms: number): TimedFragment[] {
    return this.streams.get(name)?.ring.since(ms) ?? [];
  }

  /** The media that shows a moment, and where in its own time that is; null when there is none. */
  mediaAt(name: StreamName, ms: number): { data: Buffer; offsetMs: number } | null {
    const stream = this.streams.get(name);
    const fragments = this.since(name, ms);
    const last = fragments.findLast(({ startMs }) => startMs <= ms) ?? fragments[0];
    if (!stream?.init || !last) return null;
    const until = fragments.slice(0, fragments.indexOf(last) + 1);
    // The last frame of a fragment begins a frame's length before its end.
    const frameMs = (last.endMs - last.startMs) / Math.max(1, last.frames);
    const into = Math.max(0, Math.min(ms - last.startMs, last.endMs - last.startMs - frameMs));
    const offsetMs = (last.startTicks * 1000) / stream.init.video.timescale + into - frameMs + 1;
    return {
      data: Buffer.concat([stream.init.data, ...until.map(({ data }) => data)]),
      offsetMs: Math.max(0, offsetMs),
    };
  }

  streamState(name: StreamName): IngestState | null {
    return this.streams.get(name)?.state ?? null;
  }

  initOf(name: StreamName): InitSegment | null {
    return this.streams.get(name)?.init ?? null;
  }

  /** Init segment and the last keyframe's fragment of the main stream, to make a picture of; null when offline. */
  keyframe(): { media: Buffer; time: number } | null {
    const main = this.streams.get('main')!;
    const fragment = main.ring.keyframe();
    if (!main.init || !fragment || main.state.state !== 'online') return null;
    return { media: Buffer.concat([main.init.data, fragment.data]), time: fragment.startMs };
  }

  message(): CameraMessage {
    const streams: Partial<Record<StreamName, StreamInfo>> = {};
    const metrics: CameraMessage['metrics'] = {};
    for (const [name, { init, ingest }] of this.streams) {
      metrics[name] = ingest.metrics();
      if (!init) continue;
      const { width, height } = init.video;
      streams[name] = { name, codecs: codecsOf(init), width, height, hasAudio: init.audio !== null };
    }
    return { type: 'camera', camera: this.spec.id, name: this.spec.name, ...this.state, streams, metrics };
  }

  /** The main stream makes the state; one that is down is `offline` even while its next try is `connecting`. */
  private update(): void {
    const main = this.streams.get('main')?.state;
    if (!main) return;
    const before = this.state;
    const since = this.clock.now();
    let next: CameraState;
    if (main.state === 'connecting') {
      if (before.state === 'offline' || before.state === 'connecting') return;
      next = { state: 'connecting', since };
    } else if (main.state === 'offline') {
      if (before.state === 'offline' && before.reason === main.reason) return;
      next = {
        state: 'offline',
        since: before.state === 'offline' ? before.since : since,
        reason: main.reason,
        detail: main.detail,
      };
    } else {
      if (before.state === main.state) return;
      next = { state: main.state, since };
    }
    this.state = next;
    this.listener.state(this.message());
  }
}
