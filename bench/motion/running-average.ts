/** For scale: what a plain difference to a running average with a variance for each pixel finds, scored alike. */
import type { Detection } from './score.ts';

const RATE = 0.02;
const DEVIATIONS = 4;
/** Share of the picture that must differ. */
const MIN_AREA = 0.001;
const HOLD_MS = 2000;

export function runningAverage(frames: Uint8Array, frameBytes: number, frameMs: number): Detection[] {
  const mean = Float32Array.from(frames.subarray(0, frameBytes));
  const variance = new Float32Array(frameBytes).fill(60);
  const found: Detection[] = [];
  let last = -Infinity;
  for (let at = frameBytes, time = frameMs; at < frames.length; at += frameBytes, time += frameMs) {
    let count = 0;
    for (let i = 0; i < frameBytes; i++) {
      const difference = frames[at + i]! - mean[i]!;
      const square = difference * difference;
      if (square > DEVIATIONS * DEVIATIONS * variance[i]!) count++;
      mean[i]! += RATE * difference;
      variance[i] = Math.max(20, variance[i]! + RATE * (square - variance[i]!));
    }
    if (count < MIN_AREA * frameBytes || time < 1000) continue;
    if (time - last > HOLD_MS) found.push({ start: time / 1000, end: time / 1000 });
    found.at(-1)!.end = time / 1000;
    last = time;
  }
  return found;
}
