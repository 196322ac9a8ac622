/** Links to a piece of footage for people without an account: tokens for some cameras and one range of time. */
import { MAX_CLIP_MS } from '../playback/clips.ts';
import { EngineError, type TimeRange } from '../types.ts';
import { cameraOf } from './params.ts';
import { allows, type Access, type Tokens } from './tokens.ts';

/** Longer, and it is not a link to something any more. */
const MAX_MINUTES = 30 * 24 * 60;
/** Clocks of browsers differ from that of the NVR. */
const AHEAD_MS = 60_000;
/** Parts begin with a keyframe; a player may ask for a little more than it shows. */
const SLACK_MS = 1000;

export interface Share {
  /** To take it back by. */
  id: string;
  token: string;
  expires: number;
  /** Below the NVR's path: what each camera's link opens, a clip that plays while it loads. */
  links: { camera: string; path: string }[];
}

/**
 * A link of the same or of less scope than who asks for it has. What is shared cannot be shared on.
 * @param access with the right to export
 */
export async function share(tokens: Tokens, access: Access, body: Record<string, unknown>): Promise<Share> {
  const { cameras, start, end, minutes } = body;
  if (!Array.isArray(cameras) || cameras.length === 0 || cameras.length > 100) {
    throw new EngineError('bad-request', 'cameras must be a list of camera ids');
  }
  const ids = [...new Set(cameras.map(cameraOf))];
  const range = rangeIn({ start, end });
  if (range.end - range.start > MAX_CLIP_MS) {
    throw new EngineError('bad-request', `a link must not be for more than ${MAX_CLIP_MS / 3_600_000} hours`);
  }
  // What is recorded later can be seen while it is: that would be a live view, for which a link is not.
  if (range.end > Date.now() + AHEAD_MS) {
    throw new EngineError('bad-request', 'end must not be in the future: a link is for what is recorded already');
  }
  if (typeof minutes !== 'number' || !(minutes >= 1 && minutes <= MAX_MINUTES)) {
    throw new EngineError('bad-request', `minutes must be a number from 1 to ${MAX_MINUTES}`);
  }
  if (access.range) throw new EngineError('forbidden', 'what was shared cannot be shared on: ask who shared it');
  const denied = ids.find((camera) => !allows(access, camera, 'export'));
  if (denied !== undefined) throw new EngineError('forbidden', `the token is not for export of camera ${denied}`);
  const till = Math.min(range.end, Date.now());
  if (till <= range.start) throw new EngineError('bad-request', 'start must be earlier than now');
  const rights = (['playback', 'export'] as const).filter((right) => access.rights.includes(right));
  const expires = Date.now() + minutes * 60_000;
  const token = await tokens.mint(
    { cameras: ids, rights, range: { start: range.start, end: till }, from: access.id },
    minutes * 60_000,
  );
  const query = `start=${range.start}&end=${till}&token=${token}`;
  const { id } = await tokens.verify(token);
  return { id, token, expires, links: ids.map((camera) => ({ camera, path: `clip/${camera}.mp4?${query}` })) };
}

export function rangeIn({ start, end }: { start?: unknown; end?: unknown }): TimeRange {
  if (!isTime(start) || !isTime(end)) throw new EngineError('bad-request', 'start and end must be times in epoch ms');
  if (end <= start) throw new EngineError('bad-request', 'end must be later than start');
  return { start, end };
}

/** Whole epoch ms, of this century or the one before. */
export function isTime(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 && value < 4_102_444_800_000;
}

/** Which times a route uses; of a `part` of a playlist its own name tells, and who serves it looks that up. */
export type Times = 'none' | 'range' | 'at' | 'part';

interface Asked {
  start: number | null;
  end: number | null;
  at: number | null;
}

/**
 * Refuses what a token of one range is not for: other times, routes that have none, and times that a route does not look
 * at, for those open nothing. Throws `forbidden`.
 * @param asked times that the request names
 */
export function demandTime(range: TimeRange, uses: Times, { start, end, at }: Asked): void {
  if (uses === 'part') return;
  const inside = (time: number | null): boolean =>
    time !== null && time >= range.start - SLACK_MS && time <= range.end + SLACK_MS;
  const good =
    (uses === 'range' && inside(start) && inside(end) && at === null) ||
    (uses === 'at' && inside(at) && start === null && end === null);
  if (!good) throw new EngineError('forbidden', 'this link is for one range of time only');
}
