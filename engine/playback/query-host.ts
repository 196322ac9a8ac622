/** The query thread as seen from the main thread: bounded, with a time limit, started again when it dies. */
import { setTimeout as wait } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { FootageCalls, QueryReply, QueryRequest, QueryThreadData } from '../thread/query-thread.ts';
import { sibling } from '../thread/sibling.ts';
import { EngineError } from '../types.ts';
import { RemoteError, type RemoteFile } from './remote-cache.ts';

/** Questions that may wait; more means that somebody asks faster than the disk can answer. */
const MAX_WAITING = 500;
const CLOSE_MS = 2000;
const TIMEOUT_MS = 15_000;
/** Threads that hang in a dead disk cannot be ended, only left; they end when the disk answers. */
const MAX_LEFT = 3;
/** Files that one question may fetch: a strip has no more pictures. */
const MAX_FETCHES = 150;

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
  timer: NodeJS.Timeout;
}

export class QueryHost {
  private readonly data: QueryThreadData;
  private readonly fetch: (file: RemoteFile) => Promise<void>;
  private worker: Worker | null = null;
  private nextId = 1;
  private readonly waiting = new Map<number, Waiting>();
  private closed = false;
  private left = 0;

  /** @param fetch brings a file of a bucket into the cache of `data` */
  constructor(data: QueryThreadData, fetch: (file: RemoteFile) => Promise<void>) {
    this.data = data;
    this.fetch = fetch;
  }

  /** Rejects with `busy`, `timeout`, `catalog`, `bucket` or what the call throws. */
  async call<K extends keyof FootageCalls>(
    call: K,
    ...args: Parameters<FootageCalls[K]>
  ): Promise<ReturnType<FootageCalls[K]>> {
    for (let fetches = 0; ; fetches++) {
      try {
        return await this.ask(call, args);
      } catch (error) {
        if (!(error instanceof RemoteError) || fetches >= MAX_FETCHES) throw error;
        await this.fetch(error.file);
      }
    }
  }

  private ask<K extends keyof FootageCalls>(
    call: K,
    args: Parameters<FootageCalls[K]>,
  ): Promise<ReturnType<FootageCalls[K]>> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new EngineError('closed', 'the NVR is being stopped'));
        return;
      }
      if (this.waiting.size >= MAX_WAITING) {
        reject(new EngineError('busy', 'too many questions at once; try again later'));
        return;
      }
      const worker = (this.worker ??= this.start());
      const id = this.nextId++;
      const timer = setTimeout(() => {
        this.waiting.delete(id);
        reject(new EngineError('timeout', 'the storage does not answer; check its disk'));
        if (this.worker === worker) this.leave(worker);
      }, TIMEOUT_MS);
      this.waiting.set(id, { resolve: resolve as (value: unknown) => void, reject, timer });
      worker.postMessage({ id, call, args } satisfies QueryRequest);
    });
  }

  /** Another thread may do what this one hangs in: not all folders are on one disk. */
  private leave(worker: Worker): void {
    if (this.left >= MAX_LEFT) return;
    this.left++;
    this.worker = null;
    this.rejectAll(new EngineError('timeout', 'the storage does not answer; check its disk'));
    void worker.terminate().finally(() => this.left--);
  }

  private start(): Worker {
    const worker = new Worker(sibling('../thread/query-thread', import.meta.url), { workerData: this.data });
    let died = 'it ended';
    worker.on('message', (reply: QueryReply) => {
      const asked = this.waiting.get(reply.id);
      if (!asked) return; // too late
      this.waiting.delete(reply.id);
      clearTimeout(asked.timer);
      if ('remote' in reply) asked.reject(new RemoteError(reply.remote));
      else if ('error' in reply) asked.reject(new EngineError(reply.error.code, reply.error.message));
      else asked.resolve(reply.result);
    });
    worker.on('error', (error: unknown) => {
      died = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      if (this.worker !== worker) return; // it was left
      this.worker = null; // the next question starts another
      this.rejectAll(new EngineError('error', `the query thread stopped: ${died}`));
    });
    return worker;
  }

  private rejectAll(error: Error): void {
    for (const { reject, timer } of this.waiting.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.waiting.clear();
  }

  async close(): Promise<void> {
    this.closed = true;
    this.rejectAll(new EngineError('closed', 'the NVR is being stopped'));
    // One that hangs ends with the process.
    await Promise.race([this.worker?.terminate(), wait(CLOSE_MS, undefined, { ref: false })]);
  }
}
