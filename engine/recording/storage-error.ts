/** What a failed file operation means for the user and for the gap it causes. */
import { EngineError, type GapCause } from '../types.ts';

export type StorageCause = Extract<GapCause, `storage-${string}`>;

export class StorageError extends EngineError {
  override readonly code: StorageCause;
  constructor(code: StorageCause, message: string) {
    super(code, message);
    this.code = code;
  }
}

const ADVICE: Record<StorageCause, string> = {
  'storage-full': 'is full: free some space or add a storage folder; recording goes on by itself when there is room',
  'storage-read-only': 'cannot be written: check the permissions and that it is not mounted read-only',
  'storage-missing': 'is not there: check that the disk is mounted',
  'storage-slow': 'is too slow for what the cameras send',
  'storage-error': 'reports an error',
};

export function storageError(folder: string, cause: StorageCause, detail?: string): StorageError {
  return new StorageError(cause, `storage folder ${folder} ${ADVICE[cause]}${detail ? ` (${detail})` : ''}`);
}

/** Sorts an errno. */
export function causeOfErrno(code: string | undefined): StorageCause {
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'storage-full';
  if (code === 'EROFS' || code === 'EACCES' || code === 'EPERM') return 'storage-read-only';
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENODEV') return 'storage-missing';
  return 'storage-error';
}
