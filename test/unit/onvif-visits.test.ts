import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { Visits, type Visit, type VisitEffects } from '../../engine/onvif/visits.ts';
import { toEventRules, visitFor } from '../../nodes/ptz/event-rules.ts';

async function until(test: () => boolean, ms = 5000): Promise<void> {
  for (const end = Date.now() + ms; !test(); await sleep(2)) assert.ok(Date.now() < end, `not within ${ms} ms`);
}

describe('visits of presets', () => {
  const log: string[] = [];
  beforeEach(() => (log.length = 0));
  const visit = (preset: string, rank = 0, dwellMs = 20): Visit => ({
    ...{ preset, dwellMs, back: 'before', rank, eventId: `of ${preset}` },
  });
  const open = (effects: Partial<VisitEffects> = {}): Visits =>
    new Visits({
      whereNow: () => Promise.resolve({ pan: 0.5 }),
      visit: (preset) => (log.push(`to ${preset}`), Promise.resolve(true)),
      leave: (back, before) => (log.push(`${back} ${JSON.stringify(before)}`), Promise.resolve()),
      onChange: ({ state }) => log.push(state),
      onError: (error) => log.push(String(error)),
      ...effects,
    });

  it('go there, stay, and go back to where the first began', async () => {
    const visits = open();
    assert.equal(visits.begin(visit('gate', 1, 10_000)), 'started');
    await until(() => log.includes('there'));
    assert.equal(visits.begin(visit('yard', 2)), 'lower');
    assert.equal(visits.begin(visit('door', 0)), 'started');
    await until(() => log.at(-1) === 'before {"pan":0.5}');
    assert.deepEqual(log, [
      ...['going', 'to gate', 'there', 'going', 'to door', 'there', 'idle'],
      'before {"pan":0.5}',
    ]);
  });

  it('stay longer while the event goes on', async () => {
    let now = 0;
    const visits = new Visits(
      {
        ...{ whereNow: () => Promise.resolve(null), visit: () => Promise.resolve(true) },
        ...{ leave: () => Promise.resolve(void log.push('left')), onError: () => undefined },
        onChange: ({ state }) => log.push(state),
      },
      () => now,
    );
    visits.begin(visit('gate'));
    await until(() => log.includes('there'));
    assert.equal(visits.begin(visit('gate', 0, 1000)), 'renewed');
    await sleep(60);
    assert.ok(!log.includes('left'));
    now = 1001;
    visits.cancel();
  });

  it('end when somebody steers, and do not begin until nobody has for a while', async () => {
    let now = 0;
    const effects = { whereNow: () => Promise.resolve(null), visit: () => Promise.resolve(true) };
    const visits = new Visits(
      {
        ...effects,
        leave: () => Promise.resolve(void log.push('left')),
        onChange: ({ state }) => log.push(state),
        onError: () => undefined,
      },
      () => now,
    );
    visits.begin(visit('gate', 0, 10_000));
    await until(() => log.includes('there'));
    visits.steered(1000);
    assert.equal(visits.begin(visit('gate')), 'steered');
    assert.deepEqual(log, ['going', 'there', 'idle']);
    now = 1000;
    assert.equal(visits.begin(visit('gate', 0, 60_000)), 'started');
    await until(() => log.at(-1) === 'there');
    visits.cancel();
  });

  it('are over when the camera was moved away, or cannot go there', async () => {
    const moved = open({ visit: () => Promise.resolve(false) });
    moved.begin(visit('gate'));
    await until(() => log.at(-1) === 'idle');
    assert.deepEqual(log, ['going', 'idle']);
    const broken = open({ visit: () => Promise.reject(new Error('no preset')) });
    broken.begin(visit('gate'));
    await until(() => log.at(-1) === 'idle');
    assert.ok(log.includes('Error: no preset'));
  });
});

describe('rules for events', () => {
  const zones = new Map([['z1', 'Gate']]);
  const rule = { on: 'any', match: '', camera: '', preset: 'p', dwell: 5, back: 'before' };
  const goes = (rules: object[], payload: object): string | null =>
    visitFor(toEventRules(rules), payload as Record<string, unknown>, zones, 100_000)?.preset ?? null;

  it('fit by type, zone, label, kind, source and camera; the first one counts', () => {
    const rules = [
      { ...rule, on: 'motion', match: 'gate', preset: 'gate' },
      { ...rule, on: 'external', match: 'Door open', preset: 'door' },
      { ...rule, on: 'onvif-event', match: 'person', camera: 'yard', preset: 'yard' },
      { ...rule, match: 'plc-7', preset: 'machine' },
    ];
    const rows: [object, string | null][] = [
      [{ type: 'motion', phase: 'start', zones: ['z1'] }, 'gate'],
      [{ type: 'motion', phase: 'end', zones: ['z1'] }, null],
      [{ type: 'motion', phase: 'start', zones: ['z2'] }, null],
      [{ type: 'external', label: 'door OPEN' }, 'door'],
      [{ type: 'external', label: 'door open', phase: 'indexed', start: 10_000 }, null],
      [{ type: 'external', label: 'door open', phase: 'indexed', start: 90_000 }, 'door'],
      [{ type: 'onvif-event', label: 'person', camera: 'yard', phase: 'start' }, 'yard'],
      [{ type: 'onvif-event', label: 'person', camera: 'gate', phase: 'start' }, null],
      [{ type: 'external', source: 'plc-7', cameras: ['a', 'b'] }, 'machine'],
    ];
    for (const [payload, preset] of rows) assert.equal(goes(rules, payload), preset, JSON.stringify(payload));
  });

  it('are refused when they make no sense', () => {
    for (const wrong of [{ preset: ' ' }, { on: 'rain' }, { dwell: 0 }, { back: 'away' }])
      assert.throws(() => toEventRules([{ ...rule, ...wrong }]), { code: 'bad-ptz' });
    assert.throws(() => toEventRules(Array(51).fill(rule)), { code: 'bad-ptz' });
    assert.deepEqual(toEventRules(undefined), []);
  });
});
