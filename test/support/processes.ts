/** The processes of one start, found by a mark in their environment, whoever their parent is by now. Linux only. */
import { readdirSync, readFileSync } from 'node:fs';

const MARK = 'FLOW_NVR_TEST_MARK';

export interface Process {
  pid: number;
  command: string;
  /** As it was when the process began: `NAME=value`, with zeros in between. */
  environment: string;
}

/** For the environment of what is started; FFmpeg gets none but its own and what is named for it. */
export const markOf = (mark: string): NodeJS.ProcessEnv => ({ [MARK]: mark, FLOW_NVR_FFMPEG_ENV: MARK });

export function marked(mark: string): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const environment = readFileSync(`/proc/${name}/environ`, 'utf8');
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
        // Without a command line it has ended, and nobody has asked for its exit code.
        const isMarked = environment.includes(`${MARK}=${mark}`) && command !== '';
        return isMarked ? [{ pid: Number(name), command, environment }] : [];
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (['ENOENT', 'ESRCH', 'EACCES'].includes(code ?? '')) return []; // ended meanwhile, or somebody else's
        throw error;
      }
    });
}
