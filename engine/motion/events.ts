/** Motion of frames put together to events. */
import type { FrameMotion, MotionEvent, MotionPhase, MotionSettings } from './types.ts';

const UPDATE_MS = 1000;
/** Motion may have begun so long before it was recognised; anything older is another visit. */
const MAX_BACK_MS = 5000;
/** ms without any movement that are not counted at the end of an event. */
const PARKED_MS = 30_000;

interface Open {
  eventId: string;
  start: number;
  /** The last frame with motion in it. */
  lastMotion: number;
  /** When something last changed its place. */
  movedAt: number;
  /** The first frame without motion since; null while there is motion. */
  quietSince: number | null;
  updated: number;
  score: number;
  zones: Set<string>;
}

export class MotionEvents {
  private settings: MotionSettings;
  private readonly newId: () => string;
  private open: Open | null = null;
  private lastEnd = -Infinity;

  constructor(settings: MotionSettings, newId: () => string) {
    this.settings = settings;
    this.newId = newId;
  }

  configure(settings: MotionSettings): void {
    this.settings = settings;
  }

  step(motion: FrameMotion): MotionEvent[] {
    const events: MotionEvent[] = [];
    const { time, score } = motion;
    if (motion.scene === 'scene-change') events.push({ phase: 'scene-change', time });
    const { open } = this;
    if (open === null) {
      if (score > 0) events.push(this.begin(motion));
      return events;
    }
    if (score > 0) {
      open.lastMotion = Math.max(open.lastMotion, time);
      open.movedAt = Math.max(open.movedAt, motion.movedAt ?? time);
      open.quietSince = null;
      open.score = Math.max(open.score, score);
      motion.zones.forEach((zone) => open.zones.add(zone));
      if (time - open.updated >= UPDATE_MS) {
        open.updated = time;
        events.push(this.phase('update', open, motion));
      }
      return events;
    }
    // Counted from the first frame without motion, because frames may be farther apart than the hold time.
    open.quietSince ??= time;
    if (time - open.quietSince >= this.settings.holdMs) events.push(this.close(open));
    return events;
  }

  /** Closes what is open. */
  flush(time: number): MotionEvent[] {
    if (this.open === null) return [];
    const { open } = this;
    open.lastMotion = Math.min(open.lastMotion, Math.max(time, open.start));
    return [this.close(open)];
  }

  private begin(motion: FrameMotion): MotionPhase {
    const { time, score } = motion;
    const start = Math.min(time, Math.max(motion.since ?? time, time - MAX_BACK_MS, this.lastEnd));
    this.open = {
      ...{ eventId: this.newId(), start, lastMotion: time, movedAt: motion.movedAt ?? time, quietSince: null },
      ...{ updated: time, score, zones: new Set(motion.zones) },
    };
    return this.phase('start', this.open, motion);
  }

  private phase(
    phase: 'start' | 'update',
    { eventId, start, score }: Open,
    { boxes, zones }: FrameMotion,
  ): MotionPhase {
    return { phase, eventId, start, end: null, score, boxes, zones };
  }

  private close({ eventId, start, lastMotion, movedAt, score, zones }: Open): MotionPhase {
    // What has stood still until it was taken for background was no motion for all that time.
    const end = Math.max(start, lastMotion - movedAt > PARKED_MS ? movedAt : lastMotion);
    this.open = null;
    this.lastEnd = end;
    return { phase: 'end', eventId, start, end, score, boxes: [], zones: [...zones] };
  }
}
