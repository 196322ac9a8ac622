/** The routes as a browser uses them: hls.js for what was recorded, Media Source Extensions for what is now. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { setTimeout as wait } from 'node:timers/promises';
import { chromium, type Browser, type Page } from 'playwright-core';
import { TAB } from '../support/flow.ts';
import { Rig } from '../support/rig.ts';

const HLS = createRequire(import.meta.url).resolve('hls.js/dist/hls.min.js');
const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];

/** Runs in the page: plays `live/…` in a video element, as close to now as it gets. */
const LIVE = `(address) => new Promise((resolve, reject) => {
  const video = document.createElement('video');
  video.muted = true;
  document.body.append(video);
  const opened = performance.now();
  const source = new MediaSource();
  video.src = URL.createObjectURL(source);
  const queue = [];
  let buffer = null;
  let anchor = null;
  const feed = () => {
    if (!buffer || buffer.updating || queue.length === 0) return;
    buffer.appendBuffer(queue.shift());
  };
  source.addEventListener('sourceopen', () => {
    const socket = new WebSocket(address);
    socket.binaryType = 'arraybuffer';
    socket.onmessage = ({ data }) => {
      if (typeof data !== 'string') { queue.push(data); feed(); return; }
      const message = JSON.parse(data);
      if (message.type === 'error') reject(new Error(message.message));
      if (message.type === 'init') {
        buffer = source.addSourceBuffer('video/mp4; codecs="' + message.codecs + '"');
        buffer.mode = 'segments';
        buffer.addEventListener('updateend', () => {
          const { buffered } = buffer;
          if (buffered.length > 0) {
            const end = buffered.end(buffered.length - 1);
            if (anchor === null) { video.currentTime = Math.max(buffered.start(0), end - 0.2); video.play(); anchor = true; }
            // Close to now without a jump.
            video.playbackRate = end - video.currentTime > 0.6 ? 1.15 : 1;
          }
          feed();
        });
      }
    };
    socket.onerror = () => reject(new Error('no socket'));
  });
  video.requestVideoFrameCallback(() => resolve({
    firstFrameMs: performance.now() - opened, width: video.videoWidth, height: video.videoHeight,
  }));
  window.liveVideo = video;
})`;

describe('in Chromium', function () {
  this.timeout(60_000);
  let rig: Rig;
  let browser: Browser;
  let page: Page;
  let token: string;
  const problems: string[] = [];

  before(async () => {
    rig = await Rig.recording({ cameras: { yard: { main: { size: 'sub', audio: 'aac' } } }, recorder: { segment: 4 } });
    const answer = await rig.red.post('/nvr/token', {
      nvr: 'nvr-store',
      cameras: '*',
      rights: ['live', 'playback'],
      minutes: 10,
    });
    ({ token } = answer as { token: string });
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGS });
    page = await browser.newPage();
    page.on('pageerror', (error) => problems.push(error.message));
    // The page is on Node-RED's own origin, as the dashboard is.
    await rig.red.deploy(
      [
        ...rig.flow(),
        { id: 'page-in', type: 'http in', z: TAB, url: '/player', method: 'get', wires: [['page']] },
        {
          id: 'page',
          type: 'template',
          z: TAB,
          template: '<!doctype html><body>',
          output: 'str',
          wires: [['page-out']],
        },
        { id: 'page-out', type: 'http response', z: TAB, wires: [] },
      ],
      'nodes',
    );
    await wait(10_000); // for something to play
    assert.equal((await page.goto(`${rig.red.url}/player`))?.status(), 200);
  });
  after(async () => {
    await browser.close();
    await rig.dispose();
  });

  it('shows live pictures soon after opening, and keeps up', async () => {
    const address = `${rig.red.url.replace('http', 'ws')}/nvr/live/yard?codecs=avc1&token=${token}`;
    const shown = await page.evaluate<Record<string, number>>(`(${LIVE})(${JSON.stringify(address)})`);
    assert.deepEqual([shown['width'], shown['height']], [640, 360]);
    await wait(4000);
    const state = await page.evaluate<{ behind: number; paused: boolean; frames: number }>(`(() => {
      const video = window.liveVideo;
      return { behind: video.buffered.end(video.buffered.length - 1) - video.currentTime, paused: video.paused, frames: video.getVideoPlaybackQuality().totalVideoFrames };
    })()`);
    assert.equal(state.paused, false);
    assert.ok(state.frames > 50, `${state.frames} frames`);
    assert.ok(state.behind < 1.5, `${state.behind} s behind`);
  });

  it('plays and seeks in what was recorded, with hls.js', async () => {
    await page.addScriptTag({ path: HLS });
    const [start, end] = [Date.now() - 9000, Date.now() - 2500];
    const address = `${rig.red.url}/nvr/vod/yard/index.m3u8?start=${start}&end=${end}&token=${token}`;
    const played = await page.evaluate<{
      first: number;
      duration: number;
      mediaTime: number;
      wanted: number;
      date: number;
    }>(`new Promise((resolve, reject) => {
      const video = document.createElement('video');
      video.muted = true;
      document.body.append(video);
      const hls = new Hls();
      hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) reject(new Error(data.details)); });
      hls.loadSource(${JSON.stringify(address)});
      hls.attachMedia(video);
      const dates = [];
      hls.on(Hls.Events.FRAG_CHANGED, (_, { frag }) => dates.push(frag.programDateTime));
      video.requestVideoFrameCallback(() => {
        const first = video.currentTime;
        video.currentTime = video.duration - 1;
        video.addEventListener('seeked', () => video.requestVideoFrameCallback((_, { mediaTime }) =>
          resolve({ first, duration: video.duration, mediaTime, wanted: video.currentTime, date: hls.playingDate?.getTime() ?? dates[0] })), { once: true });
      });
      video.play();
    })`);
    assert.ok(played.duration > 6 && played.duration < 9.5, `${played.duration} s`);
    assert.ok(Math.abs(played.mediaTime - played.wanted) < 0.5, `${played.mediaTime} for ${played.wanted}`);
    // The date that the player knows is the one that was asked for.
    assert.ok(played.date >= start - 1500 && played.date <= end, `${played.date - start}`);
    assert.deepEqual(problems, []);
  });
});
