import assert from 'node:assert/strict';
import fc from 'fast-check';
import { filterOf, isFiltered, matches, NO_FILTER, paramsOf } from '../../dashboard/alerts/filter.ts';
import { PagedList, reaches, type Listed, type Wanted } from '../../dashboard/alerts/paged-list.ts';
import { scrollToRow, visibleRows } from '../../dashboard/shared/virtual-rows.ts';
import {
  addDays,
  availability,
  causesOf,
  coverageCsv,
  gradeOf,
  percent,
} from '../../dashboard/system/coverage-report.ts';
import { fillingByDay } from '../../dashboard/system/forecast.ts';
import { LogLines } from '../../dashboard/system/log-lines.ts';
import { LogRing } from '../../engine/diagnostics/log-ring.ts';
import type { EventRecord } from '../../engine/events/types.ts';

describe('rows on the screen', () => {
  const view = fc.record({
    scrollTop: fc.integer({ min: -100, max: 10_000_000 }),
    height: fc.integer({ min: 1, max: 4000 }),
    rowHeight: fc.integer({ min: 8, max: 400 }),
    rows: fc.integer({ min: 0, max: 100_000 }),
    overscan: fc.integer({ min: 0, max: 10 }),
  });

  it('are all that can be seen, and few more', () => {
    fc.assert(
      fc.property(view, (of) => {
        const { first, end, top, total } = visibleRows(of);
        const at = Math.max(0, Math.min(of.scrollTop, total - of.height));
        assert.ok(first >= 0 && end <= of.rows && first <= end);
        assert.equal(top, first * of.rowHeight);
        for (const edge of [at, Math.min(total, at + of.height) - 1]) {
          const row = Math.floor(edge / of.rowHeight);
          if (edge >= 0 && edge < total) assert.ok(row >= first && row < end, `${row} of ${first}..${end}`);
        }
        assert.ok(end - first <= Math.ceil(of.height / of.rowHeight) + 1 + 2 * of.overscan);
      }),
    );
  });

  it('are scrolled to no further than needed', () => {
    fc.assert(
      fc.property(view, fc.nat(), (of, any) => {
        fc.pre(of.rows > 0 && of.scrollTop >= 0 && of.height >= of.rowHeight);
        const row = any % of.rows;
        const to = scrollToRow(row, of);
        assert.ok(row * of.rowHeight >= to && (row + 1) * of.rowHeight <= to + of.height);
        if (row * of.rowHeight >= of.scrollTop && (row + 1) * of.rowHeight <= of.scrollTop + of.height)
          assert.equal(to, of.scrollTop);
      }),
    );
  });
});

/** Newest first; of one millisecond the one that came last. The ids are no help. */
const newestFirst = (a: Listed, b: Listed): number => b.start - a.start || came(b) - came(a);
const came = ({ eventId }: Listed): number => Number(eventId.split('-')[1]);

/** The server: all that there is, newest first, in pages from a cursor on. */
class Server {
  events: Listed[] = [];
  readonly pageSize: number;

  constructor(pageSize: number) {
    this.pageSize = pageSize;
  }

  add(start: number): Listed {
    const event = { eventId: `${(this.events.length * 7919) % 10_007}-${this.events.length}`, start };
    this.events.push(event);
    return event;
  }

  page(cursor: string | null, before: number | null): { items: Listed[]; cursor: string | null } {
    const from = cursor === null ? null : (JSON.parse(cursor) as Listed);
    const items = this.events
      .filter((event) => (before === null || event.start < before) && (!from || newestFirst(event, from) > 0))
      .sort(newestFirst)
      .slice(0, this.pageSize);
    return { items, cursor: items.length === this.pageSize ? JSON.stringify(items.at(-1)) : null };
  }

  /** As the page does it. */
  answer({ cursor, before, upTo }: Wanted): { items: Listed[]; cursor: string | null } {
    let page = this.page(cursor, before);
    const items = [...page.items];
    while (upTo && page.cursor && !reaches(items, upTo)) {
      page = this.page(page.cursor, before);
      items.push(...page.items);
    }
    return { items, cursor: page.cursor };
  }
}

describe('the list of alerts', () => {
  const PAGE = 5;
  const MAX_PAGES = 4;

  type Step = { do: 'look'; at: number } | { do: 'live'; age: number; top: boolean };
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({ do: fc.constant('look' as const), at: fc.integer({ min: 0, max: 130 }) }),
    fc.record({
      do: fc.constant('live' as const),
      age: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, fc.integer({ min: 0, max: 120 })),
      top: fc.boolean(),
    }),
  );

  it('is in order, without repeats, bounded and complete, wherever one looks and whatever comes meanwhile', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 120 }), fc.array(step, { maxLength: 60 }), (there, steps) => {
        const server = new Server(PAGE);
        for (let i = 0; i < there; i++) server.add(Math.floor(i / 2));
        let now = there;
        const list = new PagedList<Listed>(MAX_PAGES);
        const left = new Set<string>();
        const look = (first: number): void => {
          const end = first + 6;
          for (const want of list.wanted(first, end, PAGE)) list.accept(want, server.answer(want));
          list.release(first, end);
        };
        look(0);
        for (const one of steps) {
          if (one.do === 'look') {
            for (let tries = 0; tries < 40 && list.size < one.at && !list.complete; tries++) look(list.size);
            look(Math.min(one.at, Math.max(0, list.size - 6)));
            continue;
          }
          const event = server.add(Math.max(0, (one.age === 0 ? ++now : now) - one.age));
          const newest = list.at(0);
          const above = list.size === 0 || (newest !== undefined && event.start >= newest.start);
          if (!list.insert(event, one.top) && above) left.add(event.eventId);
        }
        const held = [...list];
        assert.deepEqual(held, [...held].sort(newestFirst));
        assert.equal(new Set(held.map(({ eventId }) => eventId)).size, held.length);
        assert.equal(list.held, held.length);
        const lives = steps.filter((one) => one.do === 'live').length;
        assert.ok(list.held <= (MAX_PAGES + 2) * PAGE + lives, `${list.held} held`);
        // From here on everything is read once: nothing that is not newer than the list is missing.
        const seen: Listed[] = [];
        for (let at = 0; ;) {
          look(at);
          const event = list.at(at);
          if (!event) break;
          seen.push(event);
          at++;
        }
        assert.deepEqual(seen, [...seen].sort(newestFirst));
        assert.equal(new Set(seen.map(({ eventId }) => eventId)).size, seen.length);
        const wanted = server.events.filter(({ eventId }) => !left.has(eventId)).sort(newestFirst);
        const top = seen[0];
        assert.deepEqual(
          seen.map(({ eventId }) => eventId),
          wanted.filter((event) => top && newestFirst(event, top) >= 0).map(({ eventId }) => eventId),
        );
      }),
      { numRuns: 300 },
    );
  });

  it('holds the place of what is dropped', () => {
    const server = new Server(10);
    for (let i = 0; i < 1000; i++) server.add(i);
    const list = new PagedList<Listed>(3);
    while (!list.complete) {
      for (const want of list.wanted(list.size, list.size + 5, 10)) list.accept(want, server.answer(want));
      list.release(list.size - 5, list.size);
      assert.ok(list.held <= 30);
    }
    assert.equal(list.size, 1000);
    assert.equal(list.at(3), undefined);
    for (const want of list.wanted(0, 10, 0)) list.accept(want, server.answer(want));
    assert.equal(list.at(3)?.start, 996);
  });

  it('takes changes of what it holds, and says when it has grown too long', () => {
    const list = new PagedList<Listed & { note?: string }>(3);
    const [want] = list.wanted(0, 1, 0);
    list.accept(want!, { items: [{ eventId: 'a', start: 5 }], cursor: null });
    assert.equal(
      list.update('a', (item) => ({ ...item, note: 'seen' })),
      true,
    );
    assert.equal(list.at(0)?.note, 'seen');
    assert.equal(
      list.update('b', (item) => item),
      false,
    );
    for (let i = 0; i < 40; i++) list.insert({ eventId: `n${i}`, start: 10 + i }, true);
    assert.equal(list.overgrown(10), true);
  });
});

describe('the filter of alerts', () => {
  const EVENT: EventRecord = {
    ...{ eventId: 'e1', kind: 'external', correlationId: 'lot-77', source: 'press-3', cameras: ['hall'], start: 1000 },
    ...{ end: 2000, sourceTime: null, uncertaintyMs: 0, preMs: 0, postMs: 0, label: 'Fault', severity: 'error' },
    ...{ zones: ['door'], score: null, boxes: [], tags: [{ name: 'pressure', value: 7.5 }], acknowledged: null },
    notes: [{ who: 'eva', at: 1, text: 'Checked the valve' }],
  };

  it('leaves in what it names', () => {
    const is = (filter: object): boolean => matches({ ...NO_FILTER, ...filter }, EVENT);
    assert.ok(is({}) && is({ cameras: ['yard', 'hall'] }) && is({ zones: ['door'] }) && is({ labels: ['Fault'] }));
    assert.ok(is({ open: true }) && is({ kinds: ['external'] }) && is({ severities: ['error'] }));
    for (const text of ['valve', 'PRESS', 'lot-77', 'check valv', '7.5', ' fault ']) assert.ok(is({ text }), text);
    assert.ok(is({ start: 1000, end: 1001 }));
    assert.ok(
      !is({ cameras: ['yard'] }) && !is({ kinds: ['motion'] }) && !is({ text: 'window' }) && !is({ end: 1000 }),
    );
    assert.ok(!matches({ ...NO_FILTER, open: true }, { ...EVENT, acknowledged: { who: 'eva', at: 1 } }));
  });

  it('comes from messages whatever they hold', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom(...Object.keys(NO_FILTER)), fc.jsonValue()), (given) => {
        const filter = filterOf(given);
        assert.equal(typeof matches(filter, EVENT), 'boolean');
        assert.equal(typeof isFiltered(filter), 'boolean');
        for (const value of Object.values(paramsOf(filter))) assert.ok(value === null || typeof value !== 'object');
      }),
    );
    assert.deepEqual(filterOf({ cameras: 'hall', kinds: ['motion', 'nonsense'], open: true }), {
      ...NO_FILTER,
      ...{ cameras: ['hall'], kinds: ['motion'], open: true },
    });
  });
});

describe('the coverage report', () => {
  const DAY = 86_400_000;
  const day = (missingMs: number, cause = 'stalled'): ReturnType<typeof addDays> => ({
    ...{ recordedMs: DAY - missingMs, missingMs, deletedMs: 0 },
    causes: missingMs > 0 ? { [cause]: missingMs } : {},
  });

  it('grades days by what was promised', () => {
    assert.equal(gradeOf(day(0), 0.999), 'whole');
    assert.equal(gradeOf(day(80_000), 0.999), 'kept');
    assert.equal(gradeOf(day(90_000), 0.999), 'missed');
    assert.equal(gradeOf(day(DAY), 0.999), 'lost');
    assert.equal(gradeOf({ recordedMs: 0, missingMs: 0 }, 0.999), 'none');
    assert.equal(availability(day(0)), 1);
  });

  it('never says more than is there', () => {
    assert.equal(percent(0.99996), '99.99');
    assert.equal(percent(1), '100.00');
    assert.equal(percent(0.999), '99.90');
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (share) => {
        assert.ok(Number(percent(share)) <= share * 100 + 1e-5);
        assert.ok(Number(percent(share)) > share * 100 - 0.0101);
      }),
    );
  });

  it('adds up, the worst cause first, and is written for spreadsheets', () => {
    const sum = addDays([day(1000), day(5000, 'camera-offline'), day(2000)]);
    assert.deepEqual(causesOf(sum), [
      ['camera-offline', 5000],
      ['stalled', 3000],
    ]);
    const csv = coverageCsv(
      {
        ...{ timeZone: 'Europe/Berlin', stream: 'main', days: [{ day: '2026-10-25', start: 0, end: 25 }] },
        cameras: [{ camera: '=cmd', days: [day(3600_000)] }],
      },
      0.999,
    );
    assert.equal(
      csv,
      'camera,day,time_zone,recorded_s,missing_s,deleted_s,availability_percent,kept,causes\r\n' +
        "'=cmd,2026-10-25,Europe/Berlin,82800.0,3600.0,0.0,95.833,no,stalled=3600.0\r\n",
    );
  });
});

describe('the forecast', () => {
  it('fills up to its limit and stays there', () => {
    const days = fillingByDay(0, 3 * 86_400, 1, 5);
    assert.deepEqual(
      days.map(({ usedBytes, full }) => [usedBytes / 86_400, full]),
      [
        [0, false],
        [1, false],
        [2, false],
        [3, true],
        [3, true],
        [3, true],
      ],
    );
    assert.equal(fillingByDay(10, null, 1, 1)[1]!.usedBytes, 86_410);
    assert.equal(fillingByDay(10, 5, 1, 1)[1]!.usedBytes, 5);
  });
});

describe('the lines of the log on the page', () => {
  it('are those of the server, in order, whichever way they were read', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom('say', 'say', 'say', 'after', 'before', 'restart'), { maxLength: 80 }),
        (steps) => {
          let ring = new LogRing(40);
          const lines = new LogLines(60);
          for (const step of steps) {
            if (step === 'say') ring.push({ at: 0, level: 'info', source: '', text: 'x' });
            else if (step === 'after') lines.append(ring.page({ after: lines.last, limit: 7 }));
            else if (step === 'restart') ring = new LogRing(40);
            else if (lines.first !== null) lines.prepend(ring.page({ before: lines.first, limit: 7 }));
          }
          const ids = lines.lines.map(({ id }) => id);
          assert.ok(ids.length <= 60);
          ids.slice(1).forEach((id, i) => assert.equal(id, ids[i]! + 1));
        },
      ),
    );
  });

  it('are filtered by how bad they are and by words', () => {
    const lines = new LogLines();
    const line = (id: number, level: 'info' | 'error', text: string) => ({
      id,
      at: 0,
      level,
      source: 'recorder:a',
      text,
    });
    lines.append({ lines: [line(1, 'info', 'Started'), line(2, 'error', 'Disk is full')], first: 1, last: 2 });
    assert.equal(lines.shown('info', '').length, 2);
    assert.deepEqual(
      lines.shown('warn', '').map(({ id }) => id),
      [2],
    );
    assert.deepEqual(
      lines.shown('info', 'RECORDER start').map(({ id }) => id),
      [1],
    );
  });
});
