import assert from 'node:assert/strict';
import fc from 'fast-check';
import { isHeld, limitsOf, plan } from '../../engine/retention/rules.ts';
import { sourceOf } from '../../engine/retention/source.ts';
import { planMoves, planReleases, shortage, spaceAfter, type Move } from '../../engine/retention/tiers.ts';
import { KINDS, type Hold, type RuleSet, type Segment, type Space, type Tier } from '../../engine/retention/types.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 4, 1);
const HOT = '/hot';

const segment = (id: number, days: number, of: Partial<Segment> = {}): Segment => ({
  ...{ id, camera: 'yard', storage: HOT, start: NOW - days * DAY, end: NOW - days * DAY + 60_000, bytes: 10 },
  ...{ kind: 'continuous' as const },
  ...of,
});
const tier = (to: string, days: number, of: Partial<Tier> = {}): Tier => ({
  ...{ to, afterMs: days * DAY, least: 'continuous' },
  ...of,
});
const room = (storage: string, of: Partial<Space> = {}): Space => ({
  ...{ storage, disk: storage, freeBytes: 1e12, totalBytes: 2e12, bytesPerSecond: 0 },
  ...of,
});
const moves = (
  segments: Segment[],
  tiers: Tier[],
  of: { ready?: string[]; there?: string[]; short?: Record<string, number> } = {},
) =>
  planMoves(sourceOf(segments), tiers, [HOT], NOW, {
    ready: new Set(of.ready ?? tiers.map(({ to }) => to)),
    there: new Set(of.there ?? [HOT, ...tiers.map(({ to }) => to)]),
    shortOf: (storage) => of.short?.[storage] ?? 0,
  }).map(({ id, to, action, reason }) => [id, action, to, reason]);

describe('tiers', () => {
  const events = { least: 'event' as const };
  it('take what is old enough and shows enough; the coldest that is there wins', () => {
    const tiers = [tier('/warm', 2), tier('/cold', 30, events)];
    const old = [segment(1, 1), segment(2, 3), segment(3, 40), segment(4, 40, { kind: 'event' })];
    assert.deepEqual(moves(old, tiers).sort(), [
      [2, 'move', '/warm', 'age'],
      [3, 'move', '/warm', 'age'],
      [4, 'move', '/cold', 'age'],
    ]);
    assert.deepEqual(
      moves(old, tiers, { ready: ['/warm'] }).map(([id, , to]) => [id, to]),
      [
        [3, '/warm'],
        [4, '/warm'],
        [2, '/warm'],
      ],
    );
    assert.deepEqual(moves([segment(1, 3, { storage: '/cold' })], tiers), [], 'nothing comes back');
  });

  it('copy to a bucket what stays here for a while, and let go what is there', () => {
    const bucket = 's3://b/x';
    const tiers = [tier(bucket, 1, { keepMs: 10 * DAY })];
    assert.deepEqual(
      moves(
        [
          ...[segment(1, 5), segment(2, 20), segment(3, 20, { copy: bucket })],
          ...[segment(4, 5, { copy: bucket }), segment(5, 0.5), segment(6, 20, { storage: bucket })],
        ],
        tiers,
      ).sort(),
      [
        [1, 'copy', bucket, 'age'],
        [2, 'move', bucket, 'age'],
        [3, 'release', bucket, 'age'],
      ],
    );
  });

  it('make room on a full disk by moving the oldest early, if the tier has room', () => {
    const fresh = [segment(1, 0.3), segment(2, 0.2), segment(3, 0.1)];
    const tiers = [tier('/warm', 2)];
    assert.deepEqual(moves(fresh, tiers, { short: { [HOT]: 15 } }), [
      [1, 'move', '/warm', 'room'],
      [2, 'move', '/warm', 'room'],
    ]);
    assert.deepEqual(moves(fresh, tiers, { short: { [HOT]: 15, '/warm': 1 } }), []);
    assert.deepEqual(moves(fresh, tiers, { short: { [HOT]: 15 }, ready: [] }), []);
  });

  it('make room by letting go what a bucket has before anything is sent there, whatever it shows', () => {
    const bucket = 's3://b/x';
    const tiers = [tier(bucket, 2, { keepMs: 60 * DAY, ...events })];
    const files = [
      ...[segment(1, 9, { kind: 'event' }), segment(2, 1, { kind: 'event' })],
      ...[segment(3, 8, { copy: bucket }), segment(4, 7, { copy: bucket, kind: 'event' }), segment(5, 9)],
    ];
    const copied = [1, 'copy', bucket, 'age'];
    const room = (short: number, ready = [bucket]) => moves(files, tiers, { ready, short: { [HOT]: short } });
    assert.deepEqual(room(0), [copied]);
    assert.deepEqual(room(15), [copied, [3, 'release', bucket, 'room'], [4, 'release', bucket, 'room']]);
    assert.deepEqual(room(25).slice(3), [[2, 'move', bucket, 'room']]);
    assert.deepEqual(room(25, []), []);
  });

  it('let go in an emergency what a bucket has, as much as is needed, on that disk alone', () => {
    const bucket = 's3://b/x';
    const tiers = [tier('/warm', 2), tier(bucket, 2, { keepMs: 60 * DAY })];
    const files = [
      ...[segment(1, 9), segment(2, 8, { copy: bucket }), segment(3, 7, { copy: bucket, kind: 'event' })],
      ...[segment(4, 6, { copy: bucket }), segment(5, 9, { copy: bucket, storage: '/warm' })],
      ...[segment(6, 9, { copy: 's3://other' }), segment(7, 9, { copy: bucket, storage: '/old' })],
    ];
    const space = (freeBytes: number): Space[] => [
      room(HOT, { disk: 'd', freeBytes, bytesPerSecond: 1 }),
      ...[room('/old', { disk: 'd', freeBytes }), room('/warm', { bytesPerSecond: 1 })],
    ];
    const released = (freeBytes: number) =>
      planReleases(sourceOf(files), tiers, [HOT], space(freeBytes)).map(({ id, action, to }) => [id, action, to]);
    assert.deepEqual(released(3600), []);
    assert.deepEqual(released(3585), [
      [2, 'release', bucket],
      [3, 'release', bucket],
    ]);
    assert.equal(released(0).length, 3);
  });

  it('know the room that a move leaves', () => {
    const space = [room(HOT, { disk: 'd' }), room('/two', { disk: 'd' }), room('/warm'), room('/nas')];
    const free = (action: Move['action'], to: string): number[] =>
      spaceAfter(space, { ...segment(1, 1), action, to, reason: 'age' }).map(({ freeBytes }) => freeBytes! - 1e12);
    assert.deepEqual(free('move', '/warm'), [10, 10, -10, 0]);
    assert.deepEqual(free('move', '/two'), [0, 0, 0, 0]);
    assert.deepEqual(free('copy', 's3://b/x'), [0, 0, 0, 0]);
    assert.deepEqual(free('release', 's3://b/x'), [10, 10, 0, 0]);
  });

  it('take nothing from a folder that is not there, but let go there what a bucket has', () => {
    const bucket = 's3://b/x';
    const tiers = [tier('/warm', 2), tier(bucket, 20)];
    const old = [
      ...[segment(1, 40, { storage: '/warm' }), segment(2, 40, { storage: '/warm', copy: bucket }), segment(3, 30)],
      segment(4, 1),
    ];
    assert.deepEqual(moves(old, tiers, { there: [HOT], short: { [HOT]: 20, '/warm': 20 } }), [
      [2, 'release', bucket, 'age'],
      [3, 'move', bucket, 'age'],
      [4, 'move', bucket, 'room'],
    ]);
    assert.deepEqual(moves(old, tiers, { there: ['/warm'], short: { [HOT]: 20 } }).length, 2);
  });

  it('are short by quota, by free space, and early by what is written', () => {
    const of = (rules: Partial<RuleSet>, space: Partial<Space>): number =>
      shortage({ rules: [], ...rules }, [room(HOT, space)], () => 100)(HOT);
    assert.equal(of({}, {}), 0);
    assert.equal(of({ storages: { [HOT]: { bytes: 70 } } }, {}), 30);
    assert.equal(of({ minFree: { bytes: 50 } }, { freeBytes: 20 }), 30);
    assert.equal(of({}, { freeBytes: 7200, bytesPerSecond: 2 }), 7200);
  });

  it('keep limits from deleting what can move; an emergency deletes all the same', () => {
    const full = { rules: [], storages: { [HOT]: { bytes: 10 } }, minFree: { bytes: 1e9 } };
    const files = [segment(1, 3), segment(2, 2), segment(3, 1, { kind: 'event' })];
    const planned = (rules: RuleSet, freeBytes = 1e6, bytesPerSecond = 0): number[] =>
      plan(files, rules, [], NOW, [room(HOT, { freeBytes, bytesPerSecond })]).items.map(({ id }) => id);
    assert.deepEqual(planned(full), [1, 2, 3]);
    assert.deepEqual(planned({ ...full, tiers: [tier('/warm', 9)] }), []);
    assert.deepEqual(planned({ ...full, tiers: [tier('/warm', 9, events)] }), [1, 2]);
    assert.deepEqual(planned({ ...full, tiers: [tier('/warm', 9)] }, 10, 1).length, 3);
  });

  it('count the disks alone for quotas: a bucket has no size', () => {
    const bucket = 's3://b/x';
    const files = [segment(1, 3, { storage: bucket }), segment(2, 2), segment(3, 1)];
    const space = [room(HOT, { totalBytes: 20 }), room(bucket, { freeBytes: null, totalBytes: null })];
    const rules: RuleSet = { rules: [], total: { percent: 50 }, tiers: [tier(bucket, 2)] };
    assert.deepEqual(
      plan(files, rules, [], NOW, space).items.map(({ id }) => id),
      [2],
    );
    const aged: RuleSet = { rules: [{ id: 'r', cameras: '*', keep: { continuousMs: 2.5 * DAY } }] };
    assert.deepEqual(
      plan(files, aged, [], NOW, space).items.map(({ id }) => id),
      [1],
      'its age counts there, too',
    );
  });
});

describe('tiers and rules together, day after day', () => {
  const PLACES = [HOT, '/warm', '/cold', 's3://b/x'];
  const arbitrary = fc.record({
    files: fc.array(
      fc.record({
        camera: fc.constantFrom('yard', 'door'),
        days: fc.integer({ min: 0, max: 60 }),
        kind: fc.constantFrom(...KINDS),
        place: fc.integer({ min: 0, max: 3 }),
      }),
      { maxLength: 40 },
    ),
    tiers: fc.tuple(
      fc.integer({ min: 0, max: 20 }),
      fc.integer({ min: 0, max: 40 }),
      fc.constantFrom(...KINDS),
      fc.integer({ min: 0, max: 30 }),
    ),
    keep: fc.record({ continuousMs: fc.integer({ min: 1, max: 50 }), eventMs: fc.integer({ min: 1, max: 90 }) }),
    held: fc.option(fc.integer({ min: 0, max: 60 })),
    away: fc.array(fc.array(fc.integer({ min: 1, max: 3 }), { maxLength: 3 }), { minLength: 10, maxLength: 10 }),
  });

  it('never delete what a rule or a hold keeps, move each file forwards only, and come to rest', () => {
    fc.assert(
      fc.property(arbitrary, ({ files, tiers: [warm, cold, least, keepDays], keep, held, away }) => {
        const tiers = [
          ...[tier('/warm', warm), tier('/cold', warm + cold, { least })],
          tier('s3://b/x', warm + cold + 5, { least, keepMs: keepDays * DAY }),
        ];
        const rules: RuleSet = {
          ...{ tiers, storages: { [HOT]: { bytes: 50 } }, minFree: { percent: 1 } },
          rules: [
            {
              ...{ id: 'r', cameras: '*' },
              keep: { continuousMs: keep.continuousMs * DAY, eventMs: keep.eventMs * DAY },
            },
          ],
        };
        const holds: Hold[] =
          held === null
            ? []
            : [
                {
                  ...{ id: 'h', name: '', camera: null, until: null, who: '', why: '', created: 0 },
                  ...{ start: NOW - (held + 5) * DAY, end: NOW - held * DAY },
                },
              ];
        let all = files.map(({ camera, days, kind, place }, id) =>
          segment(id, days, { camera, kind, storage: PLACES[place]! }),
        );
        for (const [day, missing] of away.entries()) {
          const now = NOW + day * DAY;
          const there = PLACES.filter((_, i) => !missing.includes(i));
          const space = there.map((one) =>
            room(one, one.startsWith('s3') ? { freeBytes: null, totalBytes: null } : {}),
          );
          const { items } = plan(all, rules, holds, now, space);
          for (const item of items) {
            assert.ok(there.includes(item.storage), 'of what is not there nothing goes');
            assert.ok(!isHeld(item, holds, now), 'held');
            assert.ok(item.reason !== 'emergency' && item.reason !== 'total-quota');
            if (item.reason === 'age') assert.ok(now - item.end >= limitsOf(rules.rules, item.camera)[item.kind].ms);
            else assert.fail(`${item.reason}: a tier would have taken it`);
          }
          all = all.filter(({ id }) => !items.some((item) => item.id === id));
          const used = (storage: string): number =>
            all.filter((one) => one.storage === storage).reduce((sum, { bytes }) => sum + bytes, 0);
          const next = (): Move[] =>
            planMoves(sourceOf(all), tiers, [HOT], now, {
              ready: new Set(there),
              there: new Set(there),
              shortOf: shortage(rules, space, used),
            });
          // What was copied to the bucket may then go to another folder.
          for (let round = 0; round < 2; round++) {
            const moving = next();
            assert.equal(new Set(moving.map(({ id }) => id)).size, moving.length, 'once each');
            for (const { id, storage, to, action, reason } of moving) {
              if (action !== 'release') assert.ok(there.includes(storage), 'what is not there cannot be read');
              assert.ok(there.includes(to) && PLACES.indexOf(to) > PLACES.indexOf(storage));
              if (reason === 'room') assert.equal(storage, HOT);
              const file = all.find((one) => one.id === id)!;
              if (action === 'release') assert.equal(file.copy, to);
              if (action === 'copy') file.copy = to;
              else Object.assign(file, { storage: to, copy: file.copy === to ? null : (file.copy ?? null) });
            }
          }
          assert.deepEqual(next(), [], 'what was moved is where it belongs');
        }
      }),
      { numRuns: 300 },
    );
  });
});
