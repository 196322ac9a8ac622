/** The words of clips of events and their delivery. All times are epoch ms. */
import type { EventKind, Severity } from '../events/types.ts';
import type { Coverage, TimeRange } from '../types.ts';

/** Of the JSON that leaves the NVR: raised when a field changes its meaning or goes, not when one comes. */
export const SCHEMA = 1;

/** What a clip is wanted for. */
export interface ClipEvent {
  eventId: string;
  /** The id of whoever told of it, and waits for an answer. */
  correlationId: string | null;
  kind: EventKind | 'command';
  cameras: string[];
  start: number;
  /** Null while it lasts. */
  end: number | null;
  preMs: number;
  postMs: number;
  label: string | null;
  severity: Severity | null;
  zones: string[];
  /** Somebody waits for the answer: neither cooldown nor quiet hours nor grouping are for it. */
  exempt: boolean;
  /** A small version of at most so many bytes, whatever the node says. */
  smallBytes?: number;
}

/** How many messages a node makes of its events. */
export interface NotifyPolicy {
  /** Messages in any minute; 0 is without limit. */
  perMinute: number;
  /** After an event of a camera (and zone) others there are left out for so long. */
  cooldownMs: number;
  /** Local time; `to` before `from` runs over midnight. */
  quiet: { from: string; to: string } | null;
  /** Events that begin within it of each other become one message. */
  groupMs: number;
  /** What is longer is cut there. */
  maxClipMs: number;
  /** What is beyond goes, oldest first. */
  keep: { ms: number; bytes: number; folder: string };
}

export type Suppression = 'quiet-hours' | 'cooldown' | 'rate-limit' | 'job-limit';

/** Clips that are to be made and told together. */
export interface ClipJob {
  id: number;
  node: string;
  events: ClipEvent[];
  /** When it was to be made. */
  wanted: number;
  /** Attempts that failed. */
  attempts: number;
  /** When its first event came. */
  created: number;
}

export interface SmallClip {
  file: string;
  bytes: number;
  height: number;
}

/** The clip of one camera. */
export interface MadeClip extends TimeRange {
  camera: string;
  /** Null when there is none; `reason` says why. */
  file: string | null;
  bytes: number;
  reason: string | null;
  url: string | null;
  /** Null when even the catalogue could not be asked. */
  coverage: Coverage | null;
  small: SmallClip | null;
  /** JPEG of the moment of the event. */
  thumbnail: Buffer | null;
  /** Animated WebP. */
  preview: Buffer | null;
}

/** Payload of clip-notify's first output. The fields of a clip are those of the first camera. */
export interface ClipMessage extends MadeClip {
  type: 'clip';
  schema: typeof SCHEMA;
  /** The same however often it is told. */
  id: string;
  eventId: string;
  correlationId: string | null;
  kind: ClipEvent['kind'];
  label: string | null;
  severity: Severity | null;
  zones: string[];
  eventStart: number;
  eventEnd: number | null;
  cameras: string[];
  /** All of them. */
  clips: MadeClip[];
  /** All events that this is the clip of. */
  events: Pick<ClipEvent, 'eventId' | 'correlationId' | 'kind' | 'cameras' | 'start' | 'end' | 'label'>[];
}

/** Something to deliver. */
export interface Parcel {
  /** Stable: who gets it twice knows it by that. */
  id: string;
  channel: string;
  /** MQTT topic; empty for a webhook. */
  topic: string;
  body: string;
}

/** Payload of clip-notify's second output. */
export type DeliveryMessage =
  | {
      type: 'delivery';
      state: 'delivered' | 'retry' | 'dead';
      id: string;
      channel: string;
      topic: string;
      attempts: number;
      problem: string | null;
      /** From when it was put in to now. */
      afterMs: number;
    }
  /** The outbox was full. */
  | { type: 'delivery'; state: 'dropped'; channel: string; count: number; problem: string }
  | { type: 'clip-progress'; eventId: string; camera: string; percent: number };

/** What of the outbox may be seen: not the body, which has links with tokens. */
export interface OutboxEntry {
  id: string;
  channel: string;
  topic: string;
  state: 'waiting' | 'dead';
  created: number;
  due: number;
  attempts: number;
  bytes: number;
  problem: string | null;
}

/** In answer to the command `outbox`. */
export interface OutboxMessage {
  type: 'outbox';
  entries: OutboxEntry[];
  counts: NotifyCounts;
  jobs: { events: string[]; cameras: string[]; due: number; attempts: number; problem: string | null }[];
}

export interface NotifyCounts {
  jobs: number;
  waiting: number;
  dead: number;
  bytes: number;
  delivered: number;
  dropped: number;
  suppressed: Partial<Record<Suppression, number>>;
}

/** TLS as Node's `tls.connect` takes it. */
export interface TlsOptions {
  ca?: string | Buffer;
  cert?: string | Buffer;
  key?: string | Buffer;
  pfx?: string | Buffer;
  passphrase?: string;
  servername?: string;
  ALPNProtocols?: string[];
  rejectUnauthorized?: boolean;
}

export interface MqttSpec {
  kind: 'mqtt';
  /** `mqtt:`, `mqtts:`, `ws:` or `wss:`, without user or password. */
  url: string;
  username?: string;
  password?: string;
  version: 4 | 5;
  tls: TlsOptions | null;
  /** Retained there: `online` while connected, `offline` by the last will. */
  statusTopic: string;
  /** Filters of the commands that are taken. */
  subscribe: string[];
}

export interface WebhookSpec {
  kind: 'webhook';
  url: string;
  /** Signs each request; none when empty. */
  secret: string;
}

export type ChannelSpec = MqttSpec | WebhookSpec;

export interface ChannelState {
  channel: string;
  connected: boolean;
  problem: string | null;
}
