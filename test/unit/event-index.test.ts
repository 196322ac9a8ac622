import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { guessClock, withSample } from '../../engine/events/clock.ts';
import {
  EventQuery,
  type EventCursor,
  type EventFilter,
  type EventPage,
  type FoundEvent,
} from '../../engine/events/event-query.ts';
import type { EventChange, IndexSpec } from '../../engine/events/event-store.ts';
import { readEvent, readNote, readTag, timeIn } from '../../engine/events/incoming.ts';
import { Indexer, type EventRequest, type ToldEvent } from '../../engine/events/indexer.ts';
import { laneOf, packSamples, unpackSamples, type Sample } from '../../engine/events/tag-block.ts';
import { TagReader } from '../../engine/events/tag-reader.ts';
import { timingOf } from '../../engine/events/timing.ts';
import { EVENT_KINDS, SEVERITIES } from '../../engine/events/types.ts';
import { DeletionStore } from '../../engine/retention/deletion-store.ts';
import { joined } from '../../engine/retention/event-holds.ts';
import { CatalogReader } from '../../engine/playback/catalog-reader.ts';
import { EngineError } from '../../engine/types.ts';

const T0 = Date.UTC(2026, 4, 4, 12);
const SPEC: IndexSpec = {
  ...{ node: 'index', preMs: 5000, postMs: 10_000, holdMs: 7 * 86_400_000, deadband: 0, keepMs: 400 * 86_400_000 },
  clock: { mode: 'trust', offsetMs: 0 },
};
const ALL: EventFilter = { start: 0, end: T0 * 2, cameras: null, types: EVENT_KINDS };

describe('events from wires', () => {
  it('are read, or refused with the reason', () => {
    const event = readEvent(
      {
        ...{ type: 'external', source: 'plc', sourceTime: '2026-05-04T14:00:00.5+02:00', correlationId: 7 },
        ...{ cameras: ['a', 'b', 'a'], label: 'jam', severity: 'error', tags: { speed: 1.5, on: true } },
      },
      undefined,
    );
    assert.deepEqual(
      [event?.sourceTime, event?.resolutionMs, event?.correlationId, event?.cameras, event?.tags],
      [
        T0 + 500,
        100,
        '7',
        ['a', 'b'],
        [
          { name: 'speed', value: 1.5 },
          { name: 'on', value: true },
        ],
      ],
    );
    const rows: [object, RegExp][] = [
      [{}, /type a undefined is no event/],
      [{ type: 'external', sourceTime: '2026-05-04T14:00:00' }, /no offset from UTC/],
      [{ type: 'external', sourceTime: 1_777_896_000 }, /milliseconds, not seconds/],
      [{ type: 'external', sourceTime: 'yesterday' }, /ISO 8601/],
      [{ type: 'external', sourceTime: '2026-13-45T99:00:00Z' }, /ISO 8601/],
      [{ type: 'external', label: 'x'.repeat(201) }, /label must have at most 200 characters, not 201/],
      [{ type: 'external', tags: Array(101).fill({ name: 'a', value: 1 }) }, /at most 100, not 101/],
      [{ type: 'external', tags: [{ name: 'a', value: NaN }] }, /its value must be/],
      [{ type: 'external', cameras: ['../x'] }, /no id of a camera/],
      [{ type: 'external', preMs: -1 }, /preMs must be a number from 0/],
      [{ type: 'external', severity: 'bad' }, /severity must be info, warning/],
      [{ type: 'external', phase: 'over' }, /phase must be/],
      [{ type: 'motion', eventId: 'x' }, /names no camera/],
      [{ type: 'motion', camera: 'a', phase: 'start' }, /needs its eventId/],
      [{ type: 'gap', camera: 'a' }, /gapId and cause/],
    ];
    for (const [fields, expected] of rows) {
      assert.throws(
        () => readEvent(fields as never, undefined),
        (error) => error instanceof EngineError && expected.test(error.message),
        JSON.stringify(fields).slice(0, 80),
      );
    }
    assert.equal(readEvent({ type: 'camera', camera: 'a', state: 'connecting', since: T0 }, undefined), null);
    assert.throws(() => readTag({ name: 'a,b', value: 1 }), /no commas/);
    assert.throws(() => readTag({ name: 'a', value: 'on' }), /must be a number/);
    assert.throws(() => readNote({ text: ' ' }), /needs a text/);
  });

  it('never do anything but be read or refused, whatever comes', () => {
    const names = [
      'type',
      'phase',
      'eventId',
      'correlationId',
      'source',
      'sourceTime',
      'sourceEndTime',
      'cameras',
      'camera',
      'label',
      'severity',
      'zones',
      'score',
      'boxes',
      'tags',
      'preMs',
      'postMs',
      'start',
      'end',
      'time',
      'since',
      'state',
      'name',
      'value',
      'unit',
      'text',
      'who',
    ];
    const value = fc.oneof(
      ...[fc.anything(), fc.string(), fc.double(), fc.integer()],
      fc.constantFrom(
        'external',
        'motion',
        'camera',
        'gap',
        'recording',
        'tag',
        'onvif-event',
        'start',
        'end',
        'a',
        T0,
        '2026-05-04T12:00:00Z',
        null,
      ),
    );
    const fields = fc.dictionary(fc.constantFrom(...names), value, { maxKeys: 12 });
    fc.assert(
      fc.property(fields, value, (of, camera) => {
        for (const read of [
          () => readEvent(of, camera),
          () => readTag(of),
          () => readNote(of),
          () => timeIn(of, 'time'),
        ]) {
          try {
            const event = read();
            if (event && 'cameras' in event) JSON.stringify(event);
          } catch (error) {
            assert.ok(error instanceof EngineError && error.code === 'bad-event', String(error));
          }
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('clocks of sources', () => {
  it('are learned from what comes soonest, and one wild time does not decide', () => {
    const late = [400, 90, 3_600_000, 120, 95, 250, 1000, 91, 300, 92].map((delay) => 7000 + delay);
    const samples = [...late, -500_000].reduce<number[]>((all, one) => withSample(all, one), []);
    const guess = guessClock(samples)!;
    assert.equal(guess.offsetMs, 7090);
    assert.ok(guess.uncertaintyMs > 0 && guess.uncertaintyMs < 400, `${guess.uncertaintyMs}`);
    assert.equal(guessClock([1, 2]), null);
    fc.assert(
      fc.property(
        fc.array(fc.nat(5000), { minLength: 8, maxLength: 100 }),
        fc.integer({ min: -1e9, max: 1e9 }),
        (delays, offset) => {
          const all = delays.reduce<number[]>((list, delay) => withSample(list, offset + delay), []);
          const { offsetMs } = guessClock(all)!;
          const kept = delays.slice(-32).sort((a, b) => a - b);
          assert.equal(offsetMs, offset + kept[1]!);
        },
      ),
    );
  });

  it('set when an event was, and what is wrong is said', () => {
    const event = readEvent({ type: 'external', sourceTime: T0 }, undefined)!;
    const trust = { mode: 'trust' as const, offsetMs: 0 };
    assert.deepEqual(timingOf(event, trust, null, T0 + 60_000), {
      ...{ start: T0, end: T0, sourceTime: T0, uncertaintyMs: 1, problems: [] },
    });
    assert.equal(timingOf(event, { mode: 'fixed', offsetMs: -3000 }, null, T0).start, T0 - 3000);
    assert.equal(
      timingOf({ ...event, clockOffsetMs: -1000 }, { mode: 'fixed', offsetMs: -3000 }, null, T0).start,
      T0 - 1000,
    );
    const learned = timingOf(event, { mode: 'learn', offsetMs: 0 }, { offsetMs: 5000, uncertaintyMs: 30 }, T0 + 9000);
    assert.deepEqual([learned.start, learned.uncertaintyMs], [T0 + 5000, 31]);
    const ahead = timingOf(event, trust, null, T0 - 60_000);
    assert.deepEqual([ahead.start, ahead.uncertaintyMs], [T0 - 60_000, 60_000]);
    assert.match(ahead.problems[0]!, /60 s in the future/);
  });
});

describe('the event index', function () {
  this.timeout(30_000);
  let folder: string;
  let catalog: Catalog;
  let query: EventQuery;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-events-'));
    catalog = Catalog.open(join(folder, 'c.sqlite'));
    for (const camera of ['a', 'b']) catalog.db.prepare('INSERT INTO camera (key) VALUES (?)').run(camera);
    query = new EventQuery((text) => catalog.sql(text));
  });
  afterEach(() => {
    catalog.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const put = (fields: object, arrival = T0, spec = SPEC): EventChange | null =>
    catalog.transaction(() =>
      catalog.events.put(
        readEvent({ type: 'external', ...fields }, undefined)!,
        spec,
        (id) => id === 'a' || id === 'b',
        arrival,
      ),
    );
  const found = (filter: Partial<EventFilter>): (string | null)[] =>
    query.page({ ...ALL, ...filter }, null, 100).events.map(({ label }) => label);

  it('stores an event once, however often it comes', () => {
    const first = put({ source: 'plc', correlationId: 'x', label: 'jam', cameras: ['a', 'b'] })!;
    assert.equal(first.phase, 'indexed');
    assert.equal(put({ source: 'plc', correlationId: 'x', label: 'jam', cameras: ['a', 'b'] }, T0 + 5), null);
    assert.equal(put({ source: 'other', correlationId: 'x', label: 'jam2' })!.phase, 'indexed');
    const changed = put({ source: 'plc', correlationId: 'x', severity: 'error', phase: 'update' })!;
    assert.deepEqual([changed.phase, changed.record.severity, changed.record.label], ['update', 'error', 'jam']);
    assert.equal(changed.record.eventId, first.record.eventId);
    assert.deepEqual(found({}), ['jam2', 'jam']);
    assert.deepEqual(found({ severities: ['error'] }), ['jam']);
    assert.deepEqual(found({ severities: ['info'] }), ['jam2']);
  });

  it('takes start and end of what lasts', () => {
    put({ correlationId: 'x', phase: 'start', cameras: ['a'] });
    const end = put({ correlationId: 'x', phase: 'end', sourceTime: T0 + 5000 }, T0 + 5000)!;
    assert.deepEqual([end.record.start, end.record.end], [T0, T0 + 5000]);
    assert.equal(catalog.db.prepare('SELECT due_ms FROM event').pluck().get(), T0 + 15_000);
  });

  it('makes the node the teller of what the recorder noticed', () => {
    const noticed = {
      id: 'm',
      type: 'motion',
      camera: 'a',
      source: 'n',
      start: T0,
      end: null,
      data: { score: 1, zones: ['door'] },
    };
    assert.equal(catalog.events.notice(noticed)!.node, null);
    const claimed = put({ type: 'motion', eventId: 'm', phase: 'start', camera: 'a', start: T0, end: null, score: 1 })!;
    assert.deepEqual(
      [claimed.phase, claimed.node, claimed.record.preMs, claimed.record.zones],
      ['indexed', 'index', 5000, ['door']],
    );
    const ended = catalog.events.notice({ ...noticed, end: T0 + 1, data: { score: 3 } })!;
    assert.deepEqual([ended.node, ended.record.score, ended.record.postMs], ['index', 3, 10_000]);
    assert.equal(
      put({ type: 'motion', eventId: 'm', phase: 'end', camera: 'a', start: T0, end: T0 + 1, score: 3 }),
      null,
    );
  });

  it('holds footage of external events until it is released, or the time is over', () => {
    const store = new DeletionStore(catalog.db);
    const { record } = put({ cameras: ['a', 'b'], preMs: 1000, postMs: 2000 })!;
    put({ type: 'motion', camera: 'a' });
    const ranges = (now: number): [string | null, number, number][] =>
      store.kept(now).map(({ camera, start, end }) => [camera, start - T0, end - T0]);
    assert.deepEqual(ranges(T0), [
      ['a', -1000, 2000],
      ['b', -1000, 2000],
    ]);
    assert.deepEqual(ranges(T0 + SPEC.holdMs), []);
    catalog.events.releaseHold(record.eventId);
    catalog.events.releaseHold(record.eventId);
    catalog.events.releaseHold('nothing');
    assert.deepEqual(ranges(T0), []);
  });

  it('gives plans few ranges of many holds, which cover them all', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1e9), fc.integer({ min: 1, max: 60_000 })), { maxLength: 2000 }), (all) => {
        const ranges = all.map(([start, length]) => ({ start, end: start + length })).sort((a, b) => a.start - b.start);
        const few = joined(ranges);
        assert.ok(few.length <= 200);
        for (const { start, end } of ranges) assert.ok(few.some((range) => range.start <= start && range.end >= end));
      }),
      { numRuns: 50 },
    );
  });

  const matches = (of: FoundEvent, by: Partial<EventFilter>): boolean => {
    const tags = of.tags.flatMap(({ name, value }) => [name, `${value}`]);
    const text = [of.label, ...tags, ...of.notes.map((note) => note.text)]
      .join(' ')
      .toLowerCase()
      .normalize('NFD')
      .replace(/\p{M}/gu, '');
    const words = text.split(' ');
    const hasWord = (word: string): boolean =>
      word.endsWith('*') ? words.some((one) => one.startsWith(word.slice(0, -1))) : words.includes(word);
    const { region: r } = by;
    return (
      (!by.types || by.types.includes(of.kind)) &&
      (!by.cameras || of.cameras.some((camera) => by.cameras!.includes(camera))) &&
      (!by.labels || by.labels.includes(of.label!)) &&
      (!by.severities || by.severities.includes(of.severity)) &&
      (!by.zones || of.zones.some((zone) => by.zones!.includes(zone))) &&
      (by.acknowledged === undefined || (of.acknowledged !== null) === by.acknowledged) &&
      (!by.text || by.text.toLowerCase().split(' ').every(hasWord)) &&
      of.start >= (by.start ?? 0) &&
      of.start < (by.end ?? Infinity) &&
      (!r ||
        of.boxes.some(
          (b) => b.x < r.x + r.width && b.x + b.width > r.x && b.y < r.y + r.height && b.y + b.height > r.y,
        ))
    );
  };
  /** All pages of what a filter finds. */
  const walk = (by: Partial<EventFilter>, limit: number): string[] => {
    const seen: string[] = [];
    let cursor: EventCursor | null = null;
    do {
      const page = query.page({ ...ALL, ...by }, cursor, limit);
      assert.ok(page.events.length <= limit);
      seen.push(...page.events.map(({ id }) => id));
      ({ cursor } = page);
    } while (cursor);
    return seen;
  };
  const looked = (everything: readonly FoundEvent[], by: Partial<EventFilter>): string[] => {
    const wanted = everything.filter((one) => matches(one, by)).map(({ id }) => id);
    return by.order === 'oldest' ? wanted.reverse() : wanted;
  };

  it('finds what a plain look at every event finds, page by page', () => {
    const labels = ['jam', 'door open', 'Tür öffnen'];
    const event = fc.record({
      ...{ type: fc.constantFrom('external', 'motion'), camera: fc.subarray(['a', 'b', 'strange'], { minLength: 1 }) },
      ...{ label: fc.constantFrom(...labels), time: fc.nat(20) },
      ...{ severity: fc.constantFrom(...SEVERITIES), zones: fc.subarray(['x', 'y z']), acknowledged: fc.boolean() },
      boxes: fc.array(
        fc.record({
          x: fc.constantFrom(0, 0.3, 0.55),
          y: fc.constantFrom(0, 0.6),
          width: fc.constantFrom(0.1, 0.4),
          height: fc.constant(0.3),
        }),
        { maxLength: 2 },
      ),
    });
    const filter = fc.record(
      {
        ...{
          cameras: fc.subarray(['a', 'b', 'strange'], { minLength: 1 }),
          labels: fc.subarray(labels, { minLength: 1 }),
        },
        ...{
          severities: fc.subarray([...SEVERITIES], { minLength: 1 }),
          zones: fc.subarray(['x', 'y z'], { minLength: 1 }),
        },
        ...{
          acknowledged: fc.boolean(),
          text: fc.constantFrom('jam', 'TUR', 'op*', 'door open', 'note', 'q*', 'qm*', 'j* note', 'd* O* n*'),
          types: fc.subarray(['motion', 'external', 'gap'] as const, { minLength: 1 }),
          order: fc.constantFrom('newest' as const, 'oldest' as const),
        },
        ...{ start: fc.integer({ min: T0, max: T0 + 10 }), end: fc.integer({ min: T0 + 5, max: T0 + 25 }) },
        region: fc.constant({ x: 0.5, y: 0.5, width: 0.2, height: 0.2 }),
      },
      { requiredKeys: [] },
    );
    let id = 0;
    fc.assert(
      fc.property(
        fc.array(event, { maxLength: 30 }),
        fc.array(filter, { minLength: 5, maxLength: 5 }),
        (events, filters) => {
          catalog.db.exec('DELETE FROM event_words; DELETE FROM event');
          for (const { camera, time, acknowledged, ...of } of events) {
            const { record } = put({ ...of, eventId: `${++id}`, cameras: camera, sourceTime: T0 + time }, T0 + 100)!;
            if (acknowledged) catalog.events.acknowledge(record.eventId, 'me', T0, null);
            if (time % 3 === 0) catalog.events.annotate(record.eventId, 'me', T0, 'a note', null);
          }
          const everything = query.page(ALL, null, 100).events;
          assert.equal(everything.length, events.length);
          for (const by of filters) {
            assert.deepEqual(walk(by, 4), looked(everything, by), JSON.stringify(by));
          }
        },
      ),
      { numRuns: 40 },
    );
  });

  it('finds the same whether words or rows are looked at, of many events', () => {
    let state = 7;
    const next = (): number => (state = (state * 16_807) % 2_147_483_647) / 2_147_483_647;
    const pick = (of: number): number => Math.floor(next() * of);
    catalog.transaction(() => {
      for (let i = 0; i < 8000; i++) {
        const machine = next() < 0.6;
        const zones = machine ? [] : [['x', 'y z'][pick(2)]!];
        const tags = [
          { name: 'common', value: `n${i}` },
          { name: 'station', value: pick(40) },
          // Words that come together leave more than their lists let expect.
          ...(machine && i % 3 === 0 ? [{ name: 'series', value: 'one two three four five six' }] : []),
        ];
        catalog.events.notice({
          ...{ id: `${i}`, type: machine ? 'external' : 'motion', camera: `cam${pick(6)}`, source: 'n' },
          ...{ start: T0 + Math.floor(i / 3) * 1000, end: T0 + i * 1000 },
          data: {
            ...{ label: machine ? `fault ${pick(12)}` : null, zones, tags },
            ...{
              severity: machine ? SEVERITIES[pick(4)] : 'info',
              boxes: machine ? [] : [{ x: next() * 0.8, y: 0, width: 0.2, height: 0.1 }],
            },
            ...(next() < 0.1 || (i % 3 === 0 && i > 90) ? { acknowledged: { who: 'me', at: T0 } } : {}),
          },
        });
      }
    });
    const everything: FoundEvent[] = [];
    for (let cursor: EventCursor | null = null; ;) {
      const page: EventPage = query.page(ALL, cursor, 500);
      everything.push(...page.events);
      if (!(cursor = page.cursor)) break;
    }
    assert.equal(everything.length, 8000);
    const [oldest, motion] = [{ order: 'oldest' }, { types: ['motion'] }] as const;
    const many = ['cam1', 'cam3', 'cam5'];
    const filters: Partial<EventFilter>[] = [
      { text: 'series one two three four five six', acknowledged: false },
      ...[{ text: 'n*' }, { text: 'n77*' }, { text: 'n7*', ...oldest }, { text: 'com*' }, { text: 'st* n1* 7' }],
      ...[
        { text: 'n1* n2*' },
        { text: 'q*' },
        { text: 'qx*' },
        { text: '1*', zones: ['x'] },
        { text: 'f*', ...motion },
      ],
      ...[
        { text: 'n12*', cameras: many, acknowledged: true },
        { text: 'N4321' },
        { text: 'common station', ...oldest },
      ],
      ...[
        { ...motion, severities: ['critical'] as const },
        { ...motion, acknowledged: true, cameras: many },
      ],
      ...[{ severities: ['error', 'info'] as const, types: ['external'] as const, cameras: many, ...oldest }],
      ...[
        { zones: ['x'], labels: ['fault 3'] },
        { labels: ['fault 3'], text: 'station 17' },
      ],
      { labels: ['fault 3'], severities: ['error'], acknowledged: true, text: 'station 1*', cameras: many, ...oldest },
      { region: { x: 0, y: 0, width: 1, height: 1 }, cameras: ['cam2'] },
      { region: { x: 0.8, y: 0, width: 0.01, height: 0.01 }, zones: ['y z'], text: 'station' },
      { start: T0 + 1_000_000, end: T0 + 1_500_000, text: 'n* 5', acknowledged: false },
    ];
    for (const by of filters) assert.deepEqual(walk(by, 150), looked(everything, by), JSON.stringify(by));
    assert.equal(query.page({ ...ALL, text: 'q*' }, null, 50).events.length, 0);
    assert.equal(query.page({ ...ALL, text: 'n*' }, null, 50).events.length, 50);
  });

  it('merges recordings and gaps of the same time in either order', () => {
    for (let i = 0; i < 20; i++) {
      const start = T0 + Math.floor(i / 4);
      put({ label: `${i}`, sourceTime: start, cameras: ['a'] }, T0 + 100);
      catalog.openGap({ id: 100 + i, camera: 'a', stream: 'main', start, end: start + 10, cause: 'stalled' });
      catalog.startRecording({ id: `rec-${i}`, camera: 'a', stream: 'main', trigger: 'event', startMs: start });
    }
    const walk = (order: 'newest' | 'oldest'): string[] => {
      const seen: string[] = [];
      let cursor: EventCursor | null = null;
      do {
        const page = query.page({ ...ALL, order }, cursor, 7);
        seen.push(...page.events.map(({ id }) => id));
        ({ cursor } = page);
      } while (cursor);
      return seen;
    };
    const newest = walk('newest');
    assert.equal(new Set(newest).size, 60);
    assert.deepEqual(walk('oldest'), newest.reverse());
    assert.equal(query.page({ ...ALL, labels: ['3'] }, null, 50).events.length, 1);
  });

  it('acknowledges once, and takes notes up to a bound', () => {
    const { record } = put({ label: 'x' })!;
    assert.deepEqual(catalog.events.acknowledge(`e${record.eventId}`, 'me', T0, 'other')!.record.acknowledged, {
      who: 'me',
      at: T0,
    });
    assert.equal(catalog.events.acknowledge(record.eventId, 'you', T0 + 1, null), null);
    for (let i = 0; i < 50; i++) catalog.events.annotate(record.eventId, 'me', T0, `note${i}`, null);
    assert.throws(() => catalog.events.annotate(record.eventId, 'me', T0, 'more', null), /at most 50/);
    assert.throws(() => catalog.events.acknowledge('none', 'me', T0, null), { code: 'not-found' });
    assert.deepEqual(found({ text: 'note49' }), ['x']);
  });

  it('forgets old events whose footage is gone, and no others', () => {
    const day = 86_400_000;
    for (const [label, at] of [
      ['old', T0 - 500 * day],
      ['kept', T0 - 450 * day],
      ['new', T0 - day],
    ] as const) {
      put({ label, sourceTime: at, cameras: ['a'] });
    }
    const segment = {
      camera: 'a',
      stream: 'main' as const,
      storage: '/s',
      path: 'p',
      recordingId: null,
      init: Buffer.from('i'),
    };
    catalog.openSegment({ ...segment, startMs: T0 - 450 * day - 1000, startTicks: 0 });
    catalog.closeSegment({
      storage: '/s',
      path: 'p',
      endMs: T0 - 450 * day,
      bytes: 1,
      frames: 1,
      gops: Buffer.alloc(1),
    });
    assert.equal(catalog.events.prune(T0 - 400 * day, 100), 1);
    assert.deepEqual(found({}), ['new', 'kept']);
    assert.deepEqual(found({ text: 'old' }), []);
    assert.equal(catalog.db.prepare('SELECT count(*) FROM event_hold').pluck().get(), 2);
  });

  it('ends what a crash left open, but no alarm of a machine', () => {
    catalog.events.notice({
      id: 'm',
      type: 'motion',
      camera: 'a',
      source: 'n',
      start: T0,
      end: null,
      data: { last: T0 + 7 },
    });
    put({ correlationId: 'alarm', phase: 'start', cameras: ['a'] });
    const [cut, ...more] = catalog.events.endOpen(T0 + 99);
    assert.deepEqual([cut?.id, cut?.end, more.length], ['m', T0 + 7, 0]);
    assert.equal(catalog.db.prepare('SELECT count(*) FROM event WHERE end_ms IS NULL').pluck().get(), 1);
  });

  it('takes events of an older catalogue with it', () => {
    catalog.db.exec(`INSERT INTO event (row, id, type, camera_id, source, start_ms, end_ms, data)
      VALUES (${T0 * 1024}, 'old', 'motion', 1, 'n', ${T0}, ${T0 + 5}, '{"zones":["door"]}')`);
    assert.equal(catalog.events.indexOld(10), false);
    assert.equal(query.page({ ...ALL, zones: ['door'], cameras: ['a'] }, null, 10).events[0]?.eventId, 'old');
  });

  it('finds events by the words of an older catalogue until they have those of today', () => {
    const labels = ['jam', 'door', 'Tür'];
    for (let i = 0; i < 12; i++) {
      put({ label: labels[i % 3], sourceTime: T0 - i, cameras: [i % 2 ? 'a' : 'b'], severity: SEVERITIES[i % 4] });
    }
    const everything = query.page(ALL, null, 100).events;
    const hash = (name: string): string => createHash('sha1').update(name).digest('hex').slice(0, 14);
    const rows = catalog.db.prepare('SELECT row, id FROM event').all() as { row: number; id: string }[];
    for (const { row, id } of rows) {
      const { kind, cameras, label, severity } = everything.find(({ eventId }) => eventId === id)!;
      const facets = [`qk0${hash(kind)}`, `qc0${hash(cameras[0]!)}`, `ql0${hash(label!)}`, 'qa00'];
      const words = [...facets, `qs0${SEVERITIES.indexOf(severity)}`, label].join(' ');
      catalog.db.prepare('DELETE FROM event_words WHERE rowid = CAST(? AS INTEGER)').run(row);
      catalog.db.prepare('INSERT INTO event_words (rowid, words) VALUES (CAST(? AS INTEGER), ?)').run(row, words);
    }
    catalog.db.prepare('INSERT INTO event_reword SELECT max(row) + 1 FROM event').run();
    const filters: Partial<EventFilter>[] = [
      ...[{}, { text: 'jam' }, { text: 'd*' }, { text: 'q*' }, { text: 'tur', order: 'oldest' as const }],
      ...[
        { cameras: ['a'], severities: ['error' as const] },
        { labels: ['door'], types: ['external' as const] },
      ],
      { types: ['motion'] },
    ];
    for (let more = true; more;) {
      for (const by of filters) assert.deepEqual(walk(by, 3), looked(everything, by), JSON.stringify(by));
      more = catalog.transaction(() => catalog.events.indexOld(5));
    }
    for (const by of filters) assert.deepEqual(walk(by, 3), looked(everything, by), JSON.stringify(by));
    assert.equal(catalog.db.prepare('SELECT count(*) FROM event_reword').pluck().get(), 0);
    assert.deepEqual(found({ text: 'qk0*' }), []);
  });

  describe('in batches', () => {
    let now: number;
    let timers: (() => void)[];
    let told: ToldEvent[];
    let indexer: Indexer;
    beforeEach(() => {
      [now, timers, told] = [T0, [], []];
      indexer = new Indexer(catalog, {
        ...{ now: () => now, after: (_, call) => void timers.push(call), tell: (all) => told.push(...all) },
        ...{ problem: () => undefined, isFree: () => true },
      });
      void ask({ call: 'open', args: ['index', SPEC] });
    });
    const ask = (request: EventRequest): { answer: unknown } => {
      const box: { answer: unknown } = { answer: undefined };
      indexer.ask(request, (answer) => (box.answer = answer));
      return box;
    };
    const run = (): void => timers.splice(0).forEach((call) => call());
    const putOne = (fields: object): { answer: unknown } =>
      ask({ call: 'put', args: ['index', readEvent({ type: 'external', ...fields }, undefined)!, now] });

    it('writes those that are good, and answers each', () => {
      const asked = [
        putOne({ label: 'a', cameras: ['a'] }),
        ask({ call: 'annotate', args: ['none', '', 0, 'x', null] }),
        putOne({ label: 'b' }),
      ];
      assert.deepEqual(
        asked.map(({ answer }) => answer),
        [undefined, undefined, undefined],
        'nothing is answered before it is on disk',
      );
      run();
      assert.ok('result' in (asked[0]!.answer as object));
      assert.match(JSON.stringify(asked[1]!.answer), /not-found/);
      assert.deepEqual(
        told.map(({ event, node }) => [event.phase, event.label, node]),
        [
          ['indexed', 'a', 'index'],
          ['indexed', 'b', 'index'],
        ],
      );
      assert.equal(told[0]!.event.footage[0]!.state, 'pending');
    });

    it('acknowledges all that a query finds, a part at a time', () => {
      const box = (x: number): object => ({ boxes: [{ x, y: 0, width: 0.01, height: 0.01 }], cameras: ['a'] });
      catalog.transaction(() => {
        put({ ...box(0.02), label: 'oldest', sourceTime: T0 - 9000 });
        for (let i = 0; i < 2100; i++) put({ ...box(0.05), sourceTime: T0 - i });
      });
      const region = { x: 0.01, y: 0, width: 0.03, height: 0.01 };
      let after: EventCursor | null = null;
      let sum = 0;
      let rounds = 0;
      do {
        const asked = ask({ call: 'acknowledge', args: [{ ...ALL, region }, after, 'me', T0, null] });
        run();
        const { result } = asked.answer as { result: { acknowledged: number; next: EventCursor | null } };
        sum += result.acknowledged;
        after = result.next;
        rounds++;
      } while (after);
      assert.deepEqual([sum, rounds], [1, 3]);
      assert.deepEqual(found({ acknowledged: true }), ['oldest']);
    });

    it('tells when an event is complete until somebody heard it, also in the next run', () => {
      putOne({ cameras: ['a'], preMs: 1000, postMs: 4000 });
      run();
      told.length = 0;
      const live = {
        cameras: ['a'],
        open: [{ camera: 'a', stream: 'main' as const, start: T0 - 60_000, end: T0 + 3000 }],
      };
      indexer.tick(live);
      now = T0 + 4500;
      indexer.tick(live);
      assert.equal(told.length, 0, 'its end is not on disk yet');
      indexer.tick({ ...live, open: [{ ...live.open[0]!, end: T0 + 4000 }] });
      assert.deepEqual(
        told.map(({ event }) => [event.phase, event.footage[0]!.state]),
        [['complete', 'complete']],
      );
      indexer.tick({ ...live, open: [{ ...live.open[0]!, end: T0 + 4000 }] });
      assert.equal(told.length, 1);
      // A process that ended before it was heard.
      const next = new Indexer(catalog, {
        ...{
          now: () => now + 60_000,
          after: (_: number, call: () => void) => void timers.push(call),
          tell: (all: ToldEvent[]) => void told.push(...all),
        },
        ...{ problem: () => undefined, isFree: () => true },
      });
      next.tick({ cameras: [], open: [] });
      assert.equal(told.length, 1, 'its node is not there yet');
      next.ask({ call: 'open', args: ['index', SPEC] }, () => undefined);
      run();
      next.tick({ cameras: [], open: [] });
      assert.equal(told.length, 2);
      next.ask({ call: 'told', args: [[told[1]!.row]] }, () => undefined);
      run();
      next.tick({ cameras: [], open: [] });
      assert.equal(told.length, 2);
    });

    it('keeps what nodes wish to keep, and what they were not told, when they are not there for days', () => {
      const day = 86_400_000;
      const spec = { ...SPEC, keepMs: 3650 * day };
      const live = { cameras: ['a'], open: [] };
      const ids = (): unknown[] => catalog.db.prepare('SELECT id FROM event ORDER BY id').pluck().all();
      void ask({ call: 'open', args: ['index', spec] });
      putOne({ eventId: 'friday', cameras: ['a'] });
      putOne({ eventId: 'long ago', sourceTime: T0 - 500 * day, cameras: ['a'] });
      run();
      told.length = 0;
      now += 3 * day;
      indexer = new Indexer(catalog, {
        ...{ now: () => now, after: (_, call) => void timers.push(call), tell: (all) => told.push(...all) },
        ...{ problem: () => undefined, isFree: () => true },
      });
      indexer.tick(live);
      void ask({ call: 'open', args: ['index', spec] });
      run();
      indexer.tick(live);
      assert.deepEqual(told.map(({ event }) => `${event.eventId} ${event.phase}`).sort(), [
        'friday complete',
        'long ago complete',
      ]);
      // A Deploy, just when it is time to clean.
      for (const args of [['index', null] as const, ['index', { ...spec, keepMs: 400 * day }] as const]) {
        void ask({ call: 'open', args: [...args] });
        run();
        now += 30_000;
        indexer.tick(live);
        assert.deepEqual(ids(), ['friday', 'long ago']);
      }
      now += 60_000;
      indexer.tick(live);
      run();
      assert.deepEqual(ids(), ['friday'], 'its footage is gone, and it is older than is wished now');
    });

    it('leaves ended what has ended, whatever comes late', () => {
      const end = (): unknown => catalog.db.prepare("SELECT end_ms FROM event WHERE id = 'm'").pluck().get();
      const motion = (fields: object): void => {
        const payload = { type: 'motion', camera: 'a', eventId: 'm', start: T0, ...fields };
        void ask({ call: 'put', args: ['index', readEvent(payload, undefined)!, now] });
        run();
      };
      motion({ phase: 'start', end: null });
      motion({ phase: 'end', end: T0 + 3000 });
      motion({ phase: 'update', end: null });
      assert.equal(end(), T0 + 3000);
      const noticed = { id: 'm', type: 'motion', camera: 'a', source: null, start: T0, end: null, data: { score: 1 } };
      catalog.events.notice(noticed);
      assert.equal(end(), T0 + 3000);
    });

    it('takes fractions of milliseconds, and holds footage of a camera that has none yet', () => {
      indexer.tick({ cameras: ['new'], open: [] });
      const asked = putOne({ cameras: ['new'], preMs: 1500.5, postMs: 1000 / 3 });
      run();
      assert.ok('result' in (asked.answer as object), JSON.stringify(asked.answer));
      const holds = catalog.db.prepare('SELECT end_ms - start_ms FROM event_hold').pluck().all();
      assert.deepEqual(holds, [1501 + 333]);
    });
  });
});

describe('tags', () => {
  const samples = fc
    .array(
      fc.tuple(
        fc.nat(10_000_000),
        fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.integer(), fc.constantFrom(0, 1)),
      ),
      { maxLength: 200 },
    )
    .map((all) =>
      [...new Map(all)].map(([time, value]): Sample => ({ time: T0 + time, value })).sort((a, b) => a.time - b.time),
    );

  it('are packed without loss', () => {
    fc.assert(fc.property(samples, (all) => assert.deepEqual(unpackSamples(T0, packSamples(T0, all)), all)));
    assert.ok(
      packSamples(
        T0,
        Array.from({ length: 100 }, (_, i) => ({ time: T0 + i * 1000, value: i % 2 })),
      ).length <= 300,
    );
  });

  it('show every edge at any width', () => {
    fc.assert(
      fc.property(samples, fc.integer({ min: 1, max: 500 }), (all, width) => {
        const range = { start: T0 + 2_000_000, end: T0 + 8_000_000 };
        const lane = laneOf(all, range, width);
        const inside = all.filter(({ time }) => time >= range.start && time < range.end);
        assert.ok(lane.length <= width + 1);
        for (const { value } of inside) assert.ok(lane.some(([, min, max]) => value >= min && value <= max));
        if (inside.length > 0) assert.equal(lane.at(-1)![3], inside.at(-1)!.value);
        const before = all.findLast(({ time }) => time < range.start);
        if (before && inside[0]?.time !== range.start)
          assert.deepEqual(lane[0], [range.start, before.value, before.value, before.value]);
      }),
    );
  });

  it('are kept where they change, in whatever order they come', () => {
    const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-tags-'));
    const catalog = Catalog.open(join(folder, 'c.sqlite'));
    try {
      const tag = { source: 's', name: 'n', unit: 'm' };
      const put = (time: number, value: number | boolean, deadband = 0, name = 'n'): boolean =>
        catalog.tags.put({ ...tag, name, value, time }, deadband, T0 + 1e9);
      assert.deepEqual(
        [put(T0, 1), put(T0 + 1000, 1), put(T0 + 2000, 1.4, 0.5), put(T0 + 3000, 2, 0.5), put(T0 + 3_600_000, 2)],
        [true, false, false, true, true],
      );
      const times = Array.from({ length: 2000 }, (_, i) => T0 + ((i * 7919) % 2000) * 5000);
      for (const time of times) put(time, time - T0 + 1, 0, 'many');
      const reader = new TagReader(new CatalogReader(join(folder, 'c.sqlite')));
      const [lane] = reader.lanes(['many'], { start: T0, end: T0 + 1e8 }, 100_000);
      assert.deepEqual(
        lane!.points.map(([time, , , value]) => [time, value]),
        [...times].sort((a, b) => a - b).map((time) => [time, time - T0 + 1]),
      );
      assert.deepEqual(
        reader.tags().map(({ name, unit, kind }) => [name, unit, kind]),
        [
          ['many', 'm', 'number'],
          ['n', 'm', 'number'],
        ],
      );
      assert.deepEqual(reader.lanes(['s:n'], { start: T0 + 4000, end: T0 + 5000 }, 10)[0]!.points, [
        [T0 + 4000, 2, 2, 2],
      ]);
      assert.throws(() => put(T0 + 2e9, 1), /future/);
    } finally {
      catalog.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
