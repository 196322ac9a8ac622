import assert from 'node:assert/strict';
import type { Camera } from '../../engine/camera.ts';
import { Recorders } from '../../engine/recording/recorders.ts';
import type { RecorderSpec, StreamName } from '../../engine/types.ts';

const SPEC: RecorderSpec = {
  ...{ id: 'r', mode: 'continuous', streams: ['main'], preRollMs: 5000, postRollMs: 5000, segmentMs: 60_000 },
  schedule: [],
};

describe('recorders', () => {
  let recorders: Recorders;
  let changed: string[];
  const cameraOf = (id: string, subUrl?: string): Camera =>
    ({
      spec: { id, ...(subUrl ? { subUrl } : {}) },
      initOf: () => null,
      streamState: () => ({ state: 'online' }),
    }) as unknown as Camera;
  const cameras = new Map([cameraOf('front', 'rtsp://h/sub'), cameraOf('back')].map((one) => [one.spec.id, one]));
  const records = (camera: string, stream: StreamName): boolean => recorders.lookBack(camera, stream) > 0;

  beforeEach(() => {
    changed = [];
    recorders = new Recorders(['/nowhere'], {
      clock: { now: () => Date.now(), monotonic: () => performance.now(), after: () => () => undefined },
      writer: () => ({ send: () => undefined, append: () => undefined }),
      write: () => undefined,
      camera: (id) => cameras.get(id),
      changed: (camera) => changed.push(camera),
      tell: () => undefined,
    });
  });

  it('record other streams after a Deploy', () => {
    recorders.set({ ...SPEC, mode: 'event' });
    for (const camera of cameras.values()) recorders.attach('r', camera);
    assert.deepEqual([records('front', 'main'), records('front', 'sub'), records('back', 'main')], [true, false, true]);
    recorders.set({ ...SPEC, mode: 'event', streams: ['main', 'sub'] });
    assert.deepEqual([records('front', 'main'), records('front', 'sub'), records('back', 'sub')], [true, true, false]);
    recorders.set({ ...SPEC, mode: 'event', streams: ['sub'] });
    assert.deepEqual(
      [records('front', 'main'), records('front', 'sub'), records('back', 'main')],
      [false, true, false],
    );
    assert.ok(changed.length < 50, 'each is told a few times');
  });

  it('bear a camera that is gone', () => {
    recorders.set(SPEC);
    const [front] = cameras.values();
    recorders.attach('r', front!);
    cameras.delete('front');
    recorders.tick();
    recorders.removeCamera('front');
    recorders.tick();
    cameras.set('front', front!);
  });
});
