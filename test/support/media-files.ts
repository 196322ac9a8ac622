/** What FFmpeg, as any player would, makes of a file. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Probe {
  durationS: number;
  video: { codec: string; width: number; height: number } | null;
  audio: { codec: string; sampleRate: number; channels: number; durationS: number } | null;
}

export async function probe(file: string): Promise<Probe> {
  const { stdout } = await run('ffprobe', ['-v', 'error', '-of', 'json', '-show_format', '-show_streams', file]);
  const { format, streams } = JSON.parse(stdout) as {
    format: { duration?: string };
    streams: Record<string, string | number>[];
  };
  const video = streams.find(({ codec_type }) => codec_type === 'video');
  const audio = streams.find(({ codec_type }) => codec_type === 'audio');
  return {
    durationS: Number(format.duration),
    video: video
      ? { codec: `${video['codec_name']}`, width: Number(video['width']), height: Number(video['height']) }
      : null,
    audio: audio
      ? {
          codec: `${audio['codec_name']}`,
          sampleRate: Number(audio['sample_rate']),
          channels: Number(audio['channels']),
          durationS: Number(audio['duration']),
        }
      : null,
  };
}

/** Decodes the whole file; returns what the decoder had to say, which is nothing for a clean one. */
export async function decodeErrors(file: string): Promise<string> {
  try {
    const { stderr } = await run('ffmpeg', ['-v', 'error', '-nostdin', '-i', file, '-f', 'null', '-'], {
      maxBuffer: 64 * 1024 * 1024,
    });
    return stderr.trim();
  } catch (error) {
    return (error as { stderr?: string }).stderr ?? String(error);
  }
}

/** Of these files, those that do not play from start to end, with the reason. */
export async function unplayable(files: readonly string[]): Promise<{ file: string; why: string }[]> {
  const bad: { file: string; why: string }[] = [];
  for (const file of files) {
    const why = await decodeErrors(file);
    if (why !== '') bad.push({ file, why: why.slice(0, 500) });
  }
  return bad;
}
