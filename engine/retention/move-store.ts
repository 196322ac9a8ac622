/**
 * Moves in the catalogue. A file that is not named by a row is a `leftover` from before it can be there until it is gone,
 * so that a crash at any moment leaves nothing that is not known. Synchronous; every call is one short transaction.
 */
import { closeSync, fdatasyncSync, openSync } from 'node:fs';
import type { Database, Statement } from 'better-sqlite3';
import { parseSegmentPath } from '../recording/segment-path.ts';
import { EngineError } from '../types.ts';
import type { Move } from './tiers.ts';

/** A file that may be moved. */
export interface Movable {
  /** Relative to the storage folder, there and here. */
  path: string;
  bytes: number;
  /** CRC-32, when it is known. */
  hash: number | null;
}

export interface Leftover {
  path: string;
  bytes: number;
}

export class MoveStore {
  private readonly db: Database;
  private readonly statements = new Map<string, Statement>();
  private readonly onLock: (ms: number) => void;

  constructor(db: Database, onLock: (ms: number) => void = () => undefined) {
    this.db = db;
    this.onLock = onLock;
  }

  private sql(text: string): Statement {
    let statement = this.statements.get(text);
    if (!statement) this.statements.set(text, (statement = this.db.prepare(text)));
    return statement;
  }

  private transaction<T>(call: () => T): T {
    let from = 0;
    const result = this.db
      .transaction(() => {
        from = performance.now(); // waiting for others is not counted
        return call();
      })
      .immediate();
    this.onLock(performance.now() - from);
    return result;
  }

  private idOf(storage: string): number | undefined {
    return this.sql('SELECT id FROM storage WHERE path = ?').pluck().get(storage) as number | undefined;
  }

  /** True once something was or was to be stored there. */
  knows(storage: string): boolean {
    return this.idOf(storage) !== undefined;
  }

  /**
   * From now on there may be something of it where it is to go. Null when it is not there, or not so, any more, or when
   * its copy is where it is to go: a copy that a row names must never be a leftover as well. Throws `damaged` for what is
   * no footage.
   */
  begin({ id, storage, to, start }: Move): Movable | null {
    return this.transaction(() => {
      const found = this.sql(
        `SELECT path, bytes, hash FROM segment
         WHERE id = ? AND start_ms = ? AND storage_id = ? AND copy_id IS NOT ? AND state = 'closed' AND doomed IS NULL`,
      ).get(id, start, this.idOf(storage), this.idOf(to) ?? -1) as Movable | undefined;
      if (!found) return null;
      if (!parseSegmentPath(found.path)) {
        throw new EngineError('damaged', `the catalogue names ${found.path}, which is no footage: it is left alone`);
      }
      this.sql('INSERT OR IGNORE INTO storage (path) VALUES (?)').run(to);
      const { path } = found;
      this.sql('INSERT OR REPLACE INTO leftover (storage_id, path, bytes) VALUES (?, ?, 0)').run(this.idOf(to), path);
      return found;
    });
  }

  /** The file is there, whole: its row says so from now on. False when it was deleted meanwhile; it is a leftover then. */
  commit({ id, storage, to, action, start }: Move, { path, bytes }: Movable): boolean {
    return this.transaction(() => {
      const [from, target] = [this.idOf(storage), this.idOf(to)];
      const which = `WHERE id = @id AND start_ms = @start AND storage_id = @from AND bytes = @bytes
        AND state = 'closed' AND doomed IS NULL`;
      const set = action === 'copy' ? 'copy_id = @target' : 'storage_id = @target, copy_id = nullif(copy_id, @target)';
      const { changes } = this.sql(`UPDATE segment SET ${set} ${which}`).run({ id, start, from, target, bytes });
      if (changes === 0) return false;
      this.sql('DELETE FROM leftover WHERE storage_id = ? AND path = ?').run(target, path);
      if (action !== 'copy') this.leave(from!, path, bytes);
      return true;
    });
  }

  /** The copy is the file from now on. False when there is none, or the file is on its way out. */
  release({ id, storage, to, start }: Move): Movable | null {
    return this.transaction(() => {
      const [from, target] = [this.idOf(storage), this.idOf(to)];
      const found = this.sql(
        `UPDATE segment SET storage_id = copy_id, copy_id = NULL
         WHERE id = ? AND start_ms = ? AND storage_id = ? AND copy_id = ? AND state = 'closed' AND doomed IS NULL
         RETURNING path, bytes`,
      ).get(id, start, from, target) as Leftover | undefined;
      if (!found) return null;
      this.leave(from!, found.path, found.bytes);
      return { ...found, hash: null };
    });
  }

  private leave(storage: number, path: string, bytes: number): void {
    this.sql('INSERT OR REPLACE INTO leftover (storage_id, path, bytes) VALUES (?, ?, ?)').run(storage, path, bytes);
  }

  /** What is to be removed there, of what is footage; a thousand at a time. */
  leftovers(storage: string): Leftover[] {
    const left = this.sql('SELECT path, bytes FROM leftover WHERE storage_id = ? LIMIT 1000').all(
      this.idOf(storage) ?? -1,
    ) as Leftover[];
    return left.filter(({ path }) => parseSegmentPath(path) !== null);
  }

  /** A file that was begun there, and is still where it was: if that can be gone on with, it is not to be removed. */
  begun(storage: string): string | null {
    const path = this.sql(
      `SELECT l.path FROM leftover l WHERE l.storage_id = @id AND l.bytes = 0 AND EXISTS (
         SELECT 1 FROM segment s WHERE s.storage_id IN (SELECT id FROM storage WHERE id <> @id) AND s.path = l.path
         AND s.copy_id IS NOT @id AND s.state = 'closed' AND s.doomed IS NULL) LIMIT 1`,
    )
      .pluck()
      .get({ id: this.idOf(storage) ?? -1 }) as string | undefined;
    return path ?? null;
  }

  /** Where something is to be removed. */
  leftoverStorages(): string[] {
    return this.sql('SELECT path FROM storage st WHERE EXISTS (SELECT 1 FROM leftover l WHERE l.storage_id = st.id)')
      .pluck()
      .all() as string[];
  }

  /** How much is to be removed there. */
  left(storage: string): { files: number; bytes: number } {
    return this.sql(
      'SELECT count(*) AS files, coalesce(sum(bytes), 0) AS bytes FROM leftover WHERE storage_id = ?',
    ).get(this.idOf(storage) ?? -1) as { files: number; bytes: number };
  }

  /** They are gone. */
  settle(storage: string, paths: readonly string[]): void {
    if (paths.length === 0) return;
    this.transaction(() => {
      const id = this.idOf(storage);
      for (const path of paths) this.sql('DELETE FROM leftover WHERE storage_id = ? AND path = ?').run(id, path);
    });
  }

  /**
   * What was committed survives a power cut from now on, so that its source may go. Commits alone do not wait for the
   * disk; this does, but keeps nobody from writing meanwhile.
   */
  secure(): void {
    const fd = openSync(`${this.db.name}-wal`, 'r');
    try {
      fdatasyncSync(fd);
    } finally {
      closeSync(fd);
    }
  }
}
