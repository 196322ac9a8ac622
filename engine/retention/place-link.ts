/** The thread of one tier, as the threads see it that ask it: begun when needed, left when it hangs, and tried again later. */
import type { Clock } from '../clock.ts';
import { EngineError } from '../types.ts';
import type { PlaceBackend, PlaceCalls, PlaceThreadData } from './place.ts';

/** A disk or server that does nothing for so long is given up. */
export const STALL_MS = 30_000;
/** Threads that hang in a dead disk cannot be ended, only left; they end when the disk answers. */
const MAX_LEFT = 3;
const MAX_WAITING = 100;

interface Waiting {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

export class PlaceLink {
  readonly data: PlaceThreadData;
  private readonly start: PlaceBackend;
  private readonly clock: Pick<Clock, 'after'>;
  private readonly stallMs: number;
  private thread: ReturnType<PlaceBackend> | null = null;
  private readonly waiting = new Map<number, Waiting>();
  private nextId = 1;
  private left = 0;
  private closed = false;
  private cancelStall: () => void = () => undefined;

  constructor(data: PlaceThreadData, start: PlaceBackend, clock: Pick<Clock, 'after'>, stallMs = STALL_MS) {
    this.data = data;
    this.start = start;
    this.clock = clock;
    this.stallMs = stallMs;
  }

  /** Rejects with `stalled`, `busy`, `closed`, or what the call throws. */
  call<K extends keyof PlaceCalls>(call: K, ...args: Parameters<PlaceCalls[K]>): Promise<ReturnType<PlaceCalls[K]>> {
    return new Promise((resolve, reject) => {
      if (this.closed) {
        reject(new EngineError('closed', 'the NVR is being stopped'));
        return;
      }
      if (this.waiting.size >= MAX_WAITING) {
        reject(new EngineError('busy', `too much is asked of ${this.data.to} at once`));
        return;
      }
      const thread = this.thread ?? this.begin();
      if (!thread) {
        reject(this.hangs());
        return;
      }
      if (this.waiting.size === 0) this.watch();
      const id = this.nextId++;
      this.waiting.set(id, { resolve: resolve as (value: unknown) => void, reject });
      thread.send({ id, call, args });
    });
  }

  close(): void {
    this.closed = true;
    this.cancelStall();
    this.rejectAll(new EngineError('closed', 'the NVR is being stopped'));
    this.thread?.stop();
    this.thread = null;
  }

  private hangs(): EngineError {
    return new EngineError('stalled', `${this.data.to} does not answer: check its disk or network`);
  }

  private begin(): ReturnType<PlaceBackend> | null {
    if (this.left >= MAX_LEFT) return null;
    let isLeft = false;
    const thread = this.start(
      this.data,
      (reply) => {
        if (this.thread !== thread) return;
        this.watch();
        if ('alive' in reply) return;
        const asked = this.waiting.get(reply.id);
        this.waiting.delete(reply.id);
        if (this.waiting.size === 0) this.cancelStall();
        if ('error' in reply) asked?.reject(new EngineError(reply.error.code, reply.error.message));
        else asked?.resolve(reply.result);
      },
      (reason) => {
        if (isLeft) this.left--;
        if (this.thread !== thread) return;
        this.thread = null; // the next call begins another
        this.rejectAll(new EngineError('error', `the thread of ${this.data.to} stopped: ${reason}`));
      },
    );
    this.thread = thread;
    this.leave = () => {
      isLeft = true;
      this.left++;
      this.thread = null;
      this.rejectAll(this.hangs());
      thread.stop();
    };
    return thread;
  }

  private leave: () => void = () => undefined;

  private watch(): void {
    this.cancelStall();
    this.cancelStall = this.clock.after(this.stallMs, () => {
      if (this.waiting.size > 0) this.leave();
    });
  }

  private rejectAll(error: Error): void {
    this.cancelStall();
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject } of waiting) reject(error);
  }
}
