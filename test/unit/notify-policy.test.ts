import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { IndexedEvent } from '../../engine/events/types.ts';
import { clientOptions, problemOf } from '../../engine/notify/mqtt-channel.ts';
import { missingText } from '../../engine/notify/clip-maker.ts';
import { cameraDiscovery, nvrDiscovery } from '../../engine/notify/home-assistant.ts';
import { influxPayload, lineOf, type Field } from '../../engine/notify/line-protocol.ts';
import {
  backoffMs,
  dueAt,
  isQuiet,
  minuteOf,
  rangesByCamera,
  suppression,
  updated,
} from '../../engine/notify/policy.ts';
import { surplus } from '../../engine/notify/shelf.ts';
import { planSmall } from '../../engine/notify/small-clip.ts';
import { indexedRecord, readCommand } from '../../engine/notify/topics.ts';
import type { ClipEvent, MqttSpec, NotifyPolicy } from '../../engine/notify/types.ts';
import { headersFor, retryAfterMs, signatureOf } from '../../engine/notify/webhook-channel.ts';

const EVENT: ClipEvent = {
  ...{ eventId: 'e', correlationId: null, kind: 'motion', cameras: ['front'], start: 100_000, end: 110_000 },
  ...{ preMs: 5000, postMs: 3000, label: null, severity: null, zones: [], exempt: false },
};
const POLICY: NotifyPolicy = {
  ...{ perMinute: 2, cooldownMs: 30_000, quiet: { from: '22:00', to: '06:00' }, groupMs: 0, maxClipMs: 60_000 },
  keep: { ms: 1, bytes: 1, folder: '/' },
};
const at = (hour: number, minute = 0): number => new Date(2026, 4, 4, hour, minute).getTime();

describe('which events are told', () => {
  const none = { cooldownSince: () => null, inLastMinute: 0 };

  it('knows quiet hours, also over midnight', () => {
    const { quiet } = POLICY;
    assert.deepEqual(
      [at(21, 59), at(22), at(0), at(5, 59), at(6)].map((time) => isQuiet(quiet, time)),
      [false, true, true, true, false],
    );
    assert.equal(isQuiet({ from: '08:00', to: '24:00' }, at(23, 59)), true);
    assert.equal(isQuiet({ from: '08:00', to: '08:00' }, at(8)), false);
    for (const text of ['24:01', '7', '25:00', '']) assert.throws(() => minuteOf(text), /such as 22:00/);
  });

  it('leaves out what is too much, and never what somebody waits for', () => {
    const why = (event: Partial<ClipEvent>, recent: object, now = at(12)): string | null =>
      suppression({ ...EVENT, ...event }, POLICY, { ...none, ...recent }, now);
    assert.equal(why({}, {}), null);
    assert.equal(why({}, {}, at(23)), 'quiet-hours');
    assert.equal(why({}, { cooldownSince: () => at(12) - 29_999 }), 'cooldown');
    assert.equal(why({}, { cooldownSince: () => at(12) - 30_000 }), null);
    assert.equal(why({}, { cooldownSince: () => at(12) + 3_600_000 }), null, 'the clock was set back');
    assert.equal(why({}, { inLastMinute: 2 }), 'rate-limit');
    assert.equal(why({ exempt: true }, { cooldownSince: () => at(23), inLastMinute: 9 }, at(23)), null);
    // One of its zones is not told of yet.
    const since = (key: string): number | null => (key === 'front door' ? at(12) : null);
    assert.equal(why({ zones: ['door', 'path'] }, { cooldownSince: since }), null);
    assert.equal(why({ zones: ['door'] }, { cooldownSince: since }), 'cooldown');
  });

  it('waits for the end of an event, and not for ever', () => {
    assert.equal(dueAt([EVENT], 60_000), 114_500);
    assert.equal(dueAt([{ ...EVENT, end: null }], 60_000), 95_000 + 60_000 + 1500);
    assert.equal(dueAt([EVENT, { ...EVENT, end: 112_000 }], 60_000), 116_500);
  });

  it('joins what one camera saw, and keeps what each event was told of', () => {
    const later = { ...EVENT, eventId: 'f', start: 112_000, end: 118_000 };
    const other = { ...EVENT, eventId: 'g', cameras: ['yard'] };
    assert.deepEqual(rangesByCamera([EVENT, later, other], 60_000), [
      { camera: 'front', start: 95_000, end: 121_000 },
      { camera: 'yard', start: 95_000, end: 113_000 },
    ]);
    const open = { ...EVENT, end: null, zones: ['a'] };
    assert.deepEqual(updated(open, { ...EVENT, zones: ['b'], start: 99_000 }), {
      ...EVENT,
      zones: ['a', 'b'],
      start: 99_000,
    });
    assert.equal(updated(EVENT, { ...EVENT, end: null }).end, EVENT.end);
  });

  it('tries again later each time, and never all at once', () => {
    fc.assert(
      fc.property(fc.nat(100), fc.double({ min: 0, max: 1, noNaN: true }), (attempts, random) => {
        const wait = backoffMs(attempts, { baseMs: 1000, maxMs: 60_000 }, random);
        const full = Math.min(60_000, 1000 * 2 ** Math.min(attempts, 20));
        assert.ok(wait >= Math.floor(full / 2) && wait <= full);
      }),
    );
  });

  it('keeps the newest clips within time and size', () => {
    const files = [1, 2, 3, 4].map((time) => ({ time: time * 1000, bytes: 10 }));
    const times = (bounds: { ms: number; bytes: number }): number[] =>
      surplus(files, bounds, 5000).map(({ time }) => time);
    assert.deepEqual(times({ ms: 1e6, bytes: 25 }), [2000, 1000]);
    assert.deepEqual(times({ ms: 2500, bytes: 1e6 }), [2000, 1000]);
    assert.deepEqual(times({ ms: 0, bytes: 0 }), [3000, 2000, 1000]);
  });
});

describe("InfluxDB's line protocol", () => {
  /** Reads a line by the rules of the specification. */
  function parse(line: string): {
    measurement: string;
    tags: [string, string][];
    fields: [string, string][];
    time: string;
  } {
    const parts: string[][] = [['']];
    let quoted = false;
    let inValue = false;
    const add = (text: string): void => {
      const section = parts.at(-1)!;
      section.push(`${section.pop() ?? ''}${text}`);
    };
    for (let i = 0; i < line.length; i++) {
      const char = line.charAt(i);
      if (char === '\\' && (quoted ? /["\\]/ : /[, =]/).test(line.charAt(i + 1))) {
        add(char + line.charAt(++i));
        continue;
      }
      if (!quoted && (char === ' ' || char === ',')) {
        inValue = false;
        if (char === ' ') parts.push(['']);
        else parts.at(-1)!.push('');
        continue;
      }
      // Quotes mean something in the values of fields only.
      if (char === '"' && parts.length === 2 && inValue) quoted = !quoted;
      if (char === '=' && !quoted) inValue = true;
      add(char);
    }
    assert.equal(parts.length, 3, line);
    const key = (text: string): string => text.replace(/\\([, =])/g, '$1');
    const pair = (text: string): [string, string] => {
      const [, name, value] = /^((?:\\[, =]|[^=])*)=([^]*)$/.exec(text)!;
      return [key(name!), value!];
    };
    const [[measurement, ...tags], fields, [time]] = parts as [string[], string[], string[]];
    return {
      measurement: measurement!.replace(/\\([, ])/g, '$1'),
      tags: tags.map(pair).map(([name, value]) => [name, key(value)]),
      ...{ fields: fields.map(pair), time: time! },
    };
  }
  const clean = (text: string): string => text.replace(/[\r\n]+/g, ' ').replace(/\\+$/, '');
  const words = fc.string({
    unit: fc.constantFrom('a', 'b', ',', '=', ' ', '"', '\\', '\n', '\r', 'é'),
    minLength: 1,
    maxLength: 12,
  });
  const names = words.filter((text) => clean(text) !== '');

  it('says the same whatever is in names and values', () => {
    fc.assert(
      fc.property(
        names,
        names,
        words,
        names,
        words,
        fc.integer(),
        (measurement, tag, tagValue, field, text, number) => {
          const fields: Record<string, Field> = { [field]: text, [`${field.replace(/\\+$/, '')}n`]: number };
          const line = lineOf({ measurement, tags: { [tag]: tagValue }, fields, time: 1_700_000_000_123 });
          assert.doesNotMatch(line, /[\r\n]/);
          const read = parse(line);
          assert.equal(read.measurement, clean(measurement));
          assert.deepEqual(read.tags, clean(tagValue) === '' ? [] : [[clean(tag), clean(tagValue)]]);
          const [name, value] = read.fields[0]!;
          assert.equal(name, clean(field));
          assert.equal(value.slice(1, -1).replace(/\\(["\\])/g, '$1'), text.replace(/[\r\n]+/g, ' '));
          assert.equal(read.fields[1]![1], `${number}i`);
          assert.equal(read.time, '1700000000123000000');
        },
      ),
      { numRuns: 500 },
    );
  });

  it('is as the examples of the specification', () => {
    const point = {
      measurement: 'my measurement',
      tags: { b: 'x y', a: '', 'k,1': 'v=1' },
      fields: { f: 'say "hi" \\', n: 1.5, ok: true },
      time: 5,
    };
    assert.equal(lineOf(point), 'my\\ measurement,b=x\\ y,k\\,1=v\\=1 f="say \\"hi\\" \\\\",n=1.5,ok=true 5000000');
    assert.deepEqual(influxPayload(point), [
      { ...point.fields, time: new Date(5) },
      { b: 'x y', 'k,1': 'v=1' },
    ]);
    assert.throws(() => lineOf({ ...point, fields: {} }), RangeError);
    assert.throws(() => lineOf({ ...point, fields: { n: NaN } }), /no number/);
  });
});

describe('small versions', () => {
  it('fit, with the best picture that does', () => {
    assert.deepEqual(planSmall(20, true, 10e6), { height: 1080, videoKbps: 3632, audioKbps: 48, fps: 25 });
    assert.equal(planSmall(60, true, 10e6).height, 480);
    assert.equal(planSmall(20, true, 5e6).height, 720);
    assert.deepEqual(planSmall(600, true, 10e6), { height: 240, videoKbps: 122, audioKbps: 0, fps: 12 });
    assert.throws(() => planSmall(3600, true, 5e6), /do not fit into 5.0 MB/);
    fc.assert(
      fc.property(
        fc.double({ min: 1, max: 3000, noNaN: true }),
        fc.double({ min: 1e6, max: 50e6, noNaN: true }),
        (seconds, bytes) => {
          try {
            const { videoKbps, audioKbps } = planSmall(seconds, true, bytes);
            assert.ok(((videoKbps + audioKbps) * 1000 * seconds) / 8 <= bytes * 0.93);
          } catch (error) {
            assert.match(String(error), /do not fit/);
          }
        },
      ),
    );
  });
});

describe('webhooks', () => {
  it('are signed over time and body', () => {
    // echo -n '1700000000.{"a":1}' | openssl dgst -sha256 -hmac key
    const expected = 'sha256=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03';
    assert.equal(signatureOf('key', 1_700_000_000, '{"a":1}'), expected);
    const headers = headersFor(
      { kind: 'webhook', url: 'http://x', secret: 'key' },
      { id: 'i', channel: '', topic: '', body: '{"a":1}' },
      1_700_000_000_999,
    );
    assert.deepEqual(
      [headers['X-NVR-Id'], headers['X-NVR-Timestamp'], headers['X-NVR-Signature']],
      ['i', '1700000000', expected],
    );
    const unsigned = headersFor(
      { kind: 'webhook', url: 'http://x', secret: '' },
      { id: 'i', channel: '', topic: '', body: '' },
      0,
    );
    assert.equal(unsigned['X-NVR-Signature'], undefined);
  });

  it('wait as long as the server wants, within reason', () => {
    assert.deepEqual(
      [null, '5', 'Thu, 01 Jan 1970 00:01:00 GMT', 'soon', '999999999'].map((value) => retryAfterMs(value, 0)),
      [null, 5000, 60_000, null, 3_600_000],
    );
  });
});

describe('the way to the broker', () => {
  const SPEC: MqttSpec = {
    ...{
      kind: 'mqtt',
      url: 'mqtts://broker:8883/',
      version: 5,
      username: 'u',
      password: 'p',
      statusTopic: 'nvr/x/status',
    },
    ...{ subscribe: [], tls: { ca: 'CA', cert: 'C', key: 'K', rejectUnauthorized: true, servername: 'n' } },
  };

  it('has TLS, login and last will', () => {
    const options = clientOptions(SPEC, 'id') as Record<string, unknown>;
    assert.deepEqual(
      [options['ca'], options['cert'], options['key'], options['rejectUnauthorized'], options['servername']],
      ['CA', 'C', 'K', true, 'n'],
    );
    assert.deepEqual(
      [options['username'], options['password'], options['clientId'], options['protocolVersion']],
      ['u', 'p', 'id', 5],
    );
    assert.deepEqual(options['will'], { topic: 'nvr/x/status', payload: Buffer.from('offline'), qos: 1, retain: true });
  });

  it('says what to do when there is none', () => {
    const problem = (code: number | string): string => problemOf(Object.assign(new Error('x'), { code }), SPEC);
    assert.match(problem(1), /choose the other version/);
    assert.match(problem(0x87), /user name, password/);
    assert.match(problem('ECONNREFUSED'), /address and port/);
    assert.match(problem('ENOTFOUND'), /check the address/);
    for (const code of [1, 5, 'X']) assert.doesNotMatch(problem(code), /u:p|\bp@/);
  });

  it('takes commands in their own words only', () => {
    const read = (topic: string, payload: string): unknown => readCommand('x', topic, payload);
    assert.deepEqual(read('nvr/x/panic/set', 'on'), { command: 'panic', on: true });
    assert.deepEqual(read('nvr/x/camera/front/recording/set', 'OFF'), {
      command: 'recording',
      camera: 'front',
      on: false,
    });
    assert.deepEqual(read('nvr/x/camera/front/snapshot/set', ''), { command: 'snapshot', camera: 'front' });
    for (const [topic, payload] of [
      ['nvr/x/panic/set', '1'],
      ['nvr/y/panic/set', 'ON'],
      ['nvr/x/camera/a/b/recording/set', 'ON'],
      ['nvr/x/camera/a/state', 'ON'],
    ]) {
      assert.equal(read(topic!, payload!), null);
    }
  });
});

describe("Home Assistant's discovery", () => {
  const OPTIONS = { prefix: 'homeassistant', site: 'plant.1', commands: true, version: '1.2.3' };
  /** Keys of the MQTT integrations as Home Assistant documents them, of those that we use. */
  const COMMON = [
    'name',
    'unique_id',
    'availability',
    'availability_mode',
    'device',
    'origin',
    'icon',
    'entity_category',
  ];
  const KEYS: Record<string, string[]> = {
    binary_sensor: ['state_topic', 'payload_on', 'payload_off', 'device_class', 'value_template'],
    switch: ['state_topic', 'command_topic', 'payload_on', 'payload_off', 'state_on', 'state_off'],
    button: ['command_topic', 'payload_press'],
    image: ['image_topic', 'content_type'],
  };

  it('uses only what Home Assistant documents', () => {
    const all = new Map([...nvrDiscovery(OPTIONS), ...cameraDiscovery(OPTIONS, { id: 'front', name: 'Front door' })]);
    const ids = new Set<string>();
    for (const [topic, config] of all) {
      const [, component, node, object] = /^homeassistant\/(\w+)\/([\w-]+)\/([\w-]+)\/config$/.exec(topic) ?? [];
      assert.ok(component && node && object, topic);
      for (const key of Object.keys(config))
        assert.ok([...COMMON, ...KEYS[component]!].includes(key), `${component}.${key}`);
      assert.ok(!ids.has(config.unique_id));
      ids.add(config.unique_id);
      assert.ok(config.device.identifiers.length > 0 && config.origin.name);
      assert.ok(config.availability.some((of) => of.topic === 'nvr/plant.1/status'));
    }
    const topics = [...all.keys()]
      .filter((topic) => topic.includes('/front_'))
      .map((topic) => topic.replace('homeassistant/', ''));
    assert.deepEqual(topics, [
      ...['binary_sensor/nvr_plant_1/front_motion/config', 'binary_sensor/nvr_plant_1/front_online/config'],
      ...['switch/nvr_plant_1/front_recording/config', 'button/nvr_plant_1/front_snapshot/config'],
      'image/nvr_plant_1/front_last_event/config',
    ]);
    const motion = all.get('homeassistant/binary_sensor/nvr_plant_1/front_motion/config')!;
    assert.deepEqual(
      [motion['state_topic'], motion['device_class'], motion.device.via_device],
      ['nvr/plant.1/camera/front/motion', 'motion', 'nvr_plant_1'],
    );
  });

  it('offers nothing to press where commands are not taken', () => {
    const all = [
      ...nvrDiscovery({ ...OPTIONS, commands: false }),
      ...cameraDiscovery({ ...OPTIONS, commands: false }, { id: 'a', name: '' }),
    ];
    assert.ok(
      all.every(([topic, config]) => !/\/(switch|button)\//.test(topic) && config['command_topic'] === undefined),
    );
  });
});

describe('what is missing of a clip', () => {
  it('is said with its cause', () => {
    const of = {
      gaps: [{ start: 0, end: 1500, cause: 'camera-offline' as const }],
      deleted: [{ start: 2000, end: 3000, reason: 'age' as const }],
      unscheduled: [],
    };
    assert.equal(
      missingText(of),
      'camera-offline (00:00:00.000 to 00:00:01.500 UTC), deleted by age (00:00:02.000 to 00:00:03.000 UTC)',
    );
    assert.equal(missingText({ gaps: [], deleted: [], unscheduled: [] }), '');
  });
});

describe('the ids of events that are told', () => {
  it('are the same for what says the same, and for nothing else', () => {
    const event: IndexedEvent = {
      ...{ type: 'external', kind: 'external', phase: 'update', eventId: 'e', correlationId: null, source: null },
      ...{ cameras: [], start: 0, end: null, sourceTime: null, uncertaintyMs: 0, preMs: 0, postMs: 0, label: 'a' },
      ...{ severity: 'info', zones: [], score: null, boxes: [], tags: [], notes: [], acknowledged: null },
      ...{ footage: [], problems: [] },
    };
    const note = (text: string): IndexedEvent['notes'] => [{ who: 'me', at: 1, text }];
    const told: Partial<IndexedEvent>[] = [
      ...[{}, { severity: 'critical' as const }, { end: 5 }, { phase: 'complete' as const }],
      ...['a', 'b'].map((text) => ({ phase: 'annotated' as const, notes: note(text) })),
    ];
    const ids = told.map((of) => indexedRecord({ ...event, ...of }).id);
    assert.equal(new Set(ids).size, told.length);
    assert.deepEqual(
      told.map((of) => indexedRecord({ ...event, ...of, problems: ['another'] }).id),
      ids,
    );
  });
});
