/** What is shown of an event. Pure, but for the language. */
import type { EventRecord } from '../../engine/events/types.ts';
import { duration, time } from '../shared/i18n.ts';
import { t } from './texts.ts';

/** Footage around an event that says nothing of it itself. */
const AROUND_MS = 5000;
/** A player has no use for more; the timeline has. */
const MAX_PLAY_MS = 10 * 60_000;
/** The frame on show at the start of motion has nothing in it yet. */
const INTO_MS = 800;
const MAX_STRIP_MS = 60_000;

export function titleOf({ label, kind }: EventRecord): string {
  return label ?? t(`kind.${kind}`);
}

export function lengthOf({ start, end }: EventRecord): string | null {
  return end === null ? t('lasting') : end - start >= 1000 ? duration(end - start) : null;
}

export function whenOf({ start }: EventRecord): string {
  return time(start, { timeStyle: 'medium' });
}

export function dayOf(ms: number): string {
  return time(ms, { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' });
}

/** The moment whose picture stands for it. */
export function stillAt({ start, end }: EventRecord): number {
  return end === null ? start + INTO_MS : Math.min(start + INTO_MS, Math.max(start, end));
}

/** What its preview shows. */
export function stripOf({ start, end }: EventRecord, now: number): { start: number; end: number } {
  const until = Math.max(start + 4000, Math.min(end ?? now, start + MAX_STRIP_MS));
  return { start: start - 1000, end: until };
}

/** What is played of it. */
export function rangeOf({ start, end, preMs, postMs }: EventRecord, now: number): { start: number; end: number } {
  const from = start - Math.max(preMs, AROUND_MS);
  const until = (end ?? now) + Math.max(postMs, AROUND_MS);
  return { start: from, end: Math.min(until, from + MAX_PLAY_MS, Math.max(now, from + 1000)) };
}
