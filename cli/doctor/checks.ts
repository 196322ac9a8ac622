/** All checks, in the order in which they are told. */
import { cage } from './cage.ts';
import { exposure } from './exposure.ts';
import { ffmpeg } from './ffmpeg.ts';
import { permissions } from './permissions.ts';
import type { Check, DoctorOptions, Finding, Level } from './types.ts';

export const CHECKS: readonly Check[] = [ffmpeg, cage, permissions, exposure];

export interface Told extends Finding {
  check: string;
  title: string;
}

/** Runs every check; one that fails is a problem of its own. */
export async function runChecks(checks: readonly Check[], options: DoctorOptions): Promise<Told[]> {
  const told: Told[] = [];
  for (const { id, title, run } of checks) {
    const findings = await run(options).catch((error: unknown): Finding[] => [
      { level: 'problem', text: `could not be checked: ${error instanceof Error ? error.message : String(error)}` },
    ]);
    told.push(...findings.map((finding) => ({ check: id, title, ...finding })));
  }
  return told;
}

const MARK: Record<Level, string> = { ok: 'ok      ', advice: 'advice  ', problem: 'PROBLEM ' };

export function asText(told: readonly Told[]): string {
  return told
    .map(({ title, level, text, advice }) => `${MARK[level]} ${title}: ${text}${advice ? `\n          ${advice}` : ''}`)
    .join('\n');
}
