/**
 * Presets that events send the camera to: go there, wait until it stands, stay, go back. Somebody who steers by hand comes
 * first: then it is left where it is, and events are not followed until nobody has steered for a while.
 */
import type { Axes } from './ptz.ts';

export interface Visit {
  preset: string;
  /** How long it stays after the last news of the event. */
  dwellMs: number;
  /** Where it goes then: where it was, or home where it cannot tell that; home; nowhere. A patrol goes on in any case. */
  back: 'before' | 'home' | 'stay';
  /** While a visit lasts, one of a higher rank does not take its place. */
  rank: number;
  /** Of the event that it is for. */
  eventId: string;
}

export interface VisitEffects {
  whereNow: () => Promise<Axes | null>;
  /** Resolves when it stands there; false when something else moved it meanwhile. */
  visit: (preset: string) => Promise<boolean>;
  /** Resolves when it stands again. */
  leave: (back: Visit['back'], before: Axes | null) => Promise<void>;
  onChange: (state: VisitState) => void;
  onError: (error: unknown) => void;
}

export type VisitState = { state: 'idle' } | { state: 'going' | 'there'; visit: Visit };

/** What became of a wish to visit: `steered` while somebody steers, `lower` while a visit of a lower rank lasts. */
export type VisitAnswer = 'started' | 'renewed' | 'steered' | 'lower';

export class Visits {
  private readonly effects: VisitEffects;
  private readonly now: () => number;
  private current: VisitState = { state: 'idle' };
  private steeredUntil = -Infinity;
  private round = 0;
  private timer: NodeJS.Timeout | null = null;
  private endsAt = 0;
  /** Where the first of visits in a row began. */
  private before: Axes | null = null;
  private returning = false;

  constructor(effects: VisitEffects, now: () => number = () => performance.now()) {
    this.effects = effects;
    this.now = now;
  }

  get state(): VisitState {
    return this.current;
  }

  begin(visit: Visit): VisitAnswer {
    if (this.now() < this.steeredUntil) return 'steered';
    if (this.current.state !== 'idle') {
      const { preset, rank } = this.current.visit;
      if (preset === visit.preset) {
        this.endsAt = Math.max(this.endsAt, this.now() + visit.dwellMs);
        return 'renewed';
      }
      if (visit.rank > rank) return 'lower';
    }
    void this.go(visit, this.current.state === 'idle' && !this.returning);
    return 'started';
  }

  /** Somebody steers. @param idleMs how long events are not followed then */
  steered(idleMs: number): void {
    this.steeredUntil = this.now() + idleMs;
    this.returning = false;
    this.cancel();
  }

  /** Ends without going back. */
  cancel(): void {
    this.round++;
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    if (this.current.state !== 'idle') this.become({ state: 'idle' });
  }

  private async go(visit: Visit, first: boolean): Promise<void> {
    const round = ++this.round;
    this.endsAt = 0;
    if (this.timer) clearTimeout(this.timer);
    this.become({ state: 'going', visit });
    try {
      if (first) this.before = await this.effects.whereNow();
      if (round !== this.round) return;
      const arrived = await this.effects.visit(visit.preset);
      if (round !== this.round) return;
      if (!arrived) {
        this.cancel();
        return;
      }
    } catch (error) {
      if (round !== this.round) return;
      this.effects.onError(error);
      this.cancel();
      return;
    }
    this.endsAt = Math.max(this.endsAt, this.now() + visit.dwellMs);
    this.become({ state: 'there', visit });
    this.stay(visit);
  }

  private stay(visit: Visit): void {
    const end = (): void => {
      if (this.now() < this.endsAt) {
        this.stay(visit);
        return;
      }
      this.cancel();
      const { round } = this;
      this.returning = true;
      this.effects
        .leave(visit.back, this.before)
        .catch((error: unknown) => this.effects.onError(error))
        .finally(() => {
          if (round === this.round) this.returning = false;
        });
    };
    this.timer = setTimeout(end, Math.max(this.endsAt - this.now(), 1));
  }

  private become(state: VisitState): void {
    this.current = state;
    this.effects.onChange(state);
  }
}
