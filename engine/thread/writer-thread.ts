/** Thread of one storage folder: see file-writer.ts. `workerData`: {@link WriterThreadData}. */
import { parentPort, workerData } from 'node:worker_threads';
import { lastFileIn } from '../catalog/known.ts';
import { modesOf, type Readers } from '../recording/file-modes.ts';
import { FileWriter, SYNC_MS, type WriterReply, type WriterRequest } from '../recording/file-writer.ts';

export interface WriterThreadData {
  storage: string;
  /** Its file. */
  catalog: string;
  readers: Readers | undefined;
}

/** What came of the requests of a message, and the buffers that came with them. */
export interface WriterAnswer {
  replies: WriterReply[];
  buffers: ArrayBuffer[];
}

const port = parentPort!;
let replies: WriterReply[] = [];
const { storage, catalog, readers } = workerData as WriterThreadData;
const writer = new FileWriter(
  storage,
  (reply) => replies.push(reply),
  () => lastFileIn(catalog, storage),
  modesOf(readers),
);

function answer(buffers: ArrayBuffer[]): void {
  if (replies.length > 0) port.postMessage({ replies, buffers } satisfies WriterAnswer, buffers);
  replies = [];
}

port.on('message', (requests: WriterRequest[]) => {
  const buffers = new Set<ArrayBuffer>();
  for (const request of requests) {
    writer.handle(request);
    if (request.op === 'append') buffers.add(request.data.buffer as ArrayBuffer);
  }
  answer([...buffers]);
});
setInterval(() => {
  writer.sync();
  answer([]);
}, SYNC_MS);
