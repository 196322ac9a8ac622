/**
 * Pages of events. Those of the index are found by their words, recordings and gaps in their own tables; all come in one order,
 * and a page costs the same anywhere in years of them. Synchronous; for any connection to the catalogue.
 */
import type { Statement } from 'better-sqlite3';
import type { Box } from '../motion/types.ts';
import { EngineError, type StreamName, type TimeRange } from '../types.ts';
import { EVENT_COLUMNS, problemsOf, recordOf, type EventRow } from './event-row.ts';
import { EVENT_KINDS, type EventKind, type EventRecord, type Severity } from './types.ts';
import { matchOf, ROWS_PER_MS, touches } from './words.ts';

export interface EventFilter extends TimeRange {
  /** Null for all. */
  cameras: readonly string[] | null;
  types: readonly EventKind[];
  zones?: readonly string[];
  labels?: readonly string[];
  severities?: readonly Severity[];
  acknowledged?: boolean;
  /** With a box that touches it. */
  region?: Box;
  /** Words in labels, tags and notes, all of them; `word*` for those that begin so. */
  text?: string;
  order?: 'newest' | 'oldest';
}

/** An event as answers tell it. */
export interface FoundEvent extends Omit<EventRecord, 'kind'> {
  /** In answers; `eventId` is what nodes say. */
  id: string;
  type: EventKind;
  kind: EventKind;
  /** The first of them. */
  camera: string | null;
  /** Of recordings and gaps. */
  stream?: StreamName;
  /** What made a recording start, or what kept it away. */
  cause?: string;
  problems: string[];
}

/** Place in the list: behind this one. */
export interface EventCursor {
  start: number;
  /** `e` and its row, or `g` or `r` and its id. */
  key: string;
}

export interface EventPage {
  events: FoundEvent[];
  /** Null: there are no more. */
  cursor: EventCursor | null;
}

/** Of rows that have the words, so many are looked at for a region. */
const MAX_LOOKED_AT = 2000;
/** A union of as many lists. */
const MANY_CAMERAS = 2;
const NOTHING = {
  ...{ correlationId: null, source: null, sourceTime: null, uncertaintyMs: 0, preMs: 0, postMs: 0, label: null },
  ...{ zones: [], score: null, boxes: [], tags: [], notes: [], acknowledged: null, problems: [] },
};

function isAsked(event: FoundEvent, { cameras, types, acknowledged }: EventFilter): boolean {
  if (cameras && !event.cameras.some((camera) => cameras.includes(camera))) return false;
  if (acknowledged !== undefined && (event.acknowledged !== null) !== acknowledged) return false;
  return types.includes(event.kind);
}

interface Placed {
  key: string;
  event: FoundEvent;
}

type Prepare = (text: string) => Statement;

export class EventQuery {
  private readonly sql: Prepare;

  constructor(sql: Prepare) {
    this.sql = sql;
  }

  /** Throws `bad-request`. */
  page(filter: EventFilter, after: EventCursor | null, limit: number): EventPage {
    const { types } = filter;
    const indexed = EVENT_KINDS.some((kind) => kind !== 'recording' && kind !== 'gap' && types.includes(kind));
    const own = indexed ? this.indexed(filter, after, limit) : { found: [], stopped: null };
    const particular =
      filter.zones ?? filter.labels ?? filter.severities ?? filter.region ?? filter.text ?? filter.acknowledged;
    const lists = [own.found];
    if (particular === undefined) {
      for (const type of ['recording', 'gap'] as const) {
        if (!types.includes(type)) continue;
        for (const camera of filter.cameras ?? this.cameras()) {
          for (const stream of ['main', 'sub'] as const)
            lists.push(this.kept(type, camera, stream, filter, after, limit));
        }
      }
    }
    const sign = filter.order === 'oldest' ? -1 : 1;
    const all = lists.flat().sort((a, b) => sign * (b.event.start - a.event.start || (a.key < b.key ? 1 : -1)));
    const page = all.slice(0, limit);
    const last = page.at(-1);
    const more = page.length === limit && last ? { start: last.event.start, key: last.key } : null;
    return { events: page.map(({ event }) => event), cursor: more ?? own.stopped };
  }

  /** Ids of events that a filter finds and that are in the index, and where to go on. */
  ids(filter: EventFilter, after: EventCursor | null, limit: number): { ids: string[]; next: EventCursor | null } {
    const { found, stopped } = this.indexed(filter, after, limit);
    const last = found.length === limit ? found.at(-1) : undefined;
    const next = last ? { start: last.event.start, key: last.key } : stopped;
    return { ids: found.map(({ event }) => event.eventId), next };
  }

  one(row: EventRow): FoundEvent {
    const { kind, ...record } = recordOf(row);
    return {
      id: `e${row.id}`,
      type: kind,
      kind,
      camera: record.cameras[0] ?? null,
      ...record,
      problems: problemsOf(row),
    };
  }

  private cameras(): string[] {
    return this.sql('SELECT key FROM camera').pluck().all() as string[];
  }

  private indexed(
    filter: EventFilter,
    after: EventCursor | null,
    limit: number,
    byWords = false,
  ): { found: Placed[]; stopped: EventCursor | null } {
    const { cameras, types, region, start, end, order } = filter;
    const kinds = types.filter((type) => type !== 'recording' && type !== 'gap');
    const all = EVENT_KINDS.length - 2 === kinds.length;
    const asked = { ...filter, cameras, kinds: all ? null : kinds };
    // Words that most events have are lists of all events: where others leave little, the rows are looked at for them.
    const rare = filter.labels !== undefined || filter.text !== undefined;
    const { acknowledged, ...others } = asked;
    const leave = {
      cameras: cameras !== null && cameras.length > MANY_CAMERAS,
      kinds: rare && asked.kinds !== null,
      acknowledged: rare && acknowledged !== undefined,
    };
    const fewer = matchOf({
      ...(leave.acknowledged || acknowledged === undefined ? others : asked),
      ...(leave.cameras ? { cameras: null } : {}),
      ...(leave.kinds ? { kinds: null } : {}),
    });
    const words = matchOf(asked);
    if (!words || !fewer) return { found: [], stopped: null };
    const looks = !byWords && Object.values(leave).some(Boolean) && fewer.match !== null;
    const { match } = looks ? fewer : words;
    const oldest = order === 'oldest';
    let [from, to] = [start * ROWS_PER_MS, end * ROWS_PER_MS];
    if (after) {
      // In the order of newest first `e` comes behind `g` and `r` of the same millisecond, and so the other way round.
      const own = after.key.startsWith('e') ? Number(after.key.slice(1)) : null;
      if (oldest) from = Math.max(from, own === null ? (after.start + 1) * ROWS_PER_MS : own + 1);
      else to = Math.min(to, own ?? (after.start + 1) * ROWS_PER_MS);
    }
    const by = oldest ? 'ASC' : 'DESC';
    const query = match
      ? `SELECT ${EVENT_COLUMNS} FROM event_words w JOIN event e ON e.row = w.rowid
         WHERE event_words MATCH @match AND w.rowid >= @from AND w.rowid < @to ORDER BY w.rowid ${by} LIMIT @most`
      : `SELECT ${EVENT_COLUMNS} FROM event e WHERE e.row >= @from AND e.row < @to ORDER BY e.row ${by} LIMIT @most`;
    const most = region || looks ? MAX_LOOKED_AT : limit;
    // Full-text search takes its bounds as whole numbers only.
    const bounds = { from: BigInt(Math.max(0, from)), to: BigInt(Math.max(0, to)), most, ...(match ? { match } : {}) };
    const found: Placed[] = [];
    let looked = 0;
    try {
      for (const row of this.sql(query).iterate(bounds) as IterableIterator<EventRow>) {
        const event = this.one(row);
        const here = { start: event.start, key: `e${row.row}` };
        const fits = (!region || event.boxes.some((box) => touches(box, region))) && (!looks || isAsked(event, filter));
        if (fits) found.push({ key: here.key, event });
        if (found.length === limit) break;
        if (++looked < MAX_LOOKED_AT) continue;
        if (region) return { found, stopped: here };
        if (looks) return this.indexed(filter, after, limit, true);
      }
    } catch (error) {
      if (!/fts5/.test((error as Error).message)) throw error;
      throw new EngineError('bad-request', 'text cannot be looked for: write words with spaces between', {
        cause: error,
      });
    }
    return { found, stopped: null };
  }

  private kept(
    type: 'recording' | 'gap',
    camera: string,
    stream: StreamName,
    { start, end, order }: EventFilter,
    after: EventCursor | null,
    limit: number,
  ): Placed[] {
    // A recording that goes on all the time is no event.
    const [table, what, prefix, which] =
      type === 'gap' ? ['gap', 'cause', 'g', ''] : ['recording', 'trigger', 'r', "AND trigger <> 'continuous'"];
    const [by, beyond] = order === 'oldest' ? ['ASC', '>'] : ['DESC', '<'];
    const rows = this.sql(
      `SELECT '${prefix}' || id AS id, start_ms AS start, end_ms AS end, ${what} AS cause FROM ${table}
       WHERE camera_id = (SELECT id FROM camera WHERE key = @camera) AND stream = @stream
       AND start_ms >= @start AND start_ms < @end ${which}
       AND (@at IS NULL OR start_ms ${beyond} @at OR (start_ms = @at AND '${prefix}' || id ${beyond} @key))
       ORDER BY start_ms ${by}, '${prefix}' || id ${by} LIMIT @limit`,
    ).all({
      ...{ camera, stream, limit },
      start: order === 'oldest' ? Math.max(start, after?.start ?? 0) : start,
      end: order === 'oldest' ? end : Math.min(end, (after?.start ?? Infinity) + 1),
      ...{ at: after?.start ?? null, key: after?.key ?? null },
    }) as { id: string; start: number; end: number | null; cause: string }[];
    return rows.map(({ id, cause, ...times }) => ({
      key: id,
      event: {
        ...{ id, type, kind: type, eventId: id, camera, cameras: [camera], stream, cause, ...times, ...NOTHING },
        severity: type === 'gap' ? 'warning' : 'info',
      },
    }));
  }
}
