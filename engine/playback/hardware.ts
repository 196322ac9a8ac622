/** Which H.264 encoder this machine has: tried with a real picture, because a driver that is listed may not work. */
import { existsSync } from 'node:fs';
import { runJob } from '../ingest/ffmpeg-process.ts';
import { EngineError } from '../types.ts';

export interface EncoderChoice {
  name: string;
  /** Options before the input. */
  input: string[];
  filter: string;
  output: string[];
  /** It works without FFmpeg's cage only: its driver wants a set-uid helper, or more memory than FFmpeg gets. */
  uncaged?: boolean;
}

const BITRATE = ['-b:v', '3M', '-maxrate', '4M', '-bufsize', '4M'];

/** In the order of preference; the last always works. */
const CHOICES: (EncoderChoice & { platform: NodeJS.Platform; device?: string })[] = [
  {
    ...{ name: 'h264_videotoolbox', platform: 'darwin', input: [], filter: '' },
    output: ['-c:v', 'h264_videotoolbox', '-realtime', '1', ...BITRATE],
  },
  {
    ...{ name: 'h264_nvenc', platform: 'linux', device: '/dev/nvidia0', input: [], filter: 'format=yuv420p' },
    output: ['-c:v', 'h264_nvenc', '-preset', 'p1', '-tune', 'ull', ...BITRATE],
  },
  {
    ...{ name: 'h264_vaapi', platform: 'linux', device: '/dev/dri/renderD128', filter: 'format=nv12,hwupload' },
    input: ['-vaapi_device', '/dev/dri/renderD128'],
    output: ['-c:v', 'h264_vaapi', ...BITRATE],
  },
  {
    ...{ name: 'h264_qsv', platform: 'linux', device: '/dev/dri/renderD128', input: [], filter: 'format=nv12' },
    output: ['-c:v', 'h264_qsv', '-preset', 'veryfast', ...BITRATE],
  },
  {
    ...{ name: 'h264_v4l2m2m', platform: 'linux', device: '/dev/video11', input: [], filter: 'format=yuv420p' },
    output: ['-c:v', 'h264_v4l2m2m', ...BITRATE],
  },
];

const SOFTWARE: EncoderChoice = {
  ...{ name: 'libx264', input: [], filter: 'format=yuv420p' },
  output: ['-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-crf', '24', ...BITRATE.slice(2)],
};

const found = new Map<string, Promise<EncoderChoice>>();

/** The best encoder that works here; found out once. Rejects with `ffmpeg` when there is no FFmpeg. */
export function findH264Encoder(ffmpegPath: string): Promise<EncoderChoice> {
  const known = found.get(ffmpegPath) ?? tryAll(ffmpegPath);
  found.set(ffmpegPath, known);
  known.catch(() => found.delete(ffmpegPath));
  return known;
}

async function tryAll(ffmpegPath: string): Promise<EncoderChoice> {
  for (const choice of CHOICES) {
    if (choice.platform !== process.platform || (choice.device && !existsSync(choice.device))) continue;
    if (await works(ffmpegPath, choice)) return choice;
    if (await works(ffmpegPath, { ...choice, uncaged: true })) return { ...choice, uncaged: true };
  }
  return SOFTWARE;
}

async function works(ffmpegPath: string, { input, filter, output, uncaged = false }: EncoderChoice): Promise<boolean> {
  const picture = ['-f', 'lavfi', '-i', 'color=size=640x360:rate=10:duration=0.5', ...(filter ? ['-vf', filter] : [])];
  try {
    const job = await runJob(ffmpegPath, ['-v', 'error', ...input, ...picture, ...output, '-f', 'null', '-'], {
      ...{ timeoutMs: 8000, work: 'encode', uncaged },
    });
    return job.code === 0;
  } catch (error) {
    if (error instanceof EngineError && error.code === 'timeout') return false;
    throw error;
  }
}
