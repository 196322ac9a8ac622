import assert from 'node:assert/strict';
import type { EngineHost } from '../../engine/engine-host.ts';
import type { NvrConfigNode } from '../../nodes/shared/nvr.ts';
import { readQuery, toIndexSpec } from '../../nodes/event-index/event-index-spec.ts';
import { CAMERA, Harness, RECORDER, type TestMessage } from './harness.ts';

const INDEX = {
  ...{ id: 'index-node', type: 'event-index', name: '', nvr: 'storage-settings', preRoll: 1, postRoll: 1, hold: 7 },
  ...{ clock: 'trust', clockOffset: 0, deadband: 0, keep: 400 },
};

describe('event-index', function () {
  this.timeout(30_000);
  let harness: Harness;
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  const flow = (index: object = {}): object[] => [
    { ...CAMERA, wires: [['recorder-node'], []] },
    { ...RECORDER, wires: [['recordings'], []] },
    { ...INDEX, ...index, wires: [['events'], ['answers']] },
    ...['recordings', 'events', 'answers'].map((id) => ({ id, type: 'helper' })),
  ];
  const send = (payload: object, msg: object = {}): void => harness.node('index-node').receive({ ...msg, payload });
  const phase = (name: string): Promise<TestMessage> =>
    harness.message('events', ({ payload }) => payload['phase'] === name);
  const answer = (): Promise<TestMessage> => harness.message('answers', () => true);
  const footage = ({ payload }: TestMessage): { camera: string; state: string; coverage?: { recorded: object[] } }[] =>
    payload['footage'] as never;
  const host = (): EngineHost => (harness.node('storage-settings') as unknown as NvrConfigNode).host!;

  it('stores an event with its footage, completes it, and finds it again', async () => {
    await harness.load(flow());
    await harness.message('recordings', ({ payload }) => payload['phase'] === 'start');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const [indexed, complete] = [phase('indexed'), phase('complete')];
    const external = { type: 'external', source: 'plc', correlationId: '1', cameras: ['yard', 'nowhere'] };
    send({ ...external, label: 'jam', severity: 'error', tags: { station: 4 } });
    const first = await indexed;
    assert.equal(first.topic, 'event/external');
    assert.equal(first.camera, 'yard');
    assert.deepEqual(
      footage(first).map(({ camera, state }) => [camera, state]),
      [
        ['yard', 'pending'],
        ['nowhere', 'none'],
      ],
    );
    assert.match(String(first.payload['problems']), /no camera nowhere/);
    const last = await complete;
    const [yard] = footage(last);
    assert.equal(yard?.state, 'complete');
    const [range, ...more] = yard.coverage!.recorded as { start: number; end: number }[];
    assert.equal(more.length, 0);
    const [at, end] = [first.payload['start'] as number, first.payload['end'] as number];
    assert.ok(range!.start <= at - 900 && range!.end >= end + 500, JSON.stringify([range, at]));

    send(external);
    const found = answer();
    send({ query: { text: 'JAM', severity: ['error'], acknowledged: false } });
    const { events, cursor } = (await found).payload as { events: { eventId: string; label: string }[]; cursor: null };
    assert.deepEqual([events.length, events[0]?.label, cursor], [1, 'jam', null]);
    const { eventId } = events[0]!;
    const [acknowledged, annotated] = [phase('acknowledged'), phase('annotated')];
    send({ command: 'annotate', eventId, who: 'me', text: 'looked at it' });
    assert.equal(((await annotated).payload['notes'] as { who: string }[])[0]?.who, 'me');
    send({ command: 'acknowledge', query: { cameras: ['yard'] }, who: 'all' });
    assert.equal(((await acknowledged).payload['acknowledged'] as { who: string }).who, 'all');
    await host().releaseEventHold(eventId);
  });

  it('answers page by page, recordings and gaps among them', async () => {
    await harness.load(flow());
    for (let i = 0; i < 5; i++)
      send({ type: 'external', label: `${i}`, sourceTime: Date.now() - 10_000 + i, cameras: ['yard'] });
    await harness.message('events', ({ payload }) => payload['label'] === '4');
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const page = answer();
      send({
        query: { types: 'external,gap', limit: 2, order: 'oldest', ...(cursor === undefined ? {} : { cursor }) },
      });
      const { payload } = await page;
      seen.push(...(payload['events'] as { label: string }[]).map(({ label }) => label));
      cursor = (payload['cursor'] as string | null) ?? undefined;
    } while (cursor !== undefined);
    assert.deepEqual(seen, ['0', '1', '2', '3', '4']);
  });

  it('tells of motion, cameras that go, and passes recordings on', async () => {
    await harness.load(flow());
    const motion = {
      type: 'motion',
      camera: 'yard',
      eventId: 'm1',
      start: Date.now(),
      end: null,
      score: 2,
      boxes: [],
      zones: ['door'],
    };
    const indexed = phase('indexed');
    send({ ...motion, phase: 'start' });
    assert.deepEqual((await indexed).payload['zones'], ['door']);
    const gone = harness.message('events', ({ payload }) => payload['type'] === 'camera');
    const since = Date.now();
    send({ type: 'camera', camera: 'yard', state: 'offline', reason: 'host', since });
    assert.equal((await gone).payload['label'], 'offline: host');
    const back = harness.message('events', ({ payload }) => payload['type'] === 'camera' && payload['end'] !== null);
    send({ type: 'camera', camera: 'yard', state: 'online', since: since + 5000 });
    assert.equal((await back).payload['end'], since + 5000);
    const recording = harness.message('events', ({ payload }) => payload['type'] === 'recording');
    send({
      type: 'recording',
      camera: 'yard',
      phase: 'start',
      recordingId: 'x',
      trigger: 'event',
      start: since,
      end: null,
    });
    assert.equal((await recording).payload['eventId'], 'rx');
  });

  it('refuses what it cannot read with the reason', async () => {
    await harness.load(flow());
    const rows: [unknown, RegExp][] = [
      ['text', /must be an object/],
      [{ type: 'weather' }, /type 'weather' is no event/],
      [{ type: 'external', sourceTime: '2026-05-04T12:00:00' }, /no offset/],
      [{ command: 'dance' }, /use acknowledge, annotate/],
      [{ command: 'acknowledge' }, /an eventId, or a query/],
      [{ command: 'acknowledge', eventId: 'none' }, /no event none/],
      [{ command: 'annotate', eventId: 'none', text: '' }, /needs a text/],
      [{ query: { limit: 'many' } }, /limit must be/],
      [{ query: { region: { x: 2 } } }, /region must be/],
      [{ query: { text: '!' } }, /words to look for/],
      [{ query: [] }, /must be an object/],
      [{ type: 'tag', name: 'x', value: 'high' }, /must be a number/],
    ];
    for (const [payload, expected] of rows) {
      assert.match(await harness.errorOf('index-node', { payload }), expected);
    }
  });

  it('does not start with properties that it cannot read', () => {
    const properties = { preRoll: 5, postRoll: 10, hold: 7, clock: 'trust', clockOffset: 0, deadband: 0, keep: 400 };
    assert.deepEqual(toIndexSpec('n', { ...properties, clock: 'learn', hold: '0.5' }), {
      ...{ node: 'n', preMs: 5000, postMs: 10_000, holdMs: 43_200_000, deadband: 0, keepMs: 34_560_000_000 },
      clock: { mode: 'learn', offsetMs: 0 },
    });
    for (const [wrong, expected] of [
      [{ preRoll: 4000 }, /preRoll must be 0 to 3600/],
      [{ clock: 'guess' }, /clock must be/],
      [{ keep: 'x' }, /keep must be/],
    ] as const) {
      assert.throws(() => toIndexSpec('n', { ...properties, ...wrong }), expected);
    }
    assert.deepEqual(
      readQuery({ cameras: ['a', 'b'], region: { x: 0, y: 0, width: 1, height: 0.5 }, limit: 3 }, 0).filter.cameras,
      ['a', 'b'],
    );
  });
});
