/** The recorders, the cameras wired to each, what wants them recorded now, and the disks that take their files. */
import type { Camera } from '../camera.ts';
import type { CatalogLink } from '../catalog/link.ts';
import type { GapRow } from '../catalog/catalog.ts';
import type { Clock } from '../clock.ts';
import type { TimedFragment, GopRing } from '../media/gop-ring.ts';
import type { InitSegment } from '../media/init-segment.ts';
import { WriteRates } from '../retention/rates.ts';
import {
  EngineError,
  type GapCause,
  type GapMessage,
  type OfflineReason,
  type RecorderSpec,
  type RecorderState,
  type RecordingMessage,
  type StreamName,
} from '../types.ts';
import { Demand, MAX_LATE_MS } from './demand.ts';
import type { WriterReply } from './file-writer.ts';
import { Track, type Demanded, type TrackOutput } from './track.ts';
import type { WriteQueue } from './write-queue.ts';

export type RecorderCommand = 'start' | 'stop' | 'panic' | 'release';

export interface Trigger {
  recorder: string;
  camera: string;
  key: string;
  phase: 'start' | 'update' | 'end' | null;
  /** When the event began; now where it does not say. */
  start?: number;
}

export type RecorderEvent =
  | { event: 'recording'; recorder: string; message: RecordingMessage }
  | { event: 'gap'; recorder: string; message: GapMessage }
  | { event: 'recorder'; state: RecorderState };

export type WriterBackend = (
  storage: string,
  onReply: (reply: WriterReply) => void,
) => Pick<WriteQueue, 'send' | 'append'>;

export interface RecordersEffects {
  clock: Clock;
  writer: WriterBackend;
  write: CatalogLink['write'];
  camera: (id: string) => Camera | undefined;
  /** Whether a camera's footage of before now is wanted may be otherwise from now on. */
  changed: (camera: string) => void;
  tell: (event: RecorderEvent) => void;
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
/** The latest that a picture gets here. */
const LATE_MS = 1000;
const CLOSING_MS = 20;

export class Recorders {
  readonly rates = new WriteRates();
  private readonly storages: readonly string[];
  private readonly effects: RecordersEffects;
  private readonly recorders = new Map<string, Recorder>();
  private readonly writers = new Map<
    string,
    { queue: Pick<WriteQueue, 'send' | 'append'>; backlog: number; behind: boolean; full: string | null }
  >();
  private readonly owners = new Map<string, { track: Track; storage: string }>();
  private readonly panic = new Set<string>();
  private openGaps: GapRow[] = [];
  private nextGap: number;

  constructor(storages: readonly string[], effects: RecordersEffects) {
    this.storages = storages;
    this.effects = effects;
    this.nextGap = effects.clock.now() * 1000;
    for (const storage of storages) {
      const queue = effects.writer(storage, (reply) => this.onWriter(storage, reply));
      this.writers.set(storage, { queue, backlog: 0, behind: false, full: null });
    }
  }

  /** Gaps of an earlier life that are still open: the first footage closes them. */
  setOpenGaps(gaps: GapRow[]): void {
    this.openGaps = gaps;
  }

  set(spec: RecorderSpec): void {
    const recorder = this.recorders.get(spec.id);
    if (!recorder) {
      this.recorders.set(spec.id, { spec, cameras: new Map() });
      return;
    }
    recorder.spec = spec;
    for (const [id, recorded] of recorder.cameras) {
      for (const [stream, track] of recorded.tracks) {
        track.segmentMs = spec.segmentMs;
        if (spec.streams.includes(stream)) continue;
        recorded.tracks.delete(stream);
        track.stop(null, this.effects.clock.now());
      }
      const camera = this.effects.camera(id);
      if (camera) this.addTracks(spec, camera, recorded);
      this.effects.changed(id);
    }
  }

  /** For the streams that have none. */
  private addTracks({ id, streams, segmentMs }: RecorderSpec, camera: Camera, recorded: Recorded): void {
    const cameraId = camera.spec.id;
    for (const stream of streams) {
      if (recorded.tracks.has(stream) || (stream === 'sub' && !camera.spec.subUrl)) continue;
      const gap = this.openGaps.find((row) => row.camera === cameraId && row.stream === stream) ?? null;
      this.openGaps = this.openGaps.filter((row) => row !== gap);
      const track: Track = new Track(
        { camera: cameraId, stream, segmentMs },
        this.output(id, cameraId, recorded, () => track),
        gap,
      );
      recorded.tracks.set(stream, track);
      const init = camera.initOf(stream);
      if (init) track.run(init);
    }
  }

  remove(id: string): void {
    const recorder = this.recorders.get(id);
    if (!recorder) return;
    for (const camera of [...recorder.cameras.keys()]) this.drop(recorder, camera);
    this.recorders.delete(id);
  }

  /** Throws `unknown-recorder`, or `already-recorded` when another recorder has the camera. */
  attach(recorderId: string, camera: Camera): void {
    const recorder = this.need(recorderId);
    const cameraId = camera.spec.id;
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
    this.addTracks(recorder.spec, camera, recorded);
    this.effects.changed(cameraId);
    this.tellState(recorderId, cameraId, recorded);
  }

  /** A camera that is no longer wired to the recorder. */
  detach(recorderId: string, cameraId: string): void {
    const recorder = this.recorders.get(recorderId);
    if (recorder) this.drop(recorder, cameraId);
  }

  trigger({ recorder: recorderId, camera, key, phase, start }: Trigger): void {
    const recorder = this.need(recorderId);
    const recorded = recorder.cameras.get(camera);
    if (!recorded) throw new EngineError('unknown-camera', `camera ${camera} is not wired to this recorder`);
    recorded.demand.trigger(key, phase, this.effects.clock.now(), recorder.spec.postRollMs, start);
  }

  /** `panic` and `release` are for every camera of every recorder of this engine; the others for one or all of a recorder's. */
  command(recorderId: string, command: RecorderCommand, camera: string | null): void {
    const recorder = this.need(recorderId);
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

  /** What is in the files that are being written. */
  open(): { camera: string; stream: StreamName; start: number; end: number }[] {
    return [...this.recorders.values()].flatMap(({ cameras }) =>
      [...cameras].flatMap(([camera, { tracks }]) =>
        [...tracks].flatMap(([stream, track]) => {
          const range = track.openRange();
          return range ? [{ camera, stream, ...range }] : [];
        }),
      ),
    );
  }

  /** How far back from now footage of a stream may be wanted, ms. */
  lookBack(camera: string, stream: StreamName): number {
    let most = 0;
    for (const { spec, cameras } of this.recorders.values()) {
      const events =
        spec.mode === 'event' || (spec.mode === 'schedule' && spec.schedule.some((entry) => entry.mode === 'event'));
      if (events && cameras.get(camera)?.tracks.has(stream)) most = Math.max(most, spec.preRollMs + MAX_LATE_MS);
    }
    return most;
  }

  run(camera: string, stream: StreamName, init: InitSegment): void {
    for (const { track } of this.of(camera, stream)) track.run(init);
  }

  clockStep(camera: string, stream: StreamName): void {
    for (const { track } of this.of(camera, stream)) track.clockStep();
  }

  fragment(camera: string, stream: StreamName, fragment: TimedFragment, ring: GopRing): void {
    for (const { track, demand, spec } of this.of(camera, stream)) {
      const now = this.now();
      // What counts is when the picture was taken, not when it got here.
      const wanted = demandedOf(demand, spec, fragment.startMs);
      track.fragment(fragment, ring, wanted, now, demand.stoppedByUser(spec, now.utc));
    }
  }

  /** To be called every second. */
  tick(): void {
    const now = this.now();
    for (const [recorderId, recorder] of this.recorders) {
      for (const [cameraId, recorded] of recorder.cameras) {
        // Pictures of until now are still on their way: they end what ends, this is for a camera that sends none.
        const demanded = demandedOf(recorded.demand, recorder.spec, now.utc - LATE_MS);
        const paused = recorded.demand.stoppedByUser(recorder.spec, now.utc);
        for (const [stream, track] of recorded.tracks) {
          const state = this.effects.camera(cameraId)?.streamState(stream);
          const off = state?.state === 'stopped';
          track.tick(off ? null : demanded, now, causeOf(state), paused || (off && demanded !== null));
        }
        this.tellState(recorderId, cameraId, recorded);
      }
    }
  }

  /** A camera that is no longer there. */
  removeCamera(camera: string): void {
    for (const recorder of this.recorders.values()) this.drop(recorder, camera);
  }

  /** Ends all files in order. Resolves when they are on disk. */
  async close(): Promise<void> {
    const { clock } = this.effects;
    for (const { cameras } of this.recorders.values()) {
      for (const { tracks } of cameras.values()) {
        for (const track of tracks.values()) track.stop('restart', clock.now());
      }
    }
    while (this.owners.size > 0) await new Promise<void>((resolve) => void clock.after(CLOSING_MS, resolve));
  }

  private *of(camera: string, stream: StreamName): Generator<{ track: Track; demand: Demand; spec: RecorderSpec }> {
    for (const { spec, cameras } of this.recorders.values()) {
      const recorded = cameras.get(camera);
      const track = recorded?.tracks.get(stream);
      if (recorded && track) yield { track, demand: recorded.demand, spec };
    }
  }

  private now(): { utc: number; mono: number } {
    return { utc: this.effects.clock.now(), mono: this.effects.clock.monotonic() };
  }

  private need(id: string): Recorder {
    const recorder = this.recorders.get(id);
    if (!recorder) throw new EngineError('unknown-recorder', `there is no recorder ${id}`);
    return recorder;
  }

  private drop(recorder: Recorder, camera: string): void {
    const recorded = recorder.cameras.get(camera);
    recorder.cameras.delete(camera);
    for (const track of recorded?.tracks.values() ?? []) track.stop(null, this.effects.clock.now());
    this.effects.changed(camera);
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
    this.effects.tell({ event: 'recorder', state });
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
    const { write, tell } = this.effects;
    return {
      storages: this.storages,
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
        tell({ event: 'gap', recorder, message: { type: 'gap', gapId: id, ...rest } });
      },
      recording: (message) => tell({ event: 'recording', recorder, message }),
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
