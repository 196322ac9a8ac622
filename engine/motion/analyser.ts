/**
 * Analyses one stream: asks for as much of it as its mode needs, decodes it, and makes events of what moves. `full` looks
 * at every picture; `keyframes` at keyframes only; `adaptive` at keyframes while nothing happens, and when one differs, at
 * everything since the one before, so that an event begins when it began. When decoding falls behind, it looks at
 * keyframes only for a while, and says so.
 */
import type { Clock } from '../clock.ts';
import { Retries } from '../ingest/fed-watch.ts';
import type { Spawn } from '../ingest/ffmpeg-process.ts';
import { ActivityLog, type ActivityMinute } from './activity.ts';
import { MotionEvents } from './events.ts';
import { GreyDecoder } from './grey-decoder.ts';
import { MotionModel } from './model.ts';
import type { FrameMotion, MotionEvent, MotionSettings } from './types.ts';

export type MotionMode = 'full' | 'adaptive' | 'keyframes';

/** What a stream sends to its analysis. Ticks are the container's. */
export type AnalysisMedia =
  | { kind: 'init'; data: Uint8Array; width: number; height: number; timescale: number }
  | { kind: 'fragment'; data: Uint8Array; key: boolean; startMs: number; startTicks: number };

export interface AnalyserState {
  /** The mode in force: that of the settings, unless the machine is too slow. */
  mode: MotionMode;
  slow: boolean;
  scene: FrameMotion['scene'];
  active: boolean;
  /** Pictures looked at a second. */
  fps: number;
  /** ms from a picture's arrival to its result, of late. */
  lagMs: number;
  /** Why nothing is analysed, or null. */
  problem: string | null;
}

export interface AnalyserSink {
  /** Fragments wanted from now on: all of them, beginning with those since that time; or with null, keyframes only. */
  want(sinceMs: number | null): void;
  /** @param time of the picture that shows it */
  event(event: MotionEvent, time: number): void;
  frame(motion: FrameMotion): void;
  activity(minute: ActivityMinute): void;
  state(state: AnalyserState): void;
}

export interface AnalyserEffects {
  clock: Clock;
  spawn: Spawn;
  ffmpegPath: string;
  newId: () => string;
}

/** Adaptive analysis goes back to keyframes after so long without motion. */
const QUIET_MS = 4000;
/** An event does not wait longer for a camera that went away. */
const SILENT_MS = 5000;
/** Bytes before the decoder that make it too slow, and how long it then looks at keyframes only, at first and at most. */
const MAX_BACKLOG = 3 * 1024 * 1024;
const SLOW_MS = 30_000;
const MAX_SLOW_MS = 15 * 60_000;
const TAKE_MS = 20_000;
const SHOWN_MS = 10_000;
const TICK_MS = 1000;
const MAX_ANCHORS = 400;
/** A state that has not changed is told again after so many seconds. */
const UNTOLD = 10;

export class Analyser {
  private readonly sink: AnalyserSink;
  private readonly effects: AnalyserEffects;
  private readonly model: MotionModel;
  private readonly events: MotionEvents;
  private readonly activity = new ActivityLog();
  private mode: MotionMode;
  private decoder: GreyDecoder | null = null;
  private init: Extract<AnalysisMedia, { kind: 'init' }> | null = null;
  /** Where the stream's times stand in UTC, oldest first. */
  private anchors: { seconds: number; ms: number; arrived: number }[] = [];
  private all = false;
  private lastTime = -Infinity;
  private lastArrival = -Infinity;
  private lastMotion = -Infinity;
  private lastTaken = 0;
  private slowUntil = 0;
  private slowMs = SLOW_MS;
  private restartAt = 0;
  private readonly retries = new Retries();
  private problem: string | null = null;
  private told = '';
  private untold = 0;
  private pictures = 0;
  private fps = 0;
  private lagMs = 0;
  private active = false;
  private scene: FrameMotion['scene'] = 'learning';
  /** The last picture, for tuning. */
  private shown: { pixels: Uint8Array; width: number; height: number; motion: FrameMotion } | null = null;
  /** Somebody looks; copies are made for nobody else. */
  private shownUntil = 0;
  private cancelTick: () => void;

  constructor(mode: MotionMode, settings: MotionSettings, sink: AnalyserSink, effects: AnalyserEffects) {
    this.mode = mode;
    this.sink = sink;
    this.effects = effects;
    this.model = new MotionModel(settings);
    this.events = new MotionEvents(settings, effects.newId);
    this.cancelTick = effects.clock.after(TICK_MS, () => this.tick());
    this.look(this.mode === 'full', -Infinity);
  }

  /** What was learned is kept. */
  configure(mode: MotionMode, settings: MotionSettings): void {
    this.model.configure(settings);
    this.events.configure(settings);
    this.mode = mode;
    this.choose();
  }

  /** The picture is another one now, after the camera was turned. */
  restart(): void {
    this.model.restart();
  }

  media(media: AnalysisMedia): void {
    if (media.kind === 'init') {
      this.init = media;
      this.startDecoder();
      return;
    }
    const { decoder, init } = this;
    if (!decoder || !init) return;
    this.lastArrival = this.effects.clock.monotonic();
    this.anchors.push({
      ...{ seconds: media.startTicks / init.timescale, ms: media.startMs, arrived: this.effects.clock.now() },
    });
    if (this.anchors.length > MAX_ANCHORS) this.anchors.splice(0, MAX_ANCHORS / 2);
    decoder.push(media.data, this.lastArrival);
    if (decoder.backlog > MAX_BACKLOG) this.tooSlow();
  }

  /** Bytes that came and are not decoded. */
  get backlog(): number {
    return this.decoder?.backlog ?? 0;
  }

  /** What the model sees, for somebody who tunes it; null before the first picture. */
  picture(): (NonNullable<Analyser['shown']> & { learned: ReturnType<MotionModel['picture']> }) | null {
    this.shownUntil = this.effects.clock.monotonic() + SHOWN_MS;
    return this.shown && { ...this.shown, learned: this.model.picture() };
  }

  /** Ends what is open. */
  close(): void {
    this.cancelTick();
    this.stopDecoder();
    this.end();
    this.save(true);
  }

  private startDecoder(): void {
    this.stopDecoder();
    if (!this.init) return;
    this.anchors = [];
    this.retries.started(this.effects.clock.monotonic());
    try {
      const decoder: GreyDecoder = new GreyDecoder(this.effects.ffmpegPath, this.effects.spawn, this.init, {
        picture: (seconds, pixels) => {
          if (this.decoder === decoder) this.onPicture(seconds, pixels, decoder);
        },
        ended: (reason) => {
          if (this.decoder === decoder) this.onEnded(reason);
        },
      });
      this.decoder = decoder;
    } catch (error) {
      this.onEnded(error instanceof Error ? error.message : String(error));
    }
  }

  private onEnded(reason: string): void {
    const now = this.effects.clock.monotonic();
    this.decoder = null;
    this.problem = `the stream cannot be decoded: ${reason}`;
    this.restartAt = now + this.retries.failed(now);
    this.tellState();
  }

  private stopDecoder(): void {
    this.decoder?.close();
    this.decoder = null;
    this.restartAt = 0;
  }

  private onPicture(seconds: number, pixels: Uint8Array, { size }: GreyDecoder): void {
    const anchor = this.anchors.findLast((one) => one.seconds <= seconds + 0.001) ?? this.anchors[0];
    if (!anchor) return;
    const time = Math.round(anchor.ms + (seconds - anchor.seconds) * 1000);
    if (time <= this.lastTime) return; // sent again
    const frame = { time, ...size, pixels };
    this.problem = null;
    if (this.mode === 'adaptive' && !this.all && this.lastTime > 0 && !this.isSlow() && this.model.differs(frame)) {
      // It is looked at again, behind those before it.
      this.lastMotion = time;
      this.look(true, this.lastTime);
      return;
    }
    const motion = this.model.step(frame);
    this.lastTime = time;
    this.pictures++;
    this.lagMs = 0.9 * this.lagMs + 0.1 * Math.max(0, this.effects.clock.now() - anchor.arrived);
    this.scene = motion.scene;
    if (motion.score > 0) this.lastMotion = time;
    for (const event of this.events.step(motion)) this.onEvent(event);
    const minute = this.activity.add(time, motion.cells);
    if (minute) this.sink.activity(minute);
    this.sink.frame(motion);
    if (this.shownUntil > this.effects.clock.monotonic()) this.keep(frame, motion);
    if (this.all && this.mode === 'adaptive' && !this.active && time - this.lastMotion > QUIET_MS) this.look(false, 0);
  }

  private keep(
    { width, height, pixels }: { width: number; height: number; pixels: Uint8Array },
    motion: FrameMotion,
  ): void {
    if (this.shown?.pixels.length !== pixels.length) {
      this.shown = { pixels: pixels.slice(), width, height, motion };
      return;
    }
    this.shown.pixels.set(pixels);
    this.shown.motion = motion;
  }

  private onEvent(event: MotionEvent): void {
    if (event.phase === 'start') this.active = true;
    if (event.phase === 'end') this.active = false;
    this.sink.event(event, this.lastTime);
  }

  private end(): void {
    for (const event of this.events.flush(this.lastTime)) this.onEvent(event);
  }

  private isSlow(): boolean {
    return this.slowUntil > this.effects.clock.monotonic();
  }

  private tooSlow(): void {
    this.slowUntil = this.effects.clock.monotonic() + this.slowMs;
    this.slowMs = Math.min(MAX_SLOW_MS, this.slowMs * 2);
    this.startDecoder(); // what waits for it is too old
    this.look(false, 0);
    this.tellState();
  }

  /** All fragments or keyframes only, as the mode in force says. */
  private choose(): void {
    if (this.mode === 'full' && !this.isSlow()) this.look(true, this.effects.clock.now());
    else if (this.mode === 'keyframes' || this.isSlow() || !this.active) this.look(false, 0);
  }

  private look(all: boolean, sinceMs: number): void {
    if (all === this.all) return;
    this.all = all;
    this.sink.want(all ? sinceMs : null);
  }

  private tick(): void {
    this.cancelTick = this.effects.clock.after(TICK_MS, () => this.tick());
    const now = this.effects.clock.monotonic();
    this.fps = this.pictures / (TICK_MS / 1000);
    this.pictures = 0;
    if (this.restartAt > 0 && now >= this.restartAt) this.startDecoder();
    // Keyframes may be seconds apart; a camera that is away sends nothing for longer.
    if (this.active && now - this.lastArrival > SILENT_MS + (this.all ? 0 : SILENT_MS)) this.end();
    if (this.slowUntil > 0 && now >= this.slowUntil) {
      this.slowUntil = 0;
      this.choose();
    } else if (this.slowUntil === 0 && this.slowMs > SLOW_MS) {
      this.slowMs = Math.max(SLOW_MS, this.slowMs - 100); // trusted again slowly
    }
    this.save(false);
    this.tellState();
  }

  private save(now: boolean): void {
    const mono = this.effects.clock.monotonic();
    if (!now && mono - this.lastTaken < TAKE_MS) return;
    this.lastTaken = mono;
    const minute = this.activity.take();
    if (minute) this.sink.activity(minute);
  }

  private tellState(): void {
    const slow = this.isSlow();
    const state: AnalyserState = {
      ...{ mode: slow ? 'keyframes' : this.mode, slow, scene: this.scene, active: this.active },
      ...{ fps: this.fps, lagMs: Math.round(this.lagMs), problem: this.problem },
    };
    // Rates are for metrics: they need not be new every second.
    const text = JSON.stringify({ ...state, fps: 0, lagMs: 0 });
    if (text === this.told && ++this.untold < UNTOLD) return;
    this.told = text;
    this.untold = 0;
    this.sink.state(state);
  }
}
