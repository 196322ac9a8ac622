/**
 * SIGKILL at random moments, 200 times: half of them while old footage is deleted and the catalogue is backed up, half
 * while footage moves to other folders and to a bucket. Nothing may be lost, kept twice, or left behind.
 */
import { killing } from '../test/support/killing.ts';
import { check, progress, type BenchResult } from './measure.ts';
import { Random } from './motion/random.ts';
import { killDeleting } from './retention-kill/deleting.ts';
import type { Options } from './run.ts';

const DELETING = 100;
const ROUNDS = 4;
/** Killed in one folder; then it is looked at, and another is begun. */
const LIVES = 25;

export default async function retentionKill(options: Options): Promise<BenchResult> {
  const deleting = await killDeleting(options.short ? 8 : DELETING);
  const moving = await killMoving(options.short ? 1 : ROUNDS, options.short ? 6 : LIVES);
  const kills = (options.short ? 8 : DELETING) + (options.short ? 6 : ROUNDS * LIVES);
  return {
    checks: [
      check('times killed', kills, 'times', options.short ? 14 : 200, 'atLeast'),
      ...deleting.checks,
      ...moving.checks,
    ],
    details: { ...deleting.details, ...moving.details },
  };
}

async function killMoving(rounds: number, lives: number): Promise<BenchResult> {
  const random = new Random(Date.now() % 1_000_000);
  const sum = { lost: 0, undead: 0, unknown: 0, uploads: 0, leftovers: 0, differences: 0, files: 0, moved: 0 };
  for (let round = 0; round < rounds; round++) {
    progress(`moving: round ${round + 1} of ${rounds}`);
    const { unknown, movedPerLife, ...wreck } = await killing(lives, () => random.next(), progress);
    sum.unknown += unknown.length;
    sum.moved += Math.round(movedPerLife * lives);
    for (const [name, value] of Object.entries(wreck)) sum[name as keyof typeof wreck] += value;
  }
  return {
    checks: [
      // Some are killed before they began with one: enough must not be.
      check('files moved by those that were killed', sum.moved, 'files', (rounds * lives) / 2, 'atLeast'),
      check('files lost that were to be moved', sum.lost, 'files', 0),
      check('files that rules delete and that are there', sum.undead, 'files', 0),
      check('files and objects that no row names', sum.unknown, 'files', 0),
      check('uploads that were not ended', sum.uploads, 'uploads', 0),
      check('leftovers in the catalogue', sum.leftovers, 'rows', 0),
      check('differences that reconcile finds', sum.differences, 'differences', 0),
    ],
    details: { filesThatMoved: sum.files },
  };
}
