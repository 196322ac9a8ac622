/**
 * What an event is found by, as words of one full-text index whose row numbers are times: a page of any combination of
 * filters is then an intersection of sorted lists, read from its newest or oldest end. Pure.
 */
import { createHash } from 'node:crypto';
import type { Box } from '../motion/types.ts';
import { EngineError } from '../types.ts';
import { SEVERITIES, type EventRecord, type Severity } from './types.ts';

/** Rows in a millisecond; exact numbers until the year 2248. */
export const ROWS_PER_MS = 1024;
/** The picture in so many cells finds what may touch a region; the boxes themselves decide. */
const COLUMNS = 8;
const ROWS = 6;
const MAX_WORDS = 20;

/** The same few names come again and again. */
const MAX_KNOWN = 5000;
const known = new Map<string, string>();

/** What a person looks for is not found among the words of facets: they begin with `q`, a letter and a digit. */
function facet(kind: string, name: string): string {
  const key = kind + name;
  let word = known.get(key);
  if (word === undefined) {
    word = `q${kind}0${createHash('sha1').update(name).digest('hex').slice(0, 14)}`;
    if (known.size >= MAX_KNOWN) known.clear();
    known.set(key, word);
  }
  return word;
}

const ofKind = (kind: string): string => facet('k', kind);
const ofCamera = (camera: string): string => facet('c', camera);
const ofZone = (zone: string): string => facet('z', zone);
const ofLabel = (label: string): string => facet('l', label);
const ofSeverity = (severity: Severity): string => `qs0${SEVERITIES.indexOf(severity)}`;
const ofAcknowledged = (is: boolean): string => `qa0${is ? 1 : 0}`;

function cellsOf({ x, y, width, height }: Box): string[] {
  const cells: string[] = [];
  const last = (at: number, of: number): number => Math.min(of - 1, Math.max(0, Math.ceil(at * of) - 1));
  for (let row = Math.min(ROWS - 1, Math.floor(y * ROWS)); row <= last(y + height, ROWS); row++) {
    for (let column = Math.min(COLUMNS - 1, Math.floor(x * COLUMNS)); column <= last(x + width, COLUMNS); column++) {
      cells.push(`qg0${row * COLUMNS + column}`);
    }
  }
  return cells;
}

/** All words of an event. */
export function wordsOf(event: EventRecord): string {
  const tags = event.tags.flatMap(({ name, value }) => [name, typeof value === 'boolean' ? '' : `${value}`]);
  return [
    ...[ofKind(event.kind), ofSeverity(event.severity), ofAcknowledged(event.acknowledged !== null)],
    ...event.cameras.map(ofCamera),
    ...event.zones.map(ofZone),
    ...(event.label === null ? [] : [ofLabel(event.label), event.label]),
    ...new Set(event.boxes.flatMap(cellsOf)),
    ...(event.correlationId === null ? [] : [event.correlationId]),
    ...tags,
    ...event.notes.map(({ text }) => text),
  ]
    .join(' ')
    .normalize('NFC');
}

export interface Facets {
  cameras: readonly string[] | null;
  /** Null for all. */
  kinds: readonly string[] | null;
  zones?: readonly string[];
  labels?: readonly string[];
  severities?: readonly Severity[];
  acknowledged?: boolean;
  region?: Box;
  /** Words that must all be there; `word*` for those that begin so. */
  text?: string;
}

/** The full-text query for these, null where every event will do; no answer where no event can. Throws `bad-request`. */
export function matchOf(facets: Facets): { match: string | null } | null {
  const any: string[][] = [];
  const add = (words: readonly string[] | undefined | null): void => {
    if (words) any.push([...words]);
  };
  add(facets.cameras?.map(ofCamera));
  add(facets.kinds?.map(ofKind));
  add(facets.zones?.map(ofZone));
  add(facets.labels?.map(ofLabel));
  if (facets.severities && !SEVERITIES.every((one) => facets.severities!.includes(one))) {
    add(facets.severities.map(ofSeverity));
  }
  if (facets.acknowledged !== undefined) add([ofAcknowledged(facets.acknowledged)]);
  // No box has all of the picture for a region that is nearly all of it: it is asked for boxes at all.
  if (facets.region) add(cellsOf(facets.region));
  if (any.some((words) => words.length === 0)) return null;
  const groups = any.map((words) => (words.length === 1 ? words[0]! : `(${words.join(' OR ')})`));
  groups.push(...textQuery(facets.text));
  return { match: groups.length === 0 ? null : groups.join(' AND ') };
}

function textQuery(text: string | undefined): string[] {
  if (text === undefined) return [];
  const words = text.normalize('NFC').match(/[\p{L}\p{N}]+\*?/gu) ?? [];
  if (words.length === 0 || words.length > MAX_WORDS) {
    throw new EngineError('bad-request', `text must have 1 to ${MAX_WORDS} words to look for`);
  }
  return words.map((word) => (word.endsWith('*') ? `"${word.slice(0, -1)}" *` : `"${word}"`));
}

export function touches(a: Box, b: Box): boolean {
  return a.x < b.x + b.width && a.x + a.width > b.x && a.y < b.y + b.height && a.y + a.height > b.y;
}
