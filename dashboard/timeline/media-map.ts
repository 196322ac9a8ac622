/** Where the footage of a playlist stands: its media time runs on over what is missing, the clock does not. Pure. */

export interface Part {
  /** In the media, s. */
  start: number;
  duration: number;
  /** Epoch ms of its begin. */
  utc: number;
}

/** Neighbours differ by rounding and by corrections of the clock; less than this between them is no gap. */
const SEAM_MS = 250;

export class MediaMap {
  private readonly parts: readonly Part[];

  /** @param parts in the order of the media, which is that of the clock */
  constructor(parts: readonly Part[]) {
    this.parts = parts;
  }

  get empty(): boolean {
    return this.parts.length === 0;
  }

  /** Epoch ms of the end of all. */
  get end(): number {
    const last = this.parts.at(-1);
    return last ? last.utc + last.duration * 1000 : -Infinity;
  }

  /** The last part that begins at or before, by what it is looked for. */
  private find(value: number, of: (part: Part) => number): Part | undefined {
    let [low, high] = [0, this.parts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (of(this.parts[middle]!) <= value) low = middle + 1;
      else high = middle;
    }
    return this.parts[low - 1];
  }

  /** Epoch ms of a place in the media; null in front of it. */
  utcAt(media: number): number | null {
    const part = this.find(media + 0.001, ({ start }) => start) ?? this.parts[0];
    return part ? part.utc + (media - part.start) * 1000 : null;
  }

  /** The place of a moment in the media, s; null where nothing is recorded. */
  mediaAt(utc: number): number | null {
    const part = this.find(utc, (one) => one.utc);
    if (part && utc < part.utc + part.duration * 1000) return part.start + (utc - part.utc) / 1000;
    // In a seam: the first picture behind it.
    const next = this.find(utc + SEAM_MS, (one) => one.utc);
    return next && next !== part && (!part || next.utc - part.utc - part.duration * 1000 < SEAM_MS) ? next.start : null;
  }

  /** Whether footage ends so soon after a moment: nothing more can be there to play. */
  endsWithin(utc: number, ms: number): boolean {
    return this.mediaAt(utc + ms) === null;
  }
}

/** The parts that a media playlist of this NVR names. */
export function partsOf(playlist: string): Part[] {
  const parts: Part[] = [];
  let [start, utc, duration] = [0, NaN, 0];
  for (const line of playlist.split('\n')) {
    if (line.startsWith('#EXT-X-PROGRAM-DATE-TIME:')) utc = Date.parse(line.slice(25));
    else if (line.startsWith('#EXTINF:')) duration = Number.parseFloat(line.slice(8));
    else if (line !== '' && !line.startsWith('#')) {
      parts.push({ start, duration, utc });
      start += duration;
      utc += duration * 1000;
    }
  }
  return parts;
}
