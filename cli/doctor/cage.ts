import type { Measure } from '../../engine/cage/cage.ts';
import { findProgram, findTools, tryMeasures } from '../../engine/cage/detect.ts';
import type { Check, Finding } from './types.ts';

const WHAT: Record<Measure, string> = {
  limits: 'limits of memory, CPU time and files',
  privileges: 'no new privileges',
  files: 'a file system that is read-only but for its output',
  network: 'no network for what decodes',
  rootNetwork: 'no network for what decodes and writes files, as root',
};
const TODO: Record<Measure, string> = {
  limits: 'Install util-linux (prlimit).',
  privileges: 'Install util-linux (setpriv).',
  files: 'Needs util-linux 2.40 or later (Debian 13, Ubuntu 25.04) and a kernel with Landlock.',
  network:
    'Needs util-linux (unshare) and user namespaces: containers and Ubuntu 24.04 forbid them (kernel.apparmor_restrict_unprivileged_userns, or the seccomp profile of the container).',
  rootNetwork: 'Run Node-RED as an ordinary user.',
};

/** FFmpeg is kept small where the system can do that; what is missing is advice: nothing depends on it. */
export const cage: Check = {
  id: 'cage',
  title: 'FFmpeg’s cage',
  run: async ({ ffmpeg }) => {
    if (process.platform !== 'linux')
      return [
        {
          level: 'advice',
          text: 'only Linux has one',
          advice: 'Run the recorder on Linux if cameras are not trusted.',
        },
      ];
    const root = process.getuid?.() === 0;
    const program = findProgram(ffmpeg);
    const { reasons } = await tryMeasures(findTools(), program === null ? undefined : [program, '-version']);
    const findings = (Object.keys(WHAT) as Measure[])
      .filter((measure) => measure !== 'rootNetwork' || root)
      .map((measure): Finding => {
        const why = reasons.get(measure);
        if (why === undefined) return { level: 'ok', text: WHAT[measure] };
        return { level: 'advice', text: `not ${WHAT[measure]}: ${why}`, advice: TODO[measure] };
      });
    if (root)
      findings.push({ level: 'advice', text: 'this user is root', advice: 'Run Node-RED as a user of its own.' });
    return findings;
  },
};
