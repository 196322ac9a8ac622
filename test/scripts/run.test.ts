import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

const RUN = join(import.meta.dirname, '../../scripts/run.mjs');
const OLD = 'data:text/javascript,Object.defineProperty(process.versions,"node",{value:"20.20.2"})';

describe('scripts/run.mjs', () => {
  let root: string;

  const write = (path: string, text: string): void => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  };
  const locked = (version: string): string =>
    JSON.stringify({
      packages: {
        '': {},
        'node_modules/needed': { version },
        'node_modules/elsewhere': { version: '1.0.0', optional: true },
      },
    });
  const run = (args: string[], ...options: string[]): { code: number | null; out: string; err: string } => {
    const env = { ...process.env };
    delete env['npm_lifecycle_event'];
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [...options, join(root, 'scripts', 'run.mjs'), ...args],
      { encoding: 'utf8', env },
    );
    return { code: status, out: stdout, err: stderr };
  };
  const refused = (wanted: RegExp, ...options: string[]): void => {
    for (const script of ['start', 'test', 'bench']) {
      const { code, out, err } = run([script], ...options);
      assert.deepEqual([code, out], [1, ''], err);
      assert.match(err, wanted);
      assert.equal(err.trimEnd().split('\n').length, 1, err);
    }
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'flow-nvr-run-'));
    mkdirSync(join(root, 'scripts'));
    copyFileSync(RUN, join(root, 'scripts', 'run.mjs'));
    write('package.json', '{"type":"module"}');
    write('package-lock.json', locked('1.0.0'));
    write('node_modules/.package-lock.json', locked('1.0.0'));
    write('node_modules/needed/package.json', '{}');
    write('scripts/start.ts', 'const words: string[] = process.argv.slice(2); console.log(words.join());');
    write('scripts/build.ts', 'export const main = (): void => console.log("built");');
    write('cli/flow-nvr.ts', 'console.log(process.argv.slice(2).join());');
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('runs the script with its arguments', () => {
    assert.deepEqual(run(['start', '--port', '1']), { code: 0, out: '--port,1\n', err: '' });
    assert.equal(run(['build']).out, 'built\n');
    assert.equal(run(['restore', 'a', 'b']).out, 'restore,a,b\n');
  });

  it('asks for npm ci in one line when it never ran, or failed', () => {
    rmSync(join(root, 'node_modules', '.package-lock.json'));
    refused(/run npm ci, then npm (start|test|run bench)\.$/m);
    rmSync(join(root, 'node_modules'), { recursive: true });
    refused(/npm ci has not run here/);
  });

  it('asks for npm ci in one line when a package is missing or of another version', () => {
    rmSync(join(root, 'node_modules', 'needed'), { recursive: true });
    refused(/node_modules\/needed is missing or out of date: run npm ci/);
    write('node_modules/needed/package.json', '{}');
    write('package-lock.json', locked('2.0.0'));
    refused(/node_modules\/needed is missing or out of date: run npm ci/);
  });

  it('says in one line that Node is too old', () => {
    refused(/^Node 24\.2 or later is needed, and this is Node 20\.20\.2: install it, or run npm ci/, '--import', OLD);
    write('node_modules/.bin/node', '');
    write('node_modules/.bin/node.cmd', '');
    refused(
      /is needed, and this is Node 20\.20\.2: run npm .* which uses the one that npm ci installed/,
      '--import',
      OLD,
    );
  });

  it('lists what there is to run', () => {
    for (const args of [[], ['nothing'], ['constructor'], ['../start']]) {
      const { code, err } = run(args);
      assert.equal(code, 1);
      assert.match(err, /^usage: .*start\|test/);
    }
  });
});
