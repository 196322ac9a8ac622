import assert from 'node:assert/strict';
import { mock } from 'node:test';
import fc from 'fast-check';
import { arranged, ASPECT, LAYOUTS, moved, pageOf, planOf } from '../../dashboard/grid/layout.ts';
import { preload, type Preloaded } from '../../dashboard/grid/preload.ts';
import { LONGEST_MS, Steering, whenAway, type Command } from '../../dashboard/grid/steering.ts';
import {
  endsWithToken,
  failed,
  FORGET_MS,
  modeOf,
  NO_TROUBLE,
  skipped,
  THIN_MS,
} from '../../dashboard/grid/view-mode.ts';

const sizes = { width: fc.integer({ min: 150, max: 3840 }), height: fc.integer({ min: 120, max: 2160 }) };

describe('the layout of the grid', () => {
  it('has tiles that lie beside each other, inside of the width, in the shape of a picture', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...LAYOUTS),
        fc.integer({ min: 0, max: 60 }),
        sizes.width,
        sizes.height,
        (layout, count, width, height) => {
          const { columns, rows, cellWidth, cellHeight, places } = planOf(layout, count, width, height, 6);
          assert.ok(cellWidth * columns + 6 * (columns - 1) <= width + 0.001);
          assert.ok(Math.abs(cellWidth / cellHeight - ASPECT) < 0.001);
          assert.ok(places.length >= 1);
          const cells = places.flatMap(({ column, row, span }) =>
            Array.from({ length: span * span }, (_, i) => `${column + (i % span)} ${row + Math.floor(i / span)}`),
          );
          assert.equal(new Set(cells).size, cells.length, 'two tiles in one cell');
          for (const { column, row, span } of places) assert.ok(column + span - 1 <= columns && row + span - 1 <= rows);
        },
      ),
    );
  });

  it('makes pictures as large as fits, by itself', () => {
    const shape = (count: number, width: number, height: number): string => {
      const { columns, rows } = planOf('auto', count, width, height, 0);
      return `${columns}x${rows}`;
    };
    assert.equal(shape(1, 1600, 900), '1x1');
    assert.equal(shape(2, 1600, 450), '2x1');
    assert.equal(shape(4, 1600, 900), '2x2');
    assert.equal(shape(6, 1600, 700), '3x2');
    assert.equal(shape(9, 3840, 2000), '3x3');
    assert.equal(shape(16, 1600, 900), '4x4');
  });

  it('shows as many as its name says, and is scrolled on a phone', () => {
    assert.equal(planOf('4x4', 3, 1600, 900).places.length, 16);
    assert.equal(planOf('2x4', 20, 1600, 900).columns, 4);
    assert.equal(planOf('2x4', 20, 900, 1600).columns, 2);
    assert.deepEqual(planOf('1+5', 9, 1600, 900).places[0], { column: 1, row: 1, span: 2 });
    const phone = planOf('auto', 4, 358, 700, 6);
    assert.deepEqual([phone.columns, phone.cellWidth], [1, 358]);
    assert.equal(planOf('auto', 12, 358, 700, 6).columns, 2);
    assert.equal(planOf('4x4', 16, 358, 700, 6).columns, 2);
  });
});

describe('the order of the grid', () => {
  it('keeps what somebody arranged, with new cameras behind', () => {
    assert.deepEqual(arranged(['a', 'b', 'c', 'd'], ['c', 'gone', 'a', 'c']), ['c', 'a', 'b', 'd']);
  });

  it('loses no camera when one is moved', () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 9 }),
        fc.nat(8),
        fc.integer({ min: -3, max: 12 }),
        (order, which, to) => {
          const camera = order[which % order.length]!;
          const now = moved(order, camera, to);
          assert.deepEqual([...now].sort(), [...order].sort());
          assert.equal(now.indexOf(camera), Math.max(0, Math.min(order.length - 1, to)));
        },
      ),
    );
    assert.deepEqual(moved(['a', 'b'], 'x', 0), ['a', 'b']);
  });

  it('has pages', () => {
    assert.deepEqual(pageOf(['a', 'b', 'c'], 2, 1), { cameras: ['c'], page: 1, pages: 2 });
    assert.deepEqual(pageOf(['a', 'b', 'c'], 2, 9), { cameras: ['c'], page: 1, pages: 2 });
    assert.deepEqual(pageOf([], 4, 0), { cameras: [], page: 0, pages: 1 });
  });
});

describe('how a camera is shown', () => {
  const live = { quality: 'auto', playable: true, saving: false, lively: false } as const;

  it('is live media, and MJPEG where the browser has none', () => {
    assert.equal(modeOf(live, NO_TROUBLE, 0), 'mse');
    assert.equal(modeOf({ ...live, playable: false }, NO_TROUBLE, 0), 'mjpeg');
  });

  it('falls back step by step, and tries the best again after a while', () => {
    const broken = [1, 2, 3].reduce((trouble, at) => failed(trouble, at), NO_TROUBLE);
    assert.equal(modeOf(live, failed(NO_TROUBLE, 1), 2), 'mse');
    assert.equal(modeOf(live, broken, 4), 'mjpeg');
    assert.equal(modeOf(live, { ...broken, mjpegFailed: true }, 4), 'stills');
    assert.equal(modeOf(live, { ...broken, mjpegFailed: true }, 3 + FORGET_MS), 'mse');
  });

  it('is stills until something moves, where that was chosen or the network is slow', () => {
    assert.equal(modeOf({ ...live, quality: 'motion' }, NO_TROUBLE, 0), 'stills');
    assert.equal(modeOf({ ...live, quality: 'motion', lively: true }, NO_TROUBLE, 0), 'mse');
    assert.equal(modeOf({ ...live, saving: true }, NO_TROUBLE, 0), 'stills');
    assert.equal(modeOf({ ...live, quality: 'live', saving: true }, NO_TROUBLE, 0), 'mse');
    const slow = skipped(skipped(NO_TROUBLE, 1000), 5000);
    assert.equal(modeOf(live, skipped(NO_TROUBLE, 1000), 2000), 'mse');
    assert.equal(modeOf(live, slow, 6000), 'stills');
    assert.equal(modeOf({ ...live, lively: true }, slow, 6000), 'mse');
    assert.equal(modeOf(live, slow, 5000 + THIN_MS), 'mse');
    assert.equal(modeOf(live, skipped(skipped(NO_TROUBLE, 0), 60_000), 60_001), 'mse');
  });
});

describe('steering by something held', () => {
  const told: Command[] = [];
  const counts = (): [moves: number, stops: number] => [
    told.filter(({ command }) => command === 'move').length,
    told.filter(({ command }) => command === 'stop').length,
  ];
  beforeEach(() => {
    told.length = 0;
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  });
  afterEach(() => mock.timers.reset());

  it('tells the camera again while it is held, and that it was let go once', () => {
    const steering = new Steering((command) => told.push(command));
    steering.end();
    assert.deepEqual(told, [], 'nothing was held');
    steering.begin({ pan: 0.5 });
    mock.timers.tick(900);
    steering.end();
    steering.end();
    mock.timers.tick(60_000);
    assert.deepEqual(counts(), [3, 1]);
    assert.deepEqual(told[0], { command: 'move', pan: 0.5, timeout: 1000 });
    assert.ok(!steering.active);
  });

  it('ends in any case, for the end of a key may get lost', () => {
    const steering = new Steering((command) => told.push(command));
    steering.begin({ tilt: 1 });
    mock.timers.tick(LONGEST_MS - 1);
    steering.begin({ tilt: -1 });
    mock.timers.tick(LONGEST_MS - 1);
    assert.equal(counts()[1], 0, 'it began anew');
    mock.timers.tick(1);
    const [moves, stops] = counts();
    assert.equal(stops, 1);
    mock.timers.tick(60_000);
    assert.deepEqual(counts(), [moves, 1]);
  });

  it('ends when the window loses the focus or the page is hidden', () => {
    const [window, document] = [new EventTarget(), Object.assign(new EventTarget(), { visibilityState: 'visible' })];
    let ended = 0;
    const leave = whenAway(window, document, () => ended++);
    window.dispatchEvent(new Event('blur'));
    assert.equal(ended, 1);
    document.dispatchEvent(new Event('visibilitychange'));
    assert.equal(ended, 1, 'it is to be seen again');
    document.visibilityState = 'hidden';
    document.dispatchEvent(new Event('visibilitychange'));
    assert.equal(ended, 2);
    leave();
    window.dispatchEvent(new Event('blur'));
    document.dispatchEvent(new Event('visibilitychange'));
    assert.equal(ended, 2);
  });
});

describe('a picture that is loaded out of sight', () => {
  it('is let go without a word, so that a stream has one connection', () => {
    const told: string[] = [];
    const image: Preloaded = { onload: null, onerror: null, src: '' };
    const effects = { loaded: () => void told.push('loaded'), failed: () => void told.push('failed') };
    const letGo = preload(image, 'front.mjpeg?token=1', effects);
    assert.equal(image.src, 'front.mjpeg?token=1');
    (image.onload as () => void)();
    letGo();
    assert.deepEqual(image, { onload: null, onerror: null, src: '' });
    assert.deepEqual(told, ['loaded']);
  });

  it('begins anew with a newer token only where it is a stream of pictures', () => {
    assert.deepEqual((['mse', 'mjpeg', 'stills'] as const).filter(endsWithToken), ['mjpeg']);
  });
});
