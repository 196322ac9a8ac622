/** Begins the threads of tiers and of storage folders. */
import { Worker } from 'node:worker_threads';
import type { PlaceBackend } from '../retention/place.ts';
import { sibling } from './sibling.ts';

const backendOf =
  (thread: string): PlaceBackend =>
  (data, onReply, onEnd) => {
    const worker = new Worker(sibling(thread, import.meta.url), { workerData: data });
    let reason = 'it ended';
    worker.on('message', onReply);
    worker.on('error', (error: unknown) => (reason = error instanceof Error ? error.message : String(error)));
    worker.on('exit', () => onEnd(reason));
    return { send: (request) => worker.postMessage(request), stop: () => void worker.terminate() };
  };

export const placeBackend = backendOf('place-thread');
export const folderBackend = backendOf('folder-thread');
