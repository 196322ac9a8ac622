/**
 * Live media over WebSocket, for Media Source Extensions. The server sends a JSON text when a run begins
 * (`{type:'init', codecs, width, height, hasAudio}`) and behind it the init segment as binary; then each fragment as
 * binary. `{type:'skip', fragments}` says that a slow client missed some, `{type:'error', message}` why it ends. The client
 * may send `{"token": "…"}` before its token ends.
 */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { askerOf, demand, refuseUpgrade, tokenOf } from './access.ts';
import { hold } from './held-socket.ts';
import { cameraOf, streamOf, textOf } from './params.ts';
import type { NvrService } from './service.ts';
import type { Access } from './tokens.ts';

/** More than this unsent, and the client skips to the next keyframe. */
const MAX_UNSENT_BYTES = 2 * 1024 * 1024;
const MAX_SOCKETS = 200;

export class LiveSockets {
  private readonly server = new WebSocketServer({ noServer: true, maxPayload: 16_384, perMessageDeflate: false });
  private sockets = 0;

  /**
   * Takes an upgrade to `live/<camera>`.
   * @param path what follows the NVR's HTTP path, `live/front` for example
   */
  upgrade(nvr: NvrService | null, path: string, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const run = async (): Promise<void> => {
      const query = Object.fromEntries(new URL(request.url ?? '', 'http://nvr').searchParams);
      const camera = cameraOf(/^live\/([^/]+)$/.exec(path)?.[1]);
      const stream = streamOf(query);
      const codecs = textOf(query, 'codecs');
      if (!nvr || this.sockets >= MAX_SOCKETS) {
        refuseUpgrade(socket, 503);
        return;
      }
      const access = await demand(nvr.tokens, tokenOf(request, query), camera, 'live');
      this.server.handleUpgrade(request, socket, head, (client) => {
        // `codecs=avc1,hvc1` is what the client plays; without it, it plays everything.
        const h264 = codecs !== null && !plays(nvr, camera, stream, codecs.split(','));
        this.show(nvr, camera, stream, client, access, h264);
      });
    };
    socket.on('error', () => socket.destroy());
    run().catch((error: unknown) => refuseUpgrade(socket, error));
  }

  private show(
    nvr: NvrService,
    camera: string,
    stream: 'main' | 'sub',
    client: WebSocket,
    access: Access,
    h264: boolean,
  ): void {
    this.sockets++;
    let skipped = 0;
    let waiting = false;
    const leave = nvr.live.join(
      camera,
      stream,
      {
        init: ({ codecs, width, height, hasAudio, data }) => {
          client.send(JSON.stringify({ type: 'init', codecs, width, height, hasAudio }));
          client.send(data);
          waiting = true; // for a keyframe
        },
        fragment: ({ data, key, startMs }) => {
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
        },
        failed: (message) => {
          client.send(JSON.stringify({ type: 'error', message }));
          client.close(1011);
        },
      },
      h264,
      askerOf(access),
    );
    hold(client, nvr, access, camera, 'live');
    client.on('close', () => {
      this.sockets--;
      leave();
    });
  }

  close(): void {
    for (const client of this.server.clients) client.close(1001);
    this.server.close();
  }
}

function plays(nvr: NvrService, camera: string, stream: 'main' | 'sub', codecs: readonly string[]): boolean {
  const video = nvr.host.cameraMessage(camera)?.streams[stream]?.codecs.split(',')[0];
  return video === undefined || codecs.includes(video.split('.')[0]!);
}
