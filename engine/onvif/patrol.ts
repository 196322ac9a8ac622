/** A tour of presets: go there, wait until the camera stands, stay, go on. Somebody who steers by hand comes first. */

export interface PatrolStop {
  preset: string;
  dwellMs: number;
}

export interface PatrolEffects {
  /** Resolves when the camera stands there. */
  visit: (preset: string) => Promise<void>;
  onChange: (state: PatrolState) => void;
  onError: (error: unknown) => void;
}

export type PatrolState =
  { state: 'idle' } | { state: 'moving' | 'dwelling'; preset: string } | { state: 'paused'; resumesAt: number | null };

/** A preset that cannot be reached is left out this time; the tour does not race through such. */
const FAILED_DWELL_MS = 5000;

export class Patrol {
  private readonly effects: PatrolEffects;
  private stops: readonly PatrolStop[] = [];
  private resumeMs = 0;
  private at = 0;
  private round = 0;
  private timer: NodeJS.Timeout | null = null;
  private current: PatrolState = { state: 'idle' };

  constructor(effects: PatrolEffects) {
    this.effects = effects;
  }

  get state(): PatrolState {
    return this.current;
  }

  get active(): boolean {
    return this.current.state !== 'idle';
  }

  /** @param resumeMs after the last manual use */
  start(stops: readonly PatrolStop[], resumeMs: number): void {
    this.stops = stops;
    this.resumeMs = resumeMs;
    this.at = 0;
    this.go();
  }

  stop(): void {
    this.cancel();
    this.become({ state: 'idle' });
  }

  /** Somebody steers: the tour goes on when nobody has for a while. */
  pause(): void {
    if (!this.active) return;
    this.cancel();
    this.timer = setTimeout(() => this.go(), this.resumeMs).unref();
    this.become({ state: 'paused', resumesAt: Date.now() + this.resumeMs });
  }

  /** Something else has the camera, until {@link resume}. */
  hold(): void {
    if (!this.active) return;
    this.cancel();
    this.become({ state: 'paused', resumesAt: null });
  }

  resume(): void {
    if (this.active) this.go();
  }

  private cancel(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    // What a visit that is on its way comes to is of no interest any more.
    this.round++;
  }

  private go(): void {
    this.cancel();
    const { round } = this;
    const stop = this.stops[this.at % this.stops.length];
    if (!stop) return this.become({ state: 'idle' });
    this.become({ state: 'moving', preset: stop.preset });
    const stay = (ms: number): void => {
      if (round !== this.round) return;
      this.become({ state: 'dwelling', preset: stop.preset });
      this.timer = setTimeout(() => {
        this.at = (this.at + 1) % this.stops.length;
        this.go();
      }, ms).unref();
    };
    this.effects.visit(stop.preset).then(
      () => stay(stop.dwellMs),
      (error: unknown) => {
        if (round === this.round) this.effects.onError(error);
        stay(FAILED_DWELL_MS);
      },
    );
  }

  private become(state: PatrolState): void {
    this.current = state;
    this.effects.onChange(state);
  }
}
