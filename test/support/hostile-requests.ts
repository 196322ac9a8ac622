/** Requests as somebody makes them who wants the NVR to fail: the same for the same seed. */

export interface HostileRequest {
  method: string;
  /** Below the NVR's path, printable ASCII only. */
  path: string;
  headers: Record<string, string>;
  body: Buffer | null;
}

/** mulberry32: 32 bits of state are enough to make a failure happen again. */
export function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Percent-encoded as it is in an address; what is wrong in itself stays as it is. */
const RAW_PARTS = [
  '%',
  '%zz',
  '%c0%ae',
  '%ff%fe',
  '%00',
  '%0d%0aX-Evil:1',
  '%2e%2e%2f',
  '..%5c',
  '%u0041',
  '%ed%a0%80',
];
const TEXTS = [
  ...[
    '',
    ' ',
    '0',
    '-1',
    '1e999',
    'NaN',
    'Infinity',
    '-Infinity',
    '0x10',
    '1_000',
    '9007199254740993',
    '4102444800000',
  ],
  ...[
    '99999999999999999999999999',
    '1777901400000',
    '0.0000001',
    '1,2,3',
    ',,,,',
    'null',
    'undefined',
    'true',
    '[object Object]',
  ],
  ...['../../../../etc/passwd', '/etc/passwd', '..\\..\\x', 'file:///etc/passwd', 'C:\\windows', '.', '..', '~'],
  ...[`' OR 1=1 --`, `'; DROP TABLE camera; --`, '" OR ""="', '1; ATTACH DATABASE x', 'a\0b', 'x\r\nSet-Cookie: a=b'],
  ...[
    '"',
    '""',
    'NEAR(',
    'a NEAR/2 b',
    'text:x',
    '*',
    'a*',
    '(',
    ')',
    'a AND',
    'NOT a',
    '{a b}: c',
    '^a',
    '-a',
    'a + "b',
  ],
  ...[
    '__proto__',
    'constructor',
    'prototype',
    'toString',
    'hasOwnProperty',
    '<script>alert(1)</script>',
    '${7*7}',
    '{{7*7}}',
  ],
  ...[
    '%s%n%x',
    '😀',
    '\ud83d',
    '\u202e',
    'ａ',
    'é'.normalize('NFD'),
    '\u0000',
    '2026-05-04T13:30:00Z',
    '+275760-09-13T00:00:00Z',
  ],
  ...[
    '1970-01-01T00:00:00+99:99',
    'main',
    'sub',
    'newest',
    'UTC',
    'Europe/Berlin',
    '../UTC',
    'x'.repeat(5000),
    'a,'.repeat(2000),
  ],
];
/** Deep, long, or a key that changes what objects are. */
const VALUES: readonly unknown[] = [
  ...TEXTS,
  ...[
    null,
    true,
    0,
    -0,
    -1,
    1e308,
    1.5,
    [],
    {},
    [[]],
    [null],
    { length: 1e9 },
    { toString: 1 },
    ['yard'],
    '*',
    'yard',
    60,
  ],
  ...[{ constructor: { prototype: { polluted: 1 } } }, JSON.parse('{"__proto__": {"polluted": 1}}') as unknown],
  Array.from({ length: 3000 }, () => 'yard'),
];
const METHODS = ['GET', 'POST', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'PATCH', 'TRACE', 'PROPFIND', 'M-SEARCH', 'REPORT'];
const HEADERS: Record<string, readonly string[]> = {
  range: [
    'bytes=0-',
    'bytes=5-1',
    'bytes=-0',
    'bytes=0-0,1-1,2-2',
    'bytes=99999999999-',
    'lines=1-2',
    'bytes=a-b',
    'x',
  ],
  accept: ['*/*', 'text/html', 'application/json;q=2', ';', 'a/b'.repeat(300)],
  'accept-encoding': ['gzip', 'br;q=1.0', '*;q=0', 'identity;q=0', 'x'.repeat(500)],
  'if-none-match': ['*', '"x"', 'W/"', ','.repeat(500)],
  'if-modified-since': ['now', 'Thu, 01 Jan 1970 00:00:00 GMT'],
  'if-range': ['"x"', 'bytes'],
  authorization: [
    'Bearer',
    'Bearer ',
    'Basic eDp4',
    'Bearer a.b.c',
    `Bearer ${'x'.repeat(4000)}`,
    'Digest username="x"',
    '\xff',
  ],
  'x-forwarded-for': ['127.0.0.1', '\xff', '1.2.3.4, 5.6.7.8'],
  'x-forwarded-host': ['evil.example'],
  'x-http-method-override': ['DELETE'],
  cookie: ['a=b', '__proto__=1', '%'],
  expect: ['x'],
  te: ['trailers'],
};
const TYPES = [
  ...[
    'application/json',
    'application/json; charset=utf-8',
    'application/json; charset=utf-7',
    'application/json; charset=x',
  ],
  ...[
    'application/x-www-form-urlencoded',
    'multipart/form-data; boundary=x',
    'text/plain',
    'application/xml',
    'x',
    'a/b;',
  ],
  'application/json; charset=utf-16',
];
const ENCODINGS = ['gzip', 'deflate', 'br', 'x', 'gzip, gzip'];

export interface HostileOptions {
  seed: number;
  /** Those of docs/openapi.json, `get /api/ptz/{camera}`, with the names of their parameters. */
  routes: readonly { method: string; path: string; parameters: readonly string[] }[];
  /** What parameters may be that are good: the attack comes further with them. */
  good: Readonly<Record<string, readonly string[]>>;
  /** Fields of bodies, with values that are good. */
  fields: Readonly<Record<string, readonly unknown[]>>;
  tokens: readonly string[];
}

export class HostileRequests {
  private readonly options: HostileOptions;
  private readonly random: () => number;

  constructor(options: HostileOptions) {
    this.options = options;
    this.random = randomOf(options.seed);
  }

  private one<T>(of: readonly T[]): T {
    return of[Math.floor(this.random() * of.length)]!;
  }

  private chance(share: number): boolean {
    return this.random() < share;
  }

  next(): HostileRequest {
    const route = this.one(this.options.routes);
    const method = this.chance(0.85) ? route.method.toUpperCase() : this.one(METHODS);
    const headers = this.headers();
    const path = this.path(route.path) + this.query(route.parameters);
    const hasBody = method === 'POST' ? this.chance(0.95) : !['GET', 'HEAD'].includes(method) && this.chance(0.5);
    const body = hasBody ? this.body(headers) : null;
    return { method, path: path.replace(/[^!-~]/g, encodeURIComponentSafely), headers, body };
  }

  private path(path: string): string {
    const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => {
      if (this.chance(0.6)) return encodeURIComponentSafely(this.one(this.options.good[name] ?? ['yard']));
      return this.chance(0.4) ? this.one(RAW_PARTS) : encodeURIComponentSafely(this.one(TEXTS)) || 'x';
    });
    if (!this.chance(0.1)) return filled;
    return this.one([
      `${filled}/`,
      `/${filled}`,
      `${filled}%00`,
      `${filled}/%2e%2e/%2e%2e`,
      `${filled};a=b`,
      filled.toUpperCase(),
      `/%2e%2e${filled}`,
    ]);
  }

  private query(parameters: readonly string[]): string {
    const names = [...parameters, '__proto__', 'constructor'].filter(() => this.chance(0.75));
    const parts = names.flatMap((name) => {
      const good = this.options.good[name];
      if (good && this.chance(0.7)) return [`${name}=${encodeURIComponent(this.one(good))}`];
      const value = this.chance(0.2) ? this.one(RAW_PARTS) : encodeURIComponentSafely(this.one(TEXTS));
      const shape = this.one(['=', '=', '=', '=', '=', '=', '[]=', '[a]=', '[__proto__][a]=', '[toString]=', '']);
      return [`${name}${shape}${value}`, ...(this.chance(0.05) ? [`${name}=again`] : [])];
    });
    if (this.chance(0.5)) parts.push(`token=${this.one(this.options.tokens)}`);
    return parts.length > 0 ? `?${parts.join('&')}` : '';
  }

  private headers(): Record<string, string> {
    const headers: Record<string, string> = {};
    if (this.chance(0.7)) headers['authorization'] = `Bearer ${this.one(this.options.tokens)}`;
    while (this.chance(0.3)) {
      const [name, values] = this.one(Object.entries(HEADERS));
      headers[name] = this.one(values);
    }
    return headers;
  }

  private body(headers: Record<string, string>): Buffer {
    headers['content-type'] = this.chance(0.85) ? 'application/json' : this.one(TYPES);
    if (this.chance(0.05)) headers['content-encoding'] = this.one(ENCODINGS);
    const object = Object.fromEntries(
      Object.entries(this.options.fields)
        .filter(() => this.chance(0.5))
        .map(([name, good]) => [name, this.chance(0.6) ? this.one(good) : this.one(VALUES)]),
    );
    const text = JSON.stringify(object);
    if (this.chance(0.8)) return Buffer.from(text);
    return Buffer.from(
      this.one([
        ...[
          '',
          '{',
          'null',
          '[]',
          '"x"',
          '1',
          text.slice(0, -1),
          `${text}${text}`,
          '\ufeff{}',
          '{"a":1e99999}',
          'a=b&c[d]=e',
        ],
        ...['['.repeat(20_000) + ']'.repeat(20_000), `{"command":${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}}`],
        `{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"polluted":1}},"command":"record"}`,
        `{"name":"${'x'.repeat(70_000)}"}`,
      ]),
    );
  }
}

/** What `encodeURIComponent` throws for (half of a pair) as its bytes would be. */
function encodeURIComponentSafely(text: string): string {
  return encodeURIComponent(text.replace(/[\ud800-\udfff]/gu, '')) + (/[\ud800-\udfff]/u.test(text) ? '%ed%a0%80' : '');
}
