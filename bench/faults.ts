/**
 * What is lost when things go wrong: each fault of the list happens to its own cameras and its own Node-RED.
 * In full one after the other; in the short form several at a time, so that 20 s of blocking fit in.
 */
import { blockedLoop } from './faults/blocked-loop.ts';
import { cameraHang, cameraRestart } from './faults/camera-outage.ts';
import { clockStep } from './faults/clock-step.ts';
import { deploy } from './faults/deploy.ts';
import { killed } from './faults/killed.ts';
import { FULL, SHORT, type Fault } from './faults/scale.ts';
import { storageFull, storageReadOnly, storageRemoved } from './faults/storage.ts';
import { check, progress, type BenchResult, type Check } from './measure.ts';
import type { Options } from './run.ts';

interface Named {
  key: string;
  what: string;
  play: Fault;
  /** Faults of one lane follow each other in the short form; the lanes run side by side. */
  lane: number;
}

const FAULTS: Named[] = [
  { key: 'a', what: 'event loop blocked', play: blockedLoop, lane: 0 },
  { key: 'b', what: 'Deploy', play: deploy, lane: 1 },
  { key: 'd', what: 'cameras restarted', play: cameraRestart, lane: 3 },
  { key: 'e', what: 'cameras hang', play: cameraHang, lane: 2 },
  { key: 'c', what: 'Node-RED killed', play: killed, lane: 2 },
  { key: 'f', what: 'storage full', play: storageFull, lane: 1 },
  { key: 'g', what: 'storage folder removed', play: storageRemoved, lane: 3 },
  { key: 'g', what: 'storage read-only', play: storageReadOnly, lane: 4 },
  { key: 'h', what: 'clock steps', play: clockStep, lane: 4 },
];

export default async function faults(options: Options): Promise<BenchResult> {
  const unknown = options.only?.find((key) => !FAULTS.some((fault) => fault.key === key));
  if (unknown !== undefined) throw new Error(`--only wants letters from a to h, not '${unknown}'`);
  const chosen = FAULTS.filter(({ key }) => options.only?.includes(key) ?? true);
  const scale = options.short ? SHORT : FULL;
  const problems: string[] = [];

  async function play({ key, what, play: happen }: Named): Promise<Check[]> {
    progress(`${key}: ${what}`);
    try {
      const checks = await happen(scale);
      for (const { name, value, unit, limit, ok } of checks)
        progress(`${ok ? '  ok  ' : '  FAIL'} ${name}: ${value} ${unit} (limit ${limit})`);
      return checks;
    } catch (error) {
      progress(`  FAIL ${key}: ${what}: ${String(error)}`);
      problems.push(`${key}: ${what}: ${String(error)}`);
      return [check(`${key}: ${what}, could not be measured`, 1, 'faults', 0)];
    }
  }
  async function inTurn(lane: Named[]): Promise<Check[]> {
    const checks: Check[] = [];
    for (const fault of lane) checks.push(...(await play(fault)));
    return checks;
  }

  const numbers = options.short ? new Set(chosen.map(({ lane }) => lane)) : null;
  const lanes = numbers ? [...numbers].map((number) => chosen.filter(({ lane }) => lane === number)) : [chosen];
  const checks = (await Promise.all(lanes.map(inTurn))).flat();
  return {
    checks: checks.toSorted((a, b) => a.name.localeCompare(b.name)),
    details: problems.length > 0 ? { problems } : {},
  };
}
