/** clip-notify's properties and input messages, read. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { EVENT_KINDS, SEVERITIES, type EventKind, type IndexedEvent } from '../../engine/events/types.ts';
import { MAX_COMMAND_MS, minuteOf } from '../../engine/notify/policy.ts';
import type { ClipEvent, NotifyPolicy } from '../../engine/notify/types.ts';
import { EngineError, type StreamName } from '../../engine/types.ts';
import { cameraOf, rangeOf, type Payload } from '../shared/message.ts';

export const SHAPES = ['plain', 'email', 'telegram', 'http'] as const;
export type Shape = (typeof SHAPES)[number];

export interface ClipNotifyProperties {
  stream: string;
  pre: string | number;
  post: string | number;
  maxLength: string | number;
  preview: boolean;
  small: string | number;
  shape: string;
  chatId: string;
  baseUrl: string;
  linkDays: string | number;
  webhook: string;
  group: string | number;
  cooldown: string | number;
  perMinute: string | number;
  quietFrom: string;
  quietTo: string;
  keepDays: string | number;
  keepGb: string | number;
}

export interface ClipNotifyConfig {
  policy: NotifyPolicy;
  stream: StreamName;
  preMs: number;
  postMs: number;
  preview: boolean;
  smallBytes: number | null;
  shape: Shape;
  chatId: string;
  /** Of the NVR's HTTP routes, without `/` at its end; null: no links. */
  baseUrl: string | null;
  linkMs: number;
  webhook: string | null;
}

const DAY_MS = 86_400_000;
const MAX_TEXT = 500;
const MAX_CAMERAS = 32;
/** What a clip is made of; of what else the index tells, there is nothing to see. */
const CLIP_KINDS: readonly EventKind[] = ['motion', 'scene-change', 'onvif-event', 'external'];

const bad = (what: string): EngineError => new EngineError('bad-property', what);

function numberOf(value: unknown, name: string, least: number, most: number, otherwise: number): number {
  if (value === undefined || value === null || value === '') return otherwise;
  const number = typeof value === 'number' ? value : typeof value === 'string' ? Number(value.replace(',', '.')) : NaN;
  if (!(number >= least && number <= most)) throw bad(`${name}: enter a number from ${least} to ${most}`);
  return number;
}

function addressOf(text: unknown, name: string, example: string): string | null {
  const given = typeof text === 'string' ? text.trim() : '';
  if (given === '') return null;
  const url = URL.canParse(given) ? new URL(given) : null;
  if (!url || !/^https?:$/.test(url.protocol)) throw bad(`${name}: enter an address such as ${example}`);
  if (url.username || url.password)
    throw bad(`${name}: an address with a password in it would be seen by all who see the flow`);
  return given.replace(/(?<!\/)\/+$/, '');
}

/**
 * Throws `bad-property`, `bad-time`.
 *
 * @param clips folder for the clips of all nodes
 */
export function toClipNotifyConfig(node: string, properties: ClipNotifyProperties, clips: string): ClipNotifyConfig {
  const of = (key: keyof ClipNotifyProperties, name: string, least: number, most: number, otherwise: number): number =>
    numberOf(properties[key], name, least, most, otherwise);
  const [from, to] = [(properties.quietFrom || '').trim(), (properties.quietTo || '').trim()];
  if ((from === '') !== (to === '')) throw bad('quiet hours: enter both times, or none');
  for (const time of from === '' ? [] : [from, to]) minuteOf(time);
  const small = of('small', 'size of the small version', 0, 2000, 0);
  const shape = SHAPES.find((known) => known === properties.shape) ?? 'plain';
  return {
    policy: {
      perMinute: of('perMinute', 'messages a minute', 0, 1000, 0),
      cooldownMs: of('cooldown', 'cooldown', 0, 86_400, 0) * 1000,
      quiet: from === '' ? null : { from, to },
      groupMs: of('group', 'bundling', 0, 300, 0) * 1000,
      maxClipMs: of('maxLength', 'longest clip', 1, 3600, 120) * 1000,
      keep: {
        ms: of('keepDays', 'days that clips are kept', 0, 3650, 14) * DAY_MS,
        bytes: of('keepGb', 'size of the clips that are kept', 0, 100_000, 5) * 1e9,
        folder: join(clips, node),
      },
    },
    stream: properties.stream === 'sub' ? 'sub' : 'main',
    preMs: of('pre', 'seconds before', 0, 300, 5) * 1000,
    postMs: of('post', 'seconds after', 0, 300, 5) * 1000,
    preview: properties.preview,
    smallBytes: small > 0 ? Math.round(small * 1e6) : null,
    ...{ shape, chatId: (properties.chatId || '').trim() },
    baseUrl: addressOf(properties.baseUrl, 'address of the links', 'http://nvr.example:1880/nvr'),
    linkMs: of('linkDays', 'days that links are good', 0.01, 366, 7) * DAY_MS,
    webhook: addressOf(properties.webhook, 'webhook', 'https://mes.example/events'),
  };
}

/** Nothing is waited for longer before its footage can be there. */
const MAX_AHEAD_MS = DAY_MS;

function refuseAhead(time: number): void {
  if (time <= Date.now() + MAX_AHEAD_MS) return;
  throw new EngineError('bad-message', `${time} is more than a day ahead: times are in milliseconds since 1970`);
}

const textAt = (payload: Payload, key: string): string | null => {
  const value = payload[key];
  return typeof value === 'string' && value !== '' ? value.slice(0, MAX_TEXT) : null;
};

function timeAt(payload: Payload, key: string): number | null {
  const value = payload[key];
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' && Number.isFinite(value) && value >= 0 && value <= 8.64e15) return Math.round(value);
  throw new EngineError('bad-message', `${key} must be a time in epoch milliseconds`);
}

function durationAt(payload: Payload, key: string, otherwise: number): number {
  const value = payload[key];
  return typeof value === 'number' && value >= 0 && value <= 3_600_000 ? Math.round(value) : otherwise;
}

function camerasOf(payload: Payload, msg: { camera?: unknown }): string[] {
  const listed: unknown[] = Array.isArray(payload['cameras']) ? payload['cameras'] : [payload['camera'] ?? msg.camera];
  const cameras = [...new Set(listed.map(cameraOf).filter((camera) => camera !== null))];
  if (cameras.length === 0)
    throw new EngineError('bad-message', 'no camera is named: set payload.camera or payload.cameras');
  if (cameras.length > MAX_CAMERAS)
    throw new EngineError('bad-message', `one message has at most ${MAX_CAMERAS} cameras`);
  return cameras;
}

/** Whether it came from event-index. */
export function isIndexed(payload: Payload): boolean {
  const phases: readonly unknown[] = ['indexed', 'update', 'complete', 'acknowledged', 'annotated'];
  return (
    EVENT_KINDS.some((kind) => kind === payload['type']) &&
    phases.includes(payload['phase']) &&
    Array.isArray(payload['footage'])
  );
}

/** Whether the bridge tells of it already, as it happens. */
export function isToldByBridge({ type, phase }: Pick<IndexedEvent, 'type' | 'phase'>): boolean {
  return (type === 'motion' || type === 'scene-change') && phase !== 'acknowledged' && phase !== 'annotated';
}

/** What an event wants a clip of; null for an event without one, or a message that is none. Throws `bad-message`. */
export function readEvent(
  payload: Payload,
  msg: { camera?: unknown },
  { preMs, postMs }: Pick<ClipNotifyConfig, 'preMs' | 'postMs'>,
): ClipEvent | null {
  const kind = CLIP_KINDS.find((known) => known === payload['type']);
  const { phase } = payload;
  if (!kind || phase === 'acknowledged' || phase === 'annotated') return null;
  const eventId = textAt(payload, 'eventId');
  if (!eventId) throw new EngineError('bad-message', `an event needs an eventId: send it through event-index`);
  const start = timeAt(payload, 'start') ?? timeAt(payload, 'time');
  if (start === null) throw new EngineError('bad-message', 'an event needs its start in epoch milliseconds');
  const correlationId = textAt(payload, 'correlationId');
  // Only motion and what cameras notice goes on for a time that is not known yet.
  const lasts =
    (kind === 'motion' || kind === 'onvif-event') && phase !== 'complete' && phase !== null && phase !== undefined;
  const end = timeAt(payload, 'end') ?? (lasts ? null : start);
  refuseAhead(Math.max(start, end ?? start));
  const zones = Array.isArray(payload['zones']) ? payload['zones'] : [];
  return {
    ...{ eventId, correlationId, kind, cameras: camerasOf(payload, msg), start, end },
    ...{ preMs: durationAt(payload, 'preMs', preMs), postMs: durationAt(payload, 'postMs', postMs) },
    label: textAt(payload, 'label'),
    severity: SEVERITIES.find((known) => known === payload['severity']) ?? null,
    zones: zones.filter((zone): zone is string => typeof zone === 'string').slice(0, 50),
    exempt: kind === 'external' || correlationId !== null,
  };
}

/** `{command: "clip"}`. Throws `bad-message`. */
export function readClipCommand(payload: Payload, msg: { camera?: unknown }): ClipEvent {
  const { start, end } = rangeOf(payload);
  refuseAhead(end);
  if (end - start > MAX_COMMAND_MS) throw new EngineError('bad-message', 'a clip has at most 24 hours');
  const { small } = payload;
  if (small !== undefined && !(typeof small === 'number' && small > 0)) {
    throw new EngineError('bad-message', 'small must be a size in MB');
  }
  return {
    ...{
      eventId: textAt(payload, 'eventId') ?? `clip-${randomUUID()}`,
      correlationId: textAt(payload, 'correlationId'),
    },
    ...{ kind: 'command', cameras: camerasOf(payload, msg), start, end, preMs: 0, postMs: 0, zones: [], exempt: true },
    label: textAt(payload, 'label'),
    severity: SEVERITIES.find((known) => known === payload['severity']) ?? null,
    ...(small === undefined ? {} : { smallBytes: Math.round(small * 1e6) }),
  };
}
