/**
 * What an event is found by, as words of one full-text index whose row numbers are times: a page of any combination of
 * filters is then an intersection of sorted lists, read from its newest or oldest end. Every word begins with the kind of its
 * event: what only motion has and what only machines tell then never meet in two long lists that have nothing in common. Pure.
 */
import { createHash } from 'node:crypto';
import type { Box } from '../motion/types.ts';
import { EngineError } from '../types.ts';
import { SEVERITIES, type EventKind, type EventRecord, type Severity } from './types.ts';

/** Rows in a millisecond; exact numbers until the year 2248. */
export const ROWS_PER_MS = 1024;
/** The picture in so many cells finds what may touch a region; the boxes themselves decide. */
const COLUMNS = 8;
const ROWS = 6;
const MAX_WORDS = 20;

/** A letter each: they are in catalogues, and stay what they are. */
const KINDS: Record<EventKind, string> = {
  ...{ motion: 'm', 'scene-change': 's', 'onvif-event': 'o', recording: 'r', camera: 'c', gap: 'g', external: 'x' },
};

/** The same few names come again and again. */
const MAX_KNOWN = 5000;
const known = new Map<string, string>();

function hashOf(name: string): string {
  let hash = known.get(name);
  if (hash === undefined) {
    hash = createHash('sha1').update(name).digest('hex').slice(0, 14);
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(name, hash);
  }
  return hash;
}

const ofCamera = (camera: string): string => `c${hashOf(camera)}`;
const ofZone = (zone: string): string => `z${hashOf(zone)}`;
const ofLabel = (label: string): string => `l${hashOf(label)}`;
const ofSeverity = (severity: Severity): string => `s${SEVERITIES.indexOf(severity)}`;
const ofAcknowledged = (is: boolean): string => `a${is ? 1 : 0}`;
const ofText = (word: string): string => `t${word}`;
/** Every event of a kind has it. */
const ANY = 'k';
/** Where more cells are asked for than these, events that have boxes at all are: most touch so much of the picture. */
const MANY_CELLS = 16;
const BOXES = 'b';
const worded = (kind: EventKind, word: string): string => `q${KINDS[kind]}${word}`;

function cellsOf({ x, y, width, height }: Box): number[] {
  const cells: number[] = [];
  const last = (at: number, of: number): number => Math.min(of - 1, Math.max(0, Math.ceil(at * of) - 1));
  for (let row = Math.min(ROWS - 1, Math.floor(y * ROWS)); row <= last(y + height, ROWS); row++) {
    for (let column = Math.min(COLUMNS - 1, Math.floor(x * COLUMNS)); column <= last(x + width, COLUMNS); column++) {
      cells.push(row * COLUMNS + column);
    }
  }
  return cells;
}

const ofCell = (cell: number): string => `g${cell}`;

/** Marks on one letter beyond those of any writing (UAX #15, section 13): to put them in order takes quadratic time. */
const TOO_MANY_MARKS = /(\p{M}{30})\p{M}+/gu;

/** As words are compared: small letters, and Latin ones without their marks. */
function folded(text: string): string {
  if (!/[^\x00-\x7f]/.test(text)) return text.toLowerCase();
  return text
    .replace(TOO_MANY_MARKS, '$1')
    .normalize('NFD')
    .replace(/(\p{Script=Latin})\p{M}+/gu, '$1')
    .normalize('NFC')
    .toLowerCase()
    .replaceAll('ς', 'σ');
}

const WORDS = /[\p{L}\p{N}]+/gu;

/** What a person may look for in an event. */
function textOf(event: EventRecord): string {
  const tags = event.tags.flatMap(({ name, value }) => [name, typeof value === 'boolean' ? '' : `${value}`]);
  const notes = event.notes.map(({ text }) => text);
  return folded([event.label ?? '', event.correlationId ?? '', ...tags, ...notes].join(' '));
}

/** All words of an event. */
export function wordsOf(event: EventRecord): string {
  const words = [
    ...[ANY, ofSeverity(event.severity), ofAcknowledged(event.acknowledged !== null)],
    ...event.cameras.map(ofCamera),
    ...event.zones.map(ofZone),
    ...(event.label === null ? [] : [ofLabel(event.label)]),
    ...(event.boxes.length === 0 ? [] : [BOXES]),
    ...new Set(event.boxes.flatMap(cellsOf).map(ofCell)),
    ...(textOf(event).match(WORDS) ?? []).map(ofText),
  ];
  return words.map((word) => worded(event.kind, word)).join(' ');
}

export interface Facets {
  /** Null for all. */
  cameras: readonly string[] | null;
  zones?: readonly string[];
  labels?: readonly string[];
  severities?: readonly Severity[];
  acknowledged?: boolean;
  /** With a box that touches it. */
  region?: Box;
  /** Words that must all be there; `word*` for those that begin so. */
  text?: string;
}

/** An event has one of these words, or one that begins so. */
export type Group = { words: string[] } | { prefix: string };

/**
 * What an event of a kind must have, one of each group; those first that few kinds have. No answer where no event can.
 * Throws `bad-request`.
 */
export function groupsOf(kind: EventKind, facets: Facets): Group[] | null {
  const groups: Group[] = (facets.text === undefined ? [] : textAsked(facets.text)).map(({ word, begins }) =>
    begins ? { prefix: worded(kind, ofText(word)) } : { words: [worded(kind, ofText(word))] },
  );
  const add = (words: readonly string[] | undefined): void => {
    if (words) groups.push({ words: words.map((word) => worded(kind, word)) });
  };
  add(facets.labels?.map(ofLabel));
  add(facets.zones?.map(ofZone));
  const cells = facets.region && cellsOf(facets.region);
  add(cells && cells.length > MANY_CELLS ? [BOXES] : cells?.map(ofCell));
  if (facets.severities && !isEvery(facets.severities)) add(facets.severities.map(ofSeverity));
  if (facets.acknowledged !== undefined) add([ofAcknowledged(facets.acknowledged)]);
  add(facets.cameras?.map(ofCamera));
  return groups.some((group) => 'words' in group && group.words.length === 0) ? null : groups;
}

const isEvery = (severities: readonly Severity[]): boolean => SEVERITIES.every((one) => severities.includes(one));

/** The full-text query for events of a kind that have one of each group; every one of the kind, where there is none. */
export function matchOf(kind: EventKind, groups: readonly Group[]): string {
  if (groups.length === 0) return worded(kind, ANY);
  const any = (words: readonly string[]): string => `(${words.map((word) => `"${word}"`).join(' OR ')})`;
  return `(${groups.map((group) => ('words' in group ? any(group.words) : `"${group.prefix}" *`)).join(' AND ')})`;
}

/** Whether an event is one of those that are asked for. Throws `bad-request`. */
export function asks(facets: Facets): (event: EventRecord) => boolean {
  const { cameras, zones, labels, severities, acknowledged, region, text } = facets;
  const asked = text === undefined ? [] : textAsked(text);
  return (event) => {
    if (cameras && !event.cameras.some((camera) => cameras.includes(camera))) return false;
    if (zones && !event.zones.some((zone) => zones.includes(zone))) return false;
    if (labels && (event.label === null || !labels.includes(event.label))) return false;
    if (severities && !severities.includes(event.severity)) return false;
    if (acknowledged !== undefined && (event.acknowledged !== null) !== acknowledged) return false;
    if (region && !event.boxes.some((box) => touches(box, region))) return false;
    if (asked.length === 0) return true;
    const has = textOf(event);
    if (!asked.every(({ word }) => has.includes(word))) return false;
    const words: string[] = has.match(WORDS) ?? [];
    return asked.every(({ word, begins }) =>
      begins ? words.some((one) => one.startsWith(word)) : words.includes(word),
    );
  };
}

function textAsked(text: string): { word: string; begins: boolean }[] {
  const words = folded(text).match(/[\p{L}\p{N}]+\*?/gu) ?? [];
  if (words.length === 0 || words.length > MAX_WORDS) {
    throw new EngineError('bad-request', `text must have 1 to ${MAX_WORDS} words to look for`);
  }
  return words.map((word) => ({ word: word.replace('*', ''), begins: word.endsWith('*') }));
}

function touches(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && a.x + a.width > b.x && a.y < b.y + b.height && a.y + a.height > b.y;
}

/**
 * The full-text query for events whose words are those of an older catalogue: without their kind, text as it was told. It
 * finds more where a text begins like words of facets did. No answer where no event can.
 */
export function oldMatchOf(kinds: readonly EventKind[], facets: Facets): string | null {
  const facet = (letter: string, name: string): string => `q${letter}0${hashOf(name)}`;
  const any = [
    kinds.map((kind) => facet('k', kind)),
    facets.cameras?.map((camera) => facet('c', camera)),
    facets.zones?.map((zone) => facet('z', zone)),
    facets.labels?.map((label) => facet('l', label)),
    facets.severities?.map((severity) => `qs0${SEVERITIES.indexOf(severity)}`),
    facets.acknowledged === undefined ? undefined : [`qa0${facets.acknowledged ? 1 : 0}`],
    facets.region && cellsOf(facets.region).map((cell) => `qg0${cell}`),
    ...(
      facets.text
        ?.replace(TOO_MANY_MARKS, '$1')
        .normalize('NFC')
        .match(/[\p{L}\p{N}]+\*?/gu) ?? []
    ).map((word) => [word.endsWith('*') ? `"${word.slice(0, -1)}" *` : `"${word}"`]),
  ].filter((words) => words !== undefined);
  if (any.some((words) => words.length === 0)) return null;
  return `(${any.map((words) => `(${words.join(' OR ')})`).join(' AND ')})`;
}
