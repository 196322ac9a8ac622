/** Which of the cameras' numbered frames a recording holds. */
import { readFile } from 'node:fs/promises';

/** The UUID of the SEI message that rtsp-cameras.py puts into each access unit. */
export const MARK = Buffer.from('7e1c5ad26b9f43e8a15cd3f08e27b94d', 'hex');
const PAYLOAD_BYTES = 16;

export interface FrameStamp {
  number: number;
  sentMs: number;
}

/** Takes the next 16 payload bytes without the emulation prevention bytes among them; null at the end of the file. */
function unescape(data: Buffer, start: number): Buffer | null {
  const payload = Buffer.alloc(PAYLOAD_BYTES);
  let length = 0;
  let zeros = 0;
  for (let at = start; length < PAYLOAD_BYTES; at++) {
    const byte = data[at];
    if (byte === undefined) return null;
    if (zeros >= 2 && byte === 3) {
      zeros = 0;
      continue;
    }
    payload[length++] = byte;
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return payload;
}

/** The stamps in the order in which they are in the data, whatever the container (MP4, Annex B). */
export function stampsIn(data: Buffer): FrameStamp[] {
  const stamps: FrameStamp[] = [];
  for (let at = data.indexOf(MARK); at >= 0; at = data.indexOf(MARK, at + MARK.length)) {
    const payload = unescape(data, at + MARK.length);
    if (payload === null) break;
    stamps.push({ number: Number(payload.readBigUInt64BE(0)), sentMs: Number(payload.readBigUInt64BE(8)) / 1000 });
  }
  return stamps;
}

export const readFrames = async (file: string): Promise<FrameStamp[]> => stampsIn(await readFile(file));

export interface FrameCount {
  frames: number;
  first: FrameStamp | null;
  last: FrameStamp | null;
  /** Numbers missing between the first and the last frame, in total and as inclusive ranges. */
  lost: number;
  missing: [from: number, to: number][];
  duplicates: number;
  /** Frames that come after one with a higher number. */
  outOfOrder: number;
}

/** Counts over the files of one stream, in this order. */
export function countFrames(stamps: readonly FrameStamp[]): FrameCount {
  const sorted = stamps.toSorted((a, b) => a.number - b.number);
  const count: FrameCount = {
    frames: stamps.length,
    first: sorted[0] ?? null,
    last: sorted.at(-1) ?? null,
    lost: 0,
    missing: [],
    duplicates: 0,
    outOfOrder: 0,
  };
  for (let i = 1; i < sorted.length; i++) {
    const [before, number] = [sorted[i - 1]!.number, sorted[i]!.number];
    if (number === before) count.duplicates++;
    else if (number > before + 1) {
      count.missing.push([before + 1, number - 1]);
      count.lost += number - before - 1;
    }
  }
  let highest = -1;
  for (const { number } of stamps) {
    if (number < highest) count.outOfOrder++;
    else highest = number;
  }
  return count;
}

export async function lostFrames(files: readonly string[]): Promise<FrameCount> {
  const stamps: FrameStamp[] = [];
  for (const file of files) stamps.push(...(await readFrames(file)));
  return countFrames(stamps);
}
