import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  name: string;
  'node-red': { nodes: Record<string, string> };
};
const types = Object.keys(manifest['node-red'].nodes);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  await new Promise((closed) => server.close(closed));
  return port;
}

/** The packed tarball, where npm would put it in a user folder; its dependencies are the project's. */
describe('the package', function () {
  this.timeout(120_000);
  let folder: string;
  let installed: string;

  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-package-'));
    execFileSync('npm', ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder], {
      cwd: root,
      stdio: 'pipe',
    });
    const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'))!;
    execFileSync('tar', ['-xzf', tarball], { cwd: folder });
    installed = join(folder, 'node_modules', manifest.name);
    mkdirSync(dirname(installed), { recursive: true });
    cpSync(join(folder, 'package'), installed, { recursive: true });
    for (const name of readdirSync(join(root, 'node_modules'))) {
      if (!name.startsWith('.') && name !== '@flow-nvr')
        symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
    }
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'x', dependencies: { [manifest.name]: '*' } }));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('holds what runs and nothing else', () => {
    const files = readdirSync(installed, { recursive: true, encoding: 'utf8' });
    assert.deepEqual(
      files.filter((file) => /(^|\/)(test|bench|scripts|engine)$/.test(file) && !file.startsWith('dist')),
      [],
    );
    assert.deepEqual(
      files.filter((file) => /\.(ts|map|tgz)$/.test(file)),
      [],
    );
    assert.ok(files.includes('README.md'));
  });

  it('has for each node its editor part, help and texts in each language, an icon and an example', () => {
    const examples = readdirSync(join(installed, 'examples')).map((name) =>
      readFileSync(join(installed, 'examples', name), 'utf8'),
    );
    for (const type of types) {
      const js = join(installed, manifest['node-red'].nodes[type]!);
      const html = readFileSync(js.replace(/\.js$/, '.html'), 'utf8');
      const keys = (language: string): string[] => {
        const base = join(dirname(js), 'locales', language, type);
        assert.match(readFileSync(`${base}.html`, 'utf8'), new RegExp(`data-help-name="${type}"`));
        const flat = (value: unknown, path: string): string[] =>
          typeof value === 'object' && value !== null
            ? Object.entries(value).flatMap(([key, child]) => flat(child, `${path}.${key}`))
            : [path];
        return flat(JSON.parse(readFileSync(`${base}.json`, 'utf8')), '').sort();
      };
      assert.deepEqual(keys('de'), keys('en-US'), type);
      for (const [, key] of html.matchAll(/data-i18n="(?:\[\w+\])?([\w.-]+)"/g))
        assert.ok(keys('en-US').includes(`.${key}`), key);
      const icon = /icon: '([^']+)'/.exec(html)?.[1];
      if (icon) assert.ok(existsSync(join(dirname(js), 'icons', icon)), icon);
      else assert.match(html, /category: 'config'/);
      assert.ok(
        examples.some((text) => text.includes(`"type": "${type}"`)),
        `an example with ${type}`,
      );
    }
  });

  it('is loaded by a real Node-RED, with nothing missing', async () => {
    const port = await freePort();
    writeFileSync(
      join(folder, 'settings.js'),
      `module.exports = ${JSON.stringify({ uiPort: port, uiHost: '127.0.0.1', flowFile: 'flows.json' })}`,
    );
    const red = createRequire(import.meta.url).resolve('node-red/red.js');
    const child = spawn(process.execPath, [red, '-u', folder], { stdio: 'ignore' });
    const ended = new Promise((exit) => child.once('exit', exit));
    const get = (path: string, accept = 'application/json'): Promise<Response> =>
      fetch(`http://127.0.0.1:${port}${path}`, { headers: { accept, connection: 'close' } });
    try {
      for (let tries = 0; ; tries++) {
        const up = await get('/nodes').then(
          (response) => response.ok,
          () => false,
        );
        if (up) break;
        assert.ok(tries < 300, 'Node-RED did not start');
        await wait(100);
      }
      const sets = (await (await get('/nodes')).json()) as {
        module: string;
        types: string[];
        err?: string;
        enabled: boolean;
      }[];
      const ours = sets.filter((set) => set.module === manifest.name);
      assert.deepEqual(ours.flatMap((set) => set.types).sort(), [...types].sort());
      for (const set of ours) assert.equal(set.err, undefined);
      const icons = (await (await get('/icons')).json()) as Record<string, string[]>;
      assert.deepEqual([...new Set(icons[manifest.name])].sort(), readdirSync(join(root, 'icons')).sort());
      for (const icon of icons[manifest.name]!)
        assert.equal((await get(`/icons/${manifest.name}/${icon}`)).status, 200);
      const listed = get(`/library/examples/flows/${manifest.name}/`);
      const examples = await (await listed).text();
      for (const name of readdirSync(join(root, 'examples')))
        assert.ok(examples.includes(name.replace(/\.json$/, '')), name);
      for (const type of types) {
        const catalog = await (await get(`/locales/${manifest.name}/${type}?lng=de`)).text();
        assert.ok(catalog.includes(type), `locale of ${type}`);
      }
      assert.match(await (await get('/nodes', 'text/html')).text(), /registerType\('camera-source'/);
    } finally {
      child.kill('SIGTERM');
      await ended;
    }
  });

  it('is found by @node-red/registry', async () => {
    const registry = createRequire(import.meta.url)('@node-red/registry') as {
      init(runtime: unknown): void;
      load(): Promise<void>;
      getNodeList(): { module: string; types: string[]; err?: string }[];
    };
    const quiet = (): void => undefined;
    const log = {
      log: quiet,
      info: quiet,
      warn: quiet,
      error: quiet,
      debug: quiet,
      trace: quiet,
      _: (key: string) => key,
      metric: () => false,
    };
    const i18n = {
      registerMessageCatalog: () => Promise.resolve(),
      registerMessageCatalogs: () => Promise.resolve(),
      _: (key: string) => key,
    };
    const settings = {
      ...{ userDir: folder, coreNodesDir: join(root, 'node_modules/@node-red/nodes'), version: '5.0.0' },
      ...{ available: () => true, get: () => undefined, set: () => Promise.resolve(), disableEditor: false },
      ...{ nodesExcludes: [], editorTheme: {}, registerNodeSettings: quiet, enableNodeSettings: quiet },
    };
    const app = { post: quiet, get: quiet, use: quiet };
    const runtime = {
      ...{
        log,
        i18n,
        settings,
        events: { emit: quiet, on: quiet },
        version: () => Promise.resolve('5.0.0'),
        util: {},
        hooks: {},
      },
      ...{
        nodes: { createNode: quiet, registerType: quiet },
        library: { register: quiet, addNodeExamplesDir: quiet },
        storage: {},
      },
      ...{ adminApi: { adminApp: app, auth: { needsPermission: () => quiet } }, httpAdmin: app, nodeApp: app },
    };
    registry.init(runtime);
    await registry.load();
    const ours = registry.getNodeList().filter((set) => set.module === manifest.name);
    assert.equal(ours.length, types.length);
  });
});
