/** What is known of the process: its tags, and their curves. Owned by the query thread. */
import type { CatalogReader } from '../playback/catalog-reader.ts';
import type { TimeRange } from '../types.ts';
import { laneOf, unpackSamples, type LanePoint, type Sample } from './tag-block.ts';

export interface KnownTag {
  source: string;
  name: string;
  unit: string | null;
  kind: 'number' | 'boolean';
  /** When it was last told, to ten seconds. */
  last: number;
}

export interface TagLane {
  source: string;
  name: string;
  unit: string | null;
  kind: 'number' | 'boolean';
  points: LanePoint[];
}

const COLUMNS = `id, source, name, unit, CASE boolean WHEN 1 THEN 'boolean' ELSE 'number' END AS kind, last_ms AS last`;

export class TagReader {
  private readonly catalog: CatalogReader;

  constructor(catalog: CatalogReader) {
    this.catalog = catalog;
  }

  tags(): KnownTag[] {
    const rows = this.catalog.sql(`SELECT ${COLUMNS} FROM tag ORDER BY source, name`).all() as (KnownTag & {
      id: number;
    })[];
    return rows.map(({ source, name, unit, kind, last }) => ({ source, name, unit, kind, last }));
  }

  /** Curves of tags, by `name` (of any source) or `source:name`, with no more points than three a pixel. */
  lanes(names: readonly string[], range: TimeRange, width: number): TagLane[] {
    const rows = this.catalog
      .sql(
        `SELECT ${COLUMNS} FROM tag WHERE name IN (SELECT value FROM json_each(@names))
           OR source || ':' || name IN (SELECT value FROM json_each(@names)) ORDER BY source, name`,
      )
      .all({ names: JSON.stringify(names) }) as (KnownTag & { id: number })[];
    return rows.map(({ id, source, name, unit, kind }) => ({
      ...{ source, name, unit, kind, points: laneOf(this.samples(id, range), range, width) },
    }));
  }

  private *samples(tag: number, { start, end }: TimeRange): Generator<Sample> {
    const blocks = this.catalog
      .sql(
        `SELECT start_ms AS start, data FROM tag_block WHERE tag_id = @tag AND start_ms < @end
           AND start_ms >= coalesce((SELECT max(start_ms) FROM tag_block WHERE tag_id = @tag AND start_ms <= @start), 0)
         ORDER BY start_ms`,
      )
      .all({ tag, start, end }) as { start: number; data: Buffer }[];
    for (const block of blocks) yield* unpackSamples(block.start, block.data);
  }
}
