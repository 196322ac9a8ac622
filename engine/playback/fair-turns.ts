/** Work of which only some is done at once: who asks waits for a turn, see fair-queue.ts for whose it is. */
import { EngineError } from '../types.ts';
import { whoAsks } from './asker.ts';
import { FairQueue, type Asker } from './fair-queue.ts';

interface Waiting {
  asker: Asker;
  begin: () => void;
  refuse: (error: Error) => void;
}

export interface TurnsOptions {
  atOnce: number;
  mostWaiting: number;
  /** What those are told who are refused. */
  busy: string;
}

/** Nobody reads this: the client left while it waited. */
export function gone(): EngineError {
  return new EngineError('gone', 'nobody waits for this any more');
}

export class FairTurns {
  private readonly options: TurnsOptions;
  private readonly queue: FairQueue<Waiting>;
  private running = 0;
  private ofLinks = 0;

  constructor(options: TurnsOptions) {
    this.options = options;
    this.queue = new FairQueue(options.mostWaiting);
  }

  /** Does the work when its turn has come. Rejects with `busy`, with `gone` when who asks left, or as the work does. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const end = await this.begin();
    try {
      return await work();
    } finally {
      end();
    }
  }

  /**
   * Waits for a turn, which lasts until the function is called that this resolves with.
   * @param signal aborted when the turn is not wanted any more; that of who asks unless given
   * Throws `busy` at once, or rejects with it when others need the place more; rejects with `gone`.
   */
  begin(signal: AbortSignal | null = whoAsks().gone): Promise<() => void> {
    const { asker } = whoAsks();
    if (signal?.aborted) return Promise.reject(gone());
    const { promise, resolve, reject } = Promise.withResolvers<() => void>();
    const leave = (): void => {
      if (this.queue.remove(waiting)) reject(gone());
    };
    const waiting: Waiting = {
      asker,
      begin: () => {
        signal?.removeEventListener('abort', leave);
        resolve(this.start(asker));
      },
      refuse: (error) => {
        signal?.removeEventListener('abort', leave);
        reject(error);
      },
    };
    if (this.isFree(asker) && this.queue.size === 0) {
      waiting.begin();
      return promise;
    }
    const loser = this.queue.push(asker, waiting);
    if (loser === waiting) throw this.busy();
    loser?.refuse(this.busy());
    signal?.addEventListener('abort', leave);
    this.next();
    return promise;
  }

  /** A turn of a link may be long: one is left to the others. */
  private isFree({ kind }: Asker): boolean {
    const { atOnce } = this.options;
    return this.running < atOnce && (kind !== 'link' || this.ofLinks < Math.max(1, atOnce - 1));
  }

  private start({ kind }: Asker): () => void {
    const link = kind === 'link' ? 1 : 0;
    this.running++;
    this.ofLinks += link;
    let ended = false;
    return () => {
      if (ended) return;
      ended = true;
      this.running--;
      this.ofLinks -= link;
      this.next();
    };
  }

  private next(): void {
    while (this.running < this.options.atOnce) {
      const kinds = (['operator', 'viewer', 'link'] as const).filter((kind) => this.isFree({ id: '', kind }));
      const waiting = this.queue.take(kinds);
      if (!waiting) return;
      waiting.begin();
    }
  }

  private busy(): EngineError {
    return new EngineError('busy', this.options.busy);
  }
}
