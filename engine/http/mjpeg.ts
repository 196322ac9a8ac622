/** Live pictures as `multipart/x-mixed-replace`, for browsers and panels that can show nothing else. */
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import type { Response } from 'express';
import { FedWatch, SILENT_MS } from '../ingest/fed-watch.ts';
import { lowerPriority, spawnDecoder } from '../ingest/ffmpeg-process.ts';
import { BOUNDED } from '../media/decoding.ts';
import { placeToFree, type Asker } from '../playback/fair-queue.ts';
import type { Viewer } from '../playback/live-hub.ts';
import { EngineError, type StreamName } from '../types.ts';
import { askerOf, isGone } from './access.ts';
import type { Boundary } from './boundary.ts';
import type { NvrService } from './service.ts';
import type { Access } from './tokens.ts';

/** Each is a decoder: more would cost the recording its CPU. */
const MAX_AT_ONCE = 8;
const MAX_WAITING_BYTES = 4 * 1024 * 1024;

let running = 0;
/** Those that can be ended for others, the oldest first. */
const views: { asker: Asker; end: () => void }[] = [];

export function mjpegArgs(fps: number, width: number): string[] {
  return [
    ...['-hide_banner', '-loglevel', 'error', ...BOUNDED, '-f', 'mp4', '-i', 'pipe:0', '-map', '0:v:0'],
    ...['-vf', `fps=${fps},scale='min(${width},iw)':-2`, '-c:v', 'mjpeg', '-q:v', '6'],
    ...['-f', 'mpjpeg', '-boundary_tag', 'flow-nvr', '-flush_packets', '1', 'pipe:1'],
  ];
}

/** Ends a view of whoever has most of them, for somebody who has less. @returns whether there was one */
function makeRoom(asker: Asker): boolean {
  const held = views.map((view) => [view.asker]);
  const given = views[placeToFree(held, asker) ?? -1];
  given?.end();
  return given !== undefined;
}

/** Between two looks at whether a token was taken back. */
const CHECK_MS = 5000;

/** Shows a stream until the client goes, its token ends or is taken back, or who has fewer views needs the place. Throws `busy`. */
export function sendMjpeg(
  nvr: NvrService,
  of: { camera: string; stream: StreamName; fps: number; width: number; access: Access },
  response: Response,
  boundary: Boundary,
): void {
  if (isGone(response)) return;
  const asker = askerOf(of.access);
  if (running >= MAX_AT_ONCE && !makeRoom(asker))
    throw new EngineError('busy', `at most ${MAX_AT_ONCE} MJPEG views at once; use live/ over WebSocket`);
  const child = spawnDecoder(
    nvr.host.config.ffmpegPath,
    mjpegArgs(of.fps, of.width),
    'pipe',
  ) as ChildProcessWithoutNullStreams;
  running++;
  const watch = new FedWatch(SILENT_MS + 3000 / of.fps);
  const view = { ended: false, leave: (): void => undefined };
  /** Does not wait for the response to close: it does so late, or never, when the client takes nothing any more. */
  const end = (): void => {
    if (view.ended) return;
    view.ended = true;
    views.splice(views.indexOf(place), 1);
    clearTimeout(expiry);
    clearInterval(check);
    view.leave();
    child.stdin.end();
    child.stdout.destroy(); // it may be full, and then the child would not be seen to close
    child.kill('SIGKILL'); // it leaves nothing behind
    response.end();
  };
  const place = { asker, end };
  views.push(place);
  const { id, expiresMs } = of.access;
  const expiry = setTimeout(end, Math.min(Math.max(0, expiresMs - Date.now()), 2 ** 31 - 1));
  const check = setInterval(() => {
    if (nvr.tokens.isRevoked(id)) end();
  }, CHECK_MS);
  child.on('spawn', () => lowerPriority(child, 10));
  child.on('error', () => response.destroy());
  child.stderr.resume();
  child.on('close', () => {
    running--;
    end();
  });
  response.on('close', end);
  view.leave = nvr.live.join(of.camera, of.stream, feed(child, response, { end, watch, boundary }));
  if (view.ended) {
    view.leave(); // it failed at once
    return;
  }
  response.set({ 'Content-Type': 'multipart/x-mixed-replace; boundary=flow-nvr', 'Cache-Control': 'no-store' });
  response.flushHeaders();
  child.stdout.on('data', () => watch.gave());
  child.stdout.pipe(response);
}

/** Gives a stream to the child, as far as it keeps up. */
function feed(
  child: ChildProcessWithoutNullStreams,
  response: Response,
  { end, watch, boundary }: { end: () => void; watch: FedWatch; boundary: Boundary },
): Viewer {
  let started = false;
  let skipping = false;
  const guarded = <A extends unknown[]>(work: (...args: A) => void): ((...args: A) => void) =>
    boundary.handler('an MJPEG view', response, work);
  return {
    init: guarded(({ data }) => {
      // Another codec in the middle: the client connects again.
      if (started) end();
      else child.stdin.write(data);
      started = true;
    }),
    fragment: guarded(({ data, key }) => {
      if (child.stdin.writableLength > MAX_WAITING_BYTES) skipping = true;
      if (skipping && !(key && child.stdin.writableLength < MAX_WAITING_BYTES / 2)) return;
      skipping = false;
      if (watch.fed(performance.now())) end();
      else child.stdin.write(data);
    }),
    failed: guarded(() => end()),
  };
}
