import assert from 'node:assert/strict';
import fc from 'fast-check';
import { MotionEvents } from '../../engine/motion/events.ts';
import { DEFAULT_SETTINGS, type FrameMotion, type MotionEvent, type MotionPhase } from '../../engine/motion/types.ts';

const BOX = { x: 0.1, y: 0.1, width: 0.1, height: 0.2 };

function frame(time: number, score: number, more: Partial<FrameMotion> = {}): FrameMotion {
  const boxes = score > 0 ? [BOX] : [];
  return { time, score, boxes, zones: [], scene: 'steady', cells: new Uint8Array(72), ...more };
}

function collector(holdMs = DEFAULT_SETTINGS.holdMs): MotionEvents {
  let ids = 0;
  return new MotionEvents({ ...DEFAULT_SETTINGS, holdMs }, () => `event-${++ids}`);
}

const phases = (events: MotionEvent[]): MotionPhase[] => events.filter((event) => event.phase !== 'scene-change');

describe('motion events', () => {
  it('puts frames together, dated back, until motion has ended for the hold time', () => {
    const events = collector();
    const all: MotionEvent[] = [];
    for (let time = 0; time <= 10_000; time += 200) {
      const moves = time >= 2000 && time <= 5000 && time !== 3000;
      all.push(...events.step(frame(time, moves ? 0.5 : 0, moves ? { since: 1600, zones: ['door'] } : {})));
    }
    const [start, ...rest] = phases(all);
    assert.deepEqual(
      { ...start },
      { phase: 'start', eventId: 'event-1', start: 1600, end: null, score: 0.5, boxes: [BOX], zones: ['door'] },
    );
    assert.deepEqual(
      rest.map(({ phase }) => phase),
      ['update', 'update', 'end'],
    );
    const { end, boxes, zones } = rest.at(-1)!;
    assert.deepEqual([end, boxes, zones], [5000, [], ['door']]);
    assert.deepEqual(events.flush(20_000), []);
  });

  it('does not end between frames that are farther apart than the hold time', () => {
    const events = collector(1000);
    const all = [0, 4000, 8000, 12_000].flatMap((time) => events.step(frame(time, 0.4)));
    assert.deepEqual(
      all.map(({ phase }) => phase),
      ['start', 'update', 'update', 'update'],
    );
    assert.deepEqual(events.step(frame(16_000, 0)), []);
    assert.equal(phases(events.step(frame(20_000, 0)))[0]?.end, 12_000);
  });

  it('does not count the time in which something only stood there until it was forgotten', () => {
    const events = collector();
    for (let time = 0; time <= 40_000; time += 1000) events.step(frame(time, 0.5, { movedAt: Math.min(time, 5000) }));
    assert.equal(phases(events.flush(41_000))[0]?.end, 5000);
  });

  it('tells of another scene, whether something moves or not', () => {
    const events = collector();
    assert.deepEqual(events.step(frame(200, 0, { scene: 'scene-change' })), [{ phase: 'scene-change', time: 200 }]);
    assert.equal(events.step(frame(400, 1, { scene: 'scene-change' })).length, 2);
  });

  it('has events that start, go on and end in turn, each with its own id, one after the other', () => {
    const step = fc.record({
      wait: fc.integer({ min: 1, max: 5000 }),
      score: fc.constantFrom(0, 0, 0.2, 1),
      back: fc.integer({ min: -500, max: 20_000 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 0, max: 4000 }), (steps, holdMs) => {
        const events = collector(holdMs);
        const all: MotionEvent[] = [];
        let time = 1_000_000;
        for (const { wait, score, back } of steps) {
          time += wait;
          all.push(...events.step(frame(time, score, score > 0 ? { since: time - back } : {})));
        }
        all.push(...events.flush(time));
        let open: MotionPhase | null = null;
        let updated = 0;
        let lastEnd = -Infinity;
        const ids = new Set<string>();
        for (const event of phases(all)) {
          if (event.phase === 'start') {
            assert.equal(open, null);
            assert.ok(!ids.has(event.eventId));
            assert.ok(event.start >= lastEnd);
            ids.add(event.eventId);
            open = event;
            updated = 0;
            continue;
          }
          assert.ok(open);
          assert.deepEqual([event.eventId, event.start], [open.eventId, open.start]);
          if (event.phase === 'update') {
            updated++;
            assert.equal(event.end, null);
            continue;
          }
          assert.ok(event.end! >= event.start);
          assert.ok(updated <= (event.end! - open.start) / 1000 + 1);
          lastEnd = event.end!;
          open = null;
        }
        assert.equal(open, null);
      }),
    );
  });
});
