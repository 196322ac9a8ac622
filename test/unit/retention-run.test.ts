import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { segmentPath } from '../../engine/recording/segment-path.ts';
import { CatalogSource } from '../../engine/retention/catalog-source.ts';
import { DeletionStore } from '../../engine/retention/deletion-store.ts';
import { diskOfFiles } from '../../engine/retention/deletion.ts';
import { RetentionLink, type RetentionReply, type RetentionRequest } from '../../engine/retention/link.ts';
import { WriteRates } from '../../engine/retention/rates.ts';
import { PASS_MS, Retention, type RetentionEffects } from '../../engine/retention/retention.ts';
import type { Room } from '../../engine/retention/place.ts';
import type { CopyItem, CopyReport } from '../../engine/upkeep/types.ts';
import type {
  AboutToDeleteMessage,
  RetentionMessage,
  RetentionSpec,
  RetentionStateMessage,
} from '../../engine/retention/types.ts';

const T0 = Date.UTC(2026, 4, 1);
const MINUTE = 60_000;

describe('a retention run', () => {
  let folder: string;
  let catalog: Catalog;
  let store: DeletionStore;
  let retention: Retention;
  let now: number;
  let free: number;
  let freeOf: (storage: string) => number;
  let storages: string[];
  let unlinkError: (file: string) => string | null;
  /** How far the wall clock is ahead. */
  let ahead: number;
  let size: number;
  /** Of the tier, while it is there. */
  let tierRoom: Room | null;
  let relieve: () => void;
  let readOnly: boolean;
  let check: () => void;
  let effects: RetentionEffects;
  let messages: RetentionMessage[];
  let largest: number;
  let copied: (items: CopyItem[]) => Promise<CopyReport>;
  const open = (): void => {
    const upkeep = {
      ...{ set: () => undefined, check: () => undefined, cancel: () => false, close: () => undefined, problem: null },
      ...{ compare: () => Promise.reject(new Error('none')), backUp: () => Promise.reject(new Error('none')) },
      copy: (_id: string, items: CopyItem[]) => copied(items),
    };
    effects = {
      clock: {
        now: () => now + ahead,
        monotonic: () => now,
        after: (ms, call) => {
          if (ms === 5000) check = call;
          else setImmediate(call);
          return () => undefined;
        },
      },
      store,
      source: () => new CatalogSource(catalog.db),
      files: {
        ...diskOfFiles,
        unlink: (file) => {
          const code = unlinkError(file);
          if (code) throw Object.assign(new Error(code), { code });
          if (readOnly) throw Object.assign(new Error('EROFS: read-only file system'), { code: 'EROFS' });
          diskOfFiles.unlink(file);
        },
      },
      storages: () => storages,
      recorded: [folder],
      tiering: {
        ...{ set: () => undefined, run: () => undefined, close: () => undefined, plan: () => [], states: [] },
        ...{ has: () => false, relieve: () => relieve(), problem: null, roomOf: () => tierRoom },
        get folders() {
          return tierRoom ? ['/nas'] : [];
        },
      },
      diskOf: (storage) => ({ disk: storage, freeBytes: freeOf(storage), totalBytes: size }),
      tell: (message) => messages.push(message),
      settle: () => undefined,
      prune: () => [],
      still: ({ camera, start }) => Promise.resolve({ camera, time: start, image: Buffer.from('jpeg') }),
      upkeep,
    };
    retention = new Retention(effects);
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-retention-'));
    writeFileSync(join(folder, '.flow-nvr'), '');
    catalog = Catalog.open(join(folder, 'catalog.sqlite'));
    now = T0 + 1000 * MINUTE;
    free = 1e12;
    size = 2e12;
    relieve = () => undefined;
    tierRoom = null;
    freeOf = () => free;
    storages = [folder];
    unlinkError = () => null;
    ahead = 0;
    readOnly = false;
    messages = [];
    largest = 0;
    store = new DeletionStore(catalog.db, (ms) => retention.locked(ms));
    const mark = store.mark.bind(store);
    store.mark = (items, at) => {
      largest = Math.max(largest, items.length);
      return mark(items, at);
    };
    copied = () => Promise.resolve({ files: 0, bytes: 0 });
    open();
  });
  afterEach(() => {
    catalog.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const add = (count: number, camera = 'yard', storage = folder): string[] =>
    Array.from({ length: count }, (_, minute) => {
      const startMs = T0 + minute * MINUTE;
      const path = segmentPath(camera, 'main', startMs);
      catalog.openSegment({
        ...{ camera, stream: 'main', storage, path, recordingId: null, init: Buffer.from('init') },
        ...{ startMs, startTicks: 0 },
      });
      const end = { endMs: startMs + MINUTE, bytes: 10, frames: 1, gops: Buffer.alloc(0) };
      catalog.closeSegment({ storage, path, ...end });
      mkdirSync(dirname(join(storage, path)), { recursive: true });
      writeFileSync(join(storage, path), Buffer.alloc(10));
      return join(storage, path);
    });
  const spec = (of: Partial<RetentionSpec> = {}): RetentionSpec => ({
    ...{ node: 'n', vetoMs: 0, rules: { rules: [{ id: 'r', cameras: '*', keep: {}, quotaBytes: 50 }] } },
    ...of,
  });
  const rows = (): number => catalog.db.prepare('SELECT count(*) FROM segment').pluck().get() as number;
  const left = (files: string[]): number => files.filter((file) => existsSync(file)).length;
  const until = async (test: () => boolean): Promise<void> => {
    for (let i = 0; !test(); i++) {
      assert.ok(i < 1000, 'it does not come to that');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const state = (): RetentionStateMessage =>
    messages.findLast((message) => message.type === 'storage') as RetentionStateMessage;
  const announced = (): AboutToDeleteMessage[] => messages.filter((message) => message.type === 'about-to-delete');

  it('looks at the folders before each plan, since an answer of before would have more deleted', async () => {
    const files = add(600);
    free = NaN; // what is not known yet must not be planned with
    let look = (): void => {
      free = 1e9 + (600 - left(files)) * 10;
    };
    effects.folders = { look: () => Promise.resolve().then(() => look()), problem: 'a disk hangs' };
    retention.set(spec({ rules: { rules: [], minFree: { bytes: 1e9 + 4000 } } }));
    const { files: deleted } = await retention.run();
    assert.deepEqual([deleted, left(files)], [400, 200]);
    assert.deepEqual([state().storages[0]!.freeBytes, state().problem], [1e9 + 4000, 'a disk hangs']);
    // The rules go while the folders are looked at.
    look = () => retention.set(null);
    await assert.rejects(retention.run(), /no rules/);
    retention.set(spec());
    let looks = 0;
    look = () => (++looks === 2 ? retention.set(null) : undefined);
    assert.equal((await retention.run()).files, 0, 'or between two looks of one run');
  });

  it('deletes in bounded batches until the rules are met, and tells what it did', async () => {
    const files = add(600);
    retention.set(spec());
    const result = await retention.run();
    assert.deepEqual([result.files, result.bytes, rows(), left(files)], [595, 5950, 5, 5]);
    assert.ok(largest <= 50, `${largest} in one transaction`);
    const deleted = messages.find((message) => message.type === 'deleted');
    assert.deepEqual(deleted?.shares, [
      ...[{ camera: 'yard', reason: 'quota', start: T0, end: T0 + 595 * MINUTE, files: 595, bytes: 5950 }],
    ]);
    assert.deepEqual([state().storages[0]?.usedBytes, state().rules[0]?.deleteFiles, state().problem], [50, 0, null]);
    assert.equal((await retention.run()).files, 0);
  });

  it('does not count what was not there as room that it made', async () => {
    const files = add(10);
    for (const file of files.slice(0, 2)) rmSync(file);
    retention.set(spec());
    const { files: deleted, bytes } = await retention.run();
    assert.deepEqual([deleted, bytes, rows()], [5, 30, 5]);
    assert.equal(catalog.db.prepare('SELECT sum(bytes) FROM deleted').pluck().get(), 30);
  });

  it('announces first where there is a veto, and keeps what is vetoed', async () => {
    const files = [...add(8), ...add(4, 'door')];
    retention.set(spec({ vetoMs: 10 * MINUTE }));
    await retention.run();
    assert.equal(left(files), 12);
    const [first] = announced();
    assert.deepEqual([first?.files, first?.due], [7, now + 10 * MINUTE]);
    await retention.run();
    assert.equal(announced().length, 1, 'not announced again');
    assert.equal(state().pendingFiles, 7);
    const held = retention.veto(first!.id, 'door', { name: 'theft', until: null, who: 'me', why: 'look' });
    assert.deepEqual(
      held.map(({ camera, name, start }) => [camera, name, start]),
      [['door', 'theft', T0]],
    );
    assert.throws(() => retention.veto('other', null, { name: '', until: null, who: '', why: '' }), /announced now/);
    now += 10 * MINUTE;
    await retention.run();
    assert.deepEqual([left(files.slice(0, 8)), left(files.slice(8))], [4, 4]);
    // What is kept instead makes other footage go, which is announced too.
    assert.deepEqual([announced().length, announced().at(-1)?.files], [2, 3]);
    now += 10 * MINUTE;
    await retention.run();
    assert.deepEqual([left(files.slice(0, 8)), left(files.slice(8))], [2, 3]);
    retention.release(held[0]!.id);
    assert.throws(() => retention.release(held[0]!.id), /no hold/);
    assert.equal(messages.filter((message) => message.type === 'hold').length, 2);
  });

  it('copies first what it is asked to, and keeps it when that fails', async () => {
    const files = add(10);
    retention.set(spec({ vetoMs: 10 * MINUTE, stills: true }));
    await retention.run();
    const [first] = announced();
    assert.deepEqual(
      first?.stills?.map(({ time }) => time),
      [T0, T0 + 2 * MINUTE],
    );
    await assert.rejects(retention.copy('other', '/usb'), { code: 'no-announcement' });
    copied = () => Promise.reject(new Error('the stick is full'));
    now += 9 * MINUTE;
    await assert.rejects(retention.copy(first.id, '/usb'), /full/);
    now += 2 * MINUTE;
    await retention.run();
    assert.equal(left(files), 10, 'as if it had been announced when that failed');
    let end: (report: CopyReport) => void = () => undefined;
    let asked: CopyItem[] = [];
    copied = (items) => {
      asked = items;
      return new Promise((resolve) => (end = resolve));
    };
    const copy = retention.copy(first.id, '/usb');
    await assert.rejects(retention.copy(first.id, '/usb'), { code: 'busy' });
    now += 60 * MINUTE;
    free = 0;
    retention.setRates([{ camera: 'yard', storage: folder, bytesPerSecond: 0.0001 }]);
    await retention.run();
    assert.deepEqual([left(files.slice(0, 5)), left(files.slice(5))], [5, 4], 'not even when room runs out');
    end({ files: 5, bytes: 50 });
    assert.equal((await copy).files, 5);
    assert.deepEqual([asked.length, asked[0]?.bytes, left(files.slice(0, 5))], [5, 10, 0]);
  });

  it('waits for no veto when room runs out, and says when nothing may go', async () => {
    const files = add(10);
    retention.setRates([{ camera: 'yard', storage: folder, bytesPerSecond: 1 }]);
    retention.set(spec({ vetoMs: 10 * MINUTE }));
    await retention.run();
    assert.equal(left(files), 10);
    free = 3600 - 70;
    messages.length = 0;
    check();
    await until(() => messages.some(({ type }) => type === 'storage')); // told when it has ended
    assert.equal(left(files), 3, 'what was announced, and two more');
    retention.hold({ name: 'all', camera: null, start: T0, end: now, until: null, who: '', why: '' });
    assert.deepEqual([(await retention.run()).blocked, left(files)], [true, 3]);
    assert.deepEqual([state().blocked, state().emergency], [true, true]);
  });

  it('does not take what is announced on one disk because another is full', async () => {
    const other = mkdtempSync(join(tmpdir(), 'flow-nvr-retention-'));
    try {
      const files = [...add(10), ...add(10, 'door', other)];
      storages = [folder, other];
      retention.set(spec({ vetoMs: 10 * MINUTE }));
      await retention.run();
      assert.equal(announced()[0]?.files, 15);
      freeOf = (storage) => (storage === other ? 1e12 : 0);
      retention.setRates([{ camera: 'yard', storage: folder, bytesPerSecond: 0.01 }]);
      await retention.run();
      assert.deepEqual([left(files.slice(0, 10)) < 10, left(files.slice(10))], [true, 10]);
    } finally {
      rmSync(other, { recursive: true, force: true });
    }
  });

  it('keeps what became more than it was while it was announced', async () => {
    const files = add(10);
    retention.set(spec({ vetoMs: 10 * MINUTE }));
    await retention.run();
    catalog.db.prepare('UPDATE segment SET kind = 2 WHERE start_ms = ?').run(T0);
    now += 10 * MINUTE;
    await retention.run();
    assert.ok(existsSync(files[0]!));
    assert.equal(left(files), 6);
  });

  it('is not kept from deleting by files that cannot be deleted', async () => {
    const files = add(100);
    const bad = new Set(files.slice(0, 60));
    unlinkError = (file) => (bad.has(file) ? 'EPERM' : null);
    retention.set(spec());
    await retention.run();
    assert.equal(left(files.slice(60)), 5);
    assert.match(state().problem ?? '', /EPERM/);
    await retention.run();
    assert.deepEqual([left(files.slice(60)), left(files)], [0, 60], 'others go in their place');
    unlinkError = () => null;
    now += 61 * MINUTE;
    await retention.run();
    assert.equal(left(files), 5);
  });

  it('announces nothing anew because a disk could not be written when it was due', async () => {
    const files = add(10);
    retention.set(spec({ vetoMs: 10 * MINUTE }));
    await retention.run();
    now += 10 * MINUTE;
    readOnly = true;
    await retention.run();
    readOnly = false;
    now += 2 * MINUTE;
    await retention.run();
    assert.deepEqual([announced().length, left(files)], [1, 5]);
  });

  it('does not take footage for old because a clock is ahead', async () => {
    const files = add(10);
    const keep = { continuousMs: 2 * 86_400_000 };
    const year = 365 * 86_400_000;
    retention.hold({ name: 'mine', camera: 'x', start: 0, end: 1, until: now + 30 * 86_400_000, who: '', why: '' });
    for (const vetoMs of [0, 10 * MINUTE]) {
      retention.set({ node: 'n', vetoMs, rules: { rules: [{ id: 'r', cameras: '*', keep }] } });
      ahead = year;
      await retention.run();
      assert.match(state().problem ?? '', /clock is 365 days ahead/);
      now += 5 * MINUTE;
      ahead = 0;
      await retention.run();
      assert.deepEqual([left(files), retention.holds().length, announced().length, state().problem], [10, 1, 0, null]);
    }
    // One that stays as it is told is believed.
    ahead = year;
    await retention.run();
    now += 7 * 60 * MINUTE;
    await retention.run();
    assert.equal(announced()[0]?.files, 10);
  });

  it('does not take footage for old because the clock was wrong from the start', async () => {
    const files = add(10);
    const rules = { rules: [{ id: 'r', cameras: '*' as const, keep: { continuousMs: 2 * 86_400_000 } }] };
    retention.set({ node: 'n', vetoMs: 0, rules });
    await retention.run();
    for (let boot = 0; boot < 2; boot++) {
      ahead = 365 * 86_400_000;
      open();
      retention.set({ node: 'n', vetoMs: 0, rules });
      await retention.run();
      assert.equal(left(files), 10);
    }
    // Off for longer than the footage is kept: it goes, but not at once.
    now += 7 * 60 * MINUTE;
    await retention.run();
    assert.equal(left(files), 0);
  });

  it('deletes nothing for room that is made by letting go what a bucket has', async () => {
    const files = add(10);
    retention.setRates([{ camera: 'yard', storage: folder, bytesPerSecond: 1 }]);
    retention.set(spec({ rules: { rules: [] } }));
    free = 3600 - 50;
    relieve = () => (free += 30);
    assert.equal((await retention.run()).files, 2, 'what is still missing');
    assert.equal(left(files), 8);
  });

  it('leaves a disk alone that cannot be written, says so, and goes on when it can', async () => {
    const files = add(10);
    retention.set(spec());
    readOnly = true;
    assert.equal((await retention.run()).files, 0);
    assert.match(state().problem ?? '', /read-only/);
    assert.deepEqual([store.marked().length, rows(), left(files)], [0, 10, 10]);
    readOnly = false;
    assert.equal((await retention.run()).files, 5);
    assert.equal(state().problem, null);
  });

  it('does not delete by a share of all disks before all of them are there', async () => {
    const files = add(10);
    const rules = {
      rules: [{ id: 'r', cameras: '*' as const, keep: {}, quotaPercent: 50 }],
      total: { percent: 60 },
      tiers: [{ to: '/nas', afterMs: 1e12, least: 'continuous' as const }],
    };
    size = 60;
    retention.set(spec({ rules }));
    assert.equal((await retention.run()).files, 0, 'the tier was not looked at yet');
    assert.equal(state().rules[0]?.quotaBytes, null);
    tierRoom = { disk: 'n', freeBytes: 1e12, totalBytes: 100 };
    assert.equal((await retention.run()).files, 2);
    assert.equal(state().rules[0]?.quotaBytes, 80);
    tierRoom = null;
    assert.equal((await retention.run()).files, 0, 'it is away');
    assert.equal(retention.preview(rules).rules[0]?.deleteFiles, 0);
    rules.rules[0] = { ...rules.rules[0]!, ...{ quotaBytes: 50 } };
    retention.set(spec({ rules: { ...rules } }));
    assert.deepEqual([(await retention.run()).files, left(files)], [3, 5], 'a limit in bytes counts all the same');
  });

  it('runs once a minute, and not without rules', async () => {
    const files = add(10);
    await assert.rejects(retention.run(), { code: 'no-rules' });
    retention.set(spec());
    check();
    await until(() => left(files) <= 5);
    assert.equal(left(files), 5);
    const before = messages.length;
    now += PASS_MS - 1;
    check();
    assert.equal(messages.length, before);
    now += 1;
    check();
    await until(() => messages.length > before);
  });

  it('previews other rules without deleting', () => {
    const files = add(10);
    const { shares, complete, rules } = retention.preview({
      rules: [{ id: 'r', cameras: ['yard'], keep: { continuousMs: now - T0 - 3 * MINUTE } }],
    });
    assert.deepEqual([shares[0]?.files, complete, rules[0]?.deleteFiles, left(files)], [3, true, 3, 10]);
  });
});

describe('write rates', () => {
  it('are averages of an hour at most', () => {
    const rates = new WriteRates();
    for (let second = 0; second < 7200; second++) rates.add('a', '/s', second < 3600 ? 1000 : 10, second * 1000);
    rates.add('b', '/s', 100, 7199_000);
    const [a, ...more] = rates.read(7200_000);
    assert.ok(Math.abs(a!.bytesPerSecond - 10) < 1, `${a!.bytesPerSecond}`);
    assert.deepEqual(more, [], 'nothing is said of a second');
    assert.deepEqual(rates.read(7200_000 + 2 * 3600_000), []);
  });
});

describe('the link to the retention thread', () => {
  it('begins it again with its rules, and tells who waited', async () => {
    const sent: RetentionRequest[][] = [];
    const ends: ((reason: string) => void)[] = [];
    const replies: ((reply: RetentionReply) => void)[] = [];
    const waits: (() => void)[] = [];
    const problems: string[] = [];
    const link = new RetentionLink(
      (onReply, onEnd) => {
        const requests: RetentionRequest[] = [];
        sent.push(requests);
        ends.push(onEnd);
        replies.push(onReply);
        return { send: (request) => requests.push(request), stop: () => undefined };
      },
      (_ms, call) => {
        waits.push(call);
        return () => undefined;
      },
      () => undefined,
      (message) => problems.push(message),
    );
    link.setRates([]);
    assert.equal(sent.length, 0, 'not begun before it is needed');
    const set = link.call('set', { node: 'n', vetoMs: 0, rules: { rules: [] } });
    replies[0]!({ id: 1, result: null });
    await set;
    const run = link.call('run');
    ends[0]!('killed');
    await assert.rejects(run, /killed/);
    assert.equal(problems.length, 1);
    waits[0]!();
    assert.deepEqual(
      sent[1]!.map((request) => ('call' in request ? request.call : 'rates')),
      ['rates', 'set'],
    );
  });
});
