import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import helper from 'node-red-node-test-helper';
import sharp from 'sharp';
import type { Tokens } from '../../engine/http/tokens.ts';
import type { ClipMessage, MadeClip } from '../../engine/notify/types.ts';
import clipNotify from '../../nodes/clip-notify/clip-notify.ts';
import {
  readClipCommand,
  readEvent,
  toClipNotifyConfig,
  type ClipNotifyProperties,
} from '../../nodes/clip-notify/clip-notify-spec.ts';
import { shaped } from '../../nodes/clip-notify/shapes.ts';
import nvrMqtt from '../../nodes/nvr-mqtt/nvr-mqtt.ts';
import { Listener, Mosquitto } from '../support/mosquitto.ts';
import { CAMERA, Harness, RECORDER, type TestMessage } from './harness.ts';

const run = promisify(execFile);

const PROPERTIES: ClipNotifyProperties = {
  ...{ stream: 'main', pre: '1', post: '1', maxLength: '30', preview: true, small: '', shape: 'plain', chatId: '' },
  ...{ baseUrl: '', linkDays: '', webhook: '', group: '0', cooldown: '0', perMinute: '', quietFrom: '', quietTo: '' },
  ...{ keepDays: '', keepGb: '' },
};
const NODE = { id: 'notify-node', type: 'clip-notify', name: '', nvr: 'storage-settings', mqtt: '', ...PROPERTIES };

describe('clip-notify', function () {
  this.timeout(90_000);
  let harness: Harness;
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  const load = async (node: object = {}, more: object[] = [], url = CAMERA.url): Promise<void> => {
    await harness.load(
      [
        { ...CAMERA, url, wires: [['recorder-node'], []] },
        { ...RECORDER, wires: [['recordings'], []] },
        { ...NODE, ...node, wires: [['clips'], ['deliveries'], ['metadata']] },
        ...['recordings', 'clips', 'deliveries', 'metadata'].map((id) => ({ id, type: 'helper' })),
        ...more,
      ],
      {},
      {},
      [clipNotify, nvrMqtt],
    );
    const { payload } = await harness.message('recordings', (msg) => msg.payload['phase'] === 'start');
    // Decoding begins at the first keyframe that is on disk.
    await wait(Math.max(0, (payload['start'] as number) + 3000 - Date.now()));
  };
  const send = (payload: object): void => harness.node('notify-node').receive({ payload });
  const clip = async (test: (clip: ClipMessage) => boolean = () => true): Promise<ClipMessage> => {
    const { payload } = await harness.message('clips', (msg) => test(msg.payload as unknown as ClipMessage));
    return payload as unknown as ClipMessage;
  };
  const durationOf = async (file: string): Promise<number> => {
    const { stdout } = await run('ffprobe', [
      '-v',
      'error',
      '-show_entries',
      'format=duration',
      '-of',
      'csv=p=0',
      file,
    ]);
    return Number(stdout);
  };

  it('makes a clip of motion when it has ended, with pictures, a link and metadata', async () => {
    await load({ baseUrl: 'http://nvr.example:1880/nvr/' });
    const start = Date.now() - 1500;
    const made = clip();
    const metadata = harness.message('metadata', () => true);
    const event = { type: 'motion', camera: 'yard', eventId: 'e-1', start, score: 1, zones: ['gate'] };
    send({ ...event, phase: 'start', end: null });
    await wait(200);
    send({ ...event, phase: 'end', end: start + 1500 });
    const got = await made;
    assert.deepEqual(
      [got.type, got.schema, got.eventId, got.kind, got.camera, got.cameras, got.reason],
      ['clip', 1, 'e-1', 'motion', 'yard', ['yard'], null],
    );
    assert.deepEqual([got.start, got.end], [start - 1000, start + 2500]);
    assert.equal(statSync(got.file!).size, got.bytes);
    const seconds = await durationOf(got.file!);
    assert.ok(Math.abs(seconds - 3.5) < 0.3, `${seconds} s`);
    assert.deepEqual(got.coverage?.gaps, []);
    const thumbnail = await sharp(got.thumbnail!).metadata();
    assert.deepEqual([thumbnail.format, thumbnail.width], ['jpeg', 160]);
    const preview = await sharp(got.preview!).metadata();
    assert.equal(preview.format, 'webp');
    assert.ok((preview.pages ?? 1) > 1, `${preview.pages ?? 1} pictures`);

    const url = new URL(got.url!);
    assert.equal(url.origin + url.pathname, 'http://nvr.example:1880/nvr/clip/yard.mp4');
    const { service } = helper.getNode('storage-settings') as unknown as { service: { tokens: Tokens } };
    const access = await service.tokens.verify(url.searchParams.get('token')!);
    const range = [Number(url.searchParams.get('start')), Number(url.searchParams.get('end'))];
    assert.deepEqual([access.range?.start, access.range?.end], range, 'and for no other footage');
    assert.deepEqual([access.cameras, access.rights], [['yard'], ['playback', 'export']]);
    assert.ok(Math.abs(access.expiresMs - Date.now() - 7 * 86_400_000) < 60_000);

    const { line, payload, record } = (await metadata) as TestMessage & { line: string; record: object };
    assert.match(line, /^nvr_clip,camera=yard,kind=motion event_id="e-1",.*has_clip=true.* \d{19}$/);
    const [fields, tags] = payload as unknown as [Record<string, unknown>, object];
    assert.deepEqual([fields['bytes'], tags], [got.bytes, { camera: 'yard', kind: 'motion' }]);
    assert.equal(JSON.stringify(record).includes('"type":"Buffer"'), false);
    assert.doesNotMatch(JSON.stringify(harness.node('notify-node').status.args), /token/);
  });

  it('makes a small version that is as small as it must be', async () => {
    await load({}, [], 'lavfi:testsrc2=size=320x180:rate=10,noise=alls=80:allf=t');
    await wait(2000);
    const end = Date.now() - 1000;
    const made = clip();
    send({ command: 'clip', camera: 'yard', start: end - 4000, end, small: 0.1, label: 'for the chat' });
    const { small, bytes, label, reason } = await made;
    assert.deepEqual([label, reason], ['for the chat', null]);
    assert.ok(small && small.bytes <= 100_000 && bytes > 400_000, `${small?.bytes ?? 0} of ${bytes} bytes`);
    assert.equal(statSync(small.file).size, small.bytes);
    const seconds = await durationOf(small.file);
    assert.ok(Math.abs(seconds - 4) < 0.5, `${seconds} s`);
    const refused = clip(({ eventId }) => eventId === 'tiny');
    send({ command: 'clip', camera: 'yard', start: end - 4000, end, small: 0.005, eventId: 'tiny' });
    const tiny = await refused;
    assert.equal(tiny.small, null);
    assert.match(tiny.reason!, /do not fit into 0.0 MB/);
    assert.ok(existsSync(tiny.file!));
  });

  it('says so when there is no footage, and why', async () => {
    await load();
    const made = clip();
    const start = Date.now() - 3_600_000;
    send({
      type: 'external',
      eventId: 'old',
      correlationId: 'mes-7',
      cameras: ['yard'],
      start,
      preMs: 1000,
      postMs: 2000,
    });
    const got = await made;
    assert.deepEqual([got.file, got.bytes, got.correlationId, got.url], [null, 0, 'mes-7', null]);
    assert.match(got.reason!, /nothing is recorded in this range: not recorded \(.* UTC\)/);
    assert.deepEqual(got.coverage?.unscheduled, [{ start: start - 1000, end: start + 2000 }]);
  });

  it('delivers by MQTT, once, and lists what it left out', async () => {
    const mosquitto = await Mosquitto.start();
    const listener = await Listener.connect(mosquitto.url, 'nvr/line-4/#');
    try {
      const broker = {
        id: 'broker-node',
        type: 'nvr-mqtt',
        nvr: 'storage-settings',
        url: mosquitto.url,
        site: 'line-4',
      };
      await load({ mqtt: 'broker-node', cooldown: '600' }, [broker]);
      const delivered = harness.message('deliveries', ({ payload }) => payload['state'] === 'delivered');
      const start = Date.now() - 2500;
      const event = { type: 'onvif-event', camera: 'yard', start, end: start + 200, phase: 'end' };
      for (const eventId of ['a', 'a', 'b', 'a']) send({ ...event, eventId });
      send({ ...event, type: 'external', eventId: 'c', correlationId: 'x' });
      await delivered;
      for (let i = 0; i < 100 && listener.json('nvr/line-4/clip').length < 2; i++) await wait(50);
      const clips = listener.json('nvr/line-4/clip') as unknown as ClipMessage[];
      assert.deepEqual(clips.map(({ eventId, schema }) => `${eventId} ${schema}`).sort(), ['a 1', 'c 1']);
      assert.ok(clips.every(({ id, clips: [first] }) => id.length === 32 && first && !('thumbnail' in first)));
      const list = harness.message('deliveries', ({ payload }) => payload['type'] === 'outbox');
      send({ command: 'outbox' });
      const { counts, entries } = (await list).payload as unknown as {
        counts: { suppressed: object };
        entries: object[];
      };
      assert.deepEqual([counts.suppressed, entries], [{ cooldown: 1 }, []]);
      assert.ok(
        listener.heard.some(({ topic, payload }) => topic === 'nvr/line-4/camera/yard/image' && payload[0] === 0xff),
      );
    } finally {
      await listener.close();
      await mosquitto.dispose();
    }
  });

  it('refuses what it cannot do with what to do', async () => {
    await load();
    const rows: [object, RegExp][] = [
      [{ command: 'dance' }, /use clip, outbox, resend, delete/],
      [{ command: 'clip', start: 1, end: 2 }, /no camera is named/],
      [{ command: 'clip', camera: 'yard', start: 5, end: 1 }, /end must be later/],
      [{ command: 'clip', camera: '../x', start: 1, end: 2 }, /id of a camera/],
      [{ command: 'clip', camera: 'yard', start: 1, end: 2, small: 'x' }, /size in MB/],
      [{ command: 'clip', camera: 'yard', start: 1, end: 8e8 }, /24 hours/],
      [{ type: 'motion', camera: 'yard', start: 1 }, /needs an eventId/],
      [{ type: 'motion', camera: 'yard', eventId: 'e' }, /needs its start/],
      [{ type: 'motion', camera: 'yard', eventId: 'e', start: 'now' }, /epoch milliseconds/],
    ];
    for (const [payload, expected] of rows) assert.match(await harness.errorOf('notify-node', { payload }), expected);
    // Of these there is nothing to see: they are passed over.
    for (const type of ['gap', 'camera', 'recording']) send({ type, eventId: type, cameras: ['yard'], start: 1 });
    send({ type: 'motion', phase: 'acknowledged', eventId: 'e', cameras: ['yard'], start: 1 });
  });
});

describe('the settings of clip-notify', () => {
  const read = (of: object): unknown => toClipNotifyConfig('n', { ...PROPERTIES, ...of }, '/clips');

  it('are read as people write them', () => {
    const config = toClipNotifyConfig(
      'n',
      { ...PROPERTIES, small: '8,5', quietFrom: '22:00', quietTo: '6:00', keepGb: '' },
      '/clips',
    );
    assert.deepEqual(
      [config.smallBytes, config.preMs, config.policy.quiet],
      [8_500_000, 1000, { from: '22:00', to: '6:00' }],
    );
    assert.deepEqual(config.policy.keep, { ms: 14 * 86_400_000, bytes: 5e9, folder: '/clips/n' });
  });

  it('are refused with what to enter', () => {
    for (const [of, expected] of [
      [{ pre: 'x' }, /seconds before: enter a number from 0 to 300/],
      [{ quietFrom: '22:00' }, /both times/],
      [{ quietFrom: '22:00', quietTo: 'x' }, /such as 22:00/],
      [{ webhook: 'ftp://x' }, /such as https/],
      [{ webhook: 'https://me:secret@x/' }, /would be seen by all/],
    ] as const)
      assert.throws(() => read(of), expected);
  });

  it('know when an event has ended', () => {
    const times = { preMs: 1000, postMs: 2000 };
    const endOf = (payload: object): number | null | undefined =>
      readEvent({ eventId: 'e', camera: 'a', start: 5000, ...payload }, {}, times)?.end;
    assert.equal(endOf({ type: 'motion', phase: 'start' }), null);
    assert.equal(endOf({ type: 'motion', phase: 'indexed', end: null }), null);
    assert.equal(endOf({ type: 'motion', phase: 'end', end: 7000 }), 7000);
    assert.equal(endOf({ type: 'motion', phase: 'complete', end: null }), 5000);
    assert.equal(endOf({ type: 'external', phase: 'indexed', end: null }), 5000);
    assert.equal(endOf({ type: 'scene-change', time: 5000 }), 5000);
    assert.equal(endOf({ type: 'motion', phase: 'annotated' }), undefined);
    const own = readEvent(
      { type: 'external', eventId: 'e', cameras: ['a', 'a', 'b'], start: 5, preMs: 7, postMs: 8 },
      {},
      times,
    );
    assert.deepEqual([own?.cameras, own?.preMs, own?.postMs, own?.exempt], [['a', 'b'], 7, 8, true]);
    const command = readClipCommand({ cameras: ['a'], start: 1, end: 9, small: 2 }, {});
    assert.deepEqual([command.kind, command.preMs, command.smallBytes, command.exempt], ['command', 0, 2e6, true]);
  });
});

describe('messages for other nodes', () => {
  const thumbnail = Buffer.from([255, 216]);
  const part: MadeClip = {
    ...{ camera: 'yard', start: 0, end: 5000, file: import.meta.filename, bytes: 10, reason: null, url: 'http://x/y' },
    ...{ coverage: null, small: null, thumbnail, preview: null },
  };
  const message = (clip: Partial<MadeClip>): ClipMessage => {
    const made = { ...part, ...clip };
    return {
      ...made,
      ...{ type: 'clip', schema: 1, id: 'i', eventId: 'e', correlationId: null, kind: 'motion', label: 'Door\nopen' },
      ...{ severity: null, zones: [], eventStart: 1000, eventEnd: 2000, cameras: ['yard'], clips: [made], events: [] },
    };
  };
  const of = async (
    shape: 'email' | 'telegram' | 'http',
    clip: Partial<MadeClip>,
  ): Promise<Record<string, unknown>> => {
    const [first] = await shaped(shape, message(clip), '42');
    return first as Record<string, unknown>;
  };
  const small = { file: '/s.mp4', bytes: 9, height: 240 };

  it('are mails with the small version attached', async () => {
    const { topic, payload, attachments, clip } = await of('email', { small });
    assert.match(topic as string, /^Door open: yard, /);
    assert.match(payload as string, /http:\/\/x\/y/);
    assert.deepEqual(attachments, [
      { filename: 'yard.jpg', content: thumbnail, contentType: 'image/jpeg' },
      { filename: 'yard.mp4', path: '/s.mp4' },
    ]);
    assert.equal((clip as ClipMessage).type, 'clip');
  });

  it('are videos for Telegram, or pictures, or words', async () => {
    type Content = { chatId: string; type: string; content: unknown };
    const kinds = [{ small }, {}, { bytes: 60e6 }, { file: null, thumbnail: null, reason: 'camera-offline' }].map(
      async (clip) => (await of('telegram', clip))['payload'] as Content,
    );
    const sent = await Promise.all(kinds);
    assert.deepEqual(
      sent.map(({ chatId, type }) => [chatId, type]),
      [...['video', 'video', 'photo', 'message'].map((type) => ['42', type])],
    );
    assert.deepEqual([sent[0]!.content, sent[1]!.content, sent[2]!.content], ['/s.mp4', part.file, thumbnail]);
    assert.match(sent[3]!.content as string, /camera-offline/);
  });

  it('are forms for the http request node', async () => {
    const { method, headers, payload } = await of('http', {});
    const form = payload as Record<string, { value: Buffer; options: object } | string>;
    assert.deepEqual([method, headers], ['POST', { 'content-type': 'multipart/form-data' }]);
    assert.deepEqual(Object.keys(form), ['meta', 'camera', 'caption', 'clip', 'thumbnail']);
    assert.equal((form['clip'] as { value: Buffer }).value.length, statSync(import.meta.filename).size);
    assert.equal((JSON.parse(form['meta'] as string) as { id: string }).id, 'i');
  });
});
