import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createRouter } from '../../engine/http/router.ts';

interface Operation {
  parameters: { name: string; in: string }[];
  responses: Record<string, unknown>;
  security?: unknown[];
}

describe('docs/openapi.json', () => {
  const { paths } = JSON.parse(readFileSync(join(import.meta.dirname, '../../docs/openapi.json'), 'utf8')) as {
    paths: Record<string, { get?: Operation; post?: Operation }>;
  };
  /** Not Express's: see live-socket.ts and feed-socket.ts. */
  const WEBSOCKETS = ['/live/{camera}', '/feed'];

  it('has the routes that there are, and no others', () => {
    const router = createRouter({ service: () => null, log: () => undefined });
    const routes = (router.stack as unknown as { route?: { path: string; methods: Record<string, boolean> } }[])
      .flatMap(({ route }) => (route ? Object.keys(route.methods).map((method) => `${method} ${route.path}`) : []))
      .map((path) => path.replace(/:(\w+)/g, '{$1}'));
    assert.deepEqual(
      Object.entries(paths)
        .filter(([path]) => !WEBSOCKETS.includes(path))
        .flatMap(([path, operations]) => Object.keys(operations).map((method) => `${method} ${path}`))
        .sort(),
      routes.sort(),
    );
  });

  it('names the parameters of each path, and who may not come in', () => {
    for (const [path, operations] of Object.entries(paths)) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const { parameters, responses, security } of Object.values(operations)) {
        const named = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
        assert.deepEqual(named, inPath, path);
        assert.ok(security?.length === 0 || '401' in responses, path);
      }
    }
  });
});
