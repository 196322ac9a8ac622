/** The HTTP routes of an NVR, as an Express router. docs/http-api.md describes them, docs/openapi.json defines them. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { createHash } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { json, Router, type NextFunction, type Request, type RequestHandler, type Response } from 'express';
import { rateLimit } from 'express-rate-limit';
import { MAX_CLIP_MS, type ClipRequest } from '../playback/clips.ts';
import { cellsOf } from '../motion/activity.ts';
import { mediaPlaylist, partName } from '../playback/playlist.ts';
import { spansIn } from '../catalog/coverage.ts';
import { EngineError, type Coverage, type TimeRange } from '../types.ts';
import { answerFor, demand, isGone, NothingRecorded, tokenOf } from './access.ts';
import { bodyOf, controlAll, controlCamera, ptzOf, steer } from './control.ts';
import { boundAnswer, Boundary, type AnswerLimits } from './boundary.ts';
import { addEventRoutes, tagsAllowed } from './event-routes.ts';
import { addHold, holdsFor, releaseHold } from './holds.ts';
import { LOOP_RESOLUTION_MS, metricsText } from './metrics.ts';
import { sendMjpeg } from './mjpeg.ts';
import { cameraOf, camerasOf, integerOf, listOf, numberOf, rangeOf, streamOf, textOf, timeOf } from './params.ts';
import type { Board, NvrService } from './service.ts';
import { demandTime, share, type Times } from './shares.ts';
import { systemRoutes } from './system-routes.ts';
import { allows, type Access, type Right } from './tokens.ts';

const HOUR_MS = 3_600_000;
const MAX_PLAYLIST_MS = 24 * HOUR_MS;
const MAX_TIMELINE_MS = 366 * 24 * HOUR_MS;
/** Of one answer: some megabytes. A timeline joins what is short, and may be of any length. */
const MAX_SPANS = 50_000;
/** The name of a part says which footage it is, whatever becomes of the catalogue. */
const FINAL = 'private, max-age=86400, immutable';

export interface RouterEffects {
  /** The NVR that answers now; null while none is configured. */
  service: () => NvrService | null;
  /** A line for Node-RED's log. */
  log: (line: string) => void;
  boundary?: Boundary;
  /** Of clients that do not take their answers. */
  answers?: AnswerLimits;
}

type Handler = (nvr: NvrService, request: Request, response: Response, access: Access) => Promise<void> | void;
/** The cameras that were asked for, or all; the token must be for each of them. */
export type Permitted = (nvr: NvrService, request: Request, access: Access) => Promise<string[]>;

/**
 * A route that needs a right; on one camera if its path names one. The body of a `post` is JSON.
 * @param times those of its address that all it answers is of: what is shared opens nothing else
 */
export type Route = (
  method: 'get' | 'post',
  path: string,
  right: Right | ((request: Request) => Right),
  times: Times,
  handler: Handler,
) => void;

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
  const fail = (error: unknown, request: Request, response: Response): void => {
    const { status, body } = answerFor(error);
    if (status === 500)
      log(`nvr: ${request.method} ${request.path}: ${error instanceof Error ? error.message : String(error)}`);
    if (response.headersSent) response.destroy();
    else response.status(status).json(body);
  };
  const tooMany = (request: Request, response: Response): void =>
    fail(new EngineError('busy', 'too many requests in a minute; try again later'), request, response);
  const limits = { windowMs: 60_000, standardHeaders: 'draft-8' as const, legacyHeaders: false, handler: tooMany };
  // Guessing is slow work. Behind a reverse proxy many share an address: whoever has a good token is not counted here,
  // and not refused for what the others do.
  const perStranger = rateLimit({ ...limits, limit: 300 });
  // A share link may be passed on to many addresses. Nine cameras played side by side are far below this.
  const perToken = rateLimit({
    ...limits,
    limit: 6000,
    keyGenerator: (_request, response) => (response.locals as { token: string }).token,
  });

  const readBody: RequestHandler = json({ limit: '64kb' });

  const route: Route = (method, path, right, times, handler) => {
    const guarded: RequestHandler = (request, response) => {
      const run = async (): Promise<void> => {
        const nvr = service();
        if (!nvr) throw new EngineError('engine', 'the NVR is not configured');
        const camera = request.params['camera'] === undefined ? null : cameraOf(request.params['camera']);
        const needed = typeof right === 'function' ? right(request) : right;
        const access = await demand(nvr.tokens, tokenOf(request, request.query), camera, needed);
        if (access.range) demandTime(access.range, times, timesOf(request.query));
        (response.locals as { token: string }).token = access.id;
        // It answers by itself, or goes on.
        perToken(request, response, (error?: unknown) => {
          if (error) fail(error, request, response);
          else if (method === 'get') answer(nvr, access);
          else
            readBody(request, response, (wrong?: unknown) => {
              if ((wrong as { status?: unknown } | undefined)?.status === 413)
                fail(new EngineError('too-large', 'the body is too long'), request, response);
              else if (wrong) fail(new EngineError('bad-request', 'the body is no JSON'), request, response);
              else answer(nvr, access);
            });
        });
      };
      const answer = (nvr: NvrService, access: Access): void => {
        if (isGone(response)) return;
        const work = async (): Promise<void> => handler(nvr, request, response, access);
        work().catch((error: unknown) => fail(error, request, response));
      };
      run().catch((error: unknown) => {
        if (isGone(response)) return; // it has no address any more to be counted by, and nobody to be told
        if (!(error instanceof EngineError && error.code === 'unauthorized')) fail(error, request, response);
        else perStranger(request, response, (wrong?: unknown) => fail(wrong ?? error, request, response));
      });
    };
    router[method](path, guarded);
  };

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

  const post = (path: string, handler: Handler): void => route('post', path, 'control', 'none', handler);

  post('/api/control', async (nvr, request, response, access) => {
    if (access.cameras !== '*') throw new EngineError('forbidden', 'this is for all cameras, and the token is not');
    await controlAll(nvr, bodyOf(request.body));
    response.status(204).end();
  });

  post('/api/control/:camera', async (nvr, request, response) => {
    await controlCamera(nvr, cameraOf(request.params['camera']), bodyOf(request.body));
    response.status(204).end();
  });

  route('get', '/api/ptz/:camera', 'live', 'none', (nvr, request, response) => {
    response.json(ptzOf(nvr, cameraOf(request.params['camera'])).describe());
  });

  post('/api/ptz/:camera', async (nvr, request, response) => {
    response.json(await steer(nvr, cameraOf(request.params['camera']), bodyOf(request.body)));
  });

  route('get', '/api/board/:widget', 'live', 'none', (nvr, request, response) => {
    response.json(boardOf(nvr, request).read());
  });

  post('/api/board/:widget', (nvr, request, response) => {
    boardOf(nvr, request).write(bodyOf(request.body));
    response.status(204).end();
  });

  route('post', '/api/share', 'export', 'none', async (nvr, request, response, access) => {
    const shared = await share(nvr.tokens, access, bodyOf(request.body));
    const cameras = shared.links.map(({ camera }) => camera).join(', ');
    log(`nvr: a link to ${cameras} until ${new Date(shared.expires).toISOString()} by token ${access.id}`);
    response.json(shared);
  });

  route('get', '/api/holds', 'playback', 'none', async (nvr, _request, response, access) => {
    response.json({ holds: await holdsFor(nvr.host, access) });
  });

  post('/api/holds', async (nvr, request, response, access) => {
    response.json(await addHold(nvr.host, access, bodyOf(request.body)));
  });

  post('/api/holds/:id/release', async (nvr, request, response, access) => {
    response.json(await releaseHold(nvr.host, access, request.params['id'] ?? ''));
  });

  route('get', '/api/storage', 'admin', 'none', async (nvr, _request, response) => {
    const folders = await nvr.storage(Date.now());
    // By number, in the order they were first used: where they are on the disk is nobody's business here.
    const storage = folders.map(({ freeBytes, totalBytes, cameras }, i) => ({
      ...{ storage: i + 1, freeBytes, totalBytes, cameras },
    }));
    response.json({ storage, footage: await nvr.query.call('extents') });
  });

  systemRoutes(route, permitted);

  route('get', '/vod/:camera/index.m3u8', 'playback', 'range', async (nvr, request, response) => {
    const camera = cameraOf(request.params['camera']);
    const range = rangeOf(request.query, MAX_PLAYLIST_MS);
    const stream = streamOf(request.query);
    const playable = await nvr.query.call('playable', camera, stream, range, Date.now());
    if (playable.runs.length === 0) throw await nothingRecorded(nvr, camera, request);
    const token = textOf(request.query, 'token');
    const text = mediaPlaylist(playable, range, token === null ? '' : `?token=${encodeURIComponent(token)}`);
    response.type('application/vnd.apple.mpegurl');
    response.set('Cache-Control', playable.final ? 'private, max-age=3600' : 'no-cache');
    response.set('ETag', `"${createHash('sha1').update(text).digest('base64url')}"`);
    response.send(text); // Express answers 304 where the ETag is the same
  });

  route('get', '/vod/:camera/:file', 'playback', 'part', async (nvr, request, response, access) => {
    const camera = cameraOf(request.params['camera']);
    const file = request.params['file'] ?? '';
    if (access.range) await demandPart(nvr, camera, file, access.range);
    const media = await partOf(nvr, camera, file);
    nvr.audience.seen(camera, access.id, Date.now());
    response.type('video/mp4');
    if (file.startsWith('init-')) {
      response.set('Cache-Control', 'no-cache').send(Buffer.from(media)); // with an ETag
      return;
    }
    response.set('Cache-Control', FINAL).set('Content-Length', `${media.length}`).end(media);
  });

  route('get', '/clip/:camera.mp4', 'export', 'range', async (nvr, request, response, access) => {
    const asked = clipRequest(request);
    const job = await nvr.clips.job(asked, Date.now()).catch(async (error: unknown) => {
      throw error instanceof EngineError && error.code === 'not-found'
        ? await nothingRecorded(nvr, asked.camera, request)
        : error;
    });
    const leave = nvr.clips.wait(job);
    if (isGone(response)) {
      leave(); // which gives the clip up unless others wait for it
      return;
    }
    response.once('close', leave);
    await job.done;
    if (isGone(response)) return;
    const { camera, start, end } = asked;
    log(
      `nvr: export of ${camera} from ${new Date(start).toISOString()} to ${new Date(end).toISOString()} by token ${access.id} from ${request.ip ?? 'unknown'}`,
    );
    const name = `${camera}_${new Date(start).toISOString().replaceAll(':', '-')}.mp4`;
    await sendFile(request, response, job.file, name);
  });

  route('get', '/clip/:camera.json', 'export', 'range', async (nvr, request, response) => {
    const asked = clipRequest(request);
    const job = await nvr.clips.job(asked, Date.now()).catch(async (error: unknown) => {
      throw error instanceof EngineError && error.code === 'not-found'
        ? await nothingRecorded(nvr, asked.camera, request)
        : error;
    });
    job.background = true;
    response.json(job.status);
  });

  route(
    'get',
    '/snapshot/:camera.jpg',
    (request) => (textOf(request.query, 'at') === null ? 'live' : 'playback'),
    'at',
    async (nvr, request, response) => {
      const camera = cameraOf(request.params['camera']);
      const width = integerOf(request.query, 'width', 16, 7680, null);
      const at = timeOf(request.query, 'at');
      const still = await (at === null
        ? nvr.stills.now(camera, width)
        : nvr.stills.at(camera, streamOf(request.query), at, width, Date.now()));
      if (at !== null) response.set('Cache-Control', 'private, max-age=3600');
      response.type('image/jpeg').set('X-Frame-Time', `${still.time}`).end(still.image);
    },
  );

  route('get', '/strip/:camera.jpg', 'playback', 'range', async (nvr, request, response) => {
    const camera = cameraOf(request.params['camera']);
    const range = rangeOf(request.query, 31 * 24 * HOUR_MS);
    const count = integerOf(request.query, 'count', 1, 120, 20);
    const width = integerOf(request.query, 'width', 16, 640, 160);
    const strip = await nvr.stills.strip(camera, streamOf(request.query), { ...range, count, width }, Date.now());
    response.set('Cache-Control', 'private, max-age=60').set('X-Frame-Times', strip.times.join(','));
    response.type('image/jpeg').end(strip.image);
  });

  route('get', '/live/:camera.mjpeg', 'live', 'none', (nvr, request, response, access) => {
    const camera = cameraOf(request.params['camera']);
    const fps = integerOf(request.query, 'fps', 1, 25, 5);
    const width = integerOf(request.query, 'width', 16, 1920, 640);
    sendMjpeg(
      nvr,
      { camera, stream: streamOf(request.query), fps, width, until: access.expiresMs },
      response,
      boundary,
    );
  });

  router.use((request: Request, response: Response) => {
    fail(new EngineError('not-found', 'there is nothing at this address'), request, response);
  });
  router.use((error: unknown, request: Request, response: Response, next: NextFunction) => {
    if (response.headersSent) {
      next(error); // Express ends the connection
      return;
    }
    // What Express itself refuses: an address that cannot be decoded, for example.
    const status = (error as { status?: unknown }).status;
    if (status === 400 || status === 413) {
      const message = status === 413 ? 'the body is too long' : 'the address or the body cannot be read';
      response.status(status).json({ error: 'bad-request', message });
    } else fail(error, request, response);
  });
  return router;
}

function boardOf(nvr: NvrService, request: Request): Board {
  const board = nvr.boards.get(request.params['widget'] ?? '');
  if (!board) throw new EngineError('not-found', 'there is no such widget');
  return board;
}

function timesOf(query: Record<string, unknown>): Parameters<typeof demandTime>[2] {
  return { start: timeOf(query, 'start'), end: timeOf(query, 'end'), at: timeOf(query, 'at') };
}

/** A token of one range gets the parts that the playlists of it name. Throws `forbidden`. */
async function demandPart(nvr: NvrService, camera: string, file: string, range: TimeRange): Promise<void> {
  for (const stream of ['main', 'sub'] as const) {
    const { runs } = await nvr.query.call('playable', camera, stream, range, Date.now());
    const named = runs.some(
      ({ init, chunks }) => file === `init-${init}.mp4` || chunks.some((chunk) => partName(chunk) === file),
    );
    if (named) return;
  }
  throw new EngineError('forbidden', 'this link is for one range of time only');
}

/** What a line of a playlist names. */
function partOf(nvr: NvrService, camera: string, file: string): Promise<Uint8Array> {
  const init = /^init-(\d{1,12})\.mp4$/.exec(file)?.[1];
  if (init !== undefined) return nvr.query.call('init', camera, Number(init));
  const chunk = /^(\d{1,12})-(\d{1,14})-(\d{1,6})-(\d{1,4})\.m4s$/.exec(file)?.slice(1).map(Number);
  if (!chunk) throw new EngineError('bad-request', 'that is no name of a part of a playlist');
  const [segment, startMs, firstGop, gops] = chunk as [number, number, number, number];
  return nvr.query.call('part', camera, startMs, segment, firstGop, gops);
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

function clipRequest(request: Request): ClipRequest {
  return {
    ...rangeOf(request.query, MAX_CLIP_MS),
    camera: cameraOf(request.params['camera']),
    stream: streamOf(request.query),
    speed: numberOf(request.query, 'speed', 1, 1000, 1),
  };
}

/** The error for a range without footage: it says what there is of it, and why the rest is missing. */
async function nothingRecorded(nvr: NvrService, camera: string, request: Request): Promise<EngineError> {
  const range = rangeOf(request.query, MAX_TIMELINE_MS);
  return new NothingRecorded(await nvr.query.call('coverage', camera, streamOf(request.query), range, Date.now()));
}

/** A file of ours with ranges (RFC 9110 §14), as players ask for them. */
async function sendFile(request: Request, response: Response, file: string, name: string): Promise<void> {
  const { size } = await stat(file);
  if (isGone(response)) return;
  response.set({
    'Accept-Ranges': 'bytes',
    'Content-Disposition': `inline; filename="${name}"`,
    'Cache-Control': 'private, max-age=300',
  });
  response.type('video/mp4');
  const ranges = request.range(size);
  const range = Array.isArray(ranges) && ranges.type === 'bytes' && ranges.length === 1 ? ranges[0] : undefined;
  if (ranges === -1) {
    response.status(416).set('Content-Range', `bytes */${size}`).end();
    return;
  }
  if (range) response.status(206).set('Content-Range', `bytes ${range.start}-${range.end}/${size}`);
  const { start, end } = range ?? { start: 0, end: size - 1 };
  response.set('Content-Length', `${end - start + 1}`);
  const stream = createReadStream(file, { start, end });
  stream.on('error', () => response.destroy());
  response.on('close', () => stream.destroy());
  stream.pipe(response);
}
