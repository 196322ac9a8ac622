/** The timeline widget's arithmetic: time and pixels, days when the clocks change, tiles, several players on one clock. */
import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import fc from 'fast-check';
import { MasterClock } from '../../dashboard/timeline/clock.ts';
import { putLane, type Colour } from '../../dashboard/timeline/lane-pixels.ts';
import { at, laneOf, spliced, type Lane } from '../../dashboard/timeline/lanes.ts';
import { pressed, type KeyActions } from '../../dashboard/timeline/keys.ts';
import { MediaMap, partsOf } from '../../dashboard/timeline/media-map.ts';
import { correction, SyncController, type Cover, type SyncedPlayer } from '../../dashboard/timeline/sync.ts';
import {
  around,
  columnMs,
  levelOf,
  MAX_SPAN_MS,
  MIN_SPAN_MS,
  panned,
  TILE_COLUMNS,
  tileMs,
  tilesOf,
  timeAt,
  xOf,
  zoomed,
  type View,
} from '../../dashboard/timeline/scale.ts';
import { HOUR_GRAIN, Strips, type LoadedStrip } from '../../dashboard/timeline/strips.ts';
import { ticksOf } from '../../dashboard/timeline/ticks.ts';
import { MAX_TILES, TileStore } from '../../dashboard/timeline/tiles.ts';
import { Zone } from '../../dashboard/timeline/zone.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const views = fc
  .record({
    start: fc.integer({ min: 0, max: 2_000_000_000_000 }),
    span: fc.integer({ min: MIN_SPAN_MS, max: MAX_SPAN_MS }),
  })
  .map(({ start, span }): View => ({ start, end: start + span }));
const widths = fc.integer({ min: 200, max: 3840 });

describe('timeline: time and pixels', () => {
  it('are each other’s inverse', () => {
    fc.assert(
      fc.property(views, widths, fc.double({ min: 0, max: 1, noNaN: true }), (view, width, share) => {
        const x = share * width;
        assert.ok(Math.abs(xOf(view, width, timeAt(view, width, x)) - x) < 0.01);
      }),
    );
  });

  it('zoom keeps what is under the pointer, and never leaves the bounds', () => {
    fc.assert(
      fc.property(
        ...([
          views,
          widths,
          fc.double({ min: 0, max: 1, noNaN: true }),
          fc.double({ min: 0.01, max: 100, noNaN: true }),
        ] as const),
        (view, width, share, factor) => {
          const time = timeAt(view, width, share * width);
          const after = zoomed(view, factor, time);
          const span = after.end - after.start;
          assert.ok(span >= MIN_SPAN_MS - 1 && span <= MAX_SPAN_MS + 1);
          // Only at the beginning of time it cannot.
          if (after.start > 0) assert.ok(Math.abs(xOf(after, width, time) - share * width) < 0.6);
        },
      ),
    );
  });

  it('moving there and back is where it was', () => {
    fc.assert(
      fc.property(views, fc.integer({ min: -DAY, max: DAY }), (view, by) => {
        fc.pre(view.start > DAY);
        const back = panned(panned(view, by), -by);
        assert.ok(Math.abs(back.start - view.start) < 1 && Math.abs(back.end - view.end) < 1);
      }),
    );
    assert.deepEqual(around({ start: 0, end: 10_000 }, 1_000_000), { start: 995_000, end: 1_005_000 });
  });

  it('levels are never coarser than a pixel, and their tiles cover the view without a hole', () => {
    fc.assert(
      fc.property(views, widths, (view, width) => {
        const level = levelOf(view, width);
        assert.ok(columnMs(level) <= Math.max(16, (view.end - view.start) / width));
        const tiles = tilesOf(view, level);
        assert.ok(tiles[0]! * tileMs(level) <= view.start);
        assert.ok((tiles.at(-1)! + 1) * tileMs(level) >= view.end);
        assert.ok(tiles.length <= Math.ceil((2 * width) / TILE_COLUMNS) + 1);
        tiles.slice(1).forEach((index, i) => assert.equal(index, tiles[i]! + 1));
      }),
    );
  });
});

describe('timeline: clocks of a zone', () => {
  const berlin = new Zone('Europe/Berlin');
  const names = [
    'Europe/Berlin',
    'America/New_York',
    'Australia/Lord_Howe',
    'Asia/Kathmandu',
    'America/Santiago',
    'UTC',
  ];
  /** 2026: ahead on 29 March at 02:00, back on 25 October at 03:00. */
  const ahead = Date.UTC(2026, 2, 28, 23);
  const back = Date.UTC(2026, 9, 24, 22);

  it('days begin at midnight and follow each other, in every zone', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.integer({ min: Date.UTC(2000, 0), max: Date.UTC(2037, 0) }),
        (name, time) => {
          const zone = new Zone(name);
          const start = zone.startOfDay(time);
          const next = zone.dayAfter(time);
          assert.ok(start <= time && time < next, `${name} ${time}`);
          assert.ok(next - start >= 23 * HOUR && next - start <= 25 * HOUR);
          assert.equal(zone.clock(start).day, zone.clock(time).day);
          assert.notEqual(zone.clock(start - 1).day, zone.clock(time).day);
          assert.equal(zone.startOfDay(next), next);
        },
      ),
      { numRuns: 300 },
    );
  });

  it('a day has 23 hours when clocks go ahead and 25 when they go back', () => {
    assert.equal(berlin.startOfDay(ahead + 12 * HOUR), ahead);
    assert.equal(berlin.dayAfter(ahead) - ahead, 23 * HOUR);
    assert.equal(berlin.startOfDay(back + 12 * HOUR), back);
    assert.equal(berlin.dayAfter(back) - back, 25 * HOUR);
  });

  it('midnight that there is none begins the day when clocks went ahead', () => {
    // Santiago, 6 September 2026: 00:00 is 01:00.
    const zone = new Zone('America/Santiago');
    const start = zone.startOfDay(Date.UTC(2026, 8, 6, 15));
    assert.deepEqual([zone.clock(start).day, zone.clock(start).hour], [6, 1]);
    assert.deepEqual([zone.clock(start - 1).day, zone.clock(start - 1).hour], [5, 23]);
  });

  it('tells both 02:30 apart, and finds each', () => {
    const wall = Date.UTC(2026, 9, 25, 2, 30);
    const [first, second] = [berlin.instant(wall), berlin.instant(wall, 'second')];
    assert.equal(second - first, HOUR);
    assert.equal(berlin.timeOfDay(first, 'de', 'minutes'), '02:30 UTC+2');
    assert.equal(berlin.timeOfDay(second, 'de', 'minutes'), '02:30 UTC+1');
    assert.equal(berlin.timeOfDay(second + 30 * 60_000, 'de', 'minutes'), '03:00');
    assert.equal(berlin.timeOfDay(first - HOUR, 'de', 'minutes'), '01:30');
  });

  it('a time that there is none is when the clocks were put ahead', () => {
    assert.equal(berlin.instant(Date.UTC(2026, 2, 29, 2, 30)), Date.UTC(2026, 2, 29, 1));
  });

  it('has a tick for each hour that was: 23 and 25', () => {
    const hours = (start: number): string[] =>
      ticksOf({ start, end: berlin.dayAfter(start) - 1 }, 1400, 50, berlin).map(({ time }) =>
        berlin.timeOfDay(time, 'de', 'minutes'),
      );
    assert.equal(hours(ahead).length, 23);
    assert.deepEqual(hours(ahead).slice(0, 4), ['00:00', '01:00', '03:00', '04:00']);
    assert.equal(hours(back).length, 25);
    assert.deepEqual(hours(back).slice(1, 5), ['01:00', '02:00 UTC+2', '02:00 UTC+1', '03:00']);
  });

  it('ticks are in the view, in order, at full steps of the clock, and not too many', () => {
    fc.assert(
      fc.property(fc.constantFrom(...names), views, widths, (name, view, width) => {
        const zone = new Zone(name);
        const ticks = ticksOf(view, width, 90, zone);
        assert.ok(ticks.length <= width / 90 + 3, `${ticks.length}`);
        ticks.forEach(({ time, kind }, i) => {
          assert.ok(time >= view.start - 1 && time <= view.end + 1);
          if (i > 0) assert.ok(time > ticks[i - 1]!.time);
          if (kind === 'day') assert.equal(zone.startOfDay(time), time);
        });
      }),
      { numRuns: 300 },
    );
  });
});

const lane = (from: number, columns: number, ms: number, over: Partial<Lane> = {}): Lane => ({
  ...{ camera: 'yard', recorded: [[from, from + columns * ms]], gaps: [], deleted: [], tags: [] },
  ...{ motion: new Uint8Array(columns).fill(7), events: new Map() },
  ...over,
});

describe('timeline: lanes', () => {
  it('reads what the server tells', () => {
    const read = laneOf(
      { camera: 'yard', recorded: [[0, 5]], gaps: [], motion: btoa('\x01\x02'), events: { motion: btoa('\x00\x03') } },
      2,
    );
    assert.deepEqual([...read.motion], [1, 2]);
    assert.deepEqual([...read.events.get('motion')!], [0, 3]);
  });

  it('a later part goes in place of what was known, and spans go on over the seam', () => {
    const old = lane(0, 10, 100, {
      gaps: [[0, 50, 'stalled']],
      events: new Map([['motion', new Uint8Array(10).fill(1)]]),
    });
    const newer = lane(600, 4, 100, {
      recorded: [
        [600, 700],
        [800, 950],
      ],
      gaps: [[700, 800, 'restart']],
      motion: new Uint8Array(4).fill(9),
    });
    const both = spliced(old, newer, 600, 6);
    assert.deepEqual(both.recorded, [
      [0, 700],
      [800, 950],
    ]);
    assert.deepEqual(both.gaps, [
      [0, 50, 'stalled'],
      [700, 800, 'restart'],
    ]);
    assert.deepEqual([...both.motion], [7, 7, 7, 7, 7, 7, 9, 9, 9, 9]);
    assert.deepEqual([...both.events.get('motion')!], [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]);
  });

  it('splicing any part of the truth into what was known before is the truth', () => {
    const span = fc.tuple(fc.nat(99), fc.integer({ min: 1, max: 20 }));
    fc.assert(
      fc.property(fc.array(span, { maxLength: 8 }), fc.nat(9), (spans, column) => {
        const truth: [number, number][] = [];
        for (const [start, length] of spans.sort((a, b) => a[0] - b[0])) {
          const last = truth.at(-1);
          if (!last || start > last[1]) truth.push([start, Math.min(100, start + length)]);
        }
        const from = column * 10;
        const before = lane(0, 10, 10, { recorded: truth.filter(([start]) => start < from) });
        const cut = truth.flatMap(([start, end]): [number, number][] =>
          end > from ? [[Math.max(start, from), end]] : [],
        );
        const newer = lane(from, 10 - column, 10, { recorded: cut });
        assert.deepEqual(spliced(before, newer, from, column).recorded, truth);
      }),
    );
  });

  it('says what is at a moment, and why nothing is', () => {
    const some = lane(0, 10, 100, {
      recorded: [[0, 400]],
      gaps: [[400, 600, 'stalled']],
      deleted: [[600, 800, 'age']],
    });
    assert.deepEqual(at(some, 399, 0), { what: 'recorded', start: 0, end: 400 });
    assert.deepEqual(at(some, 400, 0), { what: 'gap', cause: 'stalled', start: 400, end: 600 });
    assert.deepEqual(at(some, 700, 0), { what: 'deleted', cause: 'age', start: 600, end: 800 });
    assert.equal(at(some, 900, 0).what, 'nothing');
  });
});

describe('timeline: a lane as pixels', () => {
  const rows = { events: 4, space: 2, bar: 10, line: 1 };
  const [recorded, motion, gap, other] = ([1, 2, 3, 4] as const).map((red): Colour => [red, 0, 0]);
  const colours = { recorded: recorded!, deleted: other!, gap: gap!, motion: motion!, kinds: {}, other: other! };
  const tile = { level: 4, index: 0, start: 0, end: tileMs(4), lanes: new Map<string, Lane>(), asOf: 0 };
  const lane = (change: Partial<Lane>): Lane => ({
    ...{ camera: 'yard', recorded: [], gaps: [], deleted: [], motion: new Uint8Array(TILE_COLUMNS) },
    ...{ events: new Map<string, Uint8Array>(), tags: [], ...change },
  });
  const put = (
    of: Lane,
    hidden: ReadonlySet<string> | null = new Set(),
  ): ((row: number, column: number) => number[]) => {
    const pixels = new Uint32Array(TILE_COLUMNS * 20);
    putLane(pixels, 3, of, tile, rows, colours, hidden);
    const bytes = new Uint8ClampedArray(pixels.buffer);
    return (row, column) => [
      ...bytes.subarray((row * TILE_COLUMNS + column) * 4, (row * TILE_COLUMNS + column) * 4 + 4),
    ];
  };

  it('shows what is recorded, fainter where it is half a column, with a line below', () => {
    const at = put(lane({ recorded: [[16 * 10, 16 * 20.5]] }));
    assert.deepEqual([at(9, 9)[3], at(9, 10), at(17, 15)[3]], [0, [1, 0, 0, 76], 76]);
    assert.deepEqual(at(18, 10), [1, 0, 0, 255]);
    assert.equal(at(9, 20)[3], 38);
    assert.deepEqual([at(9, 21)[3], at(8, 10)[3], at(19, 10)[3]], [0, 0, 0]);
  });

  it('shows how much moved as height, and no gap narrower than two columns', () => {
    const moved = new Uint8Array(TILE_COLUMNS);
    moved[5] = 85; // half of the bar
    const at = put(lane({ motion: moved, gaps: [[16 * 40, 16 * 40 + 1, 'stalled']] }));
    assert.deepEqual([at(13, 5)[3], at(14, 5)], [0, [2, 0, 0, 229]]);
    assert.deepEqual([at(9, 39)[3], at(9, 40), at(9, 41), at(9, 42)[3]], [0, [3, 0, 0, 255], [3, 0, 0, 255], 0]);
  });

  it('shows events but those that are hidden', () => {
    const counts = new Uint8Array(TILE_COLUMNS);
    counts[7] = 1;
    const events = new Map([['motion', counts]]);
    const at = put(lane({ events }));
    assert.deepEqual([at(6, 6)[3], at(6, 7), at(6, 8), at(6, 9)[3]], [0, [4, 0, 0, 255], [4, 0, 0, 255], 0]);
    assert.deepEqual(
      [put(lane({ events }), new Set(['motion']))(6, 7)[3], put(lane({ events }), null)(6, 7)[3]],
      [0, 0],
    );
  });
});

describe('timeline: tiles', () => {
  const setUp = () => {
    const asked: { start: number; end: number; columns: number }[] = [];
    const problems: unknown[] = [];
    const state = { now: 0, fail: false };
    const store = new TileStore({
      fetch: ({ start, end }, columns) => {
        asked.push({ start, end, columns });
        if (state.fail) return Promise.reject(new Error('gone'));
        return Promise.resolve([lane(start, columns, (end - start) / columns)]);
      },
      changed: () => undefined,
      problem: (error) => problems.push(error),
      nowMs: () => state.now,
    });
    const idle = async (): Promise<void> => {
      for (let i = 0; i < 500 && !store.settled; i++) await turn();
    };
    return { store, asked, problems, state, idle };
  };

  it('asks for each once, what is in view first', async () => {
    const { store, asked, state, idle } = setUp();
    state.now = Date.UTC(2026, 0);
    const view = { start: state.now - HOUR, end: state.now };
    const level = levelOf(view, 1000);
    store.want(view, level);
    await idle();
    const times = asked.length;
    store.want(view, level);
    await idle();
    assert.equal(asked.length, times);
    const first = tilesOf(view, level)[0]! * tileMs(level);
    assert.equal(asked[0]!.start, first);
    assert.ok(asked.every(({ start, end, columns }) => Number.isInteger((end - start) / columns)));
  });

  it('has no more than it may, however far one goes', async () => {
    const { store, state, idle } = setUp();
    state.now = Date.UTC(2026, 0);
    for (let i = 0; i < 200; i++) {
      const view = { start: state.now - (i + 1) * DAY, end: state.now - i * DAY };
      store.want(view, levelOf(view, 1500));
      await idle();
    }
    assert.ok(store.size <= MAX_TILES);
  });

  it('shows what there is of another level while the right one is missing', async () => {
    const { store, state, idle } = setUp();
    state.now = Date.UTC(2026, 0);
    const view = { start: state.now - DAY, end: state.now };
    store.want(view, 17);
    await idle();
    const index = tilesOf(view, 17)[0]!;
    assert.equal(store.best(17, index)[0]!.level, 17);
    assert.equal(store.best(15, index * 4)[0]!.level, 17);
    assert.equal(store.best(19, Math.floor(index / 4))[0]!.level, 18);
  });

  it('asks for the newest part only when it follows', async () => {
    const { store, asked, state, idle } = setUp();
    state.now = Date.UTC(2026, 0) + 20_000;
    const view = { start: state.now - HOUR, end: state.now };
    const level = levelOf(view, 1000);
    store.want(view, level);
    await idle();
    asked.length = 0;
    state.now += 10_000;
    store.refresh(view, level);
    await idle();
    const newest = asked.filter(({ end }) => end > state.now);
    assert.equal(newest.length, 1);
    assert.ok(
      asked.every(({ end, start }) => end - start < 5 * 60_000),
      JSON.stringify(asked),
    );
  });

  it('tells of a failure, waits, and goes on', async () => {
    const { store, asked, problems, state, idle } = setUp();
    state.now = Date.UTC(2026, 0);
    state.fail = true;
    const view = { start: state.now - HOUR, end: state.now };
    store.want(view, 12);
    for (let i = 0; i < 10; i++) await turn();
    const times = asked.length;
    assert.ok(problems[0] instanceof Error);
    store.want(view, 12);
    assert.equal(asked.length, times);
    state.now += 5000;
    state.fail = false;
    store.want(view, 12);
    await idle();
    assert.equal(problems.at(-1), null);
    assert.ok(store.size > 0);
  });
});

/** Plays as a video element does, a little wrong. */
class FakePlayer implements SyncedPlayer {
  media: number;
  rate = 0;
  seeks = 0;
  shown: Cover | null = null;
  stalled = false;
  private landsAt = -1;
  private target = 0;
  private readonly slow: number;
  private readonly gaps: [number, number][];

  constructor(start: number, slow = 1, gaps: [number, number][] = []) {
    this.media = start;
    this.slow = slow;
    this.gaps = gaps;
  }

  pass(ms: number, now: number): void {
    if (this.seeking && now >= this.landsAt) {
      this.media = this.target;
      this.landsAt = -1;
    } else if (!this.seeking && !this.stalled) this.media += ms * this.rate * this.slow;
    this.now = now;
  }

  now = 0;
  cover(time: number): Cover {
    return this.gaps.some(([from, to]) => time >= from && time < to) ? 'gap' : 'footage';
  }
  get position(): number {
    return this.media;
  }
  get seeking(): boolean {
    return this.landsAt >= 0;
  }
  get ready(): boolean {
    return !this.stalled;
  }
  seek(time: number): void {
    this.seeks++;
    this.target = time;
    this.landsAt = this.now + 80;
  }
  setRate(rate: number): void {
    this.rate = rate;
  }
  show(cover: Cover): void {
    this.shown = cover;
  }
}

describe('timeline: several players on one clock', () => {
  const setUp = (players: FakePlayer[]) => {
    const state = { now: 0 };
    const clock = new MasterClock(() => state.now, 10_000);
    const sync = new SyncController(clock, () => state.now);
    for (const player of players) sync.add(player);
    const run = (ms: number, each?: () => void): void => {
      for (let t = 0; t < ms; t += 20) {
        state.now += 20;
        for (const player of players) player.pass(20, state.now);
        if (t % 100 === 0) sync.tick();
        each?.();
      }
    };
    return { clock, sync, run };
  };

  it('a player that is a little off is bent, one that is far off seeks', () => {
    assert.deepEqual(correction(0, 1), { rate: 1 });
    assert.deepEqual(correction(-80, 1), { rate: 1.1 });
    assert.deepEqual(correction(80, 1), { rate: 0.9 });
    assert.equal(correction(900, 1), 'seek');
    fc.assert(
      fc.property(fc.integer({ min: -5000, max: 5000 }), fc.constantFrom(0.25, 0.5, 1, 2, 4, 8), (error, rate) => {
        const what = correction(error, rate);
        if (what === 'seek') return;
        assert.ok(what.rate > 0 && (what.rate - rate) * error <= 0);
      }),
    );
  });

  it('nine players with clocks of their own stay within 100 ms', () => {
    const players = Array.from({ length: 9 }, (_, i) => new FakePlayer(9800 + i * 37, 0.97 + i * 0.008));
    const { clock, run } = setUp(players);
    clock.play();
    run(3000);
    run(20_000, () => {
      for (const player of players)
        assert.ok(Math.abs(player.media - clock.time) <= 100, `${player.media - clock.time}`);
    });
    assert.ok(players.every(({ seeks }) => seeks <= 1));
  });

  it('waits for one that has nothing yet, but not for ever', () => {
    const players = [new FakePlayer(10_000), new FakePlayer(10_000)];
    const { clock, run } = setUp(players);
    clock.play();
    players[1]!.stalled = true;
    run(2000);
    assert.ok(clock.waiting);
    assert.ok(clock.time < 10_300);
    run(4000);
    assert.ok(clock.time > 11_000, 'it went on without the other');
    players[1]!.stalled = false;
    run(2500);
    assert.ok(Math.abs(players[1]!.media - clock.time) <= 100);
  });

  it('shows a gap as such and is there when footage begins again', () => {
    const player = new FakePlayer(10_000, 1, [[12_000, 15_000]]);
    const { clock, run } = setUp([player]);
    clock.play();
    run(3000);
    assert.equal(player.shown, 'gap');
    assert.equal(player.rate, 0);
    run(3500);
    assert.equal(player.shown, 'footage');
    assert.ok(Math.abs(player.media - clock.time) <= 100);
  });

  it('stands on the clock’s time when it is paused, and does not seek again and again', () => {
    const player = new FakePlayer(10_000);
    const { clock, sync, run } = setUp([player]);
    clock.seek(50_000);
    sync.seekAll();
    run(1000);
    assert.equal(player.media, 50_000);
    assert.equal(player.seeks, 1);
    assert.equal(player.rate, 0);
  });

  it('goes back when its rate is negative', () => {
    const { clock, run } = setUp([]);
    clock.setRate(-2);
    clock.play();
    run(1000);
    assert.equal(clock.time, 8000);
  });
});

describe('timeline: where footage stands in its media', () => {
  const list = (runs: [number, number[]][]): string =>
    runs
      .flatMap(([at_, parts]) => [
        `#EXT-X-PROGRAM-DATE-TIME:${new Date(at_).toISOString()}`,
        ...parts.flatMap((seconds, i) => [`#EXTINF:${seconds.toFixed(5)},`, `${i}.m4s`]),
      ])
      .join('\n');
  const T = Date.UTC(2026, 4, 4);

  it('media time runs on over a gap, the clock does not', () => {
    const map = new MediaMap(
      partsOf(
        list([
          [T, [4, 4]],
          [T + 60_000, [4]],
        ]),
      ),
    );
    assert.equal(map.mediaAt(T + 1000), 1);
    assert.ok(Math.abs(map.mediaAt(T + 7999)! - 7.999) < 1e-6);
    assert.equal(map.mediaAt(T + 8001), null);
    assert.equal(map.mediaAt(T + 59_000), null);
    assert.equal(map.mediaAt(T + 61_000), 9);
    assert.equal(map.utcAt(9), T + 61_000);
    assert.ok(map.endsWithin(T + 7900, 400) && !map.endsWithin(T + 7000, 400));
  });

  it('each moment that is recorded is found again where it is', () => {
    const run = fc.tuple(
      fc.integer({ min: 1000, max: 60_000 }),
      fc.array(fc.integer({ min: 500, max: 6000 }), { minLength: 1, maxLength: 5 }),
    );
    fc.assert(
      fc.property(fc.array(run, { minLength: 1, maxLength: 6 }), fc.nat(1000), (runs, share) => {
        let at_ = T;
        const made = runs.map(([gap, parts]): [number, number[]] => {
          const begin = at_ + gap;
          at_ = begin + parts.reduce((sum, ms) => sum + ms, 0);
          return [begin, parts.map((ms) => ms / 1000)];
        });
        const map = new MediaMap(partsOf(list(made)));
        const utc = Math.round(T + ((at_ - T) * share) / 1000);
        const media = map.mediaAt(utc);
        if (media !== null) assert.ok(Math.abs(map.utcAt(media)! - utc) <= 250);
      }),
    );
  });

  it('a clock that was corrected a little between files is no gap', () => {
    const map = new MediaMap(
      partsOf(
        list([
          [T, [4]],
          [T + 4120, [4]],
        ]),
      ),
    );
    assert.equal(map.mediaAt(T + 4060), 4);
  });
});

describe('timeline: keys', () => {
  const press = (
    key: string,
    over: { shiftKey?: boolean; ctrlKey?: boolean; tagName?: string } = {},
  ): string | null => {
    const done: string[] = [];
    const note = (name: string) => (value?: string | number) =>
      void done.push(value === undefined ? name : `${name} ${String(value)}`);
    const names = ['toggle', 'frame', 'skip', 'mark', 'zoom', 'event', 'speed', 'live', 'reverse', 'help', 'escape'];
    const actions = Object.fromEntries(names.map((name) => [name, note(name)])) as unknown as KeyActions;
    const { shiftKey = false, ctrlKey = false, tagName = 'DIV' } = over;
    const ours = pressed({ key, shiftKey, ctrlKey, metaKey: false, altKey: false, target: { tagName } }, actions);
    assert.equal(ours, done.length === 1);
    return done[0] ?? null;
  };

  it('do what the help says, and nothing while somebody writes', () => {
    assert.equal(press(' '), 'toggle');
    assert.equal(press('ArrowLeft'), 'frame -1');
    assert.equal(press('ArrowRight', { shiftKey: true }), 'skip 10000');
    assert.equal(press('['), 'mark in');
    assert.equal(press('3'), 'speed 2');
    assert.equal(press('n'), 'event next');
    assert.equal(press('?'), 'help');
    assert.equal(press('n', { tagName: 'INPUT' }), null);
    assert.equal(press('Escape', { tagName: 'INPUT' }), 'escape');
    assert.equal(press(' ', { tagName: 'BUTTON' }), null);
    assert.equal(press('+', { ctrlKey: true }), null);
    assert.equal(press('x'), null);
  });
});

describe('timeline: strips of pictures', () => {
  const START = Date.UTC(2026, 4, 4, 13);
  const END = START + HOUR_GRAIN.ms;

  it('of what is still recorded are asked for again, and shown meanwhile; others are kept', async () => {
    let nowMs = START + 300_000;
    let fails = false;
    const closed: number[] = [];
    const asked: number[] = [];
    const load = (): Promise<LoadedStrip> => {
      const number = asked.push(nowMs);
      if (fails) return Promise.reject(new Error('not now'));
      const image = { width: 160, height: 90, close: () => closed.push(number) } as unknown as ImageBitmap;
      return Promise.resolve({ image, times: [nowMs] });
    };
    const strips = new Strips({ load, changed: () => undefined, nowMs: () => nowMs });
    /** When the picture was taken that is shown at once; and what is asked for then has come. */
    const shown = async (): Promise<number | null> => {
      const still = strips.at('front', START + 1000, HOUR_GRAIN);
      await turn();
      return still?.time ?? null;
    };
    assert.equal(await shown(), null);
    const first = nowMs;
    nowMs += 9999;
    assert.equal(await shown(), first);
    assert.equal(asked.length, 1);
    nowMs += 1;
    assert.equal(await shown(), first, 'shown until the newer one is there');
    assert.equal(await shown(), nowMs);
    assert.deepEqual([asked.length, closed], [2, [1]]);

    const second = nowMs;
    nowMs = END + 30_000;
    fails = true;
    assert.equal(await shown(), second);
    assert.equal(await shown(), second, 'what failed takes nothing away');
    assert.equal(asked.length, 3);
    fails = false;
    nowMs = END + 60_000;
    await shown();
    const last = nowMs;
    nowMs += 86_400_000;
    assert.equal(await shown(), last);
    assert.equal(asked.length, 4, 'complete');
    strips.close();
    assert.deepEqual(closed, [1, 2, 4]);
  });
});
