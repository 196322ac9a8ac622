/** The NVRs of this page: one session and one feed each, however many widgets use them. Runs in the browser. */
import { Feed, type FeedEffects } from './feed.ts';
import { Session, type Params } from './session.ts';

export interface Nvr {
  session: Session;
  feed: Feed;
  /** The address of a WebSocket with a good token. Rejects with NvrError. */
  socketUrl: (path: string, params?: Params) => Promise<string>;
}

const nvrs = new Map<string, Nvr>();

function after(ms: number, run: () => void): () => void {
  const timer = window.setTimeout(run, ms);
  return () => window.clearTimeout(timer);
}

const absolute = (path: string): string => `${location.origin.replace(/^http/, 'ws')}${path}`;

const open: FeedEffects['open'] = (path, on) => {
  const socket = new WebSocket(absolute(path));
  socket.onmessage = ({ data }) => {
    if (typeof data === 'string') on.text(data);
  };
  socket.onclose = on.close;
  return {
    send: (text) => {
      if (socket.readyState === WebSocket.OPEN) socket.send(text);
    },
    close: () => socket.close(),
  };
};

/** @param base the NVR's address on this host: `/nvr` */
export function nvrAt(base: string): Nvr {
  const known = nvrs.get(base);
  if (known) return known;
  const session = new Session(base, {
    fetch: (address, init) => fetch(address, { ...init, credentials: 'same-origin', cache: 'no-store' }),
    after,
  });
  void session.refresh();
  const feed = new Feed(session, { open, after, now: () => Date.now() });
  const nvr: Nvr = {
    session,
    feed,
    socketUrl: async (path, params) => absolute(await session.socketPath(path, params)),
  };
  nvrs.set(base, nvr);
  return nvr;
}
