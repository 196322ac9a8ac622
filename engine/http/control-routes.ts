/** Routes that do something to cameras, recorders and footage, and what they need to show before. */
import type { Request } from 'express';
import { bodyOf, CAMERA_COMMANDS, controlAll, controlCamera, NVR_COMMANDS, ptzOf, steer } from './control.ts';
import { EngineError } from '../types.ts';
import type { Handler, Route } from './guard.ts';
import { addHold, holdsFor, releaseHold } from './holds.ts';
import { OFTEN_MS, word, type Logged } from './journal.ts';
import { cameraOf } from './params.ts';
import type { Board, NvrService } from './service.ts';
import { share } from './shares.ts';

/** Cameras of a link that its line in the log names. */
const MAX_NAMED = 10;

export function controlRoutes(route: Route): void {
  const post = (path: string, logs: Logged, handler: Handler): void =>
    route('post', path, 'control', 'none', handler, logs);
  /** A field of a body that was not looked at yet. */
  const field = ({ body }: Request, name: string): unknown => (body as Record<string, unknown> | undefined)?.[name];
  const camera = ({ params }: Request): string => word(params['camera']);
  const command = (request: Request, known: readonly string[]): string =>
    known.find((one) => one === field(request, 'command')) ?? 'unknown command';

  post(
    '/api/control',
    { what: (request) => `${command(request, NVR_COMMANDS)} of all cameras` },
    async (nvr, request, response, access) => {
      if (access.cameras !== '*') throw new EngineError('forbidden', 'this is for all cameras, and the token is not');
      await controlAll(nvr, bodyOf(request.body));
      response.status(204).end();
    },
  );

  post(
    '/api/control/:camera',
    { what: (request) => `${command(request, CAMERA_COMMANDS)} of ${camera(request)}` },
    async (nvr, request, response) => {
      await controlCamera(nvr, cameraOf(request.params['camera']), bodyOf(request.body));
      response.status(204).end();
    },
  );

  route('get', '/api/ptz/:camera', 'live', 'none', (nvr, request, response) => {
    response.json(ptzOf(nvr, cameraOf(request.params['camera'])).describe());
  });

  post(
    '/api/ptz/:camera',
    { what: (request) => `steering of ${camera(request)}`, everyMs: OFTEN_MS },
    async (nvr, request, response) => {
      response.json(await steer(nvr, cameraOf(request.params['camera']), bodyOf(request.body)));
    },
  );

  route('get', '/api/board/:widget', 'live', 'none', (nvr, request, response, access) => {
    const board = boardOf(nvr, request).read();
    const { order } = board;
    // Other cameras are no business of a token that is not for them.
    const mayKnow = (id: unknown): boolean => access.cameras === '*' || access.cameras.some((camera) => camera === id);
    response.json(Array.isArray(order) ? { ...board, order: order.filter(mayKnow) } : board);
  });

  post(
    '/api/board/:widget',
    { what: ({ params }) => `order of the cameras of widget ${word(params['widget'])}`, everyMs: OFTEN_MS },
    (nvr, request, response, access) => {
      if (access.cameras !== '*') throw new EngineError('forbidden', 'this is for all cameras, and the token is not');
      boardOf(nvr, request).write(bodyOf(request.body));
      response.status(204).end();
    },
  );

  const linked = (request: Request): string => {
    const cameras = field(request, 'cameras');
    const named = Array.isArray(cameras) ? cameras.slice(0, MAX_NAMED).map(word).join(', ') : '?';
    return `link to ${named} for ${word(String(Number(field(request, 'minutes'))))} minutes`;
  };
  const shared: Handler = async (nvr, request, response, access) => {
    const link = await share(nvr.tokens, access, bodyOf(request.body));
    (response.locals as { made?: string }).made = link.id;
    response.json(link);
  };
  route('post', '/api/share', 'export', 'none', shared, { what: linked });

  route('get', '/api/holds', 'playback', 'none', async (nvr, _request, response, access) => {
    response.json({ holds: await holdsFor(nvr.host, access) });
  });

  post(
    '/api/holds',
    {
      what: (request) =>
        `hold of ${field(request, 'camera') === null ? 'all cameras' : word(field(request, 'camera'))}`,
    },
    async (nvr, request, response, access) => {
      response.json(await addHold(nvr.host, access, bodyOf(request.body)));
    },
  );

  post(
    '/api/holds/:id/release',
    { what: ({ params }) => `release of hold ${word(params['id'])}` },
    async (nvr, request, response, access) => {
      response.json(await releaseHold(nvr.host, access, request.params['id'] ?? ''));
    },
  );
}

function boardOf(nvr: NvrService, request: Request): Board {
  const board = nvr.boards.get(request.params['widget'] ?? '');
  if (!board) throw new EngineError('not-found', 'there is no such widget');
  return board;
}
