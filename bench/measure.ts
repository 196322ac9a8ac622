/** What a process tree costs, from /proc, and how benchmarks report. */
import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, which is 100 on every Linux architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

export interface Check {
  name: string;
  value: number;
  unit: string;
  /** The highest value that is good; `atLeast` turns it around. */
  limit: number;
  ok: boolean;
}

/** A check that the value is at most the limit, or with `atLeast`, at least. No number at all is never ok. */
export function check(name: string, value: number, unit: string, limit: number, kind?: 'atLeast'): Check {
  const rounded = Math.round(value * 1000) / 1000;
  return { name, value: rounded, unit, limit, ok: kind === 'atLeast' ? rounded >= limit : rounded <= limit };
}

export interface BenchResult {
  checks: Check[];
  /** Figures beside the checks, for readers. */
  details?: Record<string, unknown>;
}

function parents(): Map<number, number> {
  const found = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const fields = stat(Number(name));
    if (fields !== null) found.set(Number(name), Number(fields[1]));
  }
  return found;
}

/** Fields of /proc/PID/stat from the state on; null if the process is gone. */
function stat(pid: number): string[] | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** The processes and all that descend from them and live. */
export function tree(...roots: number[]): number[] {
  const parentOf = parents();
  const members = new Set(roots);
  for (let size = 0; size !== members.size;) {
    size = members.size;
    for (const [pid, parent] of parentOf) if (members.has(parent)) members.add(pid);
  }
  return [...members];
}

/** CPU seconds that the trees have used: of the living, and of the ended that a living one has waited for. */
export function cpuSeconds(...roots: number[]): number {
  let ticks = 0;
  for (const pid of tree(...roots)) {
    const fields = stat(pid);
    // utime, stime, cutime, cstime
    if (fields !== null) for (const field of fields.slice(11, 15)) ticks += Number(field);
  }
  return ticks / TICKS_PER_SECOND;
}

/** Proportional set size of the trees in MB: shared pages count once, split among those who share them. */
export function pssMegabytes(...roots: number[]): number {
  let kilobytes = 0;
  for (const pid of tree(...roots)) {
    try {
      kilobytes += Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1'))?.[1] ?? 0);
    } catch {
      continue; // it ended meanwhile
    }
  }
  return kilobytes / 1024;
}

/** A progress line for people; with --json only the last line of the output counts, and it is not one of these. */
export const progress = (text: string): void => void process.stderr.write(`${text}\n`);
