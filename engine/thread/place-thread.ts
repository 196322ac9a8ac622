/**
 * Thread of one tier, so that a disk or server that is slow, full or hanging holds up nothing else: see
 * retention/folder-place.ts, retention/bucket-place.ts. `workerData`: {@link PlaceThreadData}.
 */
import { parentPort, workerData } from 'node:worker_threads';
import Sqlite from 'better-sqlite3';
import { Catalog } from '../catalog/catalog.ts';
import { Reconciler } from '../catalog/reconcile.ts';
import { modesOf } from '../recording/file-modes.ts';
import { FolderPlace } from '../retention/folder-place.ts';
import type { Place, PlaceCalls, PlaceReply, PlaceRequest, PlaceThreadData } from '../retention/place.ts';
import { EngineError } from '../types.ts';

const port = parentPort!;
const { to, catalog: file, access, readers } = workerData as PlaceThreadData;
const tell = (reply: PlaceReply): void => port.postMessage(reply);
const ALIVE_MS = 1000;
/** Between the folders of a tier that is compared: files that wait to be moved come first. */
const STEP_MS = 5;

let told = 0;
const alive = (): void => {
  if (performance.now() - told < ALIVE_MS) return;
  told = performance.now();
  tell({ alive: true });
};

/** Whether footage was ever stored there, which its row tells. */
function known(): boolean {
  const db = new Sqlite(file, { readonly: true, fileMustExist: true, timeout: 5000 });
  try {
    const used = `SELECT 1 FROM storage st WHERE st.path = ? AND (
      EXISTS (SELECT 1 FROM usage u WHERE u.storage_id = st.id) OR EXISTS (SELECT 1 FROM leftover l WHERE l.storage_id = st.id))`;
    return db.prepare(used).get(to) !== undefined;
  } finally {
    db.close();
  }
}

async function open(): Promise<Place> {
  if (!access) return new FolderPlace(to, known, undefined, modesOf(readers));
  const { BucketPlace } = await import('../retention/bucket-place.ts');
  return new BucketPlace(access, modesOf(readers));
}
const place = open();
place.catch(() => undefined); // told to each who asks

async function reconcile(before: number): Promise<ReturnType<PlaceCalls['reconcile']>> {
  const catalog = Catalog.open(file);
  try {
    // Below all others: the engine counts its gaps upwards from the time of its start.
    const lowest = (): number =>
      catalog.db.prepare('SELECT min(coalesce(min(id), 0), 0) FROM gap').pluck().get() as number;
    const reconciler = new Reconciler(catalog, () => lowest() - 1);
    for (const folder of reconciler.walk(to, before)) {
      alive();
      if (folder !== '') await new Promise((resolve) => setTimeout(resolve, STEP_MS));
    }
    const { indexed, missing, doubles } = reconciler.report;
    return { indexed, missing, doubles };
  } finally {
    catalog.close();
  }
}

async function answer({ id, call, args }: PlaceRequest): Promise<void> {
  try {
    const calls = await place;
    let result: unknown;
    if (call === 'reconcile') {
      result = await reconcile(args[0] as number);
    } else if (call === 'fetch') {
      const [path, target, bytes] = args as Parameters<PlaceCalls['fetch']>;
      await calls.fetch!(path, target, bytes, alive);
      result = null;
    } else if (call === 'take') {
      result = await calls.take(args[0] as Parameters<PlaceCalls['take']>[0], alive);
    } else if (call === 'remove') {
      result = await calls.remove(args[0] as Parameters<PlaceCalls['remove']>[0], alive);
    } else {
      result = await calls.probe();
    }
    tell({ id, result });
  } catch (error) {
    const code = error instanceof EngineError ? error.code : ((error as NodeJS.ErrnoException).code ?? 'error');
    tell({ id, error: { code, message: error instanceof Error ? error.message : String(error) } });
  }
}

/** What is removed and what is taken under one name must not overtake each other. */
let changes: Promise<void> = Promise.resolve();
port.on('message', (request: PlaceRequest) => {
  if (request.call === 'take' || request.call === 'remove') changes = changes.then(() => answer(request));
  else void answer(request);
});
