import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../../engine/clock.ts';
import { ClipJobs } from '../../engine/notify/clip-jobs.ts';
import { NotifyStore, openNotifyFile } from '../../engine/notify/notify-store.ts';
import { MAX_REFUSALS, Outbox, Refused, type Channel } from '../../engine/notify/outbox.ts';
import type { ClipEvent, ClipJob, DeliveryMessage, NotifyPolicy, Parcel } from '../../engine/notify/types.ts';

/** Time that goes on when it is told to. */
class TestClock implements Clock {
  time = 1_700_000_000_000;
  private offset = 0;
  private timers: { at: number; call: () => void }[] = [];
  now(): number {
    return this.time + this.offset;
  }
  /** The wall clock alone. */
  set(now: number): void {
    this.offset = now - this.time;
  }
  monotonic(): number {
    return this.time;
  }
  after(ms: number, call: () => void): () => void {
    const timer = { at: this.time + ms, call };
    this.timers.push(timer);
    return () => (this.timers = this.timers.filter((other) => other !== timer));
  }
  async advance(ms: number): Promise<void> {
    const end = this.time + ms;
    for (;;) {
      for (let i = 0; i < 5; i++) await Promise.resolve();
      const next = this.timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.timers = this.timers.filter((timer) => timer !== next);
      this.time = Math.max(this.time, next.at);
      next.call();
    }
    this.time = end;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const unexpected = (problem: string): void => {
  throw new Error(problem);
};
const parcel = (id: string, body = 'x'): Parcel => ({ id, channel: 'c', topic: 't', body });

describe('the outbox', () => {
  let folder: string;
  let store: NotifyStore;
  let clock: TestClock;
  let told: DeliveryMessage[];
  let sent: string[];
  let problems: string[];
  let answer: (parcel: Parcel) => Promise<void>;
  let outbox: Outbox;
  const channel = (ready = true): Channel & { ready: boolean } => ({
    ready,
    limit: 4,
    deliver: (of) => {
      sent.push(of.id);
      return answer(of);
    },
    close: () => Promise.resolve(),
  });
  const open = (bounds = { rows: 100, bytes: 1e6 }): void => {
    store = new NotifyStore(openNotifyFile(join(folder, 'notify.sqlite'), unexpected, 0));
    outbox = new Outbox(store, {
      ...{ clock, random: () => 0.5, tell: (_node, message) => told.push(message), bounds },
      problem: (message) => problems.push(message),
    });
  };
  const put = (...parcels: Parcel[]): void => {
    store.transaction(() => outbox.put('n', parcels));
    outbox.pumpAll();
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-outbox-'));
    clock = new TestClock();
    told = [];
    sent = [];
    problems = [];
    answer = () => Promise.resolve();
    open();
  });
  afterEach(() => {
    store.close();
    rmSync(folder, { recursive: true });
  });

  it('delivers once, and knows what it has already', async () => {
    outbox.open('c', channel());
    put(parcel('a'), parcel('b'), parcel('a'));
    await clock.advance(10_000);
    assert.deepEqual(sent, ['a', 'b']);
    assert.deepEqual(
      told.map((message) => message.type === 'delivery' && message.state),
      ['delivered', 'delivered'],
    );
    assert.deepEqual(store.counts('n'), {
      jobs: 0,
      waiting: 0,
      dead: 0,
      bytes: 0,
      delivered: 2,
      dropped: 0,
      suppressed: {},
    });
  });

  it('keeps what it has over a restart, and waits for the connection', async () => {
    const way = channel(false);
    outbox.open('c', way);
    put(parcel('a'));
    await clock.advance(3_600_000);
    assert.deepEqual(sent, []);
    store.close();
    open();
    const next = channel(true);
    outbox.open('c', next);
    await clock.advance(1);
    assert.deepEqual(sent, ['a']);
  });

  it('tries again while there is no way, with one message for all, and counts no attempt', async () => {
    answer = () => Promise.reject(new Error('gone'));
    outbox.open('c', channel());
    put(...Array.from({ length: 20 }, (_, i) => parcel(`p${i}`)));
    await clock.advance(3_600_000);
    // Four at first; then one, each minute at last.
    assert.ok(sent.length > 60 && sent.length < 110, `${sent.length} attempts in an hour`);
    // Each was tried once, for it may be one of them that is at fault.
    assert.deepEqual([new Set(sent.slice(0, 24)).size, new Set(sent.slice(24)).size], [20, 1]);
    assert.ok(store.entries(['n'], 100).every(({ attempts, state }) => attempts === 0 && state === 'waiting'));
    assert.equal(told.filter((message) => message.type === 'delivery' && message.state === 'retry').length, 1);
    answer = () => Promise.resolve();
    await clock.advance(60_000);
    assert.equal(store.counts('n').delivered, 20);
  });

  it('makes a dead letter of what is refused too often; it can be sent again or thrown away', async () => {
    answer = ({ id }) => (id === 'good' ? Promise.resolve() : Promise.reject(new Refused('400 Bad Request')));
    outbox.open('c', channel());
    put(parcel('bad'), parcel('good'));
    await clock.advance(24 * 3_600_000);
    assert.deepEqual(
      [sent.filter((id) => id === 'bad').length, sent.filter((id) => id === 'good').length],
      [MAX_REFUSALS, 1],
    );
    const last = told.at(-1)!;
    assert.ok(last.type === 'delivery' && last.state === 'dead' && last.problem === '400 Bad Request');
    assert.deepEqual(
      store.entries(['n'], 10).map(({ id, state, attempts }) => [id, state, attempts]),
      [['bad', 'dead', MAX_REFUSALS]],
    );
    assert.equal(store.resend(['other'], null, clock.now()), 0);
    assert.equal(store.resend(['n'], 'bad', clock.now()), 1);
    answer = () => Promise.resolve();
    outbox.pumpAll();
    await clock.advance(1);
    assert.deepEqual([store.counts('n').dead, store.counts('n').delivered], [0, 2]);
    answer = () => Promise.reject(new Refused('no'));
    put(parcel('worse'));
    await clock.advance(24 * 3_600_000);
    assert.equal(store.discard(['n'], null), 1);
    assert.deepEqual(store.entries(['n'], 10), []);
  });

  it('does not let one that never gets an answer keep the others, and makes a dead letter of it', async () => {
    answer = ({ id }) => (id === 'poison' ? Promise.reject(new Error('no answer')) : Promise.resolve());
    outbox.open('c', channel());
    put(parcel('poison'), parcel('a'), parcel('b'));
    await clock.advance(60_000);
    assert.deepEqual(sent.filter((id) => id !== 'poison').sort(), ['a', 'b']);
    for (let hour = 0; hour < 24; hour++) {
      put(parcel(`of hour ${hour}`));
      await clock.advance(3_600_000);
    }
    assert.equal(sent.filter((id) => id.startsWith('of hour')).length, 24);
    assert.deepEqual(
      store.entries(['n'], 10).map(({ id, state }) => [id, state]),
      [['poison', 'dead']],
    );
  });

  it('delivers once, and others, too, when the disk of the outbox is full', async () => {
    const delivered = store.delivered.bind(store);
    const full = Object.assign(new Error('database or disk is full'), { code: 'SQLITE_FULL' });
    store.delivered = () => {
      throw full;
    };
    outbox.open('c', channel());
    put(parcel('a'), parcel('b'));
    await clock.advance(3_600_000);
    put(parcel('c'));
    await clock.advance(3_600_000);
    assert.deepEqual(sent, ['a', 'b', 'c']);
    assert.match(problems[0]!, /the outbox cannot be written: database or disk is full/);
    store.delivered = delivered;
    await clock.advance(60_000);
    assert.deepEqual([sent.length, store.entries(['n'], 10).length], [3, 0]);
    // One that is refused meanwhile is tried again, and nothing is thrown that nobody catches.
    store.retry = () => {
      throw full;
    };
    answer = () => Promise.reject(new Refused('no'));
    put(parcel('d'));
    await clock.advance(60_000);
    assert.ok(sent.length > 5 && sent.length < 12, `${sent.length} attempts`);
  });

  it('does not wait for one that was put off before it tries the way again', async () => {
    answer = () => Promise.reject(new Refused('later', 900_000));
    outbox.open('c', channel());
    put(parcel('put off'));
    await clock.advance(1);
    answer = () => Promise.reject(new Error('gone'));
    put(parcel('a'));
    await clock.advance(1);
    answer = () => Promise.resolve();
    await clock.advance(2000);
    assert.deepEqual(sent, ['put off', 'a', 'a']);
  });

  it('goes on when the clock is set back', async () => {
    answer = () => Promise.reject(new Refused('not now'));
    outbox.open('c', channel());
    put(parcel('a'));
    await clock.advance(1);
    clock.set(clock.now() - 86_400_000);
    answer = () => Promise.resolve();
    outbox.tidy();
    await clock.advance(60_000);
    assert.deepEqual(sent, ['a', 'a']);
  });

  it('waits as long as the other side wishes', async () => {
    answer = () => Promise.reject(new Refused('429', 600_000));
    outbox.open('c', channel());
    put(parcel('a'));
    await clock.advance(599_000);
    assert.equal(sent.length, 1);
    await clock.advance(2000);
    assert.equal(sent.length, 2);
  });

  it('gives up what waited for a week, also without a way', async () => {
    put(parcel('a'));
    await clock.advance(7 * 24 * 3_600_000 + 1);
    outbox.tidy();
    assert.deepEqual(
      store.entries(['n'], 10).map(({ state }) => state),
      ['dead'],
    );
    assert.ok(told[0]?.type === 'delivery' && told[0].state === 'dead');
  });

  it('stays within its bounds, and tells what it dropped', async () => {
    store.close();
    open({ rows: 3, bytes: 1000 });
    for (const id of ['a', 'b', 'c', 'd', 'e']) put(parcel(id));
    assert.deepEqual(
      store.entries(['n'], 10).map(({ id }) => id),
      ['c', 'd', 'e'],
    );
    put(parcel('large', 'x'.repeat(999)));
    assert.deepEqual(
      store.entries(['n'], 10).map(({ id }) => id),
      ['e', 'large'],
    );
    assert.equal(store.counts('n').dropped, 4);
    assert.deepEqual(
      told.map((message) => message.type === 'delivery' && message.state === 'dropped' && message.count),
      [1, 1, 2],
    );
    await clock.advance(1);
  });

  it('sets a file aside that cannot be read', () => {
    store.close();
    const file = join(folder, 'notify.sqlite');
    for (const end of ['-wal', '-shm']) rmSync(file + end, { force: true });
    writeFileSync(file, 'not a database at all '.repeat(100));
    const problems: string[] = [];
    store = new NotifyStore(openNotifyFile(file, (problem) => problems.push(problem), 7));
    assert.match(problems[0]!, /is kept as .*damaged-7/);
    assert.ok(readdirSync(folder).includes('notify.sqlite.damaged-7'));
    assert.equal(store.counts('n').waiting, 0);
  });
});

describe('clips that are to be made', () => {
  const T = 1_700_000_000_000;
  let folder: string;
  let store: NotifyStore;
  let clock: TestClock;
  let due: ClipJob[];
  let jobs: ClipJobs;
  const POLICY: NotifyPolicy = {
    ...{ perMinute: 0, cooldownMs: 0, quiet: null, groupMs: 0, maxClipMs: 60_000 },
    keep: { ms: 1, bytes: 1, folder: '/' },
  };
  const event = (eventId: string, more: Partial<ClipEvent> = {}): ClipEvent => ({
    ...{ eventId, correlationId: null, kind: 'motion', cameras: ['front'], start: T, end: T + 2000 },
    ...{ preMs: 5000, postMs: 3000, label: null, severity: null, zones: [], exempt: false, ...more },
  });
  const open = (policy: Partial<NotifyPolicy> = {}): void => {
    store = new NotifyStore(openNotifyFile(join(folder, 'notify.sqlite'), unexpected, 0));
    jobs = new ClipJobs(store, { clock, random: () => 0.5, due: (job) => due.push(job) });
    jobs.setNode('n', { ...POLICY, ...policy });
  };
  const reopen = (policy: Partial<NotifyPolicy> = {}): void => {
    jobs.close();
    store.close();
    open(policy);
  };
  const finish = (job: ClipJob): void => {
    jobs.finish(job.id);
    jobs.finished(job.id);
  };
  const ids = (job: ClipJob | undefined): string[] => job?.events.map(({ eventId }) => eventId) ?? [];
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-jobs-'));
    clock = new TestClock();
    due = [];
    open();
  });
  afterEach(() => {
    jobs.close();
    store.close();
    rmSync(folder, { recursive: true });
  });

  it('are due when the time behind the event has passed, also after a restart', async () => {
    jobs.submit('n', event('a'));
    await clock.advance(5500);
    assert.deepEqual(due, []);
    reopen();
    await clock.advance(999);
    assert.deepEqual(due, []);
    await clock.advance(1);
    assert.deepEqual(ids(due[0]), ['a']);
  });

  it('are looked at again when there was more to wait for, without a word to the disk', async () => {
    jobs.submit('n', event('a'));
    await clock.advance(6500);
    jobs.later(due[0]!.id, null, 250);
    await clock.advance(249);
    assert.equal(due.length, 1);
    await clock.advance(1);
    assert.equal(due.length, 2);
    jobs.later(due[0]!.id, null, 250);
    reopen(); // what is not written is not missed: it is due
    await clock.advance(1);
    assert.equal(due.length, 3);
    jobs.later(due[0]!.id, 'a disk that does not answer', null);
    await clock.advance(499);
    assert.equal(due.length, 3);
    await clock.advance(600);
    assert.equal(due.length, 4);
    assert.equal(due[3]!.attempts, 1);
  });

  it('are made once for each event, whenever it is told again', async () => {
    jobs.submit('n', event('a'));
    jobs.submit('n', event('a'));
    await clock.advance(10_000);
    assert.equal(due.length, 1);
    jobs.submit('n', event('a'));
    finish(due[0]!);
    jobs.submit('n', event('a'));
    reopen();
    jobs.submit('n', event('a'));
    await clock.advance(600_000);
    assert.equal(due.length, 1);
    assert.equal(store.jobCount('n'), 0);
  });

  it('wait for the end of an event that lasts', async () => {
    jobs.submit('n', event('a', { end: null }));
    await clock.advance(20_000);
    jobs.submit('n', event('a', { end: T + 21_000, zones: ['door'] }));
    await clock.advance(5000);
    assert.equal(due.length, 0);
    await clock.advance(1500);
    assert.deepEqual([due[0]!.events[0]!.end, due[0]!.events[0]!.zones], [T + 21_000, ['door']]);
    finish(due[0]!);
    jobs.submit('n', event('endless', { end: null, start: clock.now() }));
    await clock.advance(57_000);
    assert.deepEqual(ids(due[1]), ['endless']);
  });

  it('are passed on anew to a node that is deployed anew, and after a crash in the middle', async () => {
    jobs.submit('n', event('a'));
    await clock.advance(10_000);
    jobs.setNode('n', null);
    await clock.advance(60_000);
    assert.equal(due.length, 1);
    jobs.setNode('n', POLICY);
    assert.deepEqual(due.map(ids), [['a'], ['a']]);
    reopen();
    assert.equal(due.length, 3);
  });

  it('are tried again later and later', async () => {
    jobs.submit('n', event('a'));
    await clock.advance(10_000);
    for (let i = 0; i < 20; i++) {
      const before = due.length;
      jobs.later(due.at(-1)!.id, 'the storage does not answer', null);
      await clock.advance(60_000);
      assert.equal(due.length, before + 1);
    }
    assert.equal(due.at(-1)!.attempts, 20);
    assert.equal(store.jobs('n', 1)[0]!.problem, 'the storage does not answer');
    jobs.later(due.at(-1)!.id, null, 1000);
    await clock.advance(1000);
    assert.equal(due.at(-1)!.attempts, 20, 'to wait for more is no failure');
  });

  it('are bundled when events begin together; what somebody waits for is alone', async () => {
    reopen({ groupMs: 5000 });
    jobs.submit('n', event('a'));
    jobs.submit('n', event('b', { cameras: ['yard'], start: T + 4000, end: T + 9000 }));
    jobs.submit('n', event('c', { cameras: ['gate'], start: T + 9000, end: T + 9000 }));
    jobs.submit('n', event('plc', { kind: 'external', correlationId: 'x', exempt: true }));
    await clock.advance(60_000);
    assert.deepEqual(due.map(ids).sort(), [['a', 'b'], ['c'], ['plc']]);
  });

  it('are bundled for as long as is wished, also when events end or are told again meanwhile', async () => {
    reopen({ groupMs: 60_000 });
    jobs.submit('n', event('a', { end: null }));
    await clock.advance(1000);
    jobs.submit('n', event('a'));
    await clock.advance(19_000);
    jobs.submit('n', event('b', { start: T + 20_000, end: T + 21_000 }));
    await clock.advance(30_000);
    assert.deepEqual(due, []);
    await clock.advance(60_000);
    assert.deepEqual(due.map(ids), [['a', 'b']]);
  });

  it('of events that came late are wanted since they came', async () => {
    const late = { start: T - 5 * 3_600_000, end: T - 5 * 3_600_000, exempt: true };
    jobs.submit('n', event('a', late));
    jobs.later(due[0]!.id, 'busy', null);
    jobs.submit('n', event('a', { ...late, label: 'more is known' }));
    await clock.advance(60_000);
    assert.deepEqual([due.length, due[1]!.wanted, due[1]!.attempts], [2, T, 1]);
  });

  it('are refused where somebody waits for them and there are too many, and can be asked for again', async () => {
    store.transaction(() => {
      for (let i = 0; i < 5000; i++) store.addJob('n', [event(`old ${i}`)], T + 1e9, T);
    });
    const wanted = event('wanted', { exempt: true });
    assert.throws(() => jobs.submit('n', wanted), { code: 'busy' });
    assert.equal(jobs.submit('n', event('other')), 'job-limit');
    store.removeJob(1);
    assert.equal(jobs.submit('n', wanted), null);
    await clock.advance(60_000);
    assert.deepEqual(due.map(ids), [['wanted']]);
  });

  it('are not too many in a minute because the clock was set back', () => {
    reopen({ perMinute: 2 });
    for (const id of ['a', 'b']) assert.equal(jobs.submit('n', event(id)), null);
    assert.equal(jobs.submit('n', event('c')), 'rate-limit');
    clock.set(T - 3_600_000);
    assert.equal(jobs.submit('n', event('d', { start: T - 3_600_000, end: T - 3_600_000 })), null);
  });

  it('are left out by the policy, and counted', async () => {
    reopen({ cooldownMs: 60_000, perMinute: 2 });
    assert.equal(jobs.submit('n', event('a')), null);
    assert.equal(jobs.submit('n', event('b', { start: T + 1000 })), 'cooldown');
    reopen({ cooldownMs: 60_000, perMinute: 2 });
    assert.equal(jobs.submit('n', event('c', { start: T + 1000 })), 'cooldown', 'also after a restart');
    assert.equal(jobs.submit('n', event('d', { cameras: ['yard'] })), null);
    assert.equal(jobs.submit('n', event('e', { cameras: ['gate'] })), 'rate-limit');
    assert.equal(jobs.submit('n', event('f', { exempt: true })), null);
    assert.equal(jobs.submit('n', event('b', { end: T + 9000 })), 'cooldown', 'it stays left out');
    assert.deepEqual(store.counts('n').suppressed, { cooldown: 2, 'rate-limit': 1 });
    await clock.advance(61_000);
    assert.equal(jobs.submit('n', event('g')), null);
    await clock.advance(60_000);
    assert.deepEqual(due.flatMap(ids).sort(), ['a', 'd', 'f', 'g']);
  });

  it('are forgotten after a week without their node, their events after a month', async () => {
    jobs.submit('n', event('a'));
    jobs.setNode('n', null);
    await clock.advance(8 * 24 * 3_600_000);
    jobs.tidy();
    assert.equal(store.jobCount('n'), 0);
    assert.notEqual(store.seen('n', 'a'), null);
    await clock.advance(30 * 24 * 3_600_000);
    jobs.tidy();
    assert.equal(store.seen('n', 'a'), null);
  });
});
