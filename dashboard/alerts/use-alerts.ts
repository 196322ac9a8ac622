/** The alerts of a widget: read as they are looked at, kept up to date by the feed. */
import { onBeforeUnmount, reactive, shallowRef, triggerRef } from 'vue';
import type { EventRecord, IndexedEvent } from '../../engine/events/types.ts';
import type { Feed } from '../shared/feed.ts';
import { NvrError, type Session } from '../shared/session.ts';
import { isFiltered, matches, NO_FILTER, paramsOf, type AlertFilter } from './filter.ts';
import { PagedList, reaches, type Wanted } from './paged-list.ts';

interface EventsAnswer {
  events: EventRecord[];
  cursor: string | null;
}

/** Soon there; those behind it are as large as the server gives them, for who scrolls far. */
const FIRST_PAGE = 120;
const PAGE_SIZE = 500;
const MAX_PAGES = 5;
/** Of new ones that came while a dropped page is read again; more, and the list begins anew. */
const MAX_READS = 5;
const RETRY_MS = 3000;
/** Live ones that are kept while the first page is on its way. */
const MAX_WAITING = 500;

export type AlertsState = 'loading' | 'ready' | 'failed';

export interface AlertsEvents {
  /** One that nobody has seen yet, whether the filter lets it through or not. */
  onNew: (event: EventRecord, shown: boolean) => void;
  /** The newest that there are, when the list was read. */
  onRead: (events: readonly EventRecord[]) => void;
  /** Rows came or went above the first visible one: by so many it moved down. */
  onShift: (rows: number) => void;
}

export function useAlerts(session: Session, feed: Feed, { onNew, onRead, onShift }: AlertsEvents) {
  const list = shallowRef(new PagedList<EventRecord>(MAX_PAGES));
  const view = reactive({
    state: 'loading',
    error: '',
    filter: { ...NO_FILTER },
    newer: 0,
  });
  const asked = new Set<number>();
  const known = new Set<string>();
  let waiting: IndexedEvent[] = [];
  let visible = { first: 0, end: 0, atTop: true };
  let retry: number | undefined;

  const changed = (): void => {
    view.newer = list.value.newer;
    triggerRef(list);
  };

  const reset = (): void => {
    list.value.reset();
    asked.clear();
    waiting = [];
    window.clearTimeout(retry);
    view.state = 'loading';
    visible = { ...visible, first: 0, end: 0, atTop: true };
    changed();
    look();
  };

  const read = async (wanted: Wanted): Promise<EventsAnswer> => {
    const params = paramsOf(view.filter);
    const end = wanted.before ?? params['end'] ?? null;
    const limit = wanted.page === 0 ? FIRST_PAGE : PAGE_SIZE;
    const page = (cursor: string | null): Promise<EventsAnswer> =>
      session.get<EventsAnswer>('api/events', { ...params, end, limit, cursor });
    const answer = await page(wanted.cursor);
    const events = [...answer.events];
    let { cursor } = answer;
    for (let reads = 1; wanted.upTo && cursor && !reaches(events, wanted.upTo) && reads < MAX_READS; reads++) {
      const more = await page(cursor);
      events.push(...more.events);
      cursor = more.cursor;
    }
    return { events, cursor };
  };

  const load = async (wanted: Wanted): Promise<void> => {
    const { generation } = list.value;
    asked.add(wanted.page);
    try {
      const { events, cursor } = await read(wanted);
      if (generation !== list.value.generation) return;
      asked.delete(wanted.page);
      keepingPlace(() => list.value.accept(wanted, { items: events, cursor }));
      view.state = 'ready';
      if (wanted.page === 0) {
        onRead(events);
        for (const event of waiting.splice(0)) take(event);
      }
      changed();
      look();
    } catch (error) {
      if (generation !== list.value.generation) return;
      asked.delete(wanted.page);
      if (!(error instanceof NvrError)) throw error;
      view.error = error.message;
      if (list.value.size === 0) view.state = 'failed';
      window.clearTimeout(retry);
      retry = window.setTimeout(look, RETRY_MS);
    }
  };

  const look = (): void => {
    // Who scrolls on is kept ahead of; who only looks at the newest loads no more than them.
    const ahead = visible.end > FIRST_PAGE ? 2 * PAGE_SIZE : FIRST_PAGE / 2;
    for (const wanted of list.value.wanted(visible.first, visible.end, ahead)) {
      if (!asked.has(wanted.page)) void load(wanted);
    }
    list.value.release(visible.first, visible.end);
  };

  /** What is being read stays where it is, whatever comes above it. */
  const keepingPlace = (change: () => void): void => {
    const anchor = list.value.at(visible.first);
    change();
    if (!anchor || visible.atTop) return;
    const now = list.value.indexOf(anchor.eventId);
    if (now >= 0 && now !== visible.first) onShift(now - visible.first);
  };

  const take = (event: IndexedEvent): void => {
    if (asked.has(0) && list.value.size === 0) {
      if (waiting.length < MAX_WAITING) waiting.push(event);
      return;
    }
    const fits = matches(view.filter, event);
    if (event.phase === 'indexed' && !known.has(event.eventId)) {
      known.add(event.eventId);
      if (known.size > MAX_WAITING) known.delete(known.values().next().value!);
      onNew(event, fits);
    }
    // One that was on show stays though it fits no more: it must not go from under a finger.
    if (!list.value.update(event.eventId, () => event) && fits && event.phase === 'indexed') {
      keepingPlace(() => list.value.insert(event, visible.atTop && !document.hidden));
    }
    if (visible.atTop && list.value.overgrown(PAGE_SIZE)) reset();
    else changed();
  };

  let connected = false;
  const unlisten = feed.on((message) => {
    if (message.type === 'event') take(message['event']);
    else if (message.type === 'hello') {
      // What happened while the feed was interrupted was not told.
      if (connected && visible.atTop) reset();
      connected = true;
    }
  });
  onBeforeUnmount(() => {
    unlisten();
    window.clearTimeout(retry);
  });

  return {
    list,
    view,
    reset,
    retry: (): void => {
      view.state = 'loading';
      look();
    },
    /** These rows are on the screen. */
    show(first: number, end: number, atTop: boolean): void {
      visible = { first, end, atTop };
      look();
    },
    filterBy(filter: AlertFilter): void {
      view.filter = filter;
      reset();
    },
    get filtered(): boolean {
      return isFiltered(view.filter);
    },
    /** More is known of one, by what was done on this page. */
    put(event: EventRecord): void {
      if (list.value.update(event.eventId, () => event)) changed();
    },
  };
}

export type Alerts = ReturnType<typeof useAlerts>;
