#!/usr/bin/env node
/** `npx flow-nvr …`, `npm run reconcile`, `npm run restore`: what is done from a shell, most of it to storage folders. */
import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Catalog } from '../engine/catalog/catalog.ts';
import { Reconciler } from '../engine/catalog/reconcile.ts';
import { EngineError } from '../engine/types.ts';
import { checkStorages } from '../engine/upkeep/check.ts';
import { isInUse, restore } from '../engine/upkeep/restore.ts';
import { asText, CHECKS, runChecks } from './doctor/checks.ts';

const USAGE = `usage:
  flow-nvr reconcile [--catalog FILE] STORAGE…
      makes the catalogue agree with the files, or makes it anew; stop Node-RED first
  flow-nvr reconcile --check [--verify] [--catalog FILE] STORAGE…
      tells what does not agree and changes nothing; exit code 1 if anything. --verify reads all footage, too
  flow-nvr restore [--catalog FILE] BACKUP STORAGE…
      puts the catalogue of a backup in place; stop Node-RED first
  flow-nvr doctor [--json] [--ffmpeg PROGRAM] [--settings SETTINGS.JS] [--catalog FILE] [STORAGE…]
      tells what is wrong or could be safer with this machine, the folders and Node-RED's settings, and changes
      nothing; exit code 1 if there is a problem. It runs SETTINGS.JS as Node-RED does

The catalogue is catalog.sqlite in the first storage folder unless --catalog says otherwise.`;

/** Reading for --verify; the disk may be that of a running recorder. */
const BYTES_PER_SECOND = 200e6;

function fail(message: string, code = 2): never {
  console.error(message);
  process.exit(code);
}

interface Arguments {
  command: string;
  folders: string[];
  catalog: string | undefined;
  check: boolean;
  verify: boolean;
  json: boolean;
  ffmpeg: string;
  settings: string | undefined;
}

function args(): Arguments {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        check: { type: 'boolean', default: false },
        verify: { type: 'boolean', default: false },
        catalog: { type: 'string' },
        json: { type: 'boolean', default: false },
        ffmpeg: { type: 'string', default: 'ffmpeg' },
        settings: { type: 'string' },
      },
    });
    const [command = '', ...folders] = positionals;
    return {
      ...values,
      catalog: values.catalog,
      settings: values.settings,
      command,
      folders: folders.map((folder) => resolve(folder)),
    };
  } catch (error) {
    fail(`${(error as Error).message}\n${USAGE}`);
  }
}

function reconcile(file: string, storages: readonly string[]): void {
  // What is being written would be taken for what a crash left, and closed.
  if (isInUse(file)) throw new EngineError('reconcile', `${file} is in use: stop Node-RED first`);
  const catalog = Catalog.open(file);
  let gapId = Date.now() * 1000;
  const reconciler = new Reconciler(catalog, () => gapId++);
  reconciler.finishOpen(storages);
  // Files that lie in another folder now are found before any is taken for lost.
  for (const forget of storages.length > 1 ? [false, true] : [true]) {
    for (const storage of storages) {
      for (const hour of reconciler.walk(storage, Infinity, forget)) console.error(hour);
    }
  }
  catalog.close();
  const { indexed, missing, empty, left } = reconciler.report;
  console.log(`${indexed} files indexed, ${missing} rows without a file, ${empty} files without a picture`);
  if (left > 0) console.log(`${left} files or rows were left as they are, the first for this: ${reconciler.problem}`);
}

async function check(file: string, storages: readonly string[], verify: boolean): Promise<number> {
  if (!existsSync(file)) fail(`${file} is not there: without --check it is made from the files`);
  const alone = !isInUse(file);
  const catalog = Catalog.view(file);
  const report = await checkStorages(
    catalog,
    storages,
    { camera: null, range: null, verify, repair: false, bytesPerSecond: BYTES_PER_SECOND },
    { now: Date.now, pause: (ms) => wait(ms), progress: () => undefined, alone, record: false },
    new Reconciler(catalog, () => 0),
  );
  catalog.close();
  for (const { kind, storage, path, detail } of report.found) console.log(`${kind}\t${join(storage, path)}\t${detail}`);
  for (const storage of report.absent) {
    console.log(`absent\t${storage}\tis no storage folder, or its disk is not mounted`);
  }
  const more = report.faults - report.found.length;
  if (more > 0) console.log(`… and ${more} more`);
  console.log(`${report.files} files, ${report.faults} differences`);
  return report.faults > 0 || report.absent.length > 0 ? 1 : 0;
}

async function doctor({ folders, catalog, ffmpeg, settings, json }: Arguments): Promise<void> {
  const [first] = folders;
  const beside = first === undefined ? null : join(first, 'catalog.sqlite');
  const told = await runChecks(CHECKS, {
    ...{ ffmpeg, storages: folders, settings: settings ?? null },
    catalog: catalog ?? (beside !== null && existsSync(beside) ? beside : null),
  });
  console.log(json ? JSON.stringify(told, null, 1) : asText(told));
  process.exit(told.some(({ level }) => level === 'problem') ? 1 : 0);
}

const given = args();
const { command, folders, catalog, check: checking, verify } = given;
if (command === 'doctor') await doctor(given);
const [backup, ...others] = folders;
const storages = command === 'restore' ? others : folders;
const [first] = storages;
if (!['reconcile', 'restore'].includes(command) || first === undefined || backup === undefined) fail(USAGE);
for (const folder of folders) if (!existsSync(folder)) fail(`${folder} is not there\n${USAGE}`);
const file = catalog === undefined ? join(first, 'catalog.sqlite') : resolve(catalog);
try {
  if (command === 'restore') {
    const report = restore(backup, file, storages, (folder) => console.error(folder));
    if (report.setAside) console.log(`the catalogue that was there is now ${report.setAside}`);
    for (const storage of report.absent)
      console.log(`${storage} is not there: its footage is listed, but not to be seen`);
    for (const folder of report.foreign)
      console.log(
        `${folder} is named by the backup only, and was left out: if it is yours, restore again and name it, too`,
      );
    if (report.files.length > 0) {
      console.log(`the backup has ${report.files.join(', ')}, too: copy what you need into Node-RED's user folder`);
    }
    const { indexed, moved, missing } = report;
    console.log(
      `restored; ${indexed} files were newer than the backup, ${moved} were moved since, ${missing} of its files are gone`,
    );
  } else if (checking) {
    process.exitCode = await check(file, storages, verify);
  } else {
    reconcile(file, storages);
  }
} catch (error) {
  fail(error instanceof EngineError ? error.message : String(error), 1);
}
