/** The routes as a browser uses them: hls.js for what was recorded, the project's own player for what is now. */
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { Rig } from '../support/rig.ts';
import { Viewer } from '../support/viewer.ts';

describe('in Chromium', function () {
  this.timeout(60_000);
  let rig: Rig;
  let viewer: Viewer;
  let token: string;

  before(async () => {
    rig = await Rig.create({
      cameras: { yard: { main: { size: 'sub', audio: 'aac' } }, gate: { main: { video: 'h265', size: 'sub' } } },
      recorder: { segment: 4 },
    });
    await rig.red.deploy([...rig.flow(), ...Viewer.flow()]);
    await rig.recordingSince(0);
    const rights = ['live', 'playback'];
    const answer = await rig.red.post('/nvr/token', { nvr: 'nvr-store', cameras: '*', rights, minutes: 10 });
    ({ token } = answer as { token: string });
    viewer = await Viewer.open(rig);
    await wait(10_000); // for something to play
  });
  after(async () => {
    await viewer.close();
    await rig.dispose();
  });
  afterEach(() => assert.deepEqual(viewer.problems, []));

  const live = (camera: string): string => `${rig.red.url.replace('http', 'ws')}/nvr/live/${camera}?token=${token}`;

  it('shows live pictures and keeps up, H.264 and H.265', async () => {
    for (const camera of ['yard', 'gate']) {
      const { view, width, height } = await viewer.openLive(live(camera));
      assert.deepEqual([width, height], [640, 360]);
      await wait(4000);
      const state = await viewer.page.evaluate<{ behind: number; paused: boolean }>(`(() => {
        const { video } = views[${view}];
        return { behind: video.buffered.end(video.buffered.length - 1) - video.currentTime, paused: video.paused };
      })()`);
      assert.equal(state.paused, false);
      assert.ok(state.behind < 1.5, `${state.behind} s behind`);
      assert.ok((await viewer.shown(view)).length > 40);
      assert.deepEqual(
        (await viewer.states(view)).map(([name]) => name),
        ['connecting', 'playing'],
      );
      await viewer.closeLive(view);
    }
  });

  it('plays and seeks in what was recorded, with hls.js', async () => {
    const [start, end] = [Date.now() - 9000, Date.now() - 2500];
    const { duration } = await viewer.openRecorded(
      `${rig.red.url}/nvr/vod/yard/index.m3u8?start=${start}&end=${end}&token=${token}`,
    );
    assert.ok(duration > 5 && duration < 9.5, `${duration} s`);
    for (const time of [duration - 0.7, 0.5, duration / 2]) {
      const { shown, date } = await viewer.seekTo(time);
      const { mediaTime } = shown.at(-1)!;
      assert.ok(mediaTime <= time + 0.001 && mediaTime > time - 0.081, `${mediaTime} for ${time}`);
      // The date that the player knows is one that was asked for.
      assert.ok(date !== null && date >= start - 1500 && date <= end + 500, `${date}`);
    }
  });

  it('comes back by itself when the camera does', async () => {
    const { view } = await viewer.openLive(live('yard'));
    await rig.cameras.kill();
    await wait(6000);
    await rig.cameras.restart();
    await rig.recordingSince(Date.now());
    await wait(3000);
    const before = (await viewer.shown(view)).length;
    await wait(2000);
    assert.ok((await viewer.shown(view)).length > before + 20, JSON.stringify(await viewer.states(view)));
    assert.equal((await viewer.states(view)).at(-1)![0], 'playing');
    await viewer.closeLive(view);
  });
});
