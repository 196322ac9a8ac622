/**
 * `npm test`: makes sure of what the tests need, builds, and runs mocha: two files at once, then those that measure how fast
 * things go on or build anew what others use (`test/alone`) one after the other. `npm test -- FILE … --grep X` goes to mocha.
 */
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, sep } from 'node:path';
import { ensure } from './install-needs.ts';

const ROOT = join(import.meta.dirname, '..');
const MOCHA = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');
const ALONE = join('test', 'alone') + sep;
/** Most of a test's time is waiting; with more at once, what it waits for takes longer than it waits. */
const JOBS = 2;
/** Longer than the line of {@link Counts} that ends mocha's output. */
const TAIL = 200;

/** Of the line `N passed, N failed, N skipped`. */
type Counts = [passed: number, failed: number, skipped: number];

/** mocha adds the files it is given to those of its configuration; who names files means only those. */
function only(files: readonly string[]): string[] {
  const { timeout, reporter } = JSON.parse(readFileSync(join(ROOT, '.mocharc.json'), 'utf8')) as {
    timeout: number;
    reporter: string;
  };
  return ['--no-config', '--exit', '--timeout', String(timeout), '--reporter', reporter, ...files];
}

function countsIn(output: string): Counts {
  const [, passed, failed, skipped = '0'] = /(\d+) passed, (\d+) failed(?:, (\d+) skipped)?\s*$/.exec(output) ?? [];
  // Without that line mocha has not come to its end: that is one failure.
  return passed === undefined ? [0, 1, 0] : [Number(passed), Number(failed), Number(skipped)];
}

async function mocha(args: readonly string[]): Promise<Counts> {
  const child = spawn(process.execPath, [MOCHA, ...args], { cwd: ROOT, stdio: ['inherit', 'pipe', 'inherit'] });
  let tail = '';
  child.stdout.on('data', (chunk: Buffer) => {
    process.stdout.write(chunk);
    tail = (tail + chunk.toString('latin1')).slice(-TAIL);
  });
  const [code] = (await once(child, 'close')) as [number | null];
  const [passed, failed, skipped] = countsIn(tail);
  return [passed, code === 0 ? failed : Math.max(failed, 1), skipped];
}

async function runAll(): Promise<void> {
  const files = globSync('test/**/*.test.ts', { cwd: ROOT }).sort();
  const together = files.filter((file) => !file.startsWith(ALONE));
  const first = await mocha([...only(together), '--parallel', '--jobs', String(JOBS)]);
  const then = await mocha(only(files.filter((file) => file.startsWith(ALONE))));
  const [passed, failed, skipped] = first.map((count, i) => count + then[i]!) as Counts;
  process.exitCode = failed > 0 ? 1 : 0;
  console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
}

ensure(['ffmpeg', 'gstreamer', 'faketime', 'chromium', 'mosquitto', 'nginx', 'haproxy']);
const { status } = spawnSync(process.execPath, [join(ROOT, 'scripts', 'build.ts')], { cwd: ROOT, stdio: 'inherit' });
const args = process.argv.slice(2);
if (status !== 0) process.exitCode = status ?? 1;
else if (args.length === 0) await runAll();
else {
  const named = args.some((arg) => arg.endsWith('.test.ts'));
  const [, failed] = await mocha(named ? only(args) : args);
  process.exitCode = failed > 0 ? 1 : 0;
}
