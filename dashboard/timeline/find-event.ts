/** Finds the next event in years of them with two or three questions: counts say where to look. No DOM in here. */
import type { EventView } from './events.ts';
import { nextColumn, type Lane } from './lanes.ts';
import type { View } from './scale.ts';

export interface EventSources {
  /** Counts in so many columns. */
  lanes: (range: View, columns: number) => Promise<Lane[]>;
  /** Newest first. */
  events: (range: View, limit: number) => Promise<EventView[]>;
}

const COLUMNS = 1000;
/** A column so short is looked through event by event. */
const FINE_MS = 60_000;
const MOST = 500;

/** The last event that began before. */
export async function findBefore({ events }: EventSources, time: number): Promise<EventView | null> {
  const [found] = await events({ start: 0, end: time }, 1);
  return found ?? null;
}

/** The first event that began after. @param now there are none later */
export async function findAfter(
  sources: EventSources,
  time: number,
  now: number,
  hidden: ReadonlySet<string>,
): Promise<EventView | null> {
  let from = Math.floor(time) + 1;
  let step = 3_600_000;
  while (from < now) {
    const end = from + step;
    const columnMs = step / COLUMNS;
    const lanes = await sources.lanes({ start: from, end }, COLUMNS);
    const columns = lanes.map((lane) => nextColumn(lane, 0, 1, hidden)).filter((column) => column !== null);
    if (columns.length === 0) {
      from = end;
      step = Math.min(step * 24, 366 * 86_400_000);
      continue;
    }
    const column = Math.min(...columns);
    const start = from + Math.floor(column * columnMs);
    if (columnMs > FINE_MS) {
      // Closer: its column is known to have one.
      [from, step] = [start, Math.ceil(columnMs / COLUMNS) * COLUMNS];
      continue;
    }
    // Counted are kinds that cannot be asked for one by one, too.
    const stop = start + Math.ceil(Math.max(columnMs, 1)) + 1;
    const found = (await sources.events({ start, end: stop }, MOST)).filter((event) => event.start > time);
    if (found.length > 0) return found.at(-1)!;
    from = stop;
    step = 3_600_000;
  }
  return null;
}
