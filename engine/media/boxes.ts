/**
 * ISO base media file format boxes (ISO/IEC 14496-12 §4.2): finding, reading and building them. Pure functions on
 * buffers; a box that does not fit its buffer is an {@link EngineError} `bad-media`.
 */
import { EngineError } from '../types.ts';

export interface Box {
  type: string;
  /** Offset of the box header in the buffer. */
  start: number;
  /** Offset of the first payload byte. */
  payload: number;
  /** Offset behind the box. */
  end: number;
}

/** Header of the box at `offset`, or null when fewer bytes than the header needs are there. Size 0 is not supported. */
export function readBoxHeader(data: Buffer, offset: number): { type: string; headerSize: number; size: number } | null {
  if (offset + 8 > data.length) return null;
  let size = data.readUInt32BE(offset);
  let headerSize = 8;
  if (size === 1) {
    if (offset + 16 > data.length) return null;
    size = Number(data.readBigUInt64BE(offset + 8));
    headerSize = 16;
  }
  const type = data.toString('latin1', offset + 4, offset + 8);
  if (size < headerSize || !/^[\x20-\x7e\xa9]{4}$/.test(type)) {
    throw new EngineError('bad-media', `not an MP4 box at byte ${offset}: size ${size}, type ${JSON.stringify(type)}`);
  }
  return { type, headerSize, size };
}

/** What reads beyond its buffer meets media that lies about its lengths: `bad-media`. */
export function bounded<T>(read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new EngineError('bad-media', 'a box is shorter than what it says it holds', { cause: error });
  }
}

/** The boxes between two offsets, in order. */
export function* boxesIn(data: Buffer, start = 0, end = data.length): Generator<Box> {
  let offset = start;
  while (offset < end) {
    const header = readBoxHeader(data, offset);
    if (!header || offset + header.size > end) {
      throw new EngineError('bad-media', `the box at byte ${offset} is longer than what holds it`);
    }
    yield { type: header.type, start: offset, payload: offset + header.headerSize, end: offset + header.size };
    offset += header.size;
  }
}

/** First box at a path such as `['moov','trak']`, or null. */
export function findBox(data: Buffer, path: readonly string[], start = 0, end = data.length): Box | null {
  const [type, ...rest] = path;
  for (const box of boxesIn(data, start, end)) {
    if (box.type !== type) continue;
    return rest.length === 0 ? box : findBox(data, rest, box.payload, box.end);
  }
  return null;
}

/** All boxes of a type directly inside a range. */
export function boxesOfType(data: Buffer, type: string, start: number, end: number): Box[] {
  return [...boxesIn(data, start, end)].filter((box) => box.type === type);
}

/** A box made of its parts. */
export function makeBox(type: string, ...parts: readonly Buffer[]): Buffer {
  const size = parts.reduce((sum, part) => sum + part.length, 8);
  const header = Buffer.alloc(8);
  header.writeUInt32BE(size, 0);
  header.write(type, 4, 'latin1');
  return Buffer.concat([header, ...parts], size);
}

/** A full box: version and 24-bit flags before the parts. */
export function makeFullBox(type: string, version: number, flags: number, ...parts: readonly Buffer[]): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(((version << 24) | flags) >>> 0, 0);
  return makeBox(type, head, ...parts);
}

export function uint32(...values: readonly number[]): Buffer {
  const out = Buffer.alloc(values.length * 4);
  values.forEach((value, i) => out.writeUInt32BE(value >>> 0, i * 4));
  return out;
}

export function uint64(value: number): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
}
