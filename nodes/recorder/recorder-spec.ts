/** recorder's properties as the engine wants them, and its input messages read. */
import { parseTime } from '../../engine/recording/schedule.ts';
import { EngineError, type RecorderMode, type RecorderSpec, type ScheduleEntry } from '../../engine/types.ts';
import { cameraOf, type Payload } from '../shared/message.ts';

export interface RecorderProperties {
  mode: string;
  streams: string;
  preRoll: number | string;
  postRoll: number | string;
  segment: number | string;
  schedule: unknown;
}

const MODES: readonly RecorderMode[] = ['continuous', 'event', 'manual', 'schedule'];

/** Throws `bad-recorder` or `bad-schedule`. */
export function toRecorderSpec(id: string, properties: RecorderProperties): RecorderSpec {
  const mode = MODES.find((candidate) => candidate === properties.mode);
  if (!mode) throw new EngineError('bad-recorder', `unknown mode: use ${MODES.join(', ')}`);
  const seconds = (name: 'preRoll' | 'postRoll' | 'segment', least: number, most: number): number => {
    const value = Number(properties[name]);
    if (!Number.isFinite(value) || value < least || value > most) {
      throw new EngineError('bad-recorder', `${name} must be ${least} to ${most} seconds`);
    }
    return Math.round(value * 1000);
  };
  return {
    id,
    mode,
    streams: properties.streams === 'both' ? ['main', 'sub'] : properties.streams === 'sub' ? ['sub'] : ['main'],
    preRollMs: seconds('preRoll', 0, 60),
    postRollMs: seconds('postRoll', 0, 3600),
    segmentMs: seconds('segment', 2, 3600),
    schedule: mode === 'schedule' ? toSchedule(properties.schedule) : [],
  };
}

function toSchedule(value: unknown): ScheduleEntry[] {
  if (!Array.isArray(value)) throw new EngineError('bad-schedule', 'the schedule must be a list');
  return value.map((entry: unknown) => {
    const { days, from, to, mode } = (entry ?? {}) as Record<string, unknown>;
    const valid = Array.isArray(days) && days.every((day) => Number.isInteger(day) && day >= 0 && day <= 6);
    if (!valid || (mode !== 'continuous' && mode !== 'event')) {
      throw new EngineError(
        'bad-schedule',
        'each line of the schedule needs days (0-6) and the mode continuous or event',
      );
    }
    parseTime(String(from));
    parseTime(String(to));
    return { days: days as number[], from: String(from), to: String(to), mode };
  });
}

export const TRIGGER_TYPES: readonly unknown[] = ['motion', 'external', 'event', 'onvif-event'];

/** Cameras and phase of a triggering event; null for what only tells more of one that has ended. Throws `bad-message`. */
export function readTrigger(
  msg: { camera?: unknown; _msgid?: string },
  payload: Payload,
): { cameras: string[]; key: string; phase: 'start' | 'update' | 'end' | null; start?: number } | null {
  const listed: unknown[] = Array.isArray(payload['cameras']) ? payload['cameras'] : [payload['camera'] ?? msg.camera];
  const cameras = listed.map(cameraOf).filter((camera) => camera !== null);
  if (cameras.length === 0)
    throw new EngineError('bad-message', 'the event names no camera: set msg.camera or payload.cameras');
  const { phase } = payload;
  if (phase !== undefined && phase !== 'start' && phase !== 'update' && phase !== 'end') {
    throw new EngineError('bad-message', 'phase must be start, update or end');
  }
  // A picture that was late: the event is not open again.
  if (phase === 'update' && typeof payload['end'] === 'number') return null;
  const id = payload['eventId'] ?? payload['correlationId'];
  const { start } = payload;
  return {
    ...{ cameras, key: typeof id === 'string' ? id.slice(0, 200) : 'event', phase: phase ?? null },
    ...(typeof start === 'number' && Number.isFinite(start) ? { start } : {}),
  };
}
