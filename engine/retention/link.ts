/** The retention thread as seen from the engine: begun when it is first needed, and again when it died. */
import { EngineError } from '../types.ts';
import type { Retention } from './retention.ts';
import type { RetentionMessage, RetentionSpec, WriteRate } from './types.ts';

export type RetentionCalls = Pick<
  Retention,
  | 'set'
  | 'run'
  | 'preview'
  | 'hold'
  | 'release'
  | 'holds'
  | 'veto'
  | 'copy'
  | 'compare'
  | 'cancelCompare'
  | 'backUp'
  | 'close'
>;

export type RetentionRequest = { id: number; call: keyof RetentionCalls; args: unknown[] } | { rates: WriteRate[] };

export type RetentionReply =
  | { id: number; result: unknown }
  | { id: number; error: { code: string; message: string } }
  | { message: RetentionMessage };

export type RetentionBackend = (
  onReply: (reply: RetentionReply) => void,
  onEnd: (reason: string) => void,
) => { send(request: RetentionRequest): void; stop(): void };

const RESTART_MS = 5000;
/** Of the time that a Node-RED which stops gives. */
const CLOSE_MS = 3000;

export class RetentionLink {
  private readonly start: RetentionBackend;
  private readonly after: (ms: number, call: () => void) => () => void;
  private readonly tell: (message: RetentionMessage) => void;
  private readonly problem: (message: string) => void;
  private thread: ReturnType<RetentionBackend> | null = null;
  private readonly calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  private nextId = 1;
  private spec: RetentionSpec | null = null;
  private rates: WriteRate[] = [];
  private closed = false;

  constructor(
    start: RetentionBackend,
    after: (ms: number, call: () => void) => () => void,
    tell: (message: RetentionMessage) => void,
    problem: (message: string) => void,
  ) {
    this.start = start;
    this.after = after;
    this.tell = tell;
    this.problem = problem;
  }

  call<K extends keyof RetentionCalls>(
    call: K,
    ...args: Parameters<RetentionCalls[K]>
  ): Promise<Awaited<ReturnType<RetentionCalls[K]>>> {
    if (call === 'set') this.spec = args[0] as RetentionSpec | null;
    return new Promise((resolve, reject) => {
      if (this.closed && call !== 'close') {
        reject(new EngineError('closed', 'the NVR is being stopped'));
        return;
      }
      const thread = this.running();
      const id = this.nextId++;
      this.calls.set(id, { resolve: resolve as (value: unknown) => void, reject });
      thread.send({ id, call, args });
    });
  }

  setRates(rates: WriteRate[]): void {
    this.rates = rates;
    this.thread?.send({ rates });
  }

  /** Lets the batch that is under way end. */
  async close(): Promise<void> {
    this.closed = true;
    const { thread } = this;
    if (!thread) return;
    let cancel: (() => void) | undefined;
    const late = new Promise<void>((resolve) => (cancel = this.after(CLOSE_MS, resolve)));
    await Promise.race([this.call('close').catch(() => undefined), late]);
    cancel?.();
    thread.stop();
  }

  private running(): ReturnType<RetentionBackend> {
    if (this.thread) return this.thread;
    const thread = this.start(
      (reply) => this.onReply(reply),
      (reason) => {
        if (this.thread !== thread) return;
        this.thread = null;
        for (const { reject } of this.calls.values()) {
          reject(new EngineError('retention', `deleting old footage stopped (${reason}); it is begun again`));
        }
        this.calls.clear();
        if (this.closed) return;
        this.problem(`deleting old footage stopped (${reason}) and is begun again`);
        this.after(RESTART_MS, () => {
          if (!this.closed && this.spec)
            this.call('set', this.spec).catch((error: unknown) => this.problem(String(error)));
        });
      },
    );
    this.thread = thread;
    thread.send({ rates: this.rates });
    return thread;
  }

  private onReply(reply: RetentionReply): void {
    if ('message' in reply) {
      this.tell(reply.message);
      return;
    }
    const call = this.calls.get(reply.id);
    this.calls.delete(reply.id);
    if ('error' in reply) call?.reject(new EngineError(reply.error.code, reply.error.message));
    else call?.resolve(reply.result);
  }
}
