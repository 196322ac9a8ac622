import assert from 'node:assert/strict';
import fc from 'fast-check';
import { AHEAD_MS, isEmergency } from '../../engine/retention/room.ts';
import { applicable, forecast, limitsOf, plan, planFrom } from '../../engine/retention/rules.ts';
import { MARGIN_MS, sourceOf, type Happening } from '../../engine/retention/source.ts';
import {
  KINDS,
  type DeletionReason,
  type Hold,
  type Planned,
  type Rule,
  type RuleSet,
  type Segment,
  type Space,
} from '../../engine/retention/types.ts';

const DAY = 86_400_000;
const NOW = 100 * DAY;
const CAMERAS = ['a', 'b', 'c'];
const FOLDERS = ['/one', '/two'];

const segment = (id: number, of: Partial<Segment>): Segment => ({
  ...{ id, camera: 'a', storage: '/one', start: NOW - id * DAY, bytes: 10, kind: 'continuous' },
  end: (of.start ?? NOW - id * DAY) + 60_000,
  ...of,
});
const space = (of: Partial<Space> = {}): Space => ({
  ...{ storage: '/one', disk: 'd', freeBytes: 1e9, totalBytes: 2e9, bytesPerSecond: 0 },
  ...of,
});
const hold = (of: Partial<Hold>): Hold => ({
  ...{ id: 'h', name: 'case', camera: null, start: 0, end: NOW, until: null, who: '', why: '', created: 0 },
  ...of,
});
const ids = (items: readonly Planned[]): number[] => items.map(({ id }) => id);
const rule = (keep: Rule['keep'], of: Partial<Rule> = {}): Rule => ({ id: 'r', cameras: '*', keep, ...of });

describe('retention rules', () => {
  it('keep each kind for its time, better kinds never shorter', () => {
    const rows: [Rule[], string, number[]][] = [
      [[], 'a', [Infinity, Infinity, Infinity]],
      [[rule({ continuousMs: 5 })], 'a', [5, 5, 5]],
      [[rule({ continuousMs: 5, eventMs: 9 })], 'a', [5, 5, 9]],
      [[rule({ continuousMs: 5, motionMs: 3 })], 'a', [5, 5, 5]],
      [[rule({ eventMs: 9 })], 'a', [Infinity, Infinity, Infinity]],
      [[rule({ continuousMs: 5 }, { cameras: ['b'] })], 'a', [Infinity, Infinity, Infinity]],
      // Of several rules the one that keeps longest counts.
      [[rule({ continuousMs: 5 }), rule({ continuousMs: 2, motionMs: 8 }, { cameras: ['a'] })], 'a', [5, 8, 8]],
      [[rule({}, { thin: { afterMs: 4, keep: 'motion' } })], 'a', [4, Infinity, Infinity]],
      [[rule({ continuousMs: 9 }, { thin: { afterMs: 4, keep: 'events' } })], 'a', [4, 4, 9]],
    ];
    for (const [rules, camera, expected] of rows) {
      const limits = limitsOf(rules, camera);
      assert.deepEqual(
        KINDS.map((kind) => limits[kind].ms),
        expected,
      );
    }
  });

  it('delete what is too old, say whether by age or thinning, and leave alone what is held', () => {
    const rules = {
      rules: [rule({ continuousMs: 20 * DAY }, { thin: { afterMs: 5 * DAY, keep: 'motion' } })],
    };
    const segments = [
      segment(1, {}),
      segment(10, {}),
      segment(11, { kind: 'motion' }),
      segment(30, { kind: 'event' }),
      segment(31, { camera: 'b' }),
    ];
    const held = [hold({ camera: 'b', start: NOW - 31 * DAY + 59_000, end: NOW - 30 * DAY })];
    const { items } = plan(segments, rules, held, NOW, [space()]);
    assert.deepEqual(
      items.map(({ id, reason }) => [id, reason]),
      [
        [30, 'age'],
        [10, 'thin'],
      ],
    );
  });

  it('in an emergency take continuous footage first, whatever its age, and say when there is nothing to take', () => {
    const segments = [
      segment(9, { kind: 'event', bytes: 1000 }),
      segment(8, { kind: 'motion', bytes: 1000 }),
      segment(2, { camera: 'b', bytes: 1000 }),
      segment(1, { bytes: 1000 }),
    ];
    const low = [space({ freeBytes: 1600, bytesPerSecond: 1 })];
    assert.ok(isEmergency(low));
    assert.deepEqual(ids(plan(segments, { rules: [] }, [], NOW, low).items), [2, 1]);
    const worse = plan(segments, { rules: [] }, [hold({ camera: 'b' })], NOW, [
      space({ freeBytes: 0, bytesPerSecond: 1 }),
    ]);
    assert.deepEqual(ids(worse.items), [1, 8, 9]);
    assert.equal(worse.blocked, true);
    // Folders of one disk share its room.
    assert.ok(
      isEmergency([space({ freeBytes: 4000, bytesPerSecond: 1 }), space({ storage: '/two', bytesPerSecond: 1 })]),
    );
    assert.ok(!isEmergency([space({ freeBytes: null, bytesPerSecond: 1 })]));
  });

  it('leave out shares of all disks while one that is in use is not known, and nothing else', () => {
    const bytes = { quotaBytes: 30 };
    const set: RuleSet = {
      rules: [rule({ continuousMs: DAY }, { quotaPercent: 50 }), rule({}, { ...bytes, quotaPercent: 5 })],
      total: { bytes: 100, percent: 70 },
      ...{ storages: { '/one': { percent: 20 } }, minFree: { percent: 3 } },
      tiers: [
        { to: '/nas', afterMs: DAY, least: 'continuous' },
        { to: 's3://b', afterMs: DAY, least: 'continuous' },
      ],
    };
    const there = [space(), space({ storage: '/nas', disk: 'n' })];
    assert.equal(applicable(set, ['/one'], there), set, 'a bucket has no size');
    const rest = { ...set, rules: [rule({ continuousMs: DAY }), rule({}, bytes)], total: { bytes: 100 } };
    assert.deepEqual(applicable(set, ['/one'], [space()]), rest, 'a tier is away');
    assert.deepEqual(applicable(set, ['/one', '/two'], there), rest, 'a disk is away');
    assert.deepEqual(applicable({ rules: [], total: { percent: 70 } }, ['/two'], there), { rules: [] });
  });

  it('count what is on its way as gone', () => {
    const segments = [segment(3, {}), segment(2, {}), segment(1, {})];
    const rules = { rules: [rule({}, { quotaBytes: 10 })] };
    const first = plan(segments, rules, [], NOW, [space()], { limit: 1 });
    assert.deepEqual([ids(first.items), first.complete], [[3], false]);
    const second = plan(segments, rules, [], NOW, [space()], { pending: first.items });
    assert.deepEqual([ids(second.items), second.complete], [[2], true]);
  });

  it('forecast days from room and rate, and what would go now', () => {
    const segments = [segment(30, {}), segment(2, {}), segment(1, { camera: 'b' })];
    const rules: RuleSet = {
      rules: [
        rule({ continuousMs: 20 * DAY }, { id: 'aged', cameras: ['a'], quotaBytes: 10 + 86_400 }),
        rule({ continuousMs: 20 * DAY }, { id: 'rest', cameras: ['b'] }),
        rule({}, { id: 'small', cameras: ['b'], quotaBytes: 4 }),
      ],
    };
    const rates = new Map([
      ['a', 2],
      ['b', 1],
    ]);
    const [aged, rest, small] = forecast(sourceOf(segments), rules, [], NOW, [space({ freeBytes: 864_000 })], rates);
    assert.deepEqual([aged!.deleteBytes, aged!.deleteFiles, aged!.daysLeft], [10, 1, 0.5]);
    assert.deepEqual([rest!.deleteBytes, rest!.daysLeft], [0, 864_000 / 3 / 86_400]);
    assert.deepEqual([small!.deleteBytes, small!.deleteFiles, small!.daysLeft], [6, 1, 0]);
  });
});

/** The same in the plainest words: every file asked by itself, every list sorted whole. */
function model(
  segments: Segment[],
  set: RuleSet,
  holds: Hold[],
  space: Space[],
  happenings: Happening[],
): Map<number, DeletionReason> {
  const gone = new Map<number, DeletionReason>();
  const held = (s: Segment): boolean =>
    holds.some(
      (h) => [null, s.camera].includes(h.camera) && (h.until ?? Infinity) > NOW && h.end > s.start && h.start < s.end,
    );
  const names = (r: Rule, camera: string): boolean => r.cameras === '*' || r.cameras.includes(camera);
  const keeps = (r: Rule, s: Segment): 'yes' | 'age' | 'thin' => {
    const times = [r.keep.continuousMs, r.keep.motionMs, r.keep.eventMs].slice(0, KINDS.indexOf(s.kind) + 1);
    const age = NOW - s.end;
    const set = times.filter((time) => time !== undefined);
    const long = times[0] === undefined || Math.max(...set) > age;
    const spared = { motion: ['motion', 'event'], events: ['event'] }[r.thin?.keep ?? 'motion'].includes(s.kind);
    if (r.thin && !spared && age >= r.thin.afterMs) {
      const later = times[0] === undefined ? Infinity : Math.max(...set);
      return later > r.thin.afterMs ? 'thin' : 'age';
    }
    return long ? 'yes' : 'age';
  };
  const present = (): Segment[] => segments.filter((s) => !gone.has(s.id));
  const sum = (list: Segment[]): number => list.reduce((all, s) => all + s.bytes, 0);
  const freed = (folders: string[]): number =>
    sum(segments.filter((s) => gone.has(s.id) && folders.includes(s.storage)));
  const known = (s: Segment): boolean => space.some(({ storage }) => storage === s.storage);
  for (const s of segments.filter((one) => known(one) && !held(one))) {
    const own = set.rules.filter((r) => names(r, s.camera) && !r.only).map((r) => keeps(r, s));
    const special = set.rules.some(({ only, keep, cameras }) =>
      happenings.some(
        ({ camera, start, end, label, zones, trigger }) =>
          only &&
          camera === s.camera &&
          (cameras === '*' || cameras.includes(camera)) &&
          (only.labels?.some((one) => one === label) ?? true) &&
          (only.zones?.some((one) => zones.includes(one)) ?? true) &&
          (only.triggers?.some((one) => one === trigger) ?? true) &&
          s.start < end + MARGIN_MS &&
          s.end > Math.max(start - MARGIN_MS, NOW - keep.eventMs!),
      ),
    );
    if (own.length > 0 && !own.includes('yes') && !special) gone.set(s.id, 'age');
  }
  const shrink = (which: (s: Segment) => boolean, reason: DeletionReason, over: () => number): void => {
    for (const s of present()
      .filter((one) => which(one) && known(one) && !held(one))
      .sort((a, b) => a.start - b.start)) {
      if (over() <= 0) return;
      gone.set(s.id, reason);
    }
  };
  const total = space.reduce((all, one) => all + (one.totalBytes ?? 0), 0);
  const least = (bytes: number | undefined, percent: number | undefined, of: number): number =>
    Math.min(bytes ?? Infinity, percent === undefined ? Infinity : (of * percent) / 100);
  for (const r of set.rules) {
    const quota = least(r.quotaBytes, r.quotaPercent, total);
    const own = (s: Segment): boolean => names(r, s.camera);
    shrink(own, 'quota', () => sum(present().filter((s) => own(s) && known(s))) - quota);
  }
  for (const one of space) {
    const quota = set.storages?.[one.storage];
    const own = (s: Segment): boolean => s.storage === one.storage;
    const limit = least(quota?.bytes, quota?.percent, one.totalBytes!);
    shrink(own, 'storage-quota', () => sum(present().filter(own)) - limit);
  }
  const limit = least(set.total?.bytes, set.total?.percent, total);
  shrink(known, 'total-quota', () => sum(present().filter(known)) - limit);
  for (const one of space) {
    const own = (s: Segment): boolean => s.storage === one.storage;
    const least0 = set.minFree ? least(set.minFree.bytes, set.minFree.percent, one.totalBytes!) : Infinity;
    const wanted = least0 + (one.bytesPerSecond * AHEAD_MS) / 1000;
    const free = (): number => one.freeBytes! + freed([one.storage]);
    if (Number.isFinite(wanted)) shrink(own, 'min-free', () => wanted - free());
    for (const kind of KINDS) {
      shrink(
        (s) => own(s) && s.kind === kind,
        'emergency',
        () => emergency(one) - free(),
      );
    }
  }
  return gone;
}

/** An hour of writing, or a twentieth of the disk (never less than half a minute of writing) where that is less. */
const emergency = ({ bytesPerSecond, totalBytes }: Space): number =>
  Math.min(bytesPerSecond * 3600, Math.max(totalBytes! * 0.05, bytesPerSecond * 30));

const ms = fc.integer({ min: 0, max: 40 }).map((days) => days * DAY);
const optional = <T>(name: string, value: fc.Arbitrary<T>): fc.Arbitrary<Record<string, T>> =>
  fc.option(value).map((found) => (found === null ? {} : { [name]: found }));
const merged = (...parts: fc.Arbitrary<object>[]): fc.Arbitrary<object> =>
  fc.tuple(...parts).map((all) => Object.assign({}, ...all) as object);
const bytes = fc.integer({ min: 0, max: 3000 });
const quota = merged(optional('bytes', bytes), optional('percent', fc.integer({ min: 0, max: 100 })));
const ruleArbitrary = merged(
  fc.record({
    id: fc.constant('r'),
    cameras: fc.oneof(fc.constant('*'), fc.subarray(CAMERAS)),
    keep: merged(optional('continuousMs', ms), optional('motionMs', ms), optional('eventMs', ms)),
  }),
  optional('quotaBytes', bytes),
  optional('quotaPercent', fc.integer({ min: 0, max: 100 })),
  optional('thin', fc.record({ afterMs: ms, keep: fc.constantFrom('motion', 'events') })),
) as fc.Arbitrary<Rule>;
const some = (...names: string[]): fc.Arbitrary<string[]> => fc.subarray(names, { minLength: 1 });
const specialArbitrary = fc.record({
  id: fc.constant('s'),
  cameras: fc.oneof(fc.constant('*' as const), fc.subarray(CAMERAS)),
  keep: ms.map((eventMs) => ({ eventMs })),
  only: merged(
    optional('labels', some('car', 'person')),
    optional('zones', some('gate', 'door')),
    optional('triggers', some('motion', 'panic')),
  ),
}) as fc.Arbitrary<Rule>;
const happeningArbitrary = fc
  .record({
    camera: fc.constantFrom(...CAMERAS),
    age: fc.integer({ min: 0, max: 41 * DAY }),
    length: fc.integer({ min: 0, max: 3_600_000 }),
    label: fc.constantFrom(null, 'car', 'person'),
    zones: fc.subarray(['gate', 'door']),
    trigger: fc.constantFrom('motion', 'panic'),
  })
  .map(({ age, length, ...of }): Happening => ({ ...of, start: NOW - age, end: NOW - age + length }));
const setArbitrary = merged(
  fc
    .tuple(fc.array(ruleArbitrary, { maxLength: 4 }), fc.array(specialArbitrary, { maxLength: 3 }))
    .map(([plain, special]) => ({ rules: [...plain, ...special] })),
  optional('total', quota),
  optional('storages', fc.dictionary(fc.constantFrom(...FOLDERS), quota)),
  optional('minFree', quota),
) as fc.Arbitrary<RuleSet>;
const segmentsArbitrary = fc
  .array(
    fc.record({
      camera: fc.constantFrom(...CAMERAS),
      storage: fc.constantFrom(...FOLDERS, '/not-mounted'),
      kind: fc.constantFrom(...KINDS),
      age: fc.integer({ min: 0, max: 40 }),
      length: fc.integer({ min: 0, max: DAY }),
      bytes: fc.integer({ min: 0, max: 300 }),
    }),
    { maxLength: 40 },
  )
  .map((list) =>
    // No two begin together, so that there is one oldest.
    list.map(({ age, length, ...of }, id): Segment => {
      const start = NOW - age * DAY - DAY + id;
      return { ...of, id, start, end: start + length };
    }),
  );
const holdsArbitrary = fc.array(
  fc
    .record({
      camera: fc.constantFrom(null, ...CAMERAS),
      from: fc.integer({ min: 0, max: 40 }),
      length: fc.integer({ min: 1, max: 5 * DAY }),
      until: fc.constantFrom(null, NOW - 1, NOW, NOW + 1),
    })
    .map(({ camera, from, length, until }) => {
      const start = NOW - from * DAY - DAY;
      return hold({ camera, start, end: start + length, until });
    }),
  { maxLength: 3 },
);
const spaceArbitrary = fc.tuple(
  ...FOLDERS.map((storage) =>
    fc.record({
      storage: fc.constant(storage),
      disk: fc.constant(storage),
      freeBytes: fc.integer({ min: 0, max: 3000 }),
      totalBytes: fc.constant(5000),
      bytesPerSecond: fc.constantFrom(0, 0, 0.25, 1),
    }),
  ),
);

const everything = fc.tuple(
  segmentsArbitrary,
  setArbitrary,
  holdsArbitrary,
  spaceArbitrary,
  fc.array(happeningArbitrary, { maxLength: 8 }),
);

describe('a plan', () => {
  it('is what a plain model does, for any rules, holds and footage', () => {
    fc.assert(
      fc.property(everything, ([segments, set, holds, disks, happenings]) => {
        const made = planFrom(sourceOf(segments, happenings), set, holds, NOW, disks);
        const expected = model(segments, set, holds, disks, happenings);
        const plain = (reason: DeletionReason): DeletionReason => (reason === 'thin' ? 'age' : reason);
        assert.deepEqual(
          made.items.map(({ id, reason }) => [id, plain(reason)]).sort(),
          [...expected].map(([id, reason]) => [id, reason]).sort(),
        );
        assert.equal(made.complete, true);
        // Of each reason the oldest first, but for an emergency, which goes by worth.
        for (const reason of new Set(made.items.map((item) => plain(item.reason)))) {
          if (reason === 'emergency' || reason === 'quota') continue;
          for (const storage of reason === 'age' || reason === 'total-quota' ? [null] : FOLDERS) {
            const starts: number[] = made.items
              .filter((item) => plain(item.reason) === reason && (storage ?? item.storage) === item.storage)
              .map(({ start }) => start);
            assert.deepEqual(
              starts,
              [...starts].sort((a, b) => a - b),
            );
          }
        }
        const short = disks.some((disk) => {
          const { storage, freeBytes } = disk;
          const freed = made.items
            .filter((item) => item.storage === storage)
            .reduce((sum, item) => sum + item.bytes, 0);
          return freeBytes + freed < emergency(disk);
        });
        assert.equal(made.blocked, short);
      }),
      { numRuns: 500 },
    );
  });
});
