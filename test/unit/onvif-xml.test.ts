import assert from 'node:assert/strict';
import fc from 'fast-check';
import {
  escapeXml,
  find,
  findAll,
  formatDuration,
  formatNumber,
  MAX_XML_CHARS,
  numberAt,
  parseDuration,
  MAX_VALUE_CHARS,
  parseXml,
  parseXmlInTurns,
  textAt,
} from '../../engine/onvif/xml.ts';
import { OnvifCamera } from '../support/onvif-camera.ts';

describe('XML of devices', () => {
  it('becomes a tree without prefixes, each element with its namespace', () => {
    const root = parseXml(
      '\uFEFF <?xml version="1.0"?><a:r xmlns:a="urn:a" xmlns="urn:d"><x> 1 <a:y q:z="2"/></x><x xmlns="urn:e"><![CDATA[<3>]]></x><u:v/></a:r>',
    );
    assert.deepEqual([root.name, root.ns], ['r', 'urn:a']);
    assert.deepEqual(
      findAll(root, 'x').map(({ ns, text }) => [ns, text]),
      [
        ['urn:d', '1'],
        ['urn:e', '<3>'],
      ],
    );
    assert.equal(find(root, 'x', 'y')?.attributes['z'], '2');
    assert.equal(find(root, 'v')?.ns, '');
    assert.equal(numberAt(root, 'x'), 1);
    assert.equal(textAt(root, 'no', 'thing'), '');
  });

  it('is refused when it is none, or too much of it', () => {
    const deep = '<a>'.repeat(100) + '</a>'.repeat(100);
    const wide = `<a>${'<b/>'.repeat(60_000)}</a>`;
    const attributes = `<a ${Array.from({ length: 300 }, (_, i) => `b${i}="c"`).join(' ')}/>`;
    const declaration = `<a><!${'x'.repeat(50_000)}></a>`;
    const entity = '<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>';
    for (const text of [
      '',
      'hello',
      '<a>',
      '<a></b>',
      '<a/><b',
      deep,
      wide,
      ...[attributes, declaration, entity],
      'x'.repeat(MAX_XML_CHARS + 1),
      '\0\x01',
    ])
      assert.throws(() => parseXml(text), { code: 'bad-xml' }, text.slice(0, 20));
  });

  it('lets others run while a long one is read, and reads the same', async () => {
    const long = `<a>${'<b c="d">e</b>'.repeat(6000)}</a>`;
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const root = await parseXmlInTurns(long);
    clearInterval(timer);
    assert.deepEqual(root, parseXml(long));
    assert.ok(turns >= 4, `${turns} turns`);
    await assert.rejects(parseXmlInTurns(`<a>${'x'.repeat(100_000)}<!y`), { code: 'bad-xml' });
  });

  it('keeps of a value what values may have, and the outer meaning of a prefix behind an element that changed it', () => {
    const long = 'x'.repeat(MAX_VALUE_CHARS * 2);
    const root = parseXml(`<a b="${long}">${long}</a>`);
    assert.deepEqual([root.text.length, root.attributes['b']!.length], [MAX_VALUE_CHARS, MAX_VALUE_CHARS]);
    const scopes = parseXml('<p:a xmlns:p="1"><p:b xmlns:p="2" xmlns:q="3"><q:c/></p:b><p:d/><q:e/></p:a>');
    assert.deepEqual(
      scopes.children.map(({ name, ns }) => name + ns),
      ['b2', 'd1', 'e'],
    );
  });

  it('brings any text through, and throws nothing but bad-xml for noise', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        // What XML cannot carry is dropped, and CR is a line end to a parser.
        const kept = text.replace(/[\u0000-\u0008\u000B\u000C\u000E-\u001F\uFFFE\uFFFF]/g, '');
        const root = parseXml(`<a b="${escapeXml(text)}">${escapeXml(text)}</a>`);
        assert.equal(root.text, kept.trim());
        assert.equal(root.attributes['b'], kept);
      }),
    );
    const noise = fc.oneof(
      fc.string(),
      fc
        .array(fc.constantFrom('<', '>', 'a', '/', '"', '=', ' ', '&', ';', ':', '!', '['), { size: '+1' })
        .map((parts) => parts.join('')),
    );
    fc.assert(
      fc.property(noise, (text) => {
        try {
          parseXml(text);
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'bad-xml');
        }
      }),
    );
  });

  it('has numbers and durations as the schema wants them', () => {
    assert.deepEqual([0, -0, 1, 100, 0.5, -1 / 3, 1e-9, 180].map(formatNumber), [
      '0',
      '0',
      '1',
      '100',
      '0.5',
      '-0.33333',
      '0',
      '180',
    ]);
    assert.deepEqual(['PT5S', 'PT0.25S', 'P1DT1H1M1S', 'PT1M', 'P', 'PT', 'P1Y', '5', ''].map(parseDuration), [
      ...[5000, 250, 90_061_000, 60_000],
      ...[null, null, null, null, null],
    ]);
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 1e9 }), (ms) => assert.equal(parseDuration(formatDuration(ms)), ms)),
    );
  });
});

describe('the simulated ONVIF device', () => {
  let camera: OnvifCamera;
  afterEach(() => camera.stop());

  const post = async (body: string): Promise<{ status: number; text: string }> => {
    const envelope = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>${body}</s:Body></s:Envelope>`;
    const response = await fetch(camera.address, { method: 'POST', body: envelope });
    return { status: response.status, text: await response.text() };
  };

  it('tells its time to anybody and nothing else without an account', async () => {
    camera = await new OnvifCamera({ clockOffsetMs: 3_600_000 }).start();
    const time = await post('<GetSystemDateAndTime xmlns="http://www.onvif.org/ver10/device/wsdl"/>');
    assert.equal(time.status, 200);
    assert.ok(find(parseXml(time.text), 'Body', 'GetSystemDateAndTimeResponse', 'SystemDateAndTime', 'UTCDateTime'));
    const info = await post('<GetDeviceInformation xmlns="http://www.onvif.org/ver10/device/wsdl"/>');
    assert.equal(info.status, 400);
    assert.match(info.text, /ter:NotAuthorized/);
  });

  it('turns over time, stops at its ends, and at the timeout', async () => {
    camera = await new OnvifCamera({ auth: 'none' }).start();
    camera.table.turn('pan', 1, 100);
    assert.ok(camera.table.moving);
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.ok(!camera.table.moving);
    assert.ok(Math.abs(camera.table.position.pan - 0.05) < 1e-9);
    camera.table.place('tilt', 0.999);
    camera.table.turn('tilt', 1, Infinity);
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.equal(camera.table.position.tilt, 1);
    assert.ok(!camera.table.moving);
  });

  it('knows an action only in its own namespace', async () => {
    camera = await new OnvifCamera({ auth: 'none' }).start();
    assert.match((await post('<GetNodes xmlns="http://www.onvif.org/ver10/media/wsdl"/>')).text, /ActionNotSupported/);
    assert.match((await post('<GetNodes xmlns="http://www.onvif.org/ver20/ptz/wsdl"/>')).text, /tptz:PTZNode/);
  });
});
