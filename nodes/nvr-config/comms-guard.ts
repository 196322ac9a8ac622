/**
 * Stands between the editor's WebSocket and Node-RED, which believes what comes there. It is open to whoever reaches it, with
 * a login too: the login is asked for by a message. A frame `null`, an `auth` that is no text, a topic that makes no regular
 * expression, or a message without `data` ended Node-RED 4 and 5, and all recording with it.
 */
import type { Duplex } from 'node:stream';
import type { Boundary } from '../../engine/http/boundary.ts';

/** Of the `ws` that Node-RED has, which is another copy than ours. */
interface Peer {
  emit(event: string, ...args: unknown[]): boolean;
  terminate(): void;
  _receiver?: { _maxPayload?: number };
}

/** What the editor sends is a few hundred bytes. */
const MAX_BYTES = 64 * 1024;
const MAX_DEPTH = 4;
/** Topics to subscribe to, as the editor and its nodes name them. Each `+` becomes a pattern of its own. */
const TOPIC = /^[\w .:@/#-]{1,200}$/;
const WILDCARD = /^[\w .:@/#+-]{1,200}$/;
const MAX_WILDCARDS = 2;

/** Whether Node-RED can take this from a stranger. Pure. */
export function isCommsMessage(text: string): boolean {
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return true; // Node-RED looks no further
  }
  if (!isPlain(message)) return false;
  const { auth, subscribe, topic, data } = message;
  if (!isText(auth) || !isText(subscribe) || !isText(topic)) return false;
  if (subscribe && !(WILDCARD.test(subscribe) && subscribe.split('+').length <= MAX_WILDCARDS + 1)) return false;
  if (topic && !TOPIC.test(topic)) return false;
  // Its listeners read the fields of it without looking.
  if (topic?.startsWith('multiplayer/') && !isPlain(data)) return false;
  return isHarmless(data, 0);
}

function isText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string';
}

function isPlain(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Nothing in it takes the place of what each object has, `toString` for example: code that makes a text of it would fail. */
function isHarmless(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true;
  if (depth >= MAX_DEPTH) return false;
  return Object.entries(value).every(([name, inner]) => !(name in Object.prototype) && isHarmless(inner, depth + 1));
}

/**
 * Looks at all that comes from now on, before Node-RED does; what it cannot take, or fails on, ends the connection.
 *
 * @param socket that Node-RED will make a WebSocket of, at once or when it has looked who asks
 */
export function guardComms(socket: Duplex, boundary: Boundary): void {
  socket.on('newListener', (event) => {
    // `ws` listens for bytes when it has made one; the first of them comes behind this.
    if (event === 'data') process.nextTick(() => guardPeer(socket, boundary));
  });
}

function guardPeer(socket: Duplex, boundary: Boundary): void {
  const peer = peerOf(socket);
  if (!peer || guarded.has(peer)) return;
  guarded.add(peer);
  if (peer._receiver?._maxPayload !== undefined) peer._receiver._maxPayload = MAX_BYTES;
  const emit = peer.emit.bind(peer);
  peer.emit = (event, ...args) => {
    if (event !== 'message') return emit(event, ...args);
    boundary.run("a message to Node-RED's editor", peer, () => {
      if (!isCommsMessage(String(args[0]))) throw new Error('Node-RED cannot take it');
      emit(event, ...args);
    });
    return true;
  };
}

const guarded = new WeakSet<Peer>();

/** `ws` keeps its WebSocket in a symbol of the socket. */
function peerOf(socket: Duplex): Peer | null {
  const symbol = Object.getOwnPropertySymbols(socket).find(({ description }) => description === 'websocket');
  return symbol ? ((socket as unknown as Record<symbol, Peer | undefined>)[symbol] ?? null) : null;
}
