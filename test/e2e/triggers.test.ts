import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { Rig } from '../support/rig.ts';

const PRE_ROLL_S = 3;
const POST_ROLL_S = 2;
/** Key frames are a second apart, and a recording begins with one. */
const GOP_MS = 1000;

describe('recording on demand', function () {
  this.timeout(60_000);
  let rig: Rig;
  const yard = { camera: 'yard', stream: 'main' } as const;
  const gate = { camera: 'gate', stream: 'main' } as const;

  before(async () => {
    rig = await Rig.create({
      cameras: { yard: { main: { audio: 'aac' } }, gate: { main: { video: 'h265' } } },
      recorder: { mode: 'event', preRoll: PRE_ROLL_S, postRoll: POST_ROLL_S },
    });
    await rig.red.deploy(rig.flow());
    for (const name of ['yard', 'gate'])
      await rig.waitForCamera(({ camera, state }) => camera === name && state === 'online', 10_000);
    await wait((PRE_ROLL_S + 2) * 1000);
  });
  after(() => rig.dispose());

  it('writes nothing before there is a reason', async () => {
    assert.deepEqual(await rig.files(), []);
    assert.deepEqual(rig.gaps(), []);
  });

  it('records an event from its pre-roll to its post-roll, and merges overlapping ones', async () => {
    const first = Date.now();
    await rig.red.send('recorder', { camera: 'yard', payload: { type: 'external' } });
    await wait(1500);
    const second = Date.now();
    await rig.red.send('recorder', { payload: { type: 'external', cameras: ['yard'] } });
    const { msg } = await rig.waitForRecording(({ camera, phase }) => camera === 'yard' && phase === 'end', 15_000);
    assert.equal(msg.payload.trigger, 'event');
    const starts = (await rig.red.captured<{ payload: { phase: string; camera: string } }>('recording')).filter(
      ({ msg: { payload } }) => payload.phase === 'start',
    );
    assert.deepEqual(
      starts.map(({ msg: { payload } }) => payload.camera),
      ['yard'],
    );
    const count = (await rig.count()).get('yard main')!;
    assert.equal(count.lost, 0);
    const [begin, end] = [count.first!.sentMs, count.last!.sentMs];
    const from = first - PRE_ROLL_S * 1000;
    assert.ok(begin <= from + 200 && begin > from - GOP_MS - 700, `begins ${begin - from} ms after the pre-roll`);
    const to = second + POST_ROLL_S * 1000;
    assert.ok(end >= to - 200 && end < to + GOP_MS + 700, `ends ${end - to} ms after the post-roll`);
    assert.deepEqual(await rig.files(gate), []);
  });

  it('records all cameras on panic, until released', async () => {
    const panicAt = Date.now();
    await rig.red.send('recorder', { payload: { command: 'panic' } });
    const latest = await rig.recordingSince(panicAt);
    assert.ok(latest - panicAt < 1000, `after ${latest - panicAt} ms`);
    await wait((POST_ROLL_S + 1) * 1000);
    await rig.red.send('recorder', { payload: { command: 'release' } });
    for (const { camera: name } of [yard, gate]) {
      await rig.waitForRecording(
        ({ camera, phase, trigger }) => camera === name && phase === 'end' && trigger === 'panic',
        5000,
      );
    }
    const count = (await rig.count(panicAt)).get('gate main')!;
    assert.equal(count.lost, 0);
    assert.ok(count.frames >= POST_ROLL_S * 25);
  });

  it('starts and stops one camera by hand', async () => {
    const startAt = Date.now();
    await rig.red.send('recorder', { payload: { command: 'start', camera: 'gate' } });
    await wait(3000);
    const stopAt = Date.now();
    await rig.red.send('recorder', { payload: { command: 'stop', camera: 'gate' } });
    await rig.waitForRecording(
      ({ camera, phase, trigger }) => camera === 'gate' && phase === 'end' && trigger === 'manual',
      5000,
    );
    const { first, last, lost } = (await rig.count(startAt)).get('gate main')!;
    assert.ok(first!.sentMs - startAt < GOP_MS + 500 && Math.abs(last!.sentMs - stopAt) < GOP_MS + 500 && lost <= 25);
  });
});
