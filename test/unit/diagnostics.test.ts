import assert from 'node:assert/strict';
import fc from 'fast-check';
import { LogRing } from '../../engine/diagnostics/log-ring.ts';
import { Redaction } from '../../engine/diagnostics/redaction.ts';

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

  it('takes no time on what is made to take time', () => {
    const hostile = ['a-'.repeat(2000), '-eyJ'.repeat(1000), 'a://'.repeat(1000), 'token'.repeat(800)];
    for (const text of hostile) assert.equal(typeof new Redaction(['hunter2']).text(text), 'string');
  });
});
