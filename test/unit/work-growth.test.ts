import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { EventRecord } from '../../engine/events/types.ts';
import { asks } from '../../engine/events/words.ts';
import { Redaction } from '../../engine/diagnostics/redaction.ts';
import { parseChallenges } from '../../engine/onvif/digest.ts';
import { notificationsOf } from '../../engine/onvif/events.ts';
import { parseXml } from '../../engine/onvif/xml.ts';
import { workOf } from '../support/work.ts';

const SMALL = 1000;
const GROWTH = 4;

/** Input that is four times as long may make four times the work, and some more that does not grow. */
function assertLinear(run: (chars: number) => () => void, small = SMALL): void {
  const works = [small, small * GROWTH].map((chars) => workOf(run(chars)));
  assert.ok(works[1]! <= (GROWTH + 1) * works[0]! + 20 * small, works.join(' operations become '));
}

/** A text of about so many characters: a few fragments, again and again. */
const units = (...fragments: string[]): fc.Arbitrary<string> =>
  fc.array(fc.constantFrom(...fragments), { minLength: 1, maxLength: 5 }).map((parts) => parts.join(''));
const filled = (unit: string, chars: number): string => unit.repeat(Math.ceil(chars / unit.length));

const EVENT: EventRecord = {
  ...{ eventId: 'x', kind: 'external', correlationId: null, source: null, cameras: [], start: 0, end: null },
  ...{ sourceTime: null, uncertaintyMs: 0, preMs: 0, postMs: 0, label: null, severity: 'info', zones: [] },
  ...{ score: null, boxes: [], tags: [], notes: [], acknowledged: null },
};

describe('work for what others send', () => {
  it('grows as XML of a device does, whatever it is made of', () => {
    const fragments = units(
      ...['<a xmlns:x="u">', '<a xmlns="u" x:y="z">', '</a>', '<b xmlns:q="u"/>', '<b/>', '<b c="d"/>', 'text', ' '],
      ...['&amp;', '&#65;', '&', '<!', '<!x', '"', ']', '<![CDATA[', ']]>', '<!--', '-->', '<?x', '?>', '>', 'x:', '='],
    );
    const names = ['', ' xmlns:', ' a'];
    fc.assert(
      fc.property(fragments, fc.constantFrom(...names), (unit, name) => {
        assertLinear((chars) => {
          const attributes =
            name === '' ? [] : Array.from({ length: Math.min(chars / 10, 250) }, (_, i) => `${name}p${i}="u"`);
          const text = `<r${attributes.join('')}>${filled(unit, chars)}</r>`;
          return () => {
            try {
              parseXml(text);
            } catch (error) {
              assert.equal((error as { code?: string }).code, 'bad-xml');
            }
          };
        });
      }),
      // A declaration without end, and prefixes that each element has to know.
      {
        examples: [
          ['<!x', ''],
          ['<b xmlns:q="u"/>', ' xmlns:'],
        ],
      },
    );
  });

  it('grows as the notifications of a device do', () => {
    const fragments = units(
      ...['<NotificationMessage/>', '<SimpleItem Name="a" Value="b"/>', '<Topic>a/b:c</Topic>', '<Message/>'],
      ...[
        '<NotificationMessage><Message><Message><Data><SimpleItem/></Data></Message></Message></NotificationMessage>',
      ],
      '<NotificationMessage><Topic>/////</Topic><Message><Message>',
      '</Message></Message></NotificationMessage>',
    );
    fc.assert(
      fc.property(fragments, (unit) => {
        fc.pre(unit.split('<Message>').length === unit.split('</Message>').length);
        assertLinear((chars) => {
          const text = `<r>${filled(unit, chars)}</r>`;
          return () => {
            try {
              notificationsOf(parseXml(text));
            } catch (error) {
              assert.equal((error as { code?: string }).code, 'bad-xml');
            }
          };
        });
      }),
    );
  });

  it('grows as the headers of a device do, to their limit', () => {
    const fragments = units(
      'a',
      '=',
      ' ',
      '\t',
      '"',
      '\\',
      ',',
      'Digest ',
      'Basic ',
      'realm="x"',
      'nonce=',
      'é',
      '=="',
    );
    fc.assert(
      fc.property(fragments, (unit) =>
        assertLinear((chars) => {
          const header = filled(unit, chars);
          return () => void parseChallenges([header, `Digest ${header}`]);
        }),
      ),
      { examples: [['a'], ['\t']] },
    );
    const long = 'Digest '.padEnd(100_000, 'a');
    assert.ok(workOf(() => void parseChallenges(Array.from({ length: 1000 }, () => long))) < 10_000);
  });

  it('grows as the lines of a log do, and not with the secrets', () => {
    const fragments = units(
      ...[
        'a-',
        'eyJ',
        '.',
        '-',
        '//',
        'a://',
        '@',
        'token',
        'key=',
        'password:',
        '"',
        "'",
        '\\',
        ' ',
        '\n',
        ';',
        '&',
        '%',
      ],
      ...['%25', '\\u0041', '&amp;', '&#', 'Basic ', 'aaaa', 'QUJD', '-----BEGIN PRIVATE KEY-----', '-----END ', '?p='],
    );
    fc.assert(
      fc.property(fragments, fc.boolean(), (unit, many) => {
        assertLinear((chars) => {
          const text = filled(unit, chars);
          // The worst there are for this text: it is made of them.
          const secrets = Array.from({ length: many ? chars / 20 : 3 }, (_, i) => `${text.slice(i, i + 12)}${i}`);
          const redaction = new Redaction(secrets);
          return () => void redaction.text(text);
        });
      }),
      {
        examples: [
          ['//', false],
          ['-eyJ', false],
          ['aaaa', true],
        ],
      },
    );
  });

  it('grows as the text of an event does, whatever is on its letters', () => {
    fc.assert(
      fc.property(units('a', ' ', '\u0315', '\u0300', '\u05ae', 'ö', '1', '*'), (unit) =>
        assertLinear((chars) => {
          const notes = [{ at: 0, who: '', text: filled(unit, chars) }];
          const event = { ...EVENT, notes };
          return () => void asks({ cameras: null, text: 'word' })(event);
        }),
      ),
      { examples: [['\u0315\u0300']] },
    );
  });
});
