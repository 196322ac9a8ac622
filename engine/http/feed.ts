/**
 * What happens, for those who watch: cameras, recordings, motion and what other nodes tell, as small messages. It keeps
 * what is true now, so that who comes later knows as much as who was there before.
 */
import { EventEmitter } from 'node:events';
import type { EngineHost } from '../engine-host.ts';
import type { IndexedEvent } from '../events/types.ts';
import type { Box } from '../motion/types.ts';
import type {
  CameraMessage,
  GapMessage,
  MotionMessage,
  RecorderState,
  RecordingMessage,
  RecordingTrigger,
} from '../types.ts';

/** Whether a camera is recorded, by all of its recorders together. */
export interface RecordingView {
  type: 'recorder';
  camera: string;
  recording: boolean;
  /** When the recording that goes on began; null while there is none. */
  since: number | null;
  trigger: RecordingTrigger | null;
  panic: boolean;
  /** What keeps it from recording, and what to do. */
  problem: string | null;
}

export interface MotionView {
  type: 'motion';
  camera: string;
  eventId: string;
  phase: 'start' | 'update' | 'end';
  start: number;
  end: number | null;
  /** Of the picture with these boxes. */
  time: number;
  score: number;
  boxes: Box[];
}

/** The first message of a feed, and again after each time it was interrupted. */
export interface FeedHello {
  type: 'hello';
  /** The NVR's clock, epoch ms. */
  now: number;
  cameras: CameraMessage[];
  recorders: RecordingView[];
  motions: MotionView[];
  /** Cameras that can be steered. */
  ptz: string[];
  /** What is wrong with the NVR as a whole. */
  problem: string | null;
}

export type FeedMessage =
  | FeedHello
  | CameraMessage
  | { type: 'camera-removed'; camera: string }
  | RecordingView
  | MotionView
  | GapMessage
  | { type: 'problem'; message: string | null }
  /** Now and then, so that a client whose connection is dead notices. */
  | { type: 'tick'; now: number }
  /** What nodes tell with {@link FeedHub.publish}. */
  | { type: 'event' | 'storage'; camera?: string; cameras?: string[]; [field: string]: unknown };

/** Boxes of one camera are told so often at most. */
const BOXES_MS = 200;
/** A camera that was taken away is noticed after this. */
const LOOK_MS = 3000;
const TICK_MS = 10_000;

interface Recorder {
  state: RecorderState;
  since: number | null;
  trigger: RecordingTrigger | null;
}

export class FeedHub extends EventEmitter<{ message: [FeedMessage] }> {
  private readonly host: EngineHost;
  private readonly cameras = new Set<string>();
  /** By camera and recorder. */
  private readonly recorders = new Map<string, Map<string, Recorder>>();
  private readonly motions = new Map<string, MotionView>();
  private readonly timers: NodeJS.Timeout[];

  constructor(host: EngineHost) {
    super();
    this.setMaxListeners(0);
    this.host = host;
    host.on('camera', this.onCamera);
    host.on('recorder', this.onRecorder);
    host.on('recording', this.onRecording);
    host.on('motion', this.onMotion);
    host.on('gap', this.onGap);
    host.on('problem', this.onProblem);
    host.on('event', this.onEvent);
    this.timers = [
      setInterval(() => this.look(), LOOK_MS).unref(),
      setInterval(() => this.publish({ type: 'tick', now: Date.now() }), TICK_MS).unref(),
    ];
  }

  close(): void {
    for (const timer of this.timers) clearInterval(timer);
    const { host } = this;
    host.off('camera', this.onCamera);
    host.off('recorder', this.onRecorder);
    host.off('recording', this.onRecording);
    host.off('motion', this.onMotion);
    host.off('gap', this.onGap);
    host.off('problem', this.onProblem);
    host.off('event', this.onEvent);
  }

  /** Tells all who watch; what is about cameras goes to those who may see all of them. */
  publish(message: FeedMessage): void {
    this.emit('message', message);
  }

  /** What is true now of the cameras that somebody may see. */
  hello(maySee: (camera: string) => boolean, ptz: Iterable<string>): FeedHello {
    return {
      type: 'hello',
      now: Date.now(),
      cameras: this.host.cameraMessages.filter(({ camera }) => maySee(camera)),
      recorders: [...this.recorders.keys()].filter(maySee).map((camera) => this.view(camera)),
      motions: [...this.motions.values()].filter(({ camera }) => maySee(camera)),
      ptz: [...ptz].filter(maySee),
      problem: this.host.currentProblem,
    };
  }

  private view(camera: string): RecordingView {
    const all = [...(this.recorders.get(camera)?.values() ?? [])];
    const running = all.filter(({ state }) => state.recording);
    const since = running.flatMap((recorder) => recorder.since ?? []);
    return {
      ...{ type: 'recorder', camera, recording: running.length > 0 },
      since: since.length > 0 ? Math.min(...since) : null,
      trigger: running[0]?.trigger ?? null,
      panic: all.some(({ state }) => state.panic),
      problem: all.find(({ state }) => state.problem)?.state.problem?.message ?? null,
    };
  }

  private readonly onCamera = (message: CameraMessage): void => {
    this.cameras.add(message.camera);
    this.publish(message);
  };

  private readonly onRecorder = (state: RecorderState): void => {
    const recorders = this.recorders.get(state.camera) ?? new Map<string, Recorder>();
    this.recorders.set(state.camera, recorders);
    const known = recorders.get(state.recorder);
    const going = state.recording ? { since: known?.since ?? null, trigger: known?.trigger ?? null } : NOTHING;
    recorders.set(state.recorder, { state, ...going });
    this.publish(this.view(state.camera));
  };

  private readonly onRecording = (recorder: string, message: RecordingMessage): void => {
    const known = this.recorders.get(message.camera)?.get(recorder);
    if (message.phase === 'segment' || !known) return;
    if (message.phase === 'start') Object.assign(known, { since: message.start, trigger: message.trigger });
    this.publish(this.view(message.camera));
  };

  private readonly onMotion = (_node: string, message: MotionMessage): void => {
    if (message.type !== 'motion') return;
    const { camera, eventId, phase, start, end, time, score, boxes } = message;
    const last = this.motions.get(camera);
    const view: MotionView = { type: 'motion', camera, eventId, phase, start, end, time, score, boxes };
    if (phase === 'end') this.motions.delete(camera);
    else this.motions.set(camera, view);
    if (phase !== 'update' || !last || time - last.time >= BOXES_MS) this.publish(view);
  };

  private readonly onGap = (_recorder: string, message: GapMessage): void => this.publish(message);

  /** As the index tells it; who may not see all of its cameras hears nothing of it. */
  private readonly onEvent = (event: IndexedEvent): void => {
    this.publish({ type: 'event', cameras: event.cameras, event });
  };

  private readonly onProblem = (message: string | null): void => this.publish({ type: 'problem', message });

  private look(): void {
    const there = new Set(this.host.cameraMessages.map(({ camera }) => camera));
    for (const camera of this.cameras) {
      if (there.has(camera)) continue;
      this.cameras.delete(camera);
      this.recorders.delete(camera);
      this.motions.delete(camera);
      this.publish({ type: 'camera-removed', camera });
    }
  }
}

const NOTHING = { since: null, trigger: null };
