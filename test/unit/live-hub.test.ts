/** Live media for viewers when what it comes from fails: whoever comes back gets a new source. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { mock } from 'node:test';
import type { EngineHost } from '../../engine/engine-host.ts';
import { LiveHub, MAX_ENCODERS, type Viewer } from '../../engine/playback/live-hub.ts';

/** An engine whose cameras may be missing, and whose FFmpeg is. */
class FakeHost extends EventEmitter {
  readonly config = { ffmpegPath: '/nowhere/ffmpeg' };
  readonly calls: string[] = [];
  known = true;

  watch(camera: string, stream: string): Promise<void> {
    this.calls.push(`watch ${camera} ${stream}`);
    return this.known ? Promise.resolve() : Promise.reject(new Error(`there is no camera ${camera}`));
  }

  unwatch(camera: string, stream: string): Promise<void> {
    this.calls.push(`unwatch ${camera} ${stream}`);
    return Promise.resolve();
  }

  acknowledge(): void {
    // nobody counts
  }

  begin(camera: string): void {
    const init = { kind: 'init', codecs: 'hvc1', width: 1, height: 1, hasAudio: false, data: new Uint8Array(8) };
    this.emit('media', camera, 'main', init);
  }

  send(camera: string): void {
    this.emit('media', camera, 'main', { kind: 'fragment', data: new Uint8Array(8), key: true, startMs: 0, endMs: 1 });
  }
}

class FakeViewer implements Viewer {
  fragments = 0;
  messages: string[] = [];
  private tell: (message: string) => void = () => undefined;
  readonly failure = new Promise<string>((resolve) => (this.tell = resolve));

  init(): void {
    // not looked at
  }

  fragment(): void {
    this.fragments++;
  }

  failed(message: string): void {
    this.messages.push(message);
    this.tell(message);
  }
}

describe('live media', function () {
  this.timeout(10_000);
  let host: FakeHost;
  let hub: LiveHub;
  beforeEach(() => {
    host = new FakeHost();
    hub = new LiveHub(host as unknown as EngineHost);
  });
  afterEach(() => {
    mock.timers.reset();
    hub.close();
  });

  it('is encoded anew for who comes back after the encoder died', async () => {
    for (const viewer of [new FakeViewer(), new FakeViewer()]) {
      const leave = hub.join('front', 'main', viewer, true);
      if (host.calls.length === 1 && viewer.messages.length === 0) host.begin('front');
      assert.match(await viewer.failure, /cannot encode for this viewer/);
      assert.deepEqual([...hub.viewers().values()], [0], 'the camera alone is still there, for a moment');
      leave();
    }
  });

  it('of a camera that was missing is not taken from those who came when it was there', async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    host.known = false;
    const early = new FakeViewer();
    const leave = hub.join('front', 'main', early);
    assert.match(await early.failure, /no camera/);
    leave();
    host.known = true;
    const late = new FakeViewer();
    hub.join('front', 'main', late);
    mock.timers.tick(60_000);
    host.send('front');
    assert.equal(late.fragments, 1);
    assert.deepEqual(host.calls, ['watch front main', 'unwatch front main', 'watch front main']);
  });

  it('that fails late leaves alone what took its place', async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    let refuse = (): void => undefined;
    const watching = mock.method(
      host,
      'watch',
      () => new Promise<void>((_, reject) => (refuse = () => reject(new Error('late')))),
    );
    hub.join('front', 'main', new FakeViewer())();
    mock.timers.tick(60_000);
    watching.mock.restore();
    const viewer = new FakeViewer();
    hub.join('front', 'main', viewer);
    refuse();
    await Promise.resolve().then(() => undefined);
    host.send('front');
    assert.deepEqual([viewer.fragments, viewer.messages], [1, []]);
  });

  it('is encoded for so many cameras at once, those first that somebody watches', () => {
    const viewers = Array.from({ length: MAX_ENCODERS }, () => new FakeViewer());
    const leave = viewers.map((viewer, i) => hub.join(`camera${i}`, 'main', viewer, true));
    const join = (camera: string): string[] => {
      const viewer = new FakeViewer();
      hub.join(camera, 'main', viewer, true);
      return viewer.messages;
    };
    assert.deepEqual(join('camera0'), [], 'it is encoded already');
    assert.match(join('another')[0]!, /^busy: /);
    leave[1]!();
    assert.deepEqual(join('another'), []);
    assert.match(join('camera1')[0]!, /^busy: /, 'it made room');
    assert.ok(viewers.every(({ messages }) => messages.length === 0));
  });

  it('is taken from whoever has most encoders for who has less, and not from who shares one', () => {
    const somebody = (id: string) => ({ id, kind: 'viewer' as const });
    const join = (camera: string, id: string): FakeViewer => {
      const viewer = new FakeViewer();
      hub.join(camera, 'main', viewer, true, somebody(id));
      return viewer;
    };
    const greedy = Array.from({ length: MAX_ENCODERS }, (_, i) => join(`camera${i}`, 'greedy'));
    const shared = join('camera7', 'modest');
    const modest = join('another', 'modest');
    assert.deepEqual([modest.messages, shared.messages], [[], []]);
    assert.deepEqual(
      greedy.map(({ messages }) => messages.length),
      [0, 0, 0, 0, 0, 0, 1, 0],
      'the newest that nobody shares',
    );
    assert.match(join('one more', 'greedy').messages[0]!, /^busy: /, 'it does not come back at the cost of others');
    assert.deepEqual(modest.messages, []);
  });
});
