/** FFmpeg children: one that runs for weeks (spawned, watched, stopped by a ladder) and jobs that end. */
import {
  spawn,
  type ChildProcessByStdio,
  type ChildProcessWithoutNullStreams,
  type StdioOptions,
} from 'node:child_process';
import type { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import type { Clock } from '../clock.ts';
import { EngineError } from '../types.ts';
import { redact } from './source-url.ts';

/** An FFmpeg that serves for weeks; its output goes where {@link Spawn} was told. */
export type Worker = ChildProcessByStdio<Writable, Readable | null, Readable>;

/**
 * Starts FFmpeg with its output to a socket, or to a pipe of its own. Its stdin stays open for `q`; it ends by itself
 * when its stdout is closed (our death included) at the next fragment, or at its I/O timeout when the camera is silent.
 */
export type Spawn = (file: string, args: readonly string[], output: Socket | 'pipe', hidden?: Hidden) => Worker;

/** What a child is told, but not in its command line, which every user of the machine can read. */
export interface Hidden {
  env?: Readonly<Record<string, string>>;
  /** On its file descriptor 3. */
  script?: string | null;
}

export const spawnFfmpeg: Spawn = (file, args, output, hidden = {}) => {
  // Cameras are asked directly: a proxy of the machine's environment is for the internet, and would see them.
  const env = { ...process.env };
  for (const name of ['http_proxy', 'HTTP_PROXY', 'no_proxy', 'NO_PROXY']) Reflect.deleteProperty(env, name);
  Object.assign(env, hidden.env);
  const stdio: StdioOptions = ['pipe', output, 'pipe', ...(hidden.script ? ['pipe' as const] : [])];
  const child = spawn(file, args, { stdio, windowsHide: true, env }) as Worker;
  if (hidden.script) {
    const script = child.stdio[3] as unknown as Writable;
    script.on('error', () => undefined); // it has ended before it read it; its exit code tells
    script.end(hidden.script);
  }
  return child;
};

const KEPT_LINES = 20;
const LINE_LENGTH = 400;
/** Of a line without end its beginning is kept, far more than is shown, so that no password is cut in two. */
const MAX_REST = 16 * 1024;

/** The last lines of a child's stderr, redacted, bounded. */
export class LastLines {
  readonly lines: string[] = [];
  private rest = '';
  private readonly secrets: readonly (string | undefined)[];

  constructor(secrets: readonly (string | undefined)[]) {
    this.secrets = secrets;
  }

  push(chunk: Buffer): void {
    const parts = (this.rest + chunk.toString('utf8')).split(/[\r\n]+/);
    this.rest = (parts.pop() ?? '').slice(0, MAX_REST);
    for (const part of parts) this.add(part);
  }

  clear(): void {
    this.lines.length = 0;
  }

  end(): void {
    this.add(this.rest);
    this.rest = '';
  }

  private add(line: string): void {
    if (!line.trim()) return;
    // Hidden before it is cut: half a password would not be found.
    const shown = redact(line, this.secrets).replace(/^\[[^\]]*\] |^async:pipe:3: /, '');
    this.lines.push(shown.slice(0, LINE_LENGTH));
    if (this.lines.length > KEPT_LINES) this.lines.shift();
  }
}

/** Time for each rung of the stop ladder. */
const RUNG_MS = 1500;

/** Ends a child: `q`, then SIGTERM, then SIGKILL. Resolves when it is gone. */
export function stopLadder(child: Worker, clock: Clock): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) {
      resolve();
      return;
    }
    let cancel = clock.after(RUNG_MS, () => {
      child.kill('SIGTERM');
      cancel = clock.after(RUNG_MS, () => child.kill('SIGKILL'));
    });
    child.once('exit', () => {
      cancel();
      resolve();
    });
    if (child.stdin.writable) child.stdin.end('q\n');
  });
}

export interface JobResult {
  stdout: Buffer;
  stderr: string[];
  code: number | null;
}

const MAX_JOB_OUTPUT = 32 * 1024 * 1024;

/** Runs an FFmpeg tool to its end. Rejects with `ffmpeg` when it cannot be started, `timeout` when it takes too long. */
export function runJob(
  file: string,
  args: readonly string[],
  options: { timeoutMs: number; input?: Buffer; secrets?: readonly (string | undefined)[]; hidden?: Hidden },
): Promise<JobResult> {
  return new Promise((resolve, reject) => {
    const child = spawnFfmpeg(file, args, 'pipe', options.hidden) as ChildProcessWithoutNullStreams;
    const chunks: Buffer[] = [];
    let bytes = 0;
    const last = new LastLines(options.secrets ?? []);
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, options.timeoutMs);
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(ffmpegMissing(file, cause));
    });
    child.stdin.on('error', () => undefined); // it may have read enough and closed; its exit code tells
    child.stdin.end(options.input);
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_JOB_OUTPUT) chunks.push(chunk);
    });
    child.stderr.on('data', (chunk: Buffer) => last.push(chunk));
    child.on('close', (code) => {
      clearTimeout(timer);
      last.end();
      if (timedOut) reject(new EngineError('timeout', `no answer within ${options.timeoutMs / 1000} s`));
      else resolve({ stdout: Buffer.concat(chunks), stderr: last.lines, code });
    });
  });
}

export function ffmpegMissing(file: string, cause: unknown): EngineError {
  return new EngineError(
    'ffmpeg',
    `cannot start ${file}: install FFmpeg 5.1 or later (Debian/Ubuntu: apt install ffmpeg) or set its path in the NVR configuration`,
    { cause },
  );
}
