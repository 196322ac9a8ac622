/** Routes of footage: playlists and their parts, clips, pictures, live pictures. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { Request, Response } from 'express';
import { MAX_CLIP_MS, type ClipRequest } from '../playback/clips.ts';
import { mediaPlaylist, partName } from '../playback/playlist.ts';
import { EngineError, type TimeRange } from '../types.ts';
import { isGone, NothingRecorded } from './access.ts';
import type { Boundary } from './boundary.ts';
import type { Route } from './guard.ts';
import { word } from './journal.ts';
import { sendMjpeg } from './mjpeg.ts';
import { cameraOf, integerOf, numberOf, rangeOf, streamOf, textOf, timeOf } from './params.ts';
import type { NvrService } from './service.ts';
import { allows } from './tokens.ts';

const HOUR_MS = 3_600_000;
const MAX_PLAYLIST_MS = 24 * HOUR_MS;
const MAX_COVERAGE_MS = 366 * 24 * HOUR_MS;
/** The name of a part says which footage it is, whatever becomes of the catalogue. */
const FINAL = 'private, max-age=86400, immutable';

export function mediaRoutes(route: Route, boundary: Boundary): void {
  route('get', '/vod/:camera/index.m3u8', 'playback', 'range', async (nvr, request, response, access) => {
    const camera = cameraOf(request.params['camera']);
    const range = rangeOf(request.query, MAX_PLAYLIST_MS);
    const stream = streamOf(request.query);
    const playable = await nvr.query.call('playable', camera, stream, range, Date.now());
    if (playable.runs.length === 0) throw await nothingRecorded(nvr, camera, request);
    const token = textOf(request.query, 'token');
    // One that goes on is a live view, late by some seconds.
    const ends = playable.final || !allows(access, camera, 'live');
    const query = token === null ? '' : `?token=${encodeURIComponent(token)}`;
    const text = mediaPlaylist({ ...playable, final: ends }, range, query);
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

  route(
    'get',
    '/clip/:camera.mp4',
    'export',
    'range',
    async (nvr, request, response) => {
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
      const { camera, start } = asked;
      const name = `${camera}_${new Date(start).toISOString().replaceAll(':', '-')}.mp4`;
      await sendFile(request, response, job.file, name);
    },
    { what: exported },
  );

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
    sendMjpeg(nvr, { camera, stream: streamOf(request.query), fps, width, access }, response, boundary);
  });
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

/** As a line of the log says it. Throws `bad-request`. */
function exported({ params, query }: Request): string {
  const at = (name: string): string => {
    const time = timeOf(query, name);
    return time === null ? '?' : new Date(time).toISOString();
  };
  return `export of ${word(params['camera'])} from ${at('start')} to ${at('end')}`;
}

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
  const range = rangeOf(request.query, MAX_COVERAGE_MS);
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
