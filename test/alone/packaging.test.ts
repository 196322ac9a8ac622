import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { build } from '../../scripts/build.ts';
import { NodeRed } from '../support/node-red.ts';

const ROOT = join(import.meta.dirname, '../..');
const LANGUAGES = ['en-US', 'de'];

interface Manifest {
  name: string;
  scripts: Record<string, string>;
  bin: Record<string, string>;
  dependencies: Record<string, string>;
  'node-red': { nodes: Record<string, string> };
  'node-red-dashboard-2': { widgets: Record<string, { output: string; component: string }> };
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest;
const types = Object.keys(manifest['node-red'].nodes);
const widgets = Object.values(manifest['node-red-dashboard-2'].widgets);

function filesIn(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.'))
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

function run(command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: ROOT, encoding: 'utf8' });
  assert.equal(status, 0, `${command} ${args.join(' ')}:\n${stderr}`);
  return stdout;
}

/** Packs the project as `npm publish` would and returns the names in the tarball. */
async function pack(folder: string): Promise<{ tarball: string; files: string[] }> {
  // prepack would build again, into the `dist/` that other tests run from.
  if (!existsSync(join(ROOT, 'dist')) || !existsSync(join(ROOT, 'resources', 'ui-nvr.umd.js'))) await build();
  const [packed] = JSON.parse(run('npm', 'pack', '--json', '--ignore-scripts', '--pack-destination', folder)) as {
    filename: string;
    files: { path: string }[];
  }[];
  return { tarball: join(folder, basename(packed!.filename)), files: packed!.files.map(({ path }) => path) };
}

/** What `npm install TARBALL` leaves in a user folder, without a network: the dependencies are the project's own. */
async function install(tarball: string, userDir: string): Promise<string> {
  const modules = join(userDir, 'node_modules');
  const home = join(modules, manifest.name);
  await rm(home, { recursive: true, force: true });
  await mkdir(home, { recursive: true });
  run('tar', '-xzf', tarball, '-C', home, '--strip-components', '1');
  for (const dependency of Object.keys(manifest.dependencies)) {
    await mkdir(dirname(join(modules, dependency)), { recursive: true });
    await symlink(join(ROOT, 'node_modules', dependency), join(modules, dependency), 'dir');
  }
  return home;
}

/** The part of the registry that this test talks to; the typings on offer are of another version. */
interface Registry {
  init: (runtime: object) => void;
  load: () => Promise<void>;
  getNodeList: () => { module: string; types: string[]; err?: unknown; enabled: boolean }[];
  getNodeIconPath: (module: string, icon: string) => string | null;
  getNodeExampleFlowPath: (module: string, path: string) => string | null;
  getModuleResource: (module: string, path: string) => string | null;
  registerType: (set: string, type: string, constructor: unknown, options: unknown) => void;
}

/** Node-RED's loader with as little of a runtime around it as it takes. */
async function loadRegistry(userDir: string): Promise<Registry> {
  const require = createRequire(createRequire(import.meta.url).resolve('@node-red/registry'));
  const registry = require('@node-red/registry') as Registry;
  const util = require('@node-red/util') as { init: (settings: object) => void };
  const { version } = require('node-red/package.json') as { version: string };
  const settings = {
    userDir,
    version,
    logging: { console: { level: 'off' } },
    available: () => false,
    get: () => undefined,
    set: () => Promise.resolve(),
    registerNodeSettings: () => undefined,
  };
  const http = { get: () => undefined, post: () => undefined, use: () => undefined };
  util.init(settings);
  registry.init({
    settings,
    nodes: { registerType: registry.registerType },
    plugins: {},
    hooks: {},
    adminApp: http,
    nodeApp: http,
    adminApi: { auth: { needsPermission: () => () => undefined } },
    version,
  });
  await registry.load();
  return registry;
}

describe('the packed package', function () {
  this.timeout(120_000);
  const examples = filesIn(join(ROOT, 'examples')).map((file) => file.replace(/\.json$/, ''));
  const icons = filesIn(join(ROOT, 'icons'));
  const resources = filesIn(join(ROOT, 'resources'));
  let folder: string;
  let tarball: string;
  let files: string[];

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flow-nvr-pack-'));
    ({ tarball, files } = await pack(folder));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  it('is built before it is packed', () => {
    assert.equal(manifest.scripts['prepack'], 'npm run build');
  });

  it('has what a user needs and nothing else', () => {
    const wanted = [
      'README.md',
      'LICENSE',
      'CHANGELOG.md',
      'package.json',
      ...Object.values(manifest['node-red'].nodes),
      ...widgets.map(({ output }) => `resources/${output}`),
    ];
    for (const path of wanted) assert.ok(files.includes(path), `${path} is not packed`);
    const allowed = /^(dist|examples|flows|resources)\/|^(README|CHANGELOG)\.md$|^LICENSE$|^package\.json$/;
    const stray = files.filter((path) => !allowed.test(path) || /\.(ts|map|tgz|py)$|(^|\/)(test|bench)\//.test(path));
    assert.deepEqual(stray, []);
  });

  describe("in Node-RED's registry", () => {
    let userDir: string;
    let registry: Registry;

    before(async () => {
      userDir = await mkdtemp(join(tmpdir(), 'flow-nvr-registry-'));
      await install(tarball, userDir);
      // As npm would: only what a package.json names is looked for.
      await writeFile(join(userDir, 'package.json'), JSON.stringify({ dependencies: { [manifest.name]: '*' } }));
      registry = await loadRegistry(userDir);
    });
    after(() => rm(userDir, { recursive: true, force: true }));

    it('loads every node without an error', () => {
      const sets = registry.getNodeList().filter(({ module }) => module === manifest.name);
      assert.deepEqual(sets.flatMap((set) => set.types).sort(), [...types].sort());
      for (const set of sets) assert.equal(set.err, undefined);
    });

    it('has its shell commands', () => {
      for (const path of Object.values(manifest.bin)) {
        const command = join(userDir, 'node_modules', manifest.name, path);
        assert.match(readFileSync(command, 'utf8'), /^#!/);
        const { status, stderr } = spawnSync(process.execPath, [command], { encoding: 'utf8' });
        assert.equal(status, 2, stderr);
        assert.match(stderr, /usage:/);
        const checked = spawnSync(process.execPath, [command, 'reconcile', userDir], { encoding: 'utf8' });
        assert.equal(checked.status, 0, checked.stderr);
      }
    });

    it('finds every icon, example and resource', () => {
      for (const icon of icons) assert.ok(registry.getNodeIconPath(manifest.name, icon), `icon ${icon}`);
      for (const name of examples) assert.ok(registry.getNodeExampleFlowPath(manifest.name, name), `example ${name}`);
      for (const path of resources) assert.ok(registry.getModuleResource(manifest.name, path), `resource ${path}`);
    });
  });

  for (const release of ['node-red', 'node-red-4'] as const)
    describe(`in a real Node-RED (${release})`, () => {
      let red: NodeRed;
      const fetchText = async (path: string, headers: Record<string, string> = {}): Promise<string> => {
        const response = await fetch(`${red.url}${path}`, { headers });
        assert.ok(response.ok, `GET ${path}: ${response.status}`);
        return response.text();
      };

      before(async () => {
        red = await NodeRed.create({ release });
        await install(tarball, red.userDir);
        await red.start();
      });
      after(() => red.dispose());

      it('loads every node without an error', async () => {
        const sets = JSON.parse(await fetchText('/nodes', { Accept: 'application/json' })) as {
          module: string;
          types: string[];
          err?: unknown;
        }[];
        const ours = sets.filter(({ module }) => module === manifest.name);
        assert.deepEqual(ours.flatMap((set) => set.types).sort(), [...types].sort());
        for (const set of ours) assert.equal(set.err, undefined, `${set.types.join()}: ${String(set.err)}`);
      });

      it('serves the editor and the help of every node in every language', async () => {
        for (const language of LANGUAGES) {
          const html = await fetchText('/nodes', { Accept: 'text/html', 'Accept-Language': language });
          for (const type of types) {
            assert.ok(html.includes(`data-template-name="${type}"`), `${type} has no edit dialog`);
            assert.ok(html.includes(`registerType('${type}'`), `${type} is not registered in the editor`);
            const help = readFileSync(join(ROOT, 'nodes', type, 'locales', language, `${type}.html`), 'utf8');
            assert.ok(html.includes(help.trim()), `${type} has no help in ${language}`);
          }
        }
      });

      it('serves the texts of every node in every language', async () => {
        for (const language of LANGUAGES) {
          for (const type of types) {
            const texts = await fetchText(`/locales/${manifest.name}/${type}?lng=${language}`);
            const source = readFileSync(join(ROOT, 'nodes', type, 'locales', language, `${type}.json`), 'utf8');
            assert.deepEqual(JSON.parse(texts), JSON.parse(source), `${type} in ${language}`);
          }
        }
      });

      it('serves every icon', async () => {
        const listed = JSON.parse(await fetchText('/icons')) as Record<string, string[]>;
        assert.deepEqual(listed[manifest.name]?.sort(), [...icons].sort(), 'each is in the icon picker, once');
        for (const icon of icons) {
          // A missing icon is answered with a default one.
          assert.equal(
            await fetchText(`/icons/${manifest.name}/${icon}`),
            readFileSync(join(ROOT, 'icons', icon), 'utf8'),
          );
        }
      });

      it('serves every example', async () => {
        const listed = await fetchText('/library/examples/flows/');
        assert.ok(listed.includes(manifest.name), listed);
        for (const name of examples) {
          const text = await fetchText(`/library/examples/flows/${manifest.name}/${encodeURIComponent(name)}`);
          assert.deepEqual(
            JSON.parse(text),
            JSON.parse(readFileSync(join(ROOT, 'examples', `${name}.json`), 'utf8')),
            name,
          );
        }
      });

      it('serves every resource', async () => {
        for (const path of resources) {
          const source = readFileSync(join(ROOT, 'resources', path), 'utf8');
          assert.equal(await fetchText(`/resources/${manifest.name}/${path}`), source, path);
        }
      });
    });
});
