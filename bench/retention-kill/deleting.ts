/** A process that deletes and backs up, over and over, is killed at random moments; what it left is looked at by another. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { Reconciler } from '../../engine/catalog/reconcile.ts';
import { checkStorages } from '../../engine/upkeep/check.ts';
import { backupsIn } from '../../engine/upkeep/backup.ts';
import Sqlite from 'better-sqlite3';
import { cutFiles, numberedMedia } from '../../test/support/footage.ts';
import { addFiles, KEEP_FILES, type KillSetup } from './child.ts';
import { check, progress, type BenchResult } from '../measure.ts';

/** Files that are added before each start; as many are to go. */
const FILES = 30;
/** The kill comes somewhere in this time after the child has begun: while it deletes, or in one of its backups. */
const MOMENTS_MS = [120, 500];
const CHILD = join(import.meta.dirname, 'child.ts');

export async function killDeleting(kills: number): Promise<BenchResult> {
  const root = mkdtempSync(join(tmpdir(), 'flow-nvr-kill-'));
  const storage = join(root, 'nvr');
  const file = join(storage, 'catalog.sqlite');
  const backups = join(root, 'backups');
  mkdirSync(storage);
  writeFileSync(join(storage, '.flow-nvr'), '');
  const [template] = cutFiles(numberedMedia({ seconds: 1, width: 160, height: 90, kbps: 100 }), {
    ...{ camera: 'yard', startMs: 0, segmentMs: 2000 },
  });
  const setup: KillSetup = { file, storage, backups };
  const found = { lost: 0, twice: 0, differences: 0, halves: 0, damaged: 0, deleted: 0, cut: 0, backups: 0 };
  /** What is in the catalogue, and which of it is held. */
  let there = new Map<string, boolean>();
  let next = 0;
  try {
    for (let kill = 0; kill < kills; kill++) {
      const catalog = Catalog.open(file);
      const first = next;
      next += FILES;
      const all = addFiles(catalog, storage, template!, first, FILES);
      catalog.close();
      for (const { path, held } of all) there.set(path, held);
      const child = fork(CHILD, [JSON.stringify(setup)], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
      const exited = once(child, 'exit');
      await Promise.race([once(child, 'message'), exited]);
      await wait(Math.random() * MOMENTS_MS[kill % 2]!);
      if (child.exitCode !== null) throw new Error(`the child ended by itself: ${child.exitCode}`);
      child.kill('SIGKILL');
      await exited;
      await look(kill);
      if (kill % 20 === 19) progress(`${kill + 1} of ${kills}: ${JSON.stringify(found)}`);
    }
  } finally {
    rmSync(root, { recursive: true, force: true });
  }

  async function look(kill: number): Promise<void> {
    // As the next start does.
    const catalog = Catalog.open(file);
    const { db } = catalog;
    found.cut += db.prepare('SELECT count(*) FROM segment WHERE doomed IS NOT NULL').pluck().get() as number;
    const reconciler = new Reconciler(catalog, () => Date.now() * 1000 + kill);
    reconciler.finishOpen([storage]);
    for (const folder of reconciler.walk(storage, Infinity)) if (folder === '') break;
    found.differences += reconciler.report.indexed + reconciler.report.missing + reconciler.report.empty;
    const report = await checkStorages(
      ...([catalog, [storage]] as const),
      { ...{ camera: null, range: null, verify: true, repair: false, bytesPerSecond: Infinity } },
      {
        now: () => Date.now() + 60_000,
        pause: () => Promise.resolve(),
        progress: () => undefined,
        alone: true,
        record: false,
      },
      reconciler,
    );
    found.differences += report.faults;
    const rows = db.prepare('SELECT path, start_ms FROM segment ORDER BY start_ms').raw().all() as [string, number][];
    const paths = new Set(rows.map(([path]) => path));
    found.twice += rows.length - paths.size;
    // What rules keep: the newest files, and all that is held.
    const newest = [...there.keys()].sort().slice(-KEEP_FILES);
    const held = [...there].filter(([, isHeld]) => isHeld).map(([path]) => path);
    for (const path of [...newest, ...held]) if (!paths.has(path) || !existsSync(join(storage, path))) found.lost++;
    found.deleted += [...there.keys()].filter((path) => !paths.has(path)).length;
    // What went is told once, and all of it.
    const told = db.prepare('SELECT coalesce(sum(files), 0) FROM deleted').pluck().get() as number;
    if (told !== found.deleted) found.twice += Math.abs(told - found.deleted);
    there = new Map([...there].filter(([path]) => paths.has(path)));
    catalog.close();
    for (const name of existsSync(backups) ? readdirSync(backups) : []) {
      if (!name.startsWith('nvr-')) continue;
      const copy = join(backups, name, 'catalog.sqlite');
      if (!existsSync(copy) || !existsSync(join(backups, name, 'nvr.json'))) {
        found.halves++;
        continue;
      }
      const db = new Sqlite(copy, { readonly: true });
      if (db.pragma('integrity_check(1)', { simple: true }) !== 'ok') found.damaged++;
      db.close();
    }
    found.backups = Math.max(found.backups, backupsIn(backups).length);
  }

  return {
    checks: [
      check('files lost that a rule or a hold keeps', found.lost, 'files', 0),
      check('files in the catalogue twice, or told as deleted twice or not at all', found.twice, 'files', 0),
      check('differences between catalogue and files', found.differences, 'faults', 0),
      check('backups of which a part is missing, or that are damaged', found.halves + found.damaged, 'backups', 0),
      check('files deleted', found.deleted, 'files', kills, 'atLeast'),
      check('whole backups at once', found.backups, 'backups', 1, 'atLeast'),
    ],
    details: { filesCutShort: found.cut },
  };
}
