/**
 * Records one stream of one camera for one recorder: a state machine fed with fragments, faults and ticks, that asks a
 * {@link TrackOutput} for files, rows and messages. No I/O, no clock of its own.
 */
import { randomUUID } from 'node:crypto';
import { encodeGopIndex, ticksOf, type Gop } from '../catalog/gop-index.ts';
import type { NewSegment, SegmentEnd } from '../catalog/catalog.ts';
import { copyRebased } from '../media/fragment.ts';
import type { GopRing, TimedFragment } from '../media/gop-ring.ts';
import { fileHeader, sealHeader, type InitSegment } from '../media/init-segment.ts';
import type { GapCause, RecordingMessage, RecordingTrigger, StreamName } from '../types.ts';
import { nextBoundary, segmentPath } from './segment-path.ts';
import type { StorageCause } from './storage-error.ts';

/** A hole shorter than this between two files is the rounding of times. */
const HOLE_MS = 300;
/** A file whose ticks lead so far away from the camera's time is followed by another. */
const MOST_OFF_MS = 500;
/** Without data for so long, no more comes of what was filmed. */
const STALL_MS = 6000;
/** Without data for so long, a gap is told (it starts at the last picture). */
const GAP_AFTER_MS = 3000;
const STORAGE_RETRY_MS = 2000;

export interface Demanded {
  trigger: RecordingTrigger;
  /** Footage before the trigger, ms. */
  preRollMs: number;
}

export interface TrackOutput {
  open(id: string, storage: string, path: string, header: Uint8Array): void;
  /** `fill` writes the bytes to a target at an offset, during the call. */
  append(id: string, storage: string, bytes: number, fill: (target: Buffer, offset: number) => void): void;
  close(id: string, storage: string, writes: { offset: number; bytes: Uint8Array }[]): void;
  /** Makes a file that failed what its row says of it: `size` bytes and the header for them. */
  trim(storage: string, path: string, size: number, writes: { offset: number; bytes: Uint8Array }[]): void;
  /** Why nothing may be written there now: its disk is behind, or about to be full. */
  refuses(storage: string): { cause: StorageCause; message: string } | null;
  storages: readonly string[];
  startRecording(of: {
    id: string;
    camera: string;
    stream: StreamName;
    trigger: RecordingTrigger;
    startMs: number;
  }): void;
  endRecording(id: string, endMs: number): void;
  openSegment(segment: NewSegment): void;
  closeSegment(end: SegmentEnd): void;
  dropSegment(storage: string, path: string): void;
  gap(
    gap: { id: number; camera: string; stream: StreamName; start: number; end: number | null; cause: GapCause },
    isNew: boolean,
  ): void;
  nextGapId(): number;
  recording(message: RecordingMessage): void;
  problem(problem: { cause: GapCause; message: string } | null): void;
}

interface Segment {
  id: string;
  storage: string;
  path: string;
  recordingId: string;
  trigger: RecordingTrigger;
  init: InitSegment;
  header: Buffer;
  startMs: number;
  /** Length of a tick of this file, from its first to its last. */
  tickMs: number;
  /** End of its last picture on the clock of the pictures, from which that of the ticks may be some way off. */
  lastMs: number;
  startTicks: number;
  endTicks: number;
  boundaryMs: number;
  gops: Gop[];
  bytes: number;
  /** The disk took its first bytes; before that nothing is told of it. */
  confirmed: boolean;
  /** `lastEnd` before it, and what to blame for the time between. */
  previousEnd: number | null;
  holeCause: GapCause;
}

export class Track {
  readonly camera: string;
  readonly stream: StreamName;
  segmentMs: number;
  private readonly out: TrackOutput;
  private init: InitSegment | null = null;
  private segment: Segment | null = null;
  private readonly closing = new Map<string, Segment>();
  private recording: { id: string; trigger: RecordingTrigger; startMs: number; bytes: number; told: boolean } | null =
    null;
  /** End of the last picture that is (or will be) in a file, UTC ms. */
  private lastEnd: number | null = null;
  private wantedSince: number | null = null;
  private lastData = 0;
  private gap: { id: number; start: number; cause: GapCause } | null;
  private storageIndex = 0;
  private trouble: { cause: StorageCause; message: string; retryAt: number } | null = null;
  private split: GapCause | null = null;
  private failures = 0;
  /** Files that begin with the same picture are told apart by a number. */
  private lastStart = -1;
  private copies = 0;

  constructor(
    of: { camera: string; stream: StreamName; segmentMs: number },
    out: TrackOutput,
    openGap: { id: number; start: number; cause: GapCause } | null,
  ) {
    this.camera = of.camera;
    this.stream = of.stream;
    this.segmentMs = of.segmentMs;
    this.out = out;
    this.gap = openGap;
  }

  get isRecording(): boolean {
    return this.segment !== null;
  }

  /** What is in the file that is being written, for coverage. */
  openRange(): { start: number; end: number } | null {
    return this.segment ? { start: this.segment.startMs, end: this.segment.lastMs } : null;
  }

  /** A new run of the stream: other media times, maybe another codec. */
  run(init: InitSegment): void {
    this.finishSegment();
    this.init = init;
  }

  clockStep(): void {
    this.split = 'clock-step';
  }

  /** @param stopped the user stopped what would be recorded */
  fragment(
    fragment: TimedFragment,
    ring: GopRing,
    wanted: Demanded | null,
    now: { utc: number; mono: number },
    stopped: boolean,
  ): void {
    if (!this.init) return;
    this.lastData = now.mono;
    if (this.segment) {
      const trigger = this.segment.trigger;
      if (!wanted) {
        this.endRun();
        this.unwanted(now.utc, stopped ? 'user-stop' : null);
        return;
      }
      const { startMs, startTicks } = fragment;
      const off = startMs - timeAt(this.segment, startTicks);
      const due =
        fragment.key &&
        (startMs >= this.segment.boundaryMs ||
          this.split !== null ||
          wanted.trigger !== trigger ||
          Math.abs(off) > MOST_OFF_MS);
      if (due) {
        if (wanted.trigger !== trigger || this.split) this.endRun();
        else this.finishSegment();
        const refused = this.out.refuses(this.out.storages[this.storageIndex]!);
        if (refused) this.storageRefuses(refused, now.mono);
        else this.begin([fragment], wanted.trigger, this.split ?? 'stalled');
        return;
      }
      const refused = this.out.refuses(this.segment.storage);
      if (refused) {
        this.storageRefuses(refused, now.mono);
        return;
      }
      // What was late is here after all.
      if (this.gap && this.segment.confirmed) this.closeGap(startMs);
      this.append(fragment);
      return;
    }
    if (!wanted) {
      this.unwanted(now.utc, stopped ? 'user-stop' : null);
      return;
    }
    this.wantedSince ??= now.utc;
    if (this.trouble && now.mono < this.trouble.retryAt) return;
    const refused = this.out.refuses(this.out.storages[this.storageIndex]!);
    if (refused) {
      if (this.trouble?.cause !== refused.cause || this.out.storages.length > 1) this.storageRefuses(refused, now.mono);
      return;
    }
    const from = wanted.trigger === 'event' ? now.utc - wanted.preRollMs : fragment.startMs;
    const start = ring.since(from);
    const after = this.lastEnd;
    // From the GOP that holds the end of what is recorded already: a few pictures twice rather than one not at all.
    // A clock that was set back makes all of them new.
    const known =
      after === null || this.split ? -1 : start.findLastIndex((held) => held.key && held.startMs <= after + HOLE_MS);
    const fresh = Math.max(0, known);
    if (!start[fresh]?.key) return;
    this.begin(start.slice(fresh), wanted.trigger, this.split ?? 'camera-offline');
    for (const held of start.slice(fresh + 1)) if (this.isRecording) this.append(held);
  }

  /**
   * Called every second, fragments or not.
   * @param offline why there are none, when the stream is known to be down
   * @param stopped the user stopped what would be recorded
   */
  tick(wanted: Demanded | null, now: { utc: number; mono: number }, offline: GapCause | null, stopped: boolean): void {
    if (!wanted) {
      // What is on its way ends the recording by the time at which it was filmed.
      const comes = !stopped && !offline && now.mono - this.lastData < STALL_MS;
      if (this.segment && comes) return;
      if (this.segment) this.endRun();
      this.unwanted(now.utc, stopped ? 'user-stop' : null);
      return;
    }
    if (this.wantedSince === null) {
      this.wantedSince = now.utc;
      this.lastData = Math.max(this.lastData, now.mono);
    }
    if (this.gap?.cause === 'user-stop') this.closeGap(now.utc);
    if (now.mono - this.lastData < GAP_AFTER_MS && !this.trouble) return;
    if (!this.gap) this.openGap(this.trouble?.cause ?? offline ?? 'stalled');
  }

  /** The writer took bytes of a file. */
  appended(id: string): void {
    const segment = this.segment?.id === id ? this.segment : this.closing.get(id);
    if (!segment || segment.confirmed) return;
    segment.confirmed = true;
    this.resume(segment);
    const { recording } = this;
    if (!recording || recording.told || recording.id !== segment.recordingId) return;
    recording.told = true;
    const { camera, stream } = this;
    this.out.startRecording({
      id: recording.id,
      camera,
      stream,
      trigger: recording.trigger,
      startMs: recording.startMs,
    });
    this.tellRecording('start', null);
  }

  /** The writer finished a file: now it may be in the catalogue. */
  closed(id: string, hash: number | null): void {
    const segment = this.closing.get(id);
    if (!segment) return;
    this.closing.delete(id);
    this.commit(segment, hash);
  }

  /** The writer could not go on with a file; `goodBytes` of it are on disk. */
  failed(id: string, cause: StorageCause, message: string, goodBytes: number, mono: number): void {
    const segment = this.segment?.id === id ? this.segment : this.closing.get(id);
    if (!segment) return;
    this.closing.delete(id);
    const wasCurrent = this.segment === segment;
    if (wasCurrent) {
      this.segment = null;
    }
    const { bytes } = segment;
    const lostUntil = segment.lastMs;
    keepBytes(segment, goodBytes);
    if (this.recording?.id === segment.recordingId) this.recording.bytes -= bytes - segment.bytes;
    if (segment.gops.length > 0) {
      const { storage, path, header, init, gops } = segment;
      this.out.trim(storage, path, header.length + segment.bytes, sealHeader(header, init.video, gops));
      this.commit(segment, null);
    } else {
      this.out.dropSegment(segment.storage, segment.path);
    }
    const end = segment.gops.length > 0 ? segment.lastMs : (segment.previousEnd ?? segment.startMs);
    if (wasCurrent) {
      this.lastEnd = end;
      this.endRecording(end);
      this.storageTrouble(cause, message, mono);
    } else {
      const start = end;
      this.out.gap(
        {
          id: this.out.nextGapId(),
          camera: this.camera,
          stream: this.stream,
          start,
          end: lostUntil,
          cause,
        },
        true,
      );
      // The next file is being written already, so this is over; but not without a word.
      this.out.problem({ cause, message });
      if (!this.trouble) this.out.problem(null);
    }
  }

  /** Ends everything in an orderly way; `cause` opens the gap that the next start closes. */
  stop(cause: GapCause | null, utc: number): void {
    const wasWanted = this.wantedSince !== null;
    this.endRun();
    if (cause && wasWanted && !this.gap) this.openGap(cause);
    else if (!cause && this.gap) this.closeGap(utc);
    this.wantedSince = null;
  }

  get idle(): boolean {
    return this.segment === null && this.closing.size === 0;
  }

  private begin(fragments: TimedFragment[], trigger: RecordingTrigger, holeCause: GapCause): void {
    const first = fragments[0]!;
    const init = this.init!;
    const { storages } = this.out;
    const storage = storages[this.storageIndex % storages.length]!;
    this.split = null;
    this.recording ??= { id: randomUUID(), trigger, startMs: first.startMs, bytes: 0, told: false };
    const id = randomUUID();
    this.copies = this.lastStart === first.startMs ? this.copies + 1 : 0;
    this.lastStart = first.startMs;
    const path = segmentPath(this.camera, this.stream, first.startMs, this.copies);
    const header = fileHeader(init);
    this.recording.bytes += header.length;
    this.segment = {
      ...{ id, storage, path, trigger, init, header, recordingId: this.recording.id },
      ...{ startMs: first.startMs, startTicks: first.startTicks, endTicks: first.startTicks, gops: [], bytes: 0 },
      ...{ tickMs: first.tickMs, lastMs: first.startMs },
      ...{ confirmed: false, previousEnd: this.lastEnd, holeCause },
      boundaryMs: nextBoundary(this.camera, first.startMs, this.segmentMs),
    };
    // In one turn with the first picture: a kill leaves no file without one.
    this.out.open(id, storage, path, header);
    const { camera, stream } = this;
    const { startMs, startTicks, tickMs } = first;
    const recordingId = this.recording.id;
    this.out.openSegment({ camera, stream, storage, path, recordingId, init: init.data, startMs, startTicks, tickMs });
    this.append(first);
  }

  private append(fragment: TimedFragment): void {
    const segment = this.segment!;
    if (fragment.key || segment.gops.length === 0) segment.gops.push({ bytes: 0, durationTicks: 0, frames: 0 });
    const gop = segment.gops.at(-1)!;
    gop.bytes += fragment.data.length;
    gop.durationTicks += fragment.durationTicks;
    gop.frames += fragment.frames;
    segment.bytes += fragment.data.length;
    this.recording!.bytes += fragment.data.length;
    segment.endTicks = Math.max(segment.endTicks, fragment.startTicks + fragment.durationTicks);
    // Behind a step of the clock times are on the new one.
    segment.lastMs = Math.max(segment.lastMs, this.split ? timeAt(segment, segment.endTicks) : fragment.endMs);
    this.lastEnd = segment.lastMs;
    this.out.append(segment.id, segment.storage, fragment.data.length, (target, offset) =>
      copyRebased(fragment, segment.init, segment.startTicks, target, offset),
    );
  }

  private finishSegment(): void {
    const segment = this.segment;
    if (!segment) return;
    this.segment = null;
    this.closing.set(segment.id, segment);
    this.out.close(segment.id, segment.storage, sealHeader(segment.header, segment.init.video, segment.gops));
  }

  private endRun(): void {
    this.finishSegment();
    if (this.lastEnd !== null) this.endRecording(this.lastEnd);
  }

  private endRecording(endMs: number): void {
    if (!this.recording) return;
    if (this.recording.told) {
      this.out.endRecording(this.recording.id, endMs);
      this.tellRecording('end', endMs);
    }
    this.recording = null;
  }

  private tellRecording(phase: 'start' | 'end', end: number | null): void {
    const { id, trigger, startMs, bytes } = this.recording!;
    this.out.recording({
      ...{ type: 'recording', phase, camera: this.camera, stream: this.stream },
      ...{ recordingId: id, trigger, start: startMs, end, bytes },
    });
  }

  private commit(segment: Segment, hash: number | null): void {
    const endMs = segment.lastMs;
    const bytes = segment.header.length + segment.bytes;
    const frames = segment.gops.reduce((sum, gop) => sum + gop.frames, 0);
    const gops = encodeGopIndex({
      timescale: segment.init.video.timescale,
      offset: segment.header.length,
      gops: segment.gops,
    });
    this.out.closeSegment({ storage: segment.storage, path: segment.path, endMs, bytes, frames, gops, hash });
    this.out.recording({
      ...{ type: 'recording', phase: 'segment', camera: this.camera, stream: this.stream },
      ...{ recordingId: segment.recordingId, trigger: segment.trigger },
      ...{ start: segment.startMs, end: endMs, bytes, file: `${segment.storage}/${segment.path}` },
    });
  }

  /** Footage is on disk again: closes the gap, or tells of a hole too short to have been noticed as it happened. */
  private resume({ startMs, previousEnd, holeCause }: Segment): void {
    const before = this.trouble;
    this.trouble = null;
    this.failures = 0;
    if (before) this.out.problem(null);
    if (this.gap) {
      this.closeGap(startMs);
      // The file begins with a keyframe before it was wanted; should it be lost, that is missing too.
      if (this.wantedSince !== null) this.wantedSince = Math.min(this.wantedSince, startMs);
    } else if (previousEnd !== null && this.wantedSince !== null) {
      const start = Math.max(previousEnd, this.wantedSince);
      if (startMs - start <= HOLE_MS) return;
      const cause = before?.cause ?? holeCause;
      const hole = { id: this.out.nextGapId(), camera: this.camera, stream: this.stream, start, cause };
      this.out.gap({ ...hole, end: null }, true);
      this.out.gap({ ...hole, end: startMs }, false);
    }
  }

  private unwanted(utc: number, cause: 'user-stop' | null): void {
    if (cause) {
      if (this.gap?.cause !== 'user-stop') {
        if (this.gap) this.closeGap(utc);
        this.gap = {
          id: this.out.nextGapId(),
          start: Math.min(utc, this.wantedSince === null ? utc : (this.lastEnd ?? utc)),
          cause,
        };
        this.tellGap(null, true);
      }
    } else if (this.gap && this.gap.cause !== 'user-stop') {
      this.closeGap(utc);
    }
    this.wantedSince = null;
    if (this.trouble) {
      this.trouble = null;
      this.out.problem(null);
    }
  }

  private openGap(cause: GapCause): void {
    const start = Math.max(this.lastEnd ?? 0, this.wantedSince ?? 0);
    this.gap = { id: this.out.nextGapId(), start, cause };
    this.tellGap(null, true);
    if (!this.segment && this.recording) this.endRecording(this.lastEnd ?? start);
  }

  private closeGap(endMs: number): void {
    if (!this.gap) return;
    this.tellGap(Math.max(endMs, this.gap.start), false);
    this.gap = null;
  }

  private tellGap(end: number | null, isNew: boolean): void {
    this.out.gap({ ...this.gap!, end, camera: this.camera, stream: this.stream }, isNew);
  }

  private storageRefuses({ cause, message }: { cause: StorageCause; message: string }, mono: number): void {
    this.endRun();
    this.storageTrouble(cause, message, mono);
  }

  /** Tries the next folder at once, and again after a while when all have failed. */
  private storageTrouble(cause: StorageCause, message: string, mono: number): void {
    this.failures++;
    this.storageIndex = (this.storageIndex + 1) % this.out.storages.length;
    const others = this.failures % this.out.storages.length !== 0;
    this.trouble = { cause, message, retryAt: others ? mono : mono + STORAGE_RETRY_MS };
    if (!this.gap) this.openGap(cause);
    this.out.problem({ cause, message });
  }
}

/** UTC ms of a time of the run, by the ticks of the file. */
function timeAt({ startMs, startTicks, tickMs }: Segment, ticks: number): number {
  return startMs + Math.round((ticks - startTicks) * tickMs);
}

/** Forgets the GOPs of which not all bytes are on disk. */
function keepBytes(segment: Segment, goodBytes: number): void {
  let at = segment.header.length;
  const whole = segment.gops.findIndex((gop) => (at += gop.bytes) > goodBytes);
  if (whole < 0) return;
  segment.gops.length = whole;
  segment.endTicks = segment.startTicks + ticksOf(segment.gops);
  segment.lastMs = timeAt(segment, segment.endTicks);
  segment.bytes = segment.gops.reduce((sum, gop) => sum + gop.bytes, 0);
}
