import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import { freePort } from '../support/node-red.ts';
import { marked, markOf } from '../support/processes.ts';

const ROOT = join(import.meta.dirname, '../..');
/** Waits without an end: mocha's limit is the end, and `what` is told by the test that does not come back. */
async function until(test: () => boolean): Promise<void> {
  while (!test()) await wait(100);
}

describe('what npm start began', function () {
  this.timeout(300_000);
  let userDir: string;
  let mark: string;

  before(function () {
    if (process.platform !== 'linux') this.skip(); // processes are found by /proc
  });
  beforeEach(async () => {
    userDir = await mkdtemp(join(tmpdir(), 'flow-nvr-ends-'));
    mark = randomUUID();
  });
  afterEach(async () => {
    for (const { pid } of marked(mark)) process.kill(pid, 'SIGKILL');
    await until(() => marked(mark).length === 0);
    await rm(userDir, { recursive: true, force: true, maxRetries: 3 });
  });

  /** Until files of the demo cameras are being written. */
  async function start(): Promise<void> {
    const args = ['start', '--', '--port', String(await freePort()), '--user-dir', userDir];
    const npm = spawn('npm', args, {
      ...{ cwd: ROOT, env: { ...process.env, ...markOf(mark) }, stdio: 'ignore', detached: true },
    });
    npm.unref();
    await until(() => {
      assert.equal(npm.exitCode, null, 'npm start has ended');
      return openFiles() > 0;
    });
  }

  function openFiles(): number {
    const file = join(userDir, 'nvr', 'catalog.sqlite');
    if (!existsSync(file)) return 0;
    const db = new Sqlite(file, { readonly: true, timeout: 5000 });
    try {
      const isMade = db.prepare("SELECT count(*) FROM sqlite_master WHERE name = 'segment'").pluck().get() === 1;
      return isMade ? (db.prepare("SELECT count(*) FROM segment WHERE state = 'open'").pluck().get() as number) : 0;
    } finally {
      db.close();
    }
  }

  function find(command: RegExp): number {
    const found = marked(mark).filter((one) => command.test(one.command));
    assert.equal(found.length, 1, `${command.source}: ${JSON.stringify(marked(mark))}`);
    return found[0]!.pid;
  }

  const NPM = /^npm start/;
  const START = /scripts\/run\.mjs start/;
  const cases: [name: string, victim: RegExp, signal: NodeJS.Signals][] = [
    ['npm is killed', NPM, 'SIGKILL'],
    ['the script that npm runs is killed', START, 'SIGKILL'],
    ['the terminal hangs up on the script', START, 'SIGHUP'],
  ];
  for (const [name, victim, signal] of cases) {
    it(`ends, with its files closed, when ${name}`, async () => {
      await start();
      assert.ok(marked(mark).some(({ command }) => /ffmpeg/.test(command)));
      // The shell in between has the script's command line, too.
      const pid = victim === START ? find(/^\S*node \S*run\.mjs start/) : find(victim);
      process.kill(pid, signal);
      await until(() => marked(mark).length === 0);
      assert.equal(openFiles(), 0);
    });
  }
});
