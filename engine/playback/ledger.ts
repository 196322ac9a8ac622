/** What the catalogue tells about time and space: coverage, timelines, events, storage. Owned by the query thread. */
import { statfsSync } from 'node:fs';
import { EventQuery, type EventCursor, type EventFilter, type EventPage } from '../events/event-query.ts';
import { MAX_ROLL_MS } from '../events/incoming.ts';
import { ROWS_PER_MS } from '../events/words.ts';
import { TagReader, type KnownTag } from '../events/tag-reader.ts';
import { computeCoverage, JOIN_MS, spansIn } from '../catalog/coverage.ts';
import { deletedIn } from '../catalog/deleted.ts';
import { joinCaused, joinSorted, type DeletedSpan, type GapSpan, type Span } from './spans.ts';
import { EngineError, type Coverage, type GapCause, type StreamName, type TimeRange } from '../types.ts';
import type { ActivityReader } from './activity-reader.ts';
import type { CatalogReader } from './catalog-reader.ts';
import { sumCoverage, type DayCoverage } from './daily-coverage.ts';
import { MAX_SEGMENT_MS, type Footage } from './footage.ts';

export interface TimelineLane {
  camera: string;
  recorded: Span[];
  gaps: GapSpan[];
  /** What retention rules have deleted. */
  deleted: DeletedSpan[];
  /** See {@link ActivityReader.intensity}; in base64. */
  motion: string;
  /** How many events of a kind begin in each part, 255 for that or more; in base64. Kinds without any are left out. */
  events: Record<string, string>;
}

type Footing = Pick<TimelineLane, 'camera' | 'recorded' | 'gaps'>;

export interface StorageUse {
  camera: string;
  bytes: number;
  files: number;
}

export interface StorageState {
  /** The folder. For the log, not for answers. */
  path: string;
  freeBytes: number | null;
  totalBytes: number | null;
  cameras: StorageUse[];
}

export interface CatalogStatistics {
  sqlite: string;
  /** Migrations that were run. */
  schema: number;
  bytes: number;
  /** Of these, what the next rows are put into. */
  freeBytes: number;
  rows: Record<string, number>;
}

const MAX_GAPS = 20_000;
/** More than the milliseconds of a file; times those of a timeline in fine detail it is an exact number still. */
const PACK = 2 ** 23;
const MAX_FINE_MS = 2 ** 30 - MAX_SEGMENT_MS;
/** A gap whose file was lost later may lie in another. */
const OVERLAPPING_GAPS = 8;
/** Joining over so much time, several files are one. */
const COARSE_MS = 5 * 60_000;
/** Sums over all footage are not made again before. */
const TOTALS_MS = 10_000;

function demandFew(spans: number, most: number): void {
  if (spans > most) throw new EngineError('too-many', 'too many ranges for one answer: ask for a shorter range');
}

export class Ledger {
  private readonly catalog: CatalogReader;
  private readonly footage: Footage;
  private readonly totals = new Map<string, { atMs: number; value: unknown }>();

  private readonly activity: ActivityReader;
  private readonly tagReader: TagReader;

  constructor(catalog: CatalogReader, footage: Footage, activity: ActivityReader) {
    this.catalog = catalog;
    this.footage = footage;
    this.activity = activity;
    this.tagReader = new TagReader(catalog);
  }

  /** Every camera that was ever recorded. */
  cameras(): string[] {
    return (this.catalog.sql('SELECT key FROM camera ORDER BY key').all() as { key: string }[]).map(({ key }) => key);
  }

  /**
   * What is recorded and what is missing; the file that is being written counts up to what is in it. Throws `too-many`
   * for more than `most` ranges.
   */
  coverage(camera: string, stream: StreamName, range: TimeRange, nowMs: number, most = Infinity): Coverage {
    const { recorded, gaps } = this.lane(camera, stream, range, JOIN_MS, nowMs);
    const segments = recorded.map(([start, end]) => ({ start, end }));
    const missing = gaps.map(([start, end, cause]) => ({ start, end, cause }));
    const deleted = this.deleted(camera, stream, range);
    // Before they are compared with each other, and again with what lies between them.
    demandFew(segments.length + missing.length + deleted.length, most);
    const coverage = computeCoverage({ camera, stream, ...range }, segments, missing, nowMs, deleted);
    demandFew(spansIn(coverage), most);
    return coverage;
  }

  private deleted(camera: string, stream: StreamName, range: TimeRange): ReturnType<typeof deletedIn> {
    return deletedIn((text) => this.catalog.sql(text), camera, stream, range);
  }

  /**
   * Sums for each of the given ranges, days as a rule, up to now. Most days miss nothing: SQLite sums those in the index,
   * and only where something is missing or deleted are the files looked at one by one.
   */
  daily(camera: string, stream: StreamName, days: readonly TimeRange[], nowMs: number): DayCoverage[] {
    const id = this.catalog.sql('SELECT id FROM camera WHERE key = ?').pluck().get(camera) as number | undefined;
    const open = this.footage.openFiles(camera, stream);
    return days.map(({ start, end: until }) => {
      const end = Math.max(start, Math.min(until, nowMs));
      const range = { start, end };
      const touched = (files: readonly TimeRange[]): boolean =>
        files.some((file) => file.start < end && file.end > start);
      if (
        touched(open) ||
        (id !== undefined && this.gaps(id, stream, range, nowMs).length > 0) ||
        deletedIn((text) => this.catalog.sql(text), camera, stream, range).length > 0
      )
        return sumCoverage(this.coverage(camera, stream, range, nowMs));
      const recordedMs = id === undefined ? 0 : Math.min(end - start, this.recordedMs(id, stream, range));
      return { recordedMs, missingMs: 0, deletedMs: 0, causes: {} };
    });
  }

  private recordedMs(camera: number, stream: StreamName, { start, end }: TimeRange): number {
    return this.catalog
      .sql(
        `SELECT coalesce(sum(min(end_ms, @end) - max(start_ms, @start)), 0) FROM segment
         WHERE camera_id = @camera AND stream = @stream AND start_ms >= @from AND start_ms < @end AND end_ms > @start`,
      )
      .pluck()
      .get({ camera, stream, start, end, from: start - MAX_SEGMENT_MS }) as number;
  }

  /**
   * Lanes for a view `width` pixels wide: what is shorter than a pixel is joined with its neighbours. As JSON, because
   * the thread that answers for it would spend more on taking over thousands of small arrays than on sending them.
   */
  timeline(
    cameras: readonly string[],
    stream: StreamName,
    range: TimeRange,
    width: number,
    nowMs: number,
    tags: readonly string[] = [],
  ): string {
    const joinMs = Math.max(JOIN_MS, (range.end - range.start) / width);
    const lanes = cameras.map((camera) => ({
      ...this.lane(camera, stream, range, joinMs, nowMs),
      deleted: joinCaused(
        this.deleted(camera, stream, range).map(({ start, end, reason }): DeletedSpan => [start, end, reason]),
        range,
        joinMs,
      ),
      motion: Buffer.from(this.activity.intensity(camera, range, width)).toString('base64'),
      events: this.density(camera, range, width),
    }));
    const curves = tags.length > 0 ? { tags: this.tagReader.lanes(tags, range, width) } : {};
    return JSON.stringify({ ...range, lanes, ...curves });
  }

  private lane(camera: string, stream: StreamName, range: TimeRange, joinMs: number, nowMs: number): Footing {
    const id = this.catalog.sql('SELECT id FROM camera WHERE key = ?').pluck().get(camera) as number | undefined;
    if (id === undefined) return { camera, recorded: [], gaps: [] };
    const spans =
      joinMs >= COARSE_MS
        ? this.coarse(id, stream, range, joinMs)
        : partsOf(range, MAX_FINE_MS).flatMap((part) => this.files(id, stream, part));
    for (const { start, end } of this.footage.openFiles(camera, stream)) spans.push([start, end]);
    spans.sort((a, b) => a[0] - b[0]);
    const gaps = this.gaps(id, stream, range, nowMs);
    return { camera, recorded: joinSorted(spans, range, joinMs), gaps: joinCaused(gaps, range, joinMs) };
  }

  /** A file as one number, and back: rows of one column are handed over in less than half the time. */
  private files(camera: number, stream: StreamName, { start, end }: TimeRange): Span[] {
    const from = start - MAX_SEGMENT_MS;
    const packed = this.catalog
      .sql(
        `SELECT (start_ms - @from) * ${PACK} + min(end_ms - start_ms, ${PACK - 1}) FROM segment
         WHERE camera_id = @camera AND stream = @stream AND start_ms >= @from AND start_ms < @end AND end_ms > @start
         ORDER BY start_ms`,
      )
      .pluck()
      .all({ camera, stream, from, start, end }) as number[];
    return packed.map((number) => {
      const length = number % PACK;
      const first = from + (number - length) / PACK;
      return [first, first + length];
    });
  }

  /**
   * Files that begin less than `joinMs` apart are joined anyway: the first start and the last end of them will do.
   * SQLite finds those in a fraction of the time that it takes to hand over 43,200 rows.
   */
  private coarse(camera: number, stream: StreamName, { start, end }: TimeRange, joinMs: number): Span[] {
    const statement = this.catalog
      .sql(
        'SELECT min(start_ms), max(end_ms) FROM segment WHERE camera_id = ? AND stream = ? AND start_ms >= ? AND start_ms < ?',
      )
      .raw();
    const spans: Span[] = [];
    for (let from = start - MAX_SEGMENT_MS; from < end; from += joinMs) {
      const [first, last] = statement.get(camera, stream, from, Math.min(from + joinMs, end)) as [
        number | null,
        number | null,
      ];
      if (first !== null && last !== null) spans.push([first, last]);
    }
    return spans;
  }

  /** Counted by SQLite in indexes alone: 200,000 events cost some 30 ms, and nothing for each to hand over. */
  private density(camera: string, { start, end }: TimeRange, width: number): Record<string, string> {
    const id = this.catalog.sql('SELECT id FROM camera WHERE key = ?').pluck().get(camera) as number | undefined;
    if (id === undefined) return {};
    const partOf = (ms: string): string => `CAST((${ms} - @start) * @width / (@end - @start) AS INTEGER)`;
    // Part and count as one number: rows of one column are handed over in less than half the time.
    const counts = (ms: string): string => `SELECT ${partOf(ms)} * 256 + min(count(*), 255)`;
    const bind = { id, start, end, width };
    const found: Record<string, string> = {};
    const add = (kind: string, rows: number[]): void => {
      if (rows.length === 0) return;
      const parts = Buffer.alloc(width);
      for (const row of rows) parts[Math.floor(row / 256)] = row % 256;
      found[kind] = parts.toString('base64');
    };
    // When an event began is in its row's number; when its footage begins, a little before, is what the index is sorted by.
    const began = `(ec.event / ${ROWS_PER_MS})`;
    const linked = `ec.camera_id = @id AND ec.start_ms >= @start - ${MAX_ROLL_MS} AND ec.start_ms < @end
      AND ec.event >= @start * ${ROWS_PER_MS} AND ec.event < @end * ${ROWS_PER_MS}`;
    const motion = this.catalog.sql(
      `${counts(began)} FROM event_camera ec WHERE ${linked} AND ec.motion = 1 GROUP BY ${partOf(began)}`,
    );
    add('motion', motion.pluck().all(bind) as number[]);
    const others = this.catalog.sql(
      `${counts(began)}, e.type FROM event_camera ec JOIN event e ON e.row = ec.event
       WHERE ${linked} AND ec.motion = 0 GROUP BY e.type, ${partOf(began)}`,
    );
    const byKind = new Map<string, number[]>();
    for (const [row, kind] of others.raw().all(bind) as [number, string][]) {
      byKind.set(kind, [...(byKind.get(kind) ?? []), row]);
    }
    for (const [kind, rows] of byKind) add(kind, rows);
    const recordings = this.catalog.sql(
      `${counts('start_ms')} FROM recording WHERE camera_id = @id AND start_ms >= @start AND start_ms < @end
       AND trigger <> 'continuous' GROUP BY ${partOf('start_ms')}`,
    );
    add('recording', recordings.pluck().all(bind) as number[]);
    return found;
  }

  private gaps(camera: number, stream: StreamName, { start, end }: TimeRange, nowMs: number): GapSpan[] {
    const columns = 'SELECT start_ms, coalesce(end_ms, max(@now, start_ms)) AS end_ms, cause FROM gap';
    const of = 'camera_id = @camera AND stream = @stream';
    // Gaps follow each other: of those before the range only the last can reach into it.
    return this.catalog
      .sql(
        `SELECT * FROM (${columns} WHERE ${of} AND start_ms < @start ORDER BY start_ms DESC LIMIT ${OVERLAPPING_GAPS})
         WHERE end_ms > @start
         UNION ALL SELECT * FROM (${columns} WHERE ${of} AND start_ms >= @start AND start_ms < @end LIMIT ${MAX_GAPS})
         ORDER BY start_ms`,
      )
      .raw()
      .all({ camera, stream, start, end, now: nowMs }) as GapSpan[];
  }

  /** What happened, page by page. Throws `bad-request`. */
  events(filter: EventFilter, after: EventCursor | null, limit: number): EventPage {
    return new EventQuery((text) => this.catalog.sql(text)).page(filter, after, limit);
  }

  /** The cameras of an event, by its id here or there; null when there is none. */
  camerasOf(event: string): string[] | null {
    const found = [event, event.replace(/^e/, '')].flatMap((id) =>
      this.catalog.sql('SELECT data FROM event WHERE id = ?').pluck().all(id),
    ) as string[];
    return found[0] === undefined ? null : ((JSON.parse(found[0]) as { cameras?: string[] }).cameras ?? []);
  }

  /** Every tag of the process. */
  tags(): KnownTag[] {
    return this.tagReader.tags();
  }

  /**
   * Bytes recorded by camera, and the room left, for each storage folder, in the order they were first used.
   * @param local folders whose disks are asked: one that hangs would hold up all who watch
   */
  storage(local: readonly string[], nowMs: number): StorageState[] {
    return this.total('storage', nowMs, () => {
      const storages = this.catalog.sql('SELECT id, path FROM storage ORDER BY id').all() as {
        id: number;
        path: string;
      }[];
      return storages.map(({ id, path }) => ({
        path,
        ...(local.includes(path) ? spaceOf(path) : { freeBytes: null, totalBytes: null }),
        cameras: this.usage(id),
      }));
    });
  }

  private usage(storage: number): StorageUse[] {
    return this.catalog
      .sql(
        `SELECT c.key AS camera, u.bytes, u.files FROM usage u JOIN camera c ON c.id = u.camera_id
         WHERE u.storage_id = ? AND u.files > 0 ORDER BY c.key`,
      )
      .all(storage) as StorageUse[];
  }

  /** Where the footage of each camera begins and ends. */
  extents(): { camera: string; oldest: number; newest: number }[] {
    const cameras = this.catalog.sql('SELECT id, key FROM camera ORDER BY key').all() as { id: number; key: string }[];
    const edge = (camera: number, what: string, order: string): number[] =>
      (['main', 'sub'] as const).flatMap(
        (stream) =>
          (this.catalog
            .sql(`SELECT ${what} FROM segment WHERE camera_id = ? AND stream = ? ORDER BY start_ms ${order} LIMIT 1`)
            .pluck()
            .get(camera, stream) as number | undefined) ?? [],
      );
    return cameras.flatMap(({ id, key }) => {
      const starts = edge(id, 'start_ms', 'ASC');
      const ends = edge(id, 'coalesce(end_ms, start_ms)', 'DESC');
      return starts.length > 0 ? [{ camera: key, oldest: Math.min(...starts), newest: Math.max(...ends) }] : [];
    });
  }

  /** Seconds missing by camera and cause, all in all. */
  gapSeconds(nowMs: number): { camera: string; cause: GapCause; seconds: number }[] {
    return this.total(
      'gaps',
      nowMs,
      () =>
        this.catalog
          .sql(
            `SELECT c.key AS camera, g.cause, sum(max(0, coalesce(g.end_ms, ?) - g.start_ms)) / 1000.0 AS seconds
             FROM gap g JOIN camera c ON c.id = g.camera_id GROUP BY g.camera_id, g.cause`,
          )
          .all(nowMs) as { camera: string; cause: GapCause; seconds: number }[],
    );
  }

  /** What is in the catalogue, for a support case: nothing in it says where or what was filmed. */
  statistics(nowMs: number): CatalogStatistics {
    return this.total('statistics', nowMs, () => {
      const pragma = (name: string): unknown => this.catalog.sql(`SELECT * FROM pragma_${name}`).pluck().get();
      const tables = this.catalog
        .sql("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name")
        .pluck()
        .all() as string[];
      return {
        sqlite: this.catalog.sql('SELECT sqlite_version()').pluck().get() as string,
        schema: pragma('user_version') as number,
        bytes: (pragma('page_count') as number) * (pragma('page_size') as number),
        freeBytes: (pragma('freelist_count') as number) * (pragma('page_size') as number),
        rows: Object.fromEntries(
          tables.map((table) => [
            table,
            this.catalog
              .sql(
                table === 'segment' ? 'SELECT coalesce(sum(files), 0) FROM usage' : `SELECT count(*) FROM "${table}"`,
              )
              .pluck()
              .get() as number,
          ]),
        ),
      };
    });
  }

  private total<T>(name: string, nowMs: number, make: () => T): T {
    const known = this.totals.get(name);
    if (known && Math.abs(nowMs - known.atMs) < TOTALS_MS) return known.value as T;
    const value = make();
    this.totals.set(name, { atMs: nowMs, value });
    return value;
  }
}

function partsOf({ start, end }: TimeRange, longestMs: number): TimeRange[] {
  const parts: TimeRange[] = [];
  for (let from = start; from < end; from += longestMs)
    parts.push({ start: from, end: Math.min(end, from + longestMs) });
  return parts;
}

function spaceOf(path: string): { freeBytes: number | null; totalBytes: number | null } {
  try {
    const { bavail, blocks, bsize } = statfsSync(path);
    return { freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch (error) {
    if (error instanceof Error && 'code' in error) return { freeBytes: null, totalBytes: null }; // not mounted now
    throw error;
  }
}
