/**
 * Live media over WebSocket, for Media Source Extensions. The server sends a JSON text when a run begins
 * (`{type:'init', codecs, width, height, hasAudio}`) and behind it the init segment as binary; then each fragment as
 * binary. `{type:'skip', fragments}` says that a slow client missed some, `{type:'error', message}` why it ends. The client
 * may send `{"token": "…"}` before its token ends.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Viewer } from '../playback/live-hub.ts';
import { EngineError, type StreamName } from '../types.ts';
import { askerOf, demand, tokenOf } from './access.ts';
import type { Boundary } from './boundary.ts';
import { hold, Places, socketServer } from './held-socket.ts';
import { cameraOf, streamOf, textOf } from './params.ts';
import type { NvrService } from './service.ts';
import type { Access } from './tokens.ts';

/** More than this unsent, and the client skips to the next keyframe. */
const MAX_UNSENT_BYTES = 2 * 1024 * 1024;

/** What a client wants to see. */
interface Wanted {
  camera: string;
  stream: StreamName;
  /** What it plays, `avc1,hvc1` for example; everything if it does not say. */
  codecs: string | null;
}

export class LiveSockets {
  private readonly server = socketServer();
  private readonly places = new Places();
  private readonly boundary: Boundary;

  constructor(boundary: Boundary) {
    this.boundary = boundary;
  }

  /**
   * Takes an upgrade to `live/<camera>`. Rejects with why it is refused.
   * @param path what follows the NVR's HTTP path, `live/front` for example
   */
  async upgrade(
    nvr: NvrService | null,
    path: string,
    request: IncomingMessage,
    socket: Duplex,
    head: Buffer,
  ): Promise<void> {
    const query = Object.fromEntries(new URL(request.url ?? '', 'http://nvr').searchParams);
    const camera = cameraOf(/^live\/([^/]+)$/.exec(path)?.[1]);
    const wanted = { camera, stream: streamOf(query), codecs: textOf(query, 'codecs') };
    if (!nvr) throw new EngineError('engine', 'the NVR is not configured');
    const access = await demand(nvr.tokens, tokenOf(request, query), camera, 'live');
    if (socket.destroyed) return; // it went while its token was looked at
    const leave = this.places.take(askerOf(access), () => socket.destroy());
    if (!leave) throw new EngineError('busy', 'too many connections at once');
    socket.once('close', leave);
    this.server.handleUpgrade(request, socket, head, (client) =>
      this.boundary.run('live view', client, () => this.show(nvr, wanted, client, access)),
    );
  }

  private show(nvr: NvrService, { camera, stream, codecs }: Wanted, client: WebSocket, access: Access): void {
    hold(client, { nvr, access, camera, right: 'live' }, this.boundary);
    const h264 = codecs !== null && !plays(nvr, camera, stream, codecs.split(','));
    const leave = nvr.live.join(camera, stream, this.viewer(nvr, client), h264, askerOf(access));
    client.on('close', leave);
  }

  private viewer(nvr: NvrService, client: WebSocket): Viewer {
    let skipped = 0;
    let waiting = false;
    const guarded = <A extends unknown[]>(work: (...args: A) => void): ((...args: A) => void) =>
      this.boundary.handler('live view', client, work);
    return {
      init: guarded(({ codecs, width, height, hasAudio, data }) => {
        client.send(JSON.stringify({ type: 'init', codecs, width, height, hasAudio }));
        client.send(data);
        waiting = true; // for a keyframe
      }),
      fragment: guarded(({ data, key, startMs }) => {
        if (client.bufferedAmount > MAX_UNSENT_BYTES) waiting = true;
        if (waiting && !(key && client.bufferedAmount < MAX_UNSENT_BYTES / 2)) {
          skipped++;
          nvr.live.skippedFragments++;
          return;
        }
        waiting = false;
        if (skipped > 0) client.send(JSON.stringify({ type: 'skip', fragments: skipped }));
        skipped = 0;
        if (key) client.send(JSON.stringify({ type: 'time', time: startMs }));
        client.send(data);
      }),
      failed: guarded((message) => {
        client.send(JSON.stringify({ type: 'error', message }));
        client.close(1011);
      }),
    };
  }
}

function plays(nvr: NvrService, camera: string, stream: StreamName, codecs: readonly string[]): boolean {
  const video = nvr.host.cameraMessage(camera)?.streams[stream]?.codecs.split(',')[0];
  return video === undefined || codecs.includes(video.split('.')[0]!);
}
