/** The query thread as seen from the main thread: bounded, with a time limit, started again when it dies. */
import { setTimeout as wait } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { FootageCalls, QueryReply, QueryRequest, QueryThreadData } from '../thread/query-thread.ts';
import { sibling } from '../thread/sibling.ts';
import { systemClock, type Clock } from '../clock.ts';
import { EngineError } from '../types.ts';
import { whoAsks } from './asker.ts';
import { FairQueue } from './fair-queue.ts';
import { gone } from './fair-turns.ts';
import { RemoteError, type RemoteFile } from './remote-cache.ts';

/** Questions that may wait; more means that somebody asks faster than the disk can answer. */
const MAX_WAITING = 500;
const CLOSE_MS = 2000;
const TIMEOUT_MS = 15_000;
/** Threads that hang in a dead disk cannot be ended, only left; they end when the disk answers. */
const MAX_LEFT = 3;
/** Files that one question may fetch: a strip has no more pictures. */
const MAX_FETCHES = 150;

interface Question {
  request: QueryRequest;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

export type QueryThread = Pick<Worker, 'on' | 'postMessage' | 'terminate'>;

export interface QueryEffects {
  start: (data: QueryThreadData) => QueryThread;
  clock: Clock;
}

const EFFECTS: QueryEffects = {
  start: (workerData) => new Worker(sibling('../thread/query-thread', import.meta.url), { workerData }),
  clock: systemClock,
};

const unanswered = (): EngineError => new EngineError('timeout', 'the storage does not answer; check its disk');

export class QueryHost {
  private readonly data: QueryThreadData;
  private readonly fetch: (file: RemoteFile) => Promise<void>;
  private readonly effects: QueryEffects;
  private worker: QueryThread | null = null;
  private nextId = 1;
  private readonly queue = new FairQueue<Question>(MAX_WAITING);
  /** What the thread works on: one at a time, so that its time runs from when it begins, however many wait behind it. */
  private current: Question | null = null;
  private stopTimer: () => void = () => undefined;
  /** The thread did not answer in time, and there are too many like it to begin another. */
  private hangs = false;
  private closed = false;
  private left = 0;

  /** @param fetch brings a file of a bucket into the cache of `data` */
  constructor(data: QueryThreadData, fetch: (file: RemoteFile) => Promise<void>, effects: QueryEffects = EFFECTS) {
    this.data = data;
    this.fetch = fetch;
    this.effects = effects;
  }

  /**
   * Questions of several askers take turns. Rejects with `busy`, `gone` when whoever asked left before its turn,
   * `timeout`, `catalog`, `bucket` or what the call throws.
   */
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
      if (this.hangs && !this.leave()) {
        reject(unanswered());
        return;
      }
      const { asker, gone: left } = whoAsks();
      if (left?.aborted) {
        reject(gone());
        return;
      }
      const leave = (): void => {
        if (this.queue.remove(question)) reject(gone());
      };
      const done = (): void => left?.removeEventListener('abort', leave);
      const request: QueryRequest = { id: this.nextId++, call, args };
      const question: Question = {
        request,
        resolve: (value) => {
          done();
          (resolve as (value: unknown) => void)(value);
        },
        reject: (error) => {
          done();
          reject(error);
        },
      };
      left?.addEventListener('abort', leave);
      const loser = this.queue.push(asker, question);
      loser?.reject(new EngineError('busy', 'too many questions at once; try again later'));
      this.next();
    });
  }

  private next(): void {
    if (this.current || this.hangs) return;
    const question = this.queue.take();
    if (!question) return;
    try {
      this.worker ??= this.start();
      this.worker.postMessage(question.request);
    } catch (error) {
      question.reject(error as Error);
      this.next();
      return;
    }
    this.current = question;
    this.stopTimer = this.effects.clock.after(TIMEOUT_MS, () => {
      this.hangs = true;
      this.rejectAll(unanswered());
      this.leave();
    });
  }

  /** Another thread may do what this one hangs in: not all folders are on one disk. @returns whether it may be begun */
  private leave(): boolean {
    const { worker } = this;
    if (!worker || this.left >= MAX_LEFT) return false;
    this.left++;
    this.worker = null;
    this.hangs = false;
    void worker.terminate().finally(() => this.left--);
    return true;
  }

  private start(): QueryThread {
    const worker = this.effects.start(this.data);
    let died = 'it ended';
    worker.on('message', (reply: QueryReply) => {
      if (this.worker !== worker) return; // it was left
      this.hangs = false; // it answers again
      const asked = this.current;
      if (reply.id === asked?.request.id) {
        this.stopTimer();
        this.current = null;
        if ('remote' in reply) asked.reject(new RemoteError(reply.remote));
        else if ('error' in reply) asked.reject(new EngineError(reply.error.code, reply.error.message));
        else asked.resolve(reply.result);
      }
      this.next();
    });
    worker.on('error', (error: unknown) => {
      died = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      if (this.worker !== worker) return; // it was left
      this.worker = null; // the next question starts another
      this.hangs = false;
      this.rejectAll(new EngineError('error', `the query thread stopped: ${died}`));
    });
    return worker;
  }

  private rejectAll(error: Error): void {
    this.stopTimer();
    const all = [this.current, ...this.queue.drain()];
    this.current = null;
    for (const question of all) question?.reject(error);
  }

  async close(): Promise<void> {
    this.closed = true;
    this.rejectAll(new EngineError('closed', 'the NVR is being stopped'));
    // One that hangs ends with the process.
    await Promise.race([this.worker?.terminate(), wait(CLOSE_MS, undefined, { ref: false })]);
  }
}
