/** The feed of what happens (feed.ts) over WebSocket: JSON texts, the first of them `{type: 'hello', …}`. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { EngineError } from '../types.ts';
import { askerOf, demand, tokenOf } from './access.ts';
import type { Boundary } from './boundary.ts';
import { shownTo, type FeedMessage } from './feed.ts';
import { hold, Places, socketServer } from './held-socket.ts';
import type { NvrService } from './service.ts';
import type { Access } from './tokens.ts';

/** A client with more unsent is told to come again, and gets what is true then. */
const MAX_UNSENT_BYTES = 1024 * 1024;

export class FeedSockets {
  private readonly server = socketServer();
  private readonly places = new Places();
  private readonly boundary: Boundary;

  constructor(boundary: Boundary) {
    this.boundary = boundary;
  }

  /** Takes an upgrade to `feed`. Rejects with why it is refused. */
  async upgrade(nvr: NvrService | null, request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const query = Object.fromEntries(new URL(request.url ?? '', 'http://nvr').searchParams);
    if (!nvr) throw new EngineError('engine', 'the NVR is not configured');
    const access = await demand(nvr.tokens, tokenOf(request, query), null, 'live');
    if (socket.destroyed) return; // it went while its token was looked at
    const leave = this.places.take(askerOf(access), () => socket.destroy());
    if (!leave) throw new EngineError('busy', 'too many connections at once');
    socket.once('close', leave);
    this.server.handleUpgrade(request, socket, head, (client) =>
      this.boundary.run('the feed', client, () => this.tell(nvr, client, access)),
    );
  }

  private tell(nvr: NvrService, client: WebSocket, access: Access): void {
    hold(client, { nvr, access, camera: null, right: 'live' }, this.boundary);
    const onMessage = this.boundary.handler('the feed', client, (message: FeedMessage) => {
      const shown = shownTo(message, access);
      if (!shown) return;
      if (client.bufferedAmount > MAX_UNSENT_BYTES) client.close(1013, 'this connection is too slow');
      else client.send(JSON.stringify(shown));
    });
    client.on('close', () => nvr.feed.off('message', onMessage));
    onMessage(nvr.feed.hello(nvr.ptz.keys()));
    nvr.feed.on('message', onMessage);
  }
}
