import assert from 'node:assert/strict';
import { createCipheriv, createHash } from 'node:crypto';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { IngestState } from '../../engine/ingest/stream-ingest.ts';
import type { RtspTransport } from '../../engine/types.ts';
import { testStream } from '../../nodes/camera-source/test-stream.ts';
import { CERTIFICATE, KEY } from '../support/certificate.ts';
import {
  CAMERA,
  FORMS,
  ingest,
  isOffline,
  isOnline,
  made,
  OTHER,
  play,
  rtspCamera,
  SECRET,
  Servers,
  USER,
} from '../support/hostile-cameras.ts';

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

  it('by RTSP has one connection of ours at a time', async () => {
    let now = 0;
    let most = 0;
    const { server, asked } = rtspCamera((method) => (method === 'DESCRIBE' ? '404 Not Found' : '200 OK'));
    server.on('connection', (socket) => {
      most = Math.max(most, ++now);
      socket.once('close', () => now--);
    });
    const port = await servers.listen(server, CAMERA);
    await ingest(`rtsp://${CAMERA}:${port}/x`, isOffline);
    assert.ok(asked.some((head) => head.includes('Flow NVR')) && asked.some((head) => head.includes('Lavf')));
    assert.equal(most, 1);
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
    [
      'a segment of a DASH manifest',
      200,
      () => ({ 'Content-Type': 'application/dash+xml' }),
      (to) => dash(`http://${to}/`),
    ],
    [
      'an encrypted segment of a DASH manifest',
      200,
      () => ({ 'Content-Type': 'application/dash+xml' }),
      (to) => dash(`&#104;ttps://${to}/`),
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
  const dash = (base: string): string =>
    `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-live:2011" type="static" mediaPresentationDuration="PT4S"><BaseURL>${base}</BaseURL><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1000"><SegmentTemplate timescale="1" duration="2" initialization="i.mp4" media="$Number$.m4s"/></Representation></AdaptationSet></Period></MPD>`;
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
        if (/redirect|variant|a segment$|a segment of|key/.test(name))
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

  it('over HTTP within its own host brings footage, by relative addresses, whole ones and keys', async () => {
    const key = Buffer.from('0123456789abcdef');
    const cipher = createCipheriv('aes-128-cbc', key, Buffer.alloc(16));
    const encrypted = Buffer.concat([cipher.update(segment), cipher.final()]);
    let port = 0;
    const serve = ({ url = '' }: IncomingMessage, response: ServerResponse): void => {
      if (url.startsWith('/key')) response.end(key);
      else if (url.startsWith('/s/')) play(response, encrypted);
      else if (url.startsWith('/moved'))
        response.writeHead(302, { Location: `https://${CAMERA}:${port}/s/1.ts` }).end();
      else
        response.end(
          `${head}#EXT-X-KEY:METHOD=AES-128,URI="https://${CAMERA}:${port}/key",IV=0x${'0'.repeat(32)}\n#EXTINF:12,\nmoved.ts\n#EXT-X-ENDLIST\n`,
        );
    };
    port = await servers.listen(createHttps({ key: KEY, cert: CERTIFICATE }, serve), CAMERA);
    const isTold = (one: IngestState): boolean => isOnline(one) || isOffline(one);
    assert.deepEqual(await ingest(`https://${CAMERA}:${port}/index.m3u8?a=b`, isTold), { state: 'online' });
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
