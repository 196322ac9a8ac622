/** The feed of what happens (feed.ts) over WebSocket: JSON texts, the first of them `{type: 'hello', …}`. */
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type WebSocket } from 'ws';
import { demand, refuseUpgrade, tokenOf } from './access.ts';
import { shownTo, type FeedMessage } from './feed.ts';
import { hold } from './held-socket.ts';
import type { NvrService } from './service.ts';
import type { Access } from './tokens.ts';

const MAX_SOCKETS = 200;
/** A client with more unsent is told to come again, and gets what is true then. */
const MAX_UNSENT_BYTES = 1024 * 1024;

export class FeedSockets {
  private readonly server = new WebSocketServer({ noServer: true, maxPayload: 16_384, perMessageDeflate: false });

  /** Takes an upgrade to `feed`. */
  upgrade(nvr: NvrService | null, request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const run = async (): Promise<void> => {
      const query = Object.fromEntries(new URL(request.url ?? '', 'http://nvr').searchParams);
      if (!nvr || this.server.clients.size >= MAX_SOCKETS) {
        refuseUpgrade(socket, 503);
        return;
      }
      const access = await demand(nvr.tokens, tokenOf(request, query), null, 'live');
      this.server.handleUpgrade(request, socket, head, (client) => this.tell(nvr, client, access));
    };
    socket.on('error', () => socket.destroy());
    run().catch((error: unknown) => refuseUpgrade(socket, error));
  }

  private tell(nvr: NvrService, client: WebSocket, access: Access): void {
    hold(client, nvr, access, null, 'live');
    const onMessage = (message: FeedMessage): void => {
      const shown = shownTo(message, access);
      if (!shown) return;
      if (client.bufferedAmount > MAX_UNSENT_BYTES) client.close(1013, 'this connection is too slow');
      else client.send(JSON.stringify(shown));
    };
    onMessage(nvr.feed.hello(nvr.ptz.keys()));
    nvr.feed.on('message', onMessage);
    client.on('close', () => nvr.feed.off('message', onMessage));
  }
}
