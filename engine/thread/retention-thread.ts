/**
 * Thread that deletes what the rules no longer keep, with a connection of its own to the catalogue: see
 * retention/retention.ts. A disk that is slow to delete holds up nothing else. `workerData` is the {@link EngineConfig}.
 */
import { statfsSync, statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import Sqlite from 'better-sqlite3';
import { systemClock } from '../clock.ts';
import { CatalogSource } from '../retention/catalog-source.ts';
import { DeletionStore } from '../retention/deletion-store.ts';
import { MoveStore } from '../retention/move-store.ts';
import { PlaceLink } from '../retention/place-link.ts';
import { Tiering } from '../retention/tiering.ts';
import { diskOfFiles } from '../retention/deletion.ts';
import type { RetentionCalls, RetentionReply, RetentionRequest } from '../retention/link.ts';
import { Retention } from '../retention/retention.ts';
import { EngineError, type EngineConfig } from '../types.ts';
import { placeBackend } from './place-backend.ts';

const port = parentPort!;
const config = workerData as EngineConfig;
const tell = (reply: RetentionReply): void => port.postMessage(reply);

const db = new Sqlite(config.catalog, { fileMustExist: true, timeout: 5000 });
db.pragma('synchronous = NORMAL');
db.pragma('foreign_keys = ON');
// Done between batches instead, when nobody waits for this connection.
db.pragma('wal_autocheckpoint = 0');

function storages(): string[] {
  const known = db.prepare('SELECT path FROM storage').pluck().all() as string[];
  const folders = [...new Set([...config.storages, ...known])].filter((storage) => !tiering.has(storage));
  return folders.filter((storage) => diskOfFiles.present(storage));
}

let lock: Sqlite.Database | null = null;
/** Held until this thread ends, however it does. */
function own(): boolean {
  if (lock) return true;
  const db = new Sqlite(`${config.catalog}-moves`, { timeout: 0 });
  try {
    db.exec('BEGIN EXCLUSIVE');
    lock = db;
    return true;
  } catch (error) {
    db.close();
    if ((error as { code?: string }).code === 'SQLITE_BUSY') return false;
    throw error;
  }
}

const tiering = new Tiering({
  clock: systemClock,
  store: new MoveStore(db, (ms) => retention.locked(ms)),
  source: () => new CatalogSource(db),
  files: diskOfFiles,
  recorded: config.storages,
  open: (data) => new PlaceLink({ ...data, catalog: config.catalog }, placeBackend, systemClock),
  tell: (message) => tell({ message }),
  own,
});

/** Batches; each writes less than a megabyte, most of them far less. */
const CHECKPOINT_EVERY = 8;
let batches = 0;

const retention: Retention = new Retention({
  clock: systemClock,
  store: new DeletionStore(db, (ms) => retention.locked(ms)),
  source: () => new CatalogSource(db),
  files: diskOfFiles,
  tiering,
  storages,
  diskOf: (storage) => {
    try {
      const { bavail, blocks, bsize } = statfsSync(storage);
      return { disk: `${statSync(storage).dev}`, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    } catch {
      return null; // it was taken away just now
    }
  },
  tell: (message) => tell({ message }),
  settle: () => {
    if (++batches % CHECKPOINT_EVERY === 0) db.pragma('wal_checkpoint(PASSIVE)');
  },
});

async function answer({ id, call, args }: Extract<RetentionRequest, { id: number }>): Promise<void> {
  try {
    const calls = retention as unknown as Record<keyof RetentionCalls, (...args: unknown[]) => unknown>;
    tell({ id, result: await calls[call](...args) });
  } catch (error) {
    const code = error instanceof EngineError ? error.code : 'retention';
    tell({ id, error: { code, message: error instanceof Error ? error.message : String(error) } });
  }
}

port.on('message', (request: RetentionRequest) => {
  if ('rates' in request) retention.setRates(request.rates);
  else void answer(request);
});
