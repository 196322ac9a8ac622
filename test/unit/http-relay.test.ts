import assert from 'node:assert/strict';
import { once } from 'node:events';
import {
  createServer as createHttp,
  request,
  type ClientRequest,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http';
import { connect, createServer } from 'node:net';
import fc from 'fast-check';
import { HttpRelay } from '../../engine/ingest/http-relay.ts';
import { MAX_CONNECTIONS } from '../../engine/ingest/loopback-proxy.ts';
import { CAMERA, FORMS, OTHER, SECRET, Servers, USER } from '../support/hostile-cameras.ts';

describe('the relay of a camera over HTTP', () => {
  let servers: Servers;
  let relay: HttpRelay | null = null;
  beforeEach(() => (servers = new Servers()));
  afterEach(() => {
    relay?.close();
    servers.close();
  });
  /** A request as FFmpeg makes it. */
  const open = (env: Record<string, string>, path: string, headers: Record<string, string> = {}): ClientRequest => {
    const { hostname, port, username, password } = new URL(env['http_proxy']!);
    const proxy = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
    return request({ host: hostname, port, path, headers: { 'proxy-authorization': proxy, ...headers } }).end();
  };
  const through = (env: Record<string, string>, path: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; body: string; cookies: string[] }>((resolve, reject) => {
      open(env, path, headers)
        .once('response', (answer) => {
          let body = '';
          answer.setEncoding('latin1').on('data', (text: string) => (body += text));
          const cookies = answer.headers['set-cookie'] ?? [];
          answer.once('end', () => resolve({ status: answer.statusCode!, body, cookies }));
          answer.once('error', reject);
        })
        .once('error', reject);
    });

  it('serves nobody but who knows its secret', async () => {
    let asked = 0;
    const port = await servers.listen(
      createHttp((_asked, response) => (asked++, response.end('ok'))),
      CAMERA,
    );
    relay = await HttpRelay.open(`http://${CAMERA}:${port}/x`, null, []);
    for (const wrong of ['', 'Basic bnZyOng=', `Basic ${Buffer.from('nvr:').toString('base64')}`]) {
      const { status } = await through(relay.env, relay.url, { 'proxy-authorization': wrong });
      assert.equal(status, 407);
    }
    assert.equal(asked, 0);
    assert.equal((await through(relay.env, relay.url)).body, 'ok');
  });

  it('has the query and the password of an address to itself', async () => {
    const paths: string[] = [];
    const port = await servers.listen(
      createHttp(({ url = '' }, response) => (paths.push(url), response.end('ok'))),
      CAMERA,
    );
    const path = `/user=a&password=${encodeURIComponent(SECRET)}/live?token=abc`;
    relay = await HttpRelay.open(`http://${CAMERA}:${port}${path}`, null, [encodeURIComponent(SECRET)]);
    for (const secret of [...FORMS, 'token=abc']) assert.ok(!relay.url.includes(secret), relay.url);
    await through(relay.env, relay.url);
    assert.deepEqual(paths, [path]);
  });

  it('passes on parts, and ends as the camera ends', async () => {
    const port = await servers.listen(
      createHttp((asked, response) => {
        if (asked.headers.range) response.writeHead(206, { 'Content-Range': 'bytes 1-2/4' }).end('bc');
        else response.writeHead(200).write('half', () => response.destroy());
      }),
      CAMERA,
    );
    relay = await HttpRelay.open(`http://${CAMERA}:${port}/x`, null, []);
    const part = await through(relay.env, relay.url, { range: 'bytes=1-2' });
    assert.deepEqual([part.status, part.body], [206, 'bc']);
    await assert.rejects(through(relay.env, relay.url));
  });

  it('outlives cameras that answer nonsense, redirect to nothing, or ask for a login without end', async () => {
    const answers = [
      'HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n',
      ...['042', '000', '099', '999', '100', '204'].map(
        (status) => `HTTP/1.1 ${status} x\r\nContent-Length: 0\r\n\r\n`,
      ),
      'nonsense\r\n\r\n',
      'HTTP/1.1 302 Found\r\nLocation: \r\n\r\n',
      'HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n',
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n',
      'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm="x", nonce="1"\r\n\r\n' + 'x'.repeat(200_000),
      'HTTP/1.1 200 OK\r\nContent-Type: application/x-mpegurl\r\nContent-Encoding: gzip\r\n\r\n\0\0\0',
      'HTTP/1.1 200 OK\r\nSet-Cookie: a=\x01b\r\nContent-Type: video/\xff\r\nContent-Length: 0\r\n\r\n',
    ];
    let number = 0;
    const server = createServer((socket) => {
      socket.once('data', () => socket.end(Buffer.from(answers[number]!, 'latin1')));
    });
    const port = await servers.listen(server, CAMERA);
    for (; number < answers.length; number++) {
      relay = await HttpRelay.open(`http://${CAMERA}:${port}/x`, { username: USER, password: SECRET }, []);
      await through(relay.env, relay.url).catch(() => undefined); // that it goes on is what counts
      relay.close();
    }
  });

  it('gives the cookies of a camera to no host behind #also=, nor theirs to FFmpeg', async () => {
    const got: IncomingMessage['headers'][] = [];
    const serve = (asked: IncomingMessage, response: ServerResponse): void => {
      got.push(asked.headers);
      response.writeHead(200, { 'Set-Cookie': 'session=1' }).end('ok');
    };
    const own = await servers.listen(createHttp(serve), CAMERA);
    const other = await servers.listen(createHttp(serve), OTHER);
    relay = await HttpRelay.open(`http://${CAMERA}:${own}/x#also=${OTHER}:${other}`, null, []);
    const cookie = { cookie: 'session=1', referer: 'http://x/' };
    assert.deepEqual((await through(relay.env, relay.url, cookie)).cookies, ['session=1']);
    assert.deepEqual((await through(relay.env, `http://${OTHER}:${other}/x`, cookie)).cookies, []);
    assert.deepEqual(
      got.map(({ cookie: sent, referer }) => [sent, referer]),
      [
        ['session=1', undefined],
        [undefined, undefined],
      ],
    );
  });

  it('hides any password that stands in a path, and tells it to the camera only', async () => {
    const paths: string[] = [];
    const port = await servers.listen(
      createHttp(({ url = '' }, response) => (paths.push(url), response.end('ok'))),
      CAMERA,
    );
    await fc.assert(
      fc.asyncProperty(fc.string({ minLength: 1, maxLength: 8, unit: 'grapheme' }), async (password) => {
        const part = encodeURIComponent(password);
        const path = `/${part}/live/${part}.ts?pwd=${part}`;
        // The same twice, as the editor's test has it.
        const hiding = await HttpRelay.open(`http://${CAMERA}:${port}${path}`, null, [part, part]);
        try {
          if (part.length > 4) assert.ok(!hiding.url.includes(part), hiding.url);
          await through(hiding.env, hiding.url);
          assert.deepEqual([decodeURIComponent(paths.pop()!)], [decodeURIComponent(path)]);
        } finally {
          hiding.close();
        }
      }),
      { numRuns: 50, examples: [['a'], ['0'], ['00']] },
    );
  });

  it('gives up what the camera had not answered when FFmpeg leaves, and asks no more', async () => {
    const asked: string[] = [];
    const second = Promise.withResolvers<IncomingMessage>();
    const port = await servers.listen(
      createHttp((request_, response) => {
        asked.push(request_.url!);
        if (request_.url === '/first') response.end('ok');
        else second.resolve(request_);
      }),
      CAMERA,
    );
    relay = await HttpRelay.open(`http://${CAMERA}:${port}/first`, null, []);
    await through(relay.env, relay.url); // its connection is used again
    const client = open(relay.env, `http://${CAMERA}:${port}/second`);
    client.once('error', () => undefined);
    const pending = await second.promise;
    client.destroy();
    await once(pending.socket, 'close');
    // What comes behind it shows that nothing was asked in between.
    await through(relay.env, relay.url);
    assert.deepEqual(asked, ['/first', '/second', '/first']);
  });

  it('waits for an FFmpeg that takes nothing for long', async () => {
    const size = 16 * 1024 * 1024; // more than all buffers between them take
    const port = await servers.listen(
      createHttp((asked, response) => {
        if (asked.url === '/x') response.end(Buffer.alloc(size));
      }),
      CAMERA,
    );
    relay = await HttpRelay.open(`http://${CAMERA}:${port}/x`, null, [], { idleMs: 50 });
    const client = open(relay.env, relay.url);
    const [answer] = (await once(client, 'response')) as [IncomingMessage];
    // So long that others are given up meanwhile.
    for (let i = 0; i < 3; i++) await through(relay.env, `http://${CAMERA}:${port}/silent`);
    let bytes = 0;
    for await (const chunk of answer as AsyncIterable<Buffer>) bytes += chunk.length;
    assert.equal(bytes, size);
  });

  it('ends a camera that says nothing, and tells so', async () => {
    const port = await servers.listen(createServer(), CAMERA);
    relay = await HttpRelay.open(`http://${CAMERA}:${port}/x`, null, [], { idleMs: 50 });
    assert.equal((await through(relay.env, relay.url)).status, 502);
    assert.equal(relay.problem?.reason, 'timeout');
    relay.forget();
    assert.equal(relay.problem, null);
  });

  it('passes on what comes in chunks', async () => {
    const port = await servers.listen(
      createHttp((_asked, response) => {
        response.write('one ');
        response.write('two ');
        response.end('three');
      }),
      CAMERA,
    );
    relay = await HttpRelay.open(`http://${CAMERA}:${port}/x`, null, []);
    assert.equal((await through(relay.env, relay.url)).body, 'one two three');
  });

  it('takes so many connections at once, and goes on when they have gone', async () => {
    const port = await servers.listen(
      createHttp((_asked, response) => response.end('ok')),
      CAMERA,
    );
    relay = await HttpRelay.open(`http://${CAMERA}:${port}/x`, null, []);
    const at = Number(new URL(relay.env['http_proxy']!).port);
    const sockets = Array.from({ length: MAX_CONNECTIONS + 20 }, () => connect(at, '127.0.0.1'));
    let dropped = 0;
    const enough = Promise.withResolvers<true>();
    for (const socket of sockets) {
      socket.on('error', () => undefined).resume();
      socket.once('close', () => ++dropped === 20 && enough.resolve(true));
    }
    await enough.promise;
    for (const socket of sockets) socket.destroy();
    while ((await through(relay.env, relay.url).catch(() => null))?.status !== 200);
  });
});
