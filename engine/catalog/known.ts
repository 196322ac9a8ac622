/** Whether a folder was ever recorded to, asked of the catalogue by threads that have no part in it. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import type Database from 'better-sqlite3';

/**
 * The file that came last into the catalogue of those in a storage folder; null where it names none, or cannot say: what is not
 * known keeps nobody from recording.
 */
export function lastFileIn(catalog: string, storage: string): string | null {
  if (!existsSync(catalog)) return null;
  try {
    // Only where it is asked: recording does not wait for a library to be loaded.
    const Sqlite = createRequire(import.meta.url)('better-sqlite3') as typeof Database;
    const db = new Sqlite(catalog, { readonly: true, fileMustExist: true, timeout: 5000 });
    try {
      // Backwards through the rows: folders that are recorded to have the last of them.
      const last = `SELECT path FROM segment WHERE +storage_id = (SELECT id FROM storage WHERE path = ?)
        AND state = 'closed' AND doomed IS NULL ORDER BY id DESC LIMIT 1`;
      return (db.prepare(last).pluck().get(storage) as string | undefined) ?? null;
    } finally {
      db.close();
    }
  } catch {
    return null;
  }
}
