/** The dashboard as people use it: a real Node-RED with FlowFuse Dashboard, RTSP cameras, and Chromium. */
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { find, type XmlElement } from '../../engine/onvif/xml.ts';
import { seriousFindings } from '../support/axe.ts';
import { dashboard, TAB } from '../support/flow.ts';
import type { FlowNode } from '../support/node-red.ts';
import { OnvifCamera } from '../support/onvif-camera.ts';
import { Rig } from '../support/rig.ts';

const ARGS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'];

interface Answer {
  status: number;
  body: Record<string, unknown>;
}

describe('the dashboard', function () {
  this.timeout(60_000);
  let rig: Rig;
  let browser: Browser;
  let page: Page;
  let head: OnvifCamera;
  let cookie = '';
  const problems: string[] = [];

  const tile = (camera: string): string => `[data-camera="${camera}"]`;
  const call = async (method: string, path: string, body?: object): Promise<Answer> => {
    const response = await fetch(`${rig.red.url}${path}`, {
      method,
      headers: { Cookie: cookie, ...(body ? { 'Content-Type': 'application/json' } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    const text = await response.text();
    return { status: response.status, body: text ? (JSON.parse(text) as Answer['body']) : {} };
  };
  /** In a browser that was let in. */
  const newPage = async (options: BrowserContextOptions = {}): Promise<Page> => {
    const opened = await browser.newPage(options);
    await opened.goto(await rig.red.dashboardLink());
    return opened;
  };
  const token = async (): Promise<string> => (await call('GET', '/nvr/dashboard/token')).body['token'] as string;

  /** Frames that a tile has shown, its time, and the size of its picture. */
  const shown = (camera: string): Promise<{ frames: number; time: number; width: number } | null> =>
    page.evaluate(`(() => {
      const video = [...document.querySelectorAll('${tile(camera)} video')].find((one) => getComputedStyle(one).visibility === 'visible');
      if (!video || video.readyState < 2) return null;
      return { frames: video.getVideoPlaybackQuality().totalVideoFrames, time: video.currentTime, width: video.videoWidth };
    })()`);
  /** Waits until a tile shows frames, one after the other. */
  const plays = async (camera: string, width?: number, timeoutMs = 30_000): Promise<void> => {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const before = await shown(camera);
      await wait(700);
      const after = await shown(camera);
      const good = before && after && after.time > before.time && after.frames > before.frames + 5;
      if (good && (width === undefined || after.width === width)) return;
      assert.ok(performance.now() < deadline, `${camera} does not play: ${JSON.stringify([before, after])}`);
    }
  };

  const ptz = (): FlowNode => ({
    ...{ id: 'ptz-node', type: 'ptz', z: TAB, name: '', nvr: 'nvr-store', camera: 'gate', moveTimeout: 5 },
    ...{ address: `127.0.0.1:${head.port}`, panTiltTravel: '', zoomTravel: '', events: false, allEvents: false },
    credentials: { username: head.options.username, password: head.options.password },
    wires: [[], []],
  });

  before(async () => {
    head = await new OnvifCamera().start();
    rig = await Rig.create({
      cameras: { yard: { main: { size: 'main' }, sub: { size: 'sub' } }, gate: { main: { size: 'sub' } } },
      recorder: { mode: 'manual' },
      dashboard: true,
    });
    await rig.red.deploy([...rig.flow(), ...dashboard(), ptz()]);
    cookie = await rig.red.dashboardCookie();
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGS });
    page = await newPage({ viewport: { width: 1000, height: 700 }, locale: 'en-GB' });
    page.on('pageerror', ({ message }) => problems.push(message));
    await page.goto(`${rig.red.url}/dashboard/live`);
    await page.waitForSelector(tile('gate'), { timeout: 20_000 });
  });
  after(async () => {
    await browser.close();
    await rig.dispose();
    await head.stop();
  });
  afterEach(() => assert.deepEqual(problems, []));

  it('sends its scripts compressed, and nothing else', async () => {
    const html = await (await fetch(`${rig.red.url}/dashboard/live`)).text();
    const script = /assets\/[\w.-]+\.js/.exec(html)![0];
    const headers = { 'Accept-Encoding': 'br, gzip' };
    const encodingOf = async (path: string): Promise<string | null> =>
      (await fetch(`${rig.red.url}${path}`, { headers })).headers.get('content-encoding');
    assert.equal(await encodingOf(`/dashboard/${script}`), 'br');
    assert.equal(await encodingOf('/nvr/health'), null);
  });

  it('plays every camera, the small stream where there is one', async () => {
    await plays('yard', 640);
    await plays('gate', 640);
  });

  it('enlarges a camera with its large stream, and is never black between', async () => {
    await page.evaluate(`
      window.black = 0;
      window.looks = setInterval(() => {
        const videos = [...document.querySelectorAll('${tile('yard')} video')];
        const visible = videos.find((video) => getComputedStyle(video).visibility === 'visible');
        // While it seeks its last frame stays on show.
        if (!visible || visible.readyState < 1 || visible.getVideoPlaybackQuality().totalVideoFrames < 1) black++;
      }, 30);`);
    await page.focus(tile('yard'));
    await page.keyboard.press('Enter');
    await plays('yard', 1920);
    assert.equal(await page.locator(`${tile('yard')}.nvr-tile--solo`).count(), 1);
    await page.keyboard.press('Escape');
    await plays('yard', 640);
    assert.equal(await page.evaluate('clearInterval(looks), black'), 0);
    await rig.red.waitFor(
      'grid',
      ({ camera, topic, payload }) =>
        topic === 'ui-nvr-grid/enlarge' && camera === 'yard' && (payload as { enlarged: boolean }).enlarged,
      5000,
    );
  });

  it('has no serious fault for those who cannot see it or use no mouse', async () => {
    assert.deepEqual(await seriousFindings(page, '.nvr'), []);
  });

  it('steers a camera: by buttons, clicks, wheel, keys and presets', async () => {
    const calls = async (action: string, count: number): Promise<XmlElement> => {
      const deadline = performance.now() + 10_000;
      while (head.callsOf(action).length < count) {
        assert.ok(performance.now() < deadline, `${action}: ${head.callsOf(action).length}`);
        await wait(50);
      }
      return head.callsOf(action).at(-1)!.body;
    };
    const hold = async (selector: string, ms: number): Promise<void> => {
      await page.hover(selector);
      await page.mouse.down();
      await wait(ms);
      await page.mouse.up();
    };
    assert.equal(await page.locator(`${tile('yard')} [data-action="steer"]`).count(), 0, 'it cannot turn');
    await page.hover(tile('gate'));
    await page.click(`${tile('gate')} [data-action="steer"]`);
    await page.waitForSelector(`${tile('gate')}.nvr-tile--solo .nvr-ptz__presets`);
    await hold(`${tile('gate')} .nvr-ptz__left`, 900);
    const left = find(await calls('ContinuousMove', 3), 'Velocity', 'PanTilt');
    assert.ok(Number(left?.attributes['x']) < 0, 'held, it is told again');
    await calls('Stop', 1);
    assert.ok(!head.table.moving);
    await page.selectOption(`${tile('gate')} .nvr-ptz__presets`, { label: 'Gate' });
    await calls('GotoPreset', 1);
    const box = (await page.locator(`${tile('gate')} .nvr-tile__frame`).boundingBox())!;
    await page.mouse.click(box.x + box.width * 0.8, box.y + box.height / 2);
    const there = find(await calls('RelativeMove', 1), 'Translation', 'PanTilt');
    assert.ok(Number(there?.attributes['x']) > 0 && Math.abs(Number(there?.attributes['y'])) < 0.01);
    const stops = head.callsOf('Stop').length;
    await page.mouse.wheel(0, -100);
    await calls('Stop', stops + 1);
    await page.focus(tile('gate'));
    await page.keyboard.down('ArrowUp');
    await page.keyboard.up('ArrowUp');
    await calls('Stop', stops + 2);
    // Keys whose end the page does not hear of: the focus goes elsewhere, the window loses it.
    const button = `${tile('gate')} .nvr-ptz__up`;
    const lost: [held: string, leave: () => Promise<unknown>][] = [
      [tile('gate'), () => page.focus(button)],
      [button, () => page.focus(`${tile('gate')} .nvr-ptz__down`)],
      [tile('gate'), () => page.evaluate(() => void window.dispatchEvent(new Event('blur')))],
    ];
    for (const [held, leave] of lost) {
      const [stopped, moved] = [head.callsOf('Stop').length, head.callsOf('ContinuousMove').length];
      await page.focus(held);
      await page.keyboard.down(held === button ? 'Enter' : 'ArrowUp');
      await calls('ContinuousMove', moved + 1);
      await leave();
      await calls('Stop', stopped + 1);
      await page.keyboard.up(held === button ? 'Enter' : 'ArrowUp');
    }
    await page.focus(tile('gate'));
    await page.keyboard.press('Escape');
    await page.waitForSelector('.nvr-ptz', { state: 'detached' });
    await rig.red.waitFor('grid', ({ camera, topic }) => topic === 'ui-nvr-grid/ptz' && camera === 'gate', 5000);
  });

  it('does what messages say, on pages opened later too', async () => {
    await rig.red.send('grid', { payload: { command: 'layout', layout: '1x1' } });
    await page.waitForFunction("document.querySelectorAll('[data-camera]').length === 1");
    const other = await newPage();
    await other.goto(`${rig.red.url}/dashboard/live`);
    await other.waitForFunction("document.querySelectorAll('[data-camera]').length === 1", null, { timeout: 15_000 });
    await other.close();
    await rig.red.send('grid', { payload: { command: 'layout', layout: 'auto' } });
    await page.waitForFunction("document.querySelectorAll('[data-camera]').length === 2");
  });

  it('shows streams of pictures where there is no live media, on and on with newer tokens', async () => {
    const other = await newPage({ viewport: { width: 1000, height: 700 } });
    await other.addInitScript('delete window.MediaSource; delete window.ManagedMediaSource;');
    // A token that is fetched anew after 6 s.
    await other.route('**/nvr/dashboard/token*', async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...((await response.json()) as object), expiresInMs: 8000 } });
    });
    await other.goto(`${rig.red.url}/dashboard/live`);
    const image = `document.querySelector('${tile('gate')} img[src*=".mjpeg"]')`;
    const look = `(() => {
      const image = ${image};
      const canvas = document.createElement('canvas');
      [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
      canvas.getContext('2d').drawImage(image, 0, 0);
      return canvas.toDataURL();
    })()`;
    let before = '';
    for (let tokens = 1; tokens <= 2; tokens++) {
      await other.waitForFunction(`${image}?.naturalWidth > 0 && ${image}.src !== '${before}'`, null, {
        timeout: 20_000,
      });
      before = await other.evaluate<string>(`${image}.src`);
      const seen = await other.evaluate<string>(look);
      await other.waitForFunction(`${image} && ${look} !== '${seen}'`, null, { timeout: 5000 });
    }
    await other.close();
  });

  it('records by hand, and everything when panic is held', async () => {
    await page.hover(tile('gate'));
    await page.click(`${tile('gate')} [data-action="record"]`);
    await rig.waitForRecording(
      ({ phase, camera, trigger }) => phase === 'start' && camera === 'gate' && trigger === 'manual',
      10_000,
    );
    await page.waitForSelector(`${tile('gate')} .nvr-rec`);
    const press = async (action: string, ms: number): Promise<void> => {
      await page.hover(`[data-action="${action}"]`);
      await page.mouse.down();
      await wait(ms);
      await page.mouse.up();
    };
    await press('panic', 600);
    await wait(500);
    assert.equal(await page.locator('.nvr-grid__panic').count(), 0, 'a click is not enough');
    await press('panic', 2000);
    await page.waitForSelector('.nvr-grid__panic', { timeout: 10_000 });
    await page.waitForSelector(`${tile('yard')} .nvr-chip--panic`);
    await press('release', 2000);
    await page.waitForSelector('.nvr-grid__panic', { state: 'detached', timeout: 10_000 });
  });

  it('keeps an order that all share, for those who may change it', async () => {
    const [good, path] = [await token(), '/nvr/api/board/grid-widget?token='];
    const arrangement = { layout: 'auto', order: ['yard', 'gate'] };
    assert.equal((await call('POST', `${path}${good}`, arrangement)).status, 204);
    assert.deepEqual((await call('GET', `${path}${good}`)).body, arrangement);
    await page.waitForFunction("document.querySelector('[data-camera]').dataset.camera === 'yard'");
    await page.focus(tile('gate'));
    await page.keyboard.press('Alt+ArrowUp');
    await page.waitForFunction("document.querySelector('[data-camera]').dataset.camera === 'gate'");
    assert.equal((await call('POST', `${path}${good}`, { layout: 'auto', order: [1] })).status, 400);
    assert.equal((await call('GET', '/nvr/api/board/grid-widget')).status, 401);
  });

  it('comes back by itself when cameras were away, and says so meanwhile', async () => {
    await rig.cameras.kill();
    await page.waitForSelector(`${tile('yard')}.nvr-tile--away`, { timeout: 15_000 });
    await rig.cameras.restart();
    await plays('yard', 640);
    await plays('gate', 640);
  });

  it('comes back by itself when Node-RED was away, and knows none of the tokens any more', async () => {
    await rig.red.kill();
    await rm(join(rig.storage, '.flow-nvr-keys.json'));
    await wait(1500);
    await rig.red.start();
    await plays('yard', 640);
    await plays('gate', 640);
  });

  it('lets viewers see, and nothing more', async () => {
    const flow = rig.flow().map((node) => (node.id === 'nvr-store' ? { ...node, dashboardAccess: 'view' } : node));
    await rig.red.deploy([...flow, ...dashboard(), ptz()]);
    const viewer = await token();
    for (const path of ['control', 'control/yard', 'ptz/yard', 'board/grid-widget']) {
      const { status } = await call('POST', `/nvr/api/${path}?token=${viewer}`, { command: 'panic' });
      assert.equal(status, 403, path);
    }
    assert.equal((await call('GET', `/nvr/api/storage?token=${viewer}`)).status, 403);
    await page.reload();
    await plays('gate', 640);
    assert.equal(await page.locator('[data-action="record"], [data-action="panic"], [data-action="steer"]').count(), 0);
    assert.ok((await page.locator('[data-action="enlarge"]').count()) > 0);
  });

  it('tells a browser that came by no link what to do, and shows it everything after', async () => {
    const outside = await browser.newPage({ locale: 'de-DE' });
    await outside.goto(`${rig.red.url}/dashboard/live`);
    await outside.waitForSelector('.nvr-blocked', { timeout: 15_000 });
    assert.match((await outside.textContent('.nvr-blocked')) ?? '', /noch nicht zugelassen.*„Dashboard öffnen“/s);
    assert.equal(await outside.locator('[data-camera]').count(), 0);
    const link = await rig.red.dashboardLink();
    await outside.goto(link);
    assert.ok(!outside.url().includes('key'), 'nothing to be read over a shoulder');
    await outside.goto(`${rig.red.url}/dashboard/live`);
    await outside.waitForSelector(tile('gate'), { timeout: 15_000 });
    await outside.close();
    const second = await browser.newPage();
    assert.equal((await second.goto(link))?.status(), 403, 'it works once');
    await second.close();
  });
});
