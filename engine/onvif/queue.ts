/**
 * The commands of one camera, one after the other. A newer move replaces one that still waits, and `stop` waits for
 * nothing: it takes waiting moves with it, goes out at once, and once more if a move was on its way then.
 */
import { EngineError } from '../types.ts';

/** A `step` adds to what is done before it, so that steps do not replace each other; a newer move replaces them. */
export type CommandKind = 'move' | 'step' | 'stop' | 'other';

/** What a command that was replaced comes to. */
export interface Superseded {
  superseded: true;
}

interface Waiting {
  kind: CommandKind;
  run: (signal: AbortSignal) => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
}

const MAX_WAITING = 64;

export class CommandQueue {
  private waiting: Waiting[] = [];
  private running: Waiting | null = null;
  private readonly abort = new AbortController();

  get size(): number {
    return this.waiting.length + (this.running ? 1 : 0);
  }

  /** Rejects with `busy` when too much waits, `closed` when the queue was closed, or as `run`. */
  submit<T>(kind: CommandKind, run: (signal: AbortSignal) => Promise<T>): Promise<T | Superseded> {
    if (this.abort.signal.aborted) return Promise.reject(closed());
    if (kind !== 'other') this.drop(kind === 'step' ? ['move'] : ['move', 'step']);
    if (kind === 'stop') return this.stop(run);
    if (this.waiting.length >= MAX_WAITING) {
      return Promise.reject(new EngineError('busy', 'the camera is slower than its commands: send fewer'));
    }
    return new Promise<T | Superseded>((resolve, reject) => {
      this.waiting.push({ kind, run, resolve: resolve as (value: unknown) => void, reject });
      this.next();
    });
  }

  close(): void {
    this.abort.abort();
    for (const { reject } of this.waiting) reject(closed());
    this.waiting = [];
  }

  private async stop<T>(run: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { running } = this;
    const first = run(this.abort.signal);
    if (running?.kind !== 'move' && running?.kind !== 'step') return first;
    // On another connection the stop may arrive before the move that it is to end.
    const again = new Promise<T>((resolve, reject) => {
      const { resolve: done, reject: fail } = running;
      const after = (): void => void run(this.abort.signal).then(resolve, reject);
      running.resolve = (value) => {
        done(value);
        after();
      };
      running.reject = (error) => {
        fail(error);
        after();
      };
    });
    const [, second] = await Promise.all([first.catch(() => undefined), again]);
    return second;
  }

  private drop(kinds: readonly CommandKind[]): void {
    const dropped = this.waiting.filter(({ kind }) => kinds.includes(kind));
    this.waiting = this.waiting.filter(({ kind }) => !kinds.includes(kind));
    for (const { resolve } of dropped) resolve({ superseded: true } satisfies Superseded);
  }

  private next(): void {
    if (this.running) return;
    const command = this.waiting.shift();
    if (!command) return;
    this.running = command;
    command.run(this.abort.signal).then(
      (value) => this.finish(() => command.resolve(value)),
      (error: unknown) => this.finish(() => command.reject(error instanceof Error ? error : new Error(String(error)))),
    );
  }

  private finish(tell: () => void): void {
    this.running = null;
    tell();
    this.next();
  }
}

const closed = (): EngineError => new EngineError('closed', 'the node was stopped');
