/** A WebSocket that is open for as long as its token is good. */
import type { WebSocket } from 'ws';
import { demand } from './access.ts';
import type { NvrService } from './service.ts';
import type { Access, Right } from './tokens.ts';

/** A client that takes nothing for so long is gone. */
const PING_MS = 15_000;
const CHECK_MS = 5000;

/**
 * Closes the socket with 4401 when its token has ended or was taken back, and when the client is gone. The client may send
 * `{"token": "…"}` with a newer one for the same before that.
 *
 * @param access is kept up to date
 */
export function hold(client: WebSocket, nvr: NvrService, access: Access, camera: string | null, right: Right): void {
  let alive = true;
  const ping = setInterval(() => {
    if (!alive) {
      client.terminate();
      return;
    }
    alive = false;
    client.ping();
  }, PING_MS);
  const watch = setInterval(() => {
    if (Date.now() >= access.expiresMs || nvr.tokens.isRevoked(access.id)) client.close(4401, 'the token has ended');
  }, CHECK_MS);
  client.on('message', (data, isBinary) => {
    const token = isBinary ? null : tokenIn((data as Buffer).toString('utf8'));
    demand(nvr.tokens, token, camera, right).then(
      (newer) => Object.assign(access, newer),
      () => client.close(4401, 'the token is not good'),
    );
  });
  client.on('pong', () => (alive = true));
  client.on('error', () => client.terminate());
  client.on('close', () => {
    clearInterval(ping);
    clearInterval(watch);
  });
}

function tokenIn(text: string): string | null {
  try {
    const { token } = JSON.parse(text) as { token?: unknown };
    return typeof token === 'string' ? token : null;
  } catch {
    return null;
  }
}
