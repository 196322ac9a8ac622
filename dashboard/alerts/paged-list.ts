/**
 * A list of any length, newest first, of which only the pages around the screen are held. The server pages one way, from a
 * cursor on; the cursors of pages that were seen are remembered (some bytes each), so it is read in both directions and
 * a page that was dropped keeps its place. Pure: who uses it asks for {@link PagedList.wanted} pages and hands them in.
 */

/** Nobody counts further. */
export const MANY = 100;

export interface Listed {
  eventId: string;
  start: number;
}

type Place = Listed;

interface Page<T> {
  /** From where the server is asked; null for the beginning. */
  cursor: string | null;
  /** Null while it is not held. */
  items: T[] | null;
  count: number;
  last: Place | null;
}

export interface Wanted {
  page: number;
  cursor: string | null;
  /** Only what began before: what came after the list was opened is not part of it. */
  before: number | null;
  /** Events up to this one are wanted, however many; null for one page of them. */
  upTo: Listed | null;
}

export interface Delivery<T> {
  items: readonly T[];
  /** For what comes behind them; null when that was all. */
  cursor: string | null;
}

/** Less than 0 when `a` stands before `b`: the newer one, or of one time that with the greater id. */
export function compareListed(a: Listed, b: Listed): number {
  if (a.start !== b.start) return b.start - a.start;
  return a.eventId === b.eventId ? 0 : a.eventId < b.eventId ? 1 : -1;
}

export class PagedList<T extends Listed> {
  private readonly maxPages: number;
  private pages: Page<T>[] = [];
  private top: Listed | null = null;
  private ended = false;
  private readonly left = new Set<string>();
  /** Deliveries for what the list was before are of no use. */
  generation = 0;

  /** @param maxPages held at once */
  constructor(maxPages: number) {
    this.maxPages = maxPages;
  }

  reset(): void {
    this.pages = [];
    this.top = null;
    this.ended = false;
    this.left.clear();
    this.generation++;
  }

  /** How many came that stand before all others and were not taken; counted up to {@link MANY}. */
  get newer(): number {
    return this.left.size;
  }

  /** Rows that are known of, held or not. */
  get size(): number {
    return this.pages.reduce((sum, { count }) => sum + count, 0);
  }

  get held(): number {
    return this.pages.reduce((sum, { items }) => sum + (items?.length ?? 0), 0);
  }

  /** False while there may be more behind the last. */
  get complete(): boolean {
    return this.ended;
  }

  /** Undefined when its page is not held. */
  at(index: number): T | undefined {
    let first = 0;
    for (const { items, count } of this.pages) {
      if (index < first + count) return items?.[index - first];
      first += count;
    }
    return undefined;
  }

  /** -1 when it is not held. */
  indexOf(eventId: string): number {
    let first = 0;
    for (const { items, count } of this.pages) {
      const at = items?.findIndex((item) => item.eventId === eventId) ?? -1;
      if (at >= 0) return first + at;
      first += count;
    }
    return -1;
  }

  /** Held ones, in their order. */
  *[Symbol.iterator](): Generator<T> {
    for (const { items } of this.pages) if (items) yield* items;
  }

  /** Pages needed to show these rows, and the next when the end of what is known comes close. */
  wanted(first: number, end: number, ahead: number): Wanted[] {
    const wanted: Wanted[] = [];
    let from = 0;
    this.pages.forEach((page, index) => {
      const to = from + page.count;
      if (!page.items && to > first && from < end) wanted.push(this.want(index, page));
      from = to;
    });
    if (!this.ended && this.pages.length === 0) wanted.push({ page: 0, cursor: null, before: null, upTo: null });
    return !this.ended && this.next !== null && end + ahead >= from
      ? [...wanted, { page: this.pages.length, cursor: this.next, before: null, upTo: null }]
      : wanted;
  }

  private next: string | null = null;

  private want(index: number, { cursor, last }: Page<T>): Wanted {
    return { page: index, cursor, before: index === 0 && this.top ? this.top.start + 1 : null, upTo: last };
  }

  /** Takes a page that was wanted; what is held elsewhere is left out. */
  accept({ page, cursor, upTo }: Wanted, delivery: Delivery<T>): void {
    const known = this.pages[page];
    if (page > this.pages.length || (known && known.items)) return;
    const after = this.pages[page - 1]?.last ?? null;
    const items = delivery.items.filter(
      (item) =>
        (after === null || compareListed(item, after) > 0) &&
        (upTo === null || compareListed(item, upTo) <= 0) &&
        (page > 0 || this.top === null || compareListed(item, this.top) >= 0),
    );
    if (known) {
      Object.assign(known, { items, count: items.length });
      return;
    }
    this.next = delivery.cursor;
    this.ended = delivery.cursor === null;
    if (items.length === 0) return;
    this.pages.push({ cursor, items, count: items.length, last: placeOf(items.at(-1)!) });
    this.top ??= placeOf(items[0]!);
  }

  /** More is known of an event. False when it is not held. */
  update(eventId: string, change: (item: T) => T): boolean {
    for (const { items } of this.pages) {
      const at = items?.findIndex((item) => item.eventId === eventId) ?? -1;
      if (at < 0) continue;
      items![at] = change(items![at]!);
      return true;
    }
    return false;
  }

  /**
   * Something that was not there when the list was read.
   * @param above also if it stands before all others; else it is counted as {@link newer} and not taken, for it would push
   * down what is being read
   * @returns whether it is in the list now
   */
  insert(item: T, above: boolean): boolean {
    if (this.indexOf(item.eventId) >= 0) return true;
    const [first] = this.pages;
    if (!first && !this.ended) return false; // it comes with the first page
    if (!first || this.top === null || compareListed(item, this.top) < 0) {
      // One above another that was left out would be a hole.
      if (!above || this.left.size > 0 || first?.items === null) {
        if (this.left.size < MANY) this.left.add(item.eventId);
        return false;
      }
      this.top = placeOf(item);
      if (first) {
        first.items.unshift(item);
        first.count++;
      } else {
        this.pages.push({ cursor: null, items: [item], count: 1, last: placeOf(item) });
      }
      return true;
    }
    const index = this.pages.findIndex(({ last }) => last !== null && compareListed(item, last) < 0);
    const page = this.pages[index];
    if (!page) {
      const last = this.pages.at(-1)!;
      if (!this.ended) return false; // it comes with the next page
      last.items?.push(item);
      last.count++;
      last.last = placeOf(item);
      return last.items !== null;
    }
    if (!page.items) return false; // it comes when the page is read again
    const at = page.items.findIndex((other) => compareListed(item, other) < 0);
    page.items.splice(at, 0, item);
    page.count++;
    return true;
  }

  /** Drops the pages that are furthest from these rows. What came live makes the first page grow; see {@link overgrown}. */
  release(first: number, end: number): void {
    const middle = (first + end) / 2;
    let from = 0;
    const held = this.pages.flatMap((page) => {
      const distance = Math.max(from - middle, middle - (from + page.count), 0);
      from += page.count;
      return page.items ? [{ page, distance }] : [];
    });
    held.sort((a, b) => b.distance - a.distance);
    for (const { page } of held.slice(0, Math.max(0, held.length - this.maxPages))) page.items = null;
  }

  /** True when so much came live that the list should be read anew. */
  overgrown(pageSize: number): boolean {
    return this.pages.some(({ items }) => (items?.length ?? 0) > 3 * pageSize);
  }
}

function placeOf({ eventId, start }: Listed): Place {
  return { eventId, start };
}
