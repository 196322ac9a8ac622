/** A clock for tests of what waits, without waiting. */
import type { Clock } from '../../engine/clock.ts';

/** Time passes when a test says so. */
export class TurnedClock implements Clock {
  private at = 0;
  private readonly due = new Set<{ at: number; call: () => void }>();

  now(): number {
    return this.at;
  }

  monotonic(): number {
    return this.at;
  }

  after(ms: number, call: () => void): () => void {
    const one = { at: this.at + ms, call };
    this.due.add(one);
    return () => this.due.delete(one);
  }

  get waiting(): number {
    return this.due.size;
  }

  pass(ms: number): void {
    const end = this.at + ms;
    for (;;) {
      const [next] = [...this.due].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.due.delete(next);
      this.at = next.at;
      next.call();
    }
    this.at = end;
  }
}
