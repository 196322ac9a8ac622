/** Time as an effect, so that policies can be tested without waiting. */
export interface Clock {
  /** UTC milliseconds; may step. */
  now(): number;
  /** Milliseconds that never step, from an arbitrary start. */
  monotonic(): number;
  /** Calls once after `ms`; the returned function cancels it. */
  after(ms: number, call: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
