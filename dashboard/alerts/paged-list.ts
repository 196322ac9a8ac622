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

/** Whether a delivery that ends with `last` has all up to the place, which may have been deleted meanwhile. */
export function reaches(items: readonly Listed[], { eventId, start }: Listed): boolean {
  const last = items.at(-1);
  return last === undefined || last.start < start || items.some((item) => item.eventId === eventId);
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

  /** When the first of the list began; null for an empty one. */
  get newest(): number | null {
    return this.top?.start ?? null;
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
    const items = this.between(page === 0 ? this.top : null, upTo, delivery.items);
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

  /** The server's order is the order: events of one millisecond are told apart by it alone. */
  private between(top: Listed | null, upTo: Listed | null, items: readonly T[]): T[] {
    const first = top ? items.findIndex(({ eventId }) => eventId === top.eventId) : 0;
    const last = upTo ? items.findIndex(({ eventId }) => eventId === upTo.eventId) : -1;
    return items
      .slice(Math.max(0, first), last < 0 ? undefined : last + 1)
      .filter(
        (item) =>
          (top === null || item.start <= top.start) &&
          (upTo === null || item.start >= upTo.start) &&
          this.indexOf(item.eventId) < 0,
      );
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
   * Something that was not there when the list was read: among those of its millisecond it is the newest.
   * @param above also if it stands before all others; else it is counted as {@link newer} and not taken, for it would push
   * down what is being read
   * @returns whether it is in the list now
   */
  insert(item: T, above: boolean): boolean {
    if (this.indexOf(item.eventId) >= 0) return true;
    const [first] = this.pages;
    if (!first && !this.ended) return false; // it comes with the first page
    if (!first || this.top === null || item.start >= this.top.start) {
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
    const index = this.pages.findIndex(({ last }) => last !== null && item.start >= last.start);
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
    const at = page.items.findIndex((other) => item.start >= other.start);
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
