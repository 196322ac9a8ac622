import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import fc from 'fast-check';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { ActivityReader } from '../../engine/playback/activity-reader.ts';
import { CatalogReader } from '../../engine/playback/catalog-reader.ts';
import { sumCoverage } from '../../engine/playback/daily-coverage.ts';
import { Footage } from '../../engine/playback/footage.ts';
import { Ledger } from '../../engine/playback/ledger.ts';
import { localDays } from '../../engine/playback/local-days.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

const hours = (days: { start: number; end: number }[]): number[] => days.map(({ start, end }) => (end - start) / HOUR);

describe('days of a time zone', () => {
  it('are 25 hours long when the clocks go back, 23 when they go forward', () => {
    const autumn = localDays({ start: Date.UTC(2026, 9, 24, 10), end: Date.UTC(2026, 9, 26, 10) }, 'Europe/Berlin');
    assert.deepEqual(
      autumn.map(({ day }) => day),
      ['2026-10-24', '2026-10-25', '2026-10-26'],
    );
    assert.deepEqual(hours(autumn), [24, 25, 24]);
    assert.equal(new Date(autumn[1]!.start).toISOString(), '2026-10-24T22:00:00.000Z');
    const spring = localDays({ start: Date.UTC(2026, 2, 28, 10), end: Date.UTC(2026, 2, 30, 10) }, 'Europe/Berlin');
    assert.deepEqual(hours(spring), [24, 23, 24]);
  });

  it('begin at one where there is no midnight, and are left out where there is no day', () => {
    // Chile's clocks go from 24:00 to 01:00, and from 24:00 back to 23:00.
    const chile = localDays({ start: Date.UTC(2026, 8, 5, 12), end: Date.UTC(2026, 8, 7, 12) }, 'America/Santiago');
    assert.deepEqual(hours(chile), [24, 23, 24]);
    const back = localDays({ start: Date.UTC(2026, 3, 3, 12), end: Date.UTC(2026, 3, 6, 12) }, 'America/Santiago');
    assert.deepEqual(hours(back), [24, 25, 24, 24]);
    const samoa = localDays({ start: Date.UTC(2011, 11, 29, 22), end: Date.UTC(2011, 11, 31, 22) }, 'Pacific/Apia');
    assert.deepEqual(
      samoa.map(({ day }) => day),
      ['2011-12-29', '2011-12-31', '2012-01-01'],
    );
  });

  it('follow each other without hole and hold the range, in every zone', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...Intl.supportedValuesOf('timeZone')),
        fc.integer({ min: Date.UTC(1975, 0), max: Date.UTC(2037, 0) }),
        fc.integer({ min: 1, max: 12 * DAY }),
        (zone, start, length) => {
          const range = { start, end: start + length };
          const days = localDays(range, zone);
          assert.ok(days[0]!.start <= range.start && days.at(-1)!.end >= range.end);
          days.slice(1).forEach((day, i) => assert.equal(day.start, days[i]!.end));
          for (const { start: from, end } of days) assert.ok(end - from >= 22 * HOUR && end - from <= 25 * HOUR, zone);
        },
      ),
      { numRuns: 60 },
    );
  });

  it('need a zone that exists', () => {
    assert.throws(() => localDays({ start: 0, end: DAY }, 'Middle/Earth'), /tz must be/);
  });
});

describe('coverage by day', () => {
  const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-daily-'));
  const file = join(folder, 'catalog.sqlite');
  const range = { start: Date.UTC(2026, 9, 23, 10), end: Date.UTC(2026, 9, 28, 10) };
  const days = localDays(range, 'Europe/Berlin');
  let ledger: Ledger;
  let db: Sqlite.Database;

  before(() => {
    Catalog.open(file).close();
    db = new Sqlite(file);
    db.exec("INSERT INTO camera (id, key) VALUES (1, 'front'); INSERT INTO storage (id, path) VALUES (1, '/nowhere')");
    const reader = new CatalogReader(file);
    ledger = new Ledger(reader, new Footage(reader, folder), new ActivityReader(reader));
  });
  after(() => {
    db.close();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Ten minutes each, recorded, missing or neither, and deleted afterwards. */
  const slots = fc.array(fc.constantFrom('r', 'r', 'r', 'r', 'r', 'r', 'r', 'r', 'g', 'n', 'd'), {
    minLength: 20,
    maxLength: 700,
  });

  it('says the same as adding up every range would', () => {
    fc.assert(
      fc.property(slots, fc.integer({ min: 0, max: 3 }), (made, quiet) => {
        db.exec('DELETE FROM segment; DELETE FROM gap; DELETE FROM deleted');
        const segment = db.prepare(
          "INSERT INTO segment (camera_id, stream, storage_id, path, start_ms, end_ms, start_ticks, state) VALUES (1, 'main', 1, ?, ?, ?, 0, 'closed')",
        );
        const gap = db.prepare(
          "INSERT INTO gap (camera_id, stream, start_ms, end_ms, cause) VALUES (1, 'main', ?, ?, 'stalled')",
        );
        const gone = db.prepare(
          "INSERT INTO deleted (camera_id, stream, start_ms, end_ms, reason, at_ms, bytes, files) VALUES (1, 'main', ?, ?, 'age', 0, 1, 1)",
        );
        db.transaction(() => {
          made.forEach((slot, i) => {
            const start = range.start - 2 * HOUR + i * 600_000;
            const end = start + 600_000;
            // The first days miss nothing: those are summed in another way.
            if (slot === 'r' || i < quiet * 150) segment.run(`${i}`, start, end);
            else if (slot === 'g') gap.run(start, end);
            else if (slot === 'd') gone.run(start, end);
          });
        })();
        const now = range.start + 100 * HOUR;
        const daily = ledger.daily('front', 'main', days, now);
        days.forEach((day, i) => {
          const until = { start: day.start, end: Math.min(day.end, Math.max(day.start, now)) };
          assert.deepEqual(daily[i], sumCoverage(ledger.coverage('front', 'main', until, now)), day.day);
        });
      }),
      { numRuns: 25 },
    );
  });

  it('counts a gap that lasts up to now, and nothing of the future', () => {
    db.exec('DELETE FROM segment; DELETE FROM gap; DELETE FROM deleted');
    const start = days[2]!.start;
    db.prepare("INSERT INTO gap (camera_id, stream, start_ms, cause) VALUES (1, 'main', ?, 'camera-offline')").run(
      start,
    );
    const daily = ledger.daily('front', 'main', days, start + HOUR);
    assert.deepEqual(
      daily.map(({ missingMs }) => missingMs),
      days.map((_, i) => (i === 2 ? HOUR : 0)),
    );
    assert.deepEqual(daily[2]!.causes, { 'camera-offline': HOUR });
  });

  it('knows nothing of a camera that was never recorded', () => {
    for (const day of ledger.daily('nobody', 'main', days, range.end)) {
      assert.deepEqual(day, { recordedMs: 0, missingMs: 0, deletedMs: 0, causes: {} });
    }
  });
});
