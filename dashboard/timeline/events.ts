/** Single events of the hours in view, where they are few enough to be told apart. Bounded. No DOM in here. */
import type { View } from './scale.ts';

export interface EventView {
  id: string;
  kind: string;
  camera: string;
  start: number;
  /** Null while it lasts. */
  end: number | null;
  label: string | null;
  cause: string | null;
  score: number | null;
  zones: string[];
}

export interface EventEffects {
  /** Newest first. */
  fetch: (range: View, limit: number) => Promise<EventView[]>;
  changed: () => void;
  nowMs: () => number;
}

const BUCKET_MS = 3_600_000;
/** Longer views show how many there are, not each. */
export const SINGLE_SPAN_MS = 8 * BUCKET_MS;
const MAX_BUCKETS = 48;
/** More of an hour are not told apart either. */
const MOST = 500;
/** The hour of now is asked for again. */
const STALE_MS = 5000;
/** Ends come later than beginnings. */
const LATE_MS = 60_000;
/** After an answer that did not come well. */
const RETRY_MS = 3000;

interface Bucket {
  byCamera: ReadonlyMap<string, EventView[]>;
  all: EventView[];
  asOf: number;
}

export class EventStore {
  private readonly effects: EventEffects;
  private readonly buckets = new Map<number, Bucket>();
  private readonly running = new Set<number>();
  private generation = 0;
  private failedAt = -Infinity;

  constructor(effects: EventEffects) {
    this.effects = effects;
  }

  clear(): void {
    this.generation++;
    this.buckets.clear();
    this.running.clear();
  }

  /** Fetches what is in view and not known, or not any more. */
  want({ start, end }: View): void {
    if (end - start > SINGLE_SPAN_MS) return;
    const now = this.effects.nowMs();
    if (now - this.failedAt < RETRY_MS) return;
    for (const index of hoursOf({ start, end: Math.min(end, now + BUCKET_MS) })) {
      const known = this.buckets.get(index);
      const ended = (index + 1) * BUCKET_MS + LATE_MS;
      const stale = known && known.asOf < ended && now - known.asOf > STALE_MS;
      if ((known && !stale) || this.running.has(index)) continue;
      this.load(index, now);
    }
  }

  /** What is known of a camera; null where single events are not shown. */
  of(camera: string, view: View): EventView[] | null {
    if (view.end - view.start > SINGLE_SPAN_MS) return null;
    const found: EventView[] = [];
    for (const index of hoursOf(view)) {
      const bucket = this.buckets.get(index);
      if (!bucket) continue;
      if (bucket.all.length >= MOST) return null;
      found.push(...(bucket.byCamera.get(camera) ?? []));
    }
    return found;
  }

  private load(index: number, asOf: number): void {
    const { generation } = this;
    this.running.add(index);
    this.effects
      .fetch({ start: index * BUCKET_MS, end: (index + 1) * BUCKET_MS }, MOST)
      .then(
        (all) => {
          if (generation !== this.generation) return;
          const byCamera = Map.groupBy(all, ({ camera }) => camera);
          this.buckets.delete(index);
          this.buckets.set(index, { all, byCamera, asOf });
          if (this.buckets.size > MAX_BUCKETS) this.buckets.delete(this.buckets.keys().next().value!);
          this.effects.changed();
        },
        // Tiles tell people of the same trouble.
        () => (this.failedAt = this.effects.nowMs()),
      )
      .finally(() => {
        if (generation === this.generation) this.running.delete(index);
      });
  }
}

function hoursOf({ start, end }: View): number[] {
  const first = Math.floor(start / BUCKET_MS);
  const last = Math.ceil(end / BUCKET_MS) - 1;
  return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}
