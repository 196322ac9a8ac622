import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { parseAddress } from '../../engine/onvif/client.ts';
import { placeOf, readAddress, splitCredentials } from '../../engine/ingest/camera-address.ts';
import { runJob } from '../../engine/ingest/ffmpeg-process.ts';
import { parseSource } from '../../engine/ingest/source-url.ts';
import { EngineError } from '../../engine/types.ts';

/**
 * FFmpeg's rules for URLs (`av_url_split`): the authority ends at the first `/`, `?` or `#` behind `scheme://`, the last `@`
 * in it ends the account, brackets enclose an IPv6 address, and the first colon begins the port, of which the leading
 * digits count.
 */
function hostOfFfmpeg(url: string): { host: string; port: number | null } {
  const text = url.slice(url.indexOf('://') + 3);
  const authority = /^[^/?#]*/.exec(text)![0];
  const place = authority.slice(authority.lastIndexOf('@') + 1);
  const close = place.startsWith('[') ? place.indexOf(']') : -1;
  const host = close > 0 ? place.slice(1, close) : place.split(':', 1)[0]!;
  const behind = place.slice(close > 0 ? close + 1 : host.length);
  return { host, port: behind.startsWith(':') ? parseInt(behind.slice(1), 10) : null };
}

/** The host that our own client calls; null where it refuses the address. */
function hostAsked(address: string): string | null {
  try {
    return parseAddress(address).hostname;
  } catch (error) {
    assert.ok(error instanceof EngineError && error.code === 'bad-address', String(error));
    return null;
  }
}

const DEFAULTS: Record<string, number> = { rtsp: 554, rtsps: 322, rtmp: 1935, rtmps: 443, http: 80, https: 443 };

/** Addresses made of what parsers stumble over. */
const hostile = fc
  .tuple(
    fc.constantFrom('rtsp://', 'RTSP://', 'rtsps://', 'http://', 'https://', 'rtmp://'),
    fc.array(
      fc.oneof(
        fc.constantFrom('@', ':', '/', '?', '#', '\\', '[', ']', '%40', '%2f', '..', '&password=', '{password}', '@@'),
        fc.constantFrom('evil.example', 'cam', '10.0.0.1', '[fe80::1]', '554', 'a', '0', '０', 'ⓔ', '。', '／', '＠'),
        fc.string({ maxLength: 3 }),
      ),
      { maxLength: 12 },
    ),
  )
  .map(([scheme, parts]) => scheme + parts.join(''));

describe('the host in an address', () => {
  it('is the one that FFmpeg connects to, for any address and account', () => {
    let read = 0;
    fc.assert(
      fc.property(hostile, fc.option(fc.string()), fc.option(fc.string()), (address, username, password) => {
        let source;
        try {
          source = parseSource(address, {
            ...(username === null ? {} : { username }),
            ...(password === null ? {} : { password }),
          });
        } catch (error) {
          assert.ok(error instanceof EngineError && error.code === 'bad-url', String(error));
          return;
        }
        read++;
        const { host, port } = hostOfFfmpeg(source.input);
        const scheme = /^[a-z]+/.exec(source.input)![0];
        assert.deepEqual({ host, port: port ?? DEFAULTS[scheme] }, source.endpoint, source.input);
        assert.match(host, /^[a-z0-9._:-]+$/i);
        assert.equal(placeOf(address)?.host.replace(/^\[|\]$/g, ''), host.toLowerCase());
        // The client of ONVIF speaks to Node's URL: it may write an IP address in another way, but finds the same host.
        const plain = splitCredentials(address.trim()).url.replace(/^\w+:/, 'http:');
        const asked = hostAsked(plain);
        if (asked !== null)
          assert.equal(asked, URL.parse(`http://${readAddress(address.trim()).host}`)?.hostname, plain);
        // What is stored is read again at the next start: it must not mean another host then.
        const { url } = splitCredentials(address.trim());
        assert.deepEqual(parseSource(url).endpoint, source.endpoint, url);
      }),
      { numRuns: 5000 },
    );
    assert.ok(read > 500, `only ${read} addresses were read at all`);
  });

  it('is behind the account, however that is written', () => {
    const rows: [string, string][] = [
      ['rtsp://a@b:c@other/', 'other'],
      ['rtsp://cam:554@evil/', 'evil'],
      ['rtsp://cam/@evil/x', 'cam'],
      ['rtsp://cam?@evil/x', 'cam'],
      ['rtsp://cam#@evil/x', 'cam'],
      ['http://cam\\@evil/', 'evil'],
      ['rtsp://[fe80::1]@evil/', 'evil'],
      ['rtsp://admin:pa/ss@cam/x', 'cam'],
      ['rtsp://admin:pa?ss#1@cam:8554/x', 'cam'],
      ['http://küche.local/x', 'xn--kche-0ra.local'],
    ];
    for (const [address, host] of rows) assert.equal(readAddress(address).host, host, address);
  });

  it('is not another one for ONVIF than for the account that goes there', () => {
    for (const address of ['http://evil.example\\@cam/', 'evil.example\\@cam', 'http://a:b@cam/', 'http://@cam/'])
      assert.throws(() => parseAddress(address), { code: 'bad-address' }, address);
    assert.equal(parseAddress('cam:8000').href, 'http://cam:8000/onvif/device_service');
    assert.equal(parseAddress('https://[fe80::1]/x\\@evil.example').hostname, '[fe80::1]');
  });

  it('is not guessed where there are several, and not taken where it is none', () => {
    for (const address of [
      'rtsp://admin:pa/ss@cam/x@y',
      'rtsp://admin:p/a@b/c@cam/x',
      'http://cam%2f@evil%2e/',
      'rtsp://cam:80:90/',
      'rtsp://cam:99999/',
      'rtsp://[cam]/',
      'rtsp://[::1/',
      'rtsp:///x',
      'rtsp://u:p@/x',
      `rtsp://cam/${'x'.repeat(5000)}`,
      `rtsp://${'a@'.repeat(1_000_000)}`,
    ]) {
      assert.throws(() => readAddress(address), { code: 'bad-url' }, address.slice(0, 60));
      assert.equal(placeOf(address), null);
    }
    assert.throws(
      () => readAddress('rtsp://admin:s3cret/ss@cam/x@y'),
      (error: Error) => {
        assert.match(error.message, /%40/);
        return !error.message.includes('s3cret');
      },
    );
  });
});

describe("the dialog's reading of an address", () => {
  interface Split {
    url: string;
    username: string;
    password: string;
  }
  const window: { flowNvrCameraAddress?: { splitCredentials(address: string): Split | null } } = {};
  const file = join(import.meta.dirname, '../../resources/camera-address.js');
  runInNewContext(readFileSync(file, 'utf8'), { window, decodeURIComponent });

  it('is the same as the runtime’s', () => {
    let split = 0;
    fc.assert(
      fc.property(hostile, (address) => {
        fc.pre(/^[ -~]*$/.test(address)); // other names of hosts are turned into ASCII by the runtime alone
        const { url, ...account } = splitCredentials(address);
        const theirs = window.flowNvrCameraAddress!.splitCredentials(address);
        if (theirs) split++;
        const given = 'username' in account || 'password' in account;
        const ours = given ? { url, username: account.username ?? '', password: account.password ?? '' } : null;
        assert.deepEqual(theirs && { ...theirs }, ours, address);
      }),
      { numRuns: 5000 },
    );
    assert.ok(split > 50, `only ${split} had an account`);
  });
});

/** Two computers: which of them does FFmpeg call? */
describe('FFmpeg itself', function () {
  this.timeout(60_000);
  const called: string[] = [];
  const servers: Server[] = [];
  let port = 0;

  before(async () => {
    for (const host of ['127.0.0.2', '127.0.0.3']) {
      const server = createServer((socket) => {
        called.push(host);
        socket.on('error', () => undefined); // FFmpeg hangs up as it likes
        socket.end();
      }).listen(port, host);
      await once(server, 'listening');
      port = (server.address() as AddressInfo).port;
      servers.push(server);
    }
  });
  after(() => servers.forEach((server) => server.close()));

  const addresses = [
    'rtsp://127.0.0.2@127.0.0.3:PORT/',
    'rtsp://u:127.0.0.2@x:y@127.0.0.3:PORT/x@127.0.0.2:PORT/',
    'rtsp://127.0.0.3:PORT?x=u:p@127.0.0.2:PORT/',
    'http://127.0.0.3:PORT#@127.0.0.2:PORT/',
    'http://u:pa/127.0.0.2:PORT/ss@127.0.0.3:PORT/',
    'rtmp://127.0.0.2:PORT%2f@127.0.0.3:PORT/app/x',
  ];
  for (const address of addresses) {
    it(`calls the host that we read in ${address}`, async () => {
      called.length = 0;
      const { input, endpoint } = parseSource(address.replaceAll('PORT', String(port)), { password: 'a@b/c:d' });
      assert.deepEqual(endpoint, { host: '127.0.0.3', port });
      const args = ['-v', 'error', '-i', input, '-f', 'null', '-'];
      await runJob('ffmpeg', args, { timeoutMs: 20_000, network: true });
      assert.ok(called.length > 0 && called.every((host) => host === '127.0.0.3'), called.join());
    });
  }
});
