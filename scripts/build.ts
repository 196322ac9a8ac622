/** Builds `dist/`: the compiled nodes and engine, with each node's html, locales and icons beside its script. */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');

/** Throws when the type check fails, so that nothing half-built is ever packed or started. */
function compile(): void {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const { status, error } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  if (error) throw error;
  if (status !== 0) throw new Error('the type check failed: see above');
}

/** Node-RED finds locales and icons only in the folder of the node's own script. */
function copyAssets(type: string): void {
  const from = join(ROOT, 'nodes', type);
  const to = join(ROOT, 'dist', 'nodes', type);
  mkdirSync(to, { recursive: true });
  cpSync(join(from, `${type}.html`), join(to, `${type}.html`));
  cpSync(join(from, 'locales'), join(to, 'locales'), { recursive: true });
  cpSync(join(ROOT, 'icons'), join(to, 'icons'), { recursive: true });
}

export function build(): void {
  rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
  compile();
  const types = readdirSync(join(ROOT, 'nodes')).filter((name) =>
    existsSync(join(ROOT, 'nodes', name, `${name}.html`)),
  );
  types.forEach(copyAssets);
}

if (import.meta.main) {
  try {
    build();
  } catch (error) {
    console.error(`Build failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
