import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mock } from 'node:test';
import { Bridge } from '../../engine/notify/bridge.ts';
import type { CameraMessage } from '../../engine/types.ts';

describe('an NVR at a broker', () => {
  afterEach(() => mock.timers.reset());

  it('keeps there what it tells now, and has everything else removed', () => {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
    const camera = (id: string): CameraMessage => ({
      ...{ type: 'camera', camera: id, name: id, state: 'connecting', since: 0, streams: {}, metrics: {} },
    });
    const cameraMessages = [camera('yard'), camera('gate')];
    const no = (): Promise<never> => Promise.reject(new Error('not asked for'));
    const host = Object.assign(new EventEmitter(), {
      ...{ cameraMessages, recorderStates: [], commandRecorder: no, still: no, snapshot: no },
    });
    const retained = new Set<string>();
    const kept: string[][] = [];
    const notify = Object.assign(new EventEmitter(), {
      call: no,
      setState: (_channel: string, topic: string, payload: unknown) => {
        if (payload === null) retained.delete(topic);
        else retained.add(topic);
        return Promise.resolve();
      },
      pruneStates: (_channel: string, topics: readonly string[]) => {
        kept.push([...topics].sort());
        return Promise.resolve();
      },
    });
    const homeAssistant = { prefix: 'homeassistant', site: 'home', commands: true, version: '1' };
    const options = { channel: 'b', site: 'home', commands: true, homeAssistant };
    const bridge = new Bridge(host as never, notify as never, options, (message) => assert.fail(message));
    bridge.open();
    // Between start and settling a camera goes.
    cameraMessages.pop();
    mock.timers.tick(60_000);
    bridge.close();
    assert.ok([...retained].some((topic) => topic.startsWith('homeassistant/')));
    assert.ok(![...retained].some((topic) => topic.includes('gate')));
    assert.deepEqual(kept, [[...retained, 'nvr/home/camera/yard/image'].sort()]);
  });
});
