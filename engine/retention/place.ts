/** A tier as its own thread sees it: a folder or a bucket that takes files, and what is asked of that thread. */
import type { Readers } from '../recording/file-modes.ts';
import { EngineError } from '../types.ts';
import type { BucketAccess } from './types.ts';

export interface TakeJob {
  /** Absolute. */
  from: string;
  /** In the folder or bucket. */
  path: string;
  bytes: number;
  /** CRC-32 that it must have; null when that is not known. */
  hash: number | null;
}

export interface Removal {
  path: string;
  /** It may be there in part only. */
  begun: boolean;
}

export interface Room {
  /** Folders with the same are on one disk. */
  disk: string;
  /** Null for a bucket. */
  freeBytes: number | null;
  totalBytes: number | null;
}

/** Rejects, and throws, with what to do about it. `alive` is called while a call makes progress. */
export interface Place {
  /** Whether it is there. */
  probe(): Promise<Room>;
  /** The file is there when this resolves (with its SHA-256): whole, compared with its source, and on the disk. */
  take(job: TakeJob, alive: () => void): Promise<{ hash: string }>;
  /** Removes files; what is not there is removed. For each null, or what went wrong. */
  remove(files: readonly Removal[], alive: () => void): Promise<(string | null)[]>;
  /** Of a bucket: a file of it as a local file. */
  fetch?(path: string, to: string, bytes: number, alive: () => void): Promise<void>;
}

export interface PlaceThreadData {
  to: string;
  catalog: string;
  access: BucketAccess | null;
  /** Of what is stored. */
  readers?: Readers | undefined;
}

export interface PlaceCalls {
  probe(): Room;
  take(job: TakeJob): { hash: string };
  remove(files: readonly Removal[]): (string | null)[];
  fetch(path: string, to: string, bytes: number): void;
  /** Compares the folder with its rows, as at the start of the storage folders. */
  reconcile(before: number): { indexed: number; missing: number; doubles: number };
}

export interface PlaceRequest {
  id: number;
  call: keyof PlaceCalls;
  args: unknown[];
}

/** What this process lacks, whatever file it opens. */
const OF_THE_PROCESS: ReadonlySet<string> = new Set(['EMFILE', 'ENFILE', 'ENOMEM']);

/** An error of the file that is to be taken as one that says so: the place is not at fault, and others can be taken. */
export function sourceError(from: string, error: unknown): unknown {
  const { code = '', message } = error as NodeJS.ErrnoException;
  if (error instanceof EngineError || OF_THE_PROCESS.has(code)) return error;
  if (code === 'ENOENT') return new EngineError('gone', `${from} is not there any more`, { cause: error });
  return new EngineError('unreadable', `${from} cannot be read, and stays where it is (${message}): check its disk`, {
    cause: error,
  });
}

export type PlaceReply =
  | { id: number; result: unknown }
  | { id: number; error: { code: string; message: string } }
  /** It is still being worked on. */
  | { alive: true };

export type PlaceBackend = (
  data: PlaceThreadData,
  onReply: (reply: PlaceReply) => void,
  onEnd: (reason: string) => void,
) => { send(request: PlaceRequest): void; stop(): void };
