import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { Catalog } from '../../engine/catalog/catalog.ts';
import {
  ActivityLog,
  cellsOf,
  countCells,
  GRID_BYTES,
  MINUTE_MS,
  overlap,
  packSeconds,
  unpackSeconds,
} from '../../engine/motion/activity.ts';
import { GRID_HEIGHT, GRID_WIDTH } from '../../engine/motion/types.ts';
import { ActivityReader } from '../../engine/playback/activity-reader.ts';
import { CatalogReader } from '../../engine/playback/catalog-reader.ts';

const grid = fc.uint8Array({ minLength: GRID_BYTES, maxLength: GRID_BYTES });
const T0 = 29_000_000 * MINUTE_MS;

describe('activity', () => {
  it('is the same after packing', () => {
    fc.assert(
      fc.property(fc.dictionary(fc.nat(59).map(String), grid), (entries) => {
        const seconds = new Map(Object.entries(entries).map(([second, cells]) => [Number(second), cells]));
        assert.deepEqual(unpackSeconds(packSeconds(seconds)), new Map([...seconds].sort(([a], [b]) => a - b)));
      }),
    );
  });

  it('has the cells that a rectangle touches, at least one', () => {
    const share = fc.double({ min: 0, max: 1, noNaN: true });
    fc.assert(
      fc.property(share, share, share, share, (x, y, width, height) => {
        const cells = cellsOf({ x, y, width, height });
        assert.ok(countCells(cells) >= 1);
        const column = Math.min(GRID_WIDTH - 1, Math.floor(x * GRID_WIDTH));
        const row = Math.min(GRID_HEIGHT - 1, Math.floor(y * GRID_HEIGHT));
        const bit = row * GRID_WIDTH + column;
        assert.ok(cells[bit >> 3]! & (1 << (bit & 7)));
      }),
    );
    assert.equal(countCells(cellsOf({ x: 0, y: 0, width: 1, height: 1 })), GRID_WIDTH * GRID_HEIGHT);
    assert.equal(
      overlap(cellsOf({ x: 0, y: 0, width: 0.4, height: 1 }), cellsOf({ x: 0.5, y: 0, width: 0.5, height: 1 })),
      false,
    );
  });

  it('is collected by seconds and given away by minutes, the unfinished one as often as it changes', () => {
    const log = new ActivityLog();
    const [left, right] = [
      cellsOf({ x: 0, y: 0, width: 0.1, height: 1 }),
      cellsOf({ x: 0.9, y: 0, width: 0.1, height: 1 }),
    ];
    assert.equal(log.add(T0 + 500, new Uint8Array(GRID_BYTES)), null);
    assert.equal(log.take(), null);
    log.add(T0 + 1000, left);
    log.add(T0 + 1400, right);
    log.add(T0 + 7000, left);
    const minute = log.take()!;
    assert.deepEqual([minute.start, minute.seconds, minute.peak], [T0, 2, countCells(left) + countCells(right)]);
    assert.equal(log.take(), null);
    log.add(T0 + 59_900, right);
    const done = log.add(T0 + MINUTE_MS, left)!;
    assert.deepEqual([done.start, done.seconds], [T0, 3]);
    assert.deepEqual([...unpackSeconds(done.data).keys()], [1, 7, 59]);
    assert.equal(log.take()!.start, T0 + MINUTE_MS);
  });
});

describe('the catalogue of activity', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-activity-'));
  let catalog: Catalog;
  let reader: ActivityReader;
  const left = cellsOf({ x: 0, y: 0, width: 0.2, height: 1 });
  const right = cellsOf({ x: 0.8, y: 0, width: 0.2, height: 1 });
  before(() => {
    catalog = Catalog.open(join(folder, 'catalog.sqlite'));
    const log = new ActivityLog();
    const at = (second: number, cells: Uint8Array): void => {
      const minute = log.add(T0 + second * 1000, cells);
      if (minute) catalog.putActivity('yard', minute);
    };
    for (const second of [10, 11, 12, 40, 58, 59, 60, 61]) at(second, left);
    for (const second of [100, 3700]) at(second, right);
    catalog.putActivity('yard', log.take()!);
    reader = new ActivityReader(new CatalogReader(join(folder, 'catalog.sqlite')));
  });
  after(() => {
    catalog.close();
    rmSync(folder, { recursive: true, force: true });
  });
  const range = (start: number, end: number): { start: number; end: number } => ({
    start: T0 + start * 1000,
    end: T0 + end * 1000,
  });
  const seconds = ({ moved }: { moved: [number, number][] }): number[][] =>
    moved.map(([start, end]) => [(start - T0) / 1000, (end - T0) / 1000]);

  it('says when something moved in a region, newest first, over minutes', () => {
    const all = range(0, 5000);
    assert.deepEqual(seconds(reader.moved('yard', left, all, 10)), [
      [58, 62],
      [40, 41],
      [10, 13],
    ]);
    assert.deepEqual(seconds(reader.moved('yard', right, all, 10)), [
      [3700, 3701],
      [100, 101],
    ]);
    assert.deepEqual(seconds(reader.moved('yard', left, range(11, 41), 10)), [
      [40, 41],
      [11, 13],
    ]);
    assert.deepEqual(reader.moved('nobody', left, all, 10).moved, []);
  });

  it('goes on page by page, and each comes once', () => {
    const pages: number[][] = [];
    let { end } = range(0, 5000);
    for (let i = 0; i < 10; i++) {
      const page = reader.moved('yard', left, { start: T0, end }, 1);
      pages.push(...seconds(page));
      if (page.next === null) break;
      end = page.next;
    }
    assert.deepEqual(pages, [
      [58, 62],
      [40, 41],
      [10, 13],
    ]);
  });

  it('is the intensity of a timeline, fine and coarse', () => {
    const fine = reader.intensity('yard', range(0, 120), 120);
    assert.deepEqual(
      [...fine].flatMap((value, i) => (value > 0 ? i : [])),
      [10, 11, 12, 40, 58, 59, 60, 61, 100],
    );
    const coarse = reader.intensity('yard', range(0, 7200), 120);
    assert.deepEqual(
      [...coarse].flatMap((value, i) => (value > 0 ? i : [])),
      [0, 1, 61],
    );
    assert.ok(coarse[0]! > 0 && coarse[0]! < 255);
  });
});
