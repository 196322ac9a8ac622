/**
 * The words the engine and its callers share. All times are integer UTC milliseconds (`…Ms` in names of durations and
 * instants alike); nothing here knows Node-RED.
 */

import type { AnalyserState, MotionMode } from './motion/analyser.ts';
import type { Readers } from './recording/file-modes.ts';
import type { DeletionReason } from './retention/types.ts';
import type { Box, MotionPhase, MotionSettings, SceneState } from './motion/types.ts';

/** Which of a camera's encodings: `main` is the full picture, `sub` the small one for grids and analysis. */
export type StreamName = 'main' | 'sub';

/** How RTSP media travels: interleaved in the RTSP connection, as UDP datagrams, or tunnelled through HTTP. */
export type RtspTransport = 'tcp' | 'udp' | 'http';

/** One camera as the user configured it. URLs carry no credentials; those are beside them. */
export interface CameraSpec {
  /** Stable id, also the folder name: `[a-z0-9][a-z0-9_-]{0,63}`. */
  id: string;
  name: string;
  /** `rtsp:`, `rtsps:`, `rtmp:`, `rtmps:`, `http:`, `https:`, `file:` or `lavfi:` URL. */
  mainUrl: string;
  subUrl?: string;
  username?: string;
  password?: string;
  transport: RtspTransport;
  audio: boolean;
}

/** Why a camera is not online. The names are part of the message contract and are translated in the editor. */
export type OfflineReason =
  | 'auth'
  | 'host'
  | 'redirect'
  | 'refused'
  | 'path'
  | 'codec'
  | 'timeout'
  | 'stalled'
  | 'ended'
  | 'clock'
  | 'ffmpeg'
  | 'error';

/** Facts about one stream, read from its init segment and counted while it runs. */
export interface StreamInfo {
  name: StreamName;
  /** RFC 6381 codecs, for example `avc1.640028,mp4a.40.2`. */
  codecs: string;
  width: number;
  height: number;
  hasAudio: boolean;
}

export interface StreamMetrics {
  fps: number;
  bitsPerSecond: number;
  bytes: number;
  frames: number;
  reconnects: number;
  lastFrameAgeMs: number | null;
  droppedFragments: number;
}

export type CameraState =
  | { state: 'connecting'; since: number; reason?: OfflineReason; detail?: string }
  | { state: 'online'; since: number }
  | { state: 'offline'; since: number; reason: OfflineReason; detail: string }
  | { state: 'stopped'; since: number };

/** Payload of camera-source's first output: on every change, and as a heartbeat that late joiners attach to. */
export type CameraMessage = CameraState & {
  type: 'camera';
  camera: string;
  name: string;
  streams: Partial<Record<StreamName, StreamInfo>>;
  metrics: Partial<Record<StreamName, StreamMetrics>>;
};

export type RecorderMode = 'continuous' | 'event' | 'manual' | 'schedule';

/** One line of the weekly schedule, in the server's local time. `to` before `from` runs over midnight. */
export interface ScheduleEntry {
  /** 0 is Sunday, as in `Date.prototype.getDay`. */
  days: number[];
  /** `HH:MM`; `24:00` is allowed for `to`. */
  from: string;
  to: string;
  mode: 'continuous' | 'event';
}

export interface RecorderSpec {
  id: string;
  mode: RecorderMode;
  streams: StreamName[];
  preRollMs: number;
  postRollMs: number;
  segmentMs: number;
  schedule: ScheduleEntry[];
}

/** What made a recording start. */
export type RecordingTrigger = 'continuous' | 'event' | 'manual' | 'panic';

/** Why footage that should exist does not. */
export type GapCause =
  | 'camera-offline'
  | 'stalled'
  | 'storage-full'
  | 'storage-slow'
  | 'storage-missing'
  | 'storage-read-only'
  | 'storage-error'
  | 'restart'
  | 'user-stop'
  | 'clock-step'
  | 'file-missing';

/** Payloads of recorder's first output. */
export type RecordingMessage = {
  type: 'recording';
  camera: string;
  stream: StreamName;
  recordingId: string;
  trigger: RecordingTrigger;
  start: number;
  end: number | null;
  bytes: number;
} & ({ phase: 'start' | 'end' } | { phase: 'segment'; file: string });

/** Payload of recorder's second output: `end` is null while the gap is open. */
export interface GapMessage {
  type: 'gap';
  gapId: number;
  camera: string;
  stream: StreamName;
  start: number;
  end: number | null;
  cause: GapCause;
}

export interface TimeRange {
  start: number;
  end: number;
}

/** What is recorded of a range, what is missing and why, and what nobody asked to record. */
export interface Coverage extends TimeRange {
  camera: string;
  stream: StreamName;
  recorded: TimeRange[];
  gaps: (TimeRange & { cause: GapCause })[];
  /** What retention rules have deleted of it. */
  deleted: (TimeRange & { reason: DeletionReason })[];
  /** Time in the range that is none of these: no recorder wanted it (or it is in the future). */
  unscheduled: TimeRange[];
}

/** What a recorder is doing for one camera, for its node's status. */
export interface RecorderState {
  recorder: string;
  camera: string;
  recording: boolean;
  panic: boolean;
  /** Present when something keeps it from recording; says what to do. */
  problem?: { cause: GapCause; message: string };
}

/** Where and how one nvr-config stores. */
export interface EngineConfig {
  /** Absolute folders; the first that works is used. */
  storages: string[];
  /** Absolute file of the SQLite catalogue. */
  catalog: string;
  ffmpegPath: string;
  /** Who may read what is stored; its owner and group by default. */
  readers?: Readers;
}

/** How a motion-detect node wants a camera analysed. */
export interface MotionSpec {
  /** The node's id. */
  node: string;
  camera: string;
  mode: MotionMode;
  settings: MotionSettings;
  /** Tell what was found in each picture. */
  frames: boolean;
}

/** Payload of motion-detect's first output. */
export type MotionMessage =
  /** `time` is that of the picture with these boxes. */
  (
    | ({ type: 'motion'; camera: string; time: number } & MotionPhase)
    | { type: 'scene-change'; camera: string; eventId: string; time: number }
  ) & {
    /** With a start: JPEG. */
    still?: Uint8Array;
  };

/** Payload of motion-detect's second output, a few times a second. */
export interface MotionLevels {
  type: 'motion-levels';
  camera: string;
  time: number;
  score: number;
  boxes: Box[];
  zones: string[];
  scene: SceneState;
}

/** What a motion-detect node does for one camera, for its status. */
export interface MotionState extends AnalyserState {
  node: string;
  camera: string;
}

/** Error of the engine that carries a key for status texts and translations. */
export class EngineError extends Error {
  readonly code: string;
  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'EngineError';
    this.code = code;
  }
}
