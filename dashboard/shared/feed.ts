/** What the NVR tells as it happens (engine/http/feed.ts), kept as what is true now, for all widgets of a page. */
import { reactive } from 'vue';
import type { FeedMessage, MotionView, RecordingView } from '../../engine/http/feed.ts';
import type { CameraMessage } from '../../engine/types.ts';
import type { Session } from './session.ts';

export type CameraView = CameraMessage & {
  recorder: RecordingView | null;
  motion: MotionView | null;
  /** It can be steered. */
  ptz: boolean;
};

export interface FeedSocket {
  /** Does nothing while it is not open. */
  send(text: string): void;
  close(): void;
}

export interface FeedEffects {
  open(path: string, on: { text: (text: string) => void; close: () => void }): FeedSocket;
  after(ms: number, run: () => void): () => void;
  now(): number;
}

const RETRY_MS = [500, 1000, 2000, 5000];
/** The NVR tells something every 10 s at least. */
const SILENCE_MS = 25_000;

export type FeedListener = (message: FeedMessage) => void;

export class Feed {
  /** For templates and watchers. */
  readonly view = reactive({
    connected: false,
    cameras: new Map<string, CameraView>(),
    /** What is wrong with the NVR as a whole. */
    problem: null as string | null,
  });
  private readonly session: Session;
  private readonly effects: FeedEffects;
  private readonly listeners = new Set<FeedListener>();
  private socket: FeedSocket | null = null;
  private tries = 0;
  private offsetMs = 0;
  private heardMs = 0;
  private callOff: (() => void) | null = null;

  constructor(session: Session, effects: FeedEffects) {
    this.session = session;
    this.effects = effects;
    session.onToken((token) => this.socket?.send(JSON.stringify({ token })));
    this.connect();
    this.watch();
  }

  /** The NVR's clock, epoch ms. */
  now(): number {
    return this.effects.now() + this.offsetMs;
  }

  /** Every message as it comes: for what is no state, such as events. */
  on(listener: FeedListener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private connect(): void {
    this.session.socketPath('feed').then(
      (path) => {
        this.heardMs = this.effects.now();
        const socket = this.effects.open(path, {
          text: (text) => {
            if (this.socket === socket) this.take(JSON.parse(text) as FeedMessage);
          },
          close: () => {
            if (this.socket === socket) this.lost();
          },
        });
        this.socket = socket;
      },
      () => this.lost(),
    );
  }

  private lost(): void {
    const { socket } = this;
    this.socket = null;
    socket?.close();
    this.view.connected = false;
    this.callOff?.();
    this.callOff = this.effects.after(RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]!, () => {
      // A token may be from before a restart with other keys; and whether Node-RED is there is for all to know.
      void this.session.refresh();
      this.connect();
    });
  }

  private watch(): void {
    this.effects.after(SILENCE_MS / 5, () => {
      if (this.socket && this.effects.now() - this.heardMs > SILENCE_MS) this.lost();
      this.watch();
    });
  }

  private take(message: FeedMessage): void {
    this.heardMs = this.effects.now();
    const { cameras } = this.view;
    switch (message.type) {
      case 'hello': {
        this.tries = 0;
        this.offsetMs = message.now - this.effects.now();
        const there = new Set(message.cameras.map(({ camera }) => camera));
        for (const id of cameras.keys()) if (!there.has(id)) cameras.delete(id);
        for (const camera of message.cameras) {
          const { camera: id } = camera;
          cameras.set(id, {
            ...camera,
            recorder: message.recorders.find((recorder) => recorder.camera === id) ?? null,
            motion: message.motions.find((motion) => motion.camera === id) ?? null,
            ptz: message.ptz.includes(id),
          });
        }
        this.view.problem = message.problem;
        this.view.connected = true;
        break;
      }
      case 'camera': {
        const { recorder = null, motion = null, ptz = false } = cameras.get(message.camera) ?? {};
        cameras.set(message.camera, { ...message, recorder, motion, ptz });
        break;
      }
      case 'camera-removed':
        cameras.delete(message.camera);
        break;
      case 'recorder':
        this.patch(message.camera, { recorder: message });
        break;
      case 'motion':
        this.patch(message.camera, { motion: message.phase === 'end' ? null : message });
        break;
      case 'problem':
        this.view.problem = message.message;
        break;
      default:
    }
    for (const listener of this.listeners) listener(message);
  }

  private patch(camera: string, change: Partial<Pick<CameraView, 'recorder' | 'motion'>>): void {
    const known = this.view.cameras.get(camera);
    if (known) Object.assign(known, change);
  }
}
