/**
 * One stream of one camera: its FFmpeg process under supervision. Emits fragments with their UTC times, and why there
 * are none. A generation counter makes everything that belongs to an ended process fall on deaf ears.
 */
import { connect } from 'node:net';
import type { Clock } from '../clock.ts';
import { FragmentParser, type Fragment } from '../media/fragment.ts';
import type { TimedFragment } from '../media/gop-ring.ts';
import { mustTranscode, type InitSegment } from '../media/init-segment.ts';
import { MediaClock, StepDetector } from '../media/media-clock.ts';
import { redact } from '../diagnostics/redact.ts';
import { EngineError, type CameraSpec, type OfflineReason, type StreamMetrics, type StreamName } from '../types.ts';
import { backoffMs, classifyFailure, isAudioRefused } from './failure.ts';
import { TimeCheck, type WrongTimes } from './time-check.ts';
import { ingestArgs, IO_TIMEOUT_MS, type Transcode } from './ffmpeg-args.ts';
import { ffmpegMissing, LastLines, stopLadder, type Spawn, type Worker } from './ffmpeg-process.ts';
import { PacedPipe } from './paced-pipe.ts';
import { openAccess, type Access } from './source-access.ts';
import { parseSource, type Source } from './source-url.ts';

export type IngestState =
  | { state: 'stopped' }
  | { state: 'connecting' }
  | { state: 'online' }
  | { state: 'offline'; reason: OfflineReason; detail: string };

export interface IngestSink {
  state(state: IngestState): void;
  /** A new run begins: media times start over. */
  run(init: InitSegment): void;
  fragment(fragment: TimedFragment): void;
  /** The wall clock was stepped; the next fragments are on the new clock. */
  clockStep(ms: number): void;
}

export interface IngestEffects {
  clock: Clock;
  spawn: Spawn;
  ffmpegPath: string;
  random: () => number;
}

/** No fragment for so long: the stream is dead whatever TCP says. */
export const STALL_MS = 6000;
/** From the start of FFmpeg to its first fragment; long GOPs and slow cameras included. */
const CONNECT_MS = IO_TIMEOUT_MS + 12_000;
/** Fragments of the first moment come in a burst out of FFmpeg's probing: their arrival says nothing until it ends. */
const SETTLE_MS = 400;
/** A clock that jumps twice in so long is not taken for one. */
const JUMPS_MS = 3_600_000;
const KNOCK_MS = 500;
const TICK_MS = 1000;
const FPS_WINDOW_MS = 5000;

export class StreamIngest {
  readonly name: StreamName;
  private readonly camera: CameraSpec;
  private readonly sink: IngestSink;
  private readonly effects: IngestEffects;
  private readonly source: Source;
  private generation = 0;
  private child: Worker | null = null;
  private access: Access | null = null;
  /** Ends what is asked of the camera before FFmpeg is started. */
  private asking: AbortController | null = null;
  private pipe: PacedPipe | null = null;
  private last: LastLines | null = null;
  private eager = false;
  private brisk = false;
  private ending: Promise<void> = Promise.resolve();
  private cancelRetry: (() => void) | null = null;
  private cancelTick: (() => void) | null = null;
  private transcode: Transcode = { video: false, audio: false, arrival: false };
  private failures = 0;
  private online = false;
  private startedAt = 0;
  private lastFragmentAt: number | null = null;
  private steps: StepDetector;
  private media: MediaClock | null = null;
  private lastEndTicks = 0;
  private times: TimeCheck | null = null;
  private jumpedAt: number | null = null;
  private settling: { until: number; fragments: Fragment[]; offset: number } | null = null;
  private counters = { frames: 0, bytes: 0, reconnects: 0 };
  private window = { at: 0, frames: 0, bytes: 0, fps: 0, bps: 0 };

  /** Throws `bad-url`. */
  constructor(camera: CameraSpec, name: StreamName, sink: IngestSink, effects: IngestEffects) {
    this.camera = camera;
    this.name = name;
    this.sink = sink;
    this.effects = effects;
    this.source = parseSource(name === 'main' ? camera.mainUrl : (camera.subUrl ?? ''), {
      ...(camera.username ? { username: camera.username } : {}),
      ...(camera.password ? { password: camera.password } : {}),
    });
    this.steps = new StepDetector(effects.clock.now(), effects.clock.monotonic());
  }

  start(): void {
    if (this.cancelTick) return;
    this.scheduleTick();
    this.failures = 0;
    this.launch();
  }

  /** Resolves when the process is gone. */
  stop(): Promise<void> {
    this.cancelTick?.();
    this.cancelTick = null;
    this.cancelRetry?.();
    this.cancelRetry = null;
    this.endProcess();
    this.sink.state({ state: 'stopped' });
    return this.ending;
  }

  restart(): void {
    // Its times are believed again.
    this.jumpedAt = null;
    if (this.isSteady) this.transcode.arrival = false;
    if (!this.cancelTick) {
      this.start();
      return;
    }
    this.endProcess();
    this.failures = 0;
    this.retry(0, false);
  }

  /** Whether media is wanted as soon as it is there (at the price of more waking up), or five times a second. */
  setEager(eager: boolean): void {
    this.eager = eager;
    if (this.pipe && this.online) this.pipe.eager = eager;
  }

  /** Somebody waits for the pictures, but not for every one. */
  setBrisk(brisk: boolean): void {
    this.brisk = brisk;
    if (this.pipe) this.pipe.brisk = brisk;
  }

  metrics(): StreamMetrics {
    const now = this.effects.clock.monotonic();
    return {
      fps: this.online ? Math.round(this.window.fps * 10) / 10 : 0,
      bitsPerSecond: this.online ? Math.round(this.window.bps) : 0,
      bytes: this.counters.bytes,
      frames: this.counters.frames,
      reconnects: this.counters.reconnects,
      lastFrameAgeMs: this.lastFragmentAt === null ? null : Math.round(now - this.lastFragmentAt),
      droppedFragments: 0,
    };
  }

  private launch(): void {
    const { clock } = this.effects;
    const generation = ++this.generation;
    const current = (): boolean => generation === this.generation;
    this.startedAt = clock.monotonic();
    this.lastFragmentAt = null;
    this.media = null;
    this.settling = null;
    this.lastEndTicks = 0;
    this.sink.state({ state: 'connecting' });
    this.connect(current).catch((error: unknown) => {
      if (!current()) return;
      const { code, message } = error instanceof EngineError ? error : { code: 'error', message: String(error) };
      this.fail(code === 'redirect' ? code : 'error', message);
    });
  }

  /** Starts FFmpeg. Rejects when it cannot be given a pipe, and with `redirect` when the camera leads to another host. */
  private async connect(current: () => boolean): Promise<void> {
    const { spawn, ffmpegPath } = this.effects;
    const last = new LastLines([this.camera.password]);
    this.last = last;
    const parser = new FragmentParser(
      (init) => this.onInit(init),
      (fragment) => this.onFragment(fragment),
    );
    const data = (chunk: Buffer): void => {
      if (!current()) return;
      this.counters.bytes += chunk.length;
      this.window.bytes += chunk.length;
      try {
        parser.push(chunk);
      } catch (error) {
        if (!current()) return;
        const code = error instanceof EngineError && error.code === 'codec' ? 'codec' : 'error';
        this.fail(code, error instanceof Error ? error.message : String(error));
      }
    };
    let open = 2;
    /** The process is gone, or its output: it is over when both are. */
    const closed = (): void => {
      if (--open > 0 || !current()) return;
      last.end();
      if (this.camera.audio && !this.transcode.audio && isAudioRefused(last.lines)) {
        this.relaunchWith({ ...this.transcode, audio: true });
        return;
      }
      const reason = access.problem();
      if (reason) this.fail(reason.reason, reason.detail);
      else this.fail(classifyFailure(last.lines), last.lines.at(-1) ?? 'the stream ended');
    };
    const { transport } = this.camera;
    const access = await this.openAccess();
    if (!current()) {
      access.close();
      return;
    }
    this.access = access;
    const pipe = await PacedPipe.open({ data, end: closed });
    if (!current()) {
      pipe?.close();
      return;
    }
    const args = ingestArgs(access.source, {
      transport,
      audio: this.camera.audio && this.name === 'main',
      transcode: this.transcode,
    });
    const child = spawn(ffmpegPath, args, pipe?.childEnd ?? 'pipe', access.hidden);
    pipe?.childEnd.destroy();
    this.child = child;
    this.pipe = pipe;
    child.on('error', (cause) => {
      if (current()) this.fail('ffmpeg', ffmpegMissing(ffmpegPath, cause).message);
    });
    child.stdin.on('error', () => undefined); // it is gone; `close` says so
    child.stderr.on('data', (chunk: Buffer) => last.push(chunk));
    child.stdout?.on('data', data).once('close', closed);
    child.on('close', closed);
  }

  private async openAccess(): Promise<Access> {
    const asking = new AbortController();
    this.asking = asking;
    try {
      const { transport, password } = this.camera;
      const options = { transport, arrival: this.transcode.arrival };
      return await openAccess(this.source, options, { secrets: [password], signal: asking.signal });
    } finally {
      if (this.asking === asking) this.asking = null;
    }
  }

  private onInit(init: InitSegment): void {
    const needed = mustTranscode(init);
    if ((needed.video && !this.transcode.video) || (needed.audio && !this.transcode.audio)) {
      const { video, audio, arrival } = this.transcode;
      // Over HTTP JPEGs come one by one, without times: FFmpeg takes them for 25 a second, whatever they are.
      const timeless = needed.jpeg && this.source.kind === 'http';
      this.relaunchWith({
        ...{ video: needed.video || video, audio: needed.audio || audio, arrival: timeless || arrival },
      });
      return;
    }
    this.sink.run(init);
    this.media = new MediaClock(init.video.timescale, 0, this.effects.clock.monotonic());
  }

  private relaunchWith(transcode: Transcode): void {
    this.transcode = transcode;
    this.endProcess();
    this.retry(0, false);
  }

  private onFragment(fragment: Fragment): void {
    if (!this.media) return;
    const { clock } = this.effects;
    const mono = clock.monotonic();
    const now = clock.now();
    // A fragment of audio alone rides on the picture before it.
    if (fragment.startTicks < 0) fragment.startTicks = this.lastEndTicks;
    this.lastEndTicks = fragment.startTicks + fragment.durationTicks;
    const endTicks = fragment.startTicks + fragment.durationTicks;
    const step = this.steps.check(now, mono);
    if (this.online && step !== 0) {
      this.sink.clockStep(step);
      if (this.transcode.arrival) {
        // FFmpeg takes its times from the clock that was stepped: it begins anew.
        this.relaunchWith(this.transcode);
        return;
      }
      this.media.step(step);
    }
    const wrong = this.online ? this.times?.look(fragment, this.media, { utc: now, mono }) : null;
    if (wrong) {
      this.mistrust(wrong, mono);
      return;
    }
    this.lastFragmentAt = mono;
    this.counters.frames += fragment.frames;
    this.window.frames += fragment.frames;
    if (!this.online) {
      const distance = now - this.media.mediaMs(endTicks);
      if (this.settling) this.settling.offset += step;
      else this.settling = { until: mono + SETTLE_MS, fragments: [], offset: distance };
      this.settling.offset = Math.min(this.settling.offset, distance);
      this.settling.fragments.push(fragment);
      if (mono < this.settling.until) return;
      const { fragments, offset } = this.settling;
      this.settling = null;
      this.media.step(offset);
      this.online = true;
      // What we pace ourselves is not the camera's.
      const judged = !this.transcode.arrival && this.source.kind !== 'file' && this.source.kind !== 'lavfi';
      this.times = judged ? new TimeCheck(mono, this.isSteady) : null;
      this.last?.clear(); // what was said until here did not keep it from working
      this.access?.forget();
      if (this.pipe) this.pipe.eager = this.eager;
      if (this.pipe) this.pipe.brisk = this.brisk;
      this.failures = 0;
      this.window = { at: mono, frames: 0, bytes: 0, fps: 0, bps: 0 };
      this.sink.state({ state: 'online' });
      for (const held of fragments) this.emit(held);
      return;
    }
    this.emit(fragment); // first, so that it ends where the next one begins
    this.media.observe(endTicks, now, mono);
  }

  /** The camera's times cannot be used: it is connected anew, and its pictures may have the time at which they come. */
  private mistrust(wrong: WrongTimes, mono: number): void {
    const often = this.jumpedAt !== null && mono - this.jumpedAt < JUMPS_MS;
    if (wrong.kind === 'jump') this.jumpedAt = mono;
    // A clock that was set once may be right from now on. What comes in bursts has no times of arrival.
    if ((often || wrong.kind === 'pace') && this.isSteady) this.transcode.arrival = true;
    this.fail('clock', wrong.detail);
  }

  /** Its pictures come one by one as they are filmed. */
  private get isSteady(): boolean {
    return this.source.kind === 'rtsp' || this.source.kind === 'rtmp';
  }

  private emit(fragment: Fragment): void {
    const media = this.media!;
    const startMs = media.utc(fragment.startTicks);
    const endMs = media.utc(fragment.startTicks + fragment.durationTicks);
    this.sink.fragment({ ...fragment, startMs, endMs, tickMs: media.tickMs });
  }

  private fail(reason: OfflineReason, detail: string): void {
    this.endProcess();
    this.failures++;
    this.counters.reconnects++;
    // A camera can name a host after its password.
    this.sink.state({ state: 'offline', reason, detail: redact(detail, [this.camera.password]) });
    const away =
      reason === 'host' || reason === 'refused' || reason === 'ended' || reason === 'timeout' || reason === 'stalled';
    this.retry(backoffMs(this.failures, this.effects.random()), away, reason === 'refused');
  }

  /**
   * Next try after `ms`. A camera that was away is knocked at meanwhile: when its port opens after having been closed
   * it is tried at once, however long the backoff has grown.
   * @param closed it was closed just now
   */
  private retry(ms: number, knock: boolean, closed = false): void {
    const { clock } = this.effects;
    const due = clock.monotonic() + ms;
    const endpoint = knock ? this.source.endpoint : null;
    let wasClosed = closed;
    let cancelled = false;
    let cancelTimer: () => void = () => undefined;
    this.cancelRetry?.();
    this.cancelRetry = () => {
      cancelled = true;
      cancelTimer();
    };
    const go = (): void => {
      this.cancelRetry = null;
      // The old process first: a camera with few connections would refuse the new one.
      void this.ending.then(() => {
        if (!cancelled && this.cancelTick && !this.child) this.launch();
      });
    };
    const wait = (): void => {
      const left = due - clock.monotonic();
      if (left <= 0) {
        go();
        return;
      }
      cancelTimer = clock.after(endpoint ? Math.min(left, KNOCK_MS) : left, () => {
        if (!endpoint || due - clock.monotonic() <= 0) {
          wait();
          return;
        }
        knockAt(endpoint, (open) => {
          if (cancelled) return;
          if (open && wasClosed) {
            go();
          } else {
            wasClosed ||= !open;
            wait();
          }
        });
      });
    };
    wait();
  }

  private endProcess(): void {
    this.generation++;
    this.online = false;
    this.media = null;
    this.settling = null;
    const child = this.child;
    this.child = null;
    this.asking?.abort();
    this.access?.close();
    this.access = null;
    this.pipe?.close();
    this.pipe = null;
    if (child) this.ending = stopLadder(child, this.effects.clock);
  }

  private scheduleTick(): void {
    this.cancelTick = this.effects.clock.after(TICK_MS, () => {
      this.scheduleTick();
      this.tick();
    });
  }

  private tick(): void {
    const now = this.effects.clock.monotonic();
    const elapsed = now - this.window.at;
    if (elapsed >= FPS_WINDOW_MS) {
      const { frames, bytes } = this.window;
      this.window = { at: now, frames: 0, bytes: 0, fps: (frames * 1000) / elapsed, bps: (bytes * 8000) / elapsed };
    }
    if (!this.child) return;
    const silent = now - (this.lastFragmentAt ?? this.startedAt);
    if (this.lastFragmentAt !== null && silent > STALL_MS) {
      this.fail('stalled', `no picture for ${Math.round(silent / 1000)} s`);
    } else if (this.lastFragmentAt === null && silent > CONNECT_MS) {
      this.fail('timeout', `no picture within ${Math.round(silent / 1000)} s of connecting`);
    }
  }
}

function knockAt(endpoint: { host: string; port: number }, done: (open: boolean) => void): void {
  const socket = connect(endpoint);
  let told = false;
  const tell = (open: boolean): void => {
    if (told) return;
    told = true;
    socket.destroy();
    done(open);
  };
  socket.setTimeout(2000, () => tell(false));
  socket.once('connect', () => tell(true));
  socket.once('error', () => tell(false));
}
