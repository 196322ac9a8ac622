/**
 * The analyses of an engine: sends each what it wants of its stream, without ever waiting for it, and starts their thread
 * again when it dies. Runs in the engine's thread.
 */
import { copyKeyframe } from '../media/fragment.ts';
import type { TimedFragment } from '../media/gop-ring.ts';
import type { InitSegment } from '../media/init-segment.ts';
import type { MotionReply, MotionRequest, TuningPicture } from '../thread/motion-thread.ts';
import { EngineError, type MotionSpec, type StreamName } from '../types.ts';
import type { ActivityMinute } from './activity.ts';
import type { AnalyserState } from './analyser.ts';
import type { FrameMotion, MotionEvent, MotionPhase } from './types.ts';

export interface AnalysesBackend {
  /** Starts the thread. */
  start(
    onReply: (reply: MotionReply) => void,
    onEnd: (reason: string) => void,
  ): { send(request: MotionRequest, transfer?: ArrayBuffer[]): void; stop(): void };
  after(ms: number, call: () => void): () => void;
}

/** What analyses need of cameras. */
export interface Footage {
  initOf(camera: string, stream: StreamName): InitSegment | null;
  /** The stream to analyse: the small one where there is one. */
  streamOf(camera: string): StreamName | null;
  /** Fragments from the keyframe at or before that time on, of those still held. */
  since(camera: string, stream: StreamName, ms: number): TimedFragment[];
  /** Whether all of its pictures are looked at now. */
  analysed(camera: string, stream: StreamName, all: boolean): void;
}

export interface AnalysesSink {
  /** @param time of the picture that shows it */
  event(of: { node: string; camera: string }, event: MotionEvent, time: number): void;
  frame(spec: MotionSpec, frame: FrameMotion): void;
  activity(camera: string, minute: ActivityMinute): void;
  state(spec: MotionSpec, state: AnalyserState): void;
  problem(message: string): void;
}

interface Analysis {
  spec: MotionSpec;
  stream: StreamName;
  all: boolean;
  backlog: number;
  skipping: boolean;
}

/** Bytes on their way to the thread; beyond that it is busy, and misses what comes until a keyframe. */
const MAX_BACKLOG = 8 * 1024 * 1024;
const RESTART_MS = 1000;
const PICTURE_MS = 5000;
/** A camera that stands still sends the last of its movement: it swings out, focuses, and its encoder is behind. */
const SETTLE_MS = 1000;

export class Analyses {
  private readonly backend: AnalysesBackend;
  private readonly footage: Footage;
  private readonly sink: AnalysesSink;
  private readonly analyses = new Map<string, Analysis>();
  /** Events that go on, by their analyses: those of a thread that dies end with the last that it told. */
  private readonly open = new Map<string, { event: MotionPhase; time: number }>();
  private readonly asked = new Map<number, (picture: TuningPicture | null) => void>();
  private nextAsk = 1;
  /** Until when a camera's pictures show its own movement. */
  private readonly turning = new Map<string, number>();
  private thread: ReturnType<AnalysesBackend['start']> | null = null;
  private closed = false;

  constructor(backend: AnalysesBackend, footage: Footage, sink: AnalysesSink) {
    this.backend = backend;
    this.footage = footage;
    this.sink = sink;
  }

  /** Begins or changes the analysis of a camera by a node. */
  set(spec: MotionSpec): void {
    const key = keyOf(spec);
    const known = this.analyses.get(key);
    const stream = this.footage.streamOf(spec.camera);
    if (!stream) throw new EngineError('unknown-camera', `there is no camera ${spec.camera}`);
    if (known?.stream === stream) {
      known.spec = spec;
      this.send(setOf(key, spec));
      return;
    }
    if (known) this.send({ op: 'remove', key });
    const analysis: Analysis = { spec, stream, all: false, backlog: 0, skipping: true };
    this.analyses.set(key, analysis);
    if (this.thread) this.begin(key, analysis);
    else this.start();
  }

  remove(node: string, camera: string): void {
    const key = keyOf({ node, camera });
    const { stream } = this.analyses.get(key) ?? {};
    if (!this.analyses.delete(key)) return;
    this.send({ op: 'remove', key });
    this.pace(camera, stream!);
  }

  /** The analyses of a camera that is gone. */
  removeCamera(camera: string): void {
    this.turning.delete(camera);
    for (const { spec } of this.analyses.values()) if (spec.camera === camera) this.remove(spec.node, camera);
  }

  /**
   * A camera begins to turn, or stands since `nowMs`. What moves in its pictures meanwhile is not motion, so they are not
   * looked at; what it sees afterwards is learned anew.
   */
  setTurning(camera: string, turning: boolean, nowMs: number): void {
    this.turning.set(camera, turning ? Infinity : nowMs + SETTLE_MS);
    if (turning) return;
    for (const [key, { spec }] of this.analyses) if (spec.camera === camera) this.send({ op: 'restart', key });
  }

  has(node: string, camera: string): boolean {
    return this.analyses.has(keyOf({ node, camera }));
  }

  /** Another camera under the same name: it may have other streams. */
  cameraChanged(camera: string): void {
    for (const { spec, stream } of this.analyses.values()) {
      if (spec.camera !== camera) continue;
      this.set(spec);
      this.pace(camera, stream);
    }
  }

  wants(camera: string, stream: StreamName): boolean {
    for (const analysis of this.analyses.values())
      if (analysis.spec.camera === camera && analysis.stream === stream) return true;
    return false;
  }

  run(camera: string, stream: StreamName, init: InitSegment): void {
    this.each(camera, stream, (key, analysis) => this.sendInit(key, analysis, init));
  }

  fragment(camera: string, stream: StreamName, fragment: TimedFragment): void {
    this.each(camera, stream, (key, analysis) => {
      if (analysis.all || fragment.key) this.pass(key, analysis, fragment);
    });
  }

  /** What an analysis sees, for its dialog; null before its first picture. Rejects with `not-found`. */
  picture(node: string, camera: string): Promise<TuningPicture | null> {
    const key = keyOf({ node, camera });
    if (!this.analyses.has(key) || !this.thread) {
      return Promise.reject(new EngineError('not-found', `camera ${camera} is not analysed by this node`));
    }
    const id = this.nextAsk++;
    return new Promise((resolve) => {
      const cancel = this.backend.after(PICTURE_MS, () => this.answer(id, null));
      this.asked.set(id, (picture) => {
        cancel();
        resolve(picture);
      });
      this.send({ op: 'picture', key, id });
    });
  }

  /** Ends what is open; the answers come before {@link stop}. */
  close(): void {
    this.closed = true;
    for (const key of this.analyses.keys()) this.send({ op: 'remove', key });
  }

  stop(): void {
    this.thread?.stop();
    this.thread = null;
  }

  private pace(camera: string, stream: StreamName): void {
    let all = false;
    this.each(camera, stream, (_, analysis) => (all ||= analysis.all));
    this.footage.analysed(camera, stream, all);
  }

  private answer(id: number, picture: TuningPicture | null): void {
    this.asked.get(id)?.(picture);
    this.asked.delete(id);
  }

  private each(camera: string, stream: StreamName, call: (key: string, analysis: Analysis) => void): void {
    for (const [key, analysis] of this.analyses)
      if (analysis.spec.camera === camera && analysis.stream === stream) call(key, analysis);
  }

  private start(): void {
    const thread = this.backend.start(
      (reply) => this.onReply(reply),
      (reason) => {
        if (this.thread !== thread || this.closed) return;
        this.thread = null;
        for (const [key, { event, time }] of this.open) {
          this.told(key, { ...event, phase: 'end', end: Math.max(event.start, time) }, time);
        }
        this.sink.problem(`motion detection stopped (${reason}) and is started again`);
        this.backend.after(RESTART_MS, () => {
          if (!this.thread && !this.closed) this.start();
        });
      },
    );
    this.thread = thread;
    for (const [key, analysis] of this.analyses) this.begin(key, analysis);
  }

  private begin(key: string, analysis: Analysis): void {
    Object.assign(analysis, { all: false, backlog: 0, skipping: true });
    this.send(setOf(key, analysis.spec));
    const init = this.footage.initOf(analysis.spec.camera, analysis.stream);
    if (init) this.sendInit(key, analysis, init);
  }

  private sendInit(key: string, analysis: Analysis, { data, video }: InitSegment): void {
    analysis.skipping = true;
    const { width, height, timescale } = video;
    this.send({ op: 'media', key, media: { kind: 'init', data, width, height, timescale } });
  }

  private pass(key: string, analysis: Analysis, fragment: TimedFragment): void {
    const { data, key: isKey, startMs, startTicks } = fragment;
    if (startMs < (this.turning.get(analysis.spec.camera) ?? 0)) {
      analysis.skipping = true;
      return;
    }
    if (analysis.backlog > MAX_BACKLOG) analysis.skipping = true;
    if (analysis.skipping && !(isKey && analysis.backlog < MAX_BACKLOG / 2)) return;
    analysis.skipping = false;
    analysis.backlog += data.length;
    // Copies: the ring's memory is used again.
    const copy = analysis.all ? new Uint8Array(data) : copyKeyframe(fragment);
    const media = { kind: 'fragment', data: copy, key: isKey, startMs, startTicks } as const;
    this.thread?.send({ op: 'media', key, media }, [copy.buffer]);
  }

  private send(request: MotionRequest): void {
    this.thread?.send(request);
  }

  private told(key: string, event: MotionEvent, time: number): void {
    if (event.phase === 'end') this.open.delete(key);
    else if (event.phase !== 'scene-change') this.open.set(key, { event, time });
    this.sink.event(ofKey(key), event, time);
  }

  private onReply(reply: MotionReply): void {
    if ('picture' in reply) {
      this.answer(reply.id, reply.picture);
      return;
    }
    const analysis = this.analyses.get(reply.key);
    if ('minute' in reply) {
      this.sink.activity(ofKey(reply.key).camera, reply.minute);
      return;
    }
    if ('event' in reply) {
      // Also of an analysis that was just removed: its events end.
      this.told(reply.key, reply.event, reply.time);
      return;
    }
    if (!analysis) return;
    if ('taken' in reply) {
      analysis.backlog -= reply.taken;
    } else if ('want' in reply) {
      const { camera } = analysis.spec;
      analysis.all = reply.want !== null;
      this.pace(camera, analysis.stream);
      if (reply.want === null) return;
      analysis.skipping = true;
      for (const fragment of this.footage.since(camera, analysis.stream, reply.want))
        this.pass(reply.key, analysis, fragment);
    } else if ('frame' in reply) {
      this.sink.frame(analysis.spec, reply.frame);
    } else {
      this.sink.state(analysis.spec, reply.state);
    }
  }
}

function keyOf({ node, camera }: { node: string; camera: string }): string {
  return `${node} ${camera}`;
}

function ofKey(key: string): { node: string; camera: string } {
  const [node = '', camera = ''] = key.split(' ');
  return { node, camera };
}

function setOf(key: string, { mode, settings, frames }: MotionSpec): MotionRequest {
  return { op: 'set', key, mode, settings, frames };
}
