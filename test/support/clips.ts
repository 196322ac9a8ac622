/** The pictures and sounds the simulated cameras send: made by FFmpeg once, kept in the temporary folder. */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, rename } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export type VideoCodec = 'h264' | 'h265';
/** `main` is 1080p at 4 Mb/s, `sub` 640x360 at 0.5 Mb/s; both 25 fps with a key frame a second. */
export type PictureSize = 'main' | 'sub';
/**
 * What is to be seen: `busy` moves everywhere, all the time, and counts frames; `still` is a noisy yard where nothing
 * happens; in `visits` an object crosses it in 3 of 20 seconds, in `traffic` in 1.6 of 7 ({@link CROSSING}).
 */
export type Scene = 'busy' | 'still' | 'visits' | 'traffic';
/** Seconds from the start of the clip. */
export const CROSSING = {
  still: { start: 0, end: 0, loop: 10 },
  visits: { start: 10, end: 13, loop: 20 },
  traffic: { start: 4, end: 5.6, loop: 7 },
};

export type AudioCodec = 'aac' | 'ulaw' | 'alaw';

export const FPS = 25;
const PICTURES = { main: { size: '1920x1080', kbps: 4000 }, sub: { size: '640x360', kbps: 500 } };

/** Frames count in the picture, for who can only look at it: {@link COUNT_BITS} squares, white for one, lowest bit left. */
export const COUNT_BITS = 8;
/** Left edge, top edge and size of the squares, in shares of the picture's width and height. */
export const BIT = { x: 0.1, y: 0.8, width: 0.05, height: 0.08 };
const BITS = [
  `drawbox=x=iw*${BIT.x}:y=ih*${BIT.y}:w=iw*${BIT.width * COUNT_BITS}:h=ih*${BIT.height}:color=black:t=fill`,
  ...Array.from(
    { length: COUNT_BITS },
    (_, k) =>
      `drawbox=x=iw*${(BIT.x + BIT.width * k).toFixed(2)}:y=ih*${BIT.y}:w=iw*${BIT.width}:h=ih*${BIT.height}:color=white:t=fill:enable='gt(bitand(n,${2 ** k}),0)'`,
  ),
].join(',');

const busy = (frame: string): string => `testsrc2=size=${frame}:rate=${FPS},noise=alls=10:allf=t,${BITS}`;

/** Still bars; something darker of a tenth of the width and a third of the height crosses them. */
function yard(frame: string, { start, end }: { start: number; end: number }): string {
  const [width = 0, height = 0] = frame.split('x').map(Number);
  const bars = `smptebars=size=${frame}:rate=${FPS},eq=saturation=0.4:contrast=0.6`;
  const noise = 'noise=alls=6:allf=t';
  if (end === start) return `${bars},${noise}`;
  const across = `(t-${start})/${end - start}*${width}`;
  const thing = `color=c=0x303830:size=${Math.round(width / 10)}x${Math.round(height / 3)}:rate=${FPS}`;
  const over = `overlay=x='${across}':y=${Math.round(height / 3)}:enable='between(t,${start},${end})'`;
  return `${bars}[yard];${thing}[thing];[yard][thing]${over},${noise}`;
}

/** Access unit delimiters, so that the server can cut; no reordering, as in cameras; parameter sets at each key frame. */
function videoArguments(codec: VideoCodec, size: PictureSize, scene: Scene): string[] {
  const { size: frame, kbps } = PICTURES[size];
  const seconds = scene === 'busy' ? clipFrames(codec) / FPS : CROSSING[scene].loop;
  const encoder =
    codec === 'h264'
      ? ['-c:v', 'libx264', '-preset', 'ultrafast', '-x264-params', `aud=1:scenecut=0:keyint=${FPS}:min-keyint=${FPS}`]
      : ['-c:v', 'libx265', '-preset', 'ultrafast', '-x265-params', X265];
  return [
    ...['-f', 'lavfi', '-i', scene === 'busy' ? busy(frame) : yard(frame, CROSSING[scene]), '-t', `${seconds}`],
    ...['-pix_fmt', 'yuv420p', ...encoder],
    ...[
      '-b:v',
      `${kbps}k`,
      '-maxrate',
      `${kbps}k`,
      '-bufsize',
      `${kbps / 2}k`,
      '-f',
      codec === 'h264' ? 'h264' : 'hevc',
    ],
  ];
}
const X265 = `aud=1:keyint=${FPS}:min-keyint=${FPS}:scenecut=0:bframes=0:repeat-headers=1:log-level=error`;

function audioArguments(codec: AudioCodec): string[] {
  const sine = (rate: number) => [
    '-f',
    'lavfi',
    '-i',
    `sine=frequency=440:sample_rate=${rate}`,
    '-t',
    '10',
    '-ac',
    '1',
  ];
  return {
    aac: [...sine(48_000), '-c:a', 'aac', '-b:a', '64k', '-f', 'adts'],
    ulaw: [...sine(8_000), '-f', 'mulaw'],
    alaw: [...sine(8_000), '-f', 'alaw'],
  }[codec];
}

/** How many frames a clip has before it begins again; x265 is several times slower, so its loop is shorter. */
export const clipFrames = (codec: VideoCodec): number => (codec === 'h264' ? 10 : 4) * FPS;

const making = new Map<string, Promise<string>>();

/** The file made with these arguments; its name changes with them. */
async function clip(extension: string, args: string[]): Promise<string> {
  const folder = join(tmpdir(), 'flow-nvr-clips');
  const name = createHash('sha256').update(args.join(' ')).digest('hex').slice(0, 16);
  const file = join(folder, `${name}.${extension}`);
  if (existsSync(file)) return file;
  await mkdir(folder, { recursive: true });
  const partial = `${file}.${process.pid}.partial`;
  await run('ffmpeg', ['-v', 'error', '-nostdin', '-y', ...args, partial]);
  // Another process may have made the same: whichever comes last wins, both are whole.
  await rename(partial, file);
  return file;
}

function once(extension: string, args: string[]): Promise<string> {
  const key = `${extension} ${args.join(' ')}`;
  const made = making.get(key) ?? clip(extension, args);
  making.set(key, made);
  return made;
}

export const videoClip = (codec: VideoCodec, size: PictureSize, scene: Scene = 'busy') =>
  once(codec, videoArguments(codec, size, scene));
export const audioClip = (codec: AudioCodec) => once(codec, audioArguments(codec));
