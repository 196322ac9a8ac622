/**
 * Memory for fragments, used again and again. Left to the garbage collector, the megabytes a second that pass through
 * make it mark the whole heap every other second, which costs more than all parsing.
 */

/** Half a second of a 4 Mb/s stream. */
export const SLAB_BYTES = 256 * 1024;
/** 32 MiB; what is released beyond that goes to the garbage collector. */
const MAX_FREE = 128;

const free: ArrayBuffer[] = [];

/** Memory with any content, of at least so many bytes. */
export function takeSlab(bytes = SLAB_BYTES): Buffer {
  if (bytes > SLAB_BYTES) return Buffer.allocUnsafeSlow(bytes);
  return Buffer.from(free.pop() ?? new ArrayBuffer(SLAB_BYTES));
}

/** Gives memory back that nobody looks at any more. Not to give it back is no error. */
export function releaseSlab(slab: ArrayBufferLike): void {
  if (slab instanceof ArrayBuffer && slab.byteLength === SLAB_BYTES && free.length < MAX_FREE) free.push(slab);
}
