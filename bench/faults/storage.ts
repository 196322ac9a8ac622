import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { GapCause } from '../../engine/types.ts';
import { unplayable } from '../../test/support/media-files.ts';
import { Rig } from '../../test/support/rig.ts';
import { check, type Check } from '../measure.ts';
import type { Scale } from './scale.ts';

const run = promisify(execFile);

/** The size of the storage, and what a ballast file leaves of it: some seconds of recording. */
const STORAGE_MB = 40;
const ROOM_MB = 6;
/** A file is opened at least this often in these rigs: their segments are 10 s long. */
const ROTATION_MS = 11_000;

/** Storage that can be filled, or made read-only under a writer, without harm to the machine. Needs root. */
async function mountStorage(): Promise<{ path: string; unmount: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'flow-nvr-storage-'));
  await run('mount', ['-t', 'tmpfs', '-o', `size=${STORAGE_MB}m`, 'flow-nvr-test', path]);
  return {
    path,
    unmount: async () => {
      // Also what else was mounted over it, if a test ended early.
      while (await isMountPoint(path)) await run('umount', ['-l', path]);
      await rm(path, { recursive: true });
    },
  };
}

async function isMountPoint(path: string): Promise<boolean> {
  const mounts = await readFile('/proc/self/mounts', 'utf8');
  return mounts.split('\n').some((line) => line.split(' ')[1] === path);
}

/** Cameras that left the online state, or lost their stream, since then. */
async function disconnected(rig: Rig, sinceMs: number): Promise<number> {
  const cameras = await rig.red.captured<{ payload: { camera: string; state: string } }>('camera');
  const left = cameras.filter(({ at, msg }) => at > sinceMs && msg.payload.state !== 'online');
  return new Set(left.map(({ msg }) => msg.payload.camera)).size;
}

/** Red, with words, on the recorder. */
async function redStatuses(rig: Rig, sinceMs: number): Promise<number> {
  type Status = { status: { fill?: string; text?: string; source: { id: string } } };
  const all = await rig.red.captured<Status>('status');
  const of = all.filter(({ at, msg: { status } }) => at > sinceMs && status.source.id === 'recorder-1');
  return of.filter(({ msg: { status } }) => status.fill === 'red' && (status.text ?? '') !== '').length;
}

/** Errors of the recorder that say something. */
async function errors(rig: Rig, sinceMs: number): Promise<number> {
  type Caught = { error: { message: string; source: { id: string } } };
  const all = await rig.red.captured<Caught>('error');
  return all.filter(
    ({ at, msg: { error } }) => at > sinceMs && error.source.id === 'recorder-1' && error.message !== '',
  ).length;
}

/** Damage to the catalogue, rows without a file, and files without a row. */
function catalogFaults(rig: Rig, files: string[]): number {
  return rig.catalog((db) => {
    const damage = (db.pragma('integrity_check') as { integrity_check: string }[]).filter(
      ({ integrity_check }) => integrity_check !== 'ok',
    );
    const rows = db.prepare<[], { n: number }>("SELECT COUNT(*) AS n FROM segment WHERE state <> 'deleted'").get()!.n;
    return damage.length + Math.abs(rows - files.length);
  });
}

/** All streams have an open gap with this cause; returns how late any was told. Files that are deleted take time before the fault with them: that counts from the fault. */
async function gapsOpen(rig: Rig, cause: GapCause, sinceMs: number, timeoutMs: number) {
  const waits = rig.streams.map(({ camera, stream }) =>
    rig.waitForGap(
      (gap, at) => gap.camera === camera && gap.stream === stream && gap.cause === cause && at > sinceMs,
      timeoutMs,
    ),
  );
  const gaps = await Promise.all(waits);
  return Math.max(...gaps.map(({ at, msg }) => at - Math.max(msg.payload.start, sinceMs)));
}

/** (f) The storage is full, and then has room again. */
export async function storageFull({ cameras, calmMs }: Scale): Promise<Check[]> {
  const storage = await mountStorage();
  let rig: Rig | undefined;
  try {
    rig = await Rig.recording({ cameras, storage: storage.path });
    const ballast = join(storage.path, 'ballast');
    const { bavail, bsize } = await statfs(storage.path);
    const fillAt = Date.now();
    await writeFile(ballast, Buffer.alloc(Math.max(0, bavail * bsize - ROOM_MB * 1024 * 1024)));
    const late = await gapsOpen(rig, 'storage-full', fillAt, 40_000);
    await wait(2000);
    const [red, caught] = [await redStatuses(rig, fillAt), await errors(rig, fillAt)];
    const roomAt = Date.now();
    await rm(ballast);
    const again = await rig.recordingSince(roomAt);
    await wait(calmMs);
    const left = await disconnected(rig, fillAt);
    await rig.red.stop();
    const files = await rig.files();
    return [
      check('f: gap message after the start of the gap', late / 1000, 's', 5),
      check('f: red status with words', red, 'statuses', 1, 'atLeast'),
      check('f: errors on the node', caught, 'errors', 1, 'atLeast'),
      check('f: cameras disconnected', left, 'cameras', 0),
      check('f: recording again when there is room', (again - roomAt) / 1000, 's', 10),
      check('f: faults in the catalogue', catalogFaults(rig, files), 'faults', 0),
      check('f: files that do not play', (await unplayable(files)).length, 'files', 0),
    ];
  } finally {
    await rig?.dispose();
    await storage.unmount();
  }
}

/** (g) The storage folder is removed while it is written to, and made again. */
export async function storageRemoved({ cameras, calmMs }: Scale): Promise<Check[]> {
  const storage = await mkdtemp(join(tmpdir(), 'flow-nvr-storage-'));
  const rig = await Rig.recording({ cameras, storage });
  try {
    await wait(calmMs);
    const removedAt = Date.now();
    await rm(storage, { recursive: true, maxRetries: 3 });
    const late = await gapsOpen(rig, 'storage-missing', removedAt, ROTATION_MS + 5000);
    await wait(1000);
    const [red, caught] = [await redStatuses(rig, removedAt), await errors(rig, removedAt)];
    const backAt = Date.now();
    if (!existsSync(storage)) await mkdir(storage);
    const again = await rig.recordingSince(backAt);
    await wait(calmMs);
    const left = await disconnected(rig, removedAt);
    await rig.red.stop();
    const files = await rig.files();
    return [
      check('g: folder removed: gap message after the start of the gap', late / 1000, 's', 5),
      check('g: folder removed: red status with words', red, 'statuses', 1, 'atLeast'),
      check('g: folder removed: errors on the node', caught, 'errors', 1, 'atLeast'),
      check('g: folder removed: cameras disconnected', left, 'cameras', 0),
      check('g: folder removed: recording again after its return', (again - backAt) / 1000, 's', 10),
      check('g: folder removed: files that do not play', (await unplayable(files)).length, 'files', 0),
    ];
  } finally {
    await rig.dispose();
    await rm(storage, { recursive: true, force: true });
  }
}

/** (g) The storage becomes read-only while it is written to, and writable again. */
export async function storageReadOnly({ cameras, calmMs }: Scale): Promise<Check[]> {
  const storage = await mountStorage();
  let rig: Rig | undefined;
  try {
    rig = await Rig.recording({ cameras, storage: storage.path });
    await wait(calmMs);
    const readOnlyAt = Date.now();
    // A new mount over the old one: files that are open stay so, every new one is refused with EROFS.
    await run('mount', ['--bind', storage.path, storage.path]);
    await run('mount', ['-o', 'remount,bind,ro', storage.path]);
    const late = await gapsOpen(rig, 'storage-read-only', readOnlyAt, ROTATION_MS + 5000);
    await wait(1000);
    const [red, caught] = [await redStatuses(rig, readOnlyAt), await errors(rig, readOnlyAt)];
    const writableAt = Date.now();
    await run('umount', ['-l', storage.path]);
    const again = await rig.recordingSince(writableAt);
    await wait(calmMs);
    const left = await disconnected(rig, readOnlyAt);
    await rig.red.stop();
    const files = await rig.files();
    return [
      check('g: read-only: gap message after the start of the gap', late / 1000, 's', 5),
      check('g: read-only: red status with words', red, 'statuses', 1, 'atLeast'),
      check('g: read-only: errors on the node', caught, 'errors', 1, 'atLeast'),
      check('g: read-only: cameras disconnected', left, 'cameras', 0),
      check('g: read-only: recording again when writable', (again - writableAt) / 1000, 's', 10),
      check('g: read-only: faults in the catalogue', catalogFaults(rig, files), 'faults', 0),
      check('g: read-only: files that do not play', (await unplayable(files)).length, 'files', 0),
    ];
  } finally {
    await rig?.dispose();
    await storage.unmount();
  }
}
