/**
 * Thread for one job beside recording: a check, a backup, a copy. It runs with the lowest priority and ends with its
 * job. `workerData`: {@link UpkeepThreadData}.
 */
import { constants, setPriority } from 'node:os';
import { setTimeout as wait } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Catalog } from '../catalog/catalog.ts';
import { Reconciler } from '../catalog/reconcile.ts';
import { modesOf, type Readers } from '../recording/file-modes.ts';
import { EngineError } from '../types.ts';
import { backUp, isBackedUp } from '../upkeep/backup.ts';
import { checkStorages } from '../upkeep/check.ts';
import { copyFootage } from '../upkeep/copy.ts';
import type { UpkeepJob, UpkeepReply, UpkeepReport } from '../upkeep/types.ts';

const TELL_MS = 1000;
/** Apart from the ids that the engine and the catalogue's thread give. */
const FIRST_GAP_ID = Date.now() * 1000 + 250_000_000_000;

export interface UpkeepThreadData {
  job: UpkeepJob;
  readers: Readers | undefined;
}

const port = parentPort!;
const { job, readers } = workerData as UpkeepThreadData;
const modes = modesOf(readers);
const tell = (reply: UpkeepReply): void => port.postMessage(reply);
// Linux knows priorities of threads, and takes that of the disk from it; elsewhere it would be that of all of Node-RED.
if (process.platform === 'linux') setPriority(0, constants.priority.PRIORITY_LOW);

let told = 0;
function progress(of: Extract<UpkeepReply, { progress: unknown }>['progress']): void {
  if (performance.now() - told < TELL_MS) return;
  told = performance.now();
  tell({ progress: of });
}

async function run(job: UpkeepJob): Promise<UpkeepReport[UpkeepJob['kind']]> {
  const pause = (ms: number): Promise<void> => wait(ms);
  switch (job.kind) {
    case 'check': {
      const catalog = Catalog.open(job.catalog);
      try {
        let gapId = FIRST_GAP_ID;
        const effects = { now: Date.now, pause, alone: false, record: true };
        return await checkStorages(
          catalog,
          job.storages,
          job.options,
          { ...effects, progress: ({ files, bytes, faults, done }) => progress({ files, bytes, faults, done }) },
          new Reconciler(catalog, () => gapId++),
        );
      } finally {
        catalog.close();
      }
    }
    case 'backup': {
      const { source, options } = job;
      const { folder, since } = options;
      const now = Date.now();
      if (since !== null && isBackedUp(source.catalog, folder, since, now)) return null;
      return backUp(source, options, now, (done) => progress({ done }), modes);
    }
    case 'copy':
      return copyFootage(job.items, job.folder, pause, (done) => progress({ done }), modes);
  }
}

run(job).then(
  (result) => tell({ result }),
  (error: unknown) => {
    const code = error instanceof EngineError ? error.code : 'upkeep';
    tell({ error: { code, message: error instanceof Error ? error.message : String(error) } });
  },
);
