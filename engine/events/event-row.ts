/** Events as rows of the catalogue: what is filtered by is in words.ts, what orders and joins is in columns, the rest is JSON. */
import type { EventKind, EventRecord } from './types.ts';

export interface EventRow {
  row: number;
  id: string;
  type: string;
  source: string | null;
  correlation: string | null;
  node: string | null;
  start: number;
  end: number | null;
  data: string;
}

/** In the column `data`. */
export type EventData = Partial<
  Omit<EventRecord, 'eventId' | 'kind' | 'correlationId' | 'source' | 'start' | 'end'> & {
    problems: string[];
    last: number;
  }
>;

export const EVENT_COLUMNS =
  'e.row, e.id, e.type, e.source, e.correlation_id AS correlation, e.node, e.start_ms AS start, e.end_ms AS "end", e.data';

export function recordOf({ id, type, source, correlation, start, end, data }: EventRow): EventRecord {
  const known = JSON.parse(data) as EventData;
  return {
    ...{ eventId: id, kind: type as EventKind, correlationId: correlation, source, cameras: known.cameras ?? [] },
    ...{ start, end, sourceTime: known.sourceTime ?? null, uncertaintyMs: known.uncertaintyMs ?? 0 },
    ...{ preMs: known.preMs ?? 0, postMs: known.postMs ?? 0, label: known.label ?? null },
    ...{ severity: known.severity ?? 'info', zones: known.zones ?? [], score: known.score ?? null },
    ...{ boxes: known.boxes ?? [], tags: known.tags ?? [], notes: known.notes ?? [] },
    acknowledged: known.acknowledged ?? null,
  };
}

export const problemsOf = ({ data }: Pick<EventRow, 'data'>): string[] =>
  (JSON.parse(data) as EventData).problems ?? [];
