/** A real Chromium with the project's player in a page of Node-RED's own origin, and means to tell which frame it shows. */
import { readFile } from 'node:fs/promises';
import { createRequire, stripTypeScriptTypes } from 'node:module';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type Page } from 'playwright-core';
import { BIT, COUNT_BITS } from './clips.ts';
import { TAB } from './flow.ts';
import type { FlowNode } from './node-red.ts';
import type { Rig } from './rig.ts';

const HLS = createRequire(import.meta.url).resolve('hls.js/dist/hls.min.js');
const PLAYER = fileURLToPath(new URL('../../dashboard/live-player.ts', import.meta.url));
const ARGS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  // A page that is measured is not in the background.
  ...['--autoplay-policy=no-user-gesture-required', '--disable-renderer-backgrounding'],
];

/** A frame as the page has shown it. */
export interface Shown {
  /** What its squares say: its number in the clip. */
  index: number;
  /** When it was on show, epoch ms. */
  at: number;
  /** Its time in the video element, s. */
  mediaTime: number;
}

/** Runs in the page. */
const HELPERS = `
const canvas = new OffscreenCanvas(${COUNT_BITS} * 8, 8);
const context = canvas.getContext('2d', { willReadFrequently: true });
window.indexOf = (video) => {
  const { videoWidth: w, videoHeight: h } = video;
  context.drawImage(video, w * ${BIT.x}, h * ${BIT.y}, w * ${BIT.width * COUNT_BITS}, h * ${BIT.height}, 0, 0, canvas.width, 8);
  const { data } = context.getImageData(0, 4, canvas.width, 1);
  let index = 0;
  for (let k = 0; k < ${COUNT_BITS}; k++) if (data[(k * 8 + 4) * 4] > 127) index += 2 ** k;
  return index;
};
window.shownBy = (video) => {
  const shown = [];
  const see = (now, { expectedDisplayTime, mediaTime }) => {
    shown.push({ index: indexOf(video), at: performance.timeOrigin + Math.max(expectedDisplayTime, performance.now()), mediaTime });
    video.requestVideoFrameCallback(see);
  };
  video.requestVideoFrameCallback(see);
  return shown;
};
window.views = [];
window.openLive = (address) => new Promise((resolve, reject) => {
  const video = document.createElement('video');
  video.style.width = '300px';
  document.body.append(video);
  const opened = performance.now();
  const shown = shownBy(video);
  const states = [];
  const player = new LivePlayer(video, {
    address: (codecs) => address + '&codecs=' + codecs,
    state: (state, reason) => states.push([state, reason]),
  });
  const view = { video, player, shown, states };
  views.push(view);
  const timer = setTimeout(() => reject(new Error('no picture: ' + JSON.stringify(states))), 10000);
  video.requestVideoFrameCallback(() => {
    clearTimeout(timer);
    resolve({ view: views.length - 1, firstMs: performance.now() - opened, width: video.videoWidth, height: video.videoHeight });
  });
});
window.closeLive = (n) => { views[n].player.close(); views[n].video.remove(); };
window.openRecorded = (address) => new Promise((resolve, reject) => {
  const video = document.createElement('video');
  video.muted = true;
  video.style.width = '300px';
  document.body.append(video);
  const hls = new Hls();
  hls.on(Hls.Events.ERROR, (_, data) => { if (data.fatal) reject(new Error(data.details)); });
  hls.loadSource(address);
  hls.attachMedia(video);
  window.recorded = { video, hls };
  video.requestVideoFrameCallback(() => resolve({ duration: video.duration, first: video.currentTime }));
  video.play().catch(() => undefined); // a seek pauses it
});
// Until the frame of that time is on show: what was shown, and when, from the click on.
window.seekTo = (time) => new Promise((resolve, reject) => {
  const { video, hls } = recorded;
  const from = performance.now();
  const shown = [];
  const timer = setTimeout(() => reject(new Error('not found: ' + time + ' ' + JSON.stringify(shown))), 8000);
  // The frame may come before the seek is said to be over, and then no other comes.
  const settle = () => {
    if (video.seeking || shown.length === 0 || Math.abs(shown.at(-1).mediaTime - time) > 0.5) return;
    clearTimeout(timer);
    resolve({ shown, date: hls.playingDate?.getTime() ?? null });
  };
  const see = (now, { mediaTime }) => {
    shown.push({ index: indexOf(video), ms: performance.now() - from, mediaTime });
    settle();
    video.requestVideoFrameCallback(see);
  };
  video.addEventListener('seeked', settle, { once: true });
  video.pause();
  video.requestVideoFrameCallback(see);
  video.currentTime = time;
});
`;

export class Viewer {
  readonly page: Page;
  /** What went wrong in the page. */
  readonly problems: string[];
  private readonly browser: Browser;

  private constructor(browser: Browser, page: Page, problems: string[]) {
    this.browser = browser;
    this.page = page;
    this.problems = problems;
  }

  /** Nodes that serve an empty page on Node-RED's own origin, as the dashboard is. */
  static flow(): FlowNode[] {
    return [
      { id: 'page-in', type: 'http in', z: TAB, url: '/player', method: 'get', wires: [['page']] },
      {
        ...{ id: 'page', type: 'template', z: TAB, template: '<!doctype html><body>', output: 'str' },
        wires: [['page-out']],
      },
      { id: 'page-out', type: 'http response', z: TAB, wires: [] },
    ];
  }

  static async open(rig: Rig): Promise<Viewer> {
    const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGS });
    try {
      const page = await browser.newPage();
      const problems: string[] = [];
      page.on('pageerror', (error) => problems.push(error.message));
      const answer = await page.goto(`${rig.red.url}/player`);
      if (answer?.status() !== 200) throw new Error(`the page answers ${answer?.status() ?? 'nothing'}`);
      await page.addScriptTag({ path: HLS });
      const player = stripTypeScriptTypes(await readFile(PLAYER, 'utf8'));
      await page.addScriptTag({ type: 'module', content: `${player}\nwindow.LivePlayer = LivePlayer;` });
      await page.addScriptTag({ content: HELPERS });
      await page.waitForFunction('window.LivePlayer');
      return new Viewer(browser, page, problems);
    } catch (error) {
      await browser.close();
      throw error;
    }
  }

  openLive(address: string): Promise<{ view: number; firstMs: number; width: number; height: number }> {
    return this.page.evaluate(`openLive(${JSON.stringify(address)})`);
  }

  async closeLive(view: number): Promise<void> {
    await this.page.evaluate(`closeLive(${view})`);
  }

  shown(view: number): Promise<Shown[]> {
    return this.page.evaluate(`views[${view}].shown`);
  }

  states(view: number): Promise<[string, string | null][]> {
    return this.page.evaluate(`views[${view}].states`);
  }

  openRecorded(address: string): Promise<{ duration: number; first: number }> {
    return this.page.evaluate(`openRecorded(${JSON.stringify(address)})`);
  }

  seekTo(time: number): Promise<{ shown: { index: number; ms: number; mediaTime: number }[]; date: number | null }> {
    return this.page.evaluate(`seekTo(${time})`);
  }

  async close(): Promise<void> {
    await this.browser.close();
  }
}
