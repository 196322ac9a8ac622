/** Topics of one NVR at a broker, and what they say: docs/mqtt.md is written for those who read them. Pure. */
import { createHash } from 'node:crypto';
import type { IndexedEvent } from '../events/types.ts';
import type { CameraMessage, Coverage, MotionMessage } from '../types.ts';
import type { Point } from './line-protocol.ts';
import { SCHEMA, type ClipMessage, type MadeClip } from './types.ts';

const SITE = /^[\w.-]{1,64}$/;

/** Whether it may stand in a topic, and in Home Assistant's ids. */
export function isSite(site: string): boolean {
  return SITE.test(site);
}

export interface Topics {
  status: string;
  event: string;
  clip: string;
  panic: string;
  panicSet: string;
  camera: (id: string) => {
    state: string;
    motion: string;
    recording: string;
    recordingSet: string;
    event: string;
    image: string;
    snapshotSet: string;
  };
  /** Filters for the commands. */
  commands: string[];
}

export function topicsOf(site: string): Topics {
  const base = `nvr/${site}`;
  return {
    ...{ status: `${base}/status`, event: `${base}/event`, clip: `${base}/clip` },
    ...{ panic: `${base}/panic`, panicSet: `${base}/panic/set` },
    camera: (id) => {
      const of = `${base}/camera/${id}`;
      return {
        ...{ state: `${of}/state`, motion: `${of}/motion`, recording: `${of}/recording` },
        ...{ recordingSet: `${of}/recording/set`, event: `${of}/event`, image: `${of}/image` },
        snapshotSet: `${of}/snapshot/set`,
      };
    },
    commands: [`${base}/panic/set`, `${base}/camera/+/recording/set`, `${base}/camera/+/snapshot/set`],
  };
}

export type Command =
  | { command: 'panic'; on: boolean }
  | { command: 'recording'; camera: string; on: boolean }
  | { command: 'snapshot'; camera: string };

/** What a topic and its payload ask for; null for anything else. */
export function readCommand(site: string, topic: string, payload: string): Command | null {
  const base = `nvr/${site}/`;
  if (!topic.startsWith(base)) return null;
  const word = payload.trim().toUpperCase();
  const on = word === 'ON' ? true : word === 'OFF' ? false : null;
  if (topic === `${base}panic/set`) return on === null ? null : { command: 'panic', on };
  const [, camera, what] = /^camera\/([^/]+)\/(recording|snapshot)\/set$/.exec(topic.slice(base.length)) ?? [];
  if (!camera) return null;
  if (what === 'snapshot') return { command: 'snapshot', camera };
  return on === null ? null : { command: 'recording', camera, on };
}

export function cameraRecord(message: CameraMessage): object {
  const { camera, name, state, since } = message;
  const reason = 'reason' in message ? (message.reason ?? null) : null;
  return { schema: SCHEMA, camera, name, state, reason, since };
}

/** Motion as the bridge noticed it, in the words of the event index. */
export function motionRecord(message: MotionMessage): Record<string, unknown> & { id: string } {
  const { type, camera, eventId, time } = message;
  if (type === 'scene-change') {
    return {
      ...{ schema: SCHEMA, id: `${eventId}-start`, eventId, type, phase: 'start', cameras: [camera] },
      start: time,
      end: time,
    };
  }
  const { phase, start, end, score, zones } = message;
  return {
    schema: SCHEMA,
    id: `${eventId}-${phase}`,
    eventId,
    type,
    phase,
    cameras: [camera],
    start,
    end,
    score,
    zones,
  };
}

/** An event of the index. */
export function indexedRecord(event: IndexedEvent): Record<string, unknown> & { id: string } {
  const { eventId, phase, end, label, severity, zones, tags, notes, score } = event;
  // One that says the same is the same, another one is not.
  const says = createHash('sha256').update(JSON.stringify([end, label, severity, zones, tags, notes, score]));
  const more = phase === 'update' || phase === 'annotated' ? `-${says.digest('hex').slice(0, 12)}` : '';
  return { schema: SCHEMA, id: `${eventId}-${phase}${more}`, ...event };
}

/** A clip's message as JSON: its pictures are in topics of their own. */
export function clipRecord(message: ClipMessage): Record<string, unknown> & { id: string } {
  const { clips, ...rest } = message;
  return { ...withoutPictures(rest), id: message.id, clips: clips.map(withoutPictures) };
}

function withoutPictures(clip: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(clip).filter(([key]) => key !== 'thumbnail' && key !== 'preview'));
}

/** Footage that a clip should have and has not, ms. */
export function missingMs({ gaps, deleted, unscheduled }: Coverage): number {
  return [...gaps, ...deleted, ...unscheduled].reduce((sum, { start, end }) => sum + end - start, 0);
}

/** What a time series database keeps of a clip: few different tags, everything else as fields. */
export function clipPoint(message: ClipMessage, clip: MadeClip): Point {
  const { eventId, correlationId, kind, severity, label, eventStart } = message;
  const { camera, start, end, bytes, file, coverage, reason } = clip;
  return {
    measurement: 'nvr_clip',
    tags: { camera, kind, severity: severity ?? '' },
    fields: {
      ...{ event_id: eventId, correlation_id: correlationId ?? '', label: label ?? '', start, end, bytes },
      ...{ duration_ms: end - start, missing_ms: coverage ? missingMs(coverage) : end - start },
      ...{ has_clip: file !== null, file: file ?? '', reason: reason ?? '' },
    },
    time: eventStart,
  };
}
