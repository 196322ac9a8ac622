/** Which alerts are on show: as parameters for the server, and for what comes live. Pure. */
import { EVENT_KINDS, SEVERITIES, type EventKind, type EventRecord, type Severity } from '../../engine/events/types.ts';

/** Empty lists and nulls leave everything in. */
export interface AlertFilter {
  cameras: string[];
  kinds: EventKind[];
  zones: string[];
  labels: string[];
  severities: Severity[];
  /** Only those that nobody has acknowledged. */
  open: boolean;
  text: string;
  /** Epoch ms. */
  start: number | null;
  end: number | null;
}

/** What people want to be told of, unless they choose; recordings and gaps can be asked for. */
const DEFAULT_KINDS: readonly EventKind[] = EVENT_KINDS.filter((kind) => kind !== 'recording' && kind !== 'gap');

export const NO_FILTER: AlertFilter = {
  ...{ cameras: [], kinds: [], zones: [], labels: [], severities: [] },
  ...{ open: false, text: '', start: null, end: null },
};

const MAX_TEXT = 200;
const MAX_VALUES = 50;

export function paramsOf(filter: AlertFilter): Record<string, string | number | boolean | null> {
  const list = (values: readonly string[]): string | null => (values.length > 0 ? values.join(',') : null);
  return {
    cameras: list(filter.cameras),
    types: list(filter.kinds.length > 0 ? filter.kinds : DEFAULT_KINDS),
    zones: list(filter.zones),
    labels: list(filter.labels),
    severity: list(filter.severities),
    acknowledged: filter.open ? false : null,
    text:
      wordsOf(filter.text)
        .map((word) => `${word}*`)
        .join(' ') || null,
    start: filter.start,
    end: filter.end,
  };
}

/** As the server decides it. */
export function matches(filter: AlertFilter, event: EventRecord): boolean {
  const some = (wanted: readonly string[], has: readonly (string | null)[]): boolean =>
    wanted.length === 0 || has.some((value) => value !== null && wanted.includes(value));
  return (
    some(filter.cameras, event.cameras) &&
    some(filter.kinds.length > 0 ? filter.kinds : DEFAULT_KINDS, [event.kind]) &&
    some(filter.zones, event.zones) &&
    some(filter.labels, [event.label]) &&
    some(filter.severities, [event.severity]) &&
    (!filter.open || event.acknowledged === null) &&
    (filter.start === null || event.start >= filter.start) &&
    (filter.end === null || event.start < filter.end) &&
    says(event, filter.text)
  );
}

/** Words begin so: who types `val` means the valve. */
function says({ label, correlationId, tags, notes }: EventRecord, text: string): boolean {
  const wanted = wordsOf(text);
  if (wanted.length === 0) return true;
  const said = [label, correlationId, ...notes.map((note) => note.text)];
  for (const { name, value } of tags) said.push(name, String(value));
  const words = said.flatMap((part) => wordsOf(part ?? ''));
  return wanted.every((word) => words.some((has) => has.startsWith(word)));
}

function wordsOf(text: string): string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

export function isFiltered(filter: AlertFilter): boolean {
  return JSON.stringify(filter) !== JSON.stringify(NO_FILTER);
}

/** A filter as a message of the flow says it; what makes no sense in it is left out. */
export function filterOf(given: Record<string, unknown>): AlertFilter {
  const list = <T extends string>(name: string, known?: readonly T[]): T[] => {
    const values = [given[name] ?? []].flat().filter((value): value is T => typeof value === 'string' && value !== '');
    return (known ? values.filter((value) => known.includes(value)) : values).slice(0, MAX_VALUES);
  };
  const time = (name: string): number | null => {
    const value = given[name];
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : null;
  };
  return {
    ...{ cameras: list('cameras'), kinds: list('kinds', EVENT_KINDS), zones: list('zones'), labels: list('labels') },
    severities: list('severities', SEVERITIES),
    open: given['open'] === true,
    text: typeof given['text'] === 'string' ? given['text'].slice(0, MAX_TEXT) : '',
    ...{ start: time('start'), end: time('end') },
  };
}
