/**
 * What must not be lost between an event and its delivery: clips to be made, messages to be delivered, which events were
 * dealt with. A file of its own beside the catalogue, so that nothing here waits for the recording or holds it up.
 */
import { chmodSync, closeSync, existsSync, openSync, renameSync } from 'node:fs';
import Sqlite, { type Database, type Statement } from 'better-sqlite3';
import type { ClipEvent, ClipJob, NotifyCounts, OutboxEntry, Parcel, Suppression } from './types.ts';

const SCHEMA = `
CREATE TABLE job(
  id INTEGER PRIMARY KEY AUTOINCREMENT, -- a number is not given twice: a thread that died may still be asked for one
  node TEXT NOT NULL, events TEXT NOT NULL, start INTEGER NOT NULL, wanted INTEGER NOT NULL,
  due INTEGER NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, created INTEGER NOT NULL, problem TEXT
) STRICT;
CREATE INDEX job_by_due ON job(due);
CREATE TABLE seen(
  node TEXT NOT NULL, event TEXT NOT NULL, at INTEGER NOT NULL, job INTEGER, suppressed TEXT, PRIMARY KEY(node, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX seen_by_time ON seen(at);
CREATE TABLE cooldown(node TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY(node, key)) STRICT, WITHOUT ROWID;
CREATE TABLE outbox(
  seq INTEGER PRIMARY KEY, id TEXT NOT NULL, node TEXT NOT NULL, channel TEXT NOT NULL, topic TEXT NOT NULL,
  body TEXT NOT NULL, bytes INTEGER NOT NULL, created INTEGER NOT NULL, due INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0, problem TEXT, UNIQUE(id, channel, topic)
) STRICT;
CREATE INDEX outbox_by_due ON outbox(channel, dead, due);
CREATE INDEX outbox_by_age ON outbox(dead, seq);
CREATE TABLE counter(node TEXT NOT NULL, name TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY(node, name)) STRICT, WITHOUT ROWID;
CREATE TABLE retained(channel TEXT NOT NULL, topic TEXT NOT NULL, PRIMARY KEY(channel, topic)) STRICT, WITHOUT ROWID;
`;

export interface OutboxRow extends Parcel {
  seq: number;
  node: string;
  created: number;
  attempts: number;
}

export interface Bounds {
  rows: number;
  bytes: number;
}

interface JobRow {
  id: number;
  node: string;
  events: string;
  wanted: number;
  attempts: number;
  created: number;
}

/** The form of its rows; another one is another file. */
const VERSION = 1;

/** Opens it; a file that is damaged, or of a later version, is set aside and told. */
export function openNotifyFile(file: string, tell: (problem: string) => void, nowMs: number): Database {
  const open = (): Database => {
    // Its messages have links with tokens: nobody else's.
    closeSync(openSync(file, 'a', 0o600));
    for (const end of ['', '-wal', '-shm']) if (existsSync(file + end)) chmodSync(file + end, 0o600);
    const db = new Sqlite(file, { timeout: 5000 });
    try {
      db.pragma('journal_mode = WAL');
      // Few transactions, each of which was promised to somebody: they survive a power cut.
      db.pragma('synchronous = FULL');
      const version = db.pragma('user_version', { simple: true });
      if (version === 0) {
        db.transaction(() => {
          db.exec(SCHEMA);
          db.pragma(`user_version = ${VERSION}`);
        })();
      } else if (version !== VERSION) {
        throw Object.assign(new Error(`it has version ${String(version)}`), { code: 'SQLITE_NOTADB' });
      }
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  };
  try {
    return open();
  } catch (error) {
    if (!['SQLITE_CORRUPT', 'SQLITE_NOTADB'].includes((error as { code?: string }).code ?? '')) throw error;
    const aside = `${file}.damaged-${nowMs}`;
    for (const end of ['', '-wal', '-shm']) {
      try {
        renameSync(file + end, aside + end);
      } catch (missing) {
        if ((missing as NodeJS.ErrnoException).code !== 'ENOENT') throw missing;
      }
    }
    tell(`${file} cannot be read (${(error as Error).message}): it is kept as ${aside}, and a new one was begun`);
    return open();
  }
}

const toJob = ({ events, ...row }: JobRow): ClipJob => ({ ...row, events: JSON.parse(events) as ClipEvent[] });
const JOB = 'id, node, events, wanted, attempts, created';
const ROW = 'seq, id, node, channel, topic, body, created, attempts';

export class NotifyStore {
  private readonly db: Database;
  private readonly statements = new Map<string, Statement>();

  constructor(db: Database) {
    this.db = db;
  }

  private sql(text: string): Statement {
    let statement = this.statements.get(text);
    if (!statement) this.statements.set(text, (statement = this.db.prepare(text)));
    return statement;
  }

  /** All of it or nothing. */
  transaction<T>(work: () => T): T {
    return this.db.transaction(work).immediate();
  }

  close(): void {
    this.db.close();
  }

  // Events and jobs

  seen(node: string, event: string): { job: number | null; suppressed: string | null } | null {
    const row = this.sql('SELECT job, suppressed FROM seen WHERE node = ? AND event = ?').get(node, event);
    return (row as { job: number | null; suppressed: string | null } | undefined) ?? null;
  }

  see(node: string, event: string, at: number, job: number | null, suppressed: Suppression | null): void {
    this.sql('INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?, ?)').run(node, event, at, job, suppressed);
  }

  messagesSince(node: string, since: number, until: number): number {
    return this.sql(
      `SELECT count(DISTINCT job) FROM seen INDEXED BY seen_by_time
       WHERE at > ? AND at <= ? AND node = ? AND job IS NOT NULL`,
    )
      .pluck()
      .get(since, until, node) as number;
  }

  cooldownSince(node: string, key: string): number | null {
    const at = this.sql('SELECT at FROM cooldown WHERE node = ? AND key = ?').pluck().get(node, key);
    return (at as number | undefined) ?? null;
  }

  cool(node: string, key: string, at: number): void {
    this.sql('INSERT OR REPLACE INTO cooldown VALUES (?, ?, ?)').run(node, key, at);
  }

  addJob(node: string, events: readonly ClipEvent[], due: number, now: number): number {
    const { lastInsertRowid } = this.sql(
      'INSERT INTO job(node, events, start, wanted, due, created) VALUES (?, ?, ?, ?, ?, ?)',
    ).run(node, JSON.stringify(events), events[0]!.start, due, due, now);
    return Number(lastInsertRowid);
  }

  changeJob(id: number, events: readonly ClipEvent[], due: number): void {
    const sql = 'UPDATE job SET events = ?, wanted = ?, due = ? WHERE id = ?';
    this.sql(sql).run(JSON.stringify(events), due, due, id);
  }

  delayJob(id: number, due: number, problem: string | null): void {
    this.sql('UPDATE job SET due = ?, problem = ?, attempts = attempts + ? WHERE id = ?').run(
      ...[due, problem, problem === null ? 0 : 1, id],
    );
  }

  removeJob(id: number): void {
    this.sql('DELETE FROM job WHERE id = ?').run(id);
  }

  job(id: number): ClipJob | null {
    const row = this.sql(`SELECT ${JOB} FROM job WHERE id = ?`).get(id) as JobRow | undefined;
    return row ? toJob(row) : null;
  }

  /** Jobs of a node whose first event began in a range. */
  jobsAround(node: string, from: number, to: number): ClipJob[] {
    const rows = this.sql(`SELECT ${JOB} FROM job WHERE node = ? AND start BETWEEN ? AND ?`).all(node, from, to);
    return (rows as JobRow[]).map(toJob);
  }

  dueJobs(now: number): ClipJob[] {
    return (this.sql(`SELECT ${JOB} FROM job WHERE due <= ? ORDER BY due`).all(now) as JobRow[]).map(toJob);
  }

  jobs(node: string, limit: number): (ClipJob & { due: number; problem: string | null })[] {
    const rows = this.sql(`SELECT ${JOB}, due, problem FROM job WHERE node = ? ORDER BY due LIMIT ?`).all(node, limit);
    return (rows as (JobRow & { due: number; problem: string | null })[]).map((row) => ({ ...row, ...toJob(row) }));
  }

  jobCount(node: string): number {
    return this.sql('SELECT count(*) FROM job WHERE node = ?').pluck().get(node) as number;
  }

  /** When the next job is due, or null. */
  nextJob(after: number): number | null {
    return this.sql('SELECT min(due) FROM job WHERE due > ?').pluck().get(after) as number | null;
  }

  /** What is older need not be known any more. */
  forget(seenBefore: number, jobsBefore: number): void {
    this.sql('DELETE FROM seen WHERE at < ?').run(seenBefore);
    this.sql('DELETE FROM cooldown WHERE at < ?').run(seenBefore);
    this.sql('DELETE FROM job WHERE due < ?').run(jobsBefore);
  }

  // Outbox

  /** False when it is in there already. */
  put(node: string, { id, channel, topic, body }: Parcel, now: number): boolean {
    const { changes } = this.sql(
      `INSERT OR IGNORE INTO outbox(id, node, channel, topic, body, bytes, created, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    ).run(id, node, channel, topic, body, Buffer.byteLength(body), now, now);
    return changes > 0;
  }

  /** What may be tried now, oldest first. */
  waiting(channel: string, now: number, limit: number): OutboxRow[] {
    return this.sql(
      `SELECT ${ROW} FROM outbox WHERE channel = ? AND dead = 0 AND due <= ? ORDER BY due, seq LIMIT ?`,
    ).all(channel, now, limit) as OutboxRow[];
  }

  nextDue(channel: string, after: number): number | null {
    return this.sql('SELECT min(due) FROM outbox WHERE channel = ? AND dead = 0 AND due > ?')
      .pluck()
      .get(channel, after) as number | null;
  }

  delivered({ seq, id, node }: OutboxRow): void {
    this.transaction(() => {
      this.sql('DELETE FROM outbox WHERE seq = ? AND id = ?').run(seq, id);
      this.count(node, 'delivered', 1);
    });
  }

  retry({ seq, id }: OutboxRow, due: number, problem: string): void {
    this.sql('UPDATE outbox SET attempts = attempts + 1, due = ?, problem = ? WHERE seq = ? AND id = ?').run(
      ...[due, problem, seq, id],
    );
  }

  bury({ seq, id }: OutboxRow, problem: string): void {
    this.sql('UPDATE outbox SET attempts = attempts + 1, dead = 1, problem = ? WHERE seq = ? AND id = ?').run(
      ...[problem, seq, id],
    );
  }

  /** What would wait longer than `latest` is tried `now`. */
  hasten(now: number, latest: number): void {
    this.sql('UPDATE outbox SET due = ? WHERE dead = 0 AND due > ?').run(now, latest);
  }

  /** What waited longer becomes a dead letter. */
  expire(before: number): OutboxRow[] {
    return this.sql(
      `UPDATE outbox SET dead = 1, problem = coalesce(problem, 'it could not be delivered') || '; it waited too long'
       WHERE dead = 0 AND created < ? RETURNING ${ROW}`,
    ).all(before) as OutboxRow[];
  }

  /** Makes room: dead letters go first, then what has waited longest. How many of each channel went. */
  bound({ rows, bytes }: Bounds): { channel: string; node: string; count: number }[] {
    const dropped = new Map<string, { channel: string; node: string; count: number }>();
    const total = this.sql('SELECT count(*) AS rows, coalesce(sum(bytes), 0) AS bytes FROM outbox').get() as Bounds;
    if (total.rows <= rows && total.bytes <= bytes) return [];
    const oldest = this.sql(
      'SELECT seq, channel, node, bytes FROM outbox ORDER BY dead DESC, seq LIMIT 500',
    ).all() as ({ seq: number; channel: string; node: string } & Bounds)[];
    for (const { seq, channel, node, bytes: size } of oldest) {
      if (total.rows <= rows && total.bytes <= bytes) break;
      this.sql('DELETE FROM outbox WHERE seq = ?').run(seq);
      this.count(node, 'dropped', 1);
      total.rows--;
      total.bytes -= size;
      const key = `${channel} ${node}`;
      dropped.set(key, { channel, node, count: (dropped.get(key)?.count ?? 0) + 1 });
    }
    return [...dropped.values()];
  }

  /** Dead letters are to be tried again: one, or all of these nodes. How many. */
  resend(nodes: readonly string[], id: string | null, now: number): number {
    return this.sql(
      `UPDATE outbox SET dead = 0, attempts = 0, created = @now, due = @now
       WHERE node IN (SELECT value FROM json_each(@nodes)) AND (@id IS NULL OR id = @id) AND dead = 1`,
    ).run({ nodes: JSON.stringify(nodes), id, now }).changes;
  }

  /** Takes a message out, or all dead letters of these nodes. How many. */
  discard(nodes: readonly string[], id: string | null): number {
    return this.sql(
      `DELETE FROM outbox
       WHERE node IN (SELECT value FROM json_each(@nodes)) AND ((@id IS NULL AND dead = 1) OR id = @id)`,
    ).run({ nodes: JSON.stringify(nodes), id }).changes;
  }

  entries(nodes: readonly string[], limit: number): OutboxEntry[] {
    return this.sql(
      `SELECT id, channel, topic, CASE dead WHEN 1 THEN 'dead' ELSE 'waiting' END AS state, created, due, attempts, bytes,
         problem FROM outbox WHERE node IN (SELECT value FROM json_each(?)) ORDER BY dead DESC, seq LIMIT ?`,
    ).all(JSON.stringify(nodes), limit) as OutboxEntry[];
  }

  channels(): string[] {
    return this.sql('SELECT DISTINCT channel FROM outbox').pluck().all() as string[];
  }

  count(node: string, name: string, by: number): void {
    this.sql(
      'INSERT INTO counter VALUES (?, ?, ?) ON CONFLICT(node, name) DO UPDATE SET count = count + excluded.count',
    ).run(node, name, by);
  }

  /** @param others whose messages count as the node's own */
  counts(node: string, others: readonly string[] = []): NotifyCounts {
    const outbox = this.sql(
      `SELECT coalesce(sum(dead = 0), 0) AS waiting, coalesce(sum(dead), 0) AS dead, coalesce(sum(bytes), 0) AS bytes
       FROM outbox WHERE node IN (SELECT value FROM json_each(?))`,
    ).get(JSON.stringify([node, ...others])) as Pick<NotifyCounts, 'waiting' | 'dead' | 'bytes'>;
    const counters = this.sql('SELECT name, count FROM counter WHERE node = ?').all(node) as {
      name: string;
      count: number;
    }[];
    const of = (name: string): number => counters.find((counter) => counter.name === name)?.count ?? 0;
    const suppressed = counters.filter(({ name }) => !['delivered', 'dropped'].includes(name));
    return {
      ...{ ...outbox, jobs: this.jobCount(node), delivered: of('delivered'), dropped: of('dropped') },
      suppressed: Object.fromEntries(suppressed.map(({ name, count }) => [name, count])),
    };
  }

  // Retained topics of a broker: what is not told any more is to be removed there, also after a restart

  retained(channel: string): string[] {
    return this.sql('SELECT topic FROM retained WHERE channel = ?').pluck().all(channel) as string[];
  }

  retain(channel: string, topic: string): void {
    this.sql('INSERT OR IGNORE INTO retained VALUES (?, ?)').run(channel, topic);
  }

  release(channel: string, topic: string): void {
    this.sql('DELETE FROM retained WHERE channel = ? AND topic = ?').run(channel, topic);
  }
}
