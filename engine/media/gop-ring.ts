/** The last moments of a stream, in whole GOPs, bounded in time and bytes: pre-roll, snapshots, a viewer's start. */
import type { Fragment } from './fragment.ts';
import { releaseSlab } from './slab.ts';

/** A fragment with its place in UTC. */
export interface TimedFragment extends Fragment {
  startMs: number;
  endMs: number;
  /** Length of a tick in ms: what its timescale says, or what was found out. */
  tickMs: number;
}

export const RING_BYTES = 48 * 1024 * 1024;

export class GopRing {
  private gops: { fragments: TimedFragment[]; bytes: number }[] = [];
  private bytes = 0;
  private readonly maxBytes: number;
  /** Footage to keep before now, beside the current GOP. */
  keepMs = 0;
  dropped = 0;

  constructor(maxBytes = RING_BYTES) {
    this.maxBytes = maxBytes;
  }

  push(fragment: TimedFragment): void {
    if (fragment.key) this.gops.push({ fragments: [], bytes: 0 });
    const current = this.gops.at(-1);
    if (!current) return; // nothing can be decoded before the first keyframe
    current.fragments.push(fragment);
    current.bytes += fragment.data.length;
    this.bytes += fragment.data.length;
    while (
      this.gops.length > 1 &&
      (this.gops[1]!.fragments[0]!.startMs <= fragment.endMs - this.keepMs || this.bytes > this.maxBytes)
    ) {
      this.dropFirst();
    }
    if (this.bytes > this.maxBytes) {
      // One GOP without end: give up on it rather than on memory.
      this.dropped += current.fragments.length;
      this.clear();
    }
  }

  private dropFirst(): void {
    const { fragments, bytes } = this.gops.shift()!;
    this.bytes -= bytes;
    // Fragments fill one slab after the other: the one that the next GOP begins in is the first still in use.
    const inUse = this.gops[0]!.fragments[0]!.data.buffer;
    const slabs = new Set(fragments.map(({ data }) => data.buffer));
    slabs.delete(inUse);
    slabs.forEach(releaseSlab);
  }

  /** Fragments from the last keyframe at or before `fromMs` on (or the oldest there is). */
  since(fromMs: number): TimedFragment[] {
    let first = 0;
    this.gops.forEach((gop, i) => {
      if (gop.fragments[0]!.startMs <= fromMs) first = i;
    });
    return this.gops.slice(first).flatMap((gop) => gop.fragments);
  }

  /** The current GOP's first fragment: its keyframe. */
  keyframe(): TimedFragment | null {
    return this.gops.at(-1)?.fragments[0] ?? null;
  }

  clear(): void {
    this.gops = [];
    this.bytes = 0;
  }
}
