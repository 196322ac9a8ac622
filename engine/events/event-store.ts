/**
 * Events in the catalogue: one row for each, however often it is told. Synchronous; owned by the catalogue thread, which
 * calls it in transactions.
 */
import { randomUUID } from 'node:crypto';
import type { Database, Statement } from 'better-sqlite3';
import { EngineError } from '../types.ts';
import { guessClock, withSample } from './clock.ts';
import { EVENT_COLUMNS, recordOf, type EventData, type EventRow } from './event-row.ts';
import type { IncomingEvent } from './incoming.ts';
import { LONGEST_MS, rangeOfEvent, timingOf, type ClockSetting } from './timing.ts';
import type { EventRecord, IndexedEvent } from './types.ts';
import { ROWS_PER_MS, wordsOf } from './words.ts';

/** How an event-index node wants its events taken. */
export interface IndexSpec {
  node: string;
  /** For events that do not say. */
  preMs: number;
  postMs: number;
  /** How long footage of external events is held for a clip to be made; 0 for not. */
  holdMs: number;
  clock: ClockSetting;
  /** Changes of tags that are no change. */
  deadband: number;
  /** Events whose footage is gone are forgotten after this. */
  keepMs: number;
}

/** What the recorder itself notices. Its kind says what is in `data`. */
export interface NoticedEvent {
  id: string;
  type: string;
  camera: string | null;
  source: string | null;
  start: number;
  end: number | null;
  data: object;
}

/** An event that is new, or of which more is known. */
export interface EventChange {
  row: number;
  phase: IndexedEvent['phase'];
  record: EventRecord;
  /** The event-index node that tells of it. */
  node: string | null;
  problems: string[];
}

/** An event that was open when the process died; it ends with the last that is known of it. */
export interface CutEvent extends NoticedEvent {
  camera: string;
  end: number;
}

export const MAX_EVENTS = 2_000_000;
const MAX_HOLDS = 200_000;
const MAX_NOTES = 50;
const MAX_SOURCES = 1000;
const MAX_FILE_MS = 2 * 3_600_000;

export class EventStore {
  private readonly db: Database;
  private readonly statements = new Map<string, Statement>();
  private counted: number | null = null;
  private held: number | null = null;
  private pruned = 0;

  constructor(db: Database) {
    this.db = db;
  }

  private sql(text: string): Statement {
    let statement = this.statements.get(text);
    if (!statement) this.statements.set(text, (statement = this.db.prepare(text)));
    return statement;
  }

  /** Adds an event that the recorder noticed, or what is new of it. */
  notice({ id, type, camera, source, start, end, data }: NoticedEvent): EventChange | null {
    const known = this.byId(id);
    if (known) return this.change(known, { end: end ?? known.end }, data, null);
    if (camera !== null) this.know(camera);
    const cameras = camera === null ? [] : [camera];
    return this.add({ id, type, source, correlation: null, node: null, start, end }, { ...data, cameras }, 0);
  }

  /**
   * Adds an event that came on a wire, or what is new of it; null when nothing is.
   *
   * @param isCamera whether there is such a camera @param arrival when the message came
   */
  put(event: IncomingEvent, spec: IndexSpec, isCamera: (id: string) => boolean, arrival: number): EventChange | null {
    const known = this.find(event);
    const timing = this.timing(event, spec, known !== undefined, arrival);
    const told: EventData = {
      ...(event.label === undefined ? {} : { label: event.label }),
      ...(event.severity === undefined ? {} : { severity: event.severity }),
      ...(event.zones === undefined ? {} : { zones: event.zones }),
      ...(event.score === undefined ? {} : { score: event.score }),
      ...(event.boxes === undefined ? {} : { boxes: event.boxes }),
      ...(event.tags === undefined ? {} : { tags: event.tags }),
    };
    if (known) {
      const before = recordOf(known);
      // What the recorder noticed becomes the node's by coming to it.
      const rolls: EventData =
        known.node === null ? { preMs: event.preMs ?? spec.preMs, postMs: event.postMs ?? spec.postMs } : {};
      const says = event.phase === 'end' || event.end !== undefined;
      // What has ended stays so, whatever was under way then and comes later.
      const end = (says ? timing.end : undefined) ?? known.end;
      const ended = end === null ? null : Math.max(end, before.start);
      return this.change(known, { end: ended }, { ...told, ...rolls }, spec.node);
    }
    const strange = event.cameras.filter((camera) => !isCamera(camera));
    // One of which nothing is recorded yet will have footage in a moment.
    for (const camera of event.cameras) if (!strange.includes(camera)) this.know(camera);
    const problems = [
      ...timing.problems,
      ...strange.map((camera) => `there is no camera ${camera}: no footage belongs to it`),
    ];
    const data: EventData = {
      ...told,
      ...{ cameras: event.cameras, preMs: event.preMs ?? spec.preMs, postMs: event.postMs ?? spec.postMs },
      ...(timing.sourceTime === null ? {} : { sourceTime: timing.sourceTime, uncertaintyMs: timing.uncertaintyMs }),
      ...(problems.length === 0 ? {} : { problems }),
    };
    const { source, correlationId: correlation, kind: type } = event;
    const end = timing.end === undefined ? null : timing.end;
    const ended = end === null ? null : Math.max(end, timing.start);
    const id = event.eventId ?? randomUUID();
    const columns = { id, type, source, correlation, node: spec.node, start: timing.start, end: ended };
    return this.add(columns, data, type === 'external' ? spec.holdMs && arrival + spec.holdMs : 0);
  }

  private know(camera: string): void {
    this.sql('INSERT OR IGNORE INTO camera (key) VALUES (?)').run(camera);
  }

  private find({ eventId, correlationId, source }: IncomingEvent): EventRow | undefined {
    const same = eventId === null ? undefined : this.byId(eventId);
    if (same || correlationId === null) return same;
    return this.sql(
      `SELECT ${EVENT_COLUMNS} FROM event e WHERE e.correlation_id = ? AND coalesce(e.source, '') = ?`,
    ).get(correlationId, source ?? '') as EventRow | undefined;
  }

  private byId(id: string): EventRow | undefined {
    return this.sql(`SELECT ${EVENT_COLUMNS} FROM event e WHERE e.id = ?`).get(id) as EventRow | undefined;
  }

  private timing(event: IncomingEvent, { clock }: IndexSpec, isKnown: boolean, arrival: number) {
    if (event.sourceTime === undefined || clock.mode !== 'learn' || event.clockOffsetMs !== undefined) {
      return timingOf(event, clock, null, arrival);
    }
    const source = event.source ?? '';
    const row = this.sql('SELECT samples FROM event_source WHERE source = ?').pluck().get(source) as string | undefined;
    let samples = row === undefined ? [] : (JSON.parse(row) as number[]);
    // What is told again was late.
    if (!isKnown || event.phase === 'end') {
      samples = withSample(samples, arrival - event.sourceTime);
      this.sql('INSERT OR REPLACE INTO event_source (source, samples, at_ms) VALUES (?, ?, ?)').run(
        ...[source, JSON.stringify(samples), arrival],
      );
      this.sql(
        `DELETE FROM event_source WHERE source IN (SELECT source FROM event_source ORDER BY at_ms DESC LIMIT -1 OFFSET ${MAX_SOURCES})`,
      ).run();
    }
    return timingOf(event, clock, guessClock(samples), arrival);
  }

  private add(columns: Omit<EventRow, 'row' | 'data'>, data: EventData, heldUntil: number): EventChange {
    const row = this.freeRow(columns.start);
    const event: EventRow = { ...columns, row, data: JSON.stringify(data) };
    const record = recordOf(event);
    const { id, type, source, correlation, node, start, end } = event;
    this.sql(
      `INSERT INTO event (row, id, type, camera_id, source, correlation_id, node, start_ms, end_ms, due_ms, data, indexed)
       VALUES (?, ?, ?, (SELECT id FROM camera WHERE key = ?), ?, ?, ?, ?, ?, ?, ?, 1)`,
    ).run(
      ...[row, id, type, record.cameras[0] ?? null, source, correlation, node, start, end, dueOf(record), event.data],
    );
    this.sql('INSERT INTO event_words (rowid, words) VALUES (CAST(? AS INTEGER), ?)').run(row, wordsOf(record));
    this.link(row, record);
    const problems = [...(data.problems ?? [])];
    if (heldUntil > 0 && !this.hold(row, record, heldUntil))
      problems.push(`more than ${MAX_HOLDS} events hold footage: this one does not`);
    if (this.counted !== null) this.counted++;
    return { row, phase: 'indexed', record, node, problems };
  }

  /** Rows are in the order of time. */
  private freeRow(start: number): number {
    for (let ms = start; ; ms++) {
      const first = ms * ROWS_PER_MS;
      const last = this.sql('SELECT max(row) FROM event WHERE row >= ? AND row < ?')
        .pluck()
        .get(first, first + ROWS_PER_MS) as number | null;
      if (last === null) return first;
      if (last + 1 < first + ROWS_PER_MS) return last + 1;
    }
  }

  private change(
    known: EventRow,
    of: { end: number | null },
    data: EventData,
    node: string | null,
  ): EventChange | null {
    const claimed = node !== null && known.node === null;
    const before = JSON.parse(known.data) as EventData;
    const merged = { ...before, ...data };
    const event: EventRow = { ...known, end: of.end, data: JSON.stringify(merged), node: known.node ?? node };
    if (!claimed && event.data === known.data && event.end === known.end) return null;
    const record = this.write(known, event);
    return {
      row: known.row,
      phase: claimed ? 'indexed' : 'update',
      record,
      node: event.node,
      problems: merged.problems ?? [],
    };
  }

  private write(known: EventRow, event: EventRow): EventRecord {
    const [before, record] = [recordOf(known), recordOf(event)];
    this.sql('UPDATE event SET end_ms = ?, data = ?, node = ? WHERE row = ?').run(
      event.end,
      event.data,
      event.node,
      event.row,
    );
    const words = wordsOf(record);
    if (words !== wordsOf(before)) this.reword(event.row, words);
    const [from, to] = [rangeOfEvent(before), rangeOfEvent(record)];
    if (from.start !== to.start || from.end !== to.end || before.end !== record.end) {
      this.sql('UPDATE event SET due_ms = ? WHERE row = ?').run(dueOf(record), event.row);
      this.sql('DELETE FROM event_camera WHERE event = ?').run(event.row);
      this.link(event.row, record);
      const until = this.sql('SELECT max(until_ms) FROM event_hold WHERE event = ?').pluck().get(event.row) as
        number | null;
      if (until !== null) {
        this.release(event.row);
        this.hold(event.row, record, until);
      }
    }
    return record;
  }

  private reword(row: number, words: string): void {
    this.sql('DELETE FROM event_words WHERE rowid = CAST(? AS INTEGER)').run(row);
    this.sql('INSERT INTO event_words (rowid, words) VALUES (CAST(? AS INTEGER), ?)').run(row, words);
  }

  private link(row: number, record: EventRecord): void {
    const { start, end } = rangeOfEvent(record, record.start);
    for (const camera of record.cameras) {
      this.sql(
        `INSERT INTO event_camera (event, camera_id, motion, start_ms, end_ms) SELECT ?, id, ?, ?, ? FROM camera WHERE key = ?`,
      ).run(row, record.kind === 'motion' ? 1 : 0, start, record.end === null ? null : end, camera);
    }
  }

  private hold(row: number, record: EventRecord, until: number): boolean {
    const { start, end } = rangeOfEvent(record);
    this.held ??= this.sql('SELECT count(*) FROM event_hold').pluck().get() as number;
    if (this.held >= MAX_HOLDS) return false;
    this.held += record.cameras.length;
    for (const camera of record.cameras) {
      this.sql(
        `INSERT INTO event_hold (event, camera_id, start_ms, end_ms, until_ms) SELECT ?, id, ?, ?, ? FROM camera WHERE key = ?`,
      ).run(row, start, end, until, camera);
    }
    return true;
  }

  private release(row: number): void {
    const { changes } = this.sql('DELETE FROM event_hold WHERE event = ?').run(row);
    if (this.held !== null) this.held -= changes;
  }

  /** Its clip is made: retention may have the footage. Again, or for an event that is not there, it does nothing. */
  releaseHold(eventId: string): void {
    const known = this.byId(eventId);
    if (known) this.release(known.row);
  }

  /** Holds whose time is over. */
  dropEndedHolds(now: number): void {
    this.sql('DELETE FROM event_hold WHERE until_ms < ?').run(now);
    this.held = null;
  }

  /** Null where it was acknowledged before: the first counts. Throws `not-found`. */
  acknowledge(eventId: string, who: string, at: number, node: string | null): EventChange | null {
    const known = this.need(eventId);
    if (recordOf(known).acknowledged) return null;
    return this.annotated(known, { acknowledged: { who, at } }, 'acknowledged', node);
  }

  /** Throws `not-found` or `too-many-notes`. */
  annotate(eventId: string, who: string, at: number, text: string, node: string | null): EventChange {
    const known = this.need(eventId);
    const { notes } = recordOf(known);
    if (notes.length >= MAX_NOTES) throw new EngineError('bad-event', `an event has at most ${MAX_NOTES} notes`);
    return this.annotated(known, { notes: [...notes, { who, at, text }] }, 'annotated', node);
  }

  /** By its id, or by that of answers over HTTP, which begins with an e. */
  private need(eventId: string): EventRow {
    const known = this.byId(eventId) ?? (eventId.startsWith('e') ? this.byId(eventId.slice(1)) : undefined);
    if (!known) throw new EngineError('not-found', `there is no event ${eventId.slice(0, 80)}`);
    return known;
  }

  private annotated(known: EventRow, data: EventData, phase: IndexedEvent['phase'], node: string | null): EventChange {
    const merged = { ...(JSON.parse(known.data) as EventData), ...data };
    const event: EventRow = { ...known, data: JSON.stringify(merged), node: known.node ?? node };
    const record = this.write(known, event);
    return { row: known.row, phase, record, node: event.node, problems: merged.problems ?? [] };
  }

  /** Events whose time after has passed, oldest first. @param nodes those that are there to tell of theirs */
  due(now: number, nodes: readonly string[], limit: number): EventChange[] {
    const rows = this.sql(
      `SELECT ${EVENT_COLUMNS} FROM event e INDEXED BY event_due
       WHERE e.due_ms <= @now AND (e.node IS NULL OR e.node IN (SELECT value FROM json_each(@nodes)))
       ORDER BY e.due_ms LIMIT @limit`,
    ).all({ now, nodes: JSON.stringify(nodes), limit }) as EventRow[];
    return rows.map((event) => {
      const problems = (JSON.parse(event.data) as EventData).problems ?? [];
      const record = recordOf(event);
      const open = record.end === null ? ['its end was not told within a day'] : [];
      return { row: event.row, phase: 'complete', record, node: event.node, problems: [...problems, ...open] };
    });
  }

  /** It was told that they are complete. */
  told(rows: readonly number[]): void {
    for (const row of rows) this.sql('UPDATE event SET due_ms = NULL WHERE row = ?').run(row);
  }

  /** Of nodes that are not there any more nobody waits for the end. @param nodes those that are */
  forgetDue(before: number, nodes: readonly string[]): void {
    this.sql(
      `UPDATE event SET due_ms = NULL
       WHERE due_ms < ? AND node IS NOT NULL AND node NOT IN (SELECT value FROM json_each(?))`,
    ).run(before, JSON.stringify(nodes));
  }

  /** What was counted may have been rolled back. */
  recount(): void {
    this.counted = null;
    this.held = null;
  }

  /** Ends the events that a crash left open, when something was last seen of them. Alarms of machines go on. */
  endOpen(now: number): CutEvent[] {
    const rows = this.sql(
      `SELECT ${EVENT_COLUMNS} FROM event e INDEXED BY event_open WHERE e.end_ms IS NULL AND e.type <> 'external'`,
    ).all() as EventRow[];
    return rows.flatMap((event) => {
      const { cameras = [], last, ...data } = JSON.parse(event.data) as EventData;
      const end = event.type === 'camera' ? Math.max(event.start, now) : Math.max(event.start, last ?? 0);
      this.write(event, { ...event, end });
      const [camera] = cameras;
      const { id, type, source, start } = event;
      return camera === undefined ? [] : [{ id, type, camera, source, start, end, data }];
    });
  }

  /** Finds words for events of an older catalogue, a few at a time. @returns whether there are more */
  indexOld(limit: number): boolean {
    const rows = this.sql(
      `SELECT ${EVENT_COLUMNS} FROM event e INDEXED BY event_unindexed WHERE e.indexed = 0 LIMIT ?`,
    ).all(limit) as EventRow[];
    for (const event of rows) {
      const key = this.sql('SELECT c.key FROM event e JOIN camera c ON c.id = e.camera_id WHERE e.row = ?')
        .pluck()
        .get(event.row) as string | undefined;
      const data = { cameras: key === undefined ? [] : [key], ...(JSON.parse(event.data) as EventData) };
      const text = JSON.stringify(data);
      this.sql('UPDATE event SET data = ?, indexed = 1 WHERE row = ?').run(text, event.row);
      this.reword(event.row, wordsOf(recordOf({ ...event, data: text })));
    }
    return this.rewordOld(limit - rows.length) || rows.length === limit;
  }

  /** Gives the words of today to events that have those of an older catalogue. @returns whether there are more */
  private rewordOld(limit: number): boolean {
    const below = this.sql('SELECT below FROM event_reword').pluck().get() as number | undefined;
    if (below === undefined || limit === 0) return false;
    const rows = this.sql(`SELECT ${EVENT_COLUMNS} FROM event e WHERE e.row < ? ORDER BY e.row DESC LIMIT ?`).all(
      below,
      limit,
    ) as EventRow[];
    // Full-text search writes what it has with each row that is before the last.
    for (const event of rows.reverse()) this.reword(event.row, wordsOf(recordOf(event)));
    if (rows.length === limit) this.sql('UPDATE event_reword SET below = ?').run(rows[0]!.row);
    else this.sql('DELETE FROM event_reword').run();
    return rows.length === limit;
  }

  /**
   * Forgets events that are older than `before` and whose footage is gone, and the oldest of more than {@link MAX_EVENTS}.
   *
   * @returns how many
   */
  prune(before: number, limit: number): number {
    this.counted ??= this.sql('SELECT count(*) FROM event').pluck().get() as number;
    const tooMany = Math.min(limit, this.counted - MAX_EVENTS);
    const rows =
      tooMany > 0 ? (this.sql('SELECT row FROM event ORDER BY row LIMIT ?').pluck().all(tooMany) as number[]) : [];
    const old = this.sql('SELECT row FROM event WHERE row > ? AND row < ? ORDER BY row LIMIT ?')
      .pluck()
      .all(this.pruned, before * ROWS_PER_MS, limit) as number[];
    // The next time behind these: what is held for ever must not keep others.
    this.pruned = old.length === limit ? old.at(-1)! : 0;
    rows.push(...old.filter((row) => !rows.includes(row) && !this.hasFootage(row)));
    for (const row of rows) {
      this.sql('DELETE FROM event_words WHERE rowid = CAST(? AS INTEGER)').run(row);
      this.sql('DELETE FROM event WHERE row = ?').run(row);
    }
    this.counted -= rows.length;
    return rows.length;
  }

  private hasFootage(row: number): boolean {
    return (
      this.sql(
        `SELECT 1 FROM event_camera l JOIN segment s ON s.camera_id = l.camera_id AND s.stream IN ('main', 'sub')
           AND s.start_ms > l.start_ms - ${MAX_FILE_MS} AND s.start_ms < coalesce(l.end_ms, l.start_ms + ${LONGEST_MS})
           AND coalesce(s.end_ms, s.start_ms) > l.start_ms
         WHERE l.event = ? LIMIT 1`,
      ).get(row) !== undefined
    );
  }
}

function dueOf(record: EventRecord): number {
  return rangeOfEvent(record).end;
}
