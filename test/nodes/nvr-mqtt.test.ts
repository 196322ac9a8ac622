import assert from 'node:assert/strict';
import helper from 'node-red-node-test-helper';
import { toMqttConfig, type NvrMqttProperties } from '../../nodes/nvr-mqtt/mqtt-spec.ts';
import nvrMqtt from '../../nodes/nvr-mqtt/nvr-mqtt.ts';
import { Listener, Mosquitto, until } from '../support/mosquitto.ts';
import { CAMERA, Harness, RECORDER } from './harness.ts';

const PROPERTIES: NvrMqttProperties = {
  ...{ url: '', version: '5', site: 'plant', homeAssistant: true, prefix: 'homeassistant', commands: 'on' },
};
const NODE = { id: 'broker-node', type: 'nvr-mqtt', name: '', nvr: 'storage-settings', tls: '', ...PROPERTIES };

describe('nvr-mqtt', function () {
  this.timeout(40_000);
  let harness: Harness;
  let mosquitto: Mosquitto;
  let listener: Listener;
  beforeEach(async () => {
    harness = new Harness();
    mosquitto = await Mosquitto.start();
    listener = await Listener.connect(mosquitto.url, '#');
  });
  afterEach(async () => {
    await harness.dispose();
    await listener.close();
    await mosquitto.dispose();
  });
  const load = (node: object = {}): Promise<void> =>
    harness.load(
      [
        { ...CAMERA, wires: [['recorder-node'], []] },
        { ...RECORDER, wires: [[], []] },
        { ...NODE, url: mosquitto.url, ...node },
      ],
      {},
      {},
      [nvrMqtt],
    );
  const last = (topic: string): string | undefined => listener.texts(`nvr/plant/${topic}`).at(-1);
  const isOnline = (): boolean => /"state":"online"/.test(last('camera/yard/state') ?? '');
  const command = (topic: string, payload: string): Promise<unknown> =>
    listener.client.publishAsync(`nvr/plant/${topic}`, payload, { qos: 1 });

  it('tells cameras, takes commands, and removes a camera that has gone', async () => {
    await load();
    await until('the camera is online', isOnline, 15_000);
    await until('it is recorded', () => last('camera/yard/recording') === 'ON');
    assert.deepEqual([last('status'), last('panic'), last('camera/yard/motion')], ['online', 'OFF', 'OFF']);
    const discovered = listener.heard.filter(({ topic }) => topic.startsWith('homeassistant/'));
    const configs = new Map(
      discovered.map(({ topic, payload }) => [topic, JSON.parse(payload.toString()) as Record<string, string>]),
    );
    assert.equal(
      configs.get('homeassistant/switch/nvr_plant/yard_recording/config')?.['command_topic'],
      'nvr/plant/camera/yard/recording/set',
    );
    assert.equal(configs.get('homeassistant/button/nvr_plant/panic/config')?.['payload_press'], 'ON');

    await command('camera/yard/recording/set', 'OFF');
    await until('recording stops', () => last('camera/yard/recording') === 'OFF');
    await command('camera/yard/recording/set', 'ON');
    await until('recording goes on', () => last('camera/yard/recording') === 'ON');
    await command('panic/set', 'ON');
    await until('panic', () => last('panic') === 'ON');
    await command('panic/set', 'OFF');
    await until('no panic', () => last('panic') === 'OFF');
    await command('camera/yard/snapshot/set', '');
    await until('a picture', () =>
      listener.heard.some(({ topic, payload }) => topic.endsWith('yard/image') && payload[0] === 0xff),
    );
    await command('camera/yard/recording/set', 'perhaps');

    const camera = helper.getNode('camera') as unknown as { close(removed: boolean): Promise<void> };
    await camera.close(true);
    await until('its topics are empty', () => last('camera/yard/state') === '', 15_000);
    const late = await Listener.connect(mosquitto.url, '#');
    await until('it is gone', () => late.heard.some(({ topic }) => topic === 'nvr/plant/status'));
    assert.deepEqual(
      late.heard.map(({ topic }) => topic).filter((topic) => topic.includes('yard')),
      [],
    );
    await late.close();
  });

  it('tells of motion, from its start to its end', async () => {
    await load();
    await until('the camera is online', isOnline, 15_000);
    const { host } = helper.getNode('storage-settings') as unknown as {
      host: { emit(event: 'motion', node: string, message: object): void };
    };
    const event = {
      type: 'motion',
      camera: 'yard',
      eventId: 'm',
      time: Date.now(),
      start: Date.now(),
      score: 1,
      boxes: [],
      zones: [],
    };
    host.emit('motion', 'n', { ...event, phase: 'start', end: null });
    await until('motion', () => last('camera/yard/motion') === 'ON');
    host.emit('motion', 'n', { ...event, phase: 'update', end: null });
    host.emit('motion', 'n', { ...event, phase: 'end', end: Date.now() });
    await until('no motion', () => last('camera/yard/motion') === 'OFF');
    await until('both are told', () => listener.texts('nvr/plant/event').length === 2);
    const events = listener.json('nvr/plant/event');
    assert.deepEqual(
      events.map(({ schema, id, eventId, phase, cameras }) => [schema, id, eventId, phase, cameras]),
      [
        [1, 'm-start', 'm', 'start', ['yard']],
        [1, 'm-end', 'm', 'end', ['yard']],
      ],
    );
    assert.equal((JSON.parse(last('camera/yard/event')!) as { phase: string }).phase, 'end');
    await until('a picture', () => listener.heard.some(({ topic }) => topic === 'nvr/plant/camera/yard/image'));
  });

  it('takes no commands from a broker that asks nobody who they are, unless it is told to', async () => {
    await load({ commands: 'auto' });
    await until('it is recorded', () => last('camera/yard/recording') === 'ON', 15_000);
    await command('camera/yard/recording/set', 'OFF');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assert.equal(last('camera/yard/recording'), 'ON');
    assert.ok(!listener.heard.some(({ topic }) => /homeassistant\/(switch|button)/.test(topic)));
  });
});

describe('the settings of nvr-mqtt', () => {
  it('are refused with what to enter', () => {
    const rows: [Partial<NvrMqttProperties>, RegExp][] = [
      [{ url: 'http://x' }, /begins with mqtt/],
      [{ url: '' }, /for example mqtt:/],
      [{ url: 'mqtt://a:b@x' }, /own fields/],
      [{ url: 'x', site: 'a/b' }, /for the site/],
      [{ url: 'x', prefix: '#' }, /discovery prefix/],
    ];
    for (const [of, expected] of rows) assert.throws(() => toMqttConfig({ ...PROPERTIES, ...of }, {}, null), expected);
    assert.throws(
      () => toMqttConfig({ ...PROPERTIES, url: 'mqtt://x' }, {}, { ca: 'x' }),
      /needs an address that begins/,
    );
  });

  it('take commands by themselves only from who is known', () => {
    const takes = (url: string, commands: string, username?: string): boolean =>
      toMqttConfig({ ...PROPERTIES, url, commands }, username ? { username } : {}, null).commands;
    assert.deepEqual(
      [
        takes('x', 'auto'),
        takes('x', 'auto', 'me'),
        takes('mqtts://x', 'auto'),
        takes('x', 'on'),
        takes('mqtts://x', 'off', 'me'),
      ],
      [false, true, true, true, false],
    );
    const { spec } = toMqttConfig(
      { ...PROPERTIES, url: '10.0.0.5:1884', version: '4' },
      { username: 'u', password: 'p' },
      null,
    );
    assert.deepEqual(
      [spec.url, spec.version, spec.username, spec.password, spec.statusTopic],
      ['mqtt://10.0.0.5:1884', 4, 'u', 'p', 'nvr/plant/status'],
    );
  });
});
