import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import type { ClipMessage } from '../../engine/notify/types.ts';
import type { RecordingMessage } from '../../engine/types.ts';
import { capture, entrance, tab, TAB } from '../support/flow.ts';
import { Listener, Mosquitto, until } from '../support/mosquitto.ts';
import { NodeRed, type FlowNode } from '../support/node-red.ts';

const flow = (url: string): FlowNode[] => [
  ...tab(),
  ...['recording', 'clip', 'delivery'].flatMap(capture),
  ...entrance('notify', ['notify-1']),
  { id: 'nvr-store', type: 'nvr-config', name: '', storage: 'nvr', catalog: '', httpPath: 'nvr', ffmpegPath: '' },
  { id: 'broker-1', type: 'nvr-mqtt', nvr: 'nvr-store', url, version: '5', site: 'cell-7', homeAssistant: false },
  {
    ...{
      id: 'source-1',
      type: 'camera-source',
      z: TAB,
      name: 'Press',
      nvr: 'nvr-store',
      camera: 'press',
      transport: 'tcp',
    },
    ...{ url: 'lavfi:testsrc2=size=320x180:rate=10', subUrl: '', audio: false, wires: [['recorder-1'], []] },
  },
  {
    ...{ id: 'recorder-1', type: 'recorder', z: TAB, name: '', nvr: 'nvr-store', mode: 'continuous', streams: 'main' },
    ...{ preRoll: 5, postRoll: 5, segment: 60, schedule: [], wires: [['capture-recording'], []] },
  },
  {
    ...{ id: 'notify-1', type: 'clip-notify', z: TAB, name: '', nvr: 'nvr-store', mqtt: 'broker-1', preview: true },
    ...{ stream: 'main', pre: '2', post: '2', wires: [['capture-clip'], ['capture-delivery'], []] },
  },
];

describe('clips of events while everything breaks', function () {
  this.timeout(150_000);
  let red: NodeRed;
  let mosquitto: Mosquitto;
  let listener: Listener;
  before(async () => {
    [red, mosquitto] = await Promise.all([NodeRed.create(), Mosquitto.start()]);
    listener = await Listener.connect(mosquitto.url, 'nvr/cell-7/#');
    await red.start();
    await red.deploy(flow(mosquitto.url));
    await red.waitFor<{ payload: RecordingMessage }>('recording', () => true, 30_000, 'recording');
    await wait(3000);
  });
  after(async () => {
    await listener.close();
    await red.dispose();
    await mosquitto.dispose();
  });
  const clips = (): ClipMessage[] => listener.json('nvr/cell-7/clip') as unknown as ClipMessage[];
  const of = (eventId: string): ClipMessage[] => clips().filter((clip) => clip.eventId === eventId);
  const event = (eventId: string, more: object = {}): object => ({
    payload: {
      type: 'external',
      eventId,
      correlationId: `mes-${eventId}`,
      cameras: ['press'],
      start: Date.now(),
      ...more,
    },
  });

  it('answers an event whose Node-RED was killed before its clip could be made, and says what is missing', async () => {
    await red.send('notify', event('killed', { preMs: 2000, postMs: 8000 }));
    await wait(1500);
    await red.kill();
    await until('the last will', () => listener.texts('nvr/cell-7/status').at(-1) === 'offline');
    assert.deepEqual(of('killed'), []);
    await red.start();
    await until('the clip', () => of('killed').length > 0, 60_000);
    const [clip] = of('killed');
    assert.equal(clip?.correlationId, 'mes-killed');
    assert.ok(clip.file && existsSync(clip.file) && clip.bytes > 0);
    assert.match(clip.reason!, /a part is missing: restart/);
    assert.equal(clip.coverage?.gaps[0]?.cause, 'restart');
    assert.equal(listener.texts('nvr/cell-7/status').at(-1), 'online');
  });

  it('keeps its answer while the broker is away and Node-RED is killed again', async () => {
    await mosquitto.kill();
    await red.send('notify', event('waiting', { preMs: 1000, postMs: 500 }));
    await red.waitFor<{ payload: ClipMessage }>('clip', ({ payload }) => payload.eventId === 'waiting', 60_000, 'clip');
    await wait(500);
    await red.kill();
    await red.start();
    await red.send('notify', { payload: { command: 'outbox' } });
    interface Outbox {
      payload: { type: string; entries: { state: string; topic: string }[] };
    }
    const { msg } = await red.waitFor<Outbox>('delivery', ({ payload }) => payload.type === 'outbox', 20_000, 'list');
    assert.deepEqual(
      msg.payload.entries.map(({ state, topic }) => [state, topic]),
      [['waiting', 'nvr/cell-7/clip']],
    );
    assert.doesNotMatch(JSON.stringify(msg), /token=/);
    await mosquitto.start();
    await until('the clip', () => of('waiting').length > 0, 30_000);
    // Told again, it is the same event: nothing more comes.
    await red.send('notify', event('waiting'));
    await red.send('notify', event('killed'));
    await red.send('notify', event('last', { preMs: 1000, postMs: 0 }));
    await until('the last', () => of('last').length > 0, 30_000);
    assert.deepEqual(
      ['killed', 'waiting', 'last'].map((eventId) => new Set(of(eventId).map(({ id }) => id)).size),
      [1, 1, 1],
    );
    assert.ok(clips().length <= 5, 'each once, or twice where a kill came between');
  });

  it('makes what was begun before a Deploy', async () => {
    await red.send('notify', event('deployed', { preMs: 1000, postMs: 4000 }));
    await wait(300);
    await red.deploy(flow(mosquitto.url));
    await until('the clip', () => of('deployed').length > 0, 60_000);
    const [clip] = of('deployed');
    assert.deepEqual([clip?.reason, clip?.coverage?.gaps], [null, []]);
  });
});
