/** Clients that hold a connection without end, and handlers that fail: real sockets, with a clock that nobody waits for. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { PassThrough, type Duplex } from 'node:stream';
import WebSocket, { type WebSocketServer } from 'ws';
import { Boundary, boundAnswer, finish, refuseUpgrade } from '../../engine/http/boundary.ts';
import { FeedSockets } from '../../engine/http/feed-socket.ts';
import { hold, Places, socketServer, type Held } from '../../engine/http/held-socket.ts';
import { LiveSockets } from '../../engine/http/live-socket.ts';
import type { NvrService } from '../../engine/http/service.ts';
import { frame } from '../support/raw-inputs.ts';
import { TurnedClock } from '../support/turned-clock.ts';

const HUGE = Buffer.alloc(64 * 1024 * 1024); // more than any socket's buffers take
const HANDSHAKE = [
  ...['GET / HTTP/1.1', 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
  ...['Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', ''],
].join('\r\n');

describe('clients that hold a connection', () => {
  let server: Server;
  let clients: Socket[];
  beforeEach(() => (clients = []));
  afterEach(() => {
    for (const client of clients) client.destroy();
    server.close();
    server.closeAllConnections();
  });

  async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<void> {
    server = createServer(answer).listen(0, '127.0.0.1');
    await once(server, 'listening');
  }

  function client(data: string): Socket {
    const { port } = server.address() as AddressInfo;
    const socket = connect(port, '127.0.0.1').on('error', () => undefined); // the server may reset it
    socket.write(data);
    clients.push(socket);
    return socket;
  }

  const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

  it('are cut off when they take nothing of their answer', async () => {
    const closed = Promise.withResolvers<string>();
    await serve((request, response) => {
      boundAnswer(request, response, { stallMs: 50, takeMs: 600_000 });
      response.on('close', () => closed.resolve(response.writableFinished ? 'all was taken' : 'cut off'));
      response.end(HUGE);
    });
    client(get('/')).pause();
    assert.equal(await closed.promise, 'cut off');
  });

  it('are cut off when they take it too slowly', async () => {
    const closed = Promise.withResolvers<string>();
    await serve((request, response) => {
      boundAnswer(request, response, { stallMs: 600_000, takeMs: 50 });
      response.on('close', () => closed.resolve(response.writableFinished ? 'all was taken' : 'cut off'));
      response.end(HUGE);
    });
    client(get('/')).pause();
    assert.equal(await closed.promise, 'cut off');
  });

  it('may wait for an answer that is not ready, and take it', async () => {
    await serve((request, response) => {
      boundAnswer(request, response, { stallMs: 20, takeMs: 600_000 });
      response.once('timeout', () => response.end('at last')); // it was silent for longer than a client may be
    });
    const [chunk] = (await once(client(get('/')), 'data')) as [Buffer];
    assert.match(chunk.toString(), /at last/);
  });

  it('close all the answers that are due on it, behind an upgrade too', async () => {
    const closed: (string | undefined)[] = [];
    const all = Promise.withResolvers<undefined>();
    await serve((request, response) => {
      boundAnswer(request, response);
      response.on('close', () => {
        closed.push(request.url);
        if (closed.length === 3) all.resolve(undefined);
      });
    });
    server.on('upgrade', (_request: IncomingMessage, socket: Duplex) => socket.destroy());
    client(get('/1') + get('/2') + get('/3') + HANDSHAKE);
    await all.promise;
    assert.deepEqual(closed.sort(), ['/1', '/2', '/3']);
  });

  it('are gone after a refusal though they keep their side open', async () => {
    await serve(() => undefined);
    const closed = Promise.withResolvers<undefined>();
    server.on('upgrade', (_request: IncomingMessage, socket: Duplex) => {
      socket.on('close', () => closed.resolve(undefined));
      refuseUpgrade(socket, 401);
    });
    const { port } = server.address() as AddressInfo;
    const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    clients.push(socket.on('error', () => undefined));
    socket.write(HANDSHAKE);
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    assert.match(chunk.toString(), /^HTTP\/1\.1 401 /);
    await closed.promise;
  });

  describe('with a WebSocket', () => {
    let clock: TurnedClock;
    let sockets: WebSocketServer;
    /** The next one that is opened, as the server has it. */
    let opened: PromiseWithResolvers<WebSocket>;
    const lines: string[] = [];

    beforeEach(async () => {
      clock = new TurnedClock();
      sockets = socketServer();
      opened = Promise.withResolvers();
      lines.length = 0;
      const tokens = { isRevoked: () => false, verify: () => Promise.reject(new Error('no good token')) };
      const access = { cameras: '*', rights: ['live'], id: 'x', expiresMs: Infinity };
      const held = { nvr: { tokens }, access, camera: null, right: 'live' } as unknown as Held;
      await serve(() => undefined);
      server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
        sockets.handleUpgrade(request, socket, head, (one) => {
          hold(one, held, new Boundary((line) => lines.push(line), clock), clock);
          opened.resolve(one);
        });
      });
    });

    const closing = async (one: WebSocket): Promise<number> => {
      const code = await new Promise<number>((resolve) => one.once('close', resolve)); // `error` may come before
      assert.equal(clock.waiting, 0, 'no timer is left behind');
      return code;
    };

    it('end when they answer no ping', async () => {
      client(HANDSHAKE);
      const one = await opened.promise;
      const closed = closing(one);
      clock.pass(15_000);
      assert.equal(one.readyState, WebSocket.OPEN);
      clock.pass(15_000);
      await closed;
    });

    it('end when they answer pings that they did not read', async () => {
      const socket = client(HANDSHAKE);
      const one = await opened.promise;
      const closed = closing(one);
      clock.pass(15_000);
      socket.write(frame(0x8a, Buffer.from('anything')));
      await once(one, 'pong');
      clock.pass(15_000);
      await closed;
    });

    it('stay when they answer', async () => {
      const socket = client(HANDSHAKE);
      const one = await opened.promise;
      for (let i = 1; i <= 5; i++) {
        clock.pass(15_000);
        socket.write(frame(0x8a, Buffer.from(`${i}`)));
        await once(one, 'pong');
      }
      assert.equal(one.readyState, WebSocket.OPEN);
    });

    const floods = { pings: 0x89, pongs: 0x8a, 'texts of no sense': 0x81 };
    for (const [what, head] of Object.entries(floods)) {
      it(`end when they send ${what} without end`, async () => {
        const socket = client(HANDSHAKE);
        const one = await opened.promise;
        const closed = closing(one);
        for (let i = 0; i < 200; i++) socket.write(frame(head, Buffer.from('x')));
        assert.ok((await closed) > 0);
      });
    }

    const bad = {
      'a frame without a mask': Buffer.from([0x81, 1, 65]),
      'a message that is too long': frame(0x81, Buffer.alloc(20_000)),
      'a compressed frame': frame(0xc1, Buffer.from([1, 2, 3])),
      'a text that is no UTF-8': frame(0x81, Buffer.from([0xff, 0xfe])),
      'a message in very many pieces': Buffer.concat([
        frame(0x01, Buffer.from('a')),
        ...Array.from({ length: 40 }, () => frame(0, Buffer.from('a'))),
      ]),
    };
    for (const [what, data] of Object.entries(bad)) {
      it(`end when they send ${what}`, async () => {
        const socket = client(HANDSHAKE);
        socket.resume();
        const closed = closing(await opened.promise);
        socket.write(data);
        await closed;
        assert.deepEqual(lines, []);
      });
    }
  });

  it('leave no place behind when they go while their token is looked at', async () => {
    const boundary = new Boundary(() => assert.fail('nothing should fail'));
    const access = { id: 'one', cameras: '*', rights: ['live'], expiresMs: Date.now() + 60_000 };
    const nvr = { tokens: { verify: () => Promise.resolve({ ...access }) } } as unknown as NvrService;
    const request = { url: '/nvr/feed?token=x', method: 'GET', headers: {} } as unknown as IncomingMessage;
    const [feed, live] = [new FeedSockets(boundary), new LiveSockets(boundary)];
    const come = async (stays: boolean): Promise<void> => {
      for (const upgrade of [
        (socket: Duplex) => feed.upgrade(nvr, request, socket, Buffer.alloc(0)),
        (socket: Duplex) => live.upgrade(nvr, 'live/front', request, socket, Buffer.alloc(0)),
      ]) {
        const socket = new PassThrough();
        const upgraded = upgrade(socket);
        if (!stays) socket.destroy();
        await upgraded;
        socket.destroy();
      }
    };
    for (let i = 0; i < 150; i++) await come(false);
    await come(true); // rejects with `busy` if there is no place
  });

  it('have so many places, and nobody all of them', () => {
    const places = new Places();
    const ended: string[] = [];
    const take = (id: string, count: number): (() => void)[] =>
      Array.from({ length: count }, () => places.take({ id, kind: 'viewer' }, () => ended.push(id))).filter(
        (leave) => leave !== null,
      );
    const own = take('a', 150);
    assert.equal(own.length, 100);
    assert.equal(take('b', 150).length, 100);
    assert.deepEqual(ended, []);
    // Who has many gives one to somebody who has none.
    assert.equal(take('c', 1).length, 1);
    assert.equal(ended.length, 1);
    for (const leave of [...own, ...own]) leave(); // twice is once
    assert.equal(take('d', 150).length, 99); // the others have 101
  });
});

describe('a handler of a connection that fails', () => {
  const connection = (): { destroyed: number; destroy(): void } => ({
    destroyed: 0,
    destroy() {
      this.destroyed++;
    },
  });

  it('ends the connection, and is told with its reason', async () => {
    const lines: string[] = [];
    const clock = new TurnedClock();
    const boundary = new Boundary((line) => lines.push(line), clock);
    const [thrown, rejected] = [connection(), connection()];
    const fails = boundary.handler('a thing', thrown, (reason: string) => {
      throw new Error(reason);
    });
    fails('first reason');
    boundary.run('another thing', rejected, () => Promise.reject(new Error('second reason')));
    await Promise.resolve();
    assert.deepEqual([thrown.destroyed, rejected.destroyed], [1, 1]);
    assert.equal(lines.length, 1, 'one line in ten seconds');
    assert.match(lines[0]!, /a thing failed: first reason/);
    clock.pass(10_000);
    fails('third reason');
    assert.match(lines[1]!, /third reason \(and 1 others since/);
  });

  it('is told even if the connection cannot be ended', () => {
    const lines: string[] = [];
    const boundary = new Boundary((line) => lines.push(line), new TurnedClock());
    const broken = {
      terminate: () => {
        throw new Error('cannot end');
      },
    };
    boundary.run('a thing', broken, () => {
      throw new Error('reason');
    });
    assert.equal(lines.length, 1);
  });

  it('does not keep a socket that is ended while much is unsent', () => {
    const calls: string[] = [];
    const socket = { destroySoon: () => calls.push('soon'), end: () => calls.push('end') };
    finish(socket as unknown as Duplex);
    assert.deepEqual(calls, ['soon']);
  });
});
