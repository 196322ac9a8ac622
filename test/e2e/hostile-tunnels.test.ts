/** RTSP over HTTP, to cameras that lead elsewhere by either. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTls } from 'node:tls';
import fc from 'fast-check';
import { readProxyRequest, RtspTunnel } from '../../engine/ingest/rtsp-tunnel.ts';
import { CAMERA, FORMS, ingest, isOffline, OTHER, Servers } from '../support/hostile-cameras.ts';
import { CERTIFICATE, KEY } from '../support/certificate.ts';

/** What a camera answers to the RTSP in a tunnel: status line and headers. */
type Answer = (method: string, head: string) => string;

/** A camera whose tunnels are open; `heard` has the heads of HTTP and RTSP requests that it got. */
function tunnelCamera(answer: Answer, create: (serve: (socket: Socket) => void) => Server = createServer) {
  const heard: string[] = [];
  let down: Socket | null = null;
  const server = create((socket) => {
    let text = '';
    let isTunnel = false;
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (!isTunnel) {
        if (end < 0) return;
        heard.push(text.slice(0, end));
        isTunnel = true;
        if (text.startsWith('GET')) {
          down = socket;
          socket.write('HTTP/1.0 200 OK\r\nContent-Type: application/x-rtsp-tunnelled\r\n\r\n');
        }
        text = text.slice(end + 4);
      }
      const request = Buffer.from(text, 'base64').toString('latin1');
      if (!request.endsWith('\r\n\r\n')) return;
      text = '';
      heard.push(request.trimEnd());
      const cseq = /CSeq: *(\d+)/i.exec(request)?.[1] ?? '0';
      down?.write(`RTSP/1.0 ${answer(request.split(' ')[0]!, request)}\r\nCSeq: ${cseq}\r\n\r\n`);
    });
  });
  return { server, heard };
}

describe('a tunnel of RTSP over HTTP', function () {
  this.timeout(60_000);
  let servers: Servers;
  beforeEach(() => (servers = new Servers()));
  afterEach(() => servers.close());

  for (const place of ['another host', 'another port of its own'] as const) {
    const there = place === 'another host' ? OTHER : CAMERA;

    it(`is not led to ${place} by HTTP`, async () => {
      const canary = await servers.canary(there);
      const camera = createServer((socket) => {
        socket.once('data', () => {
          socket.end(`HTTP/1.1 302 Found\r\nLocation: http://${there}:${canary.port}/x\r\nContent-Length: 0\r\n\r\n`);
        });
      });
      const port = await servers.listen(camera, CAMERA);
      const state = await ingest(`rtsp://${CAMERA}:${port}/x`, isOffline, { transport: 'http' });
      assert.equal(state.state === 'offline' && state.reason, 'redirect', JSON.stringify(state));
      assert.deepEqual(canary.heard, []);
    });

    for (const redirecting of ['OPTIONS', 'DESCRIBE']) {
      it(`is not led to ${place} by RTSP, asked for ${redirecting}`, async () => {
        const canary = await servers.canary(there);
        const { server, heard } = tunnelCamera((method) =>
          method === redirecting
            ? `302 Found\r\nLocation: rtsp://${there}:${canary.port}/x`
            : '200 OK\r\nPublic: OPTIONS, DESCRIBE',
        );
        const port = await servers.listen(server, CAMERA);
        const state = await ingest(`rtsp://${CAMERA}:${port}/x`, isOffline, { transport: 'http' });
        assert.equal(state.state === 'offline' && state.reason, 'redirect', JSON.stringify(state));
        assert.match(JSON.stringify(state), new RegExp(`${there}:${canary.port}`));
        assert.deepEqual(canary.heard, []);
        assert.ok(heard.some((head) => head.startsWith(redirecting)));
        assert.ok(heard.every((head) => FORMS.every((form) => !head.includes(form)) && !/proxy-/i.test(head)));
      });
    }
  }

  for (const scheme of ['rtsp', 'rtsps'] as const) {
    it(`carries the account to the camera, by ${scheme}:`, async () => {
      const asksAgain = (_method: string, head: string): string =>
        /^Authorization: Basic/im.test(head)
          ? '404 Not Found'
          : '401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"';

      const { server, heard } = tunnelCamera(
        asksAgain,
        scheme === 'rtsps' ? (serve) => createTls({ key: KEY, cert: CERTIFICATE }, serve) : createServer,
      );
      const port = await servers.listen(server, CAMERA);
      const state = await ingest(`${scheme}://${CAMERA}:${port}/x`, isOffline, { transport: 'http' });
      assert.equal(state.state === 'offline' && state.reason, 'path', JSON.stringify(state));
      assert.ok(heard.some((head) => head.includes(FORMS[2]!)));
    });
  }

  it('tells that nothing listens', async () => {
    const gone = createServer();
    const port = await servers.listen(gone, CAMERA);
    await new Promise((resolve) => gone.close(resolve));
    const state = await ingest(`rtsp://${CAMERA}:${port}/x`, isOffline, { transport: 'http' });
    assert.equal(state.state === 'offline' && state.reason, 'refused', JSON.stringify(state));
  });
});

describe('the proxy of a tunnel', function () {
  this.timeout(20_000);
  let servers: Servers;
  let tunnel: RtspTunnel | null = null;
  beforeEach(() => (servers = new Servers()));
  afterEach(() => {
    tunnel?.close();
    servers.close();
  });

  /** What is said to one that sends this. */
  async function say(opened: RtspTunnel, ...pieces: (string | Buffer)[]): Promise<string> {
    const socket = connect(Number(new URL(opened.env['http_proxy']!).port), '127.0.0.1');
    socket.on('error', () => undefined); // it may be closed in the middle
    let said = '';
    socket.on('data', (chunk: Buffer) => (said += chunk.toString('latin1')));
    for (const piece of pieces) socket.write(piece);
    await new Promise((resolve) => socket.once('close', resolve));
    return said;
  }

  function secretOf(opened: RtspTunnel): string {
    const { username, password } = new URL(opened.env['http_proxy']!);
    return `Proxy-Authorization: Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  it('serves nobody but who knows its secret, and nothing but the camera', async () => {
    const canary = await servers.canary(CAMERA);
    tunnel = await RtspTunnel.open({ host: CAMERA, port: canary.port, tls: false });
    const url = `http://${CAMERA}:${canary.port}/x`;
    for (const wrong of ['X: y', 'Proxy-Authorization: Basic bnZyOng=', `X: y\nZ-${secretOf(tunnel)}`]) {
      assert.match(await say(tunnel, `GET ${url} HTTP/1.1\r\n${wrong}\r\n\r\n`), /^HTTP\/1\.1 407 /);
    }
    for (const request of [
      ...[
        `GET http://${OTHER}:${canary.port}/x`,
        `GET http://${CAMERA}:${canary.port + 1}/x`,
        `GET http://${CAMERA}/x`,
      ],
      ...[`GET http://${CAMERA}:${canary.port}@${OTHER}/x`, `GET http://${CAMERA}:${canary.port}.${OTHER}/x`],
      ...[`GET http://${OTHER}#@${CAMERA}:${canary.port}/x`, `CONNECT ${CAMERA}:${canary.port}`, 'GET /x', ' ', ''],
      ...[`GET http://${OTHER}\\@${CAMERA}:${canary.port}/x`, `GET http://a:b@${CAMERA}:${canary.port}/x`],
    ]) {
      assert.match(await say(tunnel, `${request} HTTP/1.1\r\n${secretOf(tunnel)}\r\n\r\n`), /^HTTP\/1\.1 40[37] /);
    }
    assert.deepEqual(canary.heard, []);
    assert.equal(tunnel.problem?.reason, 'redirect');
  });

  it('is not filled by a request without an end', async () => {
    tunnel = await RtspTunnel.open({ host: CAMERA, port: 1, tls: false }, { headMs: 100 });
    assert.equal(await say(tunnel, 'GET ', Buffer.alloc(1024 * 1024, 'x')), '');
    assert.equal(await say(tunnel, 'GET '), '', 'it is closed in time');
  });

  it('passes bytes both ways as they are, the last ones too, and ends with the camera', async () => {
    const bytes = Buffer.from(Array.from({ length: 200_000 }, (_, i) => i % 251));
    const heard: Buffer[] = [];
    const camera = createServer((socket) => {
      socket.on('data', (chunk: Buffer) => {
        heard.push(chunk);
        if (Buffer.concat(heard).length >= bytes.length) socket.end(bytes);
      });
    });
    const port = await servers.listen(camera, CAMERA);
    tunnel = await RtspTunnel.open({ host: CAMERA, port, tls: false });
    const head = `POST http://${CAMERA}:${port}/x?y HTTP/1.1\r\n${secretOf(tunnel)}\r\nContent-Length: 5\r\n\r\n`;
    assert.equal(await say(tunnel, head, bytes), bytes.toString('latin1'));
    const all = Buffer.concat(heard);
    const end = all.indexOf('\r\n\r\n') + 4;
    assert.equal(all.toString('latin1', 0, end), 'POST /x?y HTTP/1.1\r\nContent-Length: 5\r\n\r\n');
    assert.ok(all.subarray(end).equals(bytes.subarray(0, all.length - end)));
  });

  it('lets go of the camera when FFmpeg leaves, and of both when it is closed', async () => {
    const sockets: Promise<unknown>[] = [];
    const came = [Promise.withResolvers<true>(), Promise.withResolvers<true>()];
    const camera = createServer((socket) => {
      socket.resume();
      sockets.push(once(socket, 'close'));
      came[sockets.length - 1]!.resolve(true);
    });
    const port = await servers.listen(camera, CAMERA);
    tunnel = await RtspTunnel.open({ host: CAMERA, port, tls: false });
    const head = `GET http://${CAMERA}:${port}/x HTTP/1.1\r\n${secretOf(tunnel)}\r\n\r\n`;
    const at = Number(new URL(tunnel.env['http_proxy']!).port);
    const first = connect(at, '127.0.0.1');
    first.write(head);
    await came[0]!.promise;
    first.destroy();
    await sockets[0];
    const said = say(tunnel, head);
    await came[1]!.promise;
    tunnel.close();
    await Promise.all([sockets[1], said]);
  });

  it('reads requests of any kind without an exception', () => {
    const piece = fc.constantFrom(
      'GET ',
      'POST ',
      'http://',
      'c',
      ':1',
      '/x',
      '@',
      '#',
      '[',
      ' HTTP/1.1',
      '\r\n',
      ': ',
    );
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((all) => all.join('')),
        ),
        (head) => {
          const request = readProxyRequest(head);
          if (request) assert.match(request.forwarded, /^(GET|POST) \/[^\r\n]* HTTP\/1\.[01]\r\n/);
        },
      ),
    );
  });
});
