/**
 * Thread that owns the catalogue. Writes are done in order and tried again for as long as the disk is full or the file
 * is locked; queries are answered at once. `workerData`: {@link CatalogThreadData}.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Catalog } from '../catalog/catalog.ts';
import { lookAt, Reconciler } from '../catalog/reconcile.ts';
import type { CutEvent, EventChange } from '../events/event-store.ts';
import { Indexer, type EventRequest, type LiveState, type ToldEvent } from '../events/indexer.ts';
import { modesOf, type Readers } from '../recording/file-modes.ts';

export interface CatalogThreadData {
  file: string;
  storages: string[];
  /** First id for gaps made here; far from those the engine gives. */
  firstGapId: number;
  startedAt: number;
  readers: Readers | undefined;
}

type Method =
  | 'putEvent'
  | 'putActivity'
  | 'putPresets'
  | 'putPresetStill'
  | 'startRecording'
  | 'endRecording'
  | 'openSegment'
  | 'closeSegment'
  | 'dropSegment'
  | 'openGap'
  | 'closeGap';

export type CatalogRequest =
  | { write: Method; args: unknown[] }
  | { id: number; query: 'coverage'; args: Parameters<Catalog['coverage']> }
  | { id: number; query: 'flush'; args: [] }
  | { id: number; query: 'events'; args: [EventRequest] }
  /** Once a second. */
  | { live: LiveState };

export type CatalogReply =
  | { id: number; result: unknown }
  | { id: number; error: string; code?: string }
  | { event: 'ready'; openGaps: ReturnType<Catalog['openGaps']>; cutEvents: CutEvent[]; setAside: string | null }
  | { event: 'failed'; message: string }
  | { event: 'problem'; message: string | null }
  | { event: 'events'; told: ToldEvent[] };

/** About a day of a full catalogue disk with 50 cameras; beyond it reconcile repairs what was not written. */
const MAX_QUEUE = 100_000;
const RETRY_MS = 1000;

const port = parentPort!;
const { file, storages, readers, firstGapId, startedAt } = workerData as CatalogThreadData;
const tell = (reply: CatalogReply): void => port.postMessage(reply);

let gapId = firstGapId;
const queue: { write: Method; args: unknown[] }[] = [];
const flushes: number[] = [];
let waiting = false;
let problem: string | null = null;
/** What was left as it is: told for as long as nothing else is wrong. */
let left: string | null = null;

function report(message: string | null): void {
  if (message === problem) return;
  problem = message;
  tell({ event: 'problem', message });
}

function start(): void {
  let catalog: Catalog;
  let reconciler: Reconciler;
  let cutEvents: CutEvent[];
  try {
    catalog = Catalog.open(file, modesOf(readers));
    // Only at disks that are walked here anyway: a tier may be on a network that hangs.
    reconciler = new Reconciler(
      catalog,
      () => gapId++,
      (storage, path, bytes) => (storages.includes(storage) ? lookAt(storage, path, bytes) : 'unknown'),
    );
    reconciler.finishOpen(storages);
    cutEvents = catalog.transaction(() => catalog.events.endOpen(startedAt));
  } catch (error) {
    // Footage is recorded all the same; its rows wait in this thread's port.
    tell({ event: 'failed', message: error instanceof Error ? error.message : String(error) });
    setTimeout(start, RETRY_MS);
    return;
  }
  let eventProblem: string | null = null;
  const indexer = new Indexer(catalog, {
    now: Date.now,
    after: (ms, call) => void setTimeout(call, ms),
    tell: (told) => tell({ event: 'events', told }),
    problem: (message) => {
      if (message !== eventProblem) report((eventProblem = message));
    },
    isFree: () => !waiting,
  });
  const drain = (): void => {
    waiting = false;
    while (queue.length > 0) {
      const { write, args } = queue[0]!;
      try {
        const done = catalog.transaction(() =>
          (catalog[write] as (...args: unknown[]) => unknown).apply(catalog, args),
        );
        if (write === 'putEvent' && done) indexer.changed([done as EventChange]);
      } catch (error) {
        const code = (error as { code?: string }).code ?? '';
        report(`the catalogue ${file} cannot be written: ${(error as Error).message}`);
        if (/^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN)/.test(code)) {
          waiting = true;
          setTimeout(drain, RETRY_MS);
          return;
        }
        queue.shift(); // this row can never be written; the ones behind it can
        continue;
      }
      queue.shift();
      report(left);
    }
    for (const id of flushes.splice(0)) tell({ id, result: null });
  };
  port.on('message', (request: CatalogRequest) => {
    if ('write' in request) {
      queue.push(request);
      if (queue.length > MAX_QUEUE) queue.shift();
      if (!waiting) drain();
    } else if ('live' in request) {
      indexer.tick(request.live);
    } else if (request.query === 'events') {
      const { id } = request;
      indexer.ask(request.args[0], (answer) =>
        tell('error' in answer ? { id, error: answer.error.message, code: answer.error.code } : { id, ...answer }),
      );
    } else if (request.query === 'flush') {
      indexer.flush();
      if (queue.length === 0) tell({ id: request.id, result: null });
      else flushes.push(request.id);
    } else {
      try {
        tell({ id: request.id, result: catalog.coverage(...request.args) });
      } catch (error) {
        tell({ id: request.id, error: (error as Error).message });
      }
    }
  });
  tell({ event: 'ready', openGaps: catalog.openGaps(), cutEvents, setAside: catalog.setAside });
  // The rest of the check, a folder at a time between messages.
  const steps = storages.map((storage) => reconciler.walk(storage, startedAt));
  const step = (): void => {
    const current = steps[0];
    if (!current) {
      left = reconciler.problem;
      if (problem === null) report(left);
      return;
    }
    try {
      if (current.next().done) steps.shift();
    } catch (error) {
      report(`cannot compare ${file} with the files: ${(error as Error).message}`);
      steps.shift();
    }
    setImmediate(step);
  };
  step();
}

start();
