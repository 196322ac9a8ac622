/**
 * A child's output, read at our pace: instead of waking up for every piece that FFmpeg writes, all streams are read
 * together five times a second. With many cameras the waking, not the bytes, is what reading costs
 * (docs/architecture.md has the figures). Pausing Node's own streams does not help: libuv leaves a paused socket in its
 * epoll set, and wakes up once more to take it out.
 */
import { once } from 'node:events';
import { readSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Between two readings; the most that pacing adds to a picture's delay. */
const PACE_MS = 200;
/** For streams that are analysed: an event should not wait for its pictures. */
const BRISK_MS = 100;
/** For streams whose arrival times count, and for those that fill the socket faster than we empty it. */
const QUICK_MS = 20;
/** More than this waiting, and FFmpeg may have been held up by the socket's size (208 KiB with its overhead). */
const FULL_BYTES = 128 * 1024;

/** One for all: a sink is done with its bytes before the next read. */
const shared = Buffer.allocUnsafeSlow(256 * 1024);

const all = new Set<PacedPipe>();
const brisk = new Set<PacedPipe>();
const quick = new Set<PacedPipe>();
let pace: NodeJS.Timeout | null = null;
let briskPace: NodeJS.Timeout | null = null;
let quickPace: NodeJS.Timeout | null = null;

function turn(pipes: ReadonlySet<PacedPipe>): void {
  for (const pipe of pipes) {
    if (pipe.read()) quick.add(pipe);
    else quick.delete(pipe);
  }
  if (quick.size > 0) {
    quickPace ??= setTimeout(() => {
      quickPace = null;
      turn(quick);
    }, QUICK_MS);
  }
}

export interface PipeSink {
  /** The bytes are only valid during the call. */
  data(chunk: Buffer): void;
  /** The other side is closed and all of its bytes were read. */
  end(): void;
}

export class PacedPipe {
  /** For the moment after a start, when arrival times count. */
  eager = true;
  /** What the child is given; to be destroyed once it has it. */
  readonly childEnd: Socket;
  private readonly ourEnd: Socket;
  private readonly fd: number;
  private readonly sink: PipeSink;
  private closed = false;

  private constructor(childEnd: Socket, ourEnd: Socket, fd: number, sink: PipeSink) {
    this.childEnd = childEnd;
    this.ourEnd = ourEnd;
    this.fd = fd;
    this.sink = sink;
    all.add(this);
    pace ??= setInterval(() => turn(all), PACE_MS);
    turn(new Set([this]));
  }

  /** Null where Node does not show a socket's descriptor (Windows). Rejects when no socket can be made. */
  static async open(sink: PipeSink): Promise<PacedPipe | null> {
    if (process.platform === 'win32') return null;
    // A folder of our own: nobody else can connect.
    const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-'));
    const path = join(folder, 'pipe');
    const server = createServer({ pauseOnConnect: true }); // ours is never read by libuv
    try {
      server.listen(path);
      await once(server, 'listening');
      const accepted = once(server, 'connection') as Promise<[Socket]>;
      const childEnd = connect(path);
      const [[ourEnd]] = await Promise.all([accepted, once(childEnd, 'connect')]);
      const { fd } = (ourEnd as Socket & { _handle: { fd: number } })._handle;
      return new PacedPipe(childEnd, ourEnd, fd, sink);
    } finally {
      server.close();
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** Read twice as often as others. */
  set brisk(value: boolean) {
    if (value && !this.closed) brisk.add(this);
    else brisk.delete(this);
    if (brisk.size > 0) {
      briskPace ??= setInterval(() => turn(brisk), BRISK_MS);
    } else if (briskPace) {
      clearInterval(briskPace);
      briskPace = null;
    }
  }

  /** Reads what is there. True when it should be read again soon. */
  read(): boolean {
    let total = 0;
    for (;;) {
      const bytes = this.closed ? null : this.readOnce();
      if (bytes === null) break;
      if (bytes === 0) {
        this.close();
        this.sink.end();
        break;
      }
      total += bytes;
      this.sink.data(shared.subarray(0, bytes));
      if (bytes < shared.length) break;
    }
    return !this.closed && (this.eager || total > FULL_BYTES);
  }

  /** Bytes read into the shared buffer, 0 at the end, null when there are none now. */
  private readOnce(): number | null {
    try {
      return readSync(this.fd, shared);
    } catch (error) {
      // A connection that broke has ended.
      return (error as NodeJS.ErrnoException).code === 'EAGAIN' ? null : 0;
    }
  }

  /** No more is read or told. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.ourEnd.destroy();
    this.childEnd.destroy();
    this.brisk = false;
    quick.delete(this);
    all.delete(this);
    if (all.size > 0 || !pace) return;
    clearInterval(pace);
    pace = null;
  }
}
