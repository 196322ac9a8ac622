/** Media of a time that is long over, whose frames carry the stamps of the simulated cameras (see frames.ts). */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { FPS, videoClip } from './clips.ts';
import { MARK } from './frames.ts';

const START_CODE = Buffer.from([0, 0, 1]);
const AUD = 9;
const SEI = 6;
const USER_DATA_UNREGISTERED = 5;

/** Annex B (ITU-T H.264, annex B) cut at its access unit delimiters, each unit split before its first slice. */
function accessUnits(data: Buffer): [head: Buffer, slices: Buffer][] {
  const units: [Buffer, Buffer][] = [];
  let begin = -1;
  let split = -1;
  const end = (at: number): void => {
    if (begin >= 0 && split > begin) units.push([data.subarray(begin, split), data.subarray(split, at)]);
  };
  for (let at = data.indexOf(START_CODE); at >= 0; at = data.indexOf(START_CODE, at + 3)) {
    const nal = at > 0 && data[at - 1] === 0 ? at - 1 : at;
    const type = data[at + 3]! & 31;
    if (type === AUD) {
      end(nal);
      begin = nal;
      split = -1;
    } else if (split < begin && type >= 1 && type <= 5) {
      split = nal;
    }
  }
  end(data.length);
  return units;
}

/** With emulation prevention, as rtsp-cameras.py makes it. */
function stamp(number: number, sentMs: number): Buffer {
  const payload = Buffer.alloc(16);
  payload.writeBigUInt64BE(BigInt(number), 0);
  payload.writeBigUInt64BE(BigInt(sentMs * 1000), 8);
  const nal = [SEI];
  let zeros = 0;
  for (const byte of [USER_DATA_UNREGISTERED, MARK.length + payload.length, ...MARK, ...payload, 0x80]) {
    if (zeros >= 2 && byte <= 3) {
      nal.push(3);
      zeros = 0;
    }
    nal.push(byte);
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return Buffer.from([0, 0, 0, 1, ...nal]);
}

/** Fragmented MP4 as ingest receives it, 640x360, a keyframe a second; the first frame was sent at `startMs`. */
export async function stampedMedia(startMs: number, seconds: number): Promise<Buffer> {
  const units = accessUnits(readFileSync(await videoClip('h264', 'sub')));
  const frames = Array.from({ length: seconds * FPS }, (_, i) => {
    const [head, slices] = units[i % units.length]!;
    return Buffer.concat([head, stamp(i, startMs + (i * 1000) / FPS), slices]);
  });
  const made = spawnSync(
    'ffmpeg',
    [
      ...['-v', 'error', '-f', 'h264', '-r', `${FPS}`, '-i', 'pipe:0', '-c', 'copy', '-f', 'mp4'],
      ...['-movflags', '+empty_moov+default_base_moof+frag_keyframe', '-frag_duration', '120000', 'pipe:1'],
    ],
    { input: Buffer.concat(frames), maxBuffer: 1024 ** 3 },
  );
  if (made.status !== 0) throw new Error(`ffmpeg: ${made.stderr.toString()}`);
  return made.stdout;
}
