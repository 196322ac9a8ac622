/** Moving and uploading, killed at random moments: nothing may be lost, kept twice, or left behind. */
import { killing } from '../test/support/killing.ts';
import { check, progress, type BenchResult } from './measure.ts';
import { Random } from './motion/random.ts';
import type { Options } from './run.ts';

/** Killed in one folder; then it is looked at, and another is begun. */
const LIVES = 25;

export default async function retentionKill(options: Options): Promise<BenchResult> {
  const rounds = options.short ? 1 : 8;
  const lives = options.short ? 6 : LIVES;
  const random = new Random(Date.now() % 1_000_000);
  const sum = { lost: 0, undead: 0, unknown: 0, uploads: 0, leftovers: 0, differences: 0, files: 0, moved: 0 };
  for (let round = 0; round < rounds; round++) {
    progress(`round ${round + 1} of ${rounds}`);
    const { unknown, movedPerLife, ...wreck } = await killing(lives, () => random.next(), progress);
    sum.unknown += unknown.length;
    sum.moved += Math.round(movedPerLife * lives);
    for (const [name, value] of Object.entries(wreck)) sum[name as keyof typeof wreck] += value;
  }
  return {
    checks: [
      check('times killed', rounds * lives, 'times', options.short ? 6 : 200, 'atLeast'),
      check('files moved by those that were killed', sum.moved, 'files', rounds * lives, 'atLeast'),
      check('files lost', sum.lost, 'files', 0),
      check('files that rules delete and that are there', sum.undead, 'files', 0),
      check('files and objects that no row names', sum.unknown, 'files', 0),
      check('uploads that were not ended', sum.uploads, 'uploads', 0),
      check('leftovers in the catalogue', sum.leftovers, 'rows', 0),
      check('differences that reconcile finds', sum.differences, 'differences', 0),
    ],
    details: { files: sum.files },
  };
}
