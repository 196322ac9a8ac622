/**
 * Requests on their way to a storage's writer thread. What all streams have for it in one turn goes in one message, its
 * bytes in few buffers that come back for the next: messages and memory cost more than the bytes in them.
 */
import type { WriterRequest } from './file-writer.ts';

const BUFFER_BYTES = 1024 * 1024;
/** Buffers kept for the next turns; more than this many are only under way when the disk is slow. */
const MAX_FREE = 8;

export class WriteQueue {
  private readonly post: (requests: WriterRequest[], buffers: ArrayBuffer[]) => void;
  private readonly free: ArrayBuffer[] = [];
  private requests: WriterRequest[] = [];
  private buffers: ArrayBuffer[] = [];
  private used = 0;

  /** @param post sends the requests and hands over the buffers that hold their bytes */
  constructor(post: (requests: WriterRequest[], buffers: ArrayBuffer[]) => void) {
    this.post = post;
  }

  send(request: WriterRequest): void {
    if (this.requests.length === 0) setImmediate(() => this.flush());
    this.requests.push(request);
  }

  /** Bytes for a file, written by `fill` to the offset it is given. */
  append(id: string, bytes: number, fill: (target: Buffer, offset: number) => void): void {
    let buffer = this.buffers.at(-1);
    if (!buffer || this.used + bytes > buffer.byteLength) {
      buffer = (bytes <= BUFFER_BYTES ? this.free.pop() : undefined) ?? new ArrayBuffer(Math.max(BUFFER_BYTES, bytes));
      this.buffers.push(buffer);
      this.used = 0;
    }
    const offset = this.used;
    this.used += bytes;
    fill(Buffer.from(buffer), offset);
    const last = this.requests.at(-1);
    if (last?.op === 'append' && last.id === id && last.data.buffer === buffer) {
      last.data = new Uint8Array(buffer, last.data.byteOffset, last.data.length + bytes);
    } else {
      this.send({ op: 'append', id, data: new Uint8Array(buffer, offset, bytes) });
    }
  }

  /** Takes back buffers whose bytes were written. */
  recycle(buffers: readonly ArrayBuffer[]): void {
    for (const buffer of buffers) {
      if (buffer.byteLength === BUFFER_BYTES && this.free.length < MAX_FREE) this.free.push(buffer);
    }
  }

  private flush(): void {
    const { requests, buffers } = this;
    this.requests = [];
    this.buffers = [];
    this.used = 0;
    this.post(requests, buffers);
  }
}
