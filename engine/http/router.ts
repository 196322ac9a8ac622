/** The HTTP routes of an NVR, as an Express router. docs/http-api.md describes them, docs/openapi.json defines them. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Router, type NextFunction, type Request, type Response } from 'express';
import { spansIn } from '../catalog/coverage.ts';
import { cellsOf } from '../motion/activity.ts';
import { EngineError, type Coverage } from '../types.ts';
import { boundAnswer, Boundary, type AnswerLimits } from './boundary.ts';
import { controlRoutes } from './control-routes.ts';
import { addEventRoutes, tagsAllowed } from './event-routes.ts';
import { guardOf, type Permitted } from './guard.ts';
import { mediaRoutes } from './media-routes.ts';
import { LOOP_RESOLUTION_MS, metricsText } from './metrics.ts';
import { cameraOf, camerasOf, integerOf, listOf, numberOf, rangeOf, streamOf } from './params.ts';
import type { NvrService } from './service.ts';
import { systemRoutes } from './system-routes.ts';
import { allows } from './tokens.ts';

const MAX_TIMELINE_MS = 366 * 24 * 3_600_000;
/** Of one answer: some megabytes. A timeline joins what is short, and may be of any length. */
const MAX_SPANS = 50_000;

export interface RouterEffects {
  /** The NVR that answers now; null while none is configured. */
  service: () => NvrService | null;
  /** A line for Node-RED's log. */
  log: (line: string) => void;
  boundary?: Boundary;
  /** Of clients that do not take their answers. */
  answers?: AnswerLimits;
}

export function createRouter({ service, log, boundary = new Boundary(log), answers }: RouterEffects): Router {
  const router = Router();
  const delay = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  delay.enable();

  router.use((request, response, next) => {
    boundAnswer(request, response, answers);
    response.set({
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer', // addresses may carry tokens
      'Cross-Origin-Resource-Policy': 'same-origin',
      'Content-Security-Policy': "default-src 'none'",
      'Cache-Control': 'no-store',
    });
    next();
  });
  const { route, fail } = guardOf(router, { service, log });

  router.get('/health', (_request, response) => {
    const nvr = service();
    const healthy = nvr !== null && nvr.host.currentProblem === null;
    response.status(healthy ? 200 : 503).json({ status: healthy ? 'ok' : 'problem' });
  });

  route('get', '/metrics', 'admin', 'none', async (nvr, _request, response) => {
    response.type('text/plain; version=0.0.4').send(await metricsText(nvr, delay));
  });

  route('get', '/api/cameras', 'playback', 'none', async (nvr, _request, response, access) => {
    const known = new Map(nvr.host.cameraMessages.map((message) => [message.camera, message]));
    const recorded = await nvr.query.call('cameras').catch((error: unknown) => {
      if (error instanceof EngineError && error.code === 'catalog') return []; // nothing was recorded yet
      throw error;
    });
    const ids = [...new Set([...known.keys(), ...recorded])].sort().filter((id) => allows(access, id, 'playback'));
    response.json({ cameras: ids.map((id) => known.get(id) ?? { camera: id, name: id, state: 'removed' }) });
  });

  route('get', '/api/timeline', 'playback', 'range', async (nvr, request, response, access) => {
    const range = rangeOf(request.query, MAX_TIMELINE_MS);
    const width = integerOf(request.query, 'width', 10, 10_000, 1000);
    const tags = listOf(request.query, 'tags', 20) ?? [];
    if (tags.length > 0) tagsAllowed(access);
    const cameras = await permitted(nvr, request, access);
    const text = await nvr.query.call('timeline', cameras, streamOf(request.query), range, width, Date.now(), tags);
    response.type('json').send(text);
  });

  route('get', '/api/coverage', 'playback', 'range', async (nvr, request, response, access) => {
    const range = rangeOf(request.query, MAX_TIMELINE_MS);
    const stream = streamOf(request.query);
    const cameras = await permitted(nvr, request, access);
    const coverage: Coverage[] = [];
    let left = MAX_SPANS;
    // One after the other: others ask in between.
    for (const camera of cameras) {
      const one = await nvr.query.call('coverage', camera, stream, range, Date.now(), left);
      left -= spansIn(one);
      coverage.push(one);
    }
    response.json({ coverage });
  });

  addEventRoutes(route);

  route('get', '/api/motion/:camera', 'playback', 'range', async (nvr, request, response) => {
    const camera = cameraOf(request.params['camera']);
    const range = rangeOf(request.query, MAX_TIMELINE_MS);
    const share = (name: string, otherwise: number): number => numberOf(request.query, name, 0, 1, otherwise);
    const region = { x: share('x', 0), y: share('y', 0), width: share('width', 1), height: share('height', 1) };
    const limit = integerOf(request.query, 'limit', 1, 1000, 100);
    const { moved, next } = await nvr.query.call('moved', camera, cellsOf(region), range, limit);
    response.json({ moved: moved.map(([start, end]) => ({ start, end })), next });
  });

  route('get', '/api/presets/:camera', 'live', 'none', async (nvr, request, response) => {
    const camera = cameraOf(request.params['camera']);
    const presets = (await nvr.query.call('presets', camera)).map(({ stillTime, ...preset }) => {
      // With its time, so that a new picture has a new address.
      const still = `api/presets/${camera}/${encodeURIComponent(preset.token)}.jpg?at=${stillTime}`;
      return { ...preset, still: stillTime === null ? null : still };
    });
    response.json({ camera, presets });
  });

  route('get', '/api/presets/:camera/:token.jpg', 'live', 'none', async (nvr, request, response) => {
    const still = await nvr.query.call(
      'presetStill',
      cameraOf(request.params['camera']),
      request.params['token'] ?? '',
    );
    response.set('Cache-Control', 'private, max-age=3600').type('image/jpeg').end(still);
  });

  controlRoutes(route);

  route('get', '/api/storage', 'admin', 'none', async (nvr, _request, response) => {
    const folders = await nvr.storage(Date.now());
    // By number, in the order they were first used: where they are on the disk is nobody's business here.
    const storage = folders.map(({ freeBytes, totalBytes, cameras }, i) => ({
      ...{ storage: i + 1, freeBytes, totalBytes, cameras },
    }));
    response.json({ storage, footage: await nvr.query.call('extents') });
  });

  systemRoutes(route, permitted);

  mediaRoutes(route, boundary);

  router.use((request: Request, response: Response) => {
    fail(new EngineError('not-found', 'there is nothing at this address'), request, response);
  });
  router.use((error: unknown, request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) {
      next(error); // Express ends the connection
      return;
    }
    // What Express itself refuses: an address that cannot be decoded, for example. Its texts are for nobody.
    const status = (error as { status?: unknown } | null)?.status;
    const refused = typeof status === 'number' && status >= 400 && status < 500;
    fail(refused ? new EngineError('bad-request', 'the address cannot be read') : error, request, response);
  });
  return router;
}

const permitted: Permitted = async (nvr, request, access) => {
  const asked = camerasOf(request.query);
  if (asked === null) {
    const all = access.cameras === '*' ? await nvr.query.call('cameras') : [...access.cameras];
    return all;
  }
  for (const camera of asked) {
    if (!allows(access, camera, 'playback'))
      throw new EngineError('forbidden', `the token is not for camera ${camera}`);
  }
  return asked;
};
