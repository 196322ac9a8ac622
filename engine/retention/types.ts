/** The words of retention: what footage is, what keeps it, and why it goes. All times are epoch ms, all sizes bytes. */
import type { BackupReport, CheckProgress, CheckReport, CopyReport } from '../upkeep/types.ts';

/** What a file shows, from what may go first to what must stay longest. Their places are `segment.kind` in the catalogue. */
export const KINDS = ['continuous', 'motion', 'event'] as const;
export type Kind = (typeof KINDS)[number];

/**
 * How long a kind is kept after it was filmed. A kind without a time is kept as long as the one before it in
 * {@link KINDS}, and never shorter; `continuous` without a time is kept for as long as there is room.
 */
export interface KeepTimes {
  continuousMs?: number;
  motionMs?: number;
  eventMs?: number;
}

export interface Rule {
  /** Names the rule in forecasts. */
  id: string;
  cameras: readonly string[] | '*';
  keep: KeepTimes;
  /**
   * Of such events only. Then the rule says nothing but how long their footage is kept at least (`keep.eventMs`): it
   * never makes anything go earlier.
   */
  only?: Only;
  /** Of all its cameras together. */
  quotaBytes?: number;
  /**
   * As `quotaBytes`, of the size of all disks together; not while one of them is not there. The smaller of both counts.
   */
  quotaPercent?: number;
  /** Earlier than its time everything goes but footage of this kind and above. */
  thin?: { afterMs: number; keep: 'motion' | 'events' };
}

/** Events that have one of each list that there is. */
export interface Only {
  labels?: readonly string[];
  zones?: readonly string[];
  /** What kind of event it is (`motion`, `onvif-event`, …), or what made a recording start (`manual`, `panic`, …). */
  triggers?: readonly string[];
}

export interface Quota {
  bytes?: number;
  /** Of the disk; of all disks for the total, while all are there. */
  percent?: number;
}

/** A place that footage moves to when it is old enough. */
export interface Tier {
  /** Absolute folder, or `s3://<bucket>/<prefix>` of {@link BucketAccess}. */
  to: string;
  afterMs: number;
  /** What shows less stays where it is. */
  least: Kind;
  /** Of a bucket: what is there stays here as well until it is so old. */
  keepMs?: number;
}

/** How a bucket is reached. With secrets: never in a message, a log or a status. */
export interface BucketAccess {
  /** Empty for Amazon's own. */
  endpoint: string;
  region: string;
  bucket: string;
  /** In front of the names of all objects; without a slash at either end, or empty. */
  prefix: string;
  /** `http://host/bucket/…` instead of `http://bucket.host/…`, as most servers but Amazon's want it. */
  pathStyle: boolean;
  accessKey: string;
  secretKey: string;
}

/**
 * Footage is kept as long as any rule keeps it; a camera that no rule names is kept until there is no room. Quotas and
 * free space go before times: what is oldest goes first.
 */
export interface RuleSet {
  rules: readonly Rule[];
  total?: Quota;
  /** By storage folder. */
  storages?: Readonly<Record<string, Quota>>;
  /** Free space that each disk should have. */
  minFree?: Quota;
  /** From warm to cold. A folder with a tier below it makes room by moving, see tiers.ts. */
  tiers?: readonly Tier[];
}

/** Footage that nothing may delete, whatever the rules say: that which touches the time from `start` to `end`. */
export interface Hold {
  id: string;
  /** What it belongs to. */
  name: string;
  /** Null for all cameras. */
  camera: string | null;
  start: number;
  end: number;
  /** When it ends by itself; null for never. */
  until: number | null;
  who: string;
  why: string;
  created: number;
}

/** Why a file was deleted. The names are part of the message contract and are translated in the editor. */
export const REASONS = ['age', 'thin', 'quota', 'storage-quota', 'total-quota', 'min-free', 'emergency'] as const;
export type DeletionReason = (typeof REASONS)[number];

/** A complete file. */
export interface Segment {
  id: number;
  camera: string;
  storage: string;
  start: number;
  end: number;
  bytes: number;
  kind: Kind;
  /** The bucket with a second copy of it. */
  copy?: string | null;
}

export interface Planned extends Segment {
  reason: DeletionReason;
}

/** A storage folder's disk. */
export interface Space {
  storage: string;
  /** Folders with the same are on one disk. */
  disk: string;
  /** Null while it cannot be asked: nothing there is deleted for room. */
  freeBytes: number | null;
  totalBytes: number | null;
  /** What is written to this folder. */
  bytesPerSecond: number;
}

export interface Plan {
  /** What goes now, in this order. */
  items: Planned[];
  /** False when more must go than a plan may hold. */
  complete: boolean;
  /** A disk is about to be full and nothing on it may be deleted. */
  blocked: boolean;
  /** Limits that cannot be met, for what is left is held, and by how many bytes. */
  unmet: { reason: DeletionReason; of: string; bytes: number }[];
}

export interface RuleForecast {
  rule: string;
  usedBytes: number;
  quotaBytes: number | null;
  bytesPerSecond: number;
  /** What the rule's times and quota would delete now. */
  deleteBytes: number;
  deleteFiles: number;
  /** Until the quota, or without one the disks, are full; null when nothing is written. */
  daysLeft: number | null;
}

/** What one retention node asks for. */
export interface RetentionSpec {
  node: string;
  rules: RuleSet;
  /** So long before footage goes it is announced; 0 deletes at once. Emergencies do not wait. */
  vetoMs: number;
  /** For the tiers that are buckets, by `to`. */
  buckets?: Readonly<Record<string, BucketAccess>>;
  /** Announce with pictures. */
  stills?: boolean;
  backup?: BackupSpec | null;
}

export interface BackupSpec {
  /** `HH:MM` by the wall clock; null for none but on command. */
  at: string | null;
  /** Beside the catalogue when empty. */
  folder: string;
  keep: number;
  /** Files of the configuration, by the name they get. Never any with secrets. */
  files: { name: string; file: string }[];
}

/** A picture of what is announced. */
export interface Still {
  camera: string;
  time: number;
  /** JPEG. */
  image: Uint8Array;
}

/** Files of one camera that go, or went, for one reason. */
export interface Share<R = DeletionReason> {
  camera: string;
  reason: R;
  /** From the oldest to the newest; not all between goes. */
  start: number;
  end: number;
  files: number;
  bytes: number;
}

export interface DeletedMessage {
  type: 'deleted';
  time: number;
  files: number;
  bytes: number;
  shares: Share[];
}

/** Files lie in another folder or bucket now. */
export interface MovedMessage {
  type: 'moved';
  time: number;
  from: string;
  to: string;
  /** They are still there, too. */
  copied: boolean;
  files: number;
  bytes: number;
  shares: Share<'age' | 'room'>[];
}

export interface TierState {
  to: string;
  /** `starting` until it was looked at; `away` while it is not there, full, or does not answer. */
  state: 'starting' | 'ok' | 'away';
  /** Why, and what to do. */
  problem: string | null;
  /** That wait to move there; {@link MAX_MOVES} of them at most are counted. */
  waitingFiles: number;
  /** Since the thread began. */
  movedFiles: number;
  movedBytes: number;
  /** Of the last file. */
  bytesPerSecond: number | null;
  /** Files that are to be removed there. */
  leftovers: number;
}

export interface AboutToDeleteMessage {
  type: 'about-to-delete';
  /** For a veto. */
  id: string;
  time: number;
  /** When it goes. */
  due: number;
  files: number;
  bytes: number;
  shares: Share[];
  /** Where they were asked for. */
  stills?: Still[];
}

export type CheckMessage = { type: 'check'; time: number } & (
  ({ phase: 'progress' } & CheckProgress) | ({ phase: 'end'; seconds: number } & CheckReport)
);

export type BackupMessage = { type: 'backup'; time: number } & (
  | { phase: 'progress'; done: number }
  /** `folder` is the backup, or where it was to go when there is an error. */
  | ({ phase: 'end'; error: string | null } & BackupReport)
);

/** Of what was announced under this id. */
export type CopyMessage = { type: 'copy'; time: number; id: string; folder: string } & (
  { phase: 'progress'; done: number } | ({ phase: 'end'; error: string | null } & CopyReport)
);

export interface HoldMessage {
  type: 'hold';
  phase: 'start' | 'end';
  hold: Hold;
}

export interface RetentionStateMessage {
  type: 'storage';
  time: number;
  storages: (Space & { usedBytes: number })[];
  tiers: TierState[];
  rules: RuleForecast[];
  /** Less than an hour of room. */
  emergency: boolean;
  /** A disk is about to be full and nothing may be deleted. */
  blocked: boolean;
  unmet: Plan['unmet'];
  /** Announced and not gone yet. */
  pendingFiles: number;
  holds: number;
  /** The longest that a transaction kept others from writing the catalogue since the last of these messages. */
  lockMs: number;
  /** The longest that a plan took since then. */
  planMs: number;
  /** What keeps files from being deleted; says what to do. */
  problem: string | null;
}

export type RetentionMessage =
  | DeletedMessage
  | MovedMessage
  | AboutToDeleteMessage
  | HoldMessage
  | RetentionStateMessage
  | CheckMessage
  | BackupMessage
  | CopyMessage;

/** What a run did. */
export interface RunResult {
  files: number;
  bytes: number;
  shares: Share[];
  blocked: boolean;
}

/** What rules would do, for who edits them. */
export interface Preview {
  rules: RuleForecast[];
  /** What the first plan would delete, {@link RuleForecast.deleteFiles} says how many there are. */
  shares: Share[];
  complete: boolean;
  /** What would move, {@link MAX_MOVES} files to each tier at most. */
  moves: { to: string; files: number; bytes: number }[];
}

/** What is written, by camera and storage folder. */
export interface WriteRate {
  camera: string;
  storage: string;
  bytesPerSecond: number;
}
