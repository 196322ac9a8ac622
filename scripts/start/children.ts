/** The processes of `npm start`: they end together, whichever of them, or of those above them, is ended first. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

/** Node-RED gives its nodes 15 s to close, and ends itself in 25 s when it sees that this process is gone. */
const PATIENCE_MS = 25_000;
const LOOK_MS = 1000;
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * The channel to it closes when this process ends, however it ends.
 * @param args of Node-RED
 * @param environment what it gets besides that of this process
 */
export function spawnNodeRed(args: readonly string[], environment: Record<string, string>): ChildProcess {
  const red = createRequire(import.meta.url).resolve('node-red/red.js');
  return spawn(process.execPath, [join(import.meta.dirname, 'node-red.ts'), red, ...args], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    env: { ...process.env, ...environment },
  });
}

/** The simulated camera of the demo. Ends with this process. */
export function spawnDemoCamera(): ChildProcess {
  const child = spawn(process.execPath, [join(import.meta.dirname, '..', 'demo-camera.ts')], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  child.on('error', (error) => console.error(`The demo camera that can be steered does not start: ${error.message}`));
  return child;
}

/** Ends Node-RED when this process is told to end, or npm, which started it, is gone. */
export function endTogether(red: ChildProcess, isOrphan: () => boolean): void {
  const end = (signal: NodeJS.Signals): void => {
    red.kill(signal);
    setTimeout(() => red.kill('SIGKILL'), PATIENCE_MS).unref();
  };
  for (const signal of SIGNALS) process.on(signal, () => end(signal));
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined); // a terminal that was closed
  const watch = setInterval(() => {
    if (!isOrphan()) return;
    clearInterval(watch);
    end('SIGTERM');
  }, LOOK_MS).unref();
}

/**
 * Tells whether npm is gone. Only of a process that npm started: one that was started from a shell may outlive it. npm runs
 * scripts in a shell, which may stay between the two and outlive npm, so the shell's parent is looked at, too.
 */
export function watchNpm(script: string): () => boolean {
  if (process.env['npm_lifecycle_event'] !== script) return () => false;
  const parent = process.ppid;
  const { name, parent: grandparent } = processInfo(parent);
  const npm = /^(ba|da|z|k|a)?sh$/.test(name) ? grandparent : null;
  return () => process.ppid !== parent || (npm !== null && !isRunning(npm));
}

function processInfo(pid: number): { name: string; parent: number | null } {
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8'); // `pid (name) state parent …`, and the name may have brackets
      const behind = stat.lastIndexOf(')');
      return { name: stat.slice(stat.indexOf('(') + 1, behind), parent: Number(stat.slice(behind + 2).split(' ')[1]) };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      return { name: '', parent: null }; // it has ended just now
    }
  }
  const { stdout } = spawnSync('ps', ['-o', 'ppid=,comm=', '-p', String(pid)], { encoding: 'utf8' });
  const [, parent, name = ''] = /^\s*(\d+)\s+(?:.*\/)?(\S+)/.exec(stdout || '') ?? [];
  return { name, parent: parent === undefined ? null : Number(parent) };
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
