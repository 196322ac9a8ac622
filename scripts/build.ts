/**
 * Builds `dist/`: the compiled nodes and engine, with each node's html, locales and icons beside its script; and
 * `resources/ui-nvr.umd.js`: the dashboard's widgets; beside it the player that they load.
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import vue from '@vitejs/plugin-vue';
import { build as bundle, type Rolldown } from 'vite';

const ROOT = join(import.meta.dirname, '..');
const DIST = join(ROOT, 'dist');
/** Without what recordings here do not have: other sound tracks, subtitles, DRM. */
const PLAYER = 'hls.light.min.mjs';

/** Throws when the type check fails, so that nothing half-built is ever packed or started. */
function compile(folder: string): void {
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const args = [tsc, '-p', 'tsconfig.build.json', '--outDir', folder];
  const { status, error } = spawnSync(process.execPath, args, { cwd: ROOT, stdio: 'inherit' });
  if (error) throw error;
  if (status !== 0) throw new Error('the type check failed: see above');
}

/**
 * Node-RED finds locales and icons only in the folder of the node's own script, and offers what it finds for all nodes of
 * the package: every icon in every folder would be in the editor's icon picker as often as there are nodes.
 */
function copyAssets(type: string, folder: string): void {
  const from = join(ROOT, 'nodes', type);
  const to = join(folder, 'nodes', type);
  cpSync(join(from, `${type}.html`), join(to, `${type}.html`));
  cpSync(join(from, 'locales'), join(to, 'locales'), { recursive: true });
  const icon = /\bicon: '([\w-]+\.svg)'/.exec(readFileSync(join(from, `${type}.html`), 'utf8'))?.[1];
  if (icon) cpSync(join(ROOT, 'icons', icon), join(to, 'icons', icon));
}

/**
 * One script for all widgets, with its styles in it, as Dashboard loads nothing else. Vue is Dashboard's own: two of them
 * on a page do not understand each other.
 */
async function widgets(): Promise<string> {
  const output = (await bundle({
    configFile: false,
    root: join(ROOT, 'dashboard'),
    logLevel: 'warn',
    define: { 'process.env.NODE_ENV': '"production"' },
    plugins: [vue()],
    build: {
      write: false,
      cssCodeSplit: false,
      lib: { entry: join(ROOT, 'dashboard', 'index.ts'), formats: ['umd'], name: 'ui-nvr', fileName: 'ui-nvr' },
      rolldownOptions: { external: ['vue', 'vuex'], output: { globals: { vue: 'Vue', vuex: 'vuex' } } },
    },
  })) as Rolldown.RolldownOutput[];
  const parts = output.flatMap((made) => made.output);
  const code = parts.flatMap((part) => (part.type === 'chunk' ? part.code : [])).join('\n');
  const css = parts.flatMap((part) =>
    part.type === 'asset' && part.fileName.endsWith('.css') ? String(part.source) : [],
  );
  const style = `document.head.append(Object.assign(document.createElement('style'), { textContent: ${JSON.stringify(css.join(''))} }));`;
  // Dashboard loads it as a module, so that it can know where it is from; see dashboard/shared/hls.ts.
  return `const flowNvrScript = import.meta.url;\n${style}\n${code}`;
}

/** Made aside and put in place when complete: a Node-RED that runs from `dist/` never finds a part missing. */
export async function build(): Promise<void> {
  // On the same disk as `dist/`, so that it can be renamed, and where git, eslint and prettier do not look.
  const folder = join(ROOT, 'node_modules', '.cache', `flow-nvr-build-${process.pid}`);
  try {
    compile(folder);
    const types = readdirSync(join(ROOT, 'nodes')).filter((name) =>
      existsSync(join(ROOT, 'nodes', name, `${name}.html`)),
    );
    for (const type of types) copyAssets(type, folder);
    const script = join(folder, 'ui-nvr.umd.js');
    writeFileSync(script, await widgets());
    renameSync(script, join(ROOT, 'resources', 'ui-nvr.umd.js'));
    cpSync(join(ROOT, 'node_modules', 'hls.js', 'dist', PLAYER), join(ROOT, 'resources', PLAYER));
    rmSync(DIST, { recursive: true, force: true });
    renameSync(folder, DIST);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export async function main(): Promise<void> {
  try {
    await build();
  } catch (error) {
    console.error(`Build failed: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}

if (import.meta.main) await main();
