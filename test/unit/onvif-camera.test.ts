/** The ONVIF client against simulated devices: what goes over the wire, or why not. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { OnvifCamera, type CameraEffects, type CameraOptions, type Command } from '../../engine/onvif/camera.ts';
import { OnvifClient } from '../../engine/onvif/client.ts';
import { describeDevice, setClock, snapshotOf, streamUriOf } from '../../engine/onvif/device.ts';
import type { DeviceEvent } from '../../engine/onvif/events.ts';
import { NS, SPACE } from '../../engine/onvif/names.ts';
import { find, textAt, type XmlElement } from '../../engine/onvif/xml.ts';
import {
  OnvifCamera as Simulator,
  type CameraKind,
  type CameraOptions as SimOptions,
} from '../support/onvif-camera.ts';

const ACCOUNT = { username: 'admin', password: 'pass word&<1>' };

async function until(test: () => boolean, ms = 5000): Promise<void> {
  for (const end = Date.now() + ms; !test(); await sleep(10)) assert.ok(Date.now() < end, `not within ${ms} ms`);
}

describe('an ONVIF device', function () {
  this.timeout(20_000);
  const opened: { close(): unknown }[] = [];
  const sims: Simulator[] = [];
  afterEach(async () => {
    await Promise.all(opened.splice(0).map((one) => one.close()));
    await Promise.all(sims.splice(0).map((sim) => sim.stop()));
  });

  async function simulate(options: Partial<SimOptions> = {}): Promise<Simulator> {
    const sim = await new Simulator(options).start();
    sims.push(sim);
    return sim;
  }

  function connect(sim: Simulator, account: typeof ACCOUNT | null = ACCOUNT, timeoutMs = 2000): OnvifClient {
    const client = new OnvifClient({ address: `127.0.0.1:${sim.port}`, timeoutMs, ...(account ? { account } : {}) });
    opened.push(client);
    return client;
  }

  interface Log {
    turning: boolean[];
    events: DeviceEvent[];
    problems: string[];
    visits: string[];
    presets: string[];
    at: string[];
  }

  async function open(
    simOptions: Partial<SimOptions> = {},
    options: Partial<CameraOptions> = {},
  ): Promise<{ sim: Simulator; camera: OnvifCamera; log: Log }> {
    const sim = await simulate(simOptions);
    const log: Log = { turning: [], events: [], problems: [], visits: [], presets: [], at: [] };
    const effects: CameraEffects = {
      onTurning: (turning) => log.turning.push(turning),
      onEvent: (event) => log.events.push(event),
      onNotification: () => undefined,
      onPatrol: () => undefined,
      onConnected: () => undefined,
      onVisit: ({ state }) => log.visits.push(state),
      onPresets: (presets) => log.presets.push(presets.map(({ token }) => token).join()),
      onAtPreset: (token) => log.at.push(token),
      onProblem: (part, problem) => log.problems.push(`${part}: ${problem?.message ?? 'ok'}`),
    };
    const camera = new OnvifCamera(
      { address: sim.address, account: ACCOUNT, travel: null, events: false, idleMs: 0, timeoutMs: 3000, ...options },
      effects,
    );
    opened.push(camera);
    return { sim, camera, log };
  }

  describe('logs in', () => {
    for (const auth of ['none', 'wsse', 'digest', 'either'] as const)
      for (const algorithm of auth === 'digest' ? (['MD5', 'SHA-256'] as const) : (['MD5'] as const))
        it(`as it wants: ${auth} ${algorithm}, its clock hours off; each call is then one request on the one connection`, async () => {
          const sim = await simulate({ auth, algorithm, clockOffsetMs: -7 * 3_600_000 });
          const client = connect(sim);
          const { manufacturer, clockOffsetMs } = await describeDevice(client);
          assert.equal(manufacturer, 'Flow NVR');
          assert.ok(Math.abs(clockOffsetMs + 7 * 3_600_000) < 1500);
          const [before, connections] = [sim.calls.length, sim.connections];
          for (let i = 0; i < 20; i++) await client.call(client.base, `<GetDeviceInformation xmlns="${NS.device}"/>`);
          assert.equal(sim.calls.length - before, 20);
          assert.equal(sim.connections, connections);
        });

    it('with many calls at once, before it is known how', async () => {
      const sim = await simulate({ auth: 'digest' });
      const client = connect(sim);
      await Promise.all(
        Array.from({ length: 12 }, () => client.call(client.base, `<GetDeviceInformation xmlns="${NS.device}"/>`)),
      );
    });

    it('and follows a clock that is set while it is connected', async () => {
      const sim = await simulate();
      const client = connect(sim);
      await client.call(client.base, `<GetDeviceInformation xmlns="${NS.device}"/>`);
      sim.options.clockOffsetMs = 86_400_000;
      // The clock is asked for at most every half minute.
      (client as unknown as { clockAt: number }).clockAt = -Infinity;
      await client.call(client.base, `<GetDeviceInformation xmlns="${NS.device}"/>`);
      assert.ok(Math.abs(client.clockOffsetMs - 86_400_000) < 1500);
    });

    it('and says what is wrong, without the account', async () => {
      for (const auth of ['wsse', 'digest', 'either'] as const) {
        const sim = await simulate({ auth });
        const wrong = { username: 'root-name', password: 'wrong-secret' };
        await assert.rejects(describeDevice(connect(sim, wrong)), (error: Error & { code: string }) => {
          assert.equal(error.code, 'auth');
          assert.doesNotMatch(error.message, /root-name|wrong-secret/);
          return true;
        });
        assert.ok(sim.calls.length < 8, 'and does not get the account locked');
        await assert.rejects(describeDevice(connect(sim, null)), { code: 'auth', message: /enter user name/ });
      }
    });
  });

  it('is described with what it has: old ones, ones behind a NAT, ones that lack services', async () => {
    const full = await describeDevice(
      connect(await simulate({ degrees: { pan: { min: -170, max: 170 }, tilt: { min: -90, max: 20 } } })),
    );
    assert.deepEqual(
      full.profiles.map(({ token }) => token),
      ['main', 'sub'],
      'the large picture first',
    );
    assert.deepEqual(full.ptz?.panTilt.degrees?.x, { min: -170, max: 170 });
    assert.deepEqual(full.relays, ['relay-1']);
    const sim = await simulate({ getServices: false, advertisedHost: '10.99.99.99:8000' });
    const client = connect(sim);
    const old = await describeDevice(client);
    assert.equal(old.services.ptz?.host, `127.0.0.1:${sim.port}`);
    assert.equal(
      await streamUriOf(client, old, 'main'),
      'rtsp://127.0.0.1/stream/main?a=1&b=2',
      'no account, and our host',
    );
    const poor = await describeDevice(
      connect(await simulate({ missing: new Set(['ptz', 'events', 'media', 'imaging']) })),
    );
    assert.deepEqual([poor.ptz, poor.profiles, poor.services.events], [null, [], undefined]);
    assert.equal((await describeDevice(connect(await simulate({ kind: 'fixed' })))).ptz, null);
  });

  it('cannot lead the account to another host by the address of a stream', async () => {
    for (const [given, used] of [
      ['rtsp://a@b:c@127.0.0.3/live', 'rtsp://127.0.0.1/live'],
      ['rtsp://127.0.0.3:8554/live', 'rtsp://127.0.0.1:8554/live'],
      ['rtsp://:x@127.0.0.3/live', 'rtsp://127.0.0.1/live'],
      ['rtsp://u:p/w@127.0.0.3/live', 'rtsp://127.0.0.1/live'],
      ['http://127.0.0.3/live', null],
      ['rtsp://b:c/@x@127.0.0.3/y@127.0.0.4/', null],
      ['rtsp:///live', null],
    ] as const) {
      const client = connect(await simulate({ streams: { main: given } }));
      const got = streamUriOf(client, await describeDevice(client), 'main');
      if (used) assert.equal(await got, used, given);
      else await assert.rejects(got, { code: 'device' }, given);
    }
  });

  it('with Media 2 alone, or one whose Media refuses, has streams and a picture', async () => {
    const snapshot = Buffer.from([0xff, 0xd8, 1, 2, 3]);
    for (const options of [{ missing: new Set(['media'] as const) }, {}]) {
      const sim = await simulate({ ...options, media2: true, auth: 'digest', snapshot });
      const client = connect(sim);
      const device = await describeDevice(client);
      assert.deepEqual(
        device.profiles.map(({ token, encoding, width, hasPtz }) => [token, encoding, width, hasPtz]),
        [
          ['main', options.missing ? 'H265' : 'H264', 1920, true],
          ['sub', options.missing ? 'H265' : 'H264', 640, true],
        ],
      );
      sim.options.missing = new Set(['media']);
      assert.equal(await streamUriOf(client, device, 'main'), 'rtsp://127.0.0.1/stream/main?a=1&b=2');
      assert.deepEqual(await snapshotOf(client, device, 'main'), snapshot);
      sim.options.snapshot = Buffer.from('<html>');
      await assert.rejects(snapshotOf(client, device, 'main'), { code: 'device' });
    }
  });

  it('has its clock set, in its time zone', async () => {
    const sim = await simulate({ clockOffsetMs: -5 * 3_600_000 });
    sim.timeZone = 'CET-1CEST';
    const client = connect(sim);
    assert.ok(Math.abs(await setClock(client)) < 1500);
    assert.ok(Math.abs(sim.options.clockOffsetMs) < 1500);
    assert.equal(sim.timeZone, 'CET-1CEST');
    await describeDevice(client);
  });

  it('with a certificate of its own is not trusted until that is wanted', async () => {
    const sim = await simulate({ https: true });
    const account = ACCOUNT;
    const strict = new OnvifClient({ address: sim.address, account });
    opened.push(strict);
    await assert.rejects(describeDevice(strict), { code: 'certificate', message: /allow any certificate/ });
    assert.equal(sim.calls.length, 0);
    const client = new OnvifClient({ address: sim.address, account, anyCertificate: true });
    opened.push(client);
    assert.equal((await describeDevice(client)).model, 'Sim');
  });

  it('that is broken is told apart: garbage, late, away', async () => {
    for (const garbage of ['<html><body>Hello', 'x'.repeat(3_000_000), '<html><body/></html>', '\0\xff']) {
      await assert.rejects(describeDevice(connect(await simulate({ garbage }))), { code: 'bad-xml' });
    }
    await assert.rejects(describeDevice(connect(await simulate({ latencyMs: 1000 }), ACCOUNT, 200)), {
      code: 'timeout',
    });
    const sim = await simulate();
    await sim.stop();
    sims.splice(sims.indexOf(sim), 1);
    await assert.rejects(describeDevice(connect(sim)), { code: 'refused' });
    assert.throws(() => new OnvifClient({ address: 'ftp://x' }), { code: 'bad-address' });
    assert.throws(() => new OnvifClient({ address: 'http://a:b@x' }), { code: 'bad-address' });
  });

  it('may close connections between calls', async () => {
    const sim = await simulate({ auth: 'digest' });
    const client = connect(sim);
    for (let i = 0; i < 5; i++) {
      await client.call(client.base, `<GetDeviceInformation xmlns="${NS.device}"/>`);
      sim.dropConnections();
    }
  });

  const steer = (way: 'move' | 'absolute' | 'relative', axes: object, more: object = {}): Command => ({
    command: 'steer',
    way,
    axes,
    timeoutMs: 400,
    degrees: false,
    ...more,
  });
  const vector = (body: XmlElement, tag: string): unknown => {
    const { panTilt, zoom } = { panTilt: find(body, tag, 'PanTilt'), zoom: find(body, tag, 'Zoom') };
    assert.ok([panTilt, zoom].every((part) => !part || part.ns === NS.schema));
    return [panTilt?.attributes['x'], panTilt?.attributes['y'], zoom?.attributes['x']];
  };

  /** What each kind of device gets for a command, `x, y, zoom` as sent, or the code of the refusal. */
  const MOVE = steer('move', { pan: 0.5, tilt: -0.25 });
  const ZOOM = steer('move', { zoom: -1 });
  const ABSOLUTE = steer('absolute', { pan: 0.5, tilt: -1 });
  const HALF = steer('absolute', { pan: 0.5 });
  const ZOOMED = steer('absolute', { zoom: 0.75 });
  const RELATIVE = steer('relative', { pan: 0.1, tilt: 0 });
  const none = undefined;
  const TABLE: [CameraKind, Command, string, unknown][] = [
    ['full', MOVE, 'ContinuousMove', ['0.5', '-0.25', none]],
    ['full', ZOOM, 'ContinuousMove', [none, none, '-1']],
    ['full', ABSOLUTE, 'AbsoluteMove', ['0.5', '-1', none]],
    ['full', HALF, 'AbsoluteMove', ['0.5', '0', none]],
    ['full', ZOOMED, 'AbsoluteMove', [none, none, '0.75']],
    ['full', RELATIVE, 'RelativeMove', ['0.1', '0', none]],
    ['continuous', MOVE, 'ContinuousMove', ['0.5', '-0.25', none]],
    ['continuous', ABSOLUTE, '', 'ptz-unsupported'],
    ['continuous', RELATIVE, '', 'ptz-unsupported'],
    ['absolute', MOVE, '', 'ptz-unsupported'],
    ['absolute', ABSOLUTE, 'AbsoluteMove', ['0.5', '-1', none]],
    ['absolute', RELATIVE, 'AbsoluteMove', ['0.1', '0', none]],
    ['relative', RELATIVE, 'RelativeMove', ['0.1', '0', none]],
    ['relative', MOVE, '', 'ptz-unsupported'],
    ['relative', ABSOLUTE, '', 'ptz-unsupported'],
    ['zoom', ZOOM, 'ContinuousMove', [none, none, '-1']],
    ['zoom', steer('move', { pan: 0, tilt: 0, zoom: 1 }), 'ContinuousMove', [none, none, '1']],
    ['zoom', MOVE, '', 'ptz-unsupported'],
    ['zoom', ZOOMED, 'AbsoluteMove', [none, none, '0.75']],
    ['fixed', MOVE, '', 'ptz-unsupported'],
    ['fixed', { command: 'stop' }, '', 'ptz-unsupported'],
    ['fixed', { command: 'presets' }, '', 'ptz-unsupported'],
  ];
  for (const [kind, command, action, expected] of TABLE)
    it(`${kind}: ${JSON.stringify(command)} becomes ${action || String(expected)}`, async () => {
      const { sim, camera } = await open({ kind });
      if (!action) {
        await assert.rejects(camera.execute(command), { code: expected as string });
        assert.ok(
          sim.calls.every((call) => !/Move|Stop/.test(call.action)),
          'and nothing went out',
        );
        return;
      }
      await camera.execute(command);
      const [call] = sim.callsOf(action);
      const tag = { ContinuousMove: 'Velocity', AbsoluteMove: 'Position', RelativeMove: 'Translation' }[action]!;
      assert.deepEqual(vector(call!.body, tag), expected);
      if (action === 'ContinuousMove') assert.equal(textAt(call!.body, 'Timeout'), 'PT0.4S');
    });

  it('is told positions in its own ranges, and in degrees where it has them', async () => {
    const { sim, camera } = await open({
      ...{ panRange: { min: -180, max: 180 }, tiltRange: { min: 0, max: 90 }, zoomRange: { min: 1, max: 31 } },
      degrees: { pan: { min: -170, max: 170 }, tilt: { min: -20, max: 90 } },
    });
    await camera.execute(steer('absolute', { pan: 0.5, tilt: -1, zoom: 0.5 }));
    await camera.execute(steer('absolute', { pan: 45, tilt: -10 }, { degrees: true }));
    const [first, second] = sim.callsOf('AbsoluteMove');
    assert.deepEqual(vector(first!.body, 'Position'), ['90', '0', '16']);
    assert.deepEqual(vector(second!.body, 'Position'), ['45', '-10', undefined]);
    assert.equal(find(second!.body, 'Position', 'PanTilt')?.attributes['space'], SPACE.panTiltDegrees);
    await assert.rejects(camera.execute(steer('absolute', { pan: 175, tilt: 0 }, { degrees: true })), {
      code: 'ptz-range',
      message: /pan must be -170 to 170/,
    });
  });

  it('without relative moves is moved by time, when its travel time is known', async () => {
    const { sim, camera } = await open({ kind: 'continuous' }, { travel: { panTiltMs: 4000, zoomMs: 2000 } });
    const result = await camera.execute(steer('relative', { pan: 0.2, tilt: -0.1 }));
    assert.deepEqual(result, { action: 'ContinuousMove', emulated: true });
    const [{ body }] = sim.callsOf('ContinuousMove') as unknown as [{ body: XmlElement }];
    assert.deepEqual([vector(body, 'Velocity'), textAt(body, 'Timeout')], [['1', '-0.5', undefined], 'PT0.4S']);
    await until(() => !sim.table.moving);
    assert.ok(Math.abs(sim.table.position.pan - 0.2) < 0.03, String(sim.table.position.pan));
  });

  it('is stopped after a move even if the stop was lost and it knows no timeouts', async () => {
    const { sim, camera, log } = await open({ kind: 'continuous' });
    await camera.execute(steer('move', { pan: 1 }));
    sim.table.turn('pan', 1, Infinity);
    await until(() => sim.callsOf('Stop').length === 1);
    await until(() => log.turning.length === 2);
    assert.deepEqual(log.turning, [true, false]);
    assert.ok(!sim.table.moving);
  });

  it('whose answer to a move was lost is stopped all the same', async () => {
    const { sim, camera } = await open({ kind: 'continuous' }, { timeoutMs: 300 });
    await camera.describe();
    sim.options.latencyMs = 500;
    await assert.rejects(camera.execute(steer('move', { pan: 1 })), { code: 'timeout' });
    sim.options.latencyMs = 0;
    await until(() => sim.callsOf('Stop').length > 0);
  });

  it('on a bad line fails single commands with a reason, and goes on', async () => {
    const { sim, camera } = await open({ auth: 'digest' });
    await camera.describe();
    sim.options.loss = 0.3;
    let done = 0;
    for (let i = 0; i < 40; i++) {
      await camera.execute({ command: 'presets' }).then(
        () => done++,
        (error: unknown) => assert.match((error as { code: string }).code, /^(network|timeout)$/),
      );
    }
    assert.ok(done > 15, String(done));
    sim.options.loss = 0;
    await camera.execute({ command: 'presets' });
  });

  it('is stopped when its node is closed', async () => {
    const { sim, camera } = await open();
    await camera.execute(steer('move', { pan: 1 }, { timeoutMs: 60_000 }));
    await camera.close();
    assert.equal(sim.callsOf('Stop').length, 1);
  });

  it('is stopped when its node is closed before it answered the move', async () => {
    let answer = (): void => undefined;
    const { sim, camera } = await open({ answersToMoves: new Promise((resolve) => (answer = resolve)) });
    const move = camera.execute(steer('move', { pan: 1 }, { timeoutMs: 60_000 }));
    const refused = assert.rejects(move, { name: 'AbortError' });
    await until(() => sim.callsOf('ContinuousMove').length === 1);
    assert.ok(sim.table.moving);
    await camera.close();
    answer();
    await refused;
    assert.equal(sim.callsOf('Stop').length, 1);
    assert.ok(!sim.table.moving);
  });

  it('that is slow gets the newest move, and stop at once', async () => {
    const { sim, camera } = await open();
    await camera.describe();
    sim.options.latencyMs = 1000;
    const moves = Array.from({ length: 50 }, (_, i) => camera.execute(steer('move', { pan: (i + 1) / 50 })));
    await sleep(30);
    const stopped = camera.execute({ command: 'stop' });
    await Promise.all([...moves, stopped]);
    assert.ok(sim.callsOf('ContinuousMove').length <= 2);
    const [[move], [stop]] = [sim.callsOf('ContinuousMove'), sim.callsOf('Stop')];
    assert.ok(stop!.at < move!.at + sim.options.latencyMs, 'it did not wait for the answer to a move');
    const [last] = sim.calls.filter(({ action }) => /Stop|Move/.test(action)).slice(-1);
    assert.equal(last!.action, 'Stop');
    assert.ok(!sim.table.moving);
  });

  it('has presets by token and by name, odd tokens too', async () => {
    const odd = 'P <1> & "ü"';
    const { sim, camera } = await open({ presets: { [odd]: 'Door', '2': 'Gate', Door: '7' } });
    assert.deepEqual(await camera.execute({ command: 'goto-preset', preset: odd }), { preset: odd, name: 'Door' });
    assert.deepEqual((await camera.execute({ command: 'goto-preset', preset: 'gate' }))['preset'], '2');
    assert.deepEqual(
      (await camera.execute({ command: 'goto-preset', preset: 'Door' }))['preset'],
      'Door',
      'token before name',
    );
    assert.equal(sim.callsOf('GetPresets').length, 1, 'the list is kept');
    const set = await camera.execute({ command: 'set-preset', name: 'Yard & "tree"', preset: null });
    assert.equal(set['preset'], '1');
    await camera.execute({ command: 'goto-preset', preset: 'Yard & "tree"' });
    await camera.execute({ command: 'set-preset', name: 'New', preset: '2' });
    await camera.execute({ command: 'remove-preset', preset: 'new' });
    const { presets } = await camera.execute({ command: 'presets' });
    assert.deepEqual((presets as { token: string }[]).map(({ token }) => token).sort(), ['1', 'Door', odd].sort());
    await assert.rejects(camera.execute({ command: 'goto-preset', preset: 'Roof' }), {
      code: 'no-preset',
      message: /it has .*Door/,
    });
  });

  it('without presets, home, relays or imaging says so', async () => {
    const { camera } = await open({
      presets: {},
      maxPresets: 0,
      home: false,
      relays: [],
      missing: new Set(['imaging']),
    });
    const rows: [Command, string][] = [
      [{ command: 'goto-preset', preset: '1' }, 'no-preset'],
      [{ command: 'set-preset', name: 'x', preset: null }, 'ptz-unsupported'],
      [{ command: 'home' }, 'ptz-unsupported'],
      [{ command: 'set-home' }, 'ptz-unsupported'],
      [{ command: 'relay', relay: '', active: true }, 'unsupported'],
      [{ command: 'focus', focus: { mode: 'auto' } }, 'unsupported'],
      [{ command: 'imaging', settings: null }, 'unsupported'],
      [{ command: 'aux', data: 'tt:Unknown|On' }, 'device'],
      [{ command: 'patrol', stops: [{ preset: 'x', dwellMs: 1 }], resumeMs: 1 }, 'no-preset'],
    ];
    for (const [command, code] of rows)
      await assert.rejects(camera.execute(command), { code }, JSON.stringify(command));
  });

  it('has a home, auxiliary commands, relays, focus and picture settings', async () => {
    const { sim, camera } = await open();
    sim.table.place('pan', 0.3);
    await camera.execute({ command: 'set-home' });
    sim.table.place('pan', 0.5);
    await camera.execute({ command: 'home' });
    assert.equal(sim.homePosition.pan, 0.3);
    assert.deepEqual(await camera.execute({ command: 'aux', data: 'tt:Wiper|On' }), { answer: 'ok' });
    assert.deepEqual(await camera.execute({ command: 'relay', relay: '', active: true }), {
      relay: 'relay-1',
      active: true,
    });
    assert.equal(sim.relays.get('relay-1'), 'active');
    await camera.execute({ command: 'focus', focus: { mode: 'manual' } });
    assert.equal(sim.autoFocus, 'MANUAL');
    await camera.execute({ command: 'focus', focus: { speed: -0.5 } });
    await camera.execute({ command: 'focus', focus: { position: 0.25 } });
    const [near, far] = sim.callsOf('Move').map(({ body }) => find(body, 'Focus')!.children[0]!);
    assert.deepEqual([near!.name, textAt(near, 'Speed')], ['Continuous', '-3.5']);
    assert.deepEqual([far!.name, textAt(far, 'Position')], ['Absolute', '25']);
    await camera.execute({ command: 'focus', focus: { stop: true } });
    const { imaging } = await camera.execute({ command: 'imaging', settings: { brightness: 70, irCutFilter: 'ON' } });
    assert.deepEqual(imaging, {
      brightness: 70,
      saturation: 50,
      contrast: 50,
      irCutFilter: 'ON',
      sharpness: 50,
      focus: 'manual',
    });
    await assert.rejects(camera.execute({ command: 'imaging', settings: { contrast: 101 } }), {
      code: 'imaging-range',
    });
    const status = await camera.execute({ command: 'status' });
    assert.equal(status['model'], 'Sim');
    assert.ok((status['position'] as { pan: number }).pan > 0.2);
  });

  it('goes on patrol and waits for somebody who steers', async () => {
    const { sim, camera } = await open({ speeds: { pan: 10, tilt: 10, zoom: 10 } });
    const stops = ['Door', '2'].map((preset) => ({ preset, dwellMs: 100 }));
    await camera.execute({ command: 'patrol', stops, resumeMs: 1500 });
    await until(() => sim.callsOf('GotoPreset').length === 2);
    await camera.execute({ command: 'stop' });
    assert.equal(camera.patrolState.state, 'paused');
    const before = sim.callsOf('GotoPreset').length;
    await sleep(200);
    assert.equal(sim.callsOf('GotoPreset').length, before);
    await until(() => sim.callsOf('GotoPreset').length > before);
    await camera.execute({ command: 'patrol', stops: null, resumeMs: 0 });
    assert.equal(camera.patrolState.state, 'idle');
    assert.equal(textAt(sim.callsOf('GotoPreset')[0]!.body, 'PresetToken'), '1');
  });

  it('tells its presets whenever they are read or changed, and when it stands at one', async () => {
    const { sim, camera, log } = await open({ speeds: { pan: 10, tilt: 10, zoom: 10 } });
    await until(() => log.presets.at(-1) === '1,2');
    await camera.execute({ command: 'set-preset', name: 'Here', preset: null });
    assert.deepEqual([log.presets.at(-1), log.at], ['1,2,3', ['3']]);
    await camera.execute({ command: 'remove-preset', preset: '1' });
    assert.equal(log.presets.at(-1), '2,3');
    await camera.execute({ command: 'goto-preset', preset: 'Gate', speed: 0.5 });
    await until(() => log.at.length === 2);
    assert.deepEqual(log.at, ['3', '2']);
    assert.deepEqual(vector(sim.callsOf('GotoPreset')[0]!.body, 'Speed'), ['0.5', '0.5', '0.5']);
    await camera.execute({ command: 'goto-preset', preset: 'Here' });
    await camera.execute(steer('move', { pan: 0.1 }));
    await until(() => !sim.table.moving && log.turning.at(-1) === false);
    assert.deepEqual(log.at, ['3', '2'], 'not where it was on its way to');
  });

  it('goes where events are and back, unless somebody steers', async () => {
    const { sim, camera, log } = await open({ speeds: { pan: 20, tilt: 20, zoom: 20 } }, { idleMs: 60_000 });
    sim.table.place('pan', -0.4);
    const visit = { preset: 'Door', dwellMs: 100, back: 'before' as const, rank: 0, eventId: 'e' };
    assert.deepEqual(await camera.execute({ command: 'visit', visit }), { visit: 'started' });
    await until(() => sim.callsOf('AbsoluteMove').length === 1);
    assert.deepEqual(log.visits, ['going', 'there', 'idle']);
    assert.deepEqual(vector(sim.callsOf('AbsoluteMove')[0]!.body, 'Position'), ['-0.4', '0', '0']);
    await until(() => !sim.table.moving);
    await camera.execute({ command: 'stop' });
    assert.deepEqual(await camera.execute({ command: 'visit', visit }), { visit: 'steered' });
    assert.equal(sim.callsOf('GotoPreset').length, 1);
  });

  it('leaves its patrol for an event, and goes on with it', async () => {
    const { sim, camera } = await open({ speeds: { pan: 20, tilt: 20, zoom: 20 } });
    const stops = [{ preset: 'Gate', dwellMs: 60_000 }];
    await camera.execute({ command: 'patrol', stops, resumeMs: 60_000 });
    await until(() => camera.patrolState.state === 'dwelling');
    const visit = { preset: 'Door', dwellMs: 50, back: 'home' as const, rank: 0, eventId: 'e' };
    await camera.execute({ command: 'visit', visit });
    await until(() => camera.visitState.state === 'there');
    assert.deepEqual(camera.patrolState, { state: 'paused', resumesAt: null });
    await until(() => camera.patrolState.state === 'dwelling');
    const went = sim.callsOf('GotoPreset').map(({ body }) => textAt(body, 'PresetToken'));
    assert.deepEqual(went, ['2', '1', '2']);
    assert.equal(sim.callsOf('GotoHomePosition').length, 0);
  });

  describe('tells events', () => {
    const motion = (
      value: boolean,
    ): { topic: string; source: Record<string, string>; data: Record<string, string> } => ({
      topic: 'tns1:RuleEngine/CellMotionDetector/Motion',
      source: { VideoSourceConfigurationToken: 'vsc' },
      data: { IsMotion: String(value) },
    });
    const phases = (log: Log): string[] => log.events.map(({ kind, phase }) => `${kind} ${phase}`);

    for (const options of [
      {},
      { referenceParameters: true },
      { impatientPull: true },
      { clockOffsetMs: 5 * 3_600_000, auth: 'digest' as const, advertisedHost: '10.9.9.9' },
    ] satisfies Partial<SimOptions>[])
      it(`of a device with ${JSON.stringify(options)}, while it is being asked, and unsubscribes`, async () => {
        const { sim, camera, log } = await open(options, { events: true, pullPoint: { pollMs: 50 } });
        await until(() => sim.events.count === 1);
        await until(() => sim.callsOf('PullMessages').length > 0);
        sim.events.emit(motion(true));
        await until(() => log.events.length === 1);
        sim.events.emit(motion(false));
        await until(() => log.events.length === 2);
        assert.deepEqual(phases(log), ['motion start', 'motion end']);
        assert.equal(log.events[0]!.eventId, log.events[1]!.eventId);
        await camera.close();
        assert.equal(sim.events.count, 0);
      });

    it('again after the device forgot the subscription, and after it was away', async () => {
      const { sim, log } = await open({}, { events: true, pullPoint: { backoffMs: [50, 200] } });
      for (const trouble of [() => sim.events.forget(), () => sim.dropConnections()]) {
        await until(() => sim.events.count === 1 && sim.callsOf('PullMessages').length > 0);
        trouble();
        await sleep(150);
        await until(() => sim.events.count >= 1);
        log.events.length = 0;
        sim.events.emit(motion(true));
        sim.events.emit(motion(false));
        await until(() => log.events.length >= 2);
      }
    });

    it('longer than a subscription lives, by renewing it', async () => {
      const { sim, log } = await open({ maxSubscriptionMs: 3000 }, { events: true, pullPoint: { waitMs: 1000 } });
      await sleep(5000);
      assert.ok(sim.callsOf('Renew').length >= 1);
      assert.equal(sim.callsOf('CreatePullPointSubscription').length, 1);
      sim.events.emit(motion(true));
      await until(() => log.events.length === 1);
    });

    it('that end by time, or with the node', async () => {
      const limits = { noEndMs: 200, longestMs: 1000 };
      const { sim, camera, log } = await open({}, { events: true, eventLimits: limits });
      await until(() => sim.callsOf('PullMessages').length > 0);
      sim.events.emit({ topic: 'tns1:RuleEngine/LineDetector/Crossed', data: { ObjectId: '3' } });
      await until(() => log.events.length === 2);
      assert.deepEqual(phases(log), ['line-crossing start', 'line-crossing end']);
      sim.events.emit({ topic: 'tns1:Device/Trigger/DigitalInput', data: { LogicalState: 'true' } });
      await until(() => log.events.length === 3);
      await camera.close();
      assert.equal(phases(log).at(-1), 'digital-input end');
    });
  });
});
