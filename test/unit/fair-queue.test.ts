import assert from 'node:assert/strict';
import fc from 'fast-check';
import { askedBy } from '../../engine/playback/asker.ts';
import { BURST, FairQueue, placeToFree, type Asker, type AskerKind } from '../../engine/playback/fair-queue.ts';
import { FairTurns } from '../../engine/playback/fair-turns.ts';

const KINDS: AskerKind[] = ['operator', 'viewer', 'link'];
const WEIGHT: Record<AskerKind, number> = { operator: 4, viewer: 2, link: 1 };
const ASKERS: Asker[] = KINDS.flatMap((kind) => ['a', 'b', 'c', 'd'].map((name) => ({ id: `${kind} ${name}`, kind })));
const MOST = 20;

interface Item {
  asker: Asker;
  number: number;
}

/** A queue and what should be in it. */
class Both {
  readonly queue = new FairQueue<Item>(MOST);
  items: Item[] = [];
  private number = 0;

  load(asker: Asker): number {
    return this.items.filter((item) => item.asker === asker).length / WEIGHT[asker.kind];
  }

  /** @returns who lost an item by it */
  push(asker: Asker): Asker | null {
    const item = { asker, number: this.number++ };
    this.items.push(item);
    const loser = this.queue.push(asker, item);
    if (!loser) return null;
    const newest = this.items.findLast((one) => one.asker === loser.asker);
    assert.equal(loser, newest, 'what was asked for last is lost first');
    const { kind } = loser.asker;
    const links = this.items.filter((one) => one.asker.kind === 'link').length;
    const own = this.items.filter((one) => one.asker === loser.asker).length;
    const part = { operator: MOST, viewer: MOST / 2, link: MOST / 5 }[kind];
    if (own <= part) {
      assert.ok(this.items.length > MOST || (kind === 'link' && links > MOST / 2), 'nobody is refused without need');
      const among = this.items.length > MOST && links <= MOST / 2 ? ASKERS : ASKERS.filter((one) => one.kind === kind);
      for (const other of among) {
        assert.ok(this.load(other) <= this.load(loser.asker), `${loser.asker.id} lost, ${other.id} has more`);
      }
    }
    this.items = this.items.filter((one) => one !== loser);
    return loser.asker;
  }

  take(): Item | null {
    const item = this.queue.take();
    assert.equal(item === null, this.items.length === 0, 'something is served while something waits');
    if (!item) return null;
    assert.equal(
      item,
      this.items.find((one) => one.asker === item.asker),
      'the oldest of an asker first',
    );
    this.items = this.items.filter((one) => one !== item);
    return item;
  }
}

const askers = fc.constantFrom(...ASKERS);

describe('fair shares of a queue', () => {
  it('is bounded, serves whenever something waits, each asker in order, and refuses only who has the most', () => {
    const steps = fc.array(
      fc.oneof({ weight: 3, arbitrary: askers }, fc.constantFrom('take' as const, 'leave' as const)),
      {
        maxLength: 200,
      },
    );
    fc.assert(
      fc.property(steps, (all) => {
        const both = new Both();
        for (const step of all) {
          if (step === 'take') both.take();
          else if (step === 'leave') {
            const [first] = both.items.splice(Math.floor(both.items.length / 2), 1);
            if (first) assert.ok(both.queue.remove(first) && !both.queue.remove(first));
          } else both.push(step);
          assert.ok(both.queue.size <= MOST);
          assert.equal(both.queue.size, both.items.length);
        }
        while (both.take());
      }),
    );
  });

  it('takes in whoever has nothing waiting, whatever one other asks for', () => {
    fc.assert(
      fc.property(askers, askers, fc.integer({ min: 1, max: 300 }), (greedy, modest, times) => {
        fc.pre(greedy !== modest);
        const both = new Both();
        for (let i = 0; i < times; i++) both.push(greedy);
        assert.notEqual(both.push(modest), modest);
      }),
    );
  });

  it('bounds how long each kind waits while others ask without end', () => {
    fc.assert(
      fc.property(askers, fc.array(askers, { minLength: 1 }), (one, others) => {
        const both = new Both();
        both.push(one);
        const [own] = both.items;
        const same = ASKERS.filter(({ kind }) => kind === one.kind).length;
        // Every (BURST + 1)th turn at least goes to a kind behind; between those of a kind it goes round.
        const most = { operator: 2, viewer: BURST + 2, link: (BURST + 1) ** 2 }[one.kind] * same;
        let turns = 0;
        for (let served: Item | null = null; served !== own; turns++) {
          for (const other of others) if (other !== one) both.push(other);
          served = both.take();
          assert.ok(turns <= most, `${turns} turns`);
        }
      }),
    );
  });

  it('frees a place of who holds most, for who would then not hold more, and none that several use', () => {
    const [a, b, , , viewer] = ASKERS as [Asker, Asker, Asker, Asker, Asker];
    assert.equal(placeToFree([[a], [b], [a], [a]], b), 3, 'the newest');
    assert.equal(placeToFree([[a], [b], [a], [b]], b), null);
    assert.equal(placeToFree([[a], [a], [b], [b]], viewer), null, 'operators hold twice as many');
    assert.equal(placeToFree([[a], [a], [a], [a, b]], viewer), 2);
    const holding = fc.array(fc.array(askers, { minLength: 1, maxLength: 2 }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(holding, askers, (held, newcomer) => {
        const free = placeToFree(held, newcomer);
        if (free === null) return;
        assert.equal(new Set(held[free]).size, 1);
        const after = [...held.filter((_, i) => i !== free), [newcomer]];
        const [loser] = held[free]!;
        // It is not pushed out in turn: nobody is thrown out again and again.
        const back = placeToFree(after, loser!);
        assert.ok(back === null || after[back]![0] !== newcomer);
      }),
    );
  });
});

describe('turns', () => {
  const busy = 'too much at once';
  const [operator, , , , viewer, , , , link, other] = ASKERS as [Asker, Asker, Asker, Asker, Asker, ...Asker[]];

  /** Work that lasts until it is ended. */
  function jobs(turns: FairTurns) {
    const begun: string[] = [];
    const ends = new Map<string, () => void>();
    const ask = (asker: Asker, name: string, gone: AbortSignal | null = null): Promise<void> =>
      askedBy(asker, gone, () =>
        turns.run(() => {
          begun.push(name);
          return new Promise<void>((resolve) => ends.set(name, resolve));
        }),
      );
    const end = async (name: string): Promise<void> => {
      ends.get(name)!();
      for (let i = 0; i < 5; i++) await Promise.resolve();
    };
    return { begun, ask, end };
  }
  const settled = async (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

  it('of a link that asks for everything leave one to the others, at once and when it waits', async () => {
    const turns = new FairTurns({ atOnce: 2, mostWaiting: 10, busy });
    const { begun, ask, end } = jobs(turns);
    const all = Array.from({ length: 300 }, (_, i) => ask(link!, `link ${i}`));
    const refused = Promise.allSettled(all.slice(3));
    await settled();
    assert.deepEqual(begun, ['link 0']);
    assert.ok(
      (await refused).every((one) => one.status === 'rejected' && (one.reason as { code: string }).code === 'busy'),
    );
    const after = [ask(operator, 'operator'), ask(other!, 'other link'), ask(viewer, 'viewer')];
    await settled();
    assert.deepEqual(begun, ['link 0', 'operator']);
    await end('operator');
    assert.deepEqual(begun.slice(2), ['viewer']);
    await end('link 0');
    assert.equal(begun[3], 'link 1');
    await end('link 1');
    assert.equal(begun[4], 'other link', 'the link that had none before the one that had');
    await end('other link');
    await end('link 2');
    await end('viewer');
    await Promise.all([...after, ...all.slice(0, 3)]);
  });

  it('are not waited for by who left, and what is wanted by others goes on', async () => {
    const turns = new FairTurns({ atOnce: 1, mostWaiting: 10, busy });
    const { begun, ask, end } = jobs(turns);
    const first = ask(operator, 'first');
    const leaving = new AbortController();
    const left = ask(viewer, 'left', leaving.signal);
    const next = ask(viewer, 'next');
    leaving.abort();
    await assert.rejects(left, { code: 'gone' });
    await assert.rejects(ask(viewer, 'too late', leaving.signal), { code: 'gone' });
    await end('first');
    assert.deepEqual(begun, ['first', 'next']);
    await end('next');
    await Promise.all([first, next]);
  });

  it('are passed on when the work fails', async () => {
    const turns = new FairTurns({ atOnce: 1, mostWaiting: 10, busy });
    const failing = turns.run(() => Promise.reject(new Error('it failed')));
    const next = turns.run(() => Promise.resolve('done'));
    await assert.rejects(failing, /it failed/);
    assert.equal(await next, 'done');
  });
});
