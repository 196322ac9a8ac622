import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, request, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../engine/clock.ts';
import { spawnFfmpeg } from '../../engine/ingest/ffmpeg-process.ts';
import { HttpRelay } from '../../engine/ingest/http-relay.ts';
import { StreamIngest, type IngestState } from '../../engine/ingest/stream-ingest.ts';
import type { RtspTransport } from '../../engine/types.ts';
import { testStream } from '../../nodes/camera-source/test-stream.ts';

const USER = 'viewer';
const SECRET = 'S3cr/t p@ss';
const FORMS = [SECRET, encodeURIComponent(SECRET), Buffer.from(`${USER}:${SECRET}`).toString('base64')];
/** The camera, and a computer that it has no business to lead us to. */
const CAMERA = '127.0.0.2';
const OTHER = '127.0.0.3';

const H264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '5', '-pix_fmt', 'yuv420p'];
function made(format: string, ...more: string[]): Buffer {
  const picture = ['-f', 'lavfi', '-i', 'testsrc2=size=64x64:rate=5', '-t', '12', ...H264];
  const { stdout, status, stderr } = spawnSync('ffmpeg', ['-v', 'error', ...picture, ...more, '-f', format, 'pipe:1'], {
    maxBuffer: 2 ** 26,
  });
  assert.equal(status, 0, stderr.toString());
  return stdout;
}

/** Cameras, and others, that end with the test. */
class Servers {
  private readonly all: Server[] = [];
  private readonly sockets = new Set<Socket>();

  async listen(server: Server, host: string): Promise<number> {
    server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('error', () => undefined); // FFmpeg hangs up as it likes
      socket.once('close', () => this.sockets.delete(socket));
    });
    server.listen(0, host);
    await once(server, 'listening');
    this.all.push(server);
    return (server.address() as AddressInfo).port;
  }

  /** Notes who calls, and what is said to it. */
  async canary(host = OTHER): Promise<{ port: number; heard: string[] }> {
    const heard: string[] = [];
    const server = createServer((socket) => {
      heard.push('');
      const index = heard.length - 1;
      socket.on('data', (chunk: Buffer) => (heard[index] = (heard[index] ?? '') + chunk.toString('latin1')));
    });
    return { port: await this.listen(server, host), heard };
  }

  close(): void {
    for (const server of this.all) server.close();
    for (const socket of this.sockets) socket.destroy();
  }
}

type Answer = (method: string, headers: string, url: string) => string | null;

/** An RTSP camera; what `answer` gives is its status line and headers, null for no answer. */
function rtspCamera(answer: Answer): { server: Server; asked: string[] } {
  const asked: string[] = [];
  const server = createServer((socket) => {
    let text = '';
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1');
      for (let end = text.indexOf('\r\n\r\n'); end >= 0; end = text.indexOf('\r\n\r\n')) {
        const head = text.slice(0, end);
        text = text.slice(end + 4);
        asked.push(head);
        const [method = '', url = ''] = head.split(' ');
        const cseq = /CSeq: *(\d+)/i.exec(head)?.[1] ?? '0';
        const given = answer(method, head, url);
        if (given !== null) socket.write(`RTSP/1.0 ${given}\r\nCSeq: ${cseq}\r\n\r\n`);
      }
    });
  });
  return { server, asked };
}

/** Runs the ingest of an address until it says something that `enough` waits for. */
async function ingest(
  address: string,
  enough: (state: IngestState) => boolean,
  { transport = 'tcp', account = true }: { transport?: RtspTransport; account?: boolean } = {},
): Promise<IngestState> {
  const told = Promise.withResolvers<IngestState>();
  const camera = {
    ...{ id: 'front', name: 'front', mainUrl: address, subUrl: null, transport, audio: false },
    ...(account ? { username: USER, password: SECRET } : {}),
  };
  const stream = new StreamIngest(
    camera as never,
    'main',
    {
      state: (state) => {
        if (enough(state)) told.resolve(state);
      },
      run: () => undefined,
      fragment: () => undefined,
      clockStep: () => undefined,
    },
    { clock: systemClock, spawn: spawnFfmpeg, ffmpegPath: 'ffmpeg', random: () => 0.5 },
  );
  stream.start();
  try {
    return await told.promise;
  } finally {
    await stream.stop();
  }
}
/** Sends a file as a camera does, and does not end. */
function play(response: ServerResponse, file: Buffer): void {
  let sent = 0;
  const timer = setInterval(() => {
    if (sent < file.length) response.write(file.subarray(sent, (sent += Math.ceil(file.length / 120))));
  }, 50);
  response.once('close', () => clearInterval(timer));
}
const isOffline = (state: IngestState): boolean => state.state === 'offline';
const isOnline = (state: IngestState): boolean => state.state === 'online';

/** Command lines and environments of our children. */
function children(): { command: string; environment: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'latin1');
        if (stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] !== String(process.pid)) return [];
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return [{ command, environment: readFileSync(`/proc/${name}/environ`, 'utf8') }];
      } catch {
        return []; // it has ended
      }
    });
}

/** Of the next FFmpeg or ffprobe that is seen, once it is itself and no more the shell of its cage. */
async function seen(program: string): Promise<{ command: string; environment: string }> {
  for (;;) {
    const found = children().find(({ command }) => command.split(' ')[0]!.endsWith(program));
    if (found?.environment) return found;
    await new Promise(setImmediate);
  }
}

describe('a camera that leads elsewhere', function () {
  this.timeout(90_000);
  let servers: Servers;
  let folder: string;
  let segment: Buffer;
  before(() => {
    segment = made('mpegts');
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-sources-'));
    writeFileSync(join(folder, 'own.ts'), segment);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach(() => (servers = new Servers()));
  afterEach(() => servers.close());

  for (const redirecting of ['OPTIONS', 'DESCRIBE']) {
    it(`by RTSP, asked for ${redirecting}, is not followed, and is told`, async () => {
      const canary = await servers.canary();
      const { server, asked } = rtspCamera((method) =>
        method === redirecting
          ? `302 Found\r\nLocation: rtsp://${OTHER}:${canary.port}/x`
          : '200 OK\r\nPublic: OPTIONS, DESCRIBE',
      );
      const port = await servers.listen(server, CAMERA);
      const state = await ingest(`rtsp://${CAMERA}:${port}/x`, isOffline);
      assert.equal(state.state === 'offline' && state.reason, 'redirect');
      assert.match(JSON.stringify(state), new RegExp(`${OTHER}:${canary.port}`));
      assert.deepEqual(canary.heard, []);
      assert.ok(asked.every((head) => FORMS.every((form) => !head.includes(form))));
    });
  }

  it('by RTSP within its own host is followed, with its account', async () => {
    const described = Promise.withResolvers<true>();
    const { server: there } = rtspCamera((method, head) => {
      if (method === 'OPTIONS') return '200 OK\r\nPublic: OPTIONS, DESCRIBE';
      if (!/^Authorization: Digest/im.test(head))
        return '401 Unauthorized\r\nWWW-Authenticate: Digest realm="x", nonce="1"';
      if (/User-Agent: Lavf/.test(head)) described.resolve(true);
      return '404 Not Found';
    });
    const port = await servers.listen(there, CAMERA);
    const { server } = rtspCamera(() => `302 Found\r\nLocation: rtsp://${CAMERA}:${port}/there`);
    const first = await servers.listen(server, CAMERA);
    const state = await ingest(`rtsp://${CAMERA}:${first}/here`, isOffline);
    await described.promise;
    assert.equal(state.state === 'offline' && state.reason, 'path');
  });

  it('by HTTP, asked for a tunnel of RTSP, is not followed, and is told', async () => {
    const canary = await servers.canary();
    const port = await servers.listen(
      createHttp((_asked, response) => response.writeHead(302, { Location: `http://${OTHER}:${canary.port}/x` }).end()),
      CAMERA,
    );
    const state = await ingest(`rtsp://${CAMERA}:${port}/x`, isOffline, { transport: 'http' });
    assert.equal(state.state === 'offline' && state.reason, 'redirect');
    assert.deepEqual(canary.heard, []);
  });

  it('by RTSP in circles is told', async () => {
    let port = 0;
    const { server } = rtspCamera(
      (_method, _head, url) => `302 Found\r\nLocation: rtsp://${CAMERA}:${port}${url.length}`,
    );
    port = await servers.listen(server, CAMERA);
    const state = await ingest(`rtsp://${CAMERA}:${port}/1`, isOffline);
    assert.equal(state.state === 'offline' && state.reason, 'redirect');
  });

  const elsewhere: [
    name: string,
    status: number,
    headers: (to: string) => Record<string, string>,
    body: (to: string) => string,
  ][] = [
    ['a redirect', 302, (to) => ({ Location: `http://${to}/x.ts` }), () => ''],
    ['a redirect to an encrypted place', 301, (to) => ({ Location: `https://${to}/x.ts` }), () => ''],
    [
      'a variant of a playlist',
      200,
      () => ({}),
      (to) => `#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1000\nhttp://${to}/v.m3u8\n`,
    ],
    ['a segment', 200, () => ({}), (to) => `${head}#EXTINF:1,\nhttp://${to}/1.ts\n#EXT-X-ENDLIST\n`],
    ['an encrypted segment', 200, () => ({}), (to) => `${head}#EXTINF:1,\nhttps://${to}/1.ts\n#EXT-X-ENDLIST\n`],
    ['a segment over TCP', 200, () => ({}), (to) => `${head}#EXTINF:1,\ntcp://${to}\n#EXT-X-ENDLIST\n`],
    [
      'a key',
      200,
      () => ({}),
      (to) => `${head}#EXT-X-KEY:METHOD=AES-128,URI="http://${to}/key"\n#EXTINF:1,\nown.ts\n#EXT-X-ENDLIST\n`,
    ],
    [
      'the head of its segments',
      200,
      () => ({}),
      (to) => `${head}#EXT-X-MAP:URI="http://${to}/init.mp4"\n#EXTINF:1,\nown.ts\n#EXT-X-ENDLIST\n`,
    ],
    ['a list of files', 200, () => ({}), (to) => `ffconcat version 1.0\nfile 'http://${to}/x.ts'\n`],
    [
      'a session description',
      200,
      () => ({ 'Content-Type': 'application/sdp' }),
      (to) =>
        `v=0\no=- 0 0 IN IP4 ${OTHER}\ns=x\nc=IN IP4 ${OTHER}\nt=0 0\nm=video ${to.split(':')[1]} RTP/AVP 96\na=rtpmap:96 H264/90000\n`,
    ],
  ];
  const head = '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-VERSION:7\n';
  for (const [name, status, headers, body] of elsewhere) {
    for (const place of ['another host', 'another port of its own'] as const) {
      it(`over HTTP by ${name} at ${place} is not followed`, async () => {
        const canary = await servers.canary(place === 'another host' ? OTHER : CAMERA);
        const to = `${place === 'another host' ? OTHER : CAMERA}:${canary.port}`;
        const serve = (asked: IncomingMessage, response: ServerResponse): void => {
          if (asked.url === '/own.ts') response.end(segment);
          else response.writeHead(status, headers(to)).end(body(to));
        };
        const port = await servers.listen(createHttp(serve), CAMERA);
        const state = await ingest(`http://${CAMERA}:${port}/index.m3u8`, isOffline);
        assert.deepEqual(canary.heard, []);
        if (/redirect|variant|a segment$|key/.test(name))
          assert.equal(state.state === 'offline' && state.reason, 'redirect', JSON.stringify(state));
      });
    }
  }

  it('over HTTP to a file of this computer shows nothing of it', async () => {
    const secret = join(folder, 'own.ts');
    const asked: string[] = [];
    const serve = ({ url = '' }: IncomingMessage, response: ServerResponse): void => {
      asked.push(url);
      response.end(`${head}#EXTINF:1,\nfile://${secret}\n#EXTINF:1,\n${secret}\n#EXT-X-ENDLIST\n`);
    };
    const port = await servers.listen(createHttp(serve), CAMERA);
    const state = await ingest(`http://${CAMERA}:${port}/index.m3u8`, (one) => isOffline(one) || isOnline(one));
    assert.equal(state.state, 'offline');
  });

  it('over HTTP with #also= may use the host that is named there, which gets no account', async () => {
    const got: IncomingMessage['headers'][] = [];
    const theirs = await servers.listen(
      createHttp((asked, response) => {
        got.push(asked.headers);
        if (asked.headers.authorization) response.end(segment);
        else if (got.length > 1) response.end(segment);
        else response.writeHead(401, { 'WWW-Authenticate': 'Basic realm="give"' }).end();
      }),
      OTHER,
    );
    const list = `${head}#EXTINF:4,\nhttp://${OTHER}:${theirs}/1.ts\n#EXTINF:4,\nhttp://${OTHER}:${theirs}/2.ts\n#EXT-X-ENDLIST\n`;
    const port = await servers.listen(
      createHttp((_asked, response) => response.end(list)),
      CAMERA,
    );
    await ingest(
      `http://${CAMERA}:${port}/index.m3u8#also=${OTHER}:${theirs}`,
      (state) => isOnline(state) || isOffline(state),
    );
    assert.ok(got.length >= 2);
    assert.ok(got.every((headers) => headers.authorization === undefined));
  });

  const md5 = (text: string): string => createHash('md5').update(text).digest('hex');
  for (const scheme of ['Basic', 'Digest']) {
    it(`gets its own account over HTTP (${scheme}), and footage comes`, async () => {
      const serve = (asked: IncomingMessage, response: ServerResponse): void => {
        const given = asked.headers.authorization ?? '';
        const path = asked.url ?? '';
        const digest = /^Digest .*response="([0-9a-f]{32})"/.exec(given)?.[1];
        const right =
          scheme === 'Basic'
            ? given === `Basic ${FORMS[2]!}`
            : digest === md5(`${md5(`${USER}:x:${SECRET}`)}:n:${md5(`GET:${path}`)}`);
        if (right) {
          response.writeHead(200, { 'Content-Type': 'video/mp2t' });
          play(response, segment);
        } else {
          const challenge = scheme === 'Basic' ? 'Basic realm="x"' : 'Digest realm="x", nonce="n"';
          response.writeHead(401, { 'WWW-Authenticate': challenge }).end('who are you?');
        }
      };
      const port = await servers.listen(createHttp(serve), CAMERA);
      const isTold = (one: IngestState): boolean => isOnline(one) || isOffline(one);
      const state = await ingest(`http://${CAMERA}:${port}/video.ts?channel=1`, isTold);
      assert.deepEqual(state, { state: 'online' });
    });
  }
});

describe('the relay of a camera over HTTP', () => {
  let servers: Servers;
  let relay: HttpRelay | null = null;
  beforeEach(() => (servers = new Servers()));
  afterEach(() => {
    relay?.close();
    servers.close();
  });
  const through = (env: Record<string, string>, path: string, headers: Record<string, string> = {}) =>
    new Promise<{ status: number; body: string }>((resolve, reject) => {
      const { hostname, port, username, password } = new URL(env['http_proxy']!);
      const proxy = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
      const all = { 'proxy-authorization': proxy, ...headers };
      request({ host: hostname, port, path, headers: all }, (answer) => {
        let body = '';
        answer.setEncoding('latin1').on('data', (text: string) => (body += text));
        answer.once('end', () => resolve({ status: answer.statusCode!, body }));
        answer.once('error', reject);
      })
        .once('error', reject)
        .end();
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
    assert.deepEqual(await through(relay.env, relay.url), { status: 200, body: 'ok' });
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
    assert.deepEqual(await through(relay.env, relay.url, { range: 'bytes=1-2' }), { status: 206, body: 'bc' });
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
});

describe('the process list', function () {
  this.timeout(60_000);
  if (process.platform !== 'linux') return;
  let servers: Servers;
  let port: number;
  beforeEach(async () => {
    servers = new Servers();
    // It takes every connection and says nothing, but for the first question of ours, so that FFmpeg's turn comes soon.
    const silent = createServer((socket) => {
      socket.on('data', (chunk: Buffer) => {
        if (chunk.includes('User-Agent: Flow NVR')) socket.end();
      });
    });
    port = await servers.listen(silent, CAMERA);
  });
  afterEach(() => servers.close());

  const addresses: [string, RtspTransport][] = [
    ['rtsp://HOST/x', 'tcp'],
    ['rtsp://HOST/x', 'udp'],
    ['rtsp://HOST/x', 'http'],
    ['rtsp://HOST/user={username}_password={password}_channel=1', 'tcp'],
    ['rtmp://HOST/app/x', 'tcp'],
    ['rtmp://HOST/app/x?user={username}&password={password}', 'tcp'],
    ['http://HOST/x.mjpg', 'tcp'],
    ['https://HOST/x.m3u8?user={username}&pwd={password}', 'tcp'],
    ['http://HOST/password={password}/x.ts', 'tcp'],
  ];
  const hasNothing = ({ command, environment }: { command: string; environment: string }): void => {
    assert.match(command, /-i /);
    for (const form of FORMS) {
      assert.ok(!command.includes(form), command);
      assert.ok(!environment.includes(form));
    }
  };
  for (const [address, transport] of addresses) {
    it(`has no password of ${address} (${transport})`, async () => {
      const url = address.replace('HOST', `${CAMERA}:${port}`);
      const running = ingest(url, isOffline, { transport });
      hasNothing(await seen('ffmpeg'));
      servers.close(); // so that it ends soon
      await running;
      servers = new Servers();
    });
  }

  it('has none while a stream is tested either', async () => {
    const testing = testStream({
      ...{ url: `rtsp://${CAMERA}:${port}/x`, username: USER, password: SECRET },
      ...{ transport: 'tcp', ffmpegPath: 'ffmpeg' },
    });
    hasNothing(await seen('ffprobe'));
    servers.close();
    assert.equal((await testing).ok, false);
    servers = new Servers();
  });
});
