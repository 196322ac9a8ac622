import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort } from '../support/node-red.ts';

const ROOT = join(import.meta.dirname, '../..');
const TOOLS =
  /^(python|pypy|pyenv|make|gmake|cmake|ninja|cc|c\+\+|gcc|g\+\+|cpp|clang|node-gyp|[\w.]+-(gcc|g\+\+|cpp|clang))/;

/** A folder with all that is on the PATH but compilers and what builds with them, and nothing that this project installed. */
function withoutCompilers(folder: string): string {
  mkdirSync(folder);
  const places = (process.env['PATH'] ?? '').split(delimiter).filter((place) => !place.includes('node_modules'));
  for (const place of places.filter((one) => existsSync(one))) {
    for (const name of readdirSync(place)) {
      if (!TOOLS.test(name) && !existsSync(join(folder, name))) symlinkSync(join(place, name), join(folder, name));
    }
  }
  // Some machines have only the Node that these tests run in.
  if (!existsSync(join(folder, 'node'))) symlinkSync(process.execPath, join(folder, 'node'));
  return folder;
}

/** The files that git has or would have: a clone of this working tree. */
function cloneTo(folder: string): void {
  const { stdout, status } = spawnSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  assert.equal(status, 0);
  for (const file of stdout.split('\0').filter((name) => name !== '' && existsSync(join(ROOT, name)))) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    cpSync(join(ROOT, file), join(folder, file), { verbatimSymlinks: true });
  }
}

/**
 * An empty home folder, and of npm's settings only how this machine reaches packages. What npm has in its cache is used, so that
 * this costs no traffic.
 */
function environment(home: string, path: string): NodeJS.ProcessEnv {
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|node_|init_cwd$|python|cc$|cxx$|make)/i.test(name)),
  );
  const setting = (name: string): string =>
    spawnSync('npm', ['config', 'get', name], { cwd: tmpdir(), encoding: 'utf8' }).stdout.trim();
  for (const name of ['registry', 'cache', 'cafile', 'proxy', 'https-proxy']) {
    const value = setting(name);
    if (value !== '' && value !== 'null') env[`npm_config_${name.replace('-', '_')}`] = value;
  }
  return { ...env, HOME: home, PATH: path, npm_config_prefer_offline: 'true', npm_config_audit: 'false' };
}

describe('a fresh machine without Python or a compiler', function () {
  this.timeout(600_000);
  let folder: string;
  let clone: string;
  let env: NodeJS.ProcessEnv;
  let started: ChildProcess | null = null;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flow-nvr-fresh-'));
    clone = join(folder, 'clone');
    const home = join(folder, 'home');
    mkdirSync(home);
    env = environment(home, withoutCompilers(join(folder, 'bin')));
    cloneTo(clone);
  });
  after(async () => {
    if (started?.exitCode === null && started.signalCode === null) {
      const ended = once(started, 'exit');
      process.kill(-started.pid!, 'SIGTERM');
      await ended;
    }
    await rm(folder, { recursive: true, force: true, maxRetries: 3 });
  });

  it('installs with npm ci and compiles nothing', () => {
    for (const tool of ['python3', 'make', 'cc', 'gcc', 'g++', 'c++']) {
      assert.equal(existsSync(join(env['PATH']!, tool)), false, tool);
    }
    const { status, stdout, stderr } = spawnSync('npm', ['ci'], { cwd: clone, env, encoding: 'utf8' });
    assert.equal(status, 0, stdout + stderr);
    assert.equal(existsSync(join(clone, 'node_modules', 'better-sqlite3', 'build')), false, 'something was compiled');
  });

  it('loads SQLite in the Node that npm ci brings', () => {
    const script =
      "const db = new (require('better-sqlite3'))(':memory:'); console.log(db.prepare('SELECT 7').pluck().get())";
    const node = join(clone, 'node_modules', '.bin', 'node');
    const { stdout, stderr } = spawnSync(node, ['-e', script], { cwd: clone, env, encoding: 'utf8' });
    assert.equal(stdout, '7\n', stderr);
  });

  it('starts with npm start', async () => {
    const args = ['start', '--', '--port', String(await freePort()), '--user-dir', join(folder, 'user')];
    // A group of its own, so that all of it can be ended together.
    const npm = spawn('npm', args, { cwd: clone, env, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    started = npm;
    let output = '';
    await new Promise<void>((resolve, reject) => {
      for (const stream of [npm.stdout, npm.stderr]) {
        stream.on('data', (chunk: Buffer) => {
          output += chunk.toString();
          if (output.includes('Flow NVR is running')) resolve();
        });
      }
      npm.once('exit', (code) => reject(new Error(`npm start ended with ${code}:\n${output}`)));
    });
    assert.ok(!/ERR_|better_sqlite3/.test(output), output);
    while (!existsSync(join(folder, 'user', 'nvr', 'catalog.sqlite'))) await wait(100); // mocha's limit ends this
  });
});
