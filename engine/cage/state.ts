/**
 * What of the cage this process uses: found out once for all threads, beside the start of the recording, and taken back when
 * it stops working. It is in memory that threads share, because FFmpeg is started by most of them.
 */
import { getEnvironmentData, isMainThread, setEnvironmentData } from 'node:worker_threads';
import { setTimeout as wait } from 'node:timers/promises';
import { MEASURES, type CageTools, type Measure } from './cage.ts';
import { findTools, succeeds, tryMeasures } from './detect.ts';

const KEY = 'flow-nvr-cage';
/** Whoever may wait for the detection waits no longer than this: the recording begins. */
const MAX_WAIT_MS = 300;

/** Fields of the shared memory. */
const PHASE = 0;
const GIVEN = 1;
const DROPPED = 2;
const [UNKNOWN, TRYING, KNOWN] = [0, 1, 2];

/** The main thread makes it before it starts any other. */
function sharedState(): Int32Array {
  const known = getEnvironmentData(KEY);
  if (known instanceof Int32Array) return known;
  const made = new Int32Array(new SharedArrayBuffer(12));
  if (isMainThread) setEnvironmentData(KEY, made);
  return made;
}

const state = sharedState();
let tools: CageTools | null = null;

const bitsOf = (measures: Iterable<Measure>): number =>
  [...measures].reduce((bits, measure) => bits | (1 << MEASURES.indexOf(measure)), 0);
const measuresOf = (bits: number): Measure[] => MEASURES.filter((_, i) => bits & (1 << i));

export function cageTools(): CageTools {
  return (tools ??= findTools());
}

/** Measures in force now; none while they are being found out. Starts that, if nobody has. */
export function measuresInForce(): Set<Measure> {
  if (Atomics.load(state, PHASE) !== KNOWN) {
    void detectCage();
    return new Set();
  }
  return new Set(measuresOf(Atomics.load(state, GIVEN) & ~Atomics.load(state, DROPPED)));
}

/** Measures that worked when the process started, and do not any more. */
export function droppedMeasures(): Measure[] {
  return measuresOf(Atomics.load(state, DROPPED));
}

/** Finds out what works here, unless that is known or being done. Never rejects. */
async function detectCage(): Promise<void> {
  if (Atomics.compareExchange(state, PHASE, UNKNOWN, TRYING) !== UNKNOWN) return;
  const { given } = await tryMeasures(cageTools());
  Atomics.store(state, GIVEN, bitsOf(given));
  Atomics.store(state, PHASE, KNOWN);
  Atomics.notify(state, PHASE);
}

/**
 * Resolves when the cage is known, or after {@link MAX_WAIT_MS} without. What runs for weeks is worth that wait once; a
 * first picture is not.
 */
export async function cageKnown(): Promise<void> {
  void detectCage();
  const end = performance.now() + MAX_WAIT_MS;
  while (Atomics.load(state, PHASE) !== KNOWN && performance.now() < end) {
    const waiting = Atomics.waitAsync(state, PHASE, TRYING, end - performance.now());
    // A pending waitAsync alone does not keep a thread alive.
    if (waiting.async) await Promise.race([waiting.value, wait(Math.max(1, end - performance.now()))]);
  }
}

/**
 * After FFmpeg did not start in its cage: what cannot start this program any more is used no longer. Its words are not
 * believed, for they may be those of a camera; it is tried again.
 *
 * @param payload a command line that ends well without a cage
 * @returns whether anything was dropped
 */
export async function recheckCage(payload: readonly string[]): Promise<boolean> {
  const before = [...measuresInForce()];
  if (before.length === 0 || (await succeeds(payload)) !== null) return false;
  const { reasons } = await tryMeasures(cageTools(), payload, before);
  const lost = [...reasons.keys()];
  if (lost.length === 0) return false;
  Atomics.or(state, DROPPED, bitsOf(lost));
  const why = lost.map((measure) => `${measure} (${reasons.get(measure)})`).join(', ');
  process.emitWarning(`FFmpeg runs without a part of its cage until Node-RED is restarted: ${why}`, 'FlowNvrWarning');
  return true;
}
