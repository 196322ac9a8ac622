/** Upgrades on their way through Node-RED's own handlers: a real HTTP server, with a clock that nobody waits for. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import express, { type Express, type RequestHandler } from 'express';
import type { NodeAPI } from 'node-red';
import type { NvrService } from '../../engine/http/service.ts';
import { HttpServer } from '../../nodes/nvr-config/http-server.ts';
import { TurnedClock } from '../support/turned-clock.ts';

const upgrade = (path: string): string =>
  [
    ...[`GET ${path} HTTP/1.1`, 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13'],
    ...['Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', ''],
  ].join('\r\n');

describe('upgrades', () => {
  let server: Server;
  let clock: TurnedClock;
  let client: Socket;
  let closed: Promise<unknown>;
  const lines: string[] = [];

  afterEach(() => {
    client.destroy();
    server.close();
  });

  /** @param auth what stands before our routes, as `httpNodeAuth` does */
  async function serve(auth: RequestHandler, node: Express = express()): Promise<void> {
    clock = new TurnedClock();
    lines.length = 0;
    const app = express().use(auth).use(node);
    server = createServer(app).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const log = {
      warn: (line: string) => lines.push(line),
      error: (line: string) => lines.push(line),
      info: () => null,
    };
    const RED = { settings: { httpNodeRoot: '/' }, httpNode: node, server, log } as unknown as NodeAPI;
    const http = new HttpServer(RED, clock);
    assert.equal(http.serve('nvr', 'me', {} as unknown as NvrService, { access: 'view', open: false }), null);
  }

  function send(text: string): void {
    const { port } = server.address() as AddressInfo;
    client = connect(port, '127.0.0.1').on('error', () => undefined); // it may be reset
    closed = once(client, 'close');
    client.write(text);
  }

  it('that nobody answers are given up, also when a handler before ours never goes on', async () => {
    const asked = Promise.withResolvers<undefined>();
    await serve(() => asked.resolve(undefined));
    send(upgrade('/nvr/feed'));
    client.resume();
    await asked.promise;
    assert.equal(clock.waiting, 1);
    clock.pass(10_000);
    await closed;
    assert.deepEqual([clock.waiting, lines], [0, []]);
  });

  it('that nobody wants are given up, also after another answer on the same connection', async () => {
    await serve((_request, response) => response.send('hello'));
    const upgraded = once(server, 'upgrade');
    send('GET /x HTTP/1.1\r\nHost: x\r\n\r\n');
    await once(client, 'data');
    client.resume();
    client.write(upgrade('/nobody'));
    await upgraded;
    clock.pass(10_000);
    await closed;
    assert.equal(clock.waiting, 0);
  });

  it('are refused to the end when a handler says no, though the client keeps its side open', async () => {
    await serve((_request, response) => response.sendStatus(401));
    send(upgrade('/nvr/feed'));
    const [chunk] = (await once(client, 'data')) as [Buffer];
    assert.match(chunk.toString(), /^HTTP\/1\.1 401 /);
    await closed;
  });

  it('go on once, though a handler says so twice', async () => {
    await serve((_request, _response, next) => {
      next();
      next();
    });
    send(upgrade('/nvr/feed'));
    const [chunk] = (await once(client, 'data')) as [Buffer];
    assert.match(chunk.toString(), /^HTTP\/1\.1 [45]/);
    await closed;
  });

  it('of a client that is gone before the handler lets them through open nothing', async () => {
    const waiting = Promise.withResolvers<() => void>();
    await serve((_request, _response, next) => waiting.resolve(next));
    const upgraded = once(server, 'upgrade') as Promise<[unknown, Socket]>;
    send(upgrade('/nvr/feed'));
    const [, socket] = await upgraded;
    const next = await waiting.promise;
    const gone = new Promise((resolve) => socket.once('close', resolve)); // behind its error
    client.resetAndDestroy();
    await gone;
    next();
    await new Promise(setImmediate);
    assert.deepEqual([clock.waiting, lines], [0, []]);
  });
});
