/** The words of the event index: what happened, whoever noticed it, and the footage of it. All times are epoch ms. */
import type { Box } from '../motion/types.ts';
import type { Coverage } from '../types.ts';

/** What an event is about. `external` is all that something outside of the NVR says: a PLC, an MES, a door. */
export const EVENT_KINDS = ['motion', 'scene-change', 'onvif-event', 'recording', 'camera', 'gap', 'external'] as const;
export type EventKind = (typeof EVENT_KINDS)[number];

export const SEVERITIES = ['info', 'warning', 'error', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

/** A value of the process at the time of an event. */
export interface EventTag {
  name: string;
  value: number | boolean | string;
  unit?: string;
}

/** What a person wrote to an event. */
export interface EventNote {
  who: string;
  at: number;
  text: string;
}

/** What is known of an event. */
export interface EventRecord {
  /** Of the NVR; the same however often the event is told. */
  eventId: string;
  kind: EventKind;
  /** The sender's own id of it; one event for each of a `source`. */
  correlationId: string | null;
  /** The node or machine that noticed it. */
  source: string | null;
  cameras: string[];
  /** When it began by the NVR's clock: the source's time corrected by the clock offset of the source. */
  start: number;
  /** Null while it lasts. */
  end: number | null;
  /** As the source said it; null for what the NVR noticed itself. */
  sourceTime: number | null;
  /** How far `start` may be off. */
  uncertaintyMs: number;
  /** Footage that belongs to it: from `start - preMs` to `(end ?? start) + postMs`. */
  preMs: number;
  postMs: number;
  label: string | null;
  severity: Severity;
  zones: string[];
  score: number | null;
  boxes: Box[];
  tags: EventTag[];
  notes: EventNote[];
  acknowledged: { who: string; at: number } | null;
}

/** Footage of one camera for an event. */
export type EventFootage =
  | { camera: string; state: 'pending' | 'complete'; coverage: Coverage }
  /** Nothing was ever recorded of it, or its time is out of bounds. */
  | { camera: string; state: 'none'; reason: string };

/** Payload of event-index's first output. */
export interface IndexedEvent extends EventRecord {
  /** The kind, so that nodes behind take it for what it is. */
  type: EventKind;
  /**
   * `indexed`: stored just now, footage as far as it is there; `update`: more is known (an end, a score); `complete`: the
   * time after it has passed and is on disk, `footage` will not grow any more; `acknowledged`, `annotated`: by a person.
   */
  phase: 'indexed' | 'update' | 'complete' | 'acknowledged' | 'annotated';
  footage: EventFootage[];
  /** What is wrong with it: a time in the future, a range that is deleted already, an unknown camera. The event is kept. */
  problems: string[];
}
