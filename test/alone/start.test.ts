import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { marked, markOf } from '../support/processes.ts';

const START = join(import.meta.dirname, '../../scripts/start.ts');
const SECRET = 'S3cr@t';

async function listen(): Promise<{ port: number; close: () => Promise<unknown> }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, close: () => new Promise((closed) => server.close(closed)) };
}

/** Files and folders that every user of the computer may read, or write. */
function readableByOthers(folder: string): string[] {
  const all = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  return ['.', ...all].filter((name) => {
    const found = lstatSync(join(folder, name), { throwIfNoEntry: false }); // temporary files go meanwhile
    return found !== undefined && (found.mode & 0o027) !== 0;
  });
}

/** One `npm start`. */
class Start {
  output = '';
  readonly port: number;
  readonly #child: ChildProcess;
  readonly ended: Promise<unknown[]>;

  constructor(port: number, userDir: string, env: NodeJS.ProcessEnv, ...args: string[]) {
    this.port = port;
    const umask = process.umask(0); // modes are those that are asked for
    this.#child = spawn(process.execPath, [START, '--port', String(port), '--user-dir', userDir, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    process.umask(umask);
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
    this.ended = once(this.#child, 'exit');
  }

  get pid(): number {
    return this.#child.pid!;
  }

  async until(what: string, test: () => boolean, timeoutMs = 240_000): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!test()) {
      assert.ok(this.#child.exitCode === null && performance.now() < deadline, `no ${what}:\n${this.output}`);
      await wait(100);
    }
  }

  /** As Ctrl-C does; resolves with the exit code. */
  async stop(): Promise<unknown> {
    this.#child.kill('SIGINT');
    const [code] = await this.ended;
    return code;
  }
}

describe('npm start', function () {
  this.timeout(300_000);
  let userDir: string;
  const running: Start[] = [];

  const start = async (env: NodeJS.ProcessEnv, ...args: string[]): Promise<Start> => {
    const { port, close } = await listen();
    await close();
    const started = new Start(port, userDir, env, ...args);
    running.push(started);
    return started;
  };
  const files = (folder: string): string[] =>
    existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }) : [];

  before(async () => {
    userDir = await mkdtemp(join(tmpdir(), 'flow-nvr-start-'));
  });
  after(async () => {
    for (const started of running) await started.stop();
    await rm(userDir, { recursive: true, force: true, maxRetries: 3 });
  });

  it('records the demo cameras, says where, and ends cleanly', async () => {
    const demo = await start({});
    await demo.until('address', () => demo.output.includes('Ctrl-C'));
    assert.ok(demo.output.includes(`http://127.0.0.1:${demo.port}/`));
    assert.ok(demo.output.includes(join(userDir, 'nvr')));
    for (const camera of ['demo-1', 'demo-2']) {
      await demo.until(`file of ${camera}`, () =>
        files(join(userDir, 'nvr', camera)).some((file) => file.endsWith('.mp4')),
      );
    }
    assert.deepEqual(readableByOthers(join(userDir, 'nvr')), []);
    assert.equal(await demo.stop(), 0, demo.output);
    await assert.rejects(fetch(`http://127.0.0.1:${demo.port}/`));
  });

  it('takes the cameras of the command line, keeps their passwords secret and the old flow beside', async () => {
    const cameras = ['front=rtsp://viewer@127.0.0.1:9/x', 'gate=lavfi:testsrc=size=320x240:rate=5'];
    const started = await start(
      { FLOW_NVR_PASSWORD_FRONT: SECRET, ...markOf(userDir) },
      ...cameras.flatMap((camera) => ['--camera', camera]),
    );
    await started.until('file of gate', () =>
      files(join(userDir, 'nvr', 'gate')).some((file) => file.endsWith('.mp4')),
    );
    const url = `http://127.0.0.1:${started.port}/credentials/camera-source/nvr-camera-front`;
    assert.deepEqual(await (await fetch(url)).json(), { username: 'viewer', has_password: true });
    if (process.platform === 'linux') {
      const processes = marked(userDir);
      assert.ok(processes.length >= 3, 'npm start, Node-RED, FFmpeg');
      const told = processes.filter(({ pid, environment }) => pid !== started.pid && environment.includes(SECRET));
      assert.deepEqual(told, [], 'the password is handed on to no process');
    }
    assert.equal(await started.stop(), 0, started.output);

    const kept = readdirSync(userDir).filter((file) => /^flows-.*\.json$/.test(file));
    assert.equal(kept.length, 1);
    const readable = ['flows.json', 'flows_cred.json', ...kept].map((file) =>
      readFileSync(join(userDir, file), 'utf8'),
    );
    for (const text of [started.output, ...readable]) assert.ok(!text.includes('S3cr'), text);
    assert.ok(readable[0]!.includes('"rtsp://127.0.0.1:9/x"'));
    assert.ok(!readable[0]!.includes('demo'));
  });

  it('says what to do when the port is in use', async () => {
    const taken = await listen();
    const started = new Start(taken.port, userDir, {});
    const [code] = await started.ended;
    await taken.close();
    assert.equal(code, 1);
    assert.match(started.output, new RegExp(`port ${taken.port} is in use.*--port ${taken.port + 1}`));
  });

  it('does not repeat a password that is in the wrong place', async () => {
    const refused = await start({}, `front=rtsp://viewer:${SECRET}@127.0.0.1:9/x`);
    assert.deepEqual(await refused.ended, [1, null]);
    assert.match(refused.output, /--camera ID=URL/);
    assert.ok(!refused.output.includes('S3cr'), refused.output);
  });

  it('refuses a password on the command line before it does anything', async () => {
    const refused = await start({}, '--camera', `front=rtsp://viewer:${SECRET}@127.0.0.1:9/x`);
    const [code] = await refused.ended;
    assert.equal(code, 1);
    assert.match(
      refused.output,
      /Leave it out:\n\n {2}npm start -- --camera front=rtsp:\/\/viewer@127\.0\.0\.1:9\/x --port/,
    );
    assert.ok(!refused.output.includes('S3cr'), refused.output);
  });
});
