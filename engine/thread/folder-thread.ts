/**
 * Thread that looks at one storage folder, with synchronous calls: a disk that hangs takes nothing of Node's shared
 * thread pool. See retention/folders.ts. `workerData`: {@link PlaceThreadData}.
 */
import { statfsSync, statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import { diskOfFiles } from '../retention/deletion.ts';
import type { PlaceReply, PlaceRequest, PlaceThreadData, Room } from '../retention/place.ts';

const port = parentPort!;
const { to } = workerData as PlaceThreadData;
const tell = (reply: PlaceReply): void => port.postMessage(reply);

/** Null when it is not there, or was taken away just now. */
function look(): Room | null {
  if (!diskOfFiles.present(to)) return null;
  try {
    const { bavail, blocks, bsize } = statfsSync(to);
    return { disk: `${statSync(to).dev}`, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  } catch {
    return null;
  }
}

port.on('message', ({ id }: PlaceRequest) => {
  const result = look();
  if (result) tell({ id, result });
  else tell({ id, error: { code: 'away', message: `the storage folder ${to} is not there` } });
});
