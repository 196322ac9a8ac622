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
import { causeOfErrno, storageError, StorageError } from './storage-error.ts';

export const SYNC_MS = 3000;
/** No new file below this much free space. */
export const MIN_FREE_BYTES = 12 * 1024 * 1024;
const MARKER = '.flow-nvr';

export type WriterRequest =
  | { op: 'open'; id: string; path: string; header: Uint8Array }
  | { op: 'append'; id: string; data: Uint8Array }
  | { op: 'close'; id: string; writes: { offset: number; bytes: Uint8Array }[] };

export type WriterReply =
  | { id: string; event: 'appended'; bytes: number }
  | { id: string; event: 'closed' }
  | { id: string; event: 'failed'; cause: StorageError['code']; message: string; goodBytes: number };

interface OpenFile {
  fd: number;
  path: string;
  bytes: number;
  dirty: boolean;
}

export class FileWriter {
  private readonly root: string;
  private readonly reply: (reply: WriterReply) => void;
  private readonly files = new Map<string, OpenFile>();
  private device: number | null = null;

  constructor(root: string, reply: (reply: WriterReply) => void) {
    this.root = root;
    this.reply = reply;
  }

  handle(request: WriterRequest): void {
    try {
      if (request.op === 'open') this.open(request);
      else if (request.op === 'append') this.append(request);
      else this.close(request);
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
  }

  /**
   * The folder must be the one recorded to: a mount point without its disk is no storage. A plain folder that was
   * deleted is made again.
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
    }
    mkdirSync(this.root, { recursive: true });
    writeFileSync(
      join(this.root, MARKER),
      'Storage folder of Flow NVR. Keep this file: it tells the disk from its empty mount point.\n',
    );
    this.device = statSync(this.root).dev;
  }

  private open({ id, path, header }: Extract<WriterRequest, { op: 'open' }>): void {
    this.ensureRoot();
    const { bavail, bsize } = statfsSync(this.root);
    if (bavail * bsize < MIN_FREE_BYTES) throw storageError(this.root, 'storage-full');
    const file = join(this.root, path);
    mkdirSync(dirname(file), { recursive: true });
    const fd = openSync(file, 'wx');
    this.files.set(id, { fd, path: file, bytes: 0, dirty: true });
    this.writeAll(this.files.get(id)!, header);
    fsyncFolder(dirname(file));
  }

  private append({ id, data }: Extract<WriterRequest, { op: 'append' }>): void {
    const file = this.files.get(id);
    if (file) this.writeAll(file, data); // else it failed before, and that was told
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
    this.reply({ id, event: 'closed' });
  }

  private writeAll(file: OpenFile, data: Uint8Array): void {
    let done = 0;
    while (done < data.length) done += writeSync(file.fd, data, done, data.length - done, file.bytes + done);
    file.bytes += data.length;
    file.dirty = true;
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
