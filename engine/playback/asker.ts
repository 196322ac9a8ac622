/**
 * Who asks, for the queues that many people share. It is bound to the work of a request, so that no queue on the way can
 * be reached without it; what nodes and the NVR itself do is bound to nobody and counts as the NVR's own.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Asker } from './fair-queue.ts';

interface Asking {
  asker: Asker;
  /** Aborted when nobody waits for the answer any more; null for what is done all the same. */
  gone: AbortSignal | null;
}

const OWN: Asking = { asker: { id: 'nvr', kind: 'operator' }, gone: null };
const current = new AsyncLocalStorage<Asking>();

/** Does something for somebody. What still waits in a queue when they are gone is taken out of it. */
export function askedBy<T>(asker: Asker, gone: AbortSignal | null, work: () => T): T {
  return current.run({ asker, gone }, work);
}

/** Does something for whoever asks now that others may use, too: it goes on when they are gone. */
export function forAll<T>(work: () => T): T {
  return current.run({ asker: whoAsks().asker, gone: null }, work);
}

export function whoAsks(): Asking {
  return current.getStore() ?? OWN;
}
