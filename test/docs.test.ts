import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '..');
const LANGUAGES = ['en-US', 'de'];

const read = (...path: string[]): string => readFileSync(join(ROOT, ...path), 'utf8');
const manifest = JSON.parse(read('package.json')) as { 'node-red': { nodes: Record<string, string> }; scripts: object };
const types = Object.keys(manifest['node-red'].nodes);
const examples = readdirSync(join(ROOT, 'examples')).filter((file) => file.endsWith('.json'));

type Texts = string | { [key: string]: Texts };

/** `label.name`, `label.url`, … */
function keysOf(texts: Texts, prefix = ''): string[] {
  if (typeof texts === 'string') return [prefix];
  return Object.entries(texts).flatMap(([key, value]) => keysOf(value, prefix ? `${prefix}.${key}` : key));
}

function textOf(texts: Texts, key: string): Texts | undefined {
  return key.split('.').reduce<Texts | undefined>((at, part) => (typeof at === 'object' ? at[part] : undefined), texts);
}

function placeholdersOf(text: string): string[] {
  return (text.match(/__\w+?__/g) ?? []).sort();
}

/** Each node comes with everything that belongs to a node. */
for (const type of types) {
  describe(`the files of ${type}`, () => {
    const html = read('nodes', type, `${type}.html`);
    const texts = Object.fromEntries(
      LANGUAGES.map((language) => [
        language,
        JSON.parse(read('nodes', type, 'locales', language, `${type}.json`)) as Texts,
      ]),
    );

    it('are those of an editor node', () => {
      assert.ok(html.includes(`data-template-name="${type}"`));
      assert.ok(html.includes(`RED.nodes.registerType('${type}'`));
    });

    it('have help in every language, in the form of the core nodes', () => {
      for (const language of LANGUAGES) {
        const help = read('nodes', type, 'locales', language, `${type}.html`);
        assert.ok(help.includes(`data-help-name="${type}"`), language);
        assert.match(help, /<script[^>]*>\s*<p>/, `${language}: the help begins with what the node is for`);
        assert.match(help, /<h3>(Details)<\/h3>/, language);
        assert.match(help, /<h3>(References|Referenzen)<\/h3>/, language);
        if (/inputs: 1/.test(html)) assert.match(help, /<dl class="message-properties">/, language);
        if (/outputs: [1-9]/.test(html)) assert.match(help, /<ol class="node-ports">/, language);
      }
    });

    it('have the same texts with the same gaps to fill in every language', () => {
      const wanted = keysOf(texts['en-US']!);
      for (const language of LANGUAGES) {
        assert.deepEqual(keysOf(texts[language]!).sort(), [...wanted].sort(), language);
        for (const key of wanted) {
          const [ours, english] = [textOf(texts[language]!, key), textOf(texts['en-US']!, key)];
          assert.deepEqual(placeholdersOf(ours as string), placeholdersOf(english as string), `${key} in ${language}`);
        }
      }
    });

    it('have every text that they name', () => {
      const named = new Set([
        ...[...html.matchAll(/data-i18n="(?:\[\w+\])?([^"]+)"/g)].map((match) => match[1]!),
        ...[...html.matchAll(/_\('([\w.-]+)'\s*[,)]/g)].map((match) => match[1]!),
        ...[...read('nodes', type, `${type}.ts`).matchAll(/'([\w-]+\.status\.\w+)'/g)].map((match) => match[1]!),
      ]);
      for (const key of named) assert.equal(typeof textOf(texts['en-US']!, key), 'string', `no text ${key}`);
      // `node._('recorder.modeHint.' + mode)` and the like: the group must be there.
      for (const [, group] of html.matchAll(/_\('([\w.-]+)\.' \+/g)) {
        assert.equal(typeof textOf(texts['en-US']!, group!), 'object', `no texts ${group!}.*`);
      }
    });

    it('have an icon that exists', () => {
      const icon = /icon: '([\w-]+\.svg)'/.exec(html)?.[1];
      assert.ok(icon && existsSync(join(ROOT, 'icons', icon)), `icon ${icon ?? ''}`);
    });

    it('use the colours of the theme only', () => {
      const style = /<style>([\s\S]*?)<\/style>/.exec(html)?.[1] ?? '';
      assert.doesNotMatch(style, /#[0-9a-f]{3,8}\b|rgba?\(|\b(white|black|red|green|gr[ae]y)\b(?![-\w])/i);
    });

    it('are joined by an example and a test', () => {
      const used = examples.filter((file) =>
        (JSON.parse(read('examples', file)) as { type: string }[]).some((node) => node.type === type),
      );
      assert.ok(used.length > 0, 'no example uses it');
      assert.ok(existsSync(join(ROOT, 'test', 'nodes', `${type}.test.ts`)), `test/nodes/${type}.test.ts is missing`);
    });
  });
}

describe('the example flows', () => {
  for (const [folder, file] of [
    ...examples.map((name) => ['examples', name] as const),
    ['flows', 'nvr.json'] as const,
  ]) {
    it(`${file} is complete and explains itself`, () => {
      const flow = JSON.parse(read(folder, file)) as {
        id: string;
        type: string;
        nvr?: string;
        z?: string;
        wires?: string[][];
      }[];
      const ids = new Set(flow.map(({ id }) => id));
      assert.equal(ids.size, flow.length, 'two nodes have one id');
      assert.ok(flow.some(({ type }) => type === 'comment'));
      for (const node of flow) {
        for (const to of [node.nvr, node.z, ...(node.wires ?? []).flat()]) {
          assert.ok(to === undefined || ids.has(to), `${node.type} points to ${to ?? ''}, which is not in the flow`);
        }
      }
      assert.doesNotMatch(JSON.stringify(flow), /"(username|password|credentials)":|:\/\/[^"/]*:[^"/]*@(?!192\.168)/);
    });
  }
});

describe('the README', () => {
  const readme = read('README.md');

  it('names the two commands, and CI runs the second', () => {
    assert.ok(readme.includes('npm ci && npm start'));
    assert.ok(readme.includes('npm ci && npm test'));
    const ci = read('.ci', 'run');
    for (const command of ['npm ci', 'npm run -s lint', 'npm run -s typecheck', 'npm test']) {
      assert.ok(ci.includes(command), `.ci/run does not run ${command}`);
    }
  });

  it('names only files and scripts that exist', () => {
    for (const [, path] of readme.matchAll(/\]\((?!https?:)([^)#]+)\)/g))
      assert.ok(existsSync(join(ROOT, decodeURIComponent(path!))), path);
    for (const [, script] of readme.matchAll(/npm run (?:-s )?([\w-]+)/g))
      assert.ok(script! in manifest.scripts, script);
  });

  it('describes every node', () => {
    for (const type of types) assert.ok(readme.includes(`\`${type}\``), type);
  });
});
