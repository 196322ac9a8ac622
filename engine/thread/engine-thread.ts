/** Entry of the engine's thread: wires {@link Engine} to its sub-threads and answers its host. */
import { parentPort, Worker, workerData } from 'node:worker_threads';
import { cageKnown } from '../cage/state.ts';
import { systemClock } from '../clock.ts';
import { Engine, type EngineEvent } from '../engine.ts';
import { spawnFfmpeg } from '../ingest/ffmpeg-process.ts';
import { WriteQueue } from '../recording/write-queue.ts';
import { EngineError, type EngineConfig } from '../types.ts';
import type { CatalogThreadData } from './catalog-thread.ts';
import { beat } from './pulse.ts';
import { sibling } from './sibling.ts';
import type { WriterAnswer, WriterThreadData } from './writer-thread.ts';

export type EngineCalls = {
  [
    K in
      | 'opened'
      | 'setCamera'
      | 'removeCamera'
      | 'commandCamera'
      | 'snapshot'
      | 'watch'
      | 'unwatch'
      | 'acknowledge'
      | 'putEvent'
      | 'events'
      | 'setMotion'
      | 'removeMotion'
      | 'motionPicture'
      | 'setTurning'
      | 'putPresets'
      | 'putPresetStill'
      | 'still'
      | 'setRecorder'
      | 'removeRecorder'
      | 'attach'
      | 'detach'
      | 'trigger'
      | 'commandRecorder'
      | 'coverage'
      | 'setRetention'
      | 'runRetention'
      | 'previewRetention'
      | 'hold'
      | 'releaseHold'
      | 'holds'
      | 'veto'
      | 'copyAnnounced'
      | 'checkFootage'
      | 'cancelCheck'
      | 'backUp'
      | 'shutdown'
  ]: Engine[K];
};

export interface EngineRequest {
  id: number;
  call: keyof EngineCalls;
  args: unknown[];
}

export type EngineReply =
  { id: number; result: unknown } | { id: number; error: { code: string; message: string } } | EngineEvent;

export interface EngineThreadData {
  config: EngineConfig;
  /** See pulse.ts. */
  pulse: Int32Array;
}

const port = parentPort!;
const { config, pulse } = workerData as EngineThreadData;
beat(pulse);
const startedAt = Date.now();

function start(name: string, data: unknown, onReply: (reply: never) => void): Worker {
  const worker = new Worker(sibling(name, import.meta.url), { workerData: data });
  worker.on('message', (reply) => onReply(reply as never));
  // A part that died leaves work undone; the host starts all of it again.
  worker.on('error', (error) => {
    setImmediate(() => {
      throw error;
    });
  });
  return worker;
}

const engine = new Engine(
  config,
  { clock: systemClock, spawn: spawnFfmpeg, ffmpegPath: config.ffmpegPath, random: Math.random },
  {
    writer: (storage, onReply) => {
      const data: WriterThreadData = { storage, catalog: config.catalog, readers: config.readers };
      const worker = start('writer-thread', data, ({ replies, buffers }: WriterAnswer) => {
        queue.recycle(buffers);
        replies.forEach(onReply);
      });
      const queue = new WriteQueue((requests, buffers) => worker.postMessage(requests, buffers));
      return queue;
    },
    catalog: (onReply) => {
      const data: CatalogThreadData = {
        file: config.catalog,
        storages: config.storages,
        readers: config.readers,
        firstGapId: startedAt * 1000 + 500_000_000_000,
        startedAt,
      };
      const worker = start('catalog-thread', data, onReply);
      return { send: (request) => worker.postMessage(request) };
    },
    motion: (onReply, onEnd) => {
      // Not as the others: recording goes on without it.
      const worker = new Worker(sibling('motion-thread', import.meta.url), { workerData: config.ffmpegPath });
      let reason = 'it ended';
      worker.on('message', onReply);
      worker.on('error', (error: unknown) => (reason = error instanceof Error ? error.message : String(error)));
      worker.on('exit', () => onEnd(reason));
      return {
        send: (request, transfer = []) => worker.postMessage(request, transfer),
        stop: () => void worker.terminate(),
      };
    },
    retention: (onReply, onEnd) => {
      // Nor does recording end with this one.
      const worker = new Worker(sibling('retention-thread', import.meta.url), { workerData: config });
      let reason = 'it ended';
      worker.on('message', onReply);
      worker.on('error', (error: unknown) => (reason = error instanceof Error ? error.message : String(error)));
      worker.on('exit', () => onEnd(reason));
      return { send: (request) => worker.postMessage(request), stop: () => void worker.terminate() };
    },
  },
  (event, transfer) => port.postMessage(event, transfer),
);

async function answer({ id, call, args }: EngineRequest): Promise<void> {
  try {
    const calls = engine as unknown as Record<typeof call, (...args: unknown[]) => unknown>;
    port.postMessage({ id, result: await calls[call](...args) });
  } catch (error) {
    const code = error instanceof EngineError ? error.code : 'error';
    port.postMessage({ id, error: { code, message: error instanceof Error ? error.message : String(error) } });
  }
}

/** Others need not wait for the answer to these. */
const SLOW: readonly (keyof EngineCalls)[] = [
  ...(['opened', 'snapshot', 'coverage', 'events', 'shutdown'] as const),
  ...(['setRetention', 'runRetention', 'previewRetention', 'hold', 'releaseHold', 'holds', 'veto'] as const),
  ...(['copyAnnounced', 'checkFootage', 'cancelCheck', 'backUp'] as const),
];

// What a crash left behind is put in order before anything new is recorded; order of requests is kept.
// The cage is tried meanwhile: what records for weeks should be in it.
let queue: Promise<void> = Promise.all([engine.opened().catch(() => undefined), cageKnown()]).then(() => undefined);
port.on('message', (request: EngineRequest) => {
  const slow = SLOW.includes(request.call);
  queue = queue.then(() => {
    const done = answer(request);
    return slow ? undefined : done;
  });
});
