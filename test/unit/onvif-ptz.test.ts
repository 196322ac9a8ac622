import assert from 'node:assert/strict';
import { mock } from 'node:test';
import fc from 'fast-check';
import type { PtzAbilities, Space } from '../../engine/onvif/device.ts';
import { authorization, parseChallenges } from '../../engine/onvif/digest.ts';
import { EventTracker, meaningOf, type Notification } from '../../engine/onvif/events.ts';
import { SPACE } from '../../engine/onvif/names.ts';
import { Patrol, type PatrolState } from '../../engine/onvif/patrol.ts';
import { needsPosition, plan, uniformPosition, type Axes, type Wish } from '../../engine/onvif/ptz.ts';
import { CommandQueue } from '../../engine/onvif/queue.ts';

const interval = fc
  .tuple(fc.integer({ min: -360, max: 359 }), fc.integer({ min: 1, max: 360 }))
  .map(([min, size]) => ({ min, max: min + size }));
const space = (uri: string): fc.Arbitrary<Space> => fc.record({ uri: fc.constant(uri), x: interval, y: interval });
const maybe = (uri: string): fc.Arbitrary<Space | null> => fc.option(space(uri));
const abilities: fc.Arbitrary<PtzAbilities> = fc.record({
  profile: fc.constant('main'),
  panTilt: fc.record({
    absolute: maybe(SPACE.panTiltPosition),
    degrees: maybe(SPACE.panTiltDegrees),
    relative: maybe(SPACE.panTiltTranslation),
    continuous: maybe(SPACE.panTiltVelocity),
  }),
  zoom: fc.record({
    absolute: maybe(SPACE.zoomPosition),
    degrees: fc.constant(null),
    relative: maybe(SPACE.zoomTranslation),
    continuous: maybe(SPACE.zoomVelocity),
  }),
  maxPresets: fc.constant(8),
  home: fc.boolean(),
  auxiliary: fc.constant([]),
  speed: fc.record({ panTilt: maybe(SPACE.panTiltSpeed), zoom: maybe(SPACE.zoomSpeed) }),
});
const signed = fc.double({ min: -1.5, max: 1.5, noNaN: true });
const axes: fc.Arbitrary<Axes> = fc.record({ pan: signed, tilt: signed, zoom: signed }, { requiredKeys: [] });
const wish: fc.Arbitrary<Wish> = fc.oneof(
  fc.record({ way: fc.constant('move' as const), axes, timeoutMs: fc.constant(1000) }),
  fc.record({ way: fc.constant('absolute' as const), axes, degrees: fc.boolean() }),
  fc.record({ way: fc.constant('relative' as const), axes }),
);
const inside = (value: number, { min, max }: { min: number; max: number }): boolean =>
  value >= Math.min(min, 0) - 1e-9 && value <= Math.max(max, 0) + 1e-9;

describe('planning of PTZ', () => {
  it('never sends a value outside the space that it names, nor a move without an end; else it refuses with a reason', () => {
    fc.assert(
      fc.property(abilities, wish, fc.option(axes), fc.boolean(), (can, what, position, travel) => {
        let motion;
        try {
          motion = plan(can, what, position, travel ? { panTiltMs: 10_000, zoomMs: 3000 } : null);
        } catch (error) {
          assert.match((error as { code: string }).code, /^ptz-(unsupported|range|empty|position)$/);
          return;
        }
        if (motion.action === 'Stop') return;
        if (motion.action === 'ContinuousMove') assert.ok(motion.timeoutMs >= 0 && motion.timeoutMs < 60_000);
        const { panTilt, zoom } = motion.vector;
        assert.ok(panTilt ?? zoom, 'something moves');
        const spaceOf = (part: 'panTilt' | 'zoom', uri: string): Space =>
          (Object.values(can[part]) as (Space | null)[]).find((one) => one?.uri === uri)!;
        if (panTilt) {
          const { x, y } = spaceOf('panTilt', panTilt.space);
          assert.ok(inside(panTilt.x, x) && inside(panTilt.y, y!));
        }
        if (zoom) assert.ok(inside(zoom.x, spaceOf('zoom', zoom.space).x));
      }),
      { numRuns: 2000 },
    );
  });

  it('maps positions there and back', () => {
    const unit = fc.double({ min: -1, max: 1, noNaN: true });
    fc.assert(
      fc.property(abilities, unit, unit, unit, (can, pan, tilt, zoom) => {
        fc.pre(can.panTilt.absolute !== null && can.zoom.absolute !== null);
        const wanted = { pan, tilt, zoom: (zoom + 1) / 2 };
        const motion = plan(can, { way: 'absolute', axes: wanted, degrees: false }, null, null);
        assert.equal(motion.action, 'AbsoluteMove');
        const { panTilt, zoom: z } = motion.vector;
        const back = uniformPosition(can, { panTilt: { x: panTilt!.x, y: panTilt!.y }, zoom: z!.x });
        for (const axis of ['pan', 'tilt', 'zoom'] as const) assert.ok(Math.abs(back[axis]! - wanted[axis]) < 1e-9);
      }),
    );
  });

  it('asks for the position exactly when it is needed', () => {
    fc.assert(
      fc.property(abilities, wish, axes, (can, what, position) => {
        if (needsPosition(can, what)) return;
        const outcome = (at: Axes | null): unknown => {
          try {
            return plan(can, what, at, null);
          } catch (error) {
            return (error as { code: string }).code;
          }
        };
        assert.deepEqual(outcome(null), outcome(position));
      }),
    );
  });
});

describe("the queue of a camera's commands", () => {
  const gate = (): { open: () => void; promise: Promise<void> } => {
    let open = (): void => undefined;
    const promise = new Promise<void>((resolve) => (open = resolve));
    return { open, promise };
  };

  it('does the newest of the moves that wait, and tells the others', async () => {
    const queue = new CommandQueue();
    const done: string[] = [];
    const first = gate();
    const running = queue.submit('move', () => first.promise.then(() => done.push('first')));
    const moves = ['a', 'b', 'c'].map((name) => queue.submit('move', () => Promise.resolve(done.push(name))));
    first.open();
    await running;
    assert.deepEqual(await Promise.all(moves), [{ superseded: true }, { superseded: true }, 2]);
    assert.deepEqual(done, ['first', 'c']);
  });

  it('lets stop overtake everything, and repeats it after a move that was on its way', async () => {
    const queue = new CommandQueue();
    const done: string[] = [];
    const first = gate();
    const other = queue.submit('move', () => first.promise.then(() => done.push('move')));
    const waiting = queue.submit('step', () => Promise.resolve(done.push('step')));
    const asked = queue.submit('other', () => Promise.resolve(done.push('other')));
    const stop = queue.submit('stop', () => Promise.resolve(done.push('stop')));
    assert.deepEqual(done, ['stop'], 'at once');
    assert.deepEqual(await waiting, { superseded: true });
    first.open();
    await Promise.all([other, asked, stop]);
    assert.deepEqual([...done].sort(), ['move', 'other', 'stop', 'stop']);
    assert.ok(done.indexOf('move') < done.lastIndexOf('stop'));
  });

  it('is bounded, survives failures, and can be closed', async () => {
    const queue = new CommandQueue();
    const first = gate();
    const running = queue.submit('other', () => first.promise.then(() => Promise.reject(new Error('no'))));
    const many = Array.from({ length: 64 }, () => queue.submit('step', () => Promise.resolve('ok')));
    await assert.rejects(
      queue.submit('step', () => Promise.resolve()),
      { code: 'busy' },
    );
    first.open();
    await assert.rejects(running, /no/);
    assert.ok((await Promise.all(many)).every((result) => result === 'ok'));
    queue.close();
    await assert.rejects(
      queue.submit('move', () => Promise.resolve()),
      { code: 'closed' },
    );
  });
});

describe('a patrol', () => {
  afterEach(() => mock.timers.reset());

  it('goes round, waits while somebody steers, and goes on where it was', async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    const pass = async (ms: number): Promise<void> => {
      mock.timers.tick(ms);
      await new Promise(setImmediate); // what a visit comes to
    };
    const visits: string[] = [];
    const states: PatrolState['state'][] = [];
    const patrol = new Patrol({
      visit: (preset) => (visits.push(preset), preset === 'bad' ? Promise.reject(new Error('no')) : Promise.resolve()),
      onChange: ({ state }) => states.push(state),
      onError: (error) => visits.push(String(error)),
    });
    patrol.start(
      ['a', 'b', 'c'].map((preset) => ({ preset, dwellMs: 30 })),
      60,
    );
    await pass(0);
    await pass(29);
    assert.deepEqual(visits, ['a']);
    await pass(1);
    assert.deepEqual(visits, ['a', 'b']);
    patrol.pause();
    await pass(59);
    patrol.pause();
    await pass(59);
    assert.deepEqual(visits, ['a', 'b'], 'it still waits: it was touched again');
    await pass(1);
    assert.deepEqual(visits, ['a', 'b', 'b']);
    patrol.stop();
    await pass(1000);
    assert.equal(visits.length, 3);
    assert.equal(states.at(-1), 'idle');
    patrol.start([{ preset: 'bad', dwellMs: 1 }], 10);
    await pass(0);
    await pass(4999);
    assert.equal(visits.length, 5, 'it does not race through what fails');
    await pass(1);
    assert.equal(visits.length, 7);
    patrol.stop();
  });
});

describe('HTTP digest', () => {
  it('computes the examples of RFC 7616', () => {
    const header =
      'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"';
    const request = { method: 'GET', path: '/dir/index.html', username: 'Mufasa', password: 'Circle of Life' };
    const cnonce = 'f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ';
    const sha = parseChallenges(['Basic realm="x"', header.replace('SHA-256', 'MD5'), header])!;
    assert.equal(sha.algorithm, 'SHA-256');
    assert.match(
      authorization(sha, request, 1, cnonce),
      /response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"/,
    );
    const md5 = parseChallenges([header.replace('SHA-256', 'MD5')])!;
    assert.match(authorization(md5, request, 1, cnonce), /response="8ca523f5e9506fed4657c9700eebdbec"/);
    assert.equal(parseChallenges(['Basic realm="x"', 'Digest realm="y"', 'Digest nonce="1", qop="auth-int"']), null);
  });
});

describe("a device's events", () => {
  const message = (topic: string, data: Record<string, string>, more: Partial<Notification> = {}): Notification => ({
    ...{ topic, operation: 'Changed', source: { s: '1' }, data },
    ...more,
  });
  const motion = (value: string): Notification => message('RuleEngine/CellMotionDetector/Motion', { IsMotion: value });
  let ids = 0;
  const tracker = (): EventTracker => new EventTracker(() => `id-${++ids}`, { noEndMs: 1000, longestMs: 5000 });

  it('are told by their topics', () => {
    const rows: [string, Record<string, string>, string | null, boolean | null][] = [
      ['RuleEngine/CellMotionDetector/Motion', { IsMotion: 'true' }, 'motion', true],
      ['VideoSource/MotionAlarm', { State: '0' }, 'motion', false],
      ['RuleEngine/LineDetector/Crossed', { ObjectId: '7' }, 'line-crossing', null],
      ['Device/Trigger/DigitalInput', { LogicalState: '1' }, 'digital-input', true],
      ['VideoSource/GlobalSceneChange/ImagingService', { State: 'true' }, 'tamper', true],
      ['RuleEngine/TamperDetector/Tamper', { IsTamper: 'false' }, 'tamper', false],
      ['CameraApplicationPlatform/ObjectAnalytics/Device1Scenario1', { active: '1' }, 'motion', true],
      ['RuleEngine/FieldDetector/ObjectsInside', { IsInside: 'true' }, 'motion', true],
      ['AudioAnalytics/Audio/DetectedSound', { IsSoundDetected: 'true' }, 'sound', true],
      ['RuleEngine/MyRuleDetector/Visitor', { State: 'true' }, 'visitor', true],
      ['Monitoring/ProcessorUsage', { Value: '3' }, null, null],
      ['VideoSource/MotionAlarm', {}, null, null],
    ];
    for (const [topic, data, kind, active] of rows)
      assert.deepEqual(meaningOf(message(topic, data)), kind && { kind, label: null, active }, topic);
  });

  it('say what they see, whoever made the camera', () => {
    const rows: [string, Record<string, string>, string, boolean][] = [
      ['RuleEngine/MyRuleDetector/PeopleDetect', { State: 'true' }, 'person', true],
      ['RuleEngine/MyRuleDetector/DogCatDetect', { State: 'false' }, 'animal', false],
      ['RuleEngine/PeopleDetector/People', { IsPeople: 'true' }, 'person', true],
      ['RuleEngine/TPSmartEventDetector/TPSmartEvent', { IsVehicle: 'true' }, 'vehicle', true],
      ['RuleEngine/MyRuleDetector/FaceDetect', { State: '1' }, 'face', true],
    ];
    for (const [topic, data, label, active] of rows)
      assert.deepEqual(meaningOf(message(topic, data)), { kind: 'object', label, active }, topic);
  });

  it('have one start and one end, each source its own', () => {
    const events = tracker();
    assert.deepEqual(events.accept(motion('false'), 0), []);
    const [start] = events.accept(motion('true'), 10);
    assert.deepEqual([start!.phase, start!.time], ['start', 10]);
    assert.deepEqual(events.accept(motion('true'), 20), []);
    assert.equal(events.accept({ ...motion('true'), source: { s: '2' } }, 20).length, 1);
    const [end] = events.accept(motion('false'), 30);
    assert.deepEqual([end!.phase, end!.eventId, end!.start, end!.time], ['end', start!.eventId, 10, 30]);
    assert.equal(events.accept({ ...motion('true'), source: { s: '2' }, operation: 'Deleted' }, 40)[0]!.phase, 'end');
    assert.equal(events.nextAt, null);
  });

  it('are closed by time where the device never tells the end, later where it does', () => {
    const events = tracker();
    events.accept(message('RuleEngine/LineDetector/Crossed', {}), 0);
    events.accept(message('RuleEngine/LineDetector/Crossed', {}), 900);
    assert.deepEqual(events.tick(1500), []);
    assert.equal(events.tick(1900)[0]!.phase, 'end');
    events.accept(motion('true'), 2000);
    events.accept(motion('false'), 2100);
    events.accept(motion('true'), 3000);
    assert.deepEqual(events.tick(7900), []);
    assert.equal(events.tick(8000).length, 1);
  });

  it('stay bounded and paired, whatever comes', () => {
    const any = fc.record({
      source: fc.record({ s: fc.integer({ min: 0, max: 400 }).map(String) }),
      value: fc.constantFrom('true', 'false'),
    });
    fc.assert(
      fc.property(fc.array(any, { minLength: 300, maxLength: 800 }), (list) => {
        const events = tracker();
        const open = new Set<string>();
        let now = 0;
        const take = (told: ReturnType<typeof events.accept>): void => {
          for (const { phase, eventId } of told) {
            if (phase === 'start') open.add(eventId);
            else assert.ok(open.delete(eventId));
          }
          assert.ok(open.size <= 200);
        };
        for (const { source, value } of list) take(events.accept({ ...motion(value), source }, (now += 1)));
        take(events.closeAll(now));
        assert.equal(open.size, 0);
      }),
      { numRuns: 30 },
    );
  });
});
