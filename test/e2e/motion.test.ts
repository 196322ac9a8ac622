/** Motion of real cameras, found, told, stored and recorded. Frames tell when they were sent, so the visit's time is known. */
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import Database from 'better-sqlite3';
import { join } from 'node:path';
import sharp from 'sharp';
import type { MotionMessage } from '../../engine/types.ts';
import { CROSSING, FPS } from '../support/clips.ts';
import { TAB, capture, entrance } from '../support/flow.ts';
import type { FlowNode } from '../support/node-red.ts';
import { Rig, type Message } from '../support/rig.ts';

const VISIT = CROSSING.visits;
const LOOP = VISIT.loop * FPS;

function motionNode(properties: Record<string, unknown> = {}): FlowNode {
  return {
    ...{ id: 'motion', type: 'motion-detect', z: TAB, nvr: 'nvr-store', mode: 'full', sensitivity: 50, minSize: 0.03 },
    ...{ maxSize: 100, hold: 2, stills: true, drawBoxes: false, levels: false, zones: [], ...properties },
    wires: [['capture-motion', 'recorder-1'], ['capture-levels']],
  };
}

type Told = { at: number; payload: Extract<MotionMessage, { type: 'motion' }> };

describe('motion-detect in Node-RED', function () {
  this.timeout(120_000);
  let rig: Rig;

  const flow = (node: FlowNode): FlowNode[] => {
    const nodes = rig.flow({ mode: 'event', preRoll: 2, postRoll: 2 });
    for (const source of nodes.filter(({ type }) => type === 'camera-source')) {
      const wires = source['wires'] as string[][];
      wires[0] = [...(wires[0] ?? []), 'motion'];
    }
    return [...nodes, node, ...capture('motion'), ...capture('levels'), ...entrance('motion', ['motion'])];
  };
  const told = async (camera: string): Promise<Told[]> =>
    (await rig.red.captured<Message<MotionMessage>>('motion'))
      .filter(({ msg }) => msg.camera === camera && msg.payload.type === 'motion')
      .map(({ at, msg }) => ({ at, payload: msg.payload as Told['payload'] }));
  const until = async <T>(what: string, ms: number, find: () => Promise<T | undefined>): Promise<T> => {
    const deadline = performance.now() + ms;
    for (;;) {
      const found = await find();
      if (found !== undefined) return found;
      if (performance.now() > deadline) throw new Error(`${what}\n${rig.red.log.slice(-2000)}`);
      await wait(100);
    }
  };
  /** When the visits of a camera were sent: the wall clock of their first frame. */
  const visits = async (camera: string, stream: 'main' | 'sub'): Promise<number[]> => {
    const first = (await rig.cameras.stats())[`${camera}-${stream}`]!.first!;
    const stamps = await rig.frames({ camera, stream: 'main' });
    return stamps.filter(({ number }) => (number - first) % LOOP === VISIT.start * FPS).map(({ sentMs }) => sentMs);
  };

  before(async () => {
    rig = await Rig.create({
      cameras: {
        yard: { main: { scene: 'visits' } },
        gate: { main: { video: 'h265', scene: 'visits' }, sub: { scene: 'visits' } },
      },
    });
    await rig.red.deploy(flow(motionNode()));
  });
  after(() => rig.dispose());

  it('tells each visit once, when it began and ended, with a picture', async () => {
    for (const camera of ['yard', 'gate']) {
      const end = await until(`no end of motion of ${camera}`, 40_000, async () =>
        (await told(camera)).find(({ payload }) => payload.phase === 'end'),
      );
      const of = (await told(camera)).filter(({ payload }) => payload.eventId === end.payload.eventId);
      assert.deepEqual([...new Set(of.map(({ payload }) => payload.phase))], ['start', 'update', 'end']);
      const { start, score, boxes } = of[0]!.payload;
      assert.ok(score > 0 && score <= 1);
      assert.ok(boxes.length > 0 && boxes.every((box) => box.width > 0 && box.width < 0.4));
      assert.ok(Math.abs(end.payload.end! - start - 3000) < 1200, `${end.payload.end! - start} ms`);
      assert.ok(of.slice(1).every(({ payload }) => payload.start === start));
    }
  });

  it('has the start in the recording, with what came before', async () => {
    for (const camera of ['yard', 'gate']) {
      const { payload } = (await told(camera)).find((one) => one.payload.phase === 'start')!;
      const near = await until('the visit is not in the recording', 20_000, async () =>
        (await visits(camera, 'main')).find((sentMs) => Math.abs(sentMs - payload.start) < 2000),
      );
      // The thing comes in from the left edge, a little at a time.
      assert.ok(payload.start - near > -300 && payload.start - near < 700, `${payload.start - near} ms`);
      const stamps = await rig.frames({ camera, stream: 'main' });
      // Two seconds were asked for; the first visit begins three seconds after the camera began.
      const before = stamps.findLast(({ sentMs }) => sentMs < payload.start - 1950);
      assert.ok(before && payload.start - before.sentMs < 2100, 'the pre-roll is missing');
    }
  });

  it('looks at keyframes while nothing happens, and back when something does', async () => {
    await rig.red.deploy(flow(motionNode({ mode: 'adaptive', levels: true, drawBoxes: true })), 'nodes');
    const since = Date.now() + 1000;
    const start = await until('no motion', 45_000, async () =>
      (await told('gate')).find(({ at, payload }) => at > since + 8000 && payload.phase === 'start'),
    );
    const levels = (await rig.red.captured<Message<{ time: number; score: number }>>('levels')).filter(
      ({ msg }) => msg.camera === 'gate',
    );
    const quiet = levels.filter(
      ({ msg }) => msg.payload.time > since + 3000 && msg.payload.time < start.payload.start - 1500,
    );
    const gaps = quiet.slice(1).map(({ msg }, i) => msg.payload.time - quiet[i]!.msg.payload.time);
    // A keyframe a second.
    assert.ok(gaps.length > 0 && gaps.filter((gap) => gap > 800).length > gaps.length * 0.7, JSON.stringify(gaps));
    await wait(1500);
    const near = await until('the visit is not in the recording', 20_000, async () =>
      (await visits('gate', 'main')).find((sentMs) => Math.abs(sentMs - start.payload.start) < 2500),
    );
    assert.ok(Math.abs(start.payload.start - near) < 1000, `${start.payload.start - near} ms`);
  });

  it('does what commands say', async () => {
    await rig.red.send('motion', { payload: { command: 'disable', minutes: 5 } });
    await wait(3000);
    const count = (await told('yard')).filter(({ payload }) => payload.phase === 'start').length;
    await wait(22_000);
    assert.equal((await told('yard')).filter(({ payload }) => payload.phase === 'start').length, count);
  });

  it('gives pictures to the dialog, and tries settings out', async () => {
    await rig.red.send('motion', { payload: { command: 'enable' } });
    const still = await fetch(`${rig.red.url}/nvr/motion/still/nvr-store/yard`);
    assert.equal((await sharp(Buffer.from(await still.arrayBuffer())).metadata()).width, 640);
    const tuning = await until('no picture', 20_000, async () => {
      const response = await fetch(`${rig.red.url}/nvr/motion/tuning/motion/yard`);
      return response.ok ? ((await response.json()) as { image: string; grid: { noise: string } }) : undefined;
    });
    const { width, height } = await sharp(Buffer.from(tuning.image, 'base64')).metadata();
    assert.deepEqual([width, height], [320, 180]);
    assert.equal(Buffer.from(tuning.grid.noise, 'base64').length, 32 * 18);
    const refused = await fetch(`${rig.red.url}/nvr/motion/tuning/motion/yard`, {
      ...{ method: 'POST', headers: { 'Content-Type': 'application/json' } },
      body: JSON.stringify({ sensitivity: 500, minSize: 0, maxSize: 100, zones: [] }),
    });
    assert.equal(refused.status, 400);
    assert.equal((await fetch(`${rig.red.url}/nvr/motion/tuning/motion/nobody`)).status, 404);
  });

  it('closes what is open when the process dies, under the same id', async () => {
    const since = Date.now();
    const start = await until('no motion', 40_000, async () =>
      (await told('yard')).find(({ at, payload }) => at > since && payload.phase === 'start'),
    );
    await rig.red.kill();
    await rig.red.start();
    const end = await until('the event was not closed', 20_000, async () =>
      (await told('yard')).find(({ payload }) => payload.phase === 'end' && payload.eventId === start.payload.eventId),
    );
    assert.ok(end.payload.end! >= start.payload.start && end.payload.end! < end.at);
    const db = new Database(join(rig.storage, 'catalog.sqlite'), { readonly: true });
    try {
      const rows = db.prepare('SELECT id, end_ms FROM event WHERE id = ?').all(start.payload.eventId);
      assert.deepEqual(rows, [{ id: start.payload.eventId, end_ms: end.payload.end }]);
    } finally {
      db.close();
    }
  });
});
