/** Simulated cameras as a process of their own: GStreamer's RTSP server with numbered frames (rtsp-cameras.py). */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { audioClip, videoClip, type AudioCodec, type PictureSize, type Scene, type VideoCodec } from './clips.ts';

const SCRIPT = fileURLToPath(new URL('rtsp-cameras.py', import.meta.url));
/** Debian's Python, which sees Debian's GStreamer bindings; another one may come first on the PATH. */
const PYTHON = '/usr/bin/python3';
const START_TIMEOUT_MS = 15_000;

export interface MountOptions {
  video?: VideoCodec;
  size?: PictureSize;
  scene?: Scene;
  /** Frames a second that it sends; those of the clip if there is none. */
  fps?: number;
  audio?: AudioCodec;
  /** Its times are from a clock of its own: seconds that it says have passed in one. */
  pace?: number;
  user?: string;
  password?: string;
}

export interface MountStats {
  /** Frames and bytes sent to somebody. */
  sent: number;
  bytes: number;
  /** Number of the first and last frame sent, null before the first client. */
  first: number | null;
  last: number | null;
  /** Number of the frame a camera films now. */
  now: number;
  serving: boolean;
}

export interface ServerOptions {
  auth?: 'digest' | 'basic';
}

interface Answer {
  id?: number;
  ready?: boolean;
  port?: number;
  epochNs?: number;
  error?: string;
  mounts?: Record<string, MountStats>;
}

export class Cameras {
  #child: ChildProcessWithoutNullStreams | undefined;
  #waiting = new Map<number, (answer: Answer) => void>();
  #nextId = 1;
  #epochNs = 0;
  #stderr = '';
  readonly #config: object;
  /** Stays the same over `kill` and `restart`, as the numbering of frames does. */
  port = 0;

  constructor(config: object) {
    this.#config = config;
  }

  url(mount: string, port = this.port): string {
    return `rtsp://127.0.0.1:${port}/${mount}`;
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('the cameras are not running');
    return this.#child.pid;
  }

  /** Resolves when clients can connect, with that moment. */
  async start(): Promise<number> {
    const child = spawn(PYTHON, [SCRIPT], { stdio: 'pipe' });
    this.#child = child;
    child.stderr.on('data', (chunk: Buffer) => (this.#stderr = (this.#stderr + chunk.toString()).slice(-4000)));
    // Writing to a process that was killed is no error of the test.
    child.stdin.on('error', () => undefined);
    child.stdin.write(`${JSON.stringify({ ...this.#config, port: this.port, epochNs: this.#epochNs })}\n`);
    return new Promise((resolve, reject) => {
      const fail = (why: string) => reject(new Error(`cameras: ${why}\n${this.#stderr}`));
      const timer = setTimeout(() => fail('no answer'), START_TIMEOUT_MS);
      child.once('error', (error) => fail(error.message));
      child.once('close', () => fail('ended'));
      createInterface({ input: child.stdout }).on('line', (line) => {
        const answer = JSON.parse(line) as Answer;
        if (answer.ready) {
          clearTimeout(timer);
          this.port = answer.port ?? 0;
          this.#epochNs = answer.epochNs ?? 0;
          resolve(Date.now());
        } else if (answer.id !== undefined) {
          this.#waiting.get(answer.id)?.(answer);
          this.#waiting.delete(answer.id);
        }
      });
    });
  }

  async stats(): Promise<Record<string, MountStats>> {
    return (await this.#ask({ command: 'stats' })).mounts ?? {};
  }

  /** The mount stays connected and sends nothing, until thawed. */
  async freeze(mount: string, frozen = true): Promise<void> {
    await this.#ask({ command: frozen ? 'freeze' : 'thaw', mount });
  }

  /** Sets the clock of a mount with a pace. */
  async shift(mount: string, ms: number): Promise<void> {
    await this.#ask({ command: 'shift', mount, ms });
  }

  async #ask(request: object): Promise<Answer> {
    const id = this.#nextId++;
    const child = this.#child;
    if (child?.exitCode !== null) throw new Error('the cameras are not running');
    const answer = await new Promise<Answer>((resolve) => {
      this.#waiting.set(id, resolve);
      child.stdin.write(`${JSON.stringify({ id, ...request })}\n`);
    });
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer;
  }

  /** All cameras hang: connections stay, nothing comes. */
  pause(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** All cameras lose their power. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'close');
  }

  /** Back on the same port, numbering as if they had filmed on. */
  restart(): Promise<number> {
    return this.start();
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child?.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGCONT');
    child.stdin.end();
    const timer = setTimeout(() => child.kill('SIGKILL'), 3000);
    await once(child, 'close');
    clearTimeout(timer);
  }
}

/** Starts one server with these mounts; makes their clips first if they are not there yet. */
export async function startCameras(
  mounts: Record<string, MountOptions>,
  options: ServerOptions = {},
): Promise<Cameras> {
  const entries = Object.entries(mounts).map(
    async ([name, { video = 'h264', size = 'sub', scene = 'busy', fps, audio, pace, user, password }]) => [
      name,
      {
        video: await videoClip(video, size, scene),
        ...(fps === undefined ? {} : { fps }),
        ...(audio === undefined ? {} : { audio: await audioClip(audio) }),
        ...(pace === undefined ? {} : { pace }),
        ...(user === undefined ? {} : { user, password: password ?? '' }),
      },
    ],
  );
  const cameras = new Cameras({
    mounts: Object.fromEntries((await Promise.all(entries)) as [string, object][]),
    auth: options.auth ?? 'digest',
  });
  await cameras.start();
  return cameras;
}
