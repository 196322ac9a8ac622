/**
 * The dashboard's timeline in a real Chromium, with 30 days of nine cameras and 200,000 events: how soon it is drawn, how
 * evenly it moves, how soon a click shows its frame, and how far nine videos are from each other. Frames say their number.
 */
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { createWithDashboard, DashboardPage, widgetFlow } from '../test/support/dashboard.ts';
import { FPS } from '../test/support/footage.ts';
import { LOOP_MS, makeHistory, type History } from '../test/support/history.ts';
import { readsNumbers } from '../test/support/numbers.ts';
import { check, progress, type BenchResult, type Check } from './measure.ts';
import type { Options } from './run.ts';

const CAMERAS = Array.from({ length: 9 }, (_, i) => `cam${i + 1}`);
const DAYS = 30;
const EVENTS = 200_000;
const FRAME_MS = 1000 / FPS;
const LOOP = LOOP_MS / FRAME_MS;
/** Two frames of a screen of 60 Hz, which are told to a tenth of a millisecond. */
const TWO_FRAMES_MS = 33.4;

const percentile = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? Infinity;

/** Runs in the page. */
const HELPERS = `
const chartBox = () => document.querySelector('.tl-chart').getBoundingClientRect();
const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));
window.complete = () => document.querySelector('.tl-chart').dataset.complete === 'true';
// From a choice in the list of lengths to all of it drawn.
window.showSpan = async (ms) => {
  const list = [...document.querySelectorAll('.tl-group--end select')][0];
  list.value = String(ms);
  const from = performance.now();
  list.dispatchEvent(new Event('change'));
  await nextFrame();
  while (!complete()) await nextFrame();
  await nextFrame();
  return performance.now() - from;
};
// Frames while somebody turns the wheel and drags: in, out, along.
window.move = async (seconds) => {
  const chart = document.querySelector('.tl-chart');
  const box = chartBox();
  const times = [];
  const spans = [];
  const head = document.querySelector('.tl-head');
  let last = await nextFrame();
  const end = last + seconds * 1000;
  for (let i = 0; last < end; i++) {
    const phase = Math.floor(i / 40) % 4;
    const at = { clientX: box.left + box.width * (0.3 + 0.4 * ((i * 37) % 100) / 100), clientY: box.top + 80, bubbles: true, cancelable: true };
    const turn = phase === 0 ? { deltaY: -60 } : phase === 2 ? { deltaY: 60 } : { deltaY: phase === 1 ? 40 : -40, shiftKey: true };
    chart.dispatchEvent(new WheelEvent('wheel', { ...at, ...turn }));
    const now = await nextFrame();
    times.push(now - last);
    last = now;
  }
  return times;
};
// From a click to the frame of that moment, of the cameras named.
window.clickAt = async (share, start, cameras) => {
  const chart = document.querySelector('.tl-chart');
  const box = chartBox();
  const at = { clientX: box.left + box.width * share, clientY: box.top + 70, button: 0, pointerId: 1, pointerType: 'mouse', bubbles: true, isPrimary: true };
  const from = performance.now();
  chart.setPointerCapture = () => undefined;
  chart.dispatchEvent(new PointerEvent('pointerdown', at));
  chart.dispatchEvent(new PointerEvent('pointerup', at));
  const head = document.querySelector('.tl-head');
  await nextFrame();
  for (;;) {
    const time = Number(head.getAttribute('aria-valuenow'));
    const wanted = Math.floor(((time - start) % ${LOOP_MS}) / ${FRAME_MS});
    const shown = shownNumbers();
    const off = (n) => n === null ? 1e9 : Math.abs(((n - wanted + ${LOOP * 1.5}) % ${LOOP}) - ${LOOP / 2});
    if (cameras.every((camera) => off(shown[camera]) <= 1)) return performance.now() - from;
    if (performance.now() - from > 8000) return 8000;
    await nextFrame();
  }
};`;

async function seeks(page: Page, { start }: History, cameras: readonly string[], count: number): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const share = 0.08 + 0.8 * ((i * 0.382) % 1);
    times.push(await page.evaluate<number>(`clickAt(${share}, ${start}, ${JSON.stringify(cameras)})`));
    await page.waitForTimeout(300);
  }
  return times;
}

/** How far the cameras' frames are from each other, ms, at so many moments. */
async function spread(page: Page, samples: number): Promise<number[]> {
  const found: number[] = [];
  for (let i = 0; i < samples; i++) {
    const shown = Object.values(await page.evaluate<Record<string, number | null>>('shownNumbers()'));
    const numbers = shown.filter((number) => number !== null);
    if (numbers.length < CAMERAS.length) found.push(Infinity);
    // The loop's seam is no distance.
    const first = numbers[0] ?? 0;
    const from = numbers.map((number) => ((number - first + LOOP * 1.5) % LOOP) - LOOP / 2);
    found.push((Math.max(...from) - Math.min(...from)) * FRAME_MS);
    await page.waitForTimeout(200);
  }
  return found;
}

export default async function timeline(options: Options): Promise<BenchResult> {
  const red = await createWithDashboard();
  try {
    const storage = join(red.userDir, 'nvr');
    progress(`${DAYS} days of ${CAMERAS.length} cameras with ${EVENTS} events are made`);
    const history = makeHistory(storage, { cameras: CAMERAS, minutes: 3, days: DAYS, events: EVENTS });
    await red.start();
    await red.deploy(widgetFlow('ui-nvr-timeline', storage, { height: 17 }));
    const opened = await DashboardPage.open(red);
    const { page } = opened;
    const say = (payload: object): Promise<void> => red.send('widget', { payload });
    try {
      await page.addScriptTag({ content: readsNumbers + HELPERS });
      await page.waitForFunction('document.querySelectorAll(".tl-camera").length === 9 && complete()');
      // Nothing else moves while it is measured.
      await say({ command: 'pause' });
      await say({ command: 'seek', time: history.start + 20_000 });
      await page.waitForTimeout(3000);
      const checks: Check[] = [];
      progress('30 days are drawn and moved');
      const drawn = await page.evaluate<number>(`showSpan(${DAYS * 86_400_000})`);
      checks.push(check('first draw of 30 days of 9 cameras', drawn, 'ms', 500));
      const frames = await page.evaluate<number[]>(`move(${options.short ? 5 : 15})`);
      checks.push(check('frame while moving and zooming, p95', percentile(frames, 0.95), 'ms', TWO_FRAMES_MS));

      progress('nine play on one clock');
      await say({ command: 'range', start: history.start, end: history.end });
      await say({ command: 'seek', time: history.start + 30_000 });
      await say({ command: 'play' });
      await page.waitForTimeout(4000);
      const far = await spread(page, options.short ? 15 : 60);
      checks.push(check('nine cameras from each other, p95', percentile(far, 0.95), 'ms', 100));

      progress('clicks');
      await say({ command: 'pause' });
      const nine = await seeks(page, history, CAMERAS, options.short ? 3 : 10);
      await say({ command: 'select', cameras: [CAMERAS[0]] });
      await page.waitForTimeout(1000);
      await seeks(page, history, [CAMERAS[0]!], 1);
      const one = await seeks(page, history, [CAMERAS[0]!], options.short ? 8 : 30);
      checks.push(check('click to its frame, p95', percentile(one, 0.95), 'ms', 700));
      checks.push(check('errors in the page', opened.problems.length, 'errors', 0));
      return {
        checks,
        details: {
          frameMs: { median: percentile(frames, 0.5), p99: percentile(frames, 0.99), count: frames.length },
          seekMs: { median: percentile(one, 0.5), ofNine: percentile(nine, 0.5) },
          farMs: { median: percentile(far, 0.5), most: Math.max(...far) },
          problems: opened.problems.slice(0, 3),
        },
      };
    } finally {
      await opened.close();
    }
  } finally {
    await red.dispose();
  }
}
