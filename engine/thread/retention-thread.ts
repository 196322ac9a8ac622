/**
 * Thread that deletes what the rules no longer keep, with a connection of its own to the catalogue: see
 * retention/retention.ts. A disk that is slow to delete holds up nothing else. `workerData` is the {@link EngineConfig}.
 */
import { dirname, join } from 'node:path';
import { parentPort, Worker, workerData } from 'node:worker_threads';
import Sqlite from 'better-sqlite3';
import { systemClock } from '../clock.ts';
import { modesOf, prepareDatabase } from '../recording/file-modes.ts';
import { CatalogSource } from '../retention/catalog-source.ts';
import { DeletionStore } from '../retention/deletion-store.ts';
import { MoveStore } from '../retention/move-store.ts';
import { PlaceLink } from '../retention/place-link.ts';
import { Tiering } from '../retention/tiering.ts';
import { Folders } from '../retention/folders.ts';
import type { RetentionCalls, RetentionReply, RetentionRequest } from '../retention/link.ts';
import { pruneSteps } from '../retention/pruning.ts';
import { Retention } from '../retention/retention.ts';
import { stillOf } from '../retention/thumbnails.ts';
import { Upkeep, type UpkeepEffects } from '../retention/upkeep.ts';
import { EngineError, type EngineConfig } from '../types.ts';
import type { UpkeepReply } from '../upkeep/types.ts';
import { sibling } from './sibling.ts';
import { folderBackend, placeBackend } from './place-backend.ts';
import type { UpkeepThreadData } from './upkeep-thread.ts';

const port = parentPort!;
const config = workerData as EngineConfig;
const tell = (reply: RetentionReply): void => port.postMessage(reply);

const db = new Sqlite(config.catalog, { fileMustExist: true, timeout: 5000 });
db.pragma('synchronous = NORMAL');
db.pragma('foreign_keys = ON');
// Done between batches instead, when nobody waits for this connection.
db.pragma('wal_autocheckpoint = 0');

function knownStorages(): string[] {
  const known = db.prepare('SELECT path FROM storage').pluck().all() as string[];
  return [...new Set([...config.storages, ...known])];
}

/** Those that are recorded to, and others that have footage, but for tiers. */
function usedStorages(): string[] {
  const used =
    'SELECT path FROM storage st WHERE EXISTS (SELECT 1 FROM usage u WHERE u.storage_id = st.id AND files > 0)';
  const all = new Set([...config.storages, ...(db.prepare(used).pluck().all() as string[])]);
  return [...all].filter((storage) => !tiering.has(storage));
}

const folders = new Folders({
  inUse: usedStorages,
  open: (to) =>
    new PlaceLink({ to, catalog: config.catalog, access: null, readers: config.readers }, folderBackend, systemClock),
});

let lock: Sqlite.Database | null = null;
/** Held until this thread ends, however it does. */
function own(): boolean {
  if (lock) return true;
  prepareDatabase(`${config.catalog}-moves`, modesOf(config.readers).file);
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
  files: folders,
  recorded: config.storages,
  open: (data) =>
    new PlaceLink({ ...data, catalog: config.catalog, readers: config.readers }, placeBackend, systemClock),
  tell: (message) => tell({ message }),
  own,
});

/** Batches; each writes less than a megabyte, most of them far less. */
const CHECKPOINT_EVERY = 8;
let batches = 0;

/** A thread for each job, gone with it. */
const startJob: UpkeepEffects['start'] = (job, onProgress) => {
  const worker = new Worker(sibling('upkeep-thread', import.meta.url), {
    workerData: { job, readers: config.readers } satisfies UpkeepThreadData,
  });
  let reason = new EngineError('cancelled', `the ${job.kind} was ended before it was done`);
  const done = new Promise<Extract<UpkeepReply, { result: unknown }>['result']>((resolve, reject) => {
    worker.on('message', (reply: UpkeepReply) => {
      if ('progress' in reply) onProgress(reply.progress);
      else if ('result' in reply) resolve(reply.result);
      else reject(new EngineError(reply.error.code, reply.error.message));
    });
    worker.on('error', (error: unknown) => {
      reason = new EngineError('upkeep', error instanceof Error ? error.message : String(error));
    });
    worker.on('exit', () => reject(reason)); // too late to matter when it has answered
  });
  return { done, stop: () => void worker.terminate() };
};

const upkeep = new Upkeep({
  clock: systemClock,
  tell: (message) => tell({ message }),
  start: startJob,
  catalog: config.catalog,
  storages: knownStorages,
  backupFolder: join(dirname(config.catalog), 'backups'),
});

const store = new DeletionStore(db, (ms) => retention.locked(ms));
const retention: Retention = new Retention({
  clock: systemClock,
  store,
  upkeep,
  prune: (holds, now) => pruneSteps(db, (call) => store.write(call), holds, now),
  still: (of) => stillOf(db, config.ffmpegPath, of),
  source: () => new CatalogSource(db),
  files: folders,
  folders,
  tiering,
  storages: () => folders.there.filter((storage) => !tiering.has(storage)),
  diskOf: folders.roomOf,
  recorded: config.storages,
  tell: (message) => tell({ message }),
  settle: () => {
    if (++batches % CHECKPOINT_EVERY === 0) db.pragma('wal_checkpoint(PASSIVE)');
  },
});

async function answer({ id, call, args }: Extract<RetentionRequest, { id: number }>): Promise<void> {
  try {
    if (call === 'preview') await folders.look();
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
