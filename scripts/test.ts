/** `npm test`: makes sure of what the tests need, builds, and runs mocha. `npm test -- FILE … --grep X` goes to mocha. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { ensure } from './install-needs.ts';

const ROOT = join(import.meta.dirname, '..');

/** mocha adds the files it is given to those of its configuration; who names files means only those. */
function mochaArgs(args: readonly string[]): string[] {
  if (!args.some((arg) => arg.endsWith('.test.ts'))) return [...args];
  const { timeout, reporter } = JSON.parse(readFileSync(join(ROOT, '.mocharc.json'), 'utf8')) as {
    timeout: number;
    reporter: string;
  };
  return ['--no-config', '--timeout', String(timeout), '--reporter', reporter, ...args];
}

function run(script: string, args: readonly string[]): void {
  const { status } = spawnSync(process.execPath, [script, ...args], { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

ensure(['ffmpeg', 'gstreamer', 'faketime', 'chromium', 'mosquitto', 'nginx', 'haproxy']);
run(join(ROOT, 'scripts', 'build.ts'), []);
run(createRequire(import.meta.url).resolve('mocha/bin/mocha.js'), mochaArgs(process.argv.slice(2)));
