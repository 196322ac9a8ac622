/** FFmpeg children: one that runs for weeks (spawned, watched, stopped by a ladder) and jobs that end. */
import {
  spawn,
  type ChildProcess,
  type ChildProcessByStdio,
  type ChildProcessWithoutNullStreams,
} from 'node:child_process';
import type { Socket } from 'node:net';
import { availableParallelism, setPriority } from 'node:os';
import type { Readable, Writable } from 'node:stream';
import { cageArgv, childEnvironment, memoryFor, type Need } from '../cage/cage.ts';
import { findProgram } from '../cage/detect.ts';
import { cageTools, measuresInForce, recheckCage } from '../cage/state.ts';
import type { Clock } from '../clock.ts';
import { adoptChild } from '../thread/child.ts';
import { EngineError } from '../types.ts';
import { redact } from '../diagnostics/redact.ts';

/** An FFmpeg that serves for weeks; its output goes where {@link Spawn} was told. */
export type Worker = ChildProcessByStdio<Writable, Readable | null, Readable>;

/**
 * Starts FFmpeg with its output to a socket, or to a pipe of its own. Its stdin stays open for `q`; it ends by itself
 * when its stdout is closed (our death included) at the next fragment, or at its I/O timeout when the camera is silent.
 */
export type Spawn = (file: string, args: readonly string[], output: Socket | 'pipe', hidden?: Hidden) => Worker;

/** What a child is told, but not in its command line, which every user of the machine can read. */
export interface Hidden {
  /** Added to its environment. */
  env?: Readonly<Record<string, string>>;
  /** On its file descriptor 3. */
  script?: string | null;
  /** It gets no network: a file or a test picture needs none. */
  offline?: boolean;
}

const CORES = availableParallelism();
const ROOT = process.getuid?.() === 0;
/** How the programs of the cage begin what they say before FFmpeg is there to say anything. */
const CAGE_SAYS = /^(prlimit|setpriv|unshare): /;

/** Decoders of what is piped to them, and encoders behind those: pipes are all they need. */
export const DECODER: Need = {
  network: false,
  memoryBytes: memoryFor('decode', CORES),
  cpuSeconds: null,
  output: null,
};
export const ENCODER: Need = { ...DECODER, memoryBytes: memoryFor('encode', CORES) };
/** Ingest may have to encode what a camera sends. */
const INGEST: Need = { ...ENCODER, network: true };
/** What tries no cage: drivers of graphics cards may need set-uid helpers and more memory than there is. */
export type Caged = Need | 'uncaged';

/** Of children that were started in a cage: whether it was the cage that kept FFmpeg from starting. Set when they close. */
const brokenCage = new WeakMap<ChildProcess, Promise<boolean>>();

type Stdio = [stdin: 'pipe' | 'ignore', stdout: Socket | 'pipe' | 'ignore', stderr: 'pipe'];

interface StartOptions {
  need: Caged;
  stdio?: Stdio;
  /** Whether it leads a process group, so that {@link killTree} ends what it started, too. */
  group?: boolean;
  hidden?: Hidden | undefined;
}

/**
 * Starts FFmpeg or ffprobe: the only place that does. In the cage as far as the machine gives one, with an environment of
 * its own. Throws `ffmpeg` when the system is out of descriptors; other failures are told by `error`.
 */
export function startFfmpeg(
  file: string,
  args: readonly string[],
  { need, stdio = ['pipe', 'pipe', 'pipe'], group = false, hidden = {} }: StartOptions,
): ChildProcess {
  // One that is not there is started without a cage: Node then says so in its usual words.
  const program = findProgram(file);
  const wrapped = program !== null && need !== 'uncaged';
  const [first = file, ...rest] = wrapped ? cageArgv(cageTools(), measuresInForce(), need, ROOT) : [];
  const argv = first === file ? args : [...rest, program!, ...args];
  const child = spawn(first, argv, {
    stdio: [...stdio, ...(hidden.script ? ['pipe' as const] : [])],
    ...{ windowsHide: true, env: { ...childEnvironment(process.env), ...hidden.env } },
    detached: group && process.platform !== 'win32',
  });
  adoptChild(child);
  if (hidden.script) (child.stdio[3] as Writable).end(hidden.script);
  if (first !== file) watchCage(child, program!);
  return child;
}

function watchCage(child: ChildProcess, program: string): void {
  let said = '';
  let failed = false;
  child.stderr!.once('data', (chunk: Buffer) => (said = chunk.toString('latin1', 0, 64)));
  child.once('error', () => (failed = true));
  child.once('close', (code) => {
    if (!failed && (code === 0 || !CAGE_SAYS.test(said))) return;
    const rechecked = recheckCage([program, '-version']);
    brokenCage.set(child, rechecked);
  });
}

/** Whether a child that closed was kept from starting by its cage; the next is started without what broke. */
export async function cageBroke(child: ChildProcess): Promise<boolean> {
  return (await brokenCage.get(child)) ?? false;
}

/** FFmpeg of a camera. */
export const spawnFfmpeg: Spawn = (file, args, output, hidden) =>
  startFfmpeg(file, args, {
    need: hidden?.offline ? ENCODER : INGEST,
    stdio: ['pipe', output, 'pipe'],
    hidden,
  }) as Worker;

/** FFmpeg that decodes what is piped to it. */
export const spawnDecoder: Spawn = (file, args, output) =>
  startFfmpeg(file, args, { need: DECODER, stdio: ['pipe', output, 'pipe'] }) as Worker;

/** Ends a child that was started as a group, with all that it started; to be called before it closed. */
export function killTree(child: ChildProcess): void {
  if (child.pid === undefined) return;
  if (process.platform === 'win32') {
    child.kill('SIGKILL');
    return;
  }
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    child.kill('SIGKILL'); // it leads no group, or is gone
  }
}

const KEPT_LINES = 20;
const LINE_LENGTH = 400;
/** Of a line without end its beginning is kept, far more than is shown, so that no password is cut in two. */
const MAX_REST = 16 * 1024;

/**
 * The last lines of a child's stderr, redacted, bounded. A camera decides how much FFmpeg has to say: only what is read is
 * redacted.
 */
export class LastLines {
  private readonly kept: string[] = [];
  private rest = '';
  private readonly secrets: readonly (string | undefined)[];

  constructor(secrets: readonly (string | undefined)[]) {
    this.secrets = secrets;
  }

  get lines(): string[] {
    // Hidden before it is cut: half a password would not be found.
    return this.kept.map((line) =>
      redact(line, this.secrets)
        .replace(/^\[[^\]]*\] |^(async:pipe:3|rtsp:\/\/127\.0\.0\.1:\d+\/): /, '')
        .slice(0, LINE_LENGTH),
    );
  }

  push(chunk: Buffer): void {
    const parts = (this.rest + chunk.toString('utf8')).split(/[\r\n]+/);
    this.rest = (parts.pop() ?? '').slice(0, MAX_REST);
    for (const part of parts.slice(-KEPT_LINES)) this.add(part);
  }

  clear(): void {
    this.kept.length = 0;
  }

  end(): void {
    this.add(this.rest);
    this.rest = '';
  }

  private add(line: string): void {
    if (!line.trim()) return;
    this.kept.push(line.slice(0, MAX_REST));
    if (this.kept.length > KEPT_LINES) this.kept.shift();
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
/** Damaged media makes FFmpeg complain of every picture; beyond this nothing good comes of it. */
const MAX_JOB_STDERR = 4 * 1024 * 1024;

export interface JobOptions {
  timeoutMs: number;
  input?: Buffer;
  secrets?: readonly (string | undefined)[];
  /** It asks a camera. */
  network?: boolean;
  work?: 'decode' | 'encode';
  /** Where it writes a file, and how large that may become. */
  output?: Need['output'];
  /** Drivers of graphics cards may not work in a cage. */
  uncaged?: boolean;
  /** Aborting it kills the job; the promise rejects with its reason. */
  signal?: AbortSignal;
  /** 0 to 19 */
  niceness?: number;
  hidden?: Hidden;
}

/**
 * Runs an FFmpeg tool to its end. Rejects with `ffmpeg` when it cannot be started or says more than it may, and `timeout`
 * when it takes too long; it is killed then.
 */
export async function runJob(file: string, args: readonly string[], options: JobOptions): Promise<JobResult> {
  const first = await runOnce(file, args, options);
  if (first.code === 0 || !(await cageBroke(first.child))) return first;
  return runOnce(file, args, options); // without what broke
}

function runOnce(
  file: string,
  args: readonly string[],
  options: JobOptions,
): Promise<JobResult & { child: ChildProcess }> {
  return new Promise((resolve, reject) => {
    const { signal, timeoutMs, output = null } = options;
    signal?.throwIfAborted();
    const need: Need = {
      ...{ network: options.network ?? false, output, memoryBytes: memoryFor(options.work ?? 'decode', CORES) },
      cpuSeconds: (timeoutMs / 1000) * CORES,
    };
    const started = startFfmpeg(file, args, {
      ...{ need: options.uncaged ? 'uncaged' : need, group: true, hidden: options.hidden },
    });
    const child = started as ChildProcessWithoutNullStreams;
    const chunks: Buffer[] = [];
    const last = new LastLines(options.secrets ?? []);
    let failure: Error | null = null;
    const give = (reason: Error): void => {
      failure ??= reason;
      killTree(child);
    };
    const timer = setTimeout(
      () => give(new EngineError('timeout', `no answer within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    const abort = (): void => give(abortError(signal?.reason));
    signal?.addEventListener('abort', abort);
    const { niceness } = options;
    if (niceness !== undefined) child.on('spawn', () => lowerPriority(child, niceness));
    child.on('error', (cause) => {
      failure ??= ffmpegMissing(file, cause);
    });
    child.stdin.on('error', () => undefined); // it may have read enough and closed; its exit code tells
    child.stdin.end(options.input);
    let bytes = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= MAX_JOB_OUTPUT) chunks.push(chunk);
      else give(new EngineError('ffmpeg', `FFmpeg wrote more than ${MAX_JOB_OUTPUT / 1024 / 1024} MB`));
    });
    let said = 0;
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.length;
      last.push(chunk);
      if (said > MAX_JOB_STDERR) give(new EngineError('ffmpeg', 'FFmpeg complains without end'));
    });
    child.on('close', (code) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      last.end();
      if (failure !== null) reject(failure);
      else resolve({ stdout: Buffer.concat(chunks), stderr: last.lines, code, child });
    });
  });
}

const abortError = (reason: unknown): Error =>
  reason instanceof Error ? reason : new DOMException('it was given up', 'AbortError');

/** Lowers a child's priority; what it waits for is worth more. */
export function lowerPriority(child: ChildProcess, niceness: number): void {
  try {
    if (child.pid !== undefined) setPriority(child.pid, niceness);
  } catch {
    // It has ended; `close` tells why.
  }
}

export function ffmpegMissing(file: string, cause: unknown): EngineError {
  return new EngineError(
    'ffmpeg',
    `cannot start ${file}: install FFmpeg 5.1 or later (Debian/Ubuntu: apt install ffmpeg) or set its path in the NVR configuration`,
    { cause },
  );
}
