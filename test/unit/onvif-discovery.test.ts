import assert from 'node:assert/strict';
import { findDevices, onvifProfiles, type OnvifAccess } from '../../nodes/camera-source/onvif-lookup.ts';
import { discover, readMatches } from '../../engine/onvif/discovery.ts';
import { parseTargets } from '../../engine/onvif/targets.ts';
import { OnvifCamera } from '../support/onvif-camera.ts';
import { DiscoveryResponder, type DiscoverableDevice } from '../support/onvif-discovery.ts';

const device = (number: number, more: Partial<DiscoverableDevice> = {}): DiscoverableDevice => ({
  uuid: `urn:uuid:00000000-0000-4000-8000-${String(number).padStart(12, '0')}`,
  xaddrs: [`http://10.0.0.${number}/onvif/device_service`],
  scopes: ['onvif://www.onvif.org/Profile/Streaming', `onvif://www.onvif.org/name/Cam%20${number}`],
  ...more,
});

describe('ONVIF discovery', function () {
  this.timeout(20_000);
  let responder: DiscoveryResponder | null = null;
  afterEach(async () => {
    await responder?.stop();
    responder = null;
  });

  it('finds 50 devices in less than 5 s, each once, whatever others answer', async () => {
    const garbage = [
      '',
      'hello',
      '<a/>',
      Buffer.from([0xff, 0xfe, 0, 1]),
      '<s:Envelope xmlns:s="x"><s:Body/></s:Envelope>',
    ];
    responder = await new DiscoveryResponder([
      ...garbage.map((text, index) => device(200 + index, { garbage: text, copies: 3 })),
      ...Array.from({ length: 50 }, (_, index) =>
        device(index + 1, { copies: index % 3, deafTo: index % 4, delayMs: (index * 37) % 1500 }),
      ).map((one) => ({ ...one, copies: Math.max(one.copies ?? 1, 1) })),
      device(300, { xaddrs: ['ftp://x', 'nonsense', 'http://a:b@10.0.0.9/'] }),
    ]).start();
    const found = await discover({ port: responder.port });
    assert.equal(found.length, 50);
    assert.deepEqual(found[0], {
      id: device(1).uuid,
      ...{ address: 'http://10.0.0.1/onvif/device_service', host: '10.0.0.1', name: 'Cam 1', hardware: '' },
      from: found[0]!.from,
    });
    assert.ok(new Set(responder.probes.map(({ types }) => types)).size >= 3, 'several kinds of probes');
  });

  it('takes a bounded number of devices from one answer', () => {
    const id = 'urn:uuid:00000000-0000-4000-8000-000000000000';
    const match = (i: number): string => `<ProbeMatch><XAddrs>http://10.0.0.${i}/</XAddrs></ProbeMatch>`;
    const matches = Array.from({ length: 200 }, (_, i) => match(i)).join('');
    const text = `<Envelope><Header><RelatesTo>${id}</RelatesTo></Header><Body><ProbeMatches>${matches}</ProbeMatches></Body></Envelope>`;
    assert.equal(readMatches(text, '10.0.0.1', new Set([id])).length, 32);
  });

  it('asks one address, where multicast does not get through', async () => {
    responder = await new DiscoveryResponder([
      device(1, { xaddrs: ['http://169.254.1.1/x', 'http://[fe80::1]/x', 'http://127.0.0.1:81/x'] }),
    ]).start(0, null);
    const [found] = await discover({ hosts: ['127.0.0.1'], port: responder.port, timeoutMs: 500 });
    assert.equal(found?.address, 'http://127.0.0.1:81/x', 'the address that it answered from');
    assert.deepEqual(await discover({ hosts: ['no-such-host.invalid'], port: responder.port, timeoutMs: 300 }), []);
  });

  it('takes nobody for a camera at an address of the internet, and tells who named the address of another', () => {
    const answer = (xaddrs: string): string =>
      `<e:Envelope xmlns:e="x"><e:Header><RelatesTo>urn:uuid:1</RelatesTo></e:Header><e:Body><ProbeMatches><ProbeMatch><XAddrs>${xaddrs}</XAddrs></ProbeMatch></ProbeMatches></e:Body></e:Envelope>`;
    const read = (xaddrs: string): [string, string | null][] =>
      readMatches(answer(xaddrs), '192.168.1.66', new Set(['urn:uuid:1'])).map(({ host, from }) => [host, from]);
    for (const far of ['http://evil.example/', 'http://8.8.8.8/', 'https://[2001:db8::1]/', 'http://134744072/'])
      assert.deepEqual(read(far), [], far);
    assert.deepEqual(read('http://evil.example/ http://192.168.1.66:81/'), [['192.168.1.66:81', null]]);
    assert.deepEqual(read('http://192.168.1.10/'), [['192.168.1.10', '192.168.1.66']]);
  });

  it('believes only answers to its own questions', () => {
    const answer = `<e:Envelope xmlns:e="x"><e:Header><RelatesTo>urn:uuid:1</RelatesTo></e:Header><e:Body><ProbeMatches><ProbeMatch><XAddrs>http://10.0.0.1/</XAddrs></ProbeMatch></ProbeMatches></e:Body></e:Envelope>`;
    assert.deepEqual(readMatches(answer, '10.0.0.1', new Set(['urn:uuid:2'])), []);
    assert.equal(readMatches(answer, '10.0.0.1', new Set(['urn:uuid:1'])).length, 1);
  });

  it('leads to the streams of a device, without the account in them', async () => {
    const camera = await new OnvifCamera({ clockOffsetMs: 3_600_000, auth: 'digest' }).start();
    const at = (account: { username: string; password: string } | null): OnvifAccess => ({
      ...{ address: `127.0.0.1:${camera.port}`, account, anyCertificate: false },
    });
    try {
      const { username, password } = camera.options;
      const result = await onvifProfiles(at({ username, password }));
      assert.ok(result.ok);
      assert.deepEqual(
        [result.main, result.sub],
        ['main', 'sub'].map((name) => `rtsp://127.0.0.1/stream/${name}?a=1&b=2`),
      );
      assert.deepEqual([result.ptz, result.events, result.profiles.length], [true, true, 2]);
      assert.ok(Math.abs(result.clockOffsetMs - 3_600_000) < 1500);
      const refused = await onvifProfiles(at({ username, password: 'nope-nope' }));
      assert.ok(!refused.ok && refused.reason === 'auth' && !refused.message.includes('nope-nope'));
    } finally {
      await camera.stop();
    }
    const away = await onvifProfiles(at(null));
    assert.ok(!away.ok && away.reason === 'refused');
    const wrong = await onvifProfiles({ ...at(null), address: 'ftp://x' });
    assert.ok(!wrong.ok && wrong.reason === 'bad-address');
  });

  it('asks the addresses of a range, also those that answer to ONVIF alone', async () => {
    const camera = await new OnvifCamera().start();
    try {
      const found = await findDevices(`127.0.0.1:${camera.port}, 127.0.0.1:1`);
      assert.deepEqual(
        found.map(({ address }) => address),
        [camera.address],
      );
    } finally {
      await camera.stop();
    }
    const hosts = (text: string): string[] =>
      parseTargets(text).map(({ host, port }) => (port ? `${host}:${port}` : host));
    assert.deepEqual(hosts('10.0.0.254-10.0.1.1 cam.lan:81;[fe80::1]'), [
      ...['10.0.0.254', '10.0.0.255', '10.0.1.0', '10.0.1.1', 'cam.lan:81', '[fe80::1]'],
    ]);
    assert.deepEqual(hosts('192.168.1.7-9'), ['192.168.1.7', '192.168.1.8', '192.168.1.9']);
    assert.equal(hosts('192.168.1.77/24').length, 254);
    assert.deepEqual(hosts('http://cam.lan/onvif'), ['cam.lan']);
    for (const wrong of [
      '10.0.0.9-3',
      '10.0.0.0/8',
      '10.0.0.0/20',
      '10.0.0.300-310',
      'ftp://x',
      'a:b@c',
      '10.0.0.1-400',
    ])
      assert.throws(() => parseTargets(wrong), { code: 'bad-address' }, wrong);
  });
});
