/** How much room disks have, and how much they should have. Pure. */
import type { Quota, Space } from './types.ts';

/** Less room than is written in this time is an emergency... */
export const EMERGENCY_MS = 3_600_000;
/** ...unless it is more than this share of a disk: a small one would never get out of it... */
const EMERGENCY_SHARE = 0.05;
/** ...but never less than is written in this. */
const LEAST_EMERGENCY_MS = 30_000;
/** Room is made before it is needed: what is written until the next look, and while files are deleted. */
export const AHEAD_MS = 15_000;

export interface Disk {
  disk: string;
  /** Its storage folders. */
  own: string[];
  free: number;
  size: number | null;
  perSecond: number;
}

/** Those that can be asked. */
export function disksOf(space: readonly Space[]): Disk[] {
  const disks = new Map<string, Disk>();
  for (const { disk, storage, freeBytes, totalBytes, bytesPerSecond } of space) {
    if (freeBytes === null) continue;
    const known = disks.get(disk);
    if (known) {
      known.own.push(storage);
      known.perSecond += bytesPerSecond;
    } else {
      disks.set(disk, { disk, own: [storage], free: freeBytes, size: totalBytes, perSecond: bytesPerSecond });
    }
  }
  return [...disks.values()];
}

/** Bytes of a quota, of so large a disk; Infinity for none (or a percentage of a disk whose size is not known). */
export function bytesOf(quota: Quota | undefined, totalBytes: number | null): number {
  const percent = quota?.percent !== undefined && totalBytes !== null ? (totalBytes * quota.percent) / 100 : Infinity;
  return Math.min(quota?.bytes ?? Infinity, percent);
}

/** Room below which a disk is about to be full. */
export function emergencyBytes({ size, perSecond }: Pick<Disk, 'size' | 'perSecond'>): number {
  const written = (ms: number): number => (perSecond * ms) / 1000;
  const share = size === null ? Infinity : Math.max(size * EMERGENCY_SHARE, written(LEAST_EMERGENCY_MS));
  return Math.min(written(EMERGENCY_MS), share);
}

/** Free space that a disk should have so that it still has what is asked for after `aheadMs` of writing; 0 for none. */
export function freeWanted(
  { size, perSecond }: Pick<Disk, 'size' | 'perSecond'>,
  minFree: Quota | undefined,
  aheadMs: number,
): number {
  const wanted = bytesOf(minFree, size);
  return wanted === Infinity ? 0 : wanted + (perSecond * aheadMs) / 1000;
}

/** True when a disk has less room than is written to it in an hour (on a small disk, than a part of it). */
export function isEmergency(space: readonly Space[]): boolean {
  return shortOf(space).size > 0;
}

/** The storage folders on disks that are about to be full. */
export function shortOf(space: readonly Space[]): ReadonlySet<string> {
  return new Set(disksOf(space).flatMap((disk) => (disk.free < emergencyBytes(disk) ? disk.own : [])));
}

/** True when the free space that the rules want would be gone before the next look but one. */
export function runsShort(space: readonly Space[], minFree: Quota | undefined, lookMs: number): boolean {
  return disksOf(space).some((disk) => disk.free < freeWanted(disk, minFree, 2 * lookMs));
}
