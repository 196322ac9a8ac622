/** Thread of one storage folder: see file-writer.ts. `workerData` is the folder. */
import { parentPort, workerData } from 'node:worker_threads';
import { FileWriter, SYNC_MS, type WriterRequest } from '../recording/file-writer.ts';

const port = parentPort!;
const writer = new FileWriter(workerData as string, (reply) => port.postMessage(reply));
port.on('message', (request: WriterRequest) => writer.handle(request));
setInterval(() => writer.sync(), SYNC_MS);
