/** A real Node-RED in a process of its own, with this package installed in its user folder. */
import { spawn, type ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const PACKAGE = '@flow-nvr/node-red-dashboard-2-nvr';
const DASHBOARD = '@flowfuse/node-red-dashboard';
const require = createRequire(import.meta.url);
const START_TIMEOUT_MS = 30_000;
const DEPLOY_TIMEOUT_MS = 3000;
/** More than the 15 s that Node-RED gives its nodes to close. */
const STOP_TIMEOUT_MS = 20_000;
/** An environment variable by which the processes of one Node-RED are found even when their parent is dead. */
const MARK = 'FLOW_NVR_TEST_RUN';

export interface FlowNode {
  id: string;
  type: string;
  z?: string;
  [property: string]: unknown;
}

/** A message that came to a capture node (see flow.ts). */
export interface Captured<M = Record<string, unknown>> {
  name: string;
  /** When it came, by the real clock. */
  at: number;
  msg: M;
}

export interface LoopDelay {
  sinceMs: number;
  samples: number;
  meanMs: number;
  p99Ms: number;
  maxMs: number;
}

export interface NodeRedOptions {
  /** Kept, and used again, if given; a temporary folder otherwise. */
  userDir?: string;
  env?: Record<string, string>;
  /** Name under which the Node-RED to run is installed. */
  release?: 'node-red' | 'node-red-4';
  /** FlowFuse Dashboard is installed, too. */
  dashboard?: boolean;
  /** Its settings guard the editor and the dashboard, as those of npm start do. */
  guarded?: boolean;
}

/**
 * Settings of the Node-RED under test. It also measures its own event loop: `monitorEventLoopDelay` counts the whole time
 * between two ticks of its timer, so the resolution is subtracted. SIGWINCH starts it, or starts it anew (SIGUSR2 would
 * end Node-RED); it is off before, because it costs half as much CPU as an idle Node-RED.
 */
const SETTINGS = `
const { monitorEventLoopDelay } = require('node:perf_hooks');
const { appendFileSync, writeFileSync, renameSync } = require('node:fs');
const { join } = require('node:path');
const RESOLUTION_MS = 20;
const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let since, timer;
const ms = (ns) => Math.max(0, ns / 1e6 - RESOLUTION_MS);
const write = () => {
  const file = join(__dirname, 'loop.json');
  const now = { sinceMs: performance.now() - since, samples: delay.count, meanMs: ms(delay.mean), p99Ms: ms(delay.percentile(99)), maxMs: ms(delay.max) };
  writeFileSync(file + '.new', JSON.stringify(now));
  renameSync(file + '.new', file);
};
process.on('SIGWINCH', () => {
  delay.enable();
  delay.reset();
  since = performance.now();
  timer ??= setInterval(write, 1000).unref();
});
const nvr = process.env.GUARDED ? require('@flow-nvr/node-red-dashboard-2-nvr/dist/nodes/guard.js').guard(__dirname) : null;
const short = (key, value) => value && value.type === 'Buffer' ? { bufferBytes: value.data.length } : key === 'req' || key === 'res' ? undefined : value;
module.exports = {
  flowFile: 'flows.json',
  credentialSecret: 'only for tests',
  uiHost: '127.0.0.1',
  uiPort: Number(process.env.PORT),
  logging: { console: { level: 'info', metrics: false, audit: false } },
  // {user, pass: bcrypt hash} as JSON, for tests of a Node-RED that asks for a password.
  ...(process.env.HTTP_NODE_AUTH ? { httpNodeAuth: JSON.parse(process.env.HTTP_NODE_AUTH) } : {}),
  ...(nvr ? { adminAuth: nvr.adminAuth, httpAdminMiddleware: nvr.editor, dashboard: { middleware: nvr.dashboard, ioMiddleware: nvr.socket } } : {}),
  telemetry: { enabled: false, updateNotification: false },
  functionGlobalContext: {
    // performance's clocks follow the monotonic clock, which no test steps.
    capture: (name, msg) => appendFileSync(join(__dirname, 'captured.jsonl'), JSON.stringify({ name, at: performance.timeOrigin + performance.now(), msg }, short) + '\\n'),
  },
};
`;

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** Processes whose environment has the mark. A zombie has none. */
function marked(mark: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'latin1').includes(mark);
      } catch {
        return false; // it ended meanwhile
      }
    });
}

export class NodeRed {
  readonly userDir: string;
  readonly port: number;
  /** Everything it printed, over all its starts. */
  log = '';
  readonly #script: string;
  readonly #env: Record<string, string>;
  readonly #run = randomUUID();
  readonly #temporary: boolean;
  #child: ChildProcess | undefined;
  #captured: Captured[] = [];
  #capturedBytes = 0;
  #reading: Promise<void> = Promise.resolve();
  #partial = '';
  readonly #onExit = (): void => this.#killAll();

  private constructor(userDir: string, port: number, options: NodeRedOptions) {
    this.userDir = userDir;
    this.port = port;
    this.#script = join(dirname(require.resolve(`${options.release ?? 'node-red'}/package.json`)), 'red.js');
    this.#env = { ...options.env, ...(options.guarded ? { GUARDED: 'yes' } : {}) };
    this.#temporary = options.userDir === undefined;
    process.once('exit', this.#onExit);
  }

  /** Prepares a user folder; nothing runs yet. */
  static async create(options: NodeRedOptions = {}): Promise<NodeRed> {
    const userDir = options.userDir ?? (await mkdtemp(join(tmpdir(), 'flow-nvr-red-')));
    const link = join(userDir, 'node_modules', PACKAGE);
    await mkdir(dirname(link), { recursive: true });
    await rm(link, { force: true });
    await symlink(ROOT, link, 'dir');
    const dependencies: Record<string, string> = { [PACKAGE]: '*' };
    if (options.dashboard) {
      const dashboard = join(userDir, 'node_modules', DASHBOARD);
      await mkdir(dirname(dashboard), { recursive: true });
      await rm(dashboard, { force: true });
      await symlink(dirname(require.resolve(`${DASHBOARD}/package.json`)), dashboard, 'dir');
      dependencies[DASHBOARD] = '*';
    }
    await writeFile(join(userDir, 'package.json'), JSON.stringify({ name: 'user', private: true, dependencies }));
    await writeFile(join(userDir, 'settings.cjs'), SETTINGS);
    return new NodeRed(userDir, await freePort(), options);
  }

  get pid(): number {
    if (this.#child?.pid === undefined) throw new Error('Node-RED is not running');
    return this.#child.pid;
  }

  get running(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Resolves when its flows have started. */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [this.#script, '-u', this.userDir, '-s', join(this.userDir, 'settings.cjs')],
      {
        // FFmpeg gets what is named for it only.
        env: {
          ...{ ...process.env, ...this.#env, PORT: `${this.port}` },
          ...{ [MARK]: this.#run, FLOW_NVR_FFMPEG_ENV: [MARK, this.#env['FLOW_NVR_FFMPEG_ENV']].join() },
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    this.#child = child;
    let printed = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        printed += chunk.toString();
        this.log += chunk.toString();
      });
    }
    const deadline = performance.now() + START_TIMEOUT_MS;
    while (!/Started flows/.test(printed) || !/Server now running/.test(printed)) {
      if (!this.running || performance.now() > deadline) throw new Error(`Node-RED did not start:\n${printed}`);
      await wait(20);
    }
  }

  async #request(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<unknown> {
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers: { 'Content-Type': 'application/json', 'Node-RED-API-Version': 'v2', Connection: 'close', ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
    try {
      return JSON.parse(text);
    } catch {
      return text;
    }
  }

  /**
   * As the editor's Deploy button; resolves when the flows have started, for Node-RED answers before that. Credentials go in a
   * node's `credentials`, and stay if that is missing.
   */
  async deploy(flows: FlowNode[], type: 'full' | 'nodes' | 'flows' = 'full'): Promise<void> {
    const from = this.log.length;
    await this.#request('POST', '/flows', { flows }, { 'Node-RED-Deployment-Type': type });
    // Where nothing was changed it may say nothing.
    const deadline = performance.now() + DEPLOY_TIMEOUT_MS;
    while (!/Started (modified )?(flows|nodes)/.test(this.log.slice(from)) && performance.now() < deadline)
      await wait(10);
  }

  get(path: string): Promise<unknown> {
    return this.#request('GET', path);
  }

  post(path: string, body: unknown): Promise<unknown> {
    return this.#request('POST', path, body);
  }

  /** The address of a page that lets one browser into the dashboard, as the editor makes it. */
  async dashboardLink(nvr = 'nvr-store'): Promise<string> {
    const { path } = (await this.post('/nvr/dashboard-link', { nvr })) as { path: string };
    return `${this.url}${path}`;
  }

  /** The cookie of a browser that came by such a link. */
  async dashboardCookie(): Promise<string> {
    const { status, headers } = await fetch(await this.dashboardLink(), { redirect: 'manual' });
    const cookie = headers.get('set-cookie')?.split(';')[0];
    if (status !== 303 || !cookie) throw new Error(`the link answers ${status}`);
    return cookie;
  }

  /** Sends a message into an entrance node (see flow.ts); does not wait for what it causes. */
  async send(entrance: string, msg: object): Promise<void> {
    await this.#request('POST', `/test/${entrance}`, msg);
  }

  /** What came to the capture nodes so far, of one of them if named. */
  async captured<M = Record<string, unknown>>(name?: string): Promise<Captured<M>[]> {
    // One reader at a time: they share the place in the file.
    this.#reading = this.#reading.then(() => this.#readCaptured());
    await this.#reading;
    return this.#captured.filter((message) => name === undefined || message.name === name) as Captured<M>[];
  }

  async #readCaptured(): Promise<void> {
    const stream = createReadStream(join(this.userDir, 'captured.jsonl'), { start: this.#capturedBytes });
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of stream) chunks.push(chunk as Buffer);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    const data = Buffer.concat(chunks);
    // Only whole lines: the last may still be growing, or end inside a character.
    const end = data.lastIndexOf(10) + 1;
    this.#capturedBytes += end;
    const lines = (this.#partial + data.toString('utf8', 0, end)).split('\n');
    this.#partial = lines.pop() ?? '';
    this.#captured.push(...lines.map((line) => JSON.parse(line) as Captured));
  }

  /** The first captured message for which the test is true, also if it came before. */
  async waitFor<M = Record<string, unknown>>(
    name: string,
    test: (msg: M, at: number) => boolean,
    timeoutMs: number,
    what = 'message',
  ): Promise<Captured<M>> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const messages = await this.captured<M>(name);
      const found = messages.find(({ msg, at }) => test(msg, at));
      if (found !== undefined) return found;
      if (performance.now() > deadline || !this.running) {
        const last = messages.slice(-3).map((message) => JSON.stringify(message));
        throw new Error(
          `no ${what} on '${name}' in ${timeoutMs} ms; ${messages.length} others, last:\n${last.join('\n')}\n${this.log.slice(-2000)}`,
        );
      }
      await wait(50);
    }
  }

  /** Delay of its event loop since `measureLoopDelay`, at least a second ago. */
  async loopDelay(): Promise<LoopDelay> {
    return JSON.parse(await readFile(join(this.userDir, 'loop.json'), 'utf8')) as LoopDelay;
  }

  measureLoopDelay(): void {
    process.kill(this.pid, 'SIGWINCH');
  }

  /** Processes that this Node-RED started and that live, without itself. */
  children(): number[] {
    return marked(`${MARK}=${this.#run}`).filter((pid) => pid !== this.#child?.pid);
  }

  async kill(): Promise<void> {
    if (!this.running) return;
    const closed = once(this.#child!, 'exit');
    this.#child!.kill('SIGKILL');
    await closed;
  }

  /** As systemd does. */
  async stop(): Promise<void> {
    if (!this.running) return;
    const closed = once(this.#child!, 'exit');
    this.#child!.kill('SIGTERM');
    const timer = setTimeout(() => this.#child!.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await closed;
    clearTimeout(timer);
  }

  #killAll(): void {
    for (const pid of marked(`${MARK}=${this.#run}`)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        continue; // it ended meanwhile
      }
    }
  }

  /** Ends everything and removes the folder. */
  async dispose(): Promise<void> {
    await this.stop();
    this.#killAll();
    process.off('exit', this.#onExit);
    if (this.#temporary) await rm(this.userDir, { recursive: true, force: true, maxRetries: 3 });
  }
}
