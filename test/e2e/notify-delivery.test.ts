import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { NotifyHost } from '../../engine/notify/notify-host.ts';
import type { DeliveryMessage, MqttSpec, OutboxEntry } from '../../engine/notify/types.ts';
import { certificate } from '../support/certificates.ts';
import { freePort, Listener, Mosquitto, until } from '../support/mosquitto.ts';

const SPEC = {
  ...{ kind: 'mqtt', version: 5, tls: null, statusTopic: 'nvr/test/status' },
  subscribe: ['nvr/test/panic/set'],
} satisfies Omit<MqttSpec, 'url'>;

/** With the real thread, its file, and Mosquitto. */
describe('delivery', function () {
  this.timeout(30_000);
  let folder: string;
  let notify: NotifyHost;
  let told: DeliveryMessage[];
  const brokers: Mosquitto[] = [];
  const listeners: Listener[] = [];
  const open = (): NotifyHost => {
    notify = new NotifyHost(join(folder, 'notify.sqlite'));
    notify.on('delivery', (_node, message) => told.push(message));
    return notify;
  };
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flow-nvr-delivery-'));
    told = [];
    open();
  });
  afterEach(async () => {
    await notify.close();
    for (const listener of listeners.splice(0)) await listener.close();
    for (const broker of brokers.splice(0)) await broker.dispose();
    rmSync(folder, { recursive: true, force: true, maxRetries: 3 });
  });
  const broker = async (...args: Parameters<typeof Mosquitto.start>): Promise<Mosquitto> => {
    const started = await Mosquitto.start(...args);
    brokers.push(started);
    return started;
  };
  const listen = async (...args: Parameters<typeof Listener.connect>): Promise<Listener> => {
    const listener = await Listener.connect(...args);
    listeners.push(listener);
    return listener;
  };
  const put = (id: string, topic = 'nvr/test/clip', channel = 'b'): Promise<void> =>
    notify.call('put', 'n', [{ id, channel, topic, body: JSON.stringify({ id }) }]);
  const entries = async (): Promise<OutboxEntry[]> => (await notify.call('outbox', 'n', [])).entries;
  const states = (): string[] => told.flatMap((message) => (message.type === 'delivery' ? [message.state] : []));

  it('over MQTT survives the outage of the broker and the restart of the NVR', async () => {
    const mosquitto = await broker();
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    const listener = await listen(mosquitto.url, 'nvr/#');
    await put('a');
    await until('a is there', () => listener.json('nvr/test/clip').some(({ id }) => id === 'a'));
    await until('a counts as delivered', () => states().includes('delivered'));

    // What is under way when the broker freezes is not acknowledged, so it is not delivered.
    mosquitto.signal('SIGSTOP');
    await put('b');
    await put('c');
    await new Promise((resolve) => setTimeout(resolve, 200));
    assert.equal((await entries()).length, 2);
    await mosquitto.kill();
    await put('d');
    await notify.close();
    open();
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    assert.deepEqual(
      (await entries()).map(({ id, attempts }) => [id, attempts]),
      ['b', 'c', 'd'].map((id) => [id, 0]),
    );
    await mosquitto.start();
    await until('all are there', () => new Set(listener.json('nvr/test/clip').map(({ id }) => id)).size === 4, 15_000);
    await until('nothing is left', async () => (await entries()).length === 0);
    const ids = listener.json('nvr/test/clip').map(({ id }) => id);
    assert.deepEqual([...new Set(ids)], ['a', 'b', 'c', 'd']);
  });

  it('sends again on its own what the broker did not acknowledge before it died', async () => {
    const mosquitto = await broker();
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    await until('connected', () => notify.channelState('b')?.connected === true);
    mosquitto.signal('SIGSTOP');
    await put('a');
    await new Promise((resolve) => setTimeout(resolve, 100));
    await mosquitto.kill();
    await mosquitto.start();
    const listener = await listen(mosquitto.url, 'nvr/#');
    await until('it is delivered', () => states().includes('delivered'), 15_000);
    assert.deepEqual(await entries(), []);
    assert.ok(listener.texts('nvr/test/clip').length <= 1, 'at most once, for nobody listened before');
  });

  it('retains states, tells a new broker of them, and removes what is not told any more', async () => {
    const mosquitto = await broker();
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    await notify.setState('b', 'nvr/test/x', 'ON');
    await notify.setState('b', 'nvr/test/picture', new Uint8Array([255, 216, 1]));
    const retained = async (): Promise<string[]> => {
      const late = await listen(mosquitto.url, 'nvr/test/#');
      await new Promise((resolve) => setTimeout(resolve, 200));
      return late.heard
        .filter(({ retain }) => retain)
        .map(({ topic, payload }) => `${topic} ${payload.toString('latin1')}`);
    };
    const expected = ['nvr/test/picture ÿØ\u0001', 'nvr/test/status online', 'nvr/test/x ON'];
    await until('all is retained', async () => (await retained()).length === 3);
    assert.deepEqual((await retained()).sort(), expected);
    await mosquitto.kill();
    await mosquitto.start();
    await until('all is retained again', async () => (await retained()).length === 3, 15_000);

    await notify.close();
    assert.ok((await retained()).includes('nvr/test/status offline'), 'an orderly end says so');
    open();
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    await notify.setState('b', 'nvr/test/x', 'OFF');
    await notify.pruneStates('b', ['nvr/test/x']);
    await until('the picture is gone', async () => !(await retained()).some((text) => text.includes('picture')));
    await notify.setState('b', 'nvr/test/x', null);
    await until('x is gone', async () => (await retained()).join() === 'nvr/test/status online');
  });

  it('over MQTT tells its states anew to a broker with other settings, and removes what is not current', async () => {
    const mosquitto = await broker();
    const listener = await listen(mosquitto.url, 'nvr/#');
    const last = (topic: string): string => listener.texts(topic).at(-1) ?? '';
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    await notify.setState('b', 'nvr/test/kept', 'ON');
    await notify.setState('b', 'nvr/test/old', 'ON');
    await until('both are there', () => last('nvr/test/kept') === 'ON' && last('nvr/test/old') === 'ON');
    // Told while the connection is being changed.
    const changed = notify.setChannel('b', { ...SPEC, url: mosquitto.url, version: 4 });
    await notify.setState('b', 'nvr/test/new', 'ON');
    await changed;
    await until('the new one is there', () => last('nvr/test/new') === 'ON');
    await notify.pruneStates('b', ['nvr/test/kept', 'nvr/test/new']);
    await until('the old one is gone', () => last('nvr/test/old') === '');
    assert.deepEqual([last('nvr/test/kept'), last('nvr/test/new')], ['ON', 'ON']);
    await until('it is online', () => last('nvr/test/status') === 'online');
  });

  it('over MQTT is online again after the last will of a connection that broke before', async () => {
    const mosquitto = await broker();
    const listener = await listen(mosquitto.url, 'nvr/#');
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    await until('it is online', () => listener.texts('nvr/test/status').includes('online'));
    await listener.client.publishAsync('nvr/test/status', 'offline', { qos: 1, retain: true });
    await until('it is online again', () => listener.texts('nvr/test/status').join() === 'online,offline,online');
  });

  it('has the broker tell of its death, passes commands on, and none that was retained', async () => {
    const mosquitto = await broker();
    const listener = await listen(mosquitto.url, 'nvr/#');
    await listener.client.publishAsync('nvr/test/panic/set', 'ON', { qos: 1, retain: true });
    const commands: string[] = [];
    notify.on('command', (channel, topic, payload) => commands.push(`${channel} ${topic} ${payload}`));
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    await until('online', () => listener.texts('nvr/test/status').includes('online'));
    await listener.client.publishAsync('nvr/test/panic/set', 'OFF', { qos: 1 });
    await until('the command came', () => commands.length > 0);
    assert.deepEqual(commands, ['b nvr/test/panic/set OFF']);
    // As when the process is killed: the thread goes without a word.
    const { worker } = notify as unknown as { worker: { terminate(): Promise<number> } };
    await worker.terminate();
    await until('the last will', () => listener.texts('nvr/test/status').at(-1) === 'offline');
    await until('it is back', () => listener.texts('nvr/test/status').at(-1) === 'online', 15_000);
  });

  it('logs in over TLS with a certificate, and says what is wrong otherwise', async () => {
    const authority = certificate('Test CA', null);
    const server = certificate('broker', authority);
    const client = certificate('nvr', authority);
    const files = { 'ca.pem': authority.cert, 'cert.pem': server.cert, 'key.pem': server.key };
    const mosquitto = await broker(
      [
        ...['cafile {folder}/ca.pem', 'certfile {folder}/cert.pem', 'keyfile {folder}/key.pem'],
        ...['require_certificate true', 'use_identity_as_username true', 'allow_anonymous false'],
      ],
      files,
    );
    const url = `mqtts://127.0.0.1:${mosquitto.port}`;
    const tls = { ca: authority.cert, cert: client.cert, key: client.key, rejectUnauthorized: true };
    await notify.setChannel('wrong', {
      ...SPEC,
      url,
      tls: { ca: certificate('Other CA', null).cert, cert: client.cert, key: client.key },
    });
    await notify.setChannel('b', { ...SPEC, url, tls });
    await put('a');
    await until('it is delivered', () => states().includes('delivered'));
    await until('the other has a problem', () => /cannot be reached/.test(notify.channelState('wrong')?.problem ?? ''));
    assert.equal(notify.channelState('wrong')?.connected, false);
  });

  it('makes a dead letter of what the broker forbids, and tells a wrong password from a wrong address', async () => {
    const mosquitto = await broker(['allow_anonymous true', 'acl_file {folder}/acl'], {
      acl: 'topic write nvr/test/clip\ntopic write nvr/test/status\n',
    });
    await notify.setChannel('b', { ...SPEC, url: mosquitto.url });
    await put('allowed');
    await put('forbidden', 'nvr/other');
    await until('one is delivered', () => states().includes('delivered'));
    await until('one is refused', () => states().includes('retry'));
    const [entry] = await entries();
    assert.deepEqual([entry?.id, entry?.attempts, entry?.state], ['forbidden', 1, 'waiting']);
    assert.match(entry?.problem ?? '', /Not authorized/);
    const locked = await broker(['allow_anonymous false']);
    await notify.setChannel('locked', { ...SPEC, url: locked.url, username: 'x', password: 'very secret' });
    await until('it is refused', () =>
      /password and its access rules/.test(notify.channelState('locked')?.problem ?? ''),
    );
    await notify.setChannel('nobody', { ...SPEC, url: `mqtt://127.0.0.1:${await freePort()}` });
    await until('nobody is there', () => /no broker answers/.test(notify.channelState('nobody')?.problem ?? ''));
    assert.doesNotMatch(JSON.stringify([told, notify.channelState('locked')]), /very secret/);
  });

  it('begins as soon as its disk is there, with all that was asked for meanwhile', async () => {
    const disk = join(folder, 'disk');
    writeFileSync(disk, 'not mounted');
    notify = new NotifyHost(join(disk, 'notify.sqlite'));
    const policy = { perMinute: 0, cooldownMs: 0, quiet: null, groupMs: 0, maxClipMs: 1000 };
    const due: string[] = [];
    notify.on('due', ({ node }) => due.push(node));
    await assert.rejects(notify.setNode('n', { ...policy, keep: { ms: 1, bytes: 1, folder: join(folder, 'clips') } }), {
      code: 'notify',
    });
    rmSync(disk);
    const event = { eventId: 'e', correlationId: null, kind: 'external' as const, cameras: ['yard'], start: 0, end: 0 };
    const more = { preMs: 0, postMs: 0, label: null, severity: null, zones: [], exempt: true };
    assert.equal(await notify.call('submit', 'n', { ...event, ...more }), null);
    await until('its clip is due', () => due.join() === 'n');
  });

  describe('to a webhook', () => {
    let server: Server;
    let requests: { headers: IncomingMessage['headers']; body: string; at: number }[];
    let answer: { status: number; headers?: Record<string, string> };
    let url: string;
    beforeEach(async () => {
      requests = [];
      answer = { status: 204 };
      server = createServer((request, response) => {
        const chunks: Buffer[] = [];
        request.on('data', (chunk: Buffer) => chunks.push(chunk));
        request.on('end', () => {
          requests.push({ headers: request.headers, body: Buffer.concat(chunks).toString(), at: Date.now() });
          response.writeHead(answer.status, answer.headers).end('{}');
        });
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
    });
    afterEach(() => new Promise<void>((resolve) => (server.close(() => resolve()), server.closeAllConnections())));

    it('signs what it sends', async () => {
      await notify.setChannel('w', { kind: 'webhook', url, secret: 'shared' });
      await put('a', '', 'w');
      await until('it came', () => requests.length === 1 && states().includes('delivered'));
      const { headers, body } = requests[0]!;
      const timestamp = headers['x-nvr-timestamp'] as string;
      const expected = createHmac('sha256', 'shared').update(`${timestamp}.${body}`).digest('hex');
      assert.equal(headers['x-nvr-signature'], `sha256=${expected}`);
      assert.deepEqual(
        [headers['x-nvr-id'], headers['content-type'], JSON.parse(body)],
        ['a', 'application/json', { id: 'a' }],
      );
      assert.ok(Math.abs(Date.now() / 1000 - Number(timestamp)) < 10);
    });

    it('tries again with the same id when the server fails, and follows no redirect', async () => {
      answer = { status: 500 };
      await notify.setChannel('w', { kind: 'webhook', url, secret: '' });
      await put('a', '', 'w');
      await until('it is refused', () => states().includes('retry'));
      assert.match((await entries())[0]!.problem!, /answers 500/);
      answer = { status: 302, headers: { location: 'http://127.0.0.1:1/' } };
      await until('it is redirected', async () => /redirects to/.test((await entries())[0]!.problem!));
      answer = { status: 200 };
      await until('it is delivered', () => states().includes('delivered'), 20_000);
      assert.deepEqual([...new Set(requests.map(({ headers }) => headers['x-nvr-id']))], ['a']);
      assert.ok(requests.length >= 3 && requests.every(({ headers }) => headers['x-nvr-signature'] === undefined));
    });

    it('waits while nobody answers, and counts no attempt', async () => {
      await notify.setChannel('w', { kind: 'webhook', url: `http://127.0.0.1:${await freePort()}/`, secret: '' });
      await put('a', '', 'w');
      await until('a problem is told', () => /ECONNREFUSED/.test(notify.channelState('w')?.problem ?? ''));
      assert.deepEqual(
        (await entries()).map(({ attempts, state }) => [attempts, state]),
        [[0, 'waiting']],
      );
      await notify.setChannel('w', { kind: 'webhook', url, secret: '' });
      await until('it is delivered', () => states().includes('delivered'));
    });
  });
});
