/** retention's properties as the engine wants them, and its input messages read. */
import { isAbsolute, resolve } from 'node:path';
import type { NewHold } from '../../engine/retention/retention.ts';
import {
  KINDS,
  type BackupSpec,
  type BucketAccess,
  type Hold,
  type Kind,
  type Only,
  type Quota,
  type RetentionSpec,
  type Rule,
  type RuleSet,
  type Tier,
} from '../../engine/retention/types.ts';
import { EngineError } from '../../engine/types.ts';
import type { CheckOptions } from '../../engine/upkeep/types.ts';
import { cameraOf, rangeOf, type Payload } from '../shared/message.ts';

export interface RetentionProperties {
  /** See {@link toRule}. */
  rules: unknown;
  /** `[{path, quota}]`. */
  storages: unknown;
  total: string;
  minFree: string;
  veto: string;
  stills?: boolean;
  /** `HH:MM`; no nightly backup when empty. */
  backupAt?: string;
  backupFolder?: string;
  backupKeep?: string | number;
  /** `[{to, after, least}]`, from warm to cold. Absent in flows from before there were tiers, as what follows. */
  tiers?: unknown;
  /** Name of the bucket behind the last folder; empty for none. */
  bucket?: string;
  bucketPrefix?: string;
  bucketEndpoint?: string;
  bucketRegion?: string;
  bucketPathStyle?: boolean;
  bucketAfter?: string;
  bucketLeast?: string;
  bucketKeep?: string;
}

export interface RetentionCredentials {
  accessKey?: string;
  secretKey?: string;
}

const MAX_RULES = 100;
const MAX_TIERS = 10;
const SIZES: Record<string, number> = { '': 1e9, M: 1e6, G: 1e9, T: 1e12 };
const AGES: Record<string, number> = { '': 86_400_000, d: 86_400_000, h: 3_600_000, min: 60_000, s: 1000 };

const bad = (what: string): EngineError => new EngineError('bad-rule', what);

/** What a field of the dialog holds. */
const plain = (value: unknown): string =>
  typeof value === 'string' ? value.trim() : typeof value === 'number' ? `${value}` : '';

/** `200 GB`, `1.5 TB`, `500 MB` or `80 %`; a bare number is GB; nothing when empty. Throws `bad-rule`. */
export function parseSize(value: unknown, name: string): Quota | null {
  const text = plain(value);
  if (text === '') return null;
  const percent = /^(\d+(?:[.,]\d+)?)\s*%$/.exec(text);
  const size = /^(\d+(?:[.,]\d+)?)\s*(?:([MGT]?)B)?$/i.exec(text);
  const number = Number((percent ?? size)?.[1]?.replace(',', '.'));
  if (percent && number > 0 && number <= 100) return { percent: number };
  if (size && number > 0) return { bytes: Math.round(number * SIZES[(size[2] ?? '').toUpperCase()]!) };
  throw bad(`${name}: write a size such as 200 GB or 80 %, not '${text.slice(0, 40)}'`);
}

/** `7 d`, `12 h`, `30 min` or `10 s`; a bare number is days; nothing when empty. In ms. Throws `bad-rule`. */
export function parseAge(value: unknown, name: string): number | null {
  const text = plain(value);
  if (text === '') return null;
  const match = /^(\d+(?:[.,]\d+)?)\s*(d|h|min|s)?$/i.exec(text);
  if (match) return Math.round(Number(match[1]!.replace(',', '.')) * AGES[(match[2] ?? '').toLowerCase()]!);
  throw bad(`${name}: write a time such as 7 d or 12 h, not '${text.slice(0, 40)}'`);
}

/** Ids between commas; nothing, or `*`, for all. Throws `bad-rule`. */
function camerasOf(value: unknown, name: string): string[] | '*' {
  const ids = plain(value)
    .split(/[\s,;]+/)
    .filter((id) => id !== '');
  if (ids.length === 0 || ids.includes('*')) return '*';
  for (const id of ids) {
    try {
      cameraOf(id);
    } catch {
      throw bad(`${name}: '${id.slice(0, 40)}' is no id of a camera`);
    }
  }
  return ids;
}

/** Words between commas. */
function wordsOf(value: unknown): string[] | null {
  const words = plain(value)
    .split(/[,;]/)
    .map((word) => word.trim())
    .filter((word) => word !== '');
  return words.length > 0 ? words : null;
}

/** The events that a line is about; null when it is about all footage. */
function onlyOf(line: Record<string, unknown>): Only | null {
  const [labels, zones, triggers] = ['labels', 'zones', 'triggers'].map((field) => wordsOf(line[field]));
  if (!labels && !zones && !triggers) return null;
  return { ...(labels ? { labels } : {}), ...(zones ? { zones } : {}), ...(triggers ? { triggers } : {}) };
}

/**
 * A line of the table: `{cameras, continuous, motion, event, quota, thinAfter, thinKeep, labels, zones, triggers}`, all of
 * them texts.
 */
function toRule(value: unknown, place: number): Rule {
  const line = (value ?? {}) as Record<string, unknown>;
  const name = `rule ${place + 1}`;
  const all = parseAge(line['continuous'], name);
  const motionMs = parseAge(line['motion'], name);
  const eventMs = parseAge(line['event'], name);
  const quota = parseSize(line['quota'], name);
  const afterMs = parseAge(line['thinAfter'], name);
  const only = onlyOf(line);
  if (only) {
    if (eventMs === null || all !== null || motionMs !== null || quota || afterMs !== null) {
      throw bad(`${name}: with labels, zones or triggers it says how long such events are kept, and nothing else`);
    }
    return { id: name, cameras: camerasOf(line['cameras'], name), keep: { eventMs }, only };
  }
  // What is thinned out is kept until then.
  const continuousMs = all ?? (motionMs === null && eventMs === null ? null : afterMs);
  if (continuousMs === null && (motionMs !== null || eventMs !== null)) {
    throw bad(`${name}: say how long footage with nothing in it is kept, too; what shows more is never kept shorter`);
  }
  const keep = line['thinKeep'] === 'events' ? 'events' : 'motion';
  return {
    id: name,
    cameras: camerasOf(line['cameras'], name),
    keep: {
      ...(continuousMs === null ? {} : { continuousMs }),
      ...(motionMs === null ? {} : { motionMs }),
      ...(eventMs === null ? {} : { eventMs }),
    },
    ...(quota?.bytes === undefined ? {} : { quotaBytes: quota.bytes }),
    ...(quota?.percent === undefined ? {} : { quotaPercent: quota.percent }),
    ...(afterMs === null ? {} : { thin: { afterMs, keep } }),
  };
}

function leastOf(value: unknown): Kind {
  return KINDS.find((kind) => kind === value) ?? 'continuous';
}

/** `s3://<bucket>/<prefix>`, or null where there is none. Throws `bad-rule`. */
function bucketOf(properties: RetentionProperties): { to: string; bucket: string; prefix: string } | null {
  const bucket = plain(properties.bucket);
  if (bucket === '') return null;
  // AWS, "Bucket naming rules"; other servers take no more.
  if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(bucket)) throw bad(`'${bucket.slice(0, 40)}' is no name of a bucket`);
  const prefix = plain(properties.bucketPrefix).replace(/^\/+|(?<!\/)\/+$/g, '');
  if (!/^[\w!.*'()/-]{0,200}$/.test(prefix)) throw bad('the prefix may have letters, digits, / . _ and -');
  return { to: `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`, bucket, prefix };
}

/** From warm to cold. Throws `bad-rule`. @param storages where cameras are recorded to */
function tiersOf(properties: RetentionProperties, storages: readonly string[]): Tier[] {
  const lines = Array.isArray(properties.tiers) ? properties.tiers : [];
  if (lines.length > MAX_TIERS) throw bad(`there may be ${MAX_TIERS} tiers`);
  const folders = lines.map((value: unknown, place): Tier => {
    const line = (value ?? {}) as Record<string, unknown>;
    const name = `tier ${place + 1}`;
    const folder = plain(line['to']);
    if (!isAbsolute(folder)) throw bad(`${name}: write the absolute path of a folder, not '${folder.slice(0, 40)}'`);
    const to = resolve(folder);
    if (storages.includes(to)) throw bad(`${name}: cameras are recorded to ${to} already: take another folder`);
    const afterMs = parseAge(line['after'], name);
    if (afterMs === null) throw bad(`${name}: say after which time footage moves there, for example 2 d`);
    return { to, afterMs, least: leastOf(line['least']) };
  });
  const bucket = bucketOf(properties);
  const afterMs = parseAge(properties.bucketAfter, 'bucket');
  if (bucket && afterMs === null) throw bad('bucket: say after which time footage is sent there, for example 30 d');
  const keepMs = parseAge(properties.bucketKeep, 'bucket');
  const tiers: Tier[] = bucket
    ? [
        ...folders,
        {
          ...{ to: bucket.to, afterMs: afterMs!, least: leastOf(properties.bucketLeast) },
          ...(keepMs === null ? {} : { keepMs }),
        },
      ]
    : folders;
  if (new Set(tiers.map(({ to }) => to)).size < tiers.length) throw bad('a folder is a tier twice');
  return tiers;
}

function accessOf(properties: RetentionProperties, credentials: RetentionCredentials): Record<string, BucketAccess> {
  const named = bucketOf(properties);
  if (!named) return {};
  const { to, bucket, prefix } = named;
  const [accessKey, secretKey] = [plain(credentials.accessKey), plain(credentials.secretKey)];
  if (accessKey === '' || secretKey === '') throw bad('bucket: enter its access key and its secret key');
  const endpoint = plain(properties.bucketEndpoint);
  if (endpoint !== '' && !/^https?:\/\/[^/\s@]+\/?$/.test(endpoint)) {
    throw bad('bucket: write its server as https://s3.example.com, or nothing for Amazon');
  }
  const region = plain(properties.bucketRegion);
  const pathStyle = properties.bucketPathStyle !== false;
  return { [to]: { endpoint, region, bucket, prefix, pathStyle, accessKey, secretKey } };
}

/** Throws `bad-rule`. @param folders where cameras are recorded to */
export function toRuleSet(properties: RetentionProperties, folders: readonly string[]): RuleSet {
  const { rules, storages, total, minFree } = properties;
  if (!Array.isArray(rules) || rules.length > MAX_RULES) throw bad(`the rules must be a list of at most ${MAX_RULES}`);
  const quotas = (Array.isArray(storages) ? storages : []).flatMap((line: unknown) => {
    const { path, quota } = (line ?? {}) as { path?: unknown; quota?: unknown };
    const parsed = parseSize(quota, 'storage folder');
    return parsed && typeof path === 'string' && path.trim() !== '' ? [[path.trim(), parsed] as const] : [];
  });
  const all = parseSize(total, 'total');
  const free = parseSize(minFree, 'free space');
  return {
    rules: rules.map(toRule),
    storages: Object.fromEntries(quotas),
    tiers: tiersOf(properties, folders),
    ...(all ? { total: all } : {}),
    ...(free ? { minFree: free } : {}),
  };
}

const MAX_BACKUPS = 1000;

/** @param files of the configuration. Throws `bad-rule`. */
function toBackup({ backupAt, backupFolder, backupKeep }: RetentionProperties, files: BackupSpec['files']): BackupSpec {
  const at = plain(backupAt);
  if (at !== '' && !/^([01]?\d|2[0-3]):[0-5]\d$/.test(at)) {
    throw bad(`backup: write a time of day such as 03:00, not '${at.slice(0, 40)}'`);
  }
  const folder = plain(backupFolder);
  if (folder !== '' && !isAbsolute(folder)) throw bad(`backup: ${folder.slice(0, 200)} is not an absolute path`);
  const keep = plain(backupKeep) === '' ? 7 : Number(plain(backupKeep));
  if (!Number.isInteger(keep) || keep < 1 || keep > MAX_BACKUPS) {
    throw bad(`backup: keep 1 to ${MAX_BACKUPS} backups, not '${plain(backupKeep).slice(0, 40)}'`);
  }
  return { at: at === '' ? null : at, folder, keep, files };
}

/** What a retention node has that is not in its dialog. */
export interface RetentionSurroundings {
  /** Where cameras are recorded to. */
  folders: readonly string[];
  credentials?: RetentionCredentials;
  /** Of the configuration, for backups. */
  files?: BackupSpec['files'];
}

/** Throws `bad-rule`. */
export function toRetentionSpec(
  node: string,
  properties: RetentionProperties,
  { folders, credentials = {}, files = [] }: RetentionSurroundings,
): RetentionSpec {
  return {
    ...{ node, rules: toRuleSet(properties, folders), vetoMs: parseAge(properties.veto, 'veto time') ?? 0 },
    ...{ buckets: accessOf(properties, credentials), stills: properties.stills === true },
    backup: toBackup(properties, files),
  };
}

/** Reading for a check leaves the disk to the recorders. */
const BYTES_PER_SECOND = 20e6;
const MAX_BYTES_PER_SECOND = 1e9;

/** `{camera?, start?, end?, verify?, repair?, rate?}`; `rate` in MB/s. Throws `bad-message`. */
export function readCheck(payload: Payload): CheckOptions {
  const { start, end, rate = BYTES_PER_SECOND / 1e6, verify, repair } = payload;
  if (typeof rate !== 'number' || !(rate > 0) || rate * 1e6 > MAX_BYTES_PER_SECOND) {
    throw new EngineError('bad-message', 'rate must be MB/s to read for verify, up to 1000');
  }
  return {
    camera: cameraOf(payload['camera']),
    range: start === undefined && end === undefined ? null : rangeOf(payload),
    ...{ verify: verify === true, repair: repair === true, bytesPerSecond: rate * 1e6 },
  };
}

/** Throws `bad-message`. */
export function readCopy(payload: Payload): { id: string; folder: string } {
  const [id, folder] = [textAt(payload, 'id'), textAt(payload, 'folder')];
  if (id === '') throw new EngineError('bad-message', 'copy needs the id of an announcement');
  if (!isAbsolute(folder)) throw new EngineError('bad-message', 'copy needs the absolute path of a folder: folder');
  return { id, folder };
}

const textAt = (payload: Payload, key: string, fallback = ''): string => {
  const value = payload[key];
  return typeof value === 'string' ? value.slice(0, 500) : fallback;
};

function untilOf(payload: Payload): number | null {
  const { until } = payload;
  if (until === undefined || until === null) return null;
  if (typeof until === 'number' && Number.isSafeInteger(until) && until > 0) return until;
  throw new EngineError('bad-message', 'until must be a time in epoch milliseconds');
}

/** Who, why and for how long. Throws `bad-message`. */
export function readReason(payload: Payload): Pick<Hold, 'name' | 'until' | 'who' | 'why'> {
  const reason = { who: textAt(payload, 'who'), why: textAt(payload, 'why') };
  return { name: textAt(payload, 'name', 'veto'), until: untilOf(payload), ...reason };
}

/** Throws `bad-message`. */
export function readHold(payload: Payload): NewHold {
  if (textAt(payload, 'name') === '') throw new EngineError('bad-message', 'name the case that the hold is for: name');
  return { ...readReason(payload), camera: cameraOf(payload['camera']), ...rangeOf(payload) };
}
