/**
 * The init segment (ftyp + moov) of a fragmented MP4: what is in it, and the copy of it that starts a segment file.
 * Formats: ISO/IEC 14496-12 (boxes), 14496-15 (avcC, hvcC), 14496-1 (esds), RFC 6381 and 14496-15 Annex E (codec
 * strings).
 */
import { EngineError } from '../types.ts';
import { bounded, boxesIn, boxesOfType, findBox, makeBox, makeFullBox, uint32, uint64, type Box } from './boxes.ts';

export interface Track {
  id: number;
  kind: 'video' | 'audio';
  timescale: number;
  /** RFC 6381 codec, or the bare sample entry name where we have no string for it. */
  codec: string;
  /** Sample entry type: `avc1`, `hvc1`, `mp4a`, `Opus`, `mp4v`… */
  entry: string;
  width: number;
  height: number;
}

export interface InitSegment {
  /** ftyp + moov as it came, but with `hev1` renamed to `hvc1`. */
  data: Buffer;
  tracks: Track[];
  video: Track;
  audio: Track | null;
}

/** Reads ftyp + moov. Throws `bad-media` without a video track. */
export function parseInitSegment(source: Buffer): InitSegment {
  return bounded(() => readInitSegment(source));
}

function readInitSegment(source: Buffer): InitSegment {
  const data = Buffer.from(source);
  const moov = findBox(data, ['moov']);
  if (!moov) throw new EngineError('bad-media', 'the stream begins without a moov box');
  const tracks = boxesOfType(data, 'trak', moov.payload, moov.end)
    .map((trak) => parseTrack(data, trak))
    .filter((track) => track !== null);
  const video = tracks.find((track) => track.kind === 'video');
  if (!video) throw new EngineError('codec', 'the stream has no video track');
  return { data, tracks, video, audio: tracks.find((track) => track.kind === 'audio') ?? null };
}

/** RFC 6381 list for a MIME type's `codecs` parameter. */
export function codecsOf(init: InitSegment): string {
  return init.tracks.map((track) => track.codec).join(',');
}

/** ISO/IEC 10918-1, as 14496-1 numbers it. */
const JPEG = 'mp4v.6c';

/** Codecs that MP4 players and Media Source Extensions take as they are; others are transcoded by ingest. */
export function mustTranscode({ video, audio }: InitSegment): { video: boolean; audio: boolean; jpeg: boolean } {
  const playableAudio = !audio || audio.codec.startsWith('mp4a.40.') || audio.entry === 'Opus';
  return {
    video: !['avc1', 'avc3', 'hvc1'].includes(video.entry),
    audio: !playableAudio,
    jpeg: video.codec === JPEG,
  };
}

function parseTrack(data: Buffer, trak: Box): Track | null {
  const need = (path: string[]): Box => {
    const box = findBox(data, path, trak.payload, trak.end);
    if (!box) throw new EngineError('bad-media', `a track has no ${path.join('/')}`);
    return box;
  };
  const handler = data.toString('latin1', need(['mdia', 'hdlr']).payload + 8, need(['mdia', 'hdlr']).payload + 12);
  if (handler !== 'vide' && handler !== 'soun') return null;
  const tkhd = need(['tkhd']);
  const id = data.readUInt32BE(tkhd.payload + (data[tkhd.payload] === 1 ? 20 : 12));
  const mdhd = need(['mdia', 'mdhd']);
  const timescale = data.readUInt32BE(mdhd.payload + (data[mdhd.payload] === 1 ? 20 : 12));
  const stsd = need(['mdia', 'minf', 'stbl', 'stsd']);
  const [entry] = boxesIn(data, stsd.payload + 8, stsd.end);
  if (!entry || timescale === 0) throw new EngineError('bad-media', 'a track has no sample description');
  if (handler === 'vide') {
    // FFmpeg writes hev1 when it copies; parameter sets are in hvcC all the same, and Apple's players want hvc1.
    if (entry.type === 'hev1') data.write('hvc1', entry.start + 4, 'latin1');
    const type = entry.type === 'hev1' ? 'hvc1' : entry.type;
    const width = data.readUInt16BE(entry.payload + 24);
    const height = data.readUInt16BE(entry.payload + 26);
    return { id, kind: 'video', timescale, entry: type, width, height, codec: videoCodec(data, type, entry) };
  }
  const codec = audioCodec(data, entry);
  return { id, kind: 'audio', timescale, entry: entry.type, width: 0, height: 0, codec };
}

const hex2 = (value: number): string => value.toString(16).padStart(2, '0');

function videoCodec(data: Buffer, type: string, entry: Box): string {
  const children = { start: entry.payload + 78, end: entry.end };
  if (type === 'avc1' || type === 'avc3') {
    const avcC = findBox(data, ['avcC'], children.start, children.end);
    if (!avcC) return type;
    return `${type}.${[1, 2, 3].map((i) => hex2(data.readUInt8(avcC.payload + i))).join('')}`;
  }
  if (type === 'hvc1') {
    const hvcC = findBox(data, ['hvcC'], children.start, children.end);
    if (!hvcC) return type;
    const p = hvcC.payload;
    const space = ['', 'A', 'B', 'C'][data[p + 1]! >> 6]!;
    const tier = data[p + 1]! & 0x20 ? 'H' : 'L';
    // 14496-15 E.3: the compatibility flags in reverse bit order, in hex without leading zeros.
    let flags = data.readUInt32BE(p + 2);
    let reversed = 0;
    for (let i = 0; i < 32; i++) {
      reversed = ((reversed << 1) | (flags & 1)) >>> 0;
      flags >>>= 1;
    }
    const constraints = [...data.subarray(p + 6, p + 12)];
    while (constraints.at(-1) === 0) constraints.pop();
    const tail = constraints.map((byte) => `.${byte.toString(16).toUpperCase()}`).join('');
    return `hvc1.${space}${data[p + 1]! & 0x1f}.${reversed.toString(16).toUpperCase()}.${tier}${data[p + 12]!}${tail}`;
  }
  const esds = type === 'mp4v' ? findBox(data, ['esds'], children.start, children.end) : undefined;
  return esds ? `mp4v.${hex2(objectTypeOf(data, esds).type)}` : type;
}

/** From an `esds` (14496-1, 7.2.6): the object type, and where the rest of the decoder's configuration begins. */
function objectTypeOf(data: Buffer, esds: Box): { type: number; rest: number } {
  let offset = esds.payload + 4;
  const descriptor = (): number => {
    const tag = data[offset++]!;
    while (data[offset++]! & 0x80);
    return tag;
  };
  if (descriptor() !== 3) return { type: 0, rest: offset };
  offset += 3; // ES_ID and flags; FFmpeg sets no optional fields
  if (descriptor() !== 4) return { type: 0, rest: offset };
  return { type: data.readUInt8(offset), rest: offset + 13 };
}

/** `mp4a.40.N` from the DecoderSpecificInfo, `mp4a.6b` (MP3) and the like from the object type alone. */
function audioCodec(data: Buffer, entry: Box): string {
  if (entry.type !== 'mp4a') return entry.type.toLowerCase();
  const esds = findBox(data, ['esds'], entry.payload + 28, entry.end);
  if (!esds) return 'mp4a';
  const { type, rest } = objectTypeOf(data, esds);
  if (type === 0) return 'mp4a';
  if (type !== 0x40) return `mp4a.${hex2(type)}`;
  if (data[rest] !== 5) return 'mp4a.40.2';
  let offset = rest + 1;
  while (data[offset++]! & 0x80);
  return `mp4a.40.${data[offset]! >> 3}`;
}

/** Bytes kept free behind the header of a segment file, for the index that is written when it is closed. */
export const INDEX_RESERVE = 4096;

/**
 * Start of a segment file: the init segment with a `mehd` and a `free` box that {@link sealHeader} turns into the
 * duration and a `sidx` index when the file is closed.
 */
export function fileHeader(init: InitSegment): Buffer {
  const { data } = init;
  const moov = findBox(data, ['moov'])!;
  const parts: Buffer[] = [];
  for (const box of boxesIn(data, moov.payload, moov.end)) {
    if (box.type === 'mvex') {
      const rest = [...boxesIn(data, box.payload, box.end)]
        .filter((child) => child.type !== 'mehd')
        .map((child) => data.subarray(child.start, child.end));
      parts.push(makeBox('mvex', makeFullBox('mehd', 1, 0, uint64(0)), ...rest));
    } else {
      parts.push(data.subarray(box.start, box.end));
    }
  }
  const free = makeBox('free', Buffer.alloc(INDEX_RESERVE - 8));
  return Buffer.concat([data.subarray(0, moov.start), makeBox('moov', ...parts), free]);
}

/** A reference of the `sidx`: one GOP, or several where a file has more than fit. */
export interface IndexEntry {
  bytes: number;
  durationTicks: number;
}

/**
 * Where and what to write into a header made by {@link fileHeader} to close the file: the duration into `mehd`, and a
 * `sidx` (14496-12 §8.16.3) with the rest of the reserve as `free`.
 */
export function sealHeader(
  header: Buffer,
  video: Pick<Track, 'id' | 'timescale'>,
  entries: readonly IndexEntry[],
): { offset: number; bytes: Buffer }[] {
  const moov = findBox(header, ['moov'])!;
  const mvhd = findBox(header, ['moov', 'mvhd'])!;
  const mehd = findBox(header, ['moov', 'mvex', 'mehd']);
  const movieTimescale = header.readUInt32BE(mvhd.payload + (header[mvhd.payload] === 1 ? 20 : 12));
  const totalTicks = entries.reduce((sum, entry) => sum + entry.durationTicks, 0);
  const writes: { offset: number; bytes: Buffer }[] = [];
  if (mehd) {
    const duration = Math.round((totalTicks / video.timescale) * movieTimescale);
    writes.push({ offset: mehd.payload + 4, bytes: uint64(duration) });
  }
  const fitting = mergeEntries(entries, Math.floor((INDEX_RESERVE - 40 - 8) / 12));
  const body = Buffer.alloc(fitting.length * 12);
  fitting.forEach((entry, i) => {
    body.writeUInt32BE(entry.bytes & 0x7fffffff, i * 12);
    body.writeUInt32BE(entry.durationTicks >>> 0, i * 12 + 4);
    body.writeUInt32BE(0x90000000, i * 12 + 8); // starts_with_SAP, SAP_type 1
  });
  const sidxSize = 40 + body.length;
  const counts = Buffer.alloc(4);
  counts.writeUInt16BE(fitting.length, 2);
  const sidx = makeFullBox(
    'sidx',
    1,
    0,
    uint32(video.id, video.timescale),
    uint64(0), // earliest_presentation_time: files start at zero
    uint64(INDEX_RESERVE - sidxSize), // first_offset: the free box behind it
    counts,
    body,
  );
  const free = makeBox('free', Buffer.alloc(INDEX_RESERVE - sidxSize - 8));
  writes.push({ offset: moov.end, bytes: Buffer.concat([sidx, free]) });
  return writes;
}

/** Joins neighbours until at most `most` are left. */
export function mergeEntries(entries: readonly IndexEntry[], most: number): IndexEntry[] {
  const per = Math.max(1, Math.ceil(entries.length / most));
  const merged: IndexEntry[] = [];
  for (let i = 0; i < entries.length; i += per) {
    const group = entries.slice(i, i + per);
    merged.push({
      bytes: group.reduce((sum, entry) => sum + entry.bytes, 0),
      durationTicks: group.reduce((sum, entry) => sum + entry.durationTicks, 0),
    });
  }
  return merged;
}
