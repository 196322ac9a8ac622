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
import { allows, type Access } from './tokens.ts';

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
  | { type: 'event'; cameras: string[]; event: IndexedEvent };

type Kind = FeedMessage['type'];
type Of<K extends Kind> = Extract<FeedMessage, { type: K }>;
type MaySee = (camera: string) => boolean;

const ofCamera = <M extends { camera: string }>(message: M, { cameras }: Audience): M | null =>
  cameras === '*' || cameras(message.camera) ? message : null;
const SOMETHING = 'something is wrong with the NVR: whoever runs it can see what';

/** Who listens: all cameras, or some. */
interface Audience {
  cameras: '*' | MaySee;
}

/** What each kind of message tells those who may see some cameras only. One that is not in here does not compile. */
const SHOWN: { [K in Kind]: (message: Of<K>, audience: Audience) => FeedMessage | null } = {
  hello: (message, audience) => {
    const { cameras: maySee } = audience;
    if (maySee === '*') return message;
    const some = <T extends { camera: string }>(all: readonly T[]): T[] => all.filter(({ camera }) => maySee(camera));
    const { cameras, recorders, motions, ptz, problem } = message;
    return {
      ...{ ...message, cameras: some(cameras), recorders: some(recorders), motions: some(motions) },
      ...{ ptz: ptz.filter(maySee), problem: problem && SOMETHING },
    };
  },
  camera: ofCamera,
  'camera-removed': ofCamera,
  recorder: ofCamera,
  motion: ofCamera,
  gap: ofCamera,
  // It is about the whole NVR, and may name a disk.
  problem: (message, { cameras }) =>
    cameras === '*' ? message : { ...message, message: message.message && SOMETHING },
  tick: (message) => message,
  // One without cameras is about the plant; one of several tells of all of them, in its words, too.
  event: (message, { cameras }) =>
    cameras === '*' || (message.cameras.length > 0 && message.cameras.every(cameras)) ? message : null,
};

/** What of a message somebody may know; null for nothing. */
export function shownTo(message: FeedMessage, access: Access): FeedMessage | null {
  const maySee: MaySee = (camera) => allows(access, camera, 'live');
  // Looked up by the message's own kind, so that it is what the function takes.
  const shown = SHOWN[message.type] as (message: FeedMessage, audience: Audience) => FeedMessage | null;
  return shown(message, { cameras: access.cameras === '*' ? '*' : maySee });
}

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

  /** Tells all who watch; {@link shownTo} says what of it each of them may know. */
  private publish(message: FeedMessage): void {
    this.emit('message', message);
  }

  /** What is true now; {@link shownTo} says what of it somebody may know. */
  hello(ptz: Iterable<string>): FeedHello {
    return {
      type: 'hello',
      now: Date.now(),
      cameras: this.host.cameraMessages,
      recorders: [...this.recorders.keys()].map((camera) => this.view(camera)),
      motions: [...this.motions.values()],
      ptz: [...ptz],
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

  /** As the index tells it. */
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
