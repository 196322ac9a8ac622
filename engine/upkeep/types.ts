/** Work on catalogue and files beside recording: checks, backups, copies. All times are epoch ms, all sizes bytes. */
import type { StreamName } from '../types.ts';

/**
 * What is wrong: a file without a row, a row without its file, a file of another size than its row says, one whose boxes
 * are not where they should be, one whose bytes have changed, a row that nobody writes to any more.
 */
export const FAULTS = ['no-row', 'no-file', 'size', 'broken', 'hash', 'open'] as const;
export type FaultKind = (typeof FAULTS)[number];

export interface Fault {
  kind: FaultKind;
  camera: string;
  stream: StreamName;
  storage: string;
  /** Relative to the storage folder. */
  path: string;
  start: number;
  /** Null where it is not known. */
  end: number | null;
  /** What was found, for people. */
  detail: string;
  /**
   * What was done about it; null when nothing was asked for. `copy`: a copy in a bucket took its place; `double`: it is
   * the same as one in another folder, and will be removed.
   */
  repair: 'indexed' | 'gap' | 'quarantined' | 'shortened' | 'copy' | 'double' | null;
}

export interface CheckOptions {
  /** Null for all. */
  camera: string | null;
  /** Files of this time; all when null. */
  range: { start: number; end: number } | null;
  /** Read the files and compare their bytes, too. */
  verify: boolean;
  repair: boolean;
  /** Of reading for `verify`. */
  bytesPerSecond: number;
}

export interface CheckProgress {
  files: number;
  /** Read for `verify`. */
  bytes: number;
  faults: number;
  /** 0 to 1, by folders of an hour. */
  done: number;
}

export interface CheckReport extends CheckProgress {
  /** By kind; those that are zero are left out. */
  counts: Partial<Record<FaultKind, number>>;
  /** The first {@link MAX_TOLD}. */
  found: Fault[];
  repaired: number;
  /** Files that got a hash because they had none. */
  hashed: number;
  /** Storage folders that are not there: nothing is said of their files. */
  absent: string[];
  /** Buckets: what they have was compared when it was sent there, and is not fetched for this. */
  unread: string[];
}

export const MAX_TOLD = 500;

export interface BackupOptions {
  folder: string;
  /** So many of the newest stay. */
  keep: number;
  /** None is made when there is one since then; null: always. */
  since: number | null;
}

/** Files that belong to the configuration, by the name they get in a backup; what is not there is left out. */
export interface BackupSource {
  catalog: string;
  storages: string[];
  files: { name: string; file: string }[];
}

export interface BackupReport {
  folder: string;
  bytes: number;
  files: string[];
}

export interface CopyItem {
  storage: string;
  path: string;
  bytes: number;
  hash: number | null;
}

export interface CopyReport {
  files: number;
  bytes: number;
}

export type UpkeepJob =
  | { kind: 'check'; catalog: string; storages: string[]; options: CheckOptions }
  | { kind: 'backup'; source: BackupSource; options: BackupOptions }
  | { kind: 'copy'; items: CopyItem[]; folder: string };

export type UpkeepReport = { check: CheckReport; backup: BackupReport | null; copy: CopyReport };

export type UpkeepReply =
  | { progress: CheckProgress | { done: number } }
  | { result: UpkeepReport[keyof UpkeepReport] }
  | { error: { code: string; message: string } };
