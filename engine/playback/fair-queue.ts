/**
 * Who waits for something that is short, and who is next. Everybody who asks has a queue of their own; turns go round
 * between the askers, so that one who asks for much waits longer and nobody else does. Pure: no clock, no promises.
 */

/**
 * `operator`: may control the cameras, uses the dashboard, or is the NVR itself. `viewer`: any other token. `link`: has
 * been given a link to one range of time.
 */
export type AskerKind = 'operator' | 'viewer' | 'link';

export interface Asker {
  /** The same for all tokens that count as one. */
  id: string;
  kind: AskerKind;
}

/** In the order in which they are served. */
const KINDS = ['operator', 'viewer', 'link'] as const;
/** While others wait, a kind is served so often before one of the kinds behind it is. */
export const BURST = 3;
/** The part of all places that one asker may fill. */
const SHARE: Record<AskerKind, number> = { operator: 1, viewer: 1 / 2, link: 1 / 5 };
/** The part that all links together may fill: whoever can make one link can make many. */
const LINKS_SHARE = 1 / 2;
/** An operator may have four times as much waiting as a link before they count as equals. */
const WEIGHT: Record<AskerKind, number> = { operator: 4, viewer: 2, link: 1 };

/** How much an asker takes up, for comparing it with others. */
function loadOf({ kind }: Asker, count: number): number {
  return count / WEIGHT[kind];
}

interface Line<T> {
  asker: Asker;
  items: T[];
}

type Lanes<T> = Record<AskerKind, Map<string, Line<T>>>;

export class FairQueue<T> {
  private readonly most: number;
  /** Askers in the order of their next turn. */
  private readonly lanes: Lanes<T> = { operator: new Map(), viewer: new Map(), link: new Map() };
  /** How often each kind was served since one behind it was. */
  private readonly served: Record<AskerKind, number> = { operator: 0, viewer: 0, link: 0 };

  /** @param most items that may wait */
  constructor(most: number) {
    this.most = most;
  }

  get size(): number {
    return KINDS.reduce((sum, kind) => sum + this.sizeOf(kind), 0);
  }

  private sizeOf(kind: AskerKind): number {
    return [...this.lanes[kind].values()].reduce((sum, { items }) => sum + items.length, 0);
  }

  /**
   * Adds an item. Where that is too much, the newest item of the asker with the most is taken out again.
   * @returns what has lost its place: the item itself, another one, or null
   */
  push(asker: Asker, item: T): T | null {
    const lane = this.lanes[asker.kind];
    const line = lane.get(asker.id) ?? { asker, items: [] };
    lane.set(asker.id, line);
    line.items.push(item);
    if (line.items.length > Math.max(1, Math.floor(this.most * SHARE[asker.kind]))) return this.drop(line);
    if (asker.kind === 'link' && this.sizeOf('link') > Math.max(1, Math.floor(this.most * LINKS_SHARE))) {
      return this.drop(heaviest([lane], line));
    }
    return this.size > this.most ? this.drop(heaviest(Object.values(this.lanes), line)) : null;
  }

  private drop(line: Line<T>): T | null {
    const item = line.items.pop() ?? null;
    if (line.items.length === 0) this.lanes[line.asker.kind].delete(line.asker.id);
    return item;
  }

  /**
   * The next item, or null.
   * @param kinds those that may be served now
   */
  take(kinds: readonly AskerKind[] = KINDS): T | null {
    const waiting = KINDS.filter((kind) => kinds.includes(kind) && this.lanes[kind].size > 0);
    for (const [i, kind] of waiting.entries()) {
      if (i < waiting.length - 1 && this.served[kind] >= BURST) {
        this.served[kind] = 0; // those behind it are next
        continue;
      }
      this.served[kind]++;
      return this.takeOf(kind);
    }
    return null;
  }

  private takeOf(kind: AskerKind): T | null {
    const lane = this.lanes[kind];
    const [line] = lane.values();
    if (!line) return null;
    const item = line.items.shift() ?? null;
    lane.delete(line.asker.id);
    if (line.items.length > 0) lane.set(line.asker.id, line); // behind the others
    return item;
  }

  /** Takes an item out, wherever it waits. @returns whether it did */
  remove(item: T): boolean {
    for (const lane of Object.values(this.lanes)) {
      for (const line of lane.values()) {
        const at = line.items.indexOf(item);
        if (at < 0) continue;
        line.items.splice(at, 1);
        if (line.items.length === 0) lane.delete(line.asker.id);
        return true;
      }
    }
    return false;
  }

  /** Takes everything out. */
  drain(): T[] {
    return Object.values(this.lanes).flatMap((lane) => {
      const items = [...lane.values()].flatMap((line) => line.items);
      lane.clear();
      return items;
    });
  }
}

/** Among equals it is the newcomer, so that nobody is pushed out for nothing. */
function heaviest<T>(lanes: readonly Map<string, Line<T>>[], newcomer: Line<T>): Line<T> {
  let most = newcomer;
  for (const lane of lanes) {
    for (const line of lane.values()) {
      if (loadOf(line.asker, line.items.length) > loadOf(most.asker, most.items.length)) most = line;
    }
  }
  return most;
}

/**
 * Which of the places that are held for long (encoders, views) is given to a newcomer when all are taken: the newest of
 * whoever holds the most, if that is more than the newcomer would hold. What several people use is left to them.
 * @param held who uses each place, the oldest place first
 * @returns the number of the place, or null when the newcomer is refused
 */
export function placeToFree(held: readonly (readonly Asker[])[], newcomer: Asker): number | null {
  const places = new Map<string, { asker: Asker; count: number; newest: number }>();
  for (const [i, users] of held.entries()) {
    const [asker] = users;
    if (!asker || users.some(({ id }) => id !== asker.id)) continue;
    places.set(asker.id, { asker, count: (places.get(asker.id)?.count ?? 0) + 1, newest: i });
  }
  let load = loadOf(newcomer, (places.get(newcomer.id)?.count ?? 0) + 1);
  let free: number | null = null;
  for (const { asker, count, newest } of places.values()) {
    if (asker.id === newcomer.id || loadOf(asker, count) <= load) continue;
    load = loadOf(asker, count);
    free = newest;
  }
  return free;
}
