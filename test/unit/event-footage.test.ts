import assert from 'node:assert/strict';
import fc from 'fast-check';
import { computeCoverage } from '../../engine/catalog/coverage.ts';
import { footageOf, sharedSource, type FootageSource } from '../../engine/events/footage.ts';
import type { EventRecord } from '../../engine/events/types.ts';
import { EngineError, type TimeRange } from '../../engine/types.ts';

const NOW = 400_000;
const CAMERAS = ['a', 'b', 'c'];

/** On whole steps: what is nearly joined is joined by who sees both parts. */
const STEP = 5000;
const ranges = fc
  .array(fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 8 })), { maxLength: 5 })
  .map((list): TimeRange[] => {
    const sorted = list.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    return sorted.map(([start, length]) => ({ start: start * STEP, end: (start + length) * STEP }));
  });
const footage = fc.record({ recorded: ranges, gaps: ranges, deleted: ranges });
const events = fc.array(
  fc.record({
    at: fc.nat(300_000),
    end: fc.option(fc.nat(20_000)),
    cameras: fc.uniqueArray(fc.nat(3), { minLength: 1 }),
  }),
  { minLength: 1, maxLength: 8 },
);

describe('footage of many events, asked for at once', () => {
  it('is what each would be told alone, of a few questions', () => {
    fc.assert(
      fc.property(fc.array(footage, { minLength: 2, maxLength: 3 }), events, (known, list) => {
        let questions = 0;
        const source: FootageSource = {
          isCamera: (camera) => CAMERAS.includes(camera),
          coverage: (camera, stream, range) => {
            questions++;
            // Of the last camera nothing was ever recorded.
            const of = known[CAMERAS.indexOf(camera)];
            if (!of) throw new EngineError('unknown-camera', 'nothing');
            const gaps = of.gaps.map((gap) => ({ ...gap, cause: 'stalled' as const }));
            const deleted = of.deleted.map((one) => ({ ...one, reason: 'age' as const }));
            const { recorded } = stream === 'main' ? of : { recorded: [] };
            return computeCoverage({ camera, stream, ...range }, recorded, gaps, NOW, deleted);
          },
        };
        const records = list.map(
          ({ at, end, cameras }) =>
            ({
              ...{ start: at, end: end === null ? null : at + end, preMs: 5000, postMs: 3000 },
              cameras: cameras.map((camera) => [...CAMERAS, 'none'][camera]!),
            }) as EventRecord,
        );
        // What overlaps may be told in another order.
        const all = (asked: FootageSource): string[] =>
          records.map((record) =>
            JSON.stringify(footageOf(record, asked, NOW, true), (_, value: unknown) =>
              Array.isArray(value) ? value.map((one) => JSON.stringify(one)).sort() : value,
            ),
          );
        const alone = all(source);
        questions = 0;
        const shared = sharedSource(source, records, NOW);
        assert.deepEqual(all(shared), alone);
        assert.ok(questions <= 2 * records.flatMap(({ cameras }) => cameras).length);
      }),
    );
  });

  it('takes one question where all are of the same minute', () => {
    let questions = 0;
    const source: FootageSource = {
      isCamera: () => true,
      coverage: (camera, stream, range) => {
        questions++;
        return computeCoverage({ camera, stream, ...range }, [{ start: 0, end: NOW }], [], NOW);
      },
    };
    const records = Array.from({ length: 500 }, (_, i) => ({
      start: 100_000 + i * 20,
      end: 100_000 + i * 20,
      preMs: 5000,
      postMs: 3000,
      cameras: ['a'],
    })) as EventRecord[];
    const shared = sharedSource(source, records, NOW);
    for (const record of records) footageOf(record, shared, NOW, true);
    assert.equal(questions, 1);
  });
});
