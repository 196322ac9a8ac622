/** Time and pixels: a view of time that can be moved and zoomed, and the levels of detail it is fetched in. Pure. */

/** What is on show, epoch ms. */
export interface View {
  start: number;
  end: number;
}

export const MIN_SPAN_MS = 4_000;
export const MAX_SPAN_MS = 62 * 86_400_000;
/** Before and behind all that can be asked for. */
const FIRST_MS = 0;
const LAST_MS = 4_102_444_800_000;

/** Tiles are so many columns wide; each column is 2^level ms. */
export const TILE_COLUMNS = 512;
/** 16 ms: less than a frame of most cameras. */
export const MIN_LEVEL = 4;
/** 2^25 ms are 9.3 hours: two months on 200 pixels. */
export const MAX_LEVEL = 25;

export function timeAt({ start, end }: View, width: number, x: number): number {
  return start + ((end - start) * x) / width;
}

export function xOf({ start, end }: View, width: number, time: number): number {
  return ((time - start) / (end - start)) * width;
}

/** The view with its span kept within bounds, and within what can be asked for. @param anchor stays where it is */
export function fitted({ start, end }: View, anchor = (start + end) / 2): View {
  const span = Math.min(MAX_SPAN_MS, Math.max(MIN_SPAN_MS, end - start));
  const share = end > start ? (anchor - start) / (end - start) : 0.5;
  const from = Math.min(LAST_MS - span, Math.max(FIRST_MS, anchor - share * span));
  return { start: from, end: from + span };
}

/** @param factor above 1 shows less, larger */
export function zoomed(view: View, factor: number, anchor: number): View {
  const { start, end } = view;
  return fitted({ start: anchor - (anchor - start) / factor, end: anchor + (end - anchor) / factor }, anchor);
}

export function panned({ start, end }: View, byMs: number): View {
  return fitted({ start: start + byMs, end: end + byMs });
}

/** A view of the same span with a moment at a share of its width. */
export function around({ start, end }: View, time: number, share = 0.5): View {
  const span = end - start;
  return fitted({ start: time - span * share, end: time + span * (1 - share) });
}

/** The level whose columns are at most a pixel: what is fetched is never coarser than what is seen. */
export function levelOf({ start, end }: View, width: number): number {
  const level = Math.floor(Math.log2((end - start) / Math.max(1, width)));
  return Math.min(MAX_LEVEL, Math.max(MIN_LEVEL, level));
}

export function columnMs(level: number): number {
  return 2 ** level;
}

export function tileMs(level: number): number {
  return TILE_COLUMNS * 2 ** level;
}

/** Tiles that a view touches, from left to right. */
export function tilesOf({ start, end }: View, level: number): number[] {
  const ms = tileMs(level);
  const first = Math.floor(start / ms);
  const last = Math.ceil(end / ms) - 1;
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}
