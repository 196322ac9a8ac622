/** The timeline as people use it: a real Node-RED with Dashboard, footage whose frames say their number, a real Chromium. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { seriousFindings } from '../support/axe.ts';
import { createWithDashboard, DashboardPage, widgetFlow } from '../support/dashboard.ts';
import { FPS } from '../support/footage.ts';
import { LOOP_MS, makeHistory, type History } from '../support/history.ts';
import type { NodeRed } from '../support/node-red.ts';
import { readsNumbers } from '../support/numbers.ts';

const LOOP = (LOOP_MS / 1000) * FPS;

interface Sent {
  payload: {
    type: string;
    action: string;
    time?: number;
    start?: number;
    end?: number;
    cameras?: string[];
    event?: string;
  };
}

describe('the timeline in a dashboard', function () {
  this.timeout(90_000);
  let red: NodeRed;
  let opened: DashboardPage;
  let page: Page;
  let history: History;

  const say = (payload: object): Promise<void> => red.send('widget', { payload });
  const sent = async (action: string): Promise<Sent['payload'][]> =>
    (await red.captured<Sent>('widget')).map(({ msg }) => msg.payload).filter((payload) => payload.action === action);
  /** The playhead and what is in view, as they are told to who cannot see. */
  const slider = (): Promise<{ now: number; min: number; max: number; text: string }> =>
    page.evaluate(`(() => {
      const head = document.querySelector('.tl-head');
      const of = (name) => Number(head.getAttribute('aria-value' + name));
      return { now: of('now'), min: of('min'), max: of('max'), text: head.getAttribute('aria-valuetext') };
    })()`);
  const until = async (what: string, test: () => Promise<boolean>): Promise<void> => {
    const deadline = performance.now() + 10_000;
    while (!(await test())) {
      if (performance.now() > deadline) assert.fail(`${what}: ${JSON.stringify(await slider())}`);
      await page.waitForTimeout(50);
    }
  };
  const numbers = (): Promise<Record<string, number | null>> => page.evaluate('shownNumbers()');
  const chart = async (): Promise<{ x: number; y: number; width: number; height: number }> =>
    (await page.locator('.tl-chart').boundingBox())!;
  /** Frames from one number to another, over the end of the loop. */
  const apart = (a: number, b: number): number => Math.abs(((a - b + LOOP * 1.5) % LOOP) - LOOP / 2);

  before(async () => {
    red = await createWithDashboard();
    const storage = join(red.userDir, 'nvr');
    history = makeHistory(storage, { cameras: ['door', 'yard'], minutes: 4, days: 2, events: 400, gapMinute: 2 });
    await red.start();
    await red.deploy(widgetFlow('ui-nvr-timeline', storage, { properties: { zone: 'Europe/Berlin' } }));
    opened = await DashboardPage.open(red);
    ({ page } = opened);
    await page.addScriptTag({ content: readsNumbers });
    await page.waitForSelector('.tl-chart canvas');
    await until('cameras', async () => (await page.locator('.tl-camera').count()) === 2);
  });
  after(async () => {
    await opened.close();
    await red.dispose();
  });
  afterEach(() => assert.deepEqual(opened.problems, []));

  it('begins live, says the time by the clocks of the site, and can be operated without seeing it', async () => {
    const { now, text } = await slider();
    assert.ok(Math.abs(now - Date.now()) < 5000);
    const berlin = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', timeZone: 'Europe/Berlin' });
    assert.ok(text.includes(berlin.format(now)) && text.endsWith('Live'), text);
    assert.deepEqual(await seriousFindings(page, '.tl'), []);
  });

  it('zooms where the pointer is, and moves along', async () => {
    const { start, end } = history;
    await say({ command: 'range', start: start - 60_000, end: end + 60_000 });
    await until('range', async () => Math.abs((await slider()).min - (start - 60_000)) < 1000);
    const box = await chart();
    const before = await slider();
    const under = before.min + (before.max - before.min) / 4;
    await page.mouse.move(box.x + box.width / 4, box.y + 60);
    for (let i = 0; i < 5; i++) await page.mouse.wheel(0, -120);
    await until('zoomed', async () => {
      const { min, max } = await slider();
      return max - min < (before.max - before.min) / 3 && Math.abs(min + (max - min) / 4 - under) < (max - min) / 100;
    });
    const zoomedTo = await slider();
    await page.mouse.down();
    await page.mouse.move(box.x + box.width / 4 + 200, box.y + 60, { steps: 5 });
    await page.mouse.up();
    await until('moved', async () => {
      const { min } = await slider();
      const by = ((zoomedTo.max - zoomedTo.min) / box.width) * 200;
      return Math.abs(zoomedTo.min - min - by) < by / 10;
    });
  });

  it('shows the frame of the moment that is clicked, of both cameras', async () => {
    await say({ command: 'range', start: history.start, end: history.end });
    await until('range', async () => Math.abs((await slider()).min - history.start) < 1000);
    const box = await chart();
    for (const share of [0.1, 0.4, 0.2]) {
      await page.locator('.tl').focus();
      await page.mouse.click(box.x + box.width * share, box.y + 60);
      await say({ command: 'pause' });
      await until('paused', async () => (await page.locator('[aria-label="Play"]').count()) === 1);
      await page.waitForTimeout(600);
      const { now } = await slider();
      assert.ok(now >= history.start + (history.end - history.start) * share - 1000);
      const shown = await numbers();
      for (const [camera, number] of Object.entries(shown)) {
        assert.ok(
          number !== null && apart(number, history.frameAt(now)) <= 1,
          `${camera} ${number}: ${history.frameAt(now)}`,
        );
      }
    }
    const [seek] = await sent('seek');
    assert.ok(seek?.time !== undefined && seek.cameras?.length === 2);
  });

  it('steps by one frame, there and back', async () => {
    const first = (await numbers())['door']!;
    await page.keyboard.press('ArrowRight');
    await until('one on', async () => (await numbers())['door'] === first + 1);
    await page.keyboard.press('ArrowRight');
    await until('two on', async () => (await numbers())['door'] === first + 2);
    await page.keyboard.press('ArrowLeft');
    await until('one back', async () => (await numbers())['door'] === first + 1);
    assert.equal((await numbers())['yard'], first + 1);
  });

  it('plays both together, and says why one has nothing', async () => {
    await say({ command: 'seek', time: history.start + 100_000 });
    await say({ command: 'play' });
    // A busy machine may drop pictures of one for a moment; it catches up.
    const seen: string[] = [];
    let together = 0;
    await until('together for a second', async () => {
      const { door, yard } = await numbers();
      seen.push(`${door} and ${yard}`);
      together = apart(door!, yard!) <= 100 / (1000 / FPS) ? together + 1 : 0;
      return together === 8 || (await page.waitForTimeout(100), false);
    }).catch(() => assert.fail(seen.join(', ')));
    assert.ok(new Set(seen).size > 4, `it plays: ${seen.join(', ')}`);
    await say({ command: 'seek', time: history.start + 119_000 });
    await until('the gap', async () => (await page.locator('[data-camera=yard] .tl-over--gap').count()) === 1);
    await until('its cause', async () =>
      ((await page.locator('[data-camera=yard] .tl-over--gap').textContent()) ?? '').includes('camera offline'),
    );
    const [a, b] = [await slider(), (await page.waitForTimeout(1500), await slider())];
    assert.ok(b.now - a.now > 1000, 'the other goes on');
  });

  it('goes to events, next and previous', async () => {
    const times = async (): Promise<number[]> => (await sent('event')).map(({ time }) => time!);
    const known = (await times()).length;
    await page.locator('.tl').focus();
    for (const key of ['p', 'p', 'n']) {
      const before = (await times()).length;
      await page.keyboard.press(key);
      await until(`event ${key}`, async () => (await times()).length === before + 1);
    }
    const [first, second, third] = (await times()).slice(known);
    assert.ok(second! < first!);
    assert.equal(third, first);
    await until('there', async () => Math.abs((await slider()).now - (first! - 2000)) < 3000);
  });

  it('saves what is marked, shares it, and keeps it', async () => {
    await say({ command: 'pause' });
    await say({ command: 'seek', time: history.start + 30_000 });
    await until('there', async () => Math.abs((await slider()).now - history.start - 30_000) < 500);
    await page.locator('.tl').focus();
    await page.keyboard.press('[');
    await say({ command: 'seek', time: history.start + 36_000 });
    await until('there', async () => Math.abs((await slider()).now - history.start - 36_000) < 500);
    await page.keyboard.press(']');
    await page.click('[data-do=panel]');
    const saved = page.waitForEvent('download');
    await page.click('[data-do=export]');
    const file = readFileSync(await (await saved).path());
    assert.equal(file.subarray(4, 8).toString('latin1'), 'ftyp');
    assert.ok(file.length > 50_000);
    await until('export', async () => (await sent('export')).length === 1);

    await page.click('[data-do=share]');
    const link = await page.locator('.tl-link').first().inputValue();
    assert.equal((await fetch(link)).status, 200);
    const other = new URL(link);
    other.searchParams.set('end', `${history.start + 60_000}`);
    assert.equal((await fetch(other)).status, 403, 'another range');
    const cameras = new URL('/nvr/api/cameras', link);
    cameras.searchParams.set('token', new URL(link).searchParams.get('token')!);
    assert.equal((await fetch(cameras)).status, 403, 'what has no time');

    await page.locator('.tl-marks input[required]').fill('Case 7');
    await page.click('[data-do=hold]');
    await until('held', async () => (await sent('hold')).length === 1);
    await page.waitForSelector('.tl-marks section:has-text("Case 7")');
    await page.keyboard.press('Escape');
    await page.waitForSelector('.tl-panel', { state: 'detached' });
  });

  it('has a calendar, chooses cameras, and finds when something moved', async () => {
    await page.click('[aria-label="Days with footage"]');
    await page.waitForSelector('.tl-day--with');
    assert.ok((await page.locator('.tl-day--with').count()) >= 1);
    await page.click('.tl-panel [aria-label="Close"]');
    await page.click('[aria-label="When did something move here?"]');
    const picture = (await page.locator('[data-camera=door]').boundingBox())!;
    await page.mouse.move(picture.x + picture.width * 0.4, picture.y + picture.height * 0.4);
    await page.mouse.down();
    await page.mouse.move(picture.x + picture.width * 0.6, picture.y + picture.height * 0.6, { steps: 4 });
    await page.mouse.up();
    await page.waitForSelector('.tl-foot:has-text("Nothing moved there."), .tl-foot:has-text("times")');
    await say({ command: 'select', cameras: ['yard'] });
    await until('one camera', async () => (await page.locator('.tl-camera').count()) === 1);
  });
});
