/** Values of the process in the catalogue: changes alone, packed by the hour. Synchronous; owned by the catalogue thread. */
import type { Database, Statement } from 'better-sqlite3';
import { EngineError } from '../types.ts';
import type { TagSample } from './incoming.ts';
import { packSamples, unpackSamples, type Sample } from './tag-block.ts';

const MAX_TAGS = 2000;
const BLOCK_MS = 3_600_000;
/** A block is written as a whole for each value that is added. */
const MAX_SAMPLES = 512;
const FUTURE_MS = 60_000;

interface Known {
  id: number;
  last: Sample | null;
}

export class TagStore {
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

  /**
   * Keeps a value that differs from the one before by more than `deadband`, and one an hour. Throws `bad-event` for a tag too
   * many, or a time in the future.
   *
   * @returns whether it was kept
   */
  put({ source, name, value, time, unit }: TagSample, deadband: number, now: number): boolean {
    const sample = { time: time ?? now, value: Number(value) };
    if (sample.time > now + FUTURE_MS) throw new EngineError('bad-event', `tag '${name}': its time is in the future`);
    const tag = this.tag(source, name, unit, typeof value === 'boolean', sample.time);
    const before = this.blockAt(tag, sample.time);
    const last = before?.samples.findLast((one) => one.time <= sample.time) ?? null;
    const hour = (at: number): number => Math.floor(at / BLOCK_MS);
    if (last && hour(last.time) === hour(sample.time) && Math.abs(last.value - sample.value) <= deadband) return false;
    if (last?.time === sample.time) last.value = sample.value;
    const full = before && (before.samples.length >= MAX_SAMPLES || hour(before.start) !== hour(sample.time));
    if (!before || (full && before.samples.at(-1) === last && last.time !== sample.time)) {
      this.write(tag, sample.time, [sample]);
      return true;
    }
    if (last?.time !== sample.time) before.samples.splice(last ? before.samples.indexOf(last) + 1 : 0, 0, sample);
    const middle = before.samples.length > MAX_SAMPLES ? before.samples.length >> 1 : before.samples.length;
    this.write(tag, before.start, before.samples.slice(0, middle));
    const rest = before.samples.slice(middle);
    if (rest.length > 0) this.write(tag, rest[0]!.time, rest);
    return true;
  }

  private tag(source: string, name: string, unit: string | null, boolean: boolean, time: number): Known['id'] {
    const known = this.sql('SELECT id, last_ms AS last FROM tag WHERE source = ? AND name = ?').get(source, name) as
      { id: number; last: number } | undefined;
    if (known) {
      // The list of tags need not be exact to the second.
      if (time > known.last + 10_000)
        this.sql('UPDATE tag SET last_ms = ?, unit = coalesce(?, unit) WHERE id = ?').run(time, unit, known.id);
      return known.id;
    }
    if ((this.sql('SELECT count(*) FROM tag').pluck().get() as number) >= MAX_TAGS) {
      throw new EngineError('bad-event', `there are ${MAX_TAGS} tags already: '${name}' is not kept`);
    }
    const { lastInsertRowid } = this.sql(
      'INSERT INTO tag (source, name, unit, boolean, last_ms) VALUES (?, ?, ?, ?, ?)',
    ).run(...[source, name, unit, boolean ? 1 : 0, time]);
    return Number(lastInsertRowid);
  }

  private blockAt(tag: number, time: number): { start: number; samples: Sample[] } | null {
    const row = this.sql(
      'SELECT start_ms AS start, data FROM tag_block WHERE tag_id = ? AND start_ms <= ? ORDER BY start_ms DESC LIMIT 1',
    ).get(tag, time) as { start: number; data: Buffer } | undefined;
    return row ? { start: row.start, samples: unpackSamples(row.start, row.data) } : null;
  }

  private write(tag: number, start: number, samples: readonly Sample[]): void {
    this.sql('INSERT OR REPLACE INTO tag_block (tag_id, start_ms, data) VALUES (?, ?, ?)').run(
      ...[tag, start, packSamples(start, samples)],
    );
  }

  /** Forgets values from before. */
  prune(before: number): void {
    this.sql(
      `DELETE FROM tag_block WHERE (tag_id, start_ms) IN (SELECT b.tag_id, b.start_ms FROM tag t JOIN tag_block b ON b.tag_id = t.id
         WHERE b.start_ms < ? LIMIT 500)`,
    ).run(before);
    this.sql('DELETE FROM tag WHERE last_ms < ? AND NOT EXISTS (SELECT 1 FROM tag_block WHERE tag_id = tag.id)').run(
      before,
    );
  }
}
