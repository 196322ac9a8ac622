/**
 * The engine as seen from the main thread: starts its thread, remembers what it was told so that a thread that died
 * can be started again with its cameras, and lets what its users release live on for a grace time, so that a Deploy
 * that closes and reopens nodes loses no frame.
 */
import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { cageKnown } from './cage/state.ts';
import type { PresetRow } from './catalog/catalog.ts';
import type { IndexSpec, NoticedEvent } from './events/event-store.ts';
import type { IncomingEvent, TagSample } from './events/incoming.ts';
import type { EventCalls, ToldEvent } from './events/indexer.ts';
import type { EventCursor, EventFilter } from './events/event-query.ts';
import type { IndexedEvent } from './events/types.ts';
import type { EngineEvent } from './engine.ts';
import type { LiveMedia } from './live-feed.ts';
import type { RecorderCommand, Trigger } from './recording/recorders.ts';
import { splitCredentials } from './ingest/source-url.ts';
import type { EngineCalls, EngineReply, EngineRequest, EngineThreadData } from './thread/engine-thread.ts';
import type { TuningPicture } from './thread/motion-thread.ts';
import { newPulse, watchPulse } from './thread/pulse.ts';
import type { NewHold } from './retention/retention.ts';
import type { RetentionCalls } from './retention/link.ts';
import type {
  Hold,
  Preview,
  RetentionMessage,
  RetentionSpec,
  RetentionStateMessage,
  RuleSet,
  RunResult,
} from './retention/types.ts';
import { sibling } from './thread/sibling.ts';
import type { BackupReport, CheckOptions, CheckReport, CopyReport } from './upkeep/types.ts';
import {
  EngineError,
  type CameraMessage,
  type CameraSpec,
  type Coverage,
  type EngineConfig,
  type GapMessage,
  type MotionLevels,
  type MotionMessage,
  type MotionSpec,
  type MotionState,
  type RecorderSpec,
  type RecorderState,
  type RecordingMessage,
  type StreamName,
} from './types.ts';

export interface EngineHostEvents {
  camera: [CameraMessage];
  recording: [string, RecordingMessage];
  gap: [string, GapMessage];
  recorder: [RecorderState];
  motion: [node: string, MotionMessage];
  'motion-levels': [node: string, MotionLevels];
  'motion-state': [MotionState];
  retention: [RetentionMessage];
  /** Of every change of an event, whoever noticed it. `node` is the event-index that tells of it. */
  event: [IndexedEvent, node: string | null];
  problem: [string | null];
  media: [camera: string, stream: StreamName, media: LiveMedia];
}

/** How long a released camera or recorder goes on, waiting to be taken up again. */
export const GRACE_MS = 15_000;
/** Of one call for all that a filter finds. */
const MAX_ACKNOWLEDGED = 100_000;
const RESTART_MS = 500;
/** Events of machines come once: an engine that is being begun again is asked again for so long. */
const PATIENCE_MS = 15_000;
const SHUTDOWN_MS = 10_000;
/** What may wait for an engine whose disk hangs. */
const MAX_CALLS = 50_000;

export class EngineHost extends EventEmitter<EngineHostEvents> {
  readonly config: EngineConfig;
  private worker: Worker | null = null;
  private nextId = 1;
  private readonly calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  private readonly cameras = new Map<string, CameraSpec>();
  private readonly recorders = new Map<
    string,
    {
      spec: RecorderSpec;
      cameras: Set<string>;
      /** What was started and stopped by hand last, of each camera; null for all of them, before those after it. */
      commands: Map<string | null, 'start' | 'stop'>;
    }
  >();
  private readonly releases = new Map<string, NodeJS.Timeout>();
  private readonly lastCamera = new Map<string, CameraMessage>();
  private readonly lastRecorder = new Map<string, RecorderState>();
  private readonly watched = new Map<string, [camera: string, stream: StreamName]>();
  private readonly lastMotion = new Map<string, MotionState>();
  private readonly motions = new Map<string, MotionSpec>();
  private retention: RetentionSpec | null = null;
  private lastRetention: RetentionStateMessage | null = null;
  private readonly indexes = new Map<string, IndexSpec>();
  private panic = false;
  private problem: string | null = null;
  private closed = false;

  constructor(config: EngineConfig) {
    super();
    this.setMaxListeners(0);
    this.config = config;
    this.start();
  }

  /** The last thing known of a camera. */
  cameraMessage(id: string): CameraMessage | undefined {
    return this.lastCamera.get(id);
  }

  get currentProblem(): string | null {
    return this.problem;
  }

  private start(): void {
    void cageKnown();
    const pulse = newPulse();
    const workerData: EngineThreadData = { config: this.config, pulse };
    const worker = new Worker(sibling('thread/engine-thread', import.meta.url), { workerData });
    this.worker = worker;
    let died = '';
    const unwatch = watchPulse(pulse, () => {
      died = 'it did nothing for half a minute';
      void worker.terminate();
    });
    worker.on('message', (reply: EngineReply) => this.onMessage(reply));
    worker.on('error', (error: unknown) => {
      died = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      unwatch();
      if (this.worker !== worker) return;
      this.worker = null;
      for (const { reject } of this.calls.values())
        reject(new EngineError('engine', 'the recording engine stopped; it is started again'));
      this.calls.clear();
      if (this.closed) return;
      this.tellProblem(`the recording engine stopped (${died || 'no reason given'}) and is started again`);
      this.reviveSoon();
    });
  }

  private reviveSoon(): void {
    setTimeout(() => {
      if (!this.closed) this.revive();
    }, RESTART_MS);
  }

  private revive(): void {
    try {
      this.start();
    } catch (error) {
      // The system gives no thread, or no descriptors, at the moment.
      this.tellProblem(`the recording engine cannot be started: ${String(error)}`);
      this.reviveSoon();
      return;
    }
    const quiet = (promise: Promise<unknown>): void => {
      promise.catch((error: unknown) => this.tellProblem(String(error)));
    };
    quiet(this.call('opened').then(() => this.tellProblem(null)));
    for (const spec of this.cameras.values()) quiet(this.call('setCamera', spec));
    for (const { spec, cameras, commands } of this.recorders.values()) {
      quiet(this.call('setRecorder', spec));
      for (const camera of cameras) quiet(this.call('attach', spec.id, camera));
      for (const [camera, command] of commands) {
        if (camera === null || cameras.has(camera)) quiet(this.call('commandRecorder', spec.id, command, camera));
      }
    }
    for (const spec of this.motions.values()) quiet(this.call('setMotion', spec));
    for (const [node, spec] of this.indexes) quiet(this.event('open', node, spec));
    if (this.retention) quiet(this.call('setRetention', this.retention));
    for (const [camera, stream] of this.watched.values()) quiet(this.call('watch', camera, stream));
    const [first] = this.recorders.keys();
    if (this.panic && first) quiet(this.call('commandRecorder', first, 'panic', null));
  }

  private onMessage(reply: EngineReply): void {
    if ('id' in reply) {
      const call = this.calls.get(reply.id);
      this.calls.delete(reply.id);
      if ('error' in reply) call?.reject(new EngineError(reply.error.code, reply.error.message));
      else call?.resolve(reply.result);
      return;
    }
    this.onEvent(reply);
  }

  private onEvent(event: EngineEvent): void {
    switch (event.event) {
      case 'camera':
        // Its last word may come when it is removed already.
        if (this.cameras.has(event.message.camera)) this.lastCamera.set(event.message.camera, event.message);
        this.emit('camera', event.message);
        return;
      case 'recording':
        this.emit('recording', event.recorder, event.message);
        return;
      case 'gap':
        this.emit('gap', event.recorder, event.message);
        return;
      case 'recorder':
        this.lastRecorder.set(`${event.state.recorder} ${event.state.camera}`, event.state);
        this.emit('recorder', event.state);
        return;
      case 'motion':
        this.emit('motion', event.node, event.message);
        return;
      case 'motion-levels':
        this.emit('motion-levels', event.node, event.message);
        return;
      case 'motion-state':
        this.lastMotion.set(`motion ${event.state.node} ${event.state.camera}`, event.state);
        this.emit('motion-state', event.state);
        return;
      case 'retention':
        if (event.message.type === 'storage') this.lastRetention = event.message;
        this.emit('retention', event.message);
        return;
      case 'events':
        this.onEvents(event.told);
        return;
      case 'problem':
        this.tellProblem(event.message);
        return;
      case 'media':
        this.emit('media', event.camera, event.stream, event.media);
    }
  }

  private tellProblem(message: string | null): void {
    if (message === this.problem) return;
    this.problem = message;
    this.emit('problem', message);
  }

  private call<K extends keyof EngineCalls>(
    call: K,
    ...args: Parameters<EngineCalls[K]>
  ): Promise<Awaited<ReturnType<EngineCalls[K]>>> {
    return new Promise((resolve, reject) => {
      if (!this.worker) {
        reject(new EngineError('engine', 'the recording engine is being started; try again'));
        return;
      }
      if (this.calls.size >= MAX_CALLS) {
        reject(new EngineError('busy', 'the recording engine does not answer: a disk may hang'));
        return;
      }
      const id = this.nextId++;
      this.calls.set(id, { resolve: resolve as (value: unknown) => void, reject });
      const request: EngineRequest = { id, call, args };
      this.worker.postMessage(request);
    });
  }

  /** Rejects with `bad-url`. */
  async setCamera(spec: CameraSpec): Promise<void> {
    this.keep(`camera ${spec.id}`);
    this.cameras.set(spec.id, spec);
    for (const [recorder, { cameras }] of this.recorders)
      if (cameras.has(spec.id)) this.expectAttach(recorder, spec.id);
    await this.call('setCamera', spec);
  }

  /** @param now false lets it run on for {@link GRACE_MS} in case it is taken up again */
  releaseCamera(id: string, now: boolean): void {
    this.release(`camera ${id}`, now, () => {
      this.cameras.delete(id);
      this.lastCamera.delete(id);
      for (const recorder of this.recorders.keys()) this.forget(recorder, id);
      return this.call('removeCamera', id);
    });
  }

  /** What logs and exports must not show: the cameras' passwords. */
  secrets(): string[] {
    return [...this.cameras.values()].flatMap(({ password, mainUrl, subUrl }) =>
      [password, splitCredentials(mainUrl).password, splitCredentials(subUrl ?? '').password].flatMap(
        (secret) => secret ?? [],
      ),
    );
  }

  commandCamera(id: string, command: 'start' | 'stop' | 'restart'): Promise<void> {
    return this.call('commandCamera', id, command);
  }

  /** Media of the stream comes as `media` events from now on. Rejects with `unknown-camera` or `no-stream`. */
  async watch(camera: string, stream: StreamName): Promise<void> {
    this.watched.set(`${camera} ${stream}`, [camera, stream]);
    await this.call('watch', camera, stream);
  }

  async unwatch(camera: string, stream: StreamName): Promise<void> {
    this.watched.delete(`${camera} ${stream}`);
    await this.call('unwatch', camera, stream);
  }

  /** So many bytes of media were dealt with; without it the engine stops sending at some point. */
  acknowledge(camera: string, stream: StreamName, bytes: number): void {
    this.call('acknowledge', camera, stream, bytes).catch(() => undefined); // an engine that died starts from zero
  }

  /** The last thing known of every camera. */
  get cameraMessages(): CameraMessage[] {
    return [...this.lastCamera.values()];
  }

  /** The last thing known of every recorder and camera. */
  get recorderStates(): RecorderState[] {
    return [...this.lastRecorder.values()];
  }

  snapshot(id: string): Promise<{ image: Uint8Array; time: number }> {
    return this.call('snapshot', id);
  }

  /** The last thing known of every analysis. */
  get motionStates(): MotionState[] {
    return [...this.lastMotion.values()];
  }

  /** The picture of a moment just now. Rejects with `offline`. */
  still(camera: string, time: number): Promise<{ image: Uint8Array; time: number }> {
    return this.call('still', camera, time);
  }

  /** Begins, changes or takes up again the analysis of a camera by a node. Rejects with `unknown-camera`. */
  async setMotion(spec: MotionSpec): Promise<void> {
    const key = `motion ${spec.node} ${spec.camera}`;
    this.keep(key);
    await this.call('setMotion', spec);
    this.motions.set(key, spec);
  }

  /** The cameras that a node analyses, or did until the Deploy that goes on now. */
  analysedBy(node: string): string[] {
    return [...this.motions.values()].filter((spec) => spec.node === node).map(({ camera }) => camera);
  }

  /** @param now false lets it run on for {@link GRACE_MS} in case it is taken up again */
  releaseMotion(node: string, camera: string, now: boolean): void {
    const key = `motion ${node} ${camera}`;
    this.release(key, now, () => {
      this.motions.delete(key);
      this.lastMotion.delete(key);
      return this.call('removeMotion', node, camera);
    });
  }

  motionPicture(node: string, camera: string): Promise<TuningPicture | null> {
    return this.call('motionPicture', node, camera);
  }

  putEvent(event: NoticedEvent): Promise<void> {
    return this.call('putEvent', event);
  }

  /** The camera begins to turn, or stands again: what moves in its picture meanwhile is not motion. */
  setTurning(camera: string, turning: boolean): Promise<void> {
    return this.call('setTurning', camera, turning);
  }

  /** The presets that a camera has now; those that it has not any more are forgotten. */
  putPresets(camera: string, presets: readonly PresetRow[], seenMs: number): Promise<void> {
    return this.call('putPresets', camera, presets, seenMs);
  }

  /** @param still JPEG of what the camera shows at this preset */
  putPresetStill(camera: string, token: string, still: Uint8Array, timeMs: number): Promise<void> {
    return this.call('putPresetStill', camera, token, still, timeMs);
  }

  private event<K extends keyof EventCalls>(
    call: K,
    ...args: Parameters<EventCalls[K]>
  ): Promise<ReturnType<EventCalls[K]>> {
    return this.call('events', { call, args } as never) as Promise<ReturnType<EventCalls[K]>>;
  }

  private onEvents(told: readonly ToldEvent[]): void {
    for (const { event, node } of told) this.emit('event', event, node);
    // Only now: one that was not told before the process ended is told again.
    const complete = told.filter(({ event }) => event.phase === 'complete').map(({ row }) => row);
    if (complete.length > 0) this.event('told', complete).catch(() => undefined); // then it is told again
  }

  /** An event-index node is there: `event` tells of its events from now on, also of those that became complete meanwhile. */
  async setIndex(spec: IndexSpec): Promise<void> {
    this.keep(`index ${spec.node}`);
    this.indexes.set(spec.node, spec);
    await this.event('open', spec.node, spec);
  }

  /** @param now false lets its events wait for {@link GRACE_MS} in case it is taken up again */
  releaseIndex(node: string, now: boolean): void {
    // Nobody hears of what becomes complete until it is there again.
    this.event('open', node, null).catch(() => undefined);
    this.release(`index ${node}`, now, () => {
      this.indexes.delete(node);
      return Promise.resolve();
    });
  }

  /**
   * Stores an event that came to a node, once however often it comes; `event` then tells of what is new.
   *
   * @returns its id, when it is on disk; null for one that is known, by its sender's id, and of which nothing is new
   */
  putIndexed(node: string, event: IncomingEvent, arrival: number): Promise<string | null> {
    // With a name, it is the same event when it is put again.
    const isNamed = event.eventId !== null || event.correlationId !== null;
    const named = isNamed ? event : { ...event, eventId: randomUUID() };
    return this.patiently(() => this.event('put', node, named, arrival));
  }

  private async patiently<T>(ask: () => Promise<T>): Promise<T> {
    for (const until = performance.now() + PATIENCE_MS; ;) {
      try {
        return await ask();
      } catch (error) {
        const isAway = error instanceof EngineError && error.code === 'engine';
        if (!isAway || this.closed || performance.now() > until) throw error;
      }
      await sleep(RESTART_MS);
    }
  }

  /** Keeps a value of the process. Rejects with `bad-event`. */
  putTag(node: string, sample: TagSample, arrival: number): Promise<void> {
    return this.patiently(() => this.event('tag', node, sample, arrival));
  }

  /**
   * Acknowledges one event by its id, or all that a filter finds.
   *
   * @returns how many were not acknowledged before. Rejects with `not-found` or `bad-request`
   */
  async acknowledgeEvents(which: string | EventFilter, who: string, node: string | null = null): Promise<number> {
    let sum = 0;
    let after: EventCursor | null = null;
    do {
      const { acknowledged, next }: ReturnType<EventCalls['acknowledge']> = await this.event(
        ...(['acknowledge', which, after, who, Date.now(), node] as const),
      );
      sum += acknowledged;
      after = next;
    } while (after && sum < MAX_ACKNOWLEDGED);
    return sum;
  }

  /** Rejects with `not-found`, or `bad-event` where there are too many notes. */
  annotateEvent(eventId: string, who: string, text: string, node: string | null = null): Promise<void> {
    return this.event('annotate', eventId, who, Date.now(), text, node);
  }

  /** The clip of an event is made: retention may have its footage. Does nothing the second time. */
  releaseEventHold(eventId: string): Promise<void> {
    return this.event('releaseHold', eventId);
  }

  async setRecorder(spec: RecorderSpec): Promise<void> {
    this.keep(`recorder ${spec.id}`);
    const known = this.recorders.get(spec.id);
    if (known) {
      known.spec = spec;
      for (const camera of known.cameras) this.expectAttach(spec.id, camera);
    } else {
      this.recorders.set(spec.id, { spec, cameras: new Set(), commands: new Map() });
    }
    await this.call('setRecorder', spec);
  }

  releaseRecorder(id: string, now: boolean): void {
    this.release(`recorder ${id}`, now, () => {
      this.recorders.delete(id);
      for (const [key, { recorder }] of this.lastRecorder) if (recorder === id) this.lastRecorder.delete(key);
      return this.call('removeRecorder', id);
    });
  }

  /** Rejects with `unknown-camera` or `already-recorded`. */
  async attach(recorder: string, camera: string): Promise<void> {
    this.keep(`wire ${recorder} ${camera}`);
    await this.call('attach', recorder, camera);
    this.recorders.get(recorder)?.cameras.add(camera);
  }

  trigger(trigger: Trigger): Promise<void> {
    return this.call('trigger', trigger);
  }

  async commandRecorder(recorder: string, command: RecorderCommand, camera: string | null): Promise<void> {
    await this.call('commandRecorder', recorder, command, camera);
    if (command === 'panic') this.panic = true;
    else if (command === 'release') this.panic = false;
    else {
      const commands = this.recorders.get(recorder)?.commands;
      if (camera === null) commands?.clear();
      commands?.set(camera, command);
    }
  }

  /** The recorders that a camera is wired to, or all. */
  recordersOf(camera: string | null): string[] {
    return [...this.recorders].flatMap(([id, { cameras }]) => (camera === null || cameras.has(camera) ? id : []));
  }

  coverage(camera: string, stream: StreamName, start: number, end: number): Promise<Coverage> {
    return this.call('coverage', camera, stream, start, end);
  }

  /**
   * What is deleted from now on, by the rules of one node: those of a second would contradict them. Rejects with
   * `one-retention`.
   */
  async setRetention(spec: RetentionSpec): Promise<void> {
    if (this.retention && this.retention.node !== spec.node && !this.releases.has(`retention ${this.retention.node}`)) {
      throw new EngineError('one-retention', 'this NVR has a retention node already: put all rules into one');
    }
    if (this.retention) this.keep(`retention ${this.retention.node}`);
    this.retention = spec;
    await this.call('setRetention', spec);
  }

  /** @param now false lets its rules go on for {@link GRACE_MS} in case it is taken up again */
  releaseRetention(node: string, now: boolean): void {
    if (this.retention?.node !== node) return;
    this.release(`retention ${node}`, now, () => {
      this.retention = null;
      this.lastRetention = null;
      return this.call('setRetention', null);
    });
  }

  /** How the buckets of the rules are reached: with secrets. */
  get buckets(): NonNullable<RetentionSpec['buckets']> {
    return this.retention?.buckets ?? {};
  }

  /** The last thing known of storage and rules. */
  get retentionState(): RetentionStateMessage | null {
    return this.lastRetention;
  }

  /** Deletes what is to be deleted now. Rejects with `no-rules`. */
  runRetention(): Promise<RunResult> {
    return this.call('runRetention');
  }

  /** What such rules would do now. */
  previewRetention(rules: RuleSet): Promise<Preview> {
    return this.call('previewRetention', rules);
  }

  /** Keeps footage whatever the rules say. Rejects with `bad-hold` or `too-many-holds`. */
  hold(hold: NewHold): Promise<Hold> {
    return this.call('hold', hold);
  }

  /** Rejects with `no-hold`. */
  releaseHold(id: string): Promise<Hold> {
    return this.call('releaseHold', id);
  }

  holds(): Promise<Hold[]> {
    return this.call('holds');
  }

  /** Holds what is announced. Rejects with `no-announcement`. */
  veto(...args: Parameters<RetentionCalls['veto']>): Promise<Hold[]> {
    return this.call('veto', ...args);
  }

  /** Copies what is announced to a folder, then deletes it. Rejects with `no-announcement`, `busy` or `copy`. */
  copyAnnounced(id: string, folder: string): Promise<CopyReport> {
    return this.call('copyAnnounced', id, folder);
  }

  /** Compares catalogue and files; progress comes as `retention` events. Rejects with `busy` or `cancelled`. */
  checkFootage(options: CheckOptions): Promise<CheckReport> {
    return this.call('checkFootage', options);
  }

  /** False when no check was under way. */
  cancelCheck(): Promise<boolean> {
    return this.call('cancelCheck');
  }

  /** Backs up the catalogue and what the rules name. Rejects with `busy` or `backup`. */
  backUp(): Promise<BackupReport> {
    return this.call('backUp');
  }

  /** Ends files in an orderly way, then the thread; inside the 15 s that Node-RED gives. */
  async shutdown(): Promise<void> {
    if (this.closed) return;
    this.closed = true;
    for (const timer of this.releases.values()) clearTimeout(timer);
    const { worker } = this;
    if (!worker) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, SHUTDOWN_MS);
    });
    // What an orderly end could not do, the next start does.
    await Promise.race([this.call('shutdown').catch(() => undefined), late]);
    clearTimeout(timer);
    await worker.terminate();
  }

  /** After a Deploy the camera's first messages must reach the recorder again, else it is not wired to it any more. */
  private expectAttach(recorder: string, camera: string): void {
    const key = `wire ${recorder} ${camera}`;
    this.release(key, false, () => {
      this.forget(recorder, camera);
      return this.call('detach', recorder, camera);
    });
  }

  /** As the engine does: what was started or stopped by hand is over with the wire. */
  private forget(recorder: string, camera: string): void {
    const known = this.recorders.get(recorder);
    known?.cameras.delete(camera);
    known?.commands.delete(camera);
  }

  private keep(key: string): void {
    clearTimeout(this.releases.get(key));
    this.releases.delete(key);
  }

  private release(key: string, now: boolean, call: () => Promise<unknown>): void {
    this.keep(key);
    const go = (): void => {
      this.releases.delete(key);
      call().catch((error: unknown) => this.tellProblem(error instanceof Error ? error.message : String(error)));
    };
    if (now) go();
    else this.releases.set(key, setTimeout(go, GRACE_MS).unref());
  }
}
