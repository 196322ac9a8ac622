/** A WebSocket that is open for as long as its token is good, its client is there, and asks for no more than it may. */
import { WebSocketServer, type ServerOptions, type WebSocket } from 'ws';
import { systemClock, type Clock } from '../clock.ts';
import { placeToFree, type Asker } from '../playback/fair-queue.ts';
import { demand } from './access.ts';
import type { Boundary } from './boundary.ts';
import type { NvrService } from './service.ts';
import type { Access, Right } from './tokens.ts';

/** A client that answers none of our pings for so long is gone. */
const PING_MS = 15_000;
const CHECK_MS = 5000;
/** Frames of a client between two checks: it sends a token every few minutes and answers a ping now and then. */
const MAX_FRAMES = 100;
/** Open at once, and of one asker: a page shows each camera over a socket of its own. */
const MAX_SOCKETS = 200;
const MAX_PER_ASKER = MAX_SOCKETS / 2;

/** No compression: a small message could become a large one. */
export function socketServer(): WebSocketServer {
  const options: ServerOptions & { maxFragments: number; closeTimeout: number } = {
    ...{ noServer: true, clientTracking: false, perMessageDeflate: false },
    ...{ maxPayload: 16_384, maxFragments: 16 },
    closeTimeout: CHECK_MS, // for a client that does not answer our `close`
  };
  return new WebSocketServer(options);
}

interface Place {
  asker: Asker;
  end: () => void;
}

/** Who has a place. Sockets cost memory and the work of sending. */
export class Places {
  /** The oldest first. */
  private readonly held: Place[] = [];

  /**
   * Where all places are taken, one of whoever has most of them is ended for somebody who has less.
   * @param end ends what has the place
   * @returns how to give the place back, or null if there is none for this asker
   */
  take(asker: Asker, end: () => void): (() => void) | null {
    if (this.held.filter((place) => place.asker.id === asker.id).length >= MAX_PER_ASKER) return null;
    if (this.held.length >= MAX_SOCKETS) {
      const given = this.held[placeToFree(this.askers(), asker) ?? -1];
      if (!given) return null;
      this.leave(given);
      given.end();
    }
    const place = { asker, end };
    this.held.push(place);
    return () => this.leave(place);
  }

  private askers(): Asker[][] {
    return this.held.map(({ asker }) => [asker]);
  }

  /** Does nothing for one that has left. */
  private leave(place: Place): void {
    const index = this.held.indexOf(place);
    if (index >= 0) this.held.splice(index, 1);
  }
}

export interface Held {
  nvr: NvrService;
  /** Kept up to date. */
  access: Access;
  camera: string | null;
  right: Right;
}

/**
 * Closes the socket with 4401 when its token has ended or was taken back, and ends it when the client is gone or sends
 * frames without end. The client may send `{"token": "…"}` with a newer one for the same before that.
 */
export function hold(client: WebSocket, held: Held, boundary: Boundary, clock: Clock = systemClock): void {
  const { nvr, access, camera, right } = held;
  let asked = 0;
  let answered = 0;
  let frames = 0;
  const every = (ms: number, what: string, work: () => void): (() => void) => {
    const again = (): (() => void) =>
      clock.after(ms, () => {
        cancel = again();
        boundary.run(what, client, work);
      });
    let cancel = again();
    return () => cancel();
  };
  const stopPing = every(PING_MS, 'a ping', () => {
    // It must be this one: who sends pongs without reading would keep what waits for it in memory.
    if (answered < asked) client.terminate();
    else client.ping(String(++asked));
  });
  const stopCheck = every(CHECK_MS, 'the check of a token', () => {
    frames = 0;
    if (Date.now() >= access.expiresMs || nvr.tokens.isRevoked(access.id)) client.close(4401, 'the token has ended');
  });
  const count = (): boolean => {
    if (++frames > MAX_FRAMES) client.terminate();
    return frames <= MAX_FRAMES;
  };
  const listen = (data: unknown, isBinary: boolean): void => {
    if (!count()) return;
    const token = isBinary ? null : tokenIn(String(data));
    demand(nvr.tokens, token, camera, right).then(
      (newer) => Object.assign(access, newer),
      () => client.close(4401, 'the token is not good'),
    );
  };
  client.on('message', boundary.handler('a message', client, listen));
  client.on('ping', count);
  client.on('pong', (data) => {
    if (count() && data.toString() === String(asked)) answered = asked;
  });
  client.on('error', () => client.terminate());
  client.on('close', () => {
    stopPing();
    stopCheck();
  });
}

function tokenIn(text: string): string | null {
  try {
    const { token } = JSON.parse(text) as { token?: unknown };
    return typeof token === 'string' ? token : null;
  } catch {
    return null; // no JSON, or `null`: it has no token
  }
}
