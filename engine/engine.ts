/**
 * The engine: cameras and the recorders attached to them. Runs in a thread of its own; talks to the writer threads and
 * the catalogue thread through {@link EngineBackends} and to its host through events. Nothing here blocks.
 */
import { randomUUID } from 'node:crypto';
import { Camera } from './camera.ts';
import type { Catalog } from './catalog/catalog.ts';
import { CatalogLink, type CatalogBackend } from './catalog/link.ts';
import type { CutEvent, NoticedEvent } from './events/event-store.ts';
import type { EventRequest, ToldEvent } from './events/indexer.ts';
import { snapshotArgs } from './ingest/ffmpeg-args.ts';
import { runJob } from './ingest/ffmpeg-process.ts';
import type { IngestEffects } from './ingest/stream-ingest.ts';
import { LiveFeed, type LiveMedia } from './live-feed.ts';
import { stillAtArgs } from './media/still.ts';
import { Analyses, type AnalysesBackend } from './motion/analyses.ts';
import type { MotionEvent } from './motion/types.ts';
import {
  Recorders,
  type RecorderCommand,
  type RecorderEvent,
  type Trigger,
  type WriterBackend,
} from './recording/recorders.ts';
import { RetentionLink, type RetentionBackend, type RetentionCalls } from './retention/link.ts';
import type { NewHold } from './retention/retention.ts';
import type { Hold, Preview, RetentionMessage, RetentionSpec, RuleSet, RunResult } from './retention/types.ts';
import type { TuningPicture } from './thread/motion-thread.ts';
import {
  EngineError,
  type CameraMessage,
  type CameraSpec,
  type Coverage,
  type EngineConfig,
  type MotionLevels,
  type MotionMessage,
  type MotionSpec,
  type MotionState,
  type RecorderSpec,
  type StreamName,
} from './types.ts';
import type { BackupReport, CheckOptions, CheckReport, CopyReport } from './upkeep/types.ts';

export interface EngineBackends {
  writer: WriterBackend;
  catalog: CatalogBackend;
  motion: AnalysesBackend['start'];
  retention: RetentionBackend;
}

export type EngineEvent =
  | { event: 'camera'; message: CameraMessage }
  | RecorderEvent
  | { event: 'problem'; message: string | null }
  | { event: 'motion'; node: string; message: MotionMessage }
  | { event: 'motion-levels'; node: string; message: MotionLevels }
  | { event: 'motion-state'; state: MotionState }
  | { event: 'retention'; message: RetentionMessage }
  | { event: 'events'; told: ToldEvent[] }
  | { event: 'media'; camera: string; stream: StreamName; media: LiveMedia };

const TICK_MS = 1000;
const HEARTBEAT_MS = 10_000;
const LIVE_MS = 200;
const SNAPSHOT_TIMEOUT_MS = 10_000;
/** Adaptive analysis looks back to the keyframe before. */
const ANALYSIS_MS = 10_000;
const LAST_WORDS_MS = 100;

export class Engine {
  private readonly effects: IngestEffects;
  private readonly tell: (event: EngineEvent, transfer?: ArrayBuffer[]) => void;
  private readonly cameras = new Map<string, Camera>();
  private readonly recorders: Recorders;
  private readonly live: LiveFeed;
  private readonly catalog: CatalogLink;
  private readonly analyses: Analyses;
  private readonly retention: RetentionLink;
  /** Events of motion that a crash left open, until their node takes them up. */
  private cutEvents: CutEvent[] = [];
  private lastHeartbeat = 0;
  private liveTold = -Infinity;
  private cancelTick: () => void;

  constructor(
    config: EngineConfig,
    effects: IngestEffects,
    backends: EngineBackends,
    tell: (event: EngineEvent, transfer?: ArrayBuffer[]) => void,
  ) {
    this.effects = effects;
    this.tell = tell;
    const problem = (message: string | null): void => tell({ event: 'problem', message });
    this.catalog = new CatalogLink(backends.catalog, {
      ready: ({ openGaps, cutEvents }) => {
        this.recorders.setOpenGaps(openGaps);
        this.cutEvents = cutEvents;
        for (const { source, camera } of [...cutEvents]) {
          if (source !== null && this.analyses.has(source, camera)) this.tellCut(source, camera);
        }
      },
      events: (told) => tell({ event: 'events', told }),
      problem,
    });
    this.recorders = new Recorders(config.storages, {
      ...{ clock: effects.clock, writer: backends.writer, tell },
      write: (...row) => this.catalog.write(...row),
      camera: (id) => this.cameras.get(id),
      changed: (camera) => this.keepRings(camera),
    });
    this.live = new LiveFeed((camera, stream, media, transfer) =>
      tell({ event: 'media', camera, stream, media }, transfer),
    );
    this.analyses = new Analyses(
      { start: backends.motion, after: (ms, call) => effects.clock.after(ms, call) },
      {
        initOf: (camera, stream) => this.cameras.get(camera)?.initOf(stream) ?? null,
        streamOf: (camera) => this.cameras.get(camera)?.smallest ?? null,
        since: (camera, stream, ms) => this.cameras.get(camera)?.since(stream, ms) ?? [],
        analysed: (camera, stream, all) => this.cameras.get(camera)?.setAnalysed(stream, all),
      },
      {
        event: ({ node, camera }, event, time) => this.onMotion(node, camera, event, time),
        frame: ({ node, camera }, { time, score, boxes, zones, scene }) =>
          this.tell({
            event: 'motion-levels',
            node,
            message: { type: 'motion-levels', camera, time, score, boxes, zones, scene },
          }),
        activity: (camera, minute) => this.catalog.write('putActivity', camera, minute),
        state: ({ node, camera }, state) => this.tell({ event: 'motion-state', state: { node, camera, ...state } }),
        problem,
      },
    );
    this.retention = new RetentionLink(
      backends.retention,
      (ms, call) => effects.clock.after(ms, call),
      (message) => this.tell({ event: 'retention', message }),
      problem,
    );
    this.cancelTick = effects.clock.after(TICK_MS, () => this.tick());
  }

  /** Resolves when the catalogue is open and what a crash left behind is in order. */
  opened(): Promise<void> {
    return this.catalog.ready;
  }

  /** Throws `bad-url`. A camera that is the same as before goes on untouched. */
  setCamera(spec: CameraSpec): void {
    const before = this.cameras.get(spec.id);
    if (before && JSON.stringify(before.spec) === JSON.stringify(spec)) {
      this.tell({ event: 'camera', message: before.message() });
      return;
    }
    const camera = new Camera(
      spec,
      {
        run: (stream, init) => {
          this.recorders.run(spec.id, stream, init);
          this.live.run(spec.id, stream, init);
          this.analyses.run(spec.id, stream, init);
        },
        fragment: (stream, fragment, ring) => {
          this.recorders.fragment(spec.id, stream, fragment, ring);
          this.live.fragment(spec.id, stream, fragment);
          this.analyses.fragment(spec.id, stream, fragment);
        },
        clockStep: (stream) => this.recorders.clockStep(spec.id, stream),
        state: (message) => this.tell({ event: 'camera', message }),
      },
      this.effects,
    );
    void before?.stop();
    this.cameras.set(spec.id, camera);
    this.keepRings(spec.id);
    for (const stream of ['main', 'sub'] as const) camera.setWatched(stream, this.live.isWatched(spec.id, stream));
    this.analyses.cameraChanged(spec.id);
    camera.start();
  }

  async removeCamera(id: string): Promise<void> {
    const camera = this.cameras.get(id);
    this.cameras.delete(id);
    this.recorders.removeCamera(id);
    this.analyses.removeCamera(id);
    await camera?.stop();
  }

  commandCamera(id: string, command: 'start' | 'stop' | 'restart'): void {
    const camera = this.need(id);
    if (command === 'start') camera.start();
    else if (command === 'restart') camera.restart();
    else void camera.stop();
  }

  /** Begins to send a stream's media: the current GOP at once, then each fragment. Throws `unknown-camera`, `no-stream`. */
  watch(id: string, stream: StreamName): void {
    this.live.watch(this.need(id), stream);
  }

  unwatch(id: string, stream: StreamName): void {
    this.live.unwatch(id, stream);
    this.cameras.get(id)?.setWatched(stream, false);
  }

  /** The watchers' thread has taken so many bytes. */
  acknowledge(id: string, stream: StreamName, bytes: number): void {
    this.live.acknowledge(id, stream, bytes);
  }

  /** Begins or changes the analysis of a camera by a motion-detect node. Throws `unknown-camera`. */
  setMotion(spec: MotionSpec): void {
    this.need(spec.camera);
    this.analyses.set(spec);
    this.keepRings(spec.camera);
    this.tellCut(spec.node, spec.camera);
  }

  removeMotion(node: string, camera: string): void {
    this.analyses.remove(node, camera);
    this.keepRings(camera);
  }

  /** What an analysis sees, for who tunes it. Rejects with `not-found`. */
  motionPicture(node: string, camera: string): Promise<TuningPicture | null> {
    return this.analyses.picture(node, camera);
  }

  /** The camera begins to turn, or stands again: what moves in its picture meanwhile is not motion. */
  setTurning(camera: string, turning: boolean): void {
    this.analyses.setTurning(camera, turning, this.effects.clock.now());
  }

  private onMotion(node: string, camera: string, event: MotionEvent, time: number): void {
    if (event.phase === 'scene-change') {
      const eventId = randomUUID();
      const { time: at } = event;
      this.putEvent({ id: eventId, type: 'scene-change', camera, source: node, start: at, end: at, data: {} });
      this.tell({ event: 'motion', node, message: { type: 'scene-change', camera, eventId, time: event.time } });
      return;
    }
    const { eventId, start, end, score, boxes, zones } = event;
    const data = { score, zones, boxes, last: time };
    this.putEvent({ id: eventId, type: 'motion', camera, source: node, start, end, data });
    this.tell({ event: 'motion', node, message: { type: 'motion', camera, time, ...event } });
  }

  /** Adds an event that somebody else noticed, or what is new of it. */
  putEvent(event: NoticedEvent): void {
    this.catalog.write('putEvent', event);
  }

  /** What a camera's presets are now; see {@link Catalog.putPresets}. */
  putPresets(...args: Parameters<Catalog['putPresets']>): void {
    this.catalog.write('putPresets', ...args);
  }

  /** What a preset looks at; see {@link Catalog.putPresetStill}. */
  putPresetStill(...args: Parameters<Catalog['putPresetStill']>): void {
    this.catalog.write('putPresetStill', ...args);
  }

  /** Asks the event index; see {@link EventCalls}. Rejects with what is wrong with an event. */
  async events(request: EventRequest): Promise<unknown> {
    await this.catalog.ready;
    // What is in the files that are being written belongs to an event of now.
    if (this.effects.clock.monotonic() - this.liveTold > LIVE_MS) this.tellLive();
    return this.catalog.events(request);
  }

  private tellLive(): void {
    this.liveTold = this.effects.clock.monotonic();
    this.catalog.live({ cameras: [...this.cameras.keys()], open: this.recorders.open() });
  }

  /** A node that a crash interrupted hears how its events ended. */
  private tellCut(node: string, camera: string): void {
    const mine = this.cutEvents.filter((cut) => cut.source === node && cut.camera === camera);
    this.cutEvents = this.cutEvents.filter((cut) => !mine.includes(cut));
    for (const { id, start, end, data } of mine) {
      const { score = 0, zones = [] } = data as { score?: number; zones?: string[] };
      const message: MotionMessage = {
        ...{ type: 'motion', phase: 'end', camera, eventId: id, start, end, time: end, score, boxes: [], zones },
      };
      this.tell({ event: 'motion', node, message });
    }
  }

  /** The picture of a moment that was just now, of the stream that is analysed. Rejects with `offline`. */
  async still(id: string, time: number): Promise<{ image: Uint8Array; time: number }> {
    const camera = this.need(id);
    const media = camera.mediaAt(camera.smallest, time);
    if (!media) throw new EngineError('offline', `camera ${id} is not online: there is no picture to take`);
    const job = await runJob(this.effects.ffmpegPath, stillAtArgs(media.offsetMs), {
      timeoutMs: SNAPSHOT_TIMEOUT_MS,
      input: media.data,
    });
    if (job.stdout.length === 0)
      throw new EngineError('codec', `no picture could be made: ${job.stderr.at(-1) ?? 'FFmpeg said nothing'}`);
    return { image: job.stdout, time };
  }

  async snapshot(id: string): Promise<{ image: Uint8Array; time: number }> {
    const keyframe = this.need(id).keyframe();
    if (!keyframe) throw new EngineError('offline', `camera ${id} is not online: there is no picture to take`);
    const job = await runJob(this.effects.ffmpegPath, snapshotArgs(), {
      timeoutMs: SNAPSHOT_TIMEOUT_MS,
      input: keyframe.media,
    });
    if (job.stdout.length === 0)
      throw new EngineError('codec', `no picture could be made: ${job.stderr.at(-1) ?? 'FFmpeg said nothing'}`);
    return { image: job.stdout, time: keyframe.time };
  }

  setRecorder(spec: RecorderSpec): void {
    this.recorders.set(spec);
  }

  removeRecorder(id: string): void {
    this.recorders.remove(id);
  }

  /** Throws `unknown-camera`; see {@link Recorders.attach}. */
  attach(recorder: string, camera: string): void {
    this.recorders.attach(recorder, this.need(camera));
  }

  /** A camera that is no longer wired to the recorder. */
  detach(recorder: string, camera: string): void {
    this.recorders.detach(recorder, camera);
  }

  trigger(trigger: Trigger): void {
    this.recorders.trigger(trigger);
  }

  /** See {@link Recorders.command}. */
  commandRecorder(recorder: string, command: RecorderCommand, camera: string | null): void {
    this.recorders.command(recorder, command, camera);
  }

  async coverage(camera: string, stream: StreamName, start: number, end: number): Promise<Coverage> {
    await this.catalog.ready;
    const open = this.recorders.open().filter((file) => file.camera === camera && file.stream === stream);
    return this.catalog.coverage(camera, stream, { start, end }, open, this.effects.clock.now());
  }

  /** What is deleted from now on; null for nothing. */
  async setRetention(spec: RetentionSpec | null): Promise<void> {
    await this.retain('set', spec);
  }

  /** Deletes what is to be deleted now. Rejects with `no-rules`. */
  runRetention(): Promise<RunResult> {
    return this.retain('run');
  }

  /** What such rules would do now. */
  previewRetention(rules: RuleSet): Promise<Preview> {
    return this.retain('preview', rules);
  }

  /** Rejects with `bad-hold` or `too-many-holds`. */
  hold(hold: NewHold): Promise<Hold> {
    return this.retain('hold', hold);
  }

  /** Rejects with `no-hold`. */
  releaseHold(id: string): Promise<Hold> {
    return this.retain('release', id);
  }

  holds(): Promise<Hold[]> {
    return this.retain('holds');
  }

  /** Holds what is announced. Rejects with `no-announcement`. */
  veto(...args: Parameters<RetentionCalls['veto']>): Promise<Hold[]> {
    return this.retain('veto', ...args);
  }

  /** Copies what is announced, then deletes it. Rejects with `no-announcement`, `busy` or `copy`. */
  copyAnnounced(id: string, folder: string): Promise<CopyReport> {
    return this.retain('copy', id, folder);
  }

  /** Compares catalogue and files. Rejects with `busy` or `cancelled`. */
  checkFootage(options: CheckOptions): Promise<CheckReport> {
    return this.retain('compare', options);
  }

  cancelCheck(): Promise<boolean> {
    return this.retain('cancelCompare');
  }

  /** Rejects with `busy` or `backup`. */
  backUp(): Promise<BackupReport> {
    return this.retain('backUp');
  }

  private async retain<K extends keyof RetentionCalls>(
    call: K,
    ...args: Parameters<RetentionCalls[K]>
  ): Promise<Awaited<ReturnType<RetentionCalls[K]>>> {
    await this.catalog.ready; // it is the catalogue thread that brings the catalogue up to date
    return this.retention.call(call, ...args);
  }

  /** Ends files and rows in order; cameras are let go. */
  async shutdown(): Promise<void> {
    this.cancelTick();
    this.analyses.close();
    const retained = this.retention.close();
    const written = this.recorders.close();
    const stopped = Promise.all([...this.cameras.values()].map((camera) => camera.stop()));
    // Their last events and minutes are rows too.
    const said = new Promise<void>((resolve) => void this.effects.clock.after(LAST_WORDS_MS, resolve)).then(() =>
      this.analyses.stop(),
    );
    await Promise.all([written, said]);
    await this.catalog.flush();
    await Promise.all([stopped, retained]);
  }

  private need(id: string): Camera {
    const camera = this.cameras.get(id);
    if (!camera) throw new EngineError('unknown-camera', `there is no camera ${id}: add a camera-source node for it`);
    return camera;
  }

  private keepRings(id: string): void {
    const camera = this.cameras.get(id);
    if (!camera) return;
    for (const stream of ['main', 'sub'] as const) {
      const analysed = stream === camera.smallest && this.analyses.wants(id, stream);
      camera.keepMs(stream, Math.max(this.recorders.lookBack(id, stream), analysed ? ANALYSIS_MS : 0));
    }
  }

  private tick(): void {
    this.cancelTick = this.effects.clock.after(TICK_MS, () => this.tick());
    this.tellLive();
    this.recorders.tick();
    const now = this.effects.clock.monotonic();
    if (now - this.lastHeartbeat < HEARTBEAT_MS) return;
    this.lastHeartbeat = now;
    this.retention.setRates(this.recorders.rates.read(now));
    for (const camera of this.cameras.values()) this.tell({ event: 'camera', message: camera.message() });
  }
}
