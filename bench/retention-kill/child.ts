/** Deletes and backs up, over and over, until it is killed. Its argument is a {@link KillSetup}. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { segmentPath } from '../../engine/recording/segment-path.ts';
import { CatalogSource } from '../../engine/retention/catalog-source.ts';
import { DeletionStore } from '../../engine/retention/deletion-store.ts';
import { deleteMarked, diskOfFiles } from '../../engine/retention/deletion.ts';
import { planFrom } from '../../engine/retention/rules.ts';
import { backUp } from '../../engine/upkeep/backup.ts';
import type { MadeFile } from '../../test/support/footage.ts';

export interface KillSetup {
  file: string;
  storage: string;
  backups: string;
}

/** The newest that the rules keep. */
export const KEEP_FILES = 40;
const STEP_MS = 1000;
const HELD_EVERY = 50;
const T0 = Date.UTC(2026, 4, 1);
const BATCH = 7;

/** Files a second apart, with real media, some of them held. */
export function addFiles(
  catalog: Catalog,
  storage: string,
  template: MadeFile,
  first: number,
  count: number,
): { path: string; held: boolean }[] {
  const store = new DeletionStore(catalog.db);
  const hash = crc32(template.data);
  const add = (number: number): { path: string; held: boolean } => {
    const startMs = T0 + number * STEP_MS;
    const path = segmentPath('yard', 'main', startMs);
    mkdirSync(dirname(join(storage, path)), { recursive: true });
    writeFileSync(join(storage, path), template.data);
    const of = { camera: 'yard', stream: 'main' as const, storage, path };
    catalog.openSegment({ ...of, recordingId: null, init: template.init.data, startMs, startTicks: 0 });
    const bytes = template.data.length;
    catalog.closeSegment({ ...of, endMs: startMs + STEP_MS, bytes, frames: 25, gops: template.gopIndex, hash });
    return { path, held: number % HELD_EVERY === 0 };
  };
  const numbers = Array.from({ length: count }, (_, i) => first + i);
  const files = catalog.transaction(() => numbers.map(add));
  for (const number of numbers.filter((one) => one % HELD_EVERY === 0)) {
    const start = T0 + number * STEP_MS;
    store.putHold({
      ...{ id: `${number}`, name: 'case', camera: 'yard', start, end: start + 1, until: null },
      ...{ who: '', why: '', created: 0 },
    });
  }
  return files;
}

/** A batch at a time, as the retention thread does, but without its pauses. */
async function deleteOld({ file, storage }: KillSetup): Promise<void> {
  const catalog = Catalog.open(file);
  const store = new DeletionStore(catalog.db);
  const newest = catalog.db.prepare('SELECT max(end_ms) FROM segment').pluck().get() as number;
  const rules = { rules: [{ id: 'r', cameras: '*' as const, keep: { continuousMs: KEEP_FILES * STEP_MS } }] };
  const space = [{ storage, disk: '', freeBytes: 1e12, totalBytes: 2e12, bytesPerSecond: 0 }];
  deleteMarked(store, store.marked(), diskOfFiles, newest);
  const { items } = planFrom(new CatalogSource(catalog.db), rules, store.holds(), newest, space);
  for (let at = 0; at < items.length; at += BATCH) {
    deleteMarked(store, store.mark(items.slice(at, at + BATCH), newest), diskOfFiles, newest);
    await wait(1);
  }
  catalog.close();
}

if (import.meta.main) {
  const setup = JSON.parse(process.argv[2]!) as KillSetup;
  const source = { catalog: setup.file, storages: [setup.storage], files: [] };
  process.on('disconnect', () => process.exit()); // the benchmark was ended
  process.send?.('begun');
  void deleteOld(setup);
  // Another one at once, until the end comes.
  for (;;) await backUp(source, { folder: setup.backups, keep: 2 }, Date.now());
}
