/**
 * The bundled dashboard in a real Chromium, as `npm start` deploys it, with nine cameras of 15 frames a second: how soon the
 * page can be used over a thin link, frames dropped, the page's memory, and how soon it answers what people do.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium, type CDPSession, type Page } from 'playwright-core';
import { withCameras, type FlowNode } from '../scripts/demo-flow.ts';
import { Rig } from '../test/support/rig.ts';
import { check, progress, pssMegabytes, type BenchResult, type Check } from './measure.ts';
import type { Options } from './run.ts';

const FPS = 15;
const CAMERAS = Array.from({ length: 9 }, (_, i) => `cam${i + 1}`);
const FLOW = join(import.meta.dirname, '..', 'flows', 'nvr.json');
/** 10 Mb/s, as bytes a second. */
const LINK = { downloadThroughput: 1.25e6, uploadThroughput: 1.25e6, latency: 20, offline: false };
const ARGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'];
const SOAK_S = 600;

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Infinity;

/** Runs in the page. Event Timing tells no durations under 16 ms, so what is not told was quicker. */
const WATCH = `
window.interactions = new Map();
new PerformanceObserver((list) => {
  for (const { interactionId, duration } of list.getEntries())
    if (interactionId) interactions.set(interactionId, Math.max(duration, interactions.get(interactionId) ?? 0));
}).observe({ type: 'event', durationThreshold: 16, buffered: true });
window.tileVideos = () => [...document.querySelectorAll('[data-camera]')].map((tile) =>
  [...tile.querySelectorAll('video')].find((video) => getComputedStyle(video).visibility === 'visible' && video.readyState >= 2));
window.frames = () => tileVideos().map((video) => {
  const { totalVideoFrames, droppedVideoFrames } = video.getVideoPlaybackQuality();
  return { shown: totalVideoFrames, dropped: droppedVideoFrames };
});`;

interface Frames {
  shown: number;
  dropped: number;
}

/** Milliseconds from the navigation until the grid can be operated, and until every tile shows a picture. */
async function opening(page: Page, session: CDPSession, url: string): Promise<{ usable: number; pictures: number }> {
  await session.send('Network.enable');
  await session.send('Network.clearBrowserCache');
  await session.send('Network.emulateNetworkConditions', LINK);
  const from = performance.now();
  await page.goto(url, { waitUntil: 'commit' });
  const usable = `document.querySelectorAll('[data-camera]').length === ${CAMERAS.length} && document.querySelector('[data-action="panic"]') !== null`;
  await page.waitForFunction(usable, null, { polling: 'raf', timeout: 30_000 });
  const usableMs = performance.now() - from;
  await page.waitForFunction('tileVideos().every(Boolean)', null, { polling: 'raf', timeout: 30_000 });
  const pictures = performance.now() - from;
  await session.send('Network.emulateNetworkConditions', {
    ...LINK,
    downloadThroughput: -1,
    uploadThroughput: -1,
    latency: 0,
  });
  return { usable: usableMs, pictures };
}

/** What people do on all four pages; returns from each deed to what it changed on show, ms. */
async function operate(page: Page, url: string, rounds: number): Promise<number[]> {
  const durations: number[] = [];
  let done = 0;
  const settle = async (): Promise<void> => {
    done++;
    await page.waitForTimeout(300);
  };
  const press = (key: string): Promise<void> => page.keyboard.press(key).then(settle);
  const click = (selector: string, position?: { x: number; y: number }): Promise<void> =>
    page
      .locator(selector)
      .first()
      .click(position ? { position } : {})
      .then(settle);
  const visit = async (path: string, selector: string, deeds: () => Promise<void>): Promise<void> => {
    await page.goto(`${url}/${path}`);
    await page.waitForSelector(selector, { timeout: 30_000 });
    await page.waitForTimeout(2000);
    done = 0;
    await deeds();
    const told = await page.evaluate<number[]>('[...interactions.values()]');
    durations.push(...told, ...Array.from({ length: Math.max(0, done - told.length) }, () => 16));
  };
  for (let round = 0; round < rounds; round++) {
    await visit('live', '[data-camera="cam1"]', async () => {
      await page.focus('[data-camera="cam1"]');
      for (const key of ['ArrowRight', 'ArrowDown', 'Enter', 'Escape', 'ArrowLeft']) await press(key);
      for (const layout of [1, 2, 0]) await click(`.nvr-segment >> nth=${layout}`);
    });
    await visit('timeline', '.tl-chart[data-complete="true"]', async () => {
      for (const x of [300, 500, 400]) await click('.tl-chart', { x, y: 60 });
      await page.focus('.tl');
      for (const key of ['+', '+', '-', 'ArrowLeft', 'ArrowRight', ' ', ' ']) await press(key);
    });
    await visit('alerts', '.nvr-alerts', async () => {
      await page.focus('.nvr-alerts input');
      for (const key of ['c', 'a', 'm']) await press(key);
    });
    await visit('system', '[role="tab"]', async () => {
      for (const tab of [1, 2, 3, 4, 0]) await click(`[role="tab"] >> nth=${tab}`);
    });
  }
  return durations;
}

/** Of the process that draws the page. */
async function pageMegabytes(session: CDPSession): Promise<number> {
  const { processInfo } = await session.send('SystemInfo.getProcessInfo');
  return Math.max(...processInfo.filter(({ type }) => type === 'renderer').map(({ id }) => pssMegabytes(id)));
}

export default async function dashboard(options: Options): Promise<BenchResult> {
  const rig = await Rig.create({
    cameras: Object.fromEntries(CAMERAS.map((id) => [id, { main: { size: 'sub', scene: 'visits', fps: FPS } }])),
    dashboard: true,
  });
  try {
    const bundled = JSON.parse(readFileSync(FLOW, 'utf8')) as FlowNode[];
    const cameras = CAMERAS.map((id) => ({ id, url: rig.url(id, 'main') }));
    const flow = withCameras(bundled, cameras);
    await rig.red.deploy(flow.map((node) => (node.type === 'nvr-config' ? { ...node, openToNetwork: true } : node)));
    await rig.recordingSince(0);
    const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGS });
    try {
      const page = await browser.newPage({ viewport: { width: 1440, height: 900 }, locale: 'en-GB' });
      await page.addInitScript(WATCH);
      const session = await page.context().newCDPSession(page);
      const whole = await browser.newBrowserCDPSession();
      const url = `${rig.red.url}/dashboard`;
      progress('the page is opened over 10 Mb/s');
      const { usable, pictures } = await opening(page, session, `${url}/live`);
      const checks: Check[] = [check('page usable over 10 Mb/s', usable, 'ms', 3000)];

      const soak = options.seconds ?? (options.short ? 12 : SOAK_S);
      progress(`nine cameras are watched for ${soak} s`);
      await page.waitForTimeout(2000);
      const before = await page.evaluate<Frames[]>('frames()');
      await page.waitForTimeout(soak * 1000);
      const after = await page.evaluate<Frames[]>('frames()');
      const shown = after.map((one, i) => one.shown - before[i]!.shown);
      const dropped = after.map((one, i) => one.dropped - before[i]!.dropped);
      const sum = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
      checks.push(
        check('frames dropped', (100 * sum(dropped)) / sum(shown), '%', 2),
        check('slowest tile', Math.min(...shown) / soak, 'frames/s', FPS * 0.98, 'atLeast'),
        check(`memory of the page after ${soak} s`, await pageMegabytes(whole), 'MB', 300),
      );
      progress('every page is operated');
      const deeds = await operate(page, url, options.short ? 1 : 5);
      checks.push(check('from a deed to what it changed, p95', percentile(deeds, 0.95), 'ms', 100));
      return {
        checks,
        details: {
          firstPicturesMs: Math.round(pictures),
          deeds: { count: deeds.length, median: percentile(deeds, 0.5), most: Math.max(...deeds) },
        },
      };
    } finally {
      await browser.close();
    }
  } finally {
    await rig.dispose();
  }
}
