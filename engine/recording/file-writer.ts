/**
 * Writes segment files of one storage folder, synchronously, in a thread of its own: a disk that hangs holds up
 * nothing but this thread's queue, neither the engine nor Node's shared thread pool.
 *
 * Order of durability for one file: create, write, fdatasync while it grows (power cut: at most SYNC_MS lost), header
 * sealed, fsync of file and folder, and only then `closed` is told, upon which the catalogue commits the row.
 */
import {
  closeSync,
  existsSync,
  fdatasyncSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  statfsSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { crc32, joinCrc32 } from '../media/crc32.ts';
import { DEFAULT_MODES, limit, type Modes } from './file-modes.ts';
import { causeOfErrno, storageError, StorageError } from './storage-error.ts';

export const SYNC_MS = 3000;
/** Nothing is written below this much free space, or below what is written in {@link RESERVE_SYNCS} times SYNC_MS. */
export const MIN_FREE_BYTES = 12 * 1024 * 1024;
/** The room is looked at once in SYNC_MS; the end of all files and the catalogue need some, too. */
const RESERVE_SYNCS = 3;
const MARKER = '.flow-nvr';

export type WriterRequest =
  | { op: 'open'; id: string; path: string; header: Uint8Array }
  | { op: 'append'; id: string; data: Uint8Array }
  | { op: 'close'; id: string; writes: { offset: number; bytes: Uint8Array }[] }
  /** Of a file that failed: what its row says is in it, with the header of that. */
  | { op: 'trim'; id: string; path: string; size: number; writes: { offset: number; bytes: Uint8Array }[] };

export type WriterReply =
  | { id: string; event: 'appended'; bytes: number }
  /** `hash` is the CRC-32 of the whole file; null where it was not written from its start to its end. */
  | { id: string; event: 'closed'; hash: number | null }
  /** There is too little room to go on (the message says so), or there is room again (null). */
  | { event: 'room'; problem: string | null }
  | { id: string; event: 'failed'; cause: StorageError['code']; message: string; goodBytes: number };

interface OpenFile {
  fd: number;
  path: string;
  bytes: number;
  dirty: boolean;
  /** As it is on disk; patched when the file is closed. */
  header: Buffer;
  /** CRC-32 of what is behind the header. */
  media: number;
}

export class FileWriter {
  private readonly root: string;
  private readonly reply: (reply: WriterReply) => void;
  private readonly files = new Map<string, OpenFile>();
  private device: number | null = null;
  /** Bytes since the last look at the room. */
  private written = 0;
  private reserve = MIN_FREE_BYTES;
  private full = false;
  private readonly known: () => string | null;

  private readonly modes: Modes;

  /** @param known a file that should be there, of footage that was recorded there before; null where there is none */
  constructor(
    root: string,
    reply: (reply: WriterReply) => void,
    known: () => string | null = () => null,
    modes: Modes = DEFAULT_MODES,
  ) {
    this.modes = modes;
    this.root = root;
    this.reply = reply;
    this.known = known;
  }

  handle(request: WriterRequest): void {
    try {
      if (request.op === 'open') this.open(request);
      else if (request.op === 'append') this.append(request);
      else if (request.op === 'close') this.close(request);
      else this.trim(request);
    } catch (error) {
      this.fail(request.id, error);
    }
    // Failed or not, these bytes are no longer waiting.
    if (request.op === 'append') this.reply({ id: request.id, event: 'appended', bytes: request.data.length });
  }

  /** Called every SYNC_MS. */
  sync(): void {
    for (const [id, file] of this.files) {
      try {
        this.checkPresent(file);
        if (file.dirty) fdatasyncSync(file.fd);
        file.dirty = false;
      } catch (error) {
        this.fail(id, error);
      }
    }
    this.watchRoom();
  }

  /** Recording ends in an orderly way before the disk is full, and goes on when there is clearly more room again. */
  private watchRoom(): void {
    const free = freeBytes(this.root);
    // While nothing is written the reserve stays what it was.
    if (!this.full) this.reserve = Math.max(MIN_FREE_BYTES, RESERVE_SYNCS * this.written);
    this.written = 0;
    if (free === null) return;
    const full = free < (this.full ? 1.5 : 1) * this.reserve;
    if (full === this.full) return;
    this.full = full;
    this.reply({ event: 'room', problem: full ? this.noRoom(free).message : null });
  }

  private noRoom(free: number): StorageError {
    return storageError(this.root, 'storage-full', `${Math.floor(free / 1e6)} MB left`);
  }

  /**
   * The folder must be the one recorded to: a mount point without its disk is no storage. A plain folder that was
   * deleted while it was recorded to is made again. Before anything was recorded to it the catalogue has to say: were a
   * mount point marked because its disk was away at the start, all that is on the disk would be taken for lost.
   */
  private ensureRoot(): void {
    if (existsSync(join(this.root, MARKER))) {
      this.device ??= statSync(this.root).dev;
      return;
    }
    if (this.device !== null) {
      let existing = this.root;
      while (!existsSync(existing)) existing = dirname(existing);
      if (statSync(existing).dev !== this.device) throw storageError(this.root, 'storage-missing');
    } else {
      const known = this.known();
      // Where its footage is, it is the folder, whoever left the marker behind when it was copied.
      if (known !== null && !existsSync(join(this.root, known))) {
        const advice = `if it was emptied or replaced by an empty one on purpose, make an empty file ${MARKER} in it`;
        throw storageError(this.root, 'storage-missing', advice);
      }
    }
    mkdirSync(this.root, { recursive: true, mode: this.modes.folder });
    writeFileSync(
      join(this.root, MARKER),
      'Storage folder of Flow NVR. Keep this file: it tells the disk from its empty mount point.\n',
      { mode: this.modes.file },
    );
    this.device = statSync(this.root).dev;
  }

  private open({ id, path, header }: Extract<WriterRequest, { op: 'open' }>): void {
    this.ensureRoot();
    const free = freeBytes(this.root);
    if (free !== null && free < MIN_FREE_BYTES) throw this.noRoom(free);
    const file = join(this.root, path);
    mkdirSync(dirname(file), { recursive: true, mode: this.modes.folder });
    // The storage folder is the user's; that of a camera is ours, and covers what an older version left open in it.
    limit(join(this.root, path.slice(0, path.indexOf('/'))), this.modes.folder);
    const fd = openSync(file, 'wx', this.modes.file);
    this.files.set(id, { fd, path: file, bytes: 0, dirty: true, header: Buffer.from(header), media: 0 });
    this.writeAll(this.files.get(id)!, header);
    fsyncFolder(dirname(file));
  }

  private append({ id, data }: Extract<WriterRequest, { op: 'append' }>): void {
    const file = this.files.get(id);
    if (!file) return; // it failed before, and that was told
    this.writeAll(file, data);
    file.media = crc32(data, file.media);
  }

  private close({ id, writes }: Extract<WriterRequest, { op: 'close' }>): void {
    const file = this.files.get(id);
    if (!file) return;
    this.checkPresent(file);
    for (const { offset, bytes } of writes) writeSync(file.fd, bytes, 0, bytes.length, offset);
    fsyncSync(file.fd);
    fsyncFolder(dirname(file.path));
    this.files.delete(id);
    closeSync(file.fd);
    this.reply({ id, event: 'closed', hash: hashOf(file, writes) });
  }

  private trim({ path, size, writes }: Extract<WriterRequest, { op: 'trim' }>): void {
    try {
      const fd = openSync(join(this.root, path), 'r+');
      try {
        if (fstatSync(fd).size < size) return; // there is less of it than its row says: reconcile sees to it
        for (const { offset, bytes } of writes) writeSync(fd, bytes, 0, bytes.length, offset);
        ftruncateSync(fd, size);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
    } catch {
      // The disk has just failed, and that was told; what cannot be put in order now is when it is reconciled.
    }
  }

  private writeAll(file: OpenFile, data: Uint8Array): void {
    let done = 0;
    while (done < data.length) done += writeSync(file.fd, data, done, data.length - done, file.bytes + done);
    file.bytes += data.length;
    file.dirty = true;
    this.written += data.length;
  }

  /** A deleted file goes on taking bytes that nobody will see. */
  private checkPresent(file: OpenFile): void {
    const held = fstatSync(file.fd);
    let named = null;
    try {
      named = statSync(file.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    if (named?.ino !== held.ino) {
      file.bytes = 0;
      throw storageError(this.root, 'storage-missing', `${file.path} was removed while it was written`);
    }
  }

  private fail(id: string, error: unknown): void {
    const file = this.files.get(id);
    this.files.delete(id);
    const goodBytes = file?.bytes ?? 0;
    if (file) salvage(file);
    const failure =
      error instanceof StorageError
        ? error
        : storageError(
            this.root,
            causeOfErrno((error as NodeJS.ErrnoException).code),
            error instanceof Error ? error.message : String(error),
          );
    this.reply({ id, event: 'failed', cause: failure.code, message: failure.message, goodBytes });
  }
}

function hashOf({ header, media, bytes }: OpenFile, writes: { offset: number; bytes: Uint8Array }[]): number | null {
  for (const { offset, bytes: patch } of writes) {
    if (offset + patch.length > header.length) return null;
    header.set(patch, offset);
  }
  return joinCrc32(crc32(header), media, bytes - header.length);
}

/** Null when the disk cannot be asked: what is wrong with it shows when it is written to. */
function freeBytes(folder: string): number | null {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return null;
  }
}

/** Leaves what was written whole; best effort on a disk that just failed, reconcile repairs the rest. */
function salvage(file: OpenFile): void {
  const attempt = (call: () => void): void => {
    try {
      call();
    } catch {
      // The failure that brought us here is the one to tell; these follow from it.
    }
  };
  attempt(() => ftruncateSync(file.fd, file.bytes));
  attempt(() => fsyncSync(file.fd));
  attempt(() => closeSync(file.fd));
  if (file.bytes === 0) attempt(() => unlinkSync(file.path));
}

function fsyncFolder(folder: string): void {
  if (process.platform === 'win32') return; // folders cannot be opened there
  const fd = openSync(folder, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
