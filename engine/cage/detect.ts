/** Finds out, by trying, what of the cage works on this machine: containers forbid some of it, distributions more. */
import { spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Readable } from 'node:stream';
import { cageArgv, memoryFor, MEASURES, type CageTools, type Measure, type Need } from './cage.ts';

/** A machine that does not start `true` in this time is too busy to be asked. */
const TRY_MS = 5000;
const MAX_REASON = 300;
/** Every limit that is ever set is set when it is tried. */
const ALL_LIMITS: Need = {
  ...{ network: false, memoryBytes: memoryFor('encode', 1), cpuSeconds: 3600, output: null },
};

export interface Tried {
  given: Set<Measure>;
  /** Why one is not given. */
  reasons: Map<Measure, string>;
}

/** Absolute path of a program as the shell would find it; null when it is not there or may not be run. */
export function findProgram(name: string, path = process.env.PATH ?? ''): string | null {
  const places = /[\\/]/.test(name) ? [name] : path.split(delimiter).map((folder) => join(folder || '.', name));
  for (const place of places) {
    try {
      accessSync(place, constants.X_OK);
      if (statSync(place).isFile()) return place;
    } catch {
      // Not here; the next place may have it.
    }
  }
  return null;
}

export function findTools(): CageTools {
  if (process.platform !== 'linux') return { prlimit: null, setpriv: null, unshare: null };
  const path = `${process.env.PATH ?? ''}:/usr/bin:/bin:/usr/sbin:/sbin`;
  const find = (name: string): string | null => {
    const found = findProgram(name, path);
    return found !== null && isAbsolute(found) ? found : null;
  };
  return { prlimit: find('prlimit'), setpriv: find('setpriv'), unshare: find('unshare') };
}

const TOOL: Record<Measure, keyof CageTools> = {
  limits: 'prlimit',
  ...{ privileges: 'setpriv', files: 'setpriv', network: 'unshare', rootNetwork: 'unshare' },
};

/** Whether a command line ends well; if not, what it said. */
export function succeeds([file, ...args]: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(file!, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: TRY_MS, killSignal: 'SIGKILL' });
    child.on('error', (error) => resolve(error.message));
    let said = '';
    // Out of descriptors, Node gives a child without streams.
    const stderr = child.stderr as Readable | undefined;
    stderr?.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(0, MAX_REASON)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(null);
      else resolve(said.trim().split('\n')[0] || (signal ? `ended by ${signal}` : `exit code ${code}`));
    });
  });
}

/**
 * Tries each measure alone, then all that work together; what does not work with the others is left out.
 * @param payload command line to run in the cage
 */
export async function tryMeasures(
  tools: CageTools,
  payload: readonly string[] = [findProgram('true', '/usr/bin:/bin') ?? 'true'],
  candidates: readonly Measure[] = MEASURES,
): Promise<Tried> {
  const reasons = new Map<Measure, string>();
  const attempt = (measures: readonly Measure[]): Promise<string | null> =>
    succeeds([...cageArgv(tools, new Set(measures), ALL_LIMITS), ...payload]);
  await Promise.all(
    candidates.map(async (measure) => {
      const tool = TOOL[measure];
      if (tools[tool] === null) {
        const where = process.platform === 'linux' ? `${tool} is not installed` : 'only Linux has it';
        reasons.set(measure, where);
        return;
      }
      const failed = await attempt([measure]);
      if (failed !== null) reasons.set(measure, failed);
    }),
  );
  const given = candidates.filter((measure) => !reasons.has(measure));
  for (let failed = given.length > 1 ? await attempt(given) : null; failed !== null && given.length > 0;) {
    reasons.set(given.pop()!, `not with the others: ${failed}`);
    failed = await attempt(given);
  }
  return { given: new Set(given), reasons };
}
