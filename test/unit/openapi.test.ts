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
    paths: Record<string, Record<string, Operation>>;
  };
  /** Not Express's: see live-socket.ts. */
  const WEBSOCKET = '/live/{camera}';

  it('has the routes that there are, and no others', () => {
    const router = createRouter({ service: () => null, log: () => undefined });
    const routes = (router.stack as { route?: { path: string } }[])
      .flatMap(({ route }) => route?.path ?? [])
      .map((path) => path.replace(/:(\w+)/g, '{$1}'));
    assert.deepEqual(
      Object.keys(paths)
        .filter((path) => path !== WEBSOCKET)
        .sort(),
      routes.sort(),
    );
  });

  it('names the parameters of each path, and who may not come in', () => {
    for (const [path, operation] of Object.entries(paths).flatMap(([name, of]) =>
      Object.values(of).map((one) => [name, one] as const),
    )) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      assert.deepEqual(
        operation.parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name),
        inPath,
        path,
      );
      assert.ok(operation.security?.length === 0 || '401' in operation.responses, path);
    }
  });
});
