/** Thread that answers questions about recorded footage: see footage.ts. `workerData` is the catalogue's file. */
import { parentPort, workerData } from 'node:worker_threads';
import { Footage } from '../playback/footage.ts';
import { EngineError } from '../types.ts';

export type FootageCalls = {
  [
    K in
      | 'playable'
      | 'media'
      | 'keyframes'
      | 'init'
      | 'coverage'
      | 'timeline'
      | 'events'
      | 'storage'
      | 'gapSeconds'
      | 'cameras'
  ]: Footage[K];
};

export interface QueryRequest {
  id: number;
  call: keyof FootageCalls;
  args: unknown[];
}

export type QueryReply = { id: number; result: unknown } | { id: number; error: { code: string; message: string } };

const port = parentPort!;
const footage = new Footage(workerData as string);

port.on('message', ({ id, call, args }: QueryRequest) => {
  try {
    const calls = footage as unknown as Record<typeof call, (...args: unknown[]) => unknown>;
    const result = calls[call](...args);
    // Media is handed over; the init segment stays in the cache and is copied.
    const transfer = call === 'media' ? [(result as Uint8Array).buffer as ArrayBuffer] : [];
    port.postMessage({ id, result } satisfies QueryReply, transfer);
  } catch (error) {
    const code = error instanceof EngineError ? error.code : 'error';
    const message = error instanceof Error ? error.message : String(error);
    port.postMessage({ id, error: { code, message } } satisfies QueryReply);
  }
});
