/**
 * Pages of events. Those of the index are found by their words, recordings and gaps in their own tables; all come in one order,
 * and a page costs the same anywhere in years of them. Synchronous; for any connection to the catalogue.
 */
import type { Statement } from 'better-sqlite3';
import { EngineError, type StreamName, type TimeRange } from '../types.ts';
import { EVENT_COLUMNS, problemsOf, recordOf, type EventRow } from './event-row.ts';
import { EVENT_KINDS, type EventKind, type EventRecord } from './types.ts';
import { asks, groupsOf, matchOf, oldMatchOf, ROWS_PER_MS, type Facets, type Group } from './words.ts';

export interface EventFilter extends TimeRange, Facets {
  types: readonly EventKind[];
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

/** Rows are looked at for what was left out of the words that are looked for; so many of them for a page. */
const MAX_LOOKED_AT = 1000;
/** A page that has so much of what it may have is worth an answer, with more behind it. */
const WORTH = 1 / 8;
/** Full-text search collects the rows of all words that begin with something before it tells the first: 1 ms for 1000. */
const MANY_ROWS = 5000;
/** Where there are more rows, so many words may be named instead: 0.1 ms each. */
const MANY_WORDS = 5;
/** So many of a list's rows tell how many it has in a time. */
const SAMPLE = 64;
/** To look at a row takes as long as so many steps in a list. */
const STEPS_PER_ROW = 100;
const INDEXED = EVENT_KINDS.filter((kind) => kind !== 'recording' && kind !== 'gap');
const NOTHING = {
  ...{ correlationId: null, source: null, sourceTime: null, uncertaintyMs: 0, preMs: 0, postMs: 0, label: null },
  ...{ zones: [], score: null, boxes: [], tags: [], notes: [], acknowledged: null, problems: [] },
};

/** Rows that have one of a group's words, and how many those are in a millisecond: 0 for a few in all. */
interface List {
  group: Group;
  perMs: number;
}

interface Plan {
  /** For full-text search; empty where no event can be found. */
  match: string;
  /** Whether words were left out of it that it could have. */
  leaves: boolean;
}

interface Placed {
  key: string;
  event: FoundEvent;
}

interface Part extends Pick<Plan, 'leaves'> {
  found: Placed[];
  /** Where rows were looked at without finding all of the page. */
  stopped: EventCursor | null;
}

type Prepare = (text: string) => Statement;

const rateOf = (rows: number, first: number, last: number): number =>
  (rows * ROWS_PER_MS) / (Math.abs(last - first) + 1);

/**
 * The lists that are worth to be gone through: to go through one that is much longer than what the shorter ones leave takes longer
 * than to look at those rows.
 *
 * @param all rows that there are in a millisecond
 */
function worthIt(lists: readonly List[], all: number): List[] {
  const sorted = lists.toSorted((a, b) => a.perMs - b.perMs);
  let left = Infinity;
  const end = sorted.findIndex((list) => {
    if (list.perMs > left * STEPS_PER_ROW) return true;
    left = left === Infinity ? list.perMs : left * (all > 0 ? Math.min(1, list.perMs / all) : 1);
    return false;
  });
  return end < 0 ? sorted : sorted.slice(0, end);
}

function told(row: EventRow, { kind, ...record }: EventRecord): FoundEvent {
  const problems = row.data.includes('"problems"') ? problemsOf(row) : [];
  return { id: `e${row.id}`, type: kind, kind, camera: record.cameras[0] ?? null, ...record, problems };
}

export class EventQuery {
  private readonly sql: Prepare;

  constructor(sql: Prepare) {
    this.sql = sql;
  }

  /** Throws `bad-request`. */
  page(filter: EventFilter, after: EventCursor | null, limit: number): EventPage {
    const { types } = filter;
    const indexed = INDEXED.some((kind) => types.includes(kind));
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
    return told(row, recordOf(row));
  }

  private cameras(): string[] {
    return this.sql('SELECT key FROM camera').pluck().all() as string[];
  }

  private indexed(filter: EventFilter, after: EventCursor | null, limit: number): Part {
    try {
      const part = this.looked(filter, after, limit, true);
      return part.leaves && part.stopped && part.found.length < limit * WORTH
        ? this.looked(filter, after, limit, false)
        : part;
    } catch (error) {
      if (!/fts5/.test((error as Error).message)) throw error;
      throw new EngineError('bad-request', 'text cannot be looked for: write words with spaces between', {
        cause: error,
      });
    }
  }

  /** @param leave whether words may be left out of what is looked for, where that is quicker */
  private looked(filter: EventFilter, after: EventCursor | null, limit: number, leave: boolean): Part {
    const { types, start, end, order } = filter;
    const oldest = order === 'oldest';
    let [from, to] = [start * ROWS_PER_MS, end * ROWS_PER_MS];
    if (after) {
      // In the order of newest first `e` comes behind `g` and `r` of the same millisecond, and so the other way round.
      const own = after.key.startsWith('e') ? Number(after.key.slice(1)) : null;
      if (oldest) from = Math.max(from, own === null ? (after.start + 1) * ROWS_PER_MS : own + 1);
      else to = Math.min(to, own ?? (after.start + 1) * ROWS_PER_MS);
    }
    // Full-text search takes its bounds as whole numbers only.
    const bounds = { from: BigInt(Math.max(0, from)), to: BigInt(Math.max(0, to)) };
    const by = oldest ? 'ASC' : 'DESC';
    const kinds = INDEXED.filter((kind) => types.includes(kind));
    // What any kind must have: nothing where every event will do.
    const isEvery = kinds.length === INDEXED.length && groupsOf('external', filter)?.length === 0;
    const plan = isEvery ? null : this.plan(kinds, filter, bounds.from, leave);
    const leaves = plan?.leaves ?? false;
    if (plan?.match === '') return { found: [], stopped: null, leaves };
    const query = plan
      ? `SELECT ${EVENT_COLUMNS} FROM event_words w JOIN event e ON e.row = w.rowid
         WHERE event_words MATCH @match AND w.rowid >= @from AND w.rowid < @to ORDER BY w.rowid ${by} LIMIT @most`
      : `SELECT ${EVENT_COLUMNS} FROM event e WHERE e.row >= @from AND e.row < @to ORDER BY e.row ${by} LIMIT @most`;
    const most = Math.max(limit, MAX_LOOKED_AT);
    const rows = this.sql(query).iterate({ ...bounds, most, ...(plan ? { match: plan.match } : {}) });
    const isAsked = asks(filter);
    const found: Placed[] = [];
    let count = 0;
    for (const row of rows as IterableIterator<EventRow>) {
      const record = recordOf(row);
      const key = `e${row.row}`;
      if (isAsked(record)) found.push({ key, event: told(row, record) });
      if (found.length === limit) break;
      if (++count === most) return { found, stopped: { start: row.start, key }, leaves };
    }
    return { found, stopped: null, leaves };
  }

  private plan(kinds: readonly EventKind[], facets: Facets, from: bigint, leave: boolean): Plan {
    const below = this.sql('SELECT below FROM event_reword').pluck().get() as number | undefined;
    // Until the events of an older catalogue have words of today they are found by those that they have, which takes longer.
    const old = below !== undefined && from < below ? oldMatchOf(kinds, facets) : null;
    const any = old === null ? [] : [old];
    let leaves = false;
    for (const kind of kinds) {
      const groups = groupsOf(kind, facets);
      if (!groups) continue;
      const lists = old === null ? this.listsOf(kind, groups) : groups.map((group) => ({ group, perMs: 0 }));
      if (!lists) continue;
      const isChoice = leave && old === null && lists.length > 1;
      const kept = isChoice ? worthIt(lists, this.sampled(matchOf(kind, [])) ?? 0) : lists;
      leaves ||= kept.length < lists.length;
      any.push(
        matchOf(
          kind,
          kept.map(({ group }) => group),
        ),
      );
    }
    return { match: any.join(' OR '), leaves };
  }

  /**
   * What can be looked for by words of all that an event of a kind must have: all but what too many words begin with. No answer
   * where nothing is found by one of them.
   */
  private listsOf(kind: EventKind, groups: readonly Group[]): List[] | null {
    const lists: List[] = [];
    for (const asked of groups) {
      const list = 'prefix' in asked ? this.beginning(asked.prefix) : { group: asked, perMs: 0 };
      if (!list) continue;
      const { group } = list;
      if ('words' in group) {
        if (group.words.length === 0) return null;
        const perMs = groups.length > 1 ? this.sampled(matchOf(kind, [group])) : 0;
        if (perMs === null) return null;
        lists.push({ group, perMs });
      } else lists.push(list);
    }
    return lists;
  }

  /** How many rows a query finds in a millisecond, judged by the newest; 0 for a few in all, null for none. */
  private sampled(match: string): number | null {
    const rows = this.sql(`SELECT rowid FROM event_words WHERE event_words MATCH ? ORDER BY rowid DESC LIMIT ${SAMPLE}`)
      .pluck()
      .all(match) as number[];
    if (rows.length < SAMPLE) return rows.length === 0 ? null : 0;
    return rateOf(rows.length, rows[0]!, rows.at(-1)!);
  }

  /** Rows that have words that begin so; no answer where neither those are few nor the words. */
  private beginning(prefix: string): List | null {
    const { count, first, last } = this.sql(
      `SELECT count(*) AS count, min(doc) AS first, max(doc) AS last FROM
         (SELECT doc FROM event_terms WHERE term >= @prefix AND term < @prefix || char(0x10ffff) LIMIT ${MANY_ROWS})`,
    ).get({ prefix }) as { count: number; first: number; last: number };
    if (count === 0) return { group: { words: [] }, perMs: 0 };
    if (count < MANY_ROWS) return { group: { prefix }, perMs: rateOf(count, first, last) };
    const next = this.sql('SELECT term FROM event_terms WHERE term >= ? LIMIT 1').pluck();
    const words: string[] = [];
    for (let at = prefix; words.length <= MANY_WORDS;) {
      const word = next.get(at) as string | undefined;
      if (!word?.startsWith(prefix)) return { group: { words }, perMs: 0 };
      words.push(word);
      // Behind all rows that have it: no word has such a letter.
      at = `${word}\x01`;
    }
    return null;
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
