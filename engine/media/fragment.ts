/** Fragments (moof + mdat) of fragmented MP4 and the parser that cuts a byte stream into them. */
import { EngineError } from '../types.ts';
import { boxesIn, bounded, readBoxHeader } from './boxes.ts';
import { parseInitSegment, type InitSegment } from './init-segment.ts';
import { takeSlab } from './slab.ts';

/** The times of a fragment are its video track's, in that track's timescale. */
export interface Fragment {
  /** moof + mdat. Valid during the call that passes it and while it is in the ring; its memory is used again then. */
  data: Buffer;
  startTicks: number;
  durationTicks: number;
  /** Video frames in it. */
  frames: number;
  /** Its first video frame is a sync sample: a GOP begins here. */
  key: boolean;
  /** Where each track's decode time stands in `data`, for {@link copyRebased}. */
  decodeTimes: DecodeTime[];
  /** Where the counts of video samples stand in `data`, for {@link copyKeyframe}. */
  sampleCounts: number[];
}

interface DecodeTime {
  track: number;
  /** Offset of baseMediaDecodeTime in `data`. */
  offset: number;
  wide: boolean;
}

/** What a moof says of one track. Times in that track's timescale. */
interface TrackRun {
  startTicks: number;
  durationTicks: number;
  samples: number;
  key: boolean;
  /** Offsets of its sample counts. */
  counts: number[];
}

/** A copy of a fragment that shows its first picture only: for who wants keyframes, the others are not there to decode. */
export function copyKeyframe({ data, sampleCounts }: Fragment): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(data);
  const view = new DataView(copy.buffer);
  sampleCounts.forEach((offset, i) => view.setUint32(offset, i === 0 ? 1 : 0));
  return copy;
}

/** A copy of the fragment in `target` at `offset`, its decode times lowered by `ticks` (video timescale). */
export function copyRebased(
  fragment: Fragment,
  init: InitSegment,
  ticks: number,
  target: Buffer,
  offset: number,
): void {
  fragment.data.copy(target, offset);
  for (const time of fragment.decodeTimes) {
    const track = init.tracks.find((candidate) => candidate.id === time.track);
    if (!track) continue;
    const by = Math.round((ticks / init.video.timescale) * track.timescale);
    const at = offset + time.offset;
    // Audio of the first fragment may begin some milliseconds before its picture.
    if (time.wide) target.writeBigUInt64BE(BigInt(Math.max(0, Number(target.readBigUInt64BE(at)) - by)), at);
    else target.writeUInt32BE(Math.max(0, target.readUInt32BE(at) - by), at);
  }
}

/** Raises the decode times of all fragments in `data` by `ticks` (video timescale), in place. */
export function shiftDecodeTimes(data: Buffer, init: InitSegment, ticks: number): void {
  bounded(() => shift(data, init, ticks));
}

function shift(data: Buffer, init: InitSegment, ticks: number): void {
  let offset = 0;
  while (offset < data.length) {
    const moof = readBoxHeader(data, offset);
    const mdat = moof && readBoxHeader(data, offset + moof.size);
    if (!moof || !mdat) throw new EngineError('bad-media', `half a fragment at byte ${offset}`);
    const fragment = parseFragment(data.subarray(offset, offset + moof.size), init.video.id);
    for (const { track, offset: at, wide } of fragment.decodeTimes) {
      const found = init.tracks.find(({ id }) => id === track);
      const by = found ? Math.round((ticks / init.video.timescale) * found.timescale) : 0;
      // Sound may begin some milliseconds before the keyframe that becomes time 0.
      if (wide) data.writeBigUInt64BE(BigInt(Math.max(0, Number(data.readBigUInt64BE(offset + at)) + by)), offset + at);
      else data.writeUInt32BE(Math.max(0, data.readUInt32BE(offset + at) + by) >>> 0, offset + at);
    }
    offset += moof.size + mdat.size;
  }
}

const NON_SYNC = 0x00010000;
/** Pictures or pieces of sound in a run; a fragment has a few. */
const MAX_SAMPLES = 1_000_000;

/** Reads the moof at the start of a fragment (14496-12 §8.8). A fragment of audio alone has 0 frames. */
export function parseFragment(data: Buffer, videoTrack: number): Fragment {
  return bounded(() => readFragment(data, videoTrack));
}

function readFragment(data: Buffer, videoTrack: number): Fragment {
  const [moof] = boxesIn(data, 0, readBoxHeader(data, 0)?.size ?? 0);
  if (moof?.type !== 'moof') throw new EngineError('bad-media', 'expected a moof box');
  const fragment: Fragment = {
    data,
    startTicks: -1,
    durationTicks: 0,
    frames: 0,
    key: false,
    decodeTimes: [],
    sampleCounts: [],
  };
  for (const traf of boxesIn(data, moof.payload, moof.end)) {
    if (traf.type !== 'traf') continue;
    const { track, wide, timeOffset, run } = parseTraf(data, traf.payload, traf.end);
    if (timeOffset > 0) fragment.decodeTimes.push({ track, wide, offset: timeOffset });
    if (track === videoTrack && run.samples > 0) {
      fragment.startTicks = run.startTicks;
      fragment.durationTicks = run.durationTicks;
      fragment.frames = run.samples;
      fragment.key = run.key;
      fragment.sampleCounts = run.counts;
    }
  }
  return fragment;
}

function parseTraf(
  data: Buffer,
  start: number,
  end: number,
): { track: number; wide: boolean; timeOffset: number; run: TrackRun } {
  let track = 0;
  let wide = false;
  let timeOffset = 0;
  let defaultDuration = 0;
  let defaultFlags = 0;
  const run: TrackRun = { startTicks: 0, durationTicks: 0, samples: 0, key: false, counts: [] };
  for (const box of boxesIn(data, start, end)) {
    let p = box.payload;
    const version = data[p]!;
    const flags = data.readUIntBE(p + 1, 3);
    p += 4;
    if (box.type === 'tfhd') {
      track = data.readUInt32BE(p);
      p += 4;
      if (flags & 0x1) p += 8;
      if (flags & 0x2) p += 4;
      if (flags & 0x8) {
        defaultDuration = data.readUInt32BE(p);
        p += 4;
      }
      if (flags & 0x10) p += 4;
      if (flags & 0x20) defaultFlags = data.readUInt32BE(p);
    } else if (box.type === 'tfdt') {
      timeOffset = p;
      wide = version === 1;
      run.startTicks = wide ? Number(data.readBigUInt64BE(p)) : data.readUInt32BE(p);
      if (!Number.isSafeInteger(run.startTicks)) throw new EngineError('bad-media', 'a fragment of no possible time');
    } else if (box.type === 'trun') {
      const count = data.readUInt32BE(p);
      run.counts.push(p);
      p += 4;
      if (flags & 0x1) p += 4;
      let firstFlags: number | null = null;
      if (flags & 0x4) {
        firstFlags = data.readUInt32BE(p);
        p += 4;
      }
      // Samples without fields of their own cost no bytes: nothing is counted up to a number that only a box names.
      const fields = [0x100, 0x200, 0x400, 0x800].filter((field) => flags & field).length;
      if (count > MAX_SAMPLES || count * fields * 4 > box.end - p)
        throw new EngineError('bad-media', 'a trun box has fewer samples than it says');
      if (fields === 0) {
        run.durationTicks += count * defaultDuration;
        if (count > 0 && run.samples === 0) run.key = ((firstFlags ?? defaultFlags) & NON_SYNC) === 0;
      }
      for (let i = 0; fields > 0 && i < count; i++) {
        let sampleFlags = defaultFlags;
        if (flags & 0x100) {
          run.durationTicks += data.readUInt32BE(p);
          p += 4;
        } else {
          run.durationTicks += defaultDuration;
        }
        if (flags & 0x200) p += 4;
        if (flags & 0x400) {
          sampleFlags = data.readUInt32BE(p);
          p += 4;
        }
        if (flags & 0x800) p += 4;
        if (i === 0 && run.samples === 0) run.key = ((firstFlags ?? sampleFlags) & NON_SYNC) === 0;
      }
      run.samples += count;
    }
  }
  return { track, wide, timeOffset, run };
}

/** A box of this size is no camera's frame but a broken stream; it would only eat memory. */
const MAX_BOX_BYTES = 64 * 1024 * 1024;

/**
 * Cuts FFmpeg's output into the init segment and fragments. Throws `bad-media` on anything that is not fragmented MP4;
 * the caller restarts the stream.
 */
export class FragmentParser {
  private slab: Buffer = Buffer.allocUnsafeSlow(0);
  /** The unit that is collected is between these offsets of the slab. */
  private start = 0;
  private end = 0;
  /** Bytes it needs before it can be looked at. */
  private need = 8;
  private head: Buffer[] = [];
  init: InitSegment | null = null;
  private readonly onInit: (init: InitSegment) => void;
  private readonly onFragment: (fragment: Fragment) => void;

  constructor(onInit: (init: InitSegment) => void, onFragment: (fragment: Fragment) => void) {
    this.onInit = onInit;
    this.onFragment = onFragment;
  }

  /** Takes bytes; they are copied. */
  push(chunk: Buffer): void {
    let taken = 0;
    while (taken < chunk.length) {
      if (this.end === this.slab.length || this.start + this.need > this.slab.length) this.renewSlab();
      const copied = chunk.copy(this.slab, this.end, taken);
      this.end += copied;
      taken += copied;
      while (this.end - this.start >= this.need) {
        const used = this.take(this.slab.subarray(this.start, this.end));
        if (used === 0) break;
        this.start += used;
      }
    }
  }

  /** A new slab that begins with what is unfinished: those before may be in use for as long as the ring holds them. */
  private renewSlab(): void {
    const unfinished = this.slab.subarray(this.start, this.end);
    this.slab = takeSlab(this.need);
    this.end = unfinished.copy(this.slab);
    this.start = 0;
  }

  /** Handles one whole unit at the start of `data`; returns its bytes, or 0 after setting `need`. */
  private take(data: Buffer): number {
    const first = readBoxHeader(data, 0);
    if (!first) return this.wait(16);
    if (first.size > MAX_BOX_BYTES) throw new EngineError('bad-media', `a ${first.type} box of ${first.size} bytes`);
    let total = first.size;
    if (first.type === 'moof') {
      // Collect the moof together with its mdat.
      if (data.length < first.size + 8) return this.wait(first.size + 8);
      const second = readBoxHeader(data, first.size);
      if (!second) return this.wait(first.size + 16);
      if (second.type !== 'mdat') throw new EngineError('bad-media', `a ${second.type} box follows a moof`);
      if (second.size > MAX_BOX_BYTES) throw new EngineError('bad-media', `a mdat box of ${second.size} bytes`);
      total += second.size;
    }
    if (data.length < total) return this.wait(total);
    this.need = 8;
    this.handle(first.type, data.subarray(0, total));
    return total;
  }

  private wait(bytes: number): 0 {
    this.need = bytes;
    return 0;
  }

  private handle(type: string, unit: Buffer): void {
    if (type === 'ftyp') {
      this.head = [Buffer.from(unit)];
    } else if (type === 'moov') {
      this.init = parseInitSegment(Buffer.concat([...this.head, unit]));
      this.head = [];
      this.onInit(this.init);
    } else if (type === 'moof') {
      if (!this.init) throw new EngineError('bad-media', 'a fragment came before the init segment');
      this.onFragment(parseFragment(unit, this.init.video.id));
    }
  }
}
