import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import type { Clock } from '../../engine/clock.ts';
import { QueryHost, type QueryThread } from '../../engine/playback/query-host.ts';
import type { QueryRequest } from '../../engine/thread/query-thread.ts';

const TIMEOUT_MS = 15_000;

describe('questions to the query thread', () => {
  let threads: Thread[];
  let time: Time;
  let host: QueryHost;
  beforeEach(() => {
    threads = [];
    time = new Time();
    const start = (): QueryThread => {
      const thread = new Thread();
      threads.push(thread);
      return thread as unknown as QueryThread;
    };
    const noBucket = (): Promise<void> => Promise.reject(new Error('no bucket'));
    host = new QueryHost({ catalog: '', cache: '' }, noBucket, { start, clock: time });
  });

  it('are given their time from when the thread begins with them', async () => {
    const answers = Array.from({ length: 10 }, () => host.call('cameras'));
    for (let i = 0; i < 10; i++) {
      assert.equal(threads[0]!.asked.length, i + 1, 'one at a time');
      time.pass(TIMEOUT_MS - 1);
      threads[0]!.answer([`${i}`]);
    }
    assert.deepEqual(
      await Promise.all(answers),
      Array.from({ length: 10 }, (_, i) => [`${i}`]),
    );
    time.pass(10 * TIMEOUT_MS);
    assert.deepEqual([threads.length, threads[0]!.left], [1, false]);
  });

  it('that wait are bounded', async () => {
    const answers = Array.from({ length: 501 }, () => host.call('cameras'));
    await assert.rejects(host.call('cameras'), { code: 'busy' });
    for (let i = 0; i < 501; i++) threads[0]!.answer([]);
    assert.equal((await Promise.all(answers)).length, 501);
  });

  it('are put to another thread when one hangs, until too many hang; one that wakes up is asked again', async () => {
    for (let i = 0; i < 4; i++) {
      const both = Promise.allSettled([host.call('cameras'), host.call('tags')]);
      time.pass(TIMEOUT_MS);
      assert.deepEqual(
        (await both).map((one) => one.status === 'rejected' && (one.reason as { code: string }).code),
        ['timeout', 'timeout'],
      );
    }
    assert.deepEqual(
      threads.map(({ left }) => left),
      [true, true, true, false],
    );
    await assert.rejects(host.call('cameras'), { code: 'timeout' }, 'at once: nobody works on it');
    threads[0]!.answer(['of a thread that was left']);
    await assert.rejects(host.call('cameras'), { code: 'timeout' });
    threads[3]!.answer(['too late']);
    const answer = host.call('cameras');
    threads[3]!.answer(['in time']);
    assert.deepEqual(await answer, ['in time']);
    assert.equal(threads.length, 4);
  });
});

/** Time that passes when it is told to. */
class Time implements Clock {
  private at = 0;
  private calls: { at: number; call: () => void }[] = [];

  now(): number {
    return this.at;
  }

  monotonic(): number {
    return this.at;
  }

  after(ms: number, call: () => void): () => void {
    const one = { at: this.at + ms, call };
    this.calls.push(one);
    return () => (this.calls = this.calls.filter((other) => other !== one));
  }

  pass(ms: number): void {
    this.at += ms;
    const due = this.calls.filter(({ at }) => at <= this.at);
    this.calls = this.calls.filter(({ at }) => at > this.at);
    for (const { call } of due) call();
  }
}

/** A thread that answers when it is told to, and cannot be ended. */
class Thread extends EventEmitter {
  readonly asked: QueryRequest[] = [];
  left = false;

  postMessage(request: QueryRequest): void {
    this.asked.push(request);
  }

  /** To what it was asked last. */
  answer(result: unknown): void {
    this.emit('message', { id: this.asked.at(-1)!.id, result });
  }

  terminate(): Promise<number> {
    this.left = true;
    return new Promise(() => undefined);
  }
}
