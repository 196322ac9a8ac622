import { findProgram } from '../../engine/cage/detect.ts';
import { runJob } from '../../engine/ingest/ffmpeg-process.ts';
import type { Check } from './types.ts';

const OLDEST = 5;

export const ffmpeg: Check = {
  id: 'ffmpeg',
  title: 'FFmpeg',
  run: async ({ ffmpeg: path }) => {
    const install = 'Install FFmpeg 5.1 or later (Debian, Ubuntu: apt install ffmpeg), or name it with --ffmpeg.';
    const program = findProgram(path);
    if (program === null) return [{ level: 'problem', text: `${path} is not there`, advice: install }];
    const { stdout } = await runJob(program, ['-version'], { timeoutMs: 10_000 });
    const version = /^ffmpeg version (\S+)/.exec(stdout.toString('utf8'))?.[1];
    if (!version) return [{ level: 'problem', text: `${program} is not FFmpeg`, advice: install }];
    // Builds of a day have no number: N-109741-gbbe95f7353.
    const major = Number(/^n?(\d+)\./.exec(version)?.[1] ?? OLDEST);
    const text = `${version} in ${program}`;
    return [major < OLDEST ? { level: 'problem', text: `${text} is too old`, advice: install } : { level: 'ok', text }];
  },
};
