/** The catalogue, read-only: opened when it is first needed, and again when its file was replaced. Synchronous. */
import { statSync } from 'node:fs';
import Sqlite, { type Database, type Statement } from 'better-sqlite3';
import { EngineError } from '../types.ts';

export class CatalogReader {
  private readonly file: string;
  private open: { db: Database; inode: number } | null = null;
  private readonly statements = new Map<string, Statement>();
  private readonly onReplaced: (() => void)[] = [];

  /** @param file it need not be there yet */
  constructor(file: string) {
    this.file = file;
  }

  /** A prepared statement. Throws `catalog` while there is no catalogue (of this version) to read. */
  sql(text: string): Statement {
    const inode = statSync(this.file, { throwIfNoEntry: false })?.ino;
    // One that was broken is moved aside while we hold it open, and made anew under its name.
    if (this.open && this.open.inode !== inode) {
      this.close();
      for (const call of this.onReplaced) call();
    }
    let statement = this.statements.get(text);
    if (statement) return statement;
    try {
      this.open ??= {
        db: new Sqlite(this.file, { readonly: true, fileMustExist: true, timeout: 2000 }),
        inode: inode ?? -1,
      };
      statement = this.open.db.prepare(text);
    } catch (error) {
      throw new EngineError('catalog', 'the catalogue is not ready yet; try again in a moment', { cause: error });
    }
    this.statements.set(text, statement);
    return statement;
  }

  /** Ids of rows mean something else from then on. */
  whenReplaced(call: () => void): void {
    this.onReplaced.push(call);
  }

  private close(): void {
    this.statements.clear();
    this.open?.db.close();
    this.open = null;
  }
}
