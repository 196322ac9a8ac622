/** Which events become messages, and when their clips are made. Pure. */
import { EngineError, type TimeRange } from '../types.ts';
import type { ClipEvent, NotifyPolicy, Suppression } from './types.ts';

/** What was filmed is on disk a little later. */
const SETTLE_MS = 1500;
/** A clip by command: as long as any clip may be. */
export const MAX_COMMAND_MS = 24 * 3_600_000;

/** Minutes since midnight of `HH:MM`. Throws `bad-time`. */
export function minuteOf(text: string): number {
  const match = /^([01]?\d|2[0-3]):([0-5]\d)$|^(24):(00)$/.exec(text.trim());
  if (!match) throw new EngineError('bad-time', `write a time of day such as 22:00, not '${text.slice(0, 20)}'`);
  return Number(match[1] ?? match[3]) * 60 + Number(match[2] ?? match[4]);
}

/** In local time, also over midnight. */
export function isQuiet(quiet: NotifyPolicy['quiet'], nowMs: number): boolean {
  if (!quiet) return false;
  const [from, to] = [minuteOf(quiet.from), minuteOf(quiet.to)];
  const date = new Date(nowMs);
  const minute = date.getHours() * 60 + date.getMinutes();
  return from <= to ? minute >= from && minute < to : minute >= from || minute < to;
}

/** What a cooldown is of: each zone of each camera, or the camera where no zone is told. */
export function cooldownKeys({ cameras, zones }: ClipEvent): string[] {
  return cameras.flatMap((camera) => (zones.length > 0 ? zones.map((zone) => `${camera} ${zone}`) : [camera]));
}

/** What of earlier events the decision needs. */
export interface Recent {
  /** When the cooldown of a key began, or null. */
  cooldownSince: (key: string) => number | null;
  /** Messages of the last minute. */
  inLastMinute: number;
}

/** Why no message is made of an event, or null. */
export function suppression(event: ClipEvent, policy: NotifyPolicy, recent: Recent, nowMs: number): Suppression | null {
  if (!event.exempt && isQuiet(policy.quiet, nowMs)) return 'quiet-hours';
  const cools = (key: string): boolean => {
    const since = recent.cooldownSince(key);
    // A clock that was set back does not keep a camera quiet for longer than that.
    return since !== null && Math.abs(nowMs - since) < policy.cooldownMs;
  };
  if (!event.exempt && policy.cooldownMs > 0 && cooldownKeys(event).every(cools)) return 'cooldown';
  if (!event.exempt && policy.perMinute > 0 && recent.inLastMinute >= policy.perMinute) return 'rate-limit';
  return null;
}

/** The footage of an event. Who asks for a range gets it whole. */
export function rangeOfEvent({ kind, start, end, preMs, postMs }: ClipEvent, maxClipMs: number): TimeRange {
  const from = start - preMs;
  const wanted = end === null ? Infinity : Math.max(end, start) + postMs;
  return { start: from, end: Math.min(wanted, from + (kind === 'command' ? MAX_COMMAND_MS : maxClipMs)) };
}

/** When the footage of all of them is there. What lasts is cut at the longest a clip may be. */
export function dueAt(events: readonly ClipEvent[], maxClipMs: number): number {
  return Math.max(...events.map((event) => rangeOfEvent(event, maxClipMs).end)) + SETTLE_MS;
}

/**
 * When clips of these are wanted: footage is there, and others that began at the same time had time to come. Not before the
 * first of them came, for one that is hours late has only been waited for since then.
 */
export function wantedAt(
  events: readonly ClipEvent[],
  { maxClipMs, groupMs }: Pick<NotifyPolicy, 'maxClipMs' | 'groupMs'>,
  created: number,
): number {
  const group = events.some(({ exempt }) => exempt) ? 0 : groupMs;
  return Math.max(dueAt(events, maxClipMs), created + group);
}

/** Whether an event is told together with others. */
export function joins(event: ClipEvent, group: readonly ClipEvent[], groupMs: number): boolean {
  const [first] = group;
  if (!first || first.exempt || event.exempt || groupMs <= 0) return false;
  return Math.abs(event.start - first.start) <= groupMs;
}

/** What is known of an event after it was told again: nothing that was known is forgotten. */
export function updated(known: ClipEvent, told: ClipEvent): ClipEvent {
  return {
    ...known,
    start: Math.min(known.start, told.start),
    end: told.end ?? known.end,
    preMs: Math.max(known.preMs, told.preMs),
    postMs: Math.max(known.postMs, told.postMs),
    correlationId: known.correlationId ?? told.correlationId,
    label: told.label ?? known.label,
    cameras: [...new Set([...known.cameras, ...told.cameras])],
    zones: [...new Set([...known.zones, ...told.zones])],
    exempt: known.exempt || told.exempt,
  };
}

/** The ranges of each camera, joined where they overlap. */
export function rangesByCamera(events: readonly ClipEvent[], maxClipMs: number): (TimeRange & { camera: string })[] {
  const all = events
    .flatMap((event) => event.cameras.map((camera) => ({ camera, ...rangeOfEvent(event, maxClipMs) })))
    .sort((a, b) => a.start - b.start);
  const joined: (TimeRange & { camera: string })[] = [];
  for (const range of all) {
    const before = joined.findLast(({ camera }) => camera === range.camera);
    if (before && range.start <= before.end) {
      before.end = Math.max(before.end, Math.min(range.end, before.start + maxClipMs));
    } else {
      joined.push({ ...range });
    }
  }
  return joined;
}

/** The time to the next attempt: doubled each time up to the limit, half of it by chance, so that not all come at once. */
export function backoffMs(
  attempts: number,
  { baseMs, maxMs }: { baseMs: number; maxMs: number },
  random: number,
): number {
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(attempts, 30));
  return Math.round(full / 2 + (full / 2) * random);
}
