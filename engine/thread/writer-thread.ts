/** Thread of one storage folder: see file-writer.ts. `workerData` is the folder. */
import { parentPort, workerData } from 'node:worker_threads';
import { FileWriter, SYNC_MS, type WriterReply, type WriterRequest } from '../recording/file-writer.ts';

/** What came of the requests of a message, and the buffers that came with them. */
export interface WriterAnswer {
  replies: WriterReply[];
  buffers: ArrayBuffer[];
}

const port = parentPort!;
let replies: WriterReply[] = [];
const writer = new FileWriter(workerData as string, (reply) => replies.push(reply));

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
