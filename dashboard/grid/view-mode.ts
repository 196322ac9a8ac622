/**
 * How a camera is shown: live media where the browser and the network allow it, and the next best thing where they do not.
 * Pure: what went wrong goes in, what to show comes out.
 */

/** `auto` is live, and `motion` where the network is too slow for that. `motion` is live while something moves. */
export const QUALITIES = ['auto', 'live', 'motion', 'stills'] as const;
export type Quality = (typeof QUALITIES)[number];

export type Mode = 'mse' | 'mjpeg' | 'stills';

/**
 * Whether it must begin anew when there is a newer token: an MJPEG stream ends with the token in its address. A socket is
 * sent the newer one, and each still picture has its own address.
 */
export const endsWithToken = (mode: Mode): boolean => mode === 'mjpeg';

export interface Trouble {
  /** Live media failed so often in a row, while the camera was online and the NVR answered. */
  failures: number;
  /** The MJPEG view failed, too. */
  mjpegFailed: boolean;
  /** When the trouble was last seen, ms of any clock. */
  at: number;
  /** When fragments were skipped, the last two times. */
  skips: readonly number[];
}

export const NO_TROUBLE: Trouble = { failures: 0, mjpegFailed: false, at: 0, skips: [] };

const MAX_FAILURES = 3;
/** After this, the best is tried again. */
export const FORGET_MS = 60_000;
/** Two skips within this: the network is too slow. */
const SKIPS_MS = 20_000;
/** And for so long it is taken to be. */
export const THIN_MS = 120_000;

export function failed(trouble: Trouble, now: number): Trouble {
  return { ...trouble, failures: trouble.failures + 1, at: now };
}

export function skipped(trouble: Trouble, now: number): Trouble {
  return { ...trouble, skips: [...trouble.skips, now].slice(-2) };
}

/** The network was too slow just now. */
export function isThin({ skips: [first, second] }: Trouble, now: number): boolean {
  return first !== undefined && second !== undefined && second - first < SKIPS_MS && now - second < THIN_MS;
}

export interface Situation {
  quality: Quality;
  /** The browser plays live media of this camera. */
  playable: boolean;
  /** The user wants less data (a browser's setting), or the network says that it is slow. */
  saving: boolean;
  /** Something moves, or somebody looks at this camera in particular. */
  lively: boolean;
}

/** What to show now. */
export function modeOf({ quality, playable, saving, lively }: Situation, trouble: Trouble, now: number): Mode {
  const frugal = quality === 'motion' || (quality === 'auto' && (saving || isThin(trouble, now)));
  if (quality === 'stills' || (frugal && !lively)) return 'stills';
  const broken = trouble.failures >= MAX_FAILURES && now - trouble.at < FORGET_MS;
  if (playable && !broken) return 'mse';
  return trouble.mjpegFailed && now - trouble.at < FORGET_MS ? 'stills' : 'mjpeg';
}
