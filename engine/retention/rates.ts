/** How much is written, averaged over the last hour. Bounded: an hour of minutes for each camera and folder. */
import type { WriteRate } from './types.ts';

const MINUTE_MS = 60_000;
const MINUTES = 60;
/** What is averaged over less says nothing. */
const LEAST_MS = 5000;

interface Counter {
  /** Bytes of each minute, the last being written now. */
  minutes: number[];
  /** The minute of the last entry, since the clock's start. */
  at: number;
  since: number;
}

export class WriteRates {
  private readonly counters = new Map<string, Map<string, Counter>>();

  /** @param mono ms of a clock that never steps */
  add(camera: string, storage: string, bytes: number, mono: number): void {
    let storages = this.counters.get(camera);
    if (!storages) this.counters.set(camera, (storages = new Map<string, Counter>()));
    let counter = storages.get(storage);
    if (!counter) storages.set(storage, (counter = { minutes: [0], at: Math.floor(mono / MINUTE_MS), since: mono }));
    forward(counter, mono);
    counter.minutes[counter.minutes.length - 1]! += bytes;
  }

  /** Cameras that wrote nothing for an hour are left out, and forgotten. */
  read(mono: number): WriteRate[] {
    const rates: WriteRate[] = [];
    for (const [camera, storages] of this.counters) {
      for (const [storage, counter] of storages) {
        forward(counter, mono);
        const bytes = counter.minutes.reduce((sum, minute) => sum + minute, 0);
        if (bytes === 0) {
          storages.delete(storage);
          continue;
        }
        const kept = (counter.minutes.length - 1) * MINUTE_MS + (mono % MINUTE_MS);
        const overMs = Math.min(mono - counter.since, kept);
        if (overMs < LEAST_MS) continue;
        rates.push({ camera, storage, bytesPerSecond: (bytes * 1000) / overMs });
      }
      if (storages.size === 0) this.counters.delete(camera);
    }
    return rates;
  }
}

function forward(counter: Counter, mono: number): void {
  const minute = Math.floor(mono / MINUTE_MS);
  if (minute - counter.at > MINUTES) counter.minutes = [0];
  else for (let at = counter.at; at < minute; at++) counter.minutes.push(0);
  counter.minutes.splice(0, counter.minutes.length - MINUTES);
  counter.at = minute;
}
