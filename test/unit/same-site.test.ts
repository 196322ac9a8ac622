import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { foreignReason, hostNameOf, isOwnHost } from '../../engine/http/same-site.ts';

describe('same-site', () => {
  it('reads the name in a Host header', () => {
    const rows: [string | undefined, string | null][] = [
      ['localhost:1880', 'localhost'],
      ['NVR.Example.com.', 'nvr.example.com'],
      ['[::1]:1880', '::1'],
      ['192.168.1.5', '192.168.1.5'],
      ['evil.com@127.0.0.1', null],
      ['a b', null],
      ['', null],
      [undefined, null],
    ];
    for (const [host, name] of rows) assert.equal(hostNameOf(host), name, String(host));
  });

  it('knows names that nobody else can point at this computer', () => {
    for (const host of ['127.0.0.1:1880', '[fe80::1]', 'localhost', hostname(), 'nvr.local', 'nvr.home.arpa'])
      assert.ok(isOwnHost(host), host);
    for (const host of ['evil.com:1880', '127.0.0.1.evil.com', 'localhost.evil.com', 'local', undefined])
      assert.ok(!isOwnHost(host), String(host));
    assert.ok(isOwnHost('nvr.example.com', ['nvr.example.com']));
  });

  it("refuses other sites' pages and lets our own pages and programs pass", () => {
    const host = 'localhost:1880';
    assert.equal(foreignReason({ host }), null);
    assert.equal(foreignReason({ host, origin: 'http://localhost:1880', 'sec-fetch-site': 'same-origin' }), null);
    assert.equal(foreignReason({ host, 'sec-fetch-site': 'none' }), null);
    assert.equal(foreignReason({ host: 'LOCALHOST:1880', origin: 'http://localhost:1880' }), null);
    assert.equal(foreignReason({ host, 'sec-fetch-site': 'same-site' }), 'origin');
    assert.equal(foreignReason({ host, 'sec-fetch-site': 'cross-site' }), 'origin');
    assert.equal(foreignReason({ host, origin: 'null' }), 'origin');
    assert.equal(foreignReason({ host, origin: 'http://localhost:8080' }), 'origin');
    assert.equal(foreignReason({ host, origin: 'http://evil.com' }), 'origin');
    const rebound = { host: 'evil.com:1880', origin: 'http://evil.com:1880', 'sec-fetch-site': 'same-origin' };
    assert.equal(foreignReason(rebound), 'host');
  });
});
