/**
 * The boundary between what strangers send and Node-RED's thread. A handler of a socket or stream that throws would end
 * Node-RED, and all recording with it; inside `run` and `handler` it ends the connection it was about.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemClock, type Clock } from '../clock.ts';
import { answerFor } from './access.ts';

/** One line in so many ms: who makes our handlers fail must not fill the log. */
const LOG_MS = 10_000;

/** Whatever can be ended at once: a socket, a response, a WebSocket. */
export type Connection = { destroy(): unknown } | { terminate(): unknown };

export class Boundary {
  private readonly log: (line: string) => void;
  private readonly clock: Clock;
  private toldAt = -Infinity;
  private untold = 0;

  constructor(log: (line: string) => void, clock: Clock = systemClock) {
    this.log = log;
    this.clock = clock;
  }

  /** Does some work for a connection. If it throws or rejects, the connection ends; never throws. */
  run(what: string, connection: Connection, work: () => unknown): void {
    const fail = (error: unknown): void => {
      this.end(connection);
      this.tell(what, error);
    };
    try {
      const result = work();
      if (result instanceof Promise) result.catch(fail);
    } catch (error) {
      fail(error);
    }
  }

  /** A listener of an event that is run as {@link run} does. */
  handler<A extends unknown[]>(
    what: string,
    connection: Connection,
    work: (...args: A) => unknown,
  ): (...args: A) => void {
    return (...args) => this.run(what, connection, () => work(...args));
  }

  private end(connection: Connection): void {
    try {
      if ('terminate' in connection) connection.terminate();
      else connection.destroy();
    } catch (error) {
      this.tell('the end of a connection', error);
    }
  }

  private tell(what: string, error: unknown): void {
    const now = this.clock.monotonic();
    if (now - this.toldAt < LOG_MS) {
      this.untold++;
      return;
    }
    const others = this.untold > 0 ? ` (and ${this.untold} others since the last such line)` : '';
    this.toldAt = now;
    this.untold = 0;
    const reason = error instanceof Error ? error.message : String(error);
    this.log(`nvr: a connection was closed because ${what} failed: ${reason.slice(0, 300)}${others}`);
  }
}

/**
 * Ends a socket once all that was written to it is sent, whether or not the client closes its side: `end` alone would
 * leave the socket open for as long as the client likes.
 */
export function finish(socket: Duplex): void {
  const { destroySoon } = socket as Partial<Socket>;
  if (destroySoon) destroySoon.call(socket);
  else socket.end(() => socket.destroy());
}

/** Answers an upgrade with an error in place of a WebSocket. */
export function refuseUpgrade(socket: Duplex, error: unknown): void {
  const status = typeof error === 'number' ? error : answerFor(error).status;
  if (socket.writable) socket.write(`HTTP/1.1 ${status} Refused\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  finish(socket);
}

export interface AnswerLimits {
  /** A client that takes not one byte of its answer for so long is cut off. */
  stallMs: number;
  /** And one that has not all of it so long after the answer lies ready. */
  takeMs: number;
}

const LIMITS: AnswerLimits = { stallMs: 30_000, takeMs: 10 * 60_000 };

/** The answers that are due on a connection: a client may ask again before it has the last one. */
const due = new WeakMap<Socket, Set<ServerResponse>>();

/**
 * Cuts off a client that does not take its answer, which would stay in memory, and its place taken, for as long as the
 * client likes. Time in which there is nothing to take (a clip is being made, a camera is away) does not count. Also sees
 * to it that each answer is closed with its connection.
 */
export function boundAnswer(request: IncomingMessage, response: ServerResponse, limits: AnswerLimits = LIMITS): void {
  const { socket } = request;
  // Node begins anew with each piece that the kernel takes, so this is called when there was none for so long.
  response.setTimeout(limits.stallMs, () => {
    if (response.writableLength > 0 || socket.writableLength > 0) socket.destroy();
  });
  let late: NodeJS.Timeout | undefined;
  response.once('prefinish', () => {
    late = setTimeout(() => socket.destroy(), limits.takeMs).unref();
  });
  const others = due.get(socket) ?? expectClose(socket);
  others.add(response);
  response.once('close', () => {
    clearTimeout(late);
    others.delete(response);
  });
}

/** Node does not tell the answers behind the first that an upgraded connection has closed. */
function expectClose(socket: Socket): Set<ServerResponse> {
  const open = new Set<ServerResponse>();
  due.set(socket, open);
  socket.once('close', () => {
    for (const response of open) {
      response.destroy();
      if (open.has(response)) response.emit('close');
    }
  });
  return open;
}
