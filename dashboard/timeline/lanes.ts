/** What `api/timeline` tells of a camera, in columns of equal time. Pure. */

export type Span = [start: number, end: number];
/** With why it is missing or was deleted. */
export type CauseSpan = [start: number, end: number, cause: string];

/** A value of the process over time. */
export interface TagCurve {
  name: string;
  unit: string | null;
  /** What was least, most and last in a part; it holds until the next. */
  points: [time: number, min: number, max: number, last: number][];
}

export interface Lane {
  camera: string;
  recorded: Span[];
  gaps: CauseSpan[];
  deleted: CauseSpan[];
  /** 0 to 255 a column: how much moved. */
  motion: Uint8Array;
  /** How many of a kind begin in a column; 255 is that or more. */
  events: ReadonlyMap<string, Uint8Array>;
  tags: TagCurve[];
}

/** As it comes; what an older server does not tell is missing. */
export interface LaneJson {
  camera: string;
  recorded: Span[];
  gaps: CauseSpan[];
  deleted?: CauseSpan[];
  motion: string;
  events?: Record<string, string>;
}

export interface TagJson extends TagCurve {
  source: string;
}

/** Lanes of process values are told from those of cameras by what no camera's id has. */
const TAG = 'tag:';

export function isTag(lane: string): boolean {
  return lane.startsWith(TAG);
}

export function tagOf(lane: string): string {
  return lane.slice(TAG.length);
}

export function laneOfTag(name: string): string {
  return TAG + name;
}

/** A process value as a lane of its own. */
export function tagLane({ source, name, unit, points }: TagJson, columns: number): Lane {
  const nothing = { recorded: [], gaps: [], deleted: [], motion: new Uint8Array(columns), events: new Map() };
  return { ...nothing, camera: laneOfTag(`${source}:${name}`), tags: [{ name, unit, points }] };
}

export function laneOf(json: LaneJson, columns: number): Lane {
  const { camera, recorded, gaps, deleted = [] } = json;
  const counts = Object.entries(json.events ?? {}).map(([kind, text]) => [kind, bytesOf(text, columns)] as const);
  return { camera, recorded, gaps, deleted, tags: [], motion: bytesOf(json.motion, columns), events: new Map(counts) };
}

function bytesOf(base64: string, columns: number): Uint8Array {
  const bytes = new Uint8Array(columns);
  const text = atob(base64);
  for (let i = 0; i < Math.min(columns, text.length); i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/**
 * A lane with a later part of it put in place of what was known: how a timeline grows without asking for it all again.
 * @param from where the newer part begins, epoch ms; it reaches to the end of what is known
 * @param column the first column that the newer part has
 */
export function spliced(lane: Lane, newer: Lane, from: number, column: number): Lane {
  const kinds = new Set([...lane.events.keys(), ...newer.events.keys()]);
  const columns = (old: Uint8Array | undefined, part: Uint8Array | undefined): Uint8Array => {
    const all = new Uint8Array(lane.motion.length);
    if (old) all.set(old.subarray(0, column));
    if (part) all.set(part.subarray(0, all.length - column), column);
    return all;
  };
  return {
    camera: lane.camera,
    recorded: joined(lane.recorded, newer.recorded, from),
    gaps: joined(lane.gaps, newer.gaps, from),
    deleted: joined(lane.deleted, newer.deleted, from),
    motion: columns(lane.motion, newer.motion),
    events: new Map([...kinds].map((kind) => [kind, columns(lane.events.get(kind), newer.events.get(kind))])),
    tags: newer.tags.map((curve) => {
      const known = lane.tags.find(({ name }) => name === curve.name)?.points.filter(([time]) => time < from) ?? [];
      return {
        ...curve,
        points: [...known, ...curve.points.filter(([time], i) => time >= from || (i === 0 && known.length === 0))],
      };
    }),
  };
}

/** A span that was cut where the newer part begins goes on in it. */
function joined<S extends Span | CauseSpan>(old: readonly S[], newer: readonly S[], from: number): S[] {
  const kept = old.filter(([start]) => start < from).map((span) => [...span] as S);
  const last = kept.at(-1);
  if (last) last[1] = Math.min(last[1], from);
  const [first, ...rest] = newer;
  if (!first) return kept;
  if (last?.[1] === first[0] && first[0] === from && last[2] === first[2]) {
    last[1] = first[1];
    return [...kept, ...rest];
  }
  return [...kept, ...newer];
}

/** What there is at a moment, for the pointer. */
export type Found =
  | { what: 'recorded' | 'nothing'; start: number; end: number }
  | { what: 'gap' | 'deleted'; cause: string; start: number; end: number };

export function at(lane: Lane, time: number, end: number): Found {
  const over = <S extends Span | CauseSpan>(spans: readonly S[]): S | undefined =>
    spans.find(([from, to]) => from <= time && time < Math.max(to, from + end));
  const recorded = lane.recorded.find(([from, to]) => from <= time && time < to);
  if (recorded) return { what: 'recorded', start: recorded[0], end: recorded[1] };
  const gap = over(lane.gaps);
  const deleted = over(lane.deleted);
  if (deleted) return { what: 'deleted', cause: deleted[2], start: deleted[0], end: deleted[1] };
  if (gap) return { what: 'gap', cause: gap[2], start: gap[0], end: gap[1] };
  return { what: 'nothing', start: time, end: time };
}
