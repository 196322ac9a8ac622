/** Thread that answers questions about recorded footage: see footage.ts, ledger.ts. `workerData` is the catalogue's file. */
import { parentPort, workerData } from 'node:worker_threads';
import { ActivityReader } from '../playback/activity-reader.ts';
import { CatalogReader } from '../playback/catalog-reader.ts';
import { Footage } from '../playback/footage.ts';
import { Ledger } from '../playback/ledger.ts';
import { EngineError } from '../types.ts';

export type FootageCalls = {
  [K in 'playable' | 'at' | 'media' | 'part' | 'keyframe' | 'keyframes' | 'init']: Footage[K];
} & {
  [
    K in
      | 'coverage'
      | 'daily'
      | 'statistics'
      | 'timeline'
      | 'events'
      | 'camerasOf'
      | 'tags'
      | 'storage'
      | 'extents'
      | 'gapSeconds'
      | 'cameras'
  ]: Ledger[K];
} & Pick<ActivityReader, 'moved'>;

export interface QueryRequest {
  id: number;
  call: keyof FootageCalls;
  args: unknown[];
}

export type QueryReply = { id: number; result: unknown } | { id: number; error: { code: string; message: string } };

const HANDED_OVER: ReadonlySet<keyof FootageCalls> = new Set(['media', 'part', 'keyframe']);

const port = parentPort!;
const catalog = new CatalogReader(workerData as string);
const footage = new Footage(catalog);
const activity = new ActivityReader(catalog);
const ledger = new Ledger(catalog, footage, activity);

port.on('message', ({ id, call, args }: QueryRequest) => {
  try {
    const owner = (call in ledger ? ledger : call in activity ? activity : footage) as unknown as Record<
      typeof call,
      (...args: unknown[]) => unknown
    >;
    const result = owner[call](...args);
    // Media is handed over; the init segment stays in the cache and is copied.
    const transfer = HANDED_OVER.has(call) ? [(result as Uint8Array).buffer as ArrayBuffer] : [];
    port.postMessage({ id, result } satisfies QueryReply, transfer);
  } catch (error) {
    const code = error instanceof EngineError ? error.code : 'error';
    const message = error instanceof Error ? error.message : String(error);
    port.postMessage({ id, error: { code, message } } satisfies QueryReply);
  }
});
