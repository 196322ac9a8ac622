/**
 * The engine: cameras and the recorders attached to them. Runs in a thread of its own; talks to the writer threads and
 * the catalogue thread through {@link EngineBackends} and to its host through events. Nothing here blocks.
 */
import { randomUUID } from 'node:crypto';
import { Camera } from './camera.ts';
import { snapshotArgs } from './ingest/ffmpeg-args.ts';
import { runJob } from './ingest/ffmpeg-process.ts';
import type { IngestEffects } from './ingest/stream-ingest.ts';
import type { CatalogReply, CatalogRequest } from './thread/catalog-thread.ts';
import type { TuningPicture } from './thread/motion-thread.ts';
import type { Catalog, GapRow } from './catalog/catalog.ts';
import type { CutEvent, NoticedEvent } from './events/event-store.ts';
import type { EventRequest, ToldEvent } from './events/indexer.ts';
import type { TimedFragment } from './media/gop-ring.ts';
import { codecsOf, type InitSegment } from './media/init-segment.ts';
import { Analyses, type AnalysesBackend } from './motion/analyses.ts';
import type { MotionEvent } from './motion/types.ts';
import { RetentionLink, type RetentionBackend, type RetentionCalls } from './retention/link.ts';
import { WriteRates } from './retention/rates.ts';
import type { NewHold } from './retention/retention.ts';
import type { Hold, Preview, RetentionMessage, RetentionSpec, RuleSet, RunResult } from './retention/types.ts';
import { stillAtArgs } from './media/still.ts';
import { Demand, MAX_LATE_MS } from './recording/demand.ts';
import type { WriterReply } from './recording/file-writer.ts';
import { Track, type Demanded, type TrackOutput } from './recording/track.ts';
import type { WriteQueue } from './recording/write-queue.ts';
import type { BackupReport, CheckOptions, CheckReport, CopyReport } from './upkeep/types.ts';
import {
  EngineError,
  type CameraMessage,
  type CameraSpec,
  type Coverage,
  type EngineConfig,
  type GapCause,
  type GapMessage,
  type MotionLevels,
  type MotionMessage,
  type MotionSpec,
  type MotionState,
  type OfflineReason,
  type RecorderSpec,
  type RecorderState,
  type RecordingMessage,
  type StreamName,
} from './types.ts';

export interface EngineBackends {
  writer(storage: string, onReply: (reply: WriterReply) => void): Pick<WriteQueue, 'send' | 'append'>;
  catalog(onReply: (reply: CatalogReply) => void): { send(request: CatalogRequest): void };
  motion: AnalysesBackend['start'];
  retention: RetentionBackend;
}

export type EngineEvent =
  | { event: 'camera'; message: CameraMessage }
  | { event: 'recording'; recorder: string; message: RecordingMessage }
  | { event: 'gap'; recorder: string; message: GapMessage }
  | { event: 'recorder'; state: RecorderState }
  | { event: 'problem'; message: string | null }
  | { event: 'motion'; node: string; message: MotionMessage }
  | { event: 'motion-levels'; node: string; message: MotionLevels }
  | { event: 'motion-state'; state: MotionState }
  | { event: 'retention'; message: RetentionMessage }
  | { event: 'events'; told: ToldEvent[] }
  | { event: 'media'; camera: string; stream: StreamName; media: LiveMedia };

/** What a watched stream sends: its init segment whenever a run begins, and its fragments. */
export type LiveMedia =
  | { kind: 'init'; data: Uint8Array; codecs: string; width: number; height: number; hasAudio: boolean }
  | { kind: 'fragment'; data: Uint8Array; key: boolean; startMs: number; endMs: number };

export type RecorderCommand = 'start' | 'stop' | 'panic' | 'release';

export interface Trigger {
  recorder: string;
  camera: string;
  key: string;
  phase: 'start' | 'update' | 'end' | null;
  /** When the event began; now where it does not say. */
  start?: number;
}

interface Recorder {
  spec: RecorderSpec;
  cameras: Map<string, Recorded>;
}

/** A camera under a recorder. */
interface Recorded {
  demand: Demand;
  tracks: Map<StreamName, Track>;
  problem: RecorderState['problem'];
  told: string;
}

/** Bytes that may wait for one disk before recording on it pauses (a gap `storage-slow`). */
const MAX_BACKLOG = 192 * 1024 * 1024;
/** Bytes of one stream on their way to viewers; beyond that they skip to a keyframe, for their thread is busy. */
const MAX_LIVE_BACKLOG = 8 * 1024 * 1024;
const TICK_MS = 1000;
/** The latest that a picture gets here. */
const LATE_MS = 1000;
const HEARTBEAT_MS = 10_000;
const LIVE_MS = 200;
const SNAPSHOT_TIMEOUT_MS = 10_000;
/** Adaptive analysis looks back to the keyframe before. */
const ANALYSIS_MS = 10_000;
const LAST_WORDS_MS = 100;

export class Engine {
  private readonly config: EngineConfig;
  private readonly effects: IngestEffects;
  private readonly tell: (event: EngineEvent, transfer?: ArrayBuffer[]) => void;
  private readonly watched = new Map<string, { backlog: number; skipping: boolean }>();
  private readonly cameras = new Map<string, Camera>();
  private readonly recorders = new Map<string, Recorder>();
  private readonly writers = new Map<
    string,
    { queue: Pick<WriteQueue, 'send' | 'append'>; backlog: number; behind: boolean; full: string | null }
  >();
  private readonly owners = new Map<string, { track: Track; storage: string }>();
  private readonly catalog: { send(request: CatalogRequest): void };
  private readonly queries = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  private openGaps: GapRow[] = [];
  private readonly analyses: Analyses;
  private readonly retention: RetentionLink;
  private readonly rates = new WriteRates();
  /** Events of motion that a crash left open, until their node takes them up. */
  private cutEvents: CutEvent[] = [];
  private nextQuery = 1;
  private nextGap: number;
  private readonly panic = new Set<string>();
  private lastHeartbeat = 0;
  private liveTold = -Infinity;
  private cancelTick: () => void;
  /** Rejected while the catalogue cannot be opened. */
  private ready: Promise<void>;

  constructor(
    config: EngineConfig,
    effects: IngestEffects,
    backends: EngineBackends,
    tell: (event: EngineEvent, transfer?: ArrayBuffer[]) => void,
  ) {
    this.config = config;
    this.effects = effects;
    this.tell = tell;
    this.nextGap = effects.clock.now() * 1000;
    for (const storage of config.storages) {
      const queue = backends.writer(storage, (reply) => this.onWriter(storage, reply));
      this.writers.set(storage, { queue, backlog: 0, behind: false, full: null });
    }
    let opened: () => void;
    let failed: (error: Error) => void;
    this.ready = new Promise((resolve, reject) => {
      opened = resolve;
      failed = reject;
    });
    this.ready.catch(() => undefined); // told as a problem, and again to whoever waits
    this.catalog = backends.catalog((reply) => {
      if ('id' in reply) {
        const query = this.queries.get(reply.id);
        this.queries.delete(reply.id);
        if ('error' in reply) query?.reject(new EngineError(reply.code ?? 'catalog', reply.error));
        else query?.resolve(reply.result);
      } else if (reply.event === 'ready') {
        this.openGaps = reply.openGaps;
        this.cutEvents = reply.cutEvents;
        for (const { source, camera } of [...this.cutEvents]) {
          if (source !== null && this.analyses.has(source, camera)) this.tellCut(source, camera);
        }
        if (reply.setAside) {
          this.tell({
            event: 'problem',
            message: `the catalogue was broken; it was moved to ${reply.setAside} and is rebuilt from the files`,
          });
        }
        opened();
        this.ready = Promise.resolve(); // it may have failed before
      } else if (reply.event === 'events') {
        this.tell(reply);
      } else if (reply.event === 'failed') {
        this.tell({ event: 'problem', message: reply.message });
        failed(new EngineError('catalog', reply.message));
      } else {
        this.tell({ event: 'problem', message: reply.message });
      }
    });
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
        activity: (camera, minute) => this.catalog.send({ write: 'putActivity', args: [camera, minute] }),
        state: ({ node, camera }, state) => this.tell({ event: 'motion-state', state: { node, camera, ...state } }),
        problem: (message) => this.tell({ event: 'problem', message }),
      },
    );
    this.retention = new RetentionLink(
      backends.retention,
      (ms, call) => effects.clock.after(ms, call),
      (message) => this.tell({ event: 'retention', message }),
      (message) => this.tell({ event: 'problem', message }),
    );
    this.cancelTick = effects.clock.after(TICK_MS, () => this.tick());
  }

  /** Resolves when the catalogue is open and what a crash left behind is in order. */
  opened(): Promise<void> {
    return this.ready;
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
          this.tracksOf(spec.id, stream, ({ track }) => track.run(init));
          if (this.watched.has(`${spec.id} ${stream}`)) this.showInit(spec.id, stream, init);
          this.analyses.run(spec.id, stream, init);
        },
        fragment: (stream, fragment, ring) => {
          this.tracksOf(spec.id, stream, ({ track, demanded, stopped }) => {
            const now = this.now();
            // What counts is when the picture was taken, not when it got here.
            track.fragment(fragment, ring, demanded(fragment.startMs), now, stopped(now.utc));
          });
          this.show(spec.id, stream, fragment);
          this.analyses.fragment(spec.id, stream, fragment);
        },
        clockStep: (stream) => this.tracksOf(spec.id, stream, ({ track }) => track.clockStep()),
        state: (message) => this.tell({ event: 'camera', message }),
      },
      this.effects,
    );
    void before?.stop();
    this.cameras.set(spec.id, camera);
    this.keepRings(spec.id);
    for (const stream of ['main', 'sub'] as const) camera.setWatched(stream, this.watched.has(`${spec.id} ${stream}`));
    this.analyses.cameraChanged(spec.id);
    camera.start();
  }

  async removeCamera(id: string): Promise<void> {
    const camera = this.cameras.get(id);
    this.cameras.delete(id);
    for (const recorder of this.recorders.values()) this.drop(recorder, id);
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
    const camera = this.need(id);
    if (!camera.streamState(stream)) throw new EngineError('no-stream', `camera ${id} has no ${stream} stream`);
    this.watched.set(`${id} ${stream}`, { backlog: 0, skipping: false });
    camera.setWatched(stream, true);
    const init = camera.initOf(stream);
    if (!init) return;
    this.showInit(id, stream, init);
    for (const fragment of camera.currentGop(stream)) this.show(id, stream, fragment);
  }

  unwatch(id: string, stream: StreamName): void {
    this.watched.delete(`${id} ${stream}`);
    this.cameras.get(id)?.setWatched(stream, false);
  }

  /** The watchers' thread has taken so many bytes. */
  acknowledge(id: string, stream: StreamName, bytes: number): void {
    const watched = this.watched.get(`${id} ${stream}`);
    if (watched) watched.backlog -= bytes;
  }

  private showInit(camera: string, stream: StreamName, init: InitSegment): void {
    const { width, height } = init.video;
    const media: LiveMedia = {
      kind: 'init',
      data: init.data,
      codecs: codecsOf(init),
      width,
      height,
      hasAudio: init.audio !== null,
    };
    this.tell({ event: 'media', camera, stream, media });
  }

  private show(camera: string, stream: StreamName, { data, key, startMs, endMs }: TimedFragment): void {
    const watched = this.watched.get(`${camera} ${stream}`);
    if (!watched) return;
    if (watched.backlog > MAX_LIVE_BACKLOG) watched.skipping = true;
    if (watched.skipping && !(key && watched.backlog < MAX_LIVE_BACKLOG / 2)) return;
    watched.skipping = false;
    watched.backlog += data.length;
    const copy = new Uint8Array(data); // the ring's memory is used again
    this.tell({ event: 'media', camera, stream, media: { kind: 'fragment', data: copy, key, startMs, endMs } }, [
      copy.buffer,
    ]);
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
      this.catalog.send({
        write: 'putEvent',
        args: [
          { id: eventId, type: 'scene-change', camera, source: node, start: event.time, end: event.time, data: {} },
        ],
      });
      this.tell({ event: 'motion', node, message: { type: 'scene-change', camera, eventId, time: event.time } });
      return;
    }
    const { eventId, start, end, score, boxes, zones } = event;
    const row = {
      id: eventId,
      type: 'motion',
      camera,
      source: node,
      start,
      end,
      data: { score, zones, boxes, last: time },
    };
    this.catalog.send({ write: 'putEvent', args: [row] });
    this.tell({ event: 'motion', node, message: { type: 'motion', camera, time, ...event } });
  }

  /** Adds an event that somebody else noticed, or what is new of it. */
  putEvent(event: NoticedEvent): void {
    this.catalog.send({ write: 'putEvent', args: [event] });
  }

  /** What a camera's presets are now; see {@link Catalog.putPresets}. */
  putPresets(...args: Parameters<Catalog['putPresets']>): void {
    this.catalog.send({ write: 'putPresets', args });
  }

  /** What a preset looks at; see {@link Catalog.putPresetStill}. */
  putPresetStill(...args: Parameters<Catalog['putPresetStill']>): void {
    this.catalog.send({ write: 'putPresetStill', args });
  }

  /** Asks the event index; see {@link EventCalls}. Rejects with what is wrong with an event. */
  async events(request: EventRequest): Promise<unknown> {
    await this.ready;
    // What is in the files that are being written belongs to an event of now.
    if (this.effects.clock.monotonic() - this.liveTold > LIVE_MS) this.tellLive();
    return this.query({ id: this.nextQuery++, query: 'events', args: [request] });
  }

  private tellLive(): void {
    this.liveTold = this.effects.clock.monotonic();
    const open = [...this.recorders.values()].flatMap(({ cameras }) =>
      [...cameras].flatMap(([camera, { tracks }]) =>
        [...tracks].flatMap(([stream, track]) => {
          const range = track.openRange();
          return range ? [{ camera, stream, ...range }] : [];
        }),
      ),
    );
    this.catalog.send({ live: { cameras: [...this.cameras.keys()], open } });
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
    const recorder = this.recorders.get(spec.id);
    if (!recorder) {
      this.recorders.set(spec.id, { spec, cameras: new Map() });
      return;
    }
    const streamsChanged = recorder.spec.streams.join() !== spec.streams.join();
    recorder.spec = spec;
    for (const [id, recorded] of recorder.cameras) {
      for (const track of recorded.tracks.values()) track.segmentMs = spec.segmentMs;
      if (streamsChanged) {
        this.drop(recorder, id);
        this.attach(spec.id, id);
      }
      this.keepRings(id);
    }
  }

  removeRecorder(id: string): void {
    const recorder = this.recorders.get(id);
    if (!recorder) return;
    for (const camera of [...recorder.cameras.keys()]) this.drop(recorder, camera);
    this.recorders.delete(id);
  }

  /** Throws `unknown-camera`, `unknown-recorder`, or `already-recorded` when another recorder has the camera. */
  attach(recorderId: string, cameraId: string): void {
    const recorder = this.needRecorder(recorderId);
    const camera = this.need(cameraId);
    const known = recorder.cameras.get(cameraId);
    if (known) {
      known.told = ''; // a node that took the recorder up again after a Deploy knows nothing yet
      this.tellState(recorderId, cameraId, known);
      return;
    }
    for (const [other, { cameras }] of this.recorders) {
      if (other !== recorderId && cameras.has(cameraId)) {
        throw new EngineError(
          'already-recorded',
          `camera ${cameraId} is recorded by another recorder node already: wire it to one`,
        );
      }
    }
    const demand = new Demand();
    demand.panic = this.panic.has(recorderId);
    const recorded: Recorded = { demand, tracks: new Map(), problem: undefined, told: '' };
    recorder.cameras.set(cameraId, recorded);
    for (const stream of recorder.spec.streams) {
      if (stream === 'sub' && !camera.spec.subUrl) continue;
      const gap = this.openGaps.find((row) => row.camera === cameraId && row.stream === stream) ?? null;
      this.openGaps = this.openGaps.filter((row) => row !== gap);
      const track: Track = new Track(
        { camera: cameraId, stream, segmentMs: recorder.spec.segmentMs },
        this.output(recorderId, cameraId, recorded, () => track),
        gap,
      );
      recorded.tracks.set(stream, track);
      const init = camera.initOf(stream);
      if (init) track.run(init);
    }
    this.keepRings(cameraId);
    this.tellState(recorderId, cameraId, recorded);
  }

  /** A camera that is no longer wired to the recorder. */
  detach(recorderId: string, cameraId: string): void {
    const recorder = this.recorders.get(recorderId);
    if (recorder) this.drop(recorder, cameraId);
  }

  trigger({ recorder: recorderId, camera, key, phase, start }: Trigger): void {
    const recorder = this.needRecorder(recorderId);
    const recorded = recorder.cameras.get(camera);
    if (!recorded) throw new EngineError('unknown-camera', `camera ${camera} is not wired to this recorder`);
    recorded.demand.trigger(key, phase, this.effects.clock.now(), recorder.spec.postRollMs, start);
  }

  /** `panic` and `release` are for every camera of every recorder of this engine; the others for one or all of a recorder's. */
  commandRecorder(recorderId: string, command: RecorderCommand, camera: string | null): void {
    const recorder = this.needRecorder(recorderId);
    if (command === 'panic' || command === 'release') {
      for (const [id, { cameras }] of this.recorders) {
        if (command === 'panic') this.panic.add(id);
        else this.panic.delete(id);
        for (const recorded of cameras.values()) recorded.demand.panic = command === 'panic';
      }
      return;
    }
    if (camera !== null && !recorder.cameras.has(camera)) {
      throw new EngineError('unknown-camera', `camera ${camera} is not wired to this recorder`);
    }
    for (const [id, recorded] of recorder.cameras) {
      if (camera !== null && id !== camera) continue;
      if (command === 'start') recorded.demand.start();
      else recorded.demand.stop();
    }
  }

  async coverage(camera: string, stream: StreamName, start: number, end: number): Promise<Coverage> {
    await this.ready;
    const extra = [...this.recorders.values()].flatMap(
      ({ cameras }) => cameras.get(camera)?.tracks.get(stream)?.openRange() ?? [],
    );
    const args: Parameters<Catalog['coverage']> = [camera, stream, { start, end }, extra, this.effects.clock.now()];
    return (await this.query({ id: this.nextQuery++, query: 'coverage', args })) as Coverage;
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
    await this.ready; // it is the catalogue thread that brings the catalogue up to date
    return this.retention.call(call, ...args);
  }

  /** Ends files and rows in order; cameras are let go. `cause` is what the gaps from now on are called. */
  async shutdown(): Promise<void> {
    this.cancelTick();
    this.analyses.close();
    const retained = this.retention.close();
    for (const { cameras } of this.recorders.values()) {
      for (const { tracks } of cameras.values()) {
        for (const track of tracks.values()) track.stop('restart', this.effects.clock.now());
      }
    }
    const stopped = Promise.all([...this.cameras.values()].map((camera) => camera.stop()));
    // Their last events and minutes are rows too.
    await new Promise<void>((resolve) => void this.effects.clock.after(LAST_WORDS_MS, resolve));
    this.analyses.stop();
    while (this.owners.size > 0) await new Promise<void>((resolve) => void this.effects.clock.after(20, resolve));
    await this.query({ id: this.nextQuery++, query: 'flush', args: [] });
    await Promise.all([stopped, retained]);
  }

  private query(request: Extract<CatalogRequest, { id: number }>): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.queries.set(request.id, { resolve, reject });
      this.catalog.send(request);
    });
  }

  private now(): { utc: number; mono: number } {
    return { utc: this.effects.clock.now(), mono: this.effects.clock.monotonic() };
  }

  private need(id: string): Camera {
    const camera = this.cameras.get(id);
    if (!camera) throw new EngineError('unknown-camera', `there is no camera ${id}: add a camera-source node for it`);
    return camera;
  }

  private needRecorder(id: string): Recorder {
    const recorder = this.recorders.get(id);
    if (!recorder) throw new EngineError('unknown-recorder', `there is no recorder ${id}`);
    return recorder;
  }

  private drop(recorder: Recorder, camera: string): void {
    const recorded = recorder.cameras.get(camera);
    recorder.cameras.delete(camera);
    for (const track of recorded?.tracks.values() ?? []) track.stop(null, this.effects.clock.now());
    this.keepRings(camera);
  }

  private keepRings(cameraId: string): void {
    const analysed = this.cameras.get(cameraId)?.smallest;
    const camera = this.cameras.get(cameraId);
    if (!camera) return;
    for (const stream of ['main', 'sub'] as const) {
      let keep = 0;
      for (const { spec, cameras } of this.recorders.values()) {
        const events =
          spec.mode === 'event' || (spec.mode === 'schedule' && spec.schedule.some((entry) => entry.mode === 'event'));
        if (events && cameras.get(cameraId)?.tracks.has(stream)) keep = Math.max(keep, spec.preRollMs + MAX_LATE_MS);
      }
      if (stream === analysed && this.analyses.wants(cameraId, stream)) keep = Math.max(keep, ANALYSIS_MS);
      camera.keepMs(stream, keep);
    }
  }

  private tracksOf(
    camera: string,
    stream: StreamName,
    call: (of: { track: Track; demanded: (utc: number) => Demanded | null; stopped: (utc: number) => boolean }) => void,
  ): void {
    for (const recorder of this.recorders.values()) {
      const recorded = recorder.cameras.get(camera);
      const track = recorded?.tracks.get(stream);
      if (!recorded || !track) continue;
      const { demand } = recorded;
      const { spec } = recorder;
      call({
        track,
        demanded: (utc) => demandedOf(demand, spec, utc),
        stopped: (utc) => demand.stoppedByUser(spec, utc),
      });
    }
  }

  private tick(): void {
    this.cancelTick = this.effects.clock.after(TICK_MS, () => this.tick());
    this.tellLive();
    const now = this.now();
    for (const [recorderId, recorder] of this.recorders) {
      for (const [cameraId, recorded] of recorder.cameras) {
        // Pictures of until now are still on their way: they end what ends, this is for a camera that sends none.
        const demanded = demandedOf(recorded.demand, recorder.spec, now.utc - LATE_MS);
        const paused = recorded.demand.stoppedByUser(recorder.spec, now.utc);
        for (const [stream, track] of recorded.tracks) {
          const state = this.cameras.get(cameraId)?.streamState(stream);
          const off = state?.state === 'stopped';
          track.tick(off ? null : demanded, now, causeOf(state), paused || (off && demanded !== null));
        }
        this.tellState(recorderId, cameraId, recorded);
      }
    }
    if (now.mono - this.lastHeartbeat < HEARTBEAT_MS) return;
    this.lastHeartbeat = now.mono;
    this.retention.setRates(this.rates.read(now.mono));
    for (const camera of this.cameras.values()) this.tell({ event: 'camera', message: camera.message() });
  }

  private tellState(recorder: string, camera: string, recorded: Recorded): void {
    const state: RecorderState = {
      recorder,
      camera,
      recording: [...recorded.tracks.values()].some((track) => track.isRecording),
      panic: recorded.demand.panic,
      ...(recorded.problem ? { problem: recorded.problem } : {}),
    };
    const text = JSON.stringify(state);
    if (text === recorded.told) return;
    recorded.told = text;
    this.tell({ event: 'recorder', state });
  }

  private onWriter(storage: string, reply: WriterReply): void {
    const writer = this.writers.get(storage)!;
    if (reply.event === 'room') {
      writer.full = reply.problem;
      return;
    }
    const track = this.owners.get(reply.id)?.track;
    if (reply.event === 'appended') {
      writer.backlog -= reply.bytes;
      if (writer.backlog < MAX_BACKLOG / 2) writer.behind = false;
      track?.appended(reply.id);
    } else if (reply.event === 'closed') {
      this.owners.delete(reply.id);
      track?.closed(reply.id, reply.hash);
    } else {
      this.owners.delete(reply.id);
      track?.failed(reply.id, reply.cause, reply.message, reply.goodBytes, this.effects.clock.monotonic());
    }
  }

  private output(recorder: string, camera: string, recorded: Recorded, track: () => Track): TrackOutput {
    const write = (write: Extract<CatalogRequest, { write: unknown }>['write'], ...args: unknown[]): void =>
      this.catalog.send({ write, args });
    return {
      storages: this.config.storages,
      open: (id, storage, path, header) => {
        this.owners.set(id, { track: track(), storage });
        this.writers.get(storage)!.queue.send({ op: 'open', id, path, header });
      },
      append: (id, storage, bytes, fill) => {
        const writer = this.writers.get(storage)!;
        writer.backlog += bytes;
        this.rates.add(camera, storage, bytes, this.effects.clock.monotonic());
        if (writer.backlog > MAX_BACKLOG) writer.behind = true;
        writer.queue.append(id, bytes, fill);
      },
      close: (id, storage, writes) => this.writers.get(storage)!.queue.send({ op: 'close', id, writes }),
      trim: (storage, path, size, writes) =>
        this.writers.get(storage)!.queue.send({ op: 'trim', id: path, path, size, writes }),
      refuses: (storage) => {
        const { behind, full } = this.writers.get(storage)!;
        if (full !== null) return { cause: 'storage-full', message: full };
        if (!behind) return null;
        const message = `storage folder ${storage} takes less than the cameras send; waiting for it to catch up`;
        return { cause: 'storage-slow', message };
      },
      startRecording: (of) => write('startRecording', of),
      endRecording: (id, endMs) => write('endRecording', id, endMs),
      openSegment: (segment) => write('openSegment', segment),
      closeSegment: (end) => write('closeSegment', end),
      dropSegment: (storage, path) => write('dropSegment', storage, path),
      nextGapId: () => this.nextGap++,
      gap: (gap, isNew) => {
        if (isNew) write('openGap', gap);
        else write('closeGap', gap.id, gap.end);
        const { id, ...rest } = gap;
        this.tell({ event: 'gap', recorder, message: { type: 'gap', gapId: id, ...rest } });
      },
      recording: (message) => this.tell({ event: 'recording', recorder, message }),
      problem: (problem) => {
        recorded.problem = problem ?? undefined;
        this.tellState(recorder, camera, recorded);
      },
    };
  }
}

function demandedOf(demand: Demand, spec: RecorderSpec, utc: number): Demanded | null {
  const trigger = demand.wants(spec, utc);
  return trigger ? { trigger, preRollMs: spec.preRollMs + demand.lateMs } : null;
}

function causeOf(state: { state: string; reason?: OfflineReason } | null | undefined): GapCause | null {
  if (!state || state.state === 'online') return null;
  return state.reason === 'stalled' ? 'stalled' : 'camera-offline';
}
