/** Whether a recorder wants a camera recorded now, and why: triggers, commands and schedule put together. */
import type { RecorderSpec, RecordingTrigger } from '../types.ts';
import { scheduledMode } from './schedule.ts';

/** The most events that may be open at once for a camera; the oldest is forgotten beyond that. */
const MAX_OPEN_EVENTS = 1000;
/** An event whose end never comes is ended after this. */
const MAX_EVENT_MS = 3_600_000;
/** An event is known so long after it began, at most; footage from before the pre-roll is held for as long. */
export const MAX_LATE_MS = 3000;

export class Demand {
  private readonly open = new Map<string, number>();
  /** UTC ms until which ended triggers (with post-roll) still ask for footage. */
  private until = 0;
  private command: 'start' | 'stop' | null = null;
  panic = false;
  /** How long the event that made the recording start had gone on when it was told. */
  lateMs = 0;

  /** Records in every mode until `stop`; ends the pause of a continuous or scheduled recorder. */
  start(): void {
    this.command = 'start';
  }

  /** Ends what is recorded by hand or for events; pauses a continuous or scheduled recorder until `start`. */
  stop(): void {
    this.command = 'stop';
    this.open.clear();
    this.until = 0;
  }

  /**
   * @param key identity of the event; triggers without phases are instants
   * @param startMs when it began
   */
  trigger(
    key: string,
    phase: 'start' | 'update' | 'end' | null,
    nowMs: number,
    postRollMs: number,
    startMs = nowMs,
  ): void {
    if (!this.hasEvent(nowMs, postRollMs)) this.lateMs = Math.max(0, Math.min(MAX_LATE_MS, nowMs - startMs));
    if (phase === 'start' || phase === 'update') {
      this.open.set(key, nowMs);
      if (this.open.size > MAX_OPEN_EVENTS) this.open.delete(this.open.keys().next().value!);
      return;
    }
    this.open.delete(key);
    this.until = Math.max(this.until, nowMs + postRollMs);
  }

  /** What wants the footage of this moment, or null. */
  wants(spec: RecorderSpec, nowMs: number): RecordingTrigger | null {
    if (this.panic) return 'panic';
    const mode = spec.mode === 'schedule' ? scheduledMode(spec.schedule, nowMs) : spec.mode;
    if (this.command === 'stop' && (spec.mode === 'continuous' || spec.mode === 'schedule')) return null;
    if (mode === 'continuous') return 'continuous';
    if (this.command === 'start') return 'manual';
    if (mode === 'event' && this.hasEvent(nowMs, spec.postRollMs)) return 'event';
    return null;
  }

  /** The user stopped what would otherwise be recorded. */
  stoppedByUser(spec: RecorderSpec, nowMs: number): boolean {
    if (this.command !== 'stop' || this.panic) return false;
    return (
      spec.mode === 'continuous' || (spec.mode === 'schedule' && scheduledMode(spec.schedule, nowMs) === 'continuous')
    );
  }

  private hasEvent(nowMs: number, postRollMs: number): boolean {
    for (const [key, since] of this.open) {
      if (nowMs - since <= MAX_EVENT_MS) return true;
      this.open.delete(key);
      this.until = Math.max(this.until, since + MAX_EVENT_MS + postRollMs);
    }
    return nowMs < this.until;
  }
}
