/**
 * What a timeline knows, in tiles of quantised levels of detail, so that moving and zooming never waits: what is there is
 * shown, from other levels if need be, while what is missing is fetched. Bounded; the least used go. No DOM in here.
 */
import { spliced, type Lane } from './lanes.ts';
import { columnMs, MAX_LEVEL, TILE_COLUMNS, tileMs, tilesOf, type View } from './scale.ts';

export interface Tile {
  level: number;
  index: number;
  start: number;
  end: number;
  lanes: ReadonlyMap<string, Lane>;
  /** When it was asked for: what happened later is not in it yet. */
  asOf: number;
}

export interface TileEffects {
  fetch: (range: View, columns: number) => Promise<Lane[]>;
  /** Something has come that may be in view. */
  changed: () => void;
  /** Null when it goes well again. */
  problem: (error: unknown) => void;
  nowMs: () => number;
}

/** Nine lanes of a tile are some 20 kB. */
export const MAX_TILES = 240;
const AT_ONCE = 3;
/** After an answer that did not come well. */
const RETRY_MS = 3000;
/** What is told late (ends of motion, files that are written) is asked for once more. */
const LATE_MS = 60_000;
/** Least columns that can be asked for. */
const MIN_COLUMNS = 10;
/** Newer than the server's clock may be. */
const AHEAD_MS = 5000;

export class TileStore {
  private readonly effects: TileEffects;
  private readonly tiles = new Map<string, Tile>();
  private readonly running = new Set<string>();
  private queue: { level: number; index: number }[] = [];
  private generation = 0;
  private failedAt = -Infinity;

  constructor(effects: TileEffects) {
    this.effects = effects;
  }

  get size(): number {
    return this.tiles.size;
  }

  /** Nothing that is in view is missing or on its way. */
  get settled(): boolean {
    return this.queue.length === 0 && this.running.size === 0;
  }

  /** Whether there is nothing more to wait for: it is there, or there is nothing of it yet. */
  knows(level: number, index: number): boolean {
    return this.tiles.has(`${level} ${index}`) || index * tileMs(level) >= this.effects.nowMs() + AHEAD_MS;
  }

  get(level: number, index: number): Tile | undefined {
    const key = `${level} ${index}`;
    const tile = this.tiles.get(key);
    if (!tile) return undefined;
    this.tiles.delete(key);
    this.tiles.set(key, tile); // the last used is the last to go
    return tile;
  }

  /** The tile, or what else there is of its time: a coarser one, or finer ones. */
  best(level: number, index: number): Tile[] {
    const own = this.get(level, index);
    if (own) return [own];
    for (let up = 1; level + up <= MAX_LEVEL && up <= 6; up++) {
      const coarser = this.get(level + up, Math.floor(index / 2 ** up));
      if (coarser) return [coarser];
    }
    for (let down = 1; down <= 3; down++) {
      const finer = Array.from({ length: 2 ** down }, (_, i) => this.get(level - down, index * 2 ** down + i));
      const found = finer.filter((tile) => tile !== undefined);
      if (found.length > 0) return found;
    }
    return [];
  }

  /** Says what is in view; what is missing is fetched, then what is beside it and one level out. */
  want(view: View, level: number): void {
    const inView = tilesOf(view, level);
    const [first, last] = [inView[0]!, inView.at(-1)!];
    const beside = [first - 1, last + 1].map((index) => ({ level, index }));
    const out = level < MAX_LEVEL ? tilesOf(view, level + 1).map((index) => ({ level: level + 1, index })) : [];
    const now = this.effects.nowMs();
    this.queue = [...inView.map((index) => ({ level, index })), ...beside, ...out].filter(
      ({ level: of, index }) => index >= 0 && index * tileMs(of) < now + AHEAD_MS && !this.tiles.has(`${of} ${index}`),
    );
    this.next();
  }

  /** Asks for what is newer than the tiles in view, and only for that. */
  refresh(view: View, level: number): void {
    const now = this.effects.nowMs();
    for (const index of tilesOf(view, level)) {
      const tile = this.tiles.get(`${level} ${index}`);
      if (tile && tile.asOf < tile.end + LATE_MS && tile.start < now) this.extend(tile, now);
    }
  }

  /** Other cameras: nothing of it is of use any more. */
  clear(): void {
    this.generation++;
    this.tiles.clear();
    this.running.clear();
    this.queue = [];
  }

  private extend(tile: Tile, now: number): void {
    const key = `${tile.level} ${tile.index}`;
    if (this.running.has(key)) return;
    const ms = columnMs(tile.level);
    const last = Math.min(TILE_COLUMNS, Math.ceil((now + AHEAD_MS - tile.start) / ms));
    const first = Math.max(0, Math.min(Math.floor((tile.asOf - LATE_MS - tile.start) / ms), last - MIN_COLUMNS));
    const columns = Math.max(MIN_COLUMNS, last - first);
    const range = { start: tile.start + first * ms, end: tile.start + (first + columns) * ms };
    this.run(key, range, columns, (lanes) => {
      const current = this.tiles.get(key);
      if (!current) return;
      const merged = new Map(current.lanes);
      for (const lane of lanes) {
        const known = current.lanes.get(lane.camera);
        merged.set(lane.camera, known ? spliced(known, lane, range.start, first) : lane);
      }
      this.put(key, { ...current, lanes: merged, asOf: now });
    });
  }

  private next(): void {
    if (this.effects.nowMs() - this.failedAt < RETRY_MS) return;
    while (this.running.size < AT_ONCE && this.queue.length > 0) {
      const { level, index } = this.queue.shift()!;
      const key = `${level} ${index}`;
      if (this.running.has(key) || this.tiles.has(key)) continue;
      const range = { start: index * tileMs(level), end: (index + 1) * tileMs(level) };
      const asOf = this.effects.nowMs();
      this.run(key, range, TILE_COLUMNS, (lanes) =>
        this.put(key, { level, index, ...range, asOf, lanes: new Map(lanes.map((lane) => [lane.camera, lane])) }),
      );
    }
  }

  private run(key: string, range: View, columns: number, use: (lanes: Lane[]) => void): void {
    const { generation } = this;
    this.running.add(key);
    this.effects
      .fetch(range, columns)
      .then(
        (lanes) => {
          if (generation !== this.generation) return;
          this.running.delete(key);
          this.effects.problem(null);
          use(lanes);
          this.effects.changed();
        },
        (error: unknown) => {
          if (generation !== this.generation) return;
          this.running.delete(key);
          this.failedAt = this.effects.nowMs();
          this.effects.problem(error);
        },
      )
      .finally(() => {
        if (generation === this.generation) this.next();
      });
  }

  private put(key: string, tile: Tile): void {
    this.tiles.delete(key);
    this.tiles.set(key, tile);
    for (const oldest of this.tiles.keys()) {
      if (this.tiles.size <= MAX_TILES) break;
      this.tiles.delete(oldest);
    }
  }
}
