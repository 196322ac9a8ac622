/** Notices a decoder that is fed and gives nothing, and says when to start the next one. */

/** Decoders hold some pictures back: so many pieces without a picture are no sign yet. */
const MIN_PIECES = 8;
/** From the first piece without an answer. */
export const SILENT_MS = 15_000;
const FIRST_RETRY_MS = 2000;
const LAST_RETRY_MS = 60_000;
/** One that ran for so long was in order; a hang is noticed before. */
const PROVEN_MS = 30_000;

export class FedWatch {
  private readonly limitMs: number;
  private since = 0;
  private pieces = 0;

  /** @param limitMs longer than the longest time between two pictures that are wanted of it */
  constructor(limitMs = SILENT_MS) {
    this.limitMs = limitMs;
  }

  /**
   * It was given a piece of media.
   * @param nowMs monotonic
   * @returns whether it hangs
   */
  fed(nowMs: number): boolean {
    if (this.pieces++ === 0) this.since = nowMs;
    return this.pieces >= MIN_PIECES && nowMs - this.since >= this.limitMs;
  }

  /** Something came out of it. */
  gave(): void {
    this.pieces = 0;
  }
}

/** When a decoder that failed is started again: later each time, unless it had worked for a while. */
export class Retries {
  private failures = 0;
  private startedAt = 0;

  /** @param nowMs monotonic */
  started(nowMs: number): void {
    this.startedAt = nowMs;
  }

  /** @returns ms to wait */
  failed(nowMs: number): number {
    this.failures = nowMs - this.startedAt > PROVEN_MS ? 1 : this.failures + 1;
    return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.failures - 1));
  }
}
