/** What strangers may send on a connection, made from a seed: the same seed makes the same bytes. */
import { randomBytes } from 'node:crypto';

/** What is done on one connection, in this order. */
export type Step =
  | { send: Buffer }
  /** Until something came, the other side closed, or nothing comes any more. */
  | { wait: true }
  | { close: 'fin' | 'rst' };

/** Where a request may go: known by what the test started. */
export interface Targets {
  /** Good for live view, of every camera. */
  token: string;
  camera: string;
  /** Of `httpNodeAuth`, or empty. */
  authorization: string;
}

/** Mulberry32: small, and good enough to choose with. */
export class Dice {
  private state: number;

  constructor(seed: number) {
    this.state = seed >>> 0;
  }

  /** A whole number from 0 to `count` - 1. */
  below(count: number): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let t = this.state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * count);
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)]!;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }
}

export const newSeed = (): number => randomBytes(4).readUInt32LE();

const KEY = 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==';

export class RawInputs {
  private readonly dice: Dice;
  private readonly targets: Targets;

  constructor(seed: number, targets: Targets) {
    this.dice = new Dice(seed);
    this.targets = targets;
  }

  /** What the next connection sends. */
  next(): Step[] {
    const { dice } = this;
    const make = dice.of([
      () => [this.part()],
      () => [this.part(), this.part()], // pipelined in one piece
      () => [this.part(), this.part(), this.part()],
      () => [Buffer.from(this.request(false)), Buffer.from(this.request(true))], // an upgrade behind a request
      () => [this.goodUpgrade(), this.frames()],
      () => [this.goodUpgrade(), this.goodUpgrade()],
    ]);
    const pieces = make();
    const steps: Step[] = [];
    if (dice.chance(15)) steps.push({ send: Buffer.from(this.request(false)) }, { wait: true }); // kept alive
    let data: Buffer | null = dice.chance(70) ? Buffer.concat(pieces) : null;
    if (data && dice.chance(20)) data = data.subarray(0, dice.below(data.length + 1)); // half of it
    if (data && dice.chance(8)) data = this.spoil(data);
    for (const send of data ? [data] : pieces) {
      steps.push({ send });
      if (dice.chance(30)) steps.push({ wait: true });
    }
    if (dice.chance(30)) steps.push({ wait: true });
    steps.push({ close: dice.chance(50) ? 'fin' : 'rst' });
    return steps;
  }

  private part(): Buffer {
    const { dice } = this;
    return dice.chance(8) ? dice.bytes(1 + dice.below(200)) : Buffer.from(this.request(dice.chance(60)), 'latin1');
  }

  private spoil(data: Buffer): Buffer {
    const spoilt = Buffer.from(data);
    for (let i = 0; i < 3; i++) spoilt[this.dice.below(spoilt.length)] = this.dice.below(256);
    return spoilt;
  }

  private path(): string {
    const { dice } = this;
    const { camera, token } = this.targets;
    const known = ['feed', `live/${camera}`, 'health', `live/${camera}.mjpeg`, 'api/cameras', `snapshot/${camera}.jpg`];
    const other = [
      'live/',
      'live/%ff',
      'live/..%2f..%2fx',
      'feed/',
      'FEED',
      'live/a/b',
      'vod/%/1',
      'dashboard/token',
      '',
    ];
    const path = `/nvr/${dice.chance(70) ? dice.of(known) : dice.of(other)}`;
    const query = dice.of(['', '', `?token=${token}`, '?token=%', '?token=a&token=b', '?codecs=hvc1', '?%', '?x[y]=1']);
    return dice.chance(85)
      ? path + query
      : dice.of(['/', '/comms', '/foo', '/%ff', '//u%ff@x/', '/\\u%ff@x', '*', 'x:1']);
  }

  private request(upgrade: boolean): string {
    const { dice } = this;
    const path = this.path();
    const method = dice.of(['GET', 'GET', 'GET', 'GET', 'POST', 'HEAD', 'OPTIONS', 'CONNECT', 'PUT', 'PRI', 'GETT']);
    const target = dice.of([path, path, path, path, `http://host${path}`, `http://u%ff@[::1${path}`, 'host:443']);
    const version = dice.of(['1.1', '1.1', '1.1', '1.1', '1.1', '1.0', '0.9', '2.0', '1.2']);
    const lines = [`${method} ${target} HTTP/${version}`];
    if (!dice.chance(5)) lines.push(`Host: ${dice.of(['localhost', '[', 'a, b', ''])}`);
    if (this.targets.authorization && dice.chance(80)) lines.push(`Authorization: ${this.targets.authorization}`);
    if (dice.chance(5)) lines.push(dice.of(['Authorization: Bearer ..', 'Authorization: Basic %%%', 'Authorization:']));
    if (upgrade) lines.push(...this.upgradeHeaders());
    if (dice.chance(5)) lines.push(`Host: other`, `Connection: close`);
    if (dice.chance(3)) lines.push(dice.of(['Expect: 100-continue', 'Range: bytes=0-,9-1', 'X: \0', ': x', 'X']));
    if (dice.chance(2)) lines.push(`X-Long: ${'x'.repeat(100_000)}`);
    const body = dice.chance(10) ? this.body() : { headers: [], data: '' };
    return [...lines, ...body.headers, '', body.data].join('\r\n');
  }

  private upgradeHeaders(): string[] {
    const { dice } = this;
    const all = [
      dice.of(['Upgrade: websocket', 'Upgrade: websocket', 'Upgrade: WebSocket', 'Upgrade: h2c', 'Upgrade:']),
      dice.of(['Connection: Upgrade', 'Connection: Upgrade', 'Connection: keep-alive, upgrade', 'Connection: close']),
      `Sec-WebSocket-Version: ${dice.of(['13', '13', '13', '8', '99', '-1', 'x', '13, 13'])}`,
      dice.of([KEY, KEY, KEY, 'Sec-WebSocket-Key: x', `${KEY}\r\n${KEY}`]),
      dice.of(['Sec-WebSocket-Extensions: permessage-deflate', 'Sec-WebSocket-Extensions: ;;=,', 'A: b', 'A: b']),
      dice.of(['Sec-WebSocket-Protocol: a, a', 'Sec-WebSocket-Protocol: ,', 'A: b', 'A: b', 'A: b']),
    ];
    return all.filter(() => !dice.chance(4));
  }

  private body(): { headers: string[]; data: string } {
    return this.dice.of([
      { headers: ['Content-Length: 5'], data: 'hello' },
      { headers: ['Content-Length: 50'], data: 'short' },
      { headers: ['Content-Length: 5', 'Content-Length: 6'], data: 'hello!' },
      { headers: ['Content-Length: -1'], data: '' },
      { headers: ['Transfer-Encoding: chunked'], data: '5\r\nhello\r\n0\r\n\r\n' },
      { headers: ['Transfer-Encoding: chunked'], data: 'ffffffffffffffffff\r\nx' },
      { headers: ['Transfer-Encoding: chunked', 'Content-Length: 3'], data: '0\r\n\r\n' },
    ]);
  }

  private goodUpgrade(): Buffer {
    const { camera, token, authorization } = this.targets;
    const path = `/nvr/${this.dice.of(['feed', `live/${camera}`])}?token=${token}`;
    const lines = [`GET ${path} HTTP/1.1`, 'Host: x', 'Upgrade: websocket', 'Connection: Upgrade', KEY];
    if (authorization) lines.push(`Authorization: ${authorization}`);
    return Buffer.from([...lines, 'Sec-WebSocket-Version: 13', '', ''].join('\r\n'));
  }

  private frames(): Buffer {
    const { dice } = this;
    const one = (): Buffer =>
      dice.of([
        () => frame(0x81, Buffer.from(dice.of(['{"token":1}', 'null', '{', '[]', '{"token":"a.b.c"}', '"x"', '']))),
        () => frame(0x81, dice.bytes(20)), // no UTF-8
        () => frame(0x82, dice.bytes(20)),
        () => frame(dice.below(256), dice.bytes(dice.below(130))), // reserved bits and codes
        () => Buffer.from([0x81, 5, 1, 2, 3, 4, 5]), // not masked
        () => Buffer.from([0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]), // 4 GB to come
        () => Buffer.from([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        () => frame(0x88, dice.bytes(dice.below(4))), // close
        () => Buffer.concat(Array.from({ length: 500 }, () => frame(0x89, Buffer.alloc(5)))), // pings
        () => Buffer.concat(Array.from({ length: 500 }, () => frame(0x8a, Buffer.alloc(0)))), // pongs
        () =>
          Buffer.concat([
            frame(0x01, Buffer.from('a')),
            ...Array.from({ length: 50 }, () => frame(0, Buffer.alloc(1))),
          ]),
        () => frame(0xc1, Buffer.from([0x4b, 4, 0])), // compressed, which nobody agreed to
        () => frame(0x82, Buffer.alloc(20_000)), // more than may be
      ])();
    return Buffer.concat(Array.from({ length: 1 + dice.below(4) }, one));
  }
}

/** A masked frame (RFC 6455 §5.2), its mask zero. */
export function frame(head: number, data: Buffer): Buffer {
  const size = data.length < 126 ? [0x80 | data.length] : [0xfe, data.length >> 8, data.length & 255];
  return Buffer.concat([Buffer.from([head, ...size, 0, 0, 0, 0]), data]);
}
