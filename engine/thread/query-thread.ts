/** Thread that answers questions about recorded footage: see footage.ts, ledger.ts. `workerData`: {@link QueryThreadData}. */
import { parentPort, workerData } from 'node:worker_threads';
import { ActivityReader } from '../playback/activity-reader.ts';
import { CatalogReader } from '../playback/catalog-reader.ts';
import { Footage } from '../playback/footage.ts';
import { Ledger } from '../playback/ledger.ts';
import { PresetReader } from '../playback/preset-reader.ts';
import { RemoteError, type RemoteFile } from '../playback/remote-cache.ts';
import { EngineError } from '../types.ts';

export interface QueryThreadData {
  /** The catalogue's file. */
  catalog: string;
  /** Folder with the files that were fetched from buckets. */
  cache: string;
}

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
} & Pick<ActivityReader, 'moved'> &
  Pick<PresetReader, 'presets' | 'presetStill'>;

export interface QueryRequest {
  id: number;
  call: keyof FootageCalls;
  args: unknown[];
}

export type QueryReply =
  | { id: number; result: unknown }
  | { id: number; error: { code: string; message: string } }
  /** It can be answered when this was fetched. */
  | { id: number; remote: RemoteFile };

const HANDED_OVER: ReadonlySet<keyof FootageCalls> = new Set(['media', 'part', 'keyframe']);

const port = parentPort!;
const { catalog: file, cache } = workerData as QueryThreadData;
const catalog = new CatalogReader(file);
const footage = new Footage(catalog, cache);
const activity = new ActivityReader(catalog);
const ledger = new Ledger(catalog, footage, activity);
const presets = new PresetReader(catalog);

port.on('message', ({ id, call, args }: QueryRequest) => {
  try {
    const owner = [ledger, activity, presets].find((one) => call in one) ?? footage;
    const result = (owner as unknown as Record<typeof call, (...args: unknown[]) => unknown>)[call](...args);
    // Media is handed over; the init segment stays in the cache and is copied.
    const transfer = HANDED_OVER.has(call) ? [(result as Uint8Array).buffer as ArrayBuffer] : [];
    port.postMessage({ id, result } satisfies QueryReply, transfer);
  } catch (error) {
    if (error instanceof RemoteError) {
      port.postMessage({ id, remote: error.file } satisfies QueryReply);
      return;
    }
    const code = error instanceof EngineError ? error.code : 'error';
    const message = error instanceof Error ? error.message : String(error);
    port.postMessage({ id, error: { code, message } } satisfies QueryReply);
  }
});
