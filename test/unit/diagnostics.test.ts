import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LogRing } from '../../engine/diagnostics/log-ring.ts';
import { redact } from '../../engine/diagnostics/redact.ts';
import { MAX_TEXT_CHARS, Redaction } from '../../engine/diagnostics/redaction.ts';

const line = (text: string): { at: number; level: 'info'; source: string; text: string } => ({
  ...{ at: 0, level: 'info', source: '', text },
});

describe('the ring of log lines', () => {
  it('holds the newest, bounded in lines and in size', () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 40 }), { maxLength: 300 }), (texts) => {
        const ring = new LogRing(50, 600);
        texts.forEach((text) => ring.push(line(text)));
        const { lines, first, last } = ring.page({ limit: 1000 });
        assert.ok(lines.length <= 50);
        assert.ok(lines.length <= 1 || lines.reduce((sum, { text }) => sum + text.length, 0) <= 600);
        assert.deepEqual(
          lines.map(({ text }) => text),
          texts.slice(texts.length - lines.length),
        );
        assert.deepEqual([first, last], lines.length > 0 ? [lines[0]!.id, lines.at(-1)!.id] : [0, 0]);
      }),
    );
  });

  it('is read without holes or repeats, forwards while it grows and backwards', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 30 }), { minLength: 1, maxLength: 20 }),
        fc.integer({ min: 1, max: 40 }),
        (bursts, limit) => {
          const ring = new LogRing(100);
          const seen: number[] = [];
          let pushed = 0;
          for (const burst of bursts) {
            for (let i = 0; i < burst; i++) ring.push(line(`${++pushed}`));
            for (;;) {
              const page = ring.page({ after: seen.at(-1) ?? 0, limit });
              seen.push(...page.lines.map(({ id }) => id));
              if (page.lines.length < limit) break;
            }
          }
          assert.deepEqual(
            seen,
            Array.from({ length: pushed }, (_, i) => i + 1),
          );
          const back: number[] = [];
          for (;;) {
            const page = ring.page({ before: back[0] ?? null, limit });
            back.unshift(...page.lines.map(({ id }) => id));
            if (page.lines.length === 0) break;
          }
          assert.deepEqual(back, seen.slice(-100));
        },
      ),
    );
  });

  it('begins again for a reader who knows numbers from before a restart', () => {
    const ring = new LogRing();
    ring.push(line('first'));
    assert.equal(ring.page({ after: 5000, limit: 10 }).lines.length, 1);
  });

  it('cuts a line that is longer than a screen', () => {
    const ring = new LogRing();
    ring.push(line('x'.repeat(1_000_000)));
    assert.ok(ring.page({ limit: 1 }).lines[0]!.text.length < 5000);
  });
});

describe('redaction', () => {
  const words = fc.array(fc.constantFrom('camera', 'front', 'failed', 'at', '12:00', '=', '"', ','), { maxLength: 6 });
  const secret = fc
    .string({ minLength: 4, maxLength: 30 })
    .filter((text) => /\S{4}/.test(text) && !text.includes('***'));

  it('leaves no known secret in a text, plain, percent-encoded or as in JSON', () => {
    fc.assert(
      fc.property(secret, words, words, (password, before, after) => {
        const around = [...before, ...after].join(' ');
        fc.pre(!around.includes(password));
        for (const form of [password, encodeURIComponent(password), JSON.stringify(password).slice(1, -1)]) {
          const out = new Redaction([password]).text(`${before.join(' ')} ${form} ${after.join(' ')}`);
          assert.ok(!out.includes(form) || ['***', 'camera', 'front'].some((word) => word.includes(form)), out);
        }
      }),
    );
  });

  it('hides what looks like a secret though nobody told', () => {
    const jwt = `${['eyJhbGciOiJIUzI1NiJ9', 'eyJjYW1lcmFzIjoiKiJ9'].join('.')}.c2lnbmF0dXJl`;
    const texts = [
      'rtsp://admin:hunter2hunter2@10.0.0.1/stream',
      'http://cam/cgi?user=admin&pwd=hunter2hunter2',
      '{"password":"hunter2hunter2"}',
      "apiKey = 'hunter2hunter2'",
      'secret_access_key: hunter2hunter2',
      'Authorization: Bearer hunter2hunter2',
      `got ${jwt.replace('c2lnbmF0dXJl', 'hunter2hunter2')}`,
      '-----BEGIN EC PRIVATE KEY-----\nhunter2hunter2\n-----END EC PRIVATE KEY-----',
    ];
    const redaction = new Redaction([]);
    for (const text of texts) assert.doesNotMatch(redaction.text(text), /hunter2/, text);
  });

  it('leaves alone what people must read', () => {
    const texts = [
      'front: the camera is offline: authentication failed; check user name and password',
      'keyframes every 2 s, keyword found, GOP 50',
      'storage /data/nvr is full',
    ];
    for (const text of texts) assert.equal(new Redaction(['hunter2']).text(text), text);
  });

  it('looks into objects: by names, and in every text', () => {
    const out = new Redaction(['hunter2hunter2']).value({
      ...{ id: 'front', password: 'short', apiKey: 'abc', has_password: true, keyframes: 2, monkey: 'banana' },
      deep: [{ note: 'it is hunter2hunter2', credentials: { a: 1 } }],
      'hunter2hunter2 as a name': 1,
    });
    assert.deepEqual(out, {
      ...{ id: 'front', password: '***', apiKey: '***', has_password: true, keyframes: 2, monkey: 'banana' },
      deep: [{ note: 'it is ***', credentials: '***' }],
      '*** as a name': 1,
    });
  });

  /** Any text, and characters that encodings are made of. */
  const password = fc
    .array(
      fc.oneof(
        fc.string({ unit: 'grapheme', maxLength: 1 }),
        fc.constantFrom(...'%4125uxn\\"&#;+/ =üß€😀'.match(/./gu)!),
      ),
      {
        ...{ minLength: 6, maxLength: 20 },
      },
    )
    .map((chars) => chars.join(''))
    .filter((text) => text.length >= 4 && !/[*]|^\s|\s$/.test(text) && text.isWellFormed() && new Set(text).size > 2);
  const percent = (char: string, upper: boolean): string =>
    [...Buffer.from(char)]
      .map((byte) => `%${byte.toString(16).padStart(2, '0')}`)
      .map((code) => (upper ? code.toUpperCase() : code))
      .join('');
  /** Each way to write one character. */
  const ways: readonly ((char: string) => string)[] = [
    (char) => char,
    (char) => percent(char, true),
    (char) => percent(char, false),
    (char) => (char === ' ' ? '+' : percent(char, true)),
    (char) => percent('%', false) + percent(char, true).slice(1).split('%').join(percent('%', true)),
    (char) =>
      Array.from({ length: char.length }, (_, i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, '0')}`).join(''),
    (char) => `&#${char.codePointAt(0)!};`,
    (char) => `&#x${char.codePointAt(0)!.toString(16)};`,
  ];

  it('finds a secret whose characters are encoded, each in its own way', () => {
    const way = fc.nat(ways.length - 1);
    fc.assert(
      fc.property(password, fc.array(way, { minLength: 20, maxLength: 20 }), (text, chosen) => {
        // What is before a plain one may make it part of an escape, and one escape of two layers is read by no program.
        const wayOf = (char: string, i: number): number =>
          chosen[i % 20]! === 0 && /[%\\&\w#;]/.test(char)
            ? 1
            : chosen[i % 20]! === 4 && text.includes('\\')
              ? 1
              : chosen[i % 20]!;
        const form = Array.from(text)
          .map((char, i) => ways[wayOf(char, i)]!(char))
          .join('');
        assert.equal(new Redaction([text]).text(`got ${form} there`), 'got *** there', form);
      }),
    );
  });

  it('finds a secret as programs write it', () => {
    const forms: readonly ((text: string) => string)[] = [
      (text) => text,
      (text) => encodeURIComponent(text),
      (text) => encodeURIComponent(encodeURIComponent(text)),
      (text) => new URLSearchParams({ a: text }).toString().slice(2),
      (text) => JSON.stringify(text).slice(1, -1),
      (text) => JSON.stringify(JSON.stringify(text).slice(1, -1)).slice(1, -1),
      (text) => encodeURIComponent(JSON.stringify(text).slice(1, -1)),
      (text) => JSON.stringify(encodeURIComponent(text)).slice(1, -1),
      (text) => text.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`),
    ];
    fc.assert(
      fc.property(password, fc.constantFrom(...forms), (text, form) => {
        assert.equal(new Redaction([text]).text(`got "${form(text)}" there`), 'got "***" there');
      }),
    );
  });

  it('finds a secret in base64 wherever it lies in what was encoded, and as hexadecimal digits', () => {
    const around = fc.string({ unit: 'binary', maxLength: 12 }).filter((text) => text.isWellFormed());
    fc.assert(
      fc.property(
        password,
        around,
        around,
        fc.boolean(),
        fc.infiniteStream(fc.boolean()),
        (text, before, after, url, upper) => {
          const redaction = new Redaction([text]);
          const base64 = Buffer.from(before + text + after).toString(url ? 'base64url' : 'base64');
          for (const form of [base64, encodeURIComponent(base64)]) {
            assert.equal(redaction.text(`got ${form} there`), 'got *** there', form);
          }
          const hex = Buffer.from(text).toString('hex');
          const cased = Array.from(hex)
            .map((digit) => (upper.next().value ? digit.toUpperCase() : digit))
            .join('');
          assert.equal(redaction.text(`got 0x${cased}, there`), 'got 0x***, there');
        },
      ),
    );
    const basic = Buffer.from('admin:x7!q').toString('base64');
    assert.equal(new Redaction(['x7!q']).text(`sent ${basic} to it`), 'sent *** to it');
  });

  it('hides a short secret where it is one, and nowhere else', () => {
    const redaction = new Redaction(['a', 'abc', '']);
    const rows: [string, string][] = [
      ['a camera has an alarm: abc', 'a camera has an alarm: abc'],
      ['rtsp://admin:a@cam/1 failed', 'rtsp://***@cam/1 failed'],
      ['rtsp%3A%2F%2Fadmin%3Aa%40cam failed', 'rtsp%3A%2F%2F***%40cam failed'],
      ['http://cam/v?user=u&pwd=a', 'http://cam/v?user=u&pwd=***'],
      ['{"password":"a","x":1}', '{"password":"***","x":1}'],
      [String.raw`"{\"password\":\"a\",\"x\":1}"`, String.raw`"{\"password\":\"***\",\"x\":1}"`],
      ['Authorization: Basic YTph', 'Authorization: ***'],
    ];
    for (const [text, shown] of rows) {
      assert.equal(redaction.text(text), shown);
      assert.equal(redact(text, ['a', 'abc', undefined]), shown);
    }
  });

  it('finds every part of a long secret, and many secrets at once', () => {
    const key = Array.from({ length: 700 }, (_, i) => String.fromCharCode(65 + ((i * i + (i >> 3)) % 57))).join('');
    assert.doesNotMatch(new Redaction([key]).text(`a ${key} b`), /[^ab *]/);
    const many = Array.from({ length: 400 }, (_, i) => `secret${i}x`);
    assert.equal(new Redaction(many).text(`${many.join(', ')}.`), `${many.map(() => '***').join(', ')}.`);
  });

  it('cuts what is too long, and no secret with it', () => {
    const redaction = new Redaction(['hunter2hunter2']);
    for (let before = MAX_TEXT_CHARS - 20; before <= MAX_TEXT_CHARS + 5; before++) {
      const out = redaction.text(`${' '.repeat(before)}hunter2hunter2${' '.repeat(10_000)}`);
      assert.ok(out.length <= MAX_TEXT_CHARS + 4);
      assert.doesNotMatch(out, /h/);
    }
  });

  it('keeps sentences that only speak of credentials', () => {
    const texts = ['Basic authentication failed', 'Digest Authentication is not supported.', 'the token was refused'];
    for (const text of texts) assert.equal(new Redaction([]).text(text), text);
  });
});
