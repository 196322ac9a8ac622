/**
 * A sign of life of a thread, in memory that both sides see: a message would wait behind a host that is busy itself, and the
 * host would take its own pause for that of the thread.
 */

const BEAT_MS = 1000;
/** So often without a beat, and the thread hangs. Looks are counted, not time: a process that was stopped did not look. */
const MISSES = 6;
const LOOK_MS = 5000;

export const newPulse = (): Int32Array<SharedArrayBuffer> => new Int32Array(new SharedArrayBuffer(4));

/** In the thread: beats as long as its event loop turns. */
export function beat(pulse: Int32Array): void {
  const beatOnce = (): void => void Atomics.add(pulse, 0, 1);
  beatOnce();
  setInterval(beatOnce, BEAT_MS);
}

/**
 * In the host: calls `hangs` once, when a thread that has beaten does not any more. Returns what ends the watch.
 */
export function watchPulse(pulse: Int32Array, hangs: () => void, lookMs = LOOK_MS): () => void {
  let [last, misses] = [0, 0];
  const timer = setInterval(() => {
    const now = Atomics.load(pulse, 0);
    misses = now === last && now !== 0 ? misses + 1 : 0;
    last = now;
    if (misses < MISSES) return;
    clearInterval(timer);
    hangs();
  }, lookMs);
  timer.unref();
  return () => clearInterval(timer);
}
