import assert from 'node:assert/strict';
import fc from 'fast-check';
import { plain, plainPlaylist, Targets } from '../../engine/ingest/http-target.ts';
import { RtspReader, rtspRequest, type RtspResponse } from '../../engine/ingest/rtsp-message.ts';
import { follow } from '../../engine/ingest/rtsp-preflight.ts';
import { parseSource } from '../../engine/ingest/source-url.ts';

describe('RTSP responses', () => {
  const text = [
    'RTSP/1.0 401 Unauthorized\r\nCSeq: 1\r\nWWW-Authenticate: Digest realm="a"\r\nwww-authenticate: Basic realm="b"\r\n\r\n',
    'RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Length: 7\r\n\r\nv=0\r\n\r\n',
    'RTSP/1.0 302 Moved\nLocation: rtsp://c/2\n\n',
  ].join('');

  it('are the same however their bytes are cut', () => {
    const whole = new RtspReader().push(Buffer.from(text));
    assert.deepEqual(
      whole.map(({ status, body }) => [status, body]),
      [
        [401, ''],
        [200, 'v=0\r\n\r\n'],
        [302, ''],
      ],
    );
    assert.equal(whole[0]!.headers.get('www-authenticate')?.length, 2);
    assert.deepEqual(whole[2]!.headers.get('location'), ['rtsp://c/2']);
    fc.assert(
      fc.property(fc.array(fc.nat(text.length)), (cuts) => {
        const reader = new RtspReader();
        const places = [0, ...cuts.sort((a, b) => a - b), text.length];
        const found: RtspResponse[] = [];
        for (let i = 1; i < places.length; i++)
          found.push(...reader.push(Buffer.from(text.slice(places[i - 1], places[i]))));
        assert.deepEqual(found, whole);
      }),
    );
  });

  it('that are something else, or have no end, are refused before they are kept', () => {
    for (const wrong of [
      ...[
        'HTTP/1.1 200 OK\r\n\r\n',
        'RTSP/1.0 2 OK\r\n\r\n',
        '$\0\0\x04abcd',
        `RTSP/1.0 200 OK\r\nX: ${'x'.repeat(40_000)}`,
      ],
      ...['RTSP/1.0 200 OK\r\nContent-Length: 999999999\r\n\r\n', 'RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n'],
    ])
      assert.throws(() => new RtspReader().push(Buffer.from(wrong)), { name: 'EngineError' }, wrong.slice(0, 40));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (bytes) => {
        try {
          new RtspReader().push(Buffer.from(bytes));
        } catch (error) {
          assert.equal((error as Error).name, 'EngineError');
        }
      }),
    );
  });

  it('answer requests of one line each', () => {
    assert.equal(rtspRequest('OPTIONS', 'rtsp://c/1', { CSeq: '1' }), 'OPTIONS rtsp://c/1 RTSP/1.0\r\nCSeq: 1\r\n\r\n');
    assert.throws(() => rtspRequest('OPTIONS', 'rtsp://c/\r\nX: y', {}), { code: 'bad-url' });
  });
});

describe('RTSP redirects', () => {
  const from = 'rtsp://camera/live';
  it('are followed within the host of the camera, by its name or its address', () => {
    assert.equal(follow(from, 'rtsp://camera:8554/other?x=1#y', '10.0.0.5'), 'rtsp://camera:8554/other?x=1');
    assert.equal(follow(from, 'rtsp://10.0.0.5/other', '10.0.0.5'), 'rtsp://10.0.0.5/other');
    assert.equal(follow(from, '/other', '10.0.0.5'), 'rtsp://camera/other');
    assert.equal(follow(from, 'rtsps://CAMERA/other', undefined).toLowerCase(), 'rtsps://camera/other');
    assert.equal(follow('rtsp://[fe80::1]/x', 'rtsp://[fe80::1]:1/x', 'fe80::1'), 'rtsp://[fe80::1]:1/x');
  });

  it('are followed nowhere else, and carry no account of theirs', () => {
    for (const to of [
      ...['rtsp://other/x', 'rtsp://camera@other/x', 'rtsp://camera:554@other/', '//other/x', 'rtsp://camera.other/'],
      ...['http://camera/x', 'file:///etc/passwd', 'rtsp://', 'rtsp://10.0.0.6/'],
    ])
      assert.throws(() => follow(from, to, '10.0.0.5'), { code: 'redirect' }, to);
    assert.throws(() => follow('rtsps://camera/live', 'rtsp://camera/live', undefined), { code: 'redirect' });
    assert.equal(follow(from, 'rtsp://a:b@camera/x', undefined), 'rtsp://camera/x');
  });
});

describe('what a camera over HTTP may make us call', () => {
  const targetOf = (address: string, asked: string) => new Targets(new URL(address)).find(new URL(asked));
  it('is its own host and port, and that host encrypted', () => {
    assert.deepEqual(targetOf('http://c:81/x', 'http://c:81/y'), { host: 'c', port: 81, tls: false });
    assert.deepEqual(targetOf('https://c/x', 'http://c:443/y'), { host: 'c', port: 443, tls: true });
    assert.deepEqual(targetOf('http://c/x', 'http://c:443/y'), { host: 'c', port: 443, tls: true });
    for (const asked of [
      'http://c:8080/',
      'http://d:81/',
      'http://c/',
      'http://c.d:81/',
      'http://127.0.0.1:81/',
      'ftp://c:81/',
    ])
      assert.equal(targetOf('http://c:81/x', asked), null, asked);
  });

  it('is besides what the address lists, without an account', () => {
    const targets = new Targets(new URL('http://c/x#also=cdn.example,10.0.0.5:8080'));
    for (const asked of ['http://cdn.example/1.ts', 'http://cdn.example:443/1.ts', 'http://10.0.0.5:8080/1.ts']) {
      const target = targets.find(new URL(asked));
      assert.ok(target, asked);
      assert.ok(!targets.isOwn(target), asked);
    }
    assert.equal(targets.find(new URL('http://10.0.0.5/1.ts')), null);
    assert.ok(!new Targets(new URL('https://c/x')).isOwn({ host: 'c', port: 80, tls: false }));
    assert.throws(() => new Targets(new URL('http://c/x#also=a b')), { code: 'bad-url' });
  });

  it('is told to FFmpeg without encryption, wherever it stands', () => {
    assert.equal(plain('https://c/x?y'), 'http://c:443/x?y');
    assert.equal(plain('http://c/x'), 'http://c/x');
    assert.equal(
      plainPlaylist('#EXT-X-KEY:METHOD=AES-128,URI="https://c:8443/k"\nhttps://[::1]/1.ts\nrelative.ts'),
      '#EXT-X-KEY:METHOD=AES-128,URI="http://c:8443/k"\nhttp://[::1]:443/1.ts\nrelative.ts',
    );
  });
});

describe('addresses of files', () => {
  it('that name a host or no path are told to be wrong', () => {
    for (const url of ['file://host/x', 'file:///a%2Fb'])
      assert.throws(() => parseSource(url), { code: 'bad-url' }, url);
  });
});
