/** motion-detect's dialog in a real editor; what the runtime would answer is made up here. */
import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { chromium, type Browser, type Page } from 'playwright-core';
import sharp from 'sharp';
import { NodeRed } from '../support/node-red.ts';

interface Zone {
  id: string;
  camera: string;
  name: string;
  kind: string;
  points: { x: number; y: number }[];
  loiter?: number;
}

const NODE = 'motion';
const FLOW = [
  { id: 'tab', type: 'tab', label: 'Cameras' },
  camera('gate', []),
  camera('yard', [NODE]),
  { id: NODE, type: 'motion-detect', z: 'tab', x: 400, y: 100, nvr: 'store', zones: [], wires: [[], []] },
  { id: 'store', type: 'nvr-config' },
].map((node) => ({ ...defaultsOf(node.type), ...node }));

function camera(id: string, wires: string[]): { id: string; type: string } & Record<string, unknown> {
  return { id, type: 'camera-source', z: 'tab', x: 100, y: 100, nvr: 'store', name: id, d: false, wires: [wires, []] };
}

function defaultsOf(type: string): Record<string, unknown> {
  if (type === 'camera-source') return { camera: '', url: '', subUrl: '', transport: 'tcp', audio: false };
  if (type !== 'motion-detect') return {};
  const sizes = { sensitivity: 50, minSize: 0.05, maxSize: 90, hold: 8 };
  return { name: '', mode: 'full', ...sizes, stills: true, drawBoxes: false, levels: false };
}

describe("motion-detect's dialog in Chromium", function () {
  this.timeout(60_000);
  let red: NodeRed;
  let browser: Browser;
  let page: Page;
  let picture: Buffer;
  /** What the dialog sent about tuning, in order. */
  const asked: { method: string; path: string; body: unknown }[] = [];

  before(async () => {
    picture = await sharp({ create: { width: 640, height: 360, channels: 3, background: '#556677' } })
      .jpeg()
      .toBuffer();
    red = await NodeRed.create();
    await red.start();
    await red.post('/settings/user', { editor: { view: { 'view-show-welcome-tours': false } } });
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
    page = await browser.newPage({ viewport: { width: 1400, height: 1200 }, locale: 'en-US' });
    await page.route('**/nvr/motion/still/**', (route) =>
      route.request().url().includes('/yard')
        ? route.fulfill({ contentType: 'image/jpeg', body: picture })
        : route.fulfill({ status: 404, json: { message: 'the camera is offline' } }),
    );
    await page.route('**/nvr/motion/tuning/**', (route) => {
      const request = route.request();
      const { pathname } = new URL(request.url());
      asked.push({ method: request.method(), path: pathname, body: request.postDataJSON() as unknown });
      return route.fulfill({ json: request.method() === 'GET' ? answer() : {} });
    });
    await page.goto(red.url);
    await page.waitForFunction('window.RED?.nodes?.registry.getNodeSetForType("motion-detect")?.added');
    // Not deployed: the flow needs no cameras, and the runtime no node.
    await page.evaluate(`RED.nodes.import(${JSON.stringify(FLOW)}); RED.view.redraw(true)`);
  });
  after(async () => {
    await browser.close();
    await red.dispose();
  });
  beforeEach(async () => {
    asked.length = 0;
    await page.evaluate(`RED.editor.edit(RED.nodes.node('${NODE}'))`);
    await page.waitForSelector('.flow-nvr-stage');
    await page.waitForFunction(`document.querySelector('.flow-nvr-picture')?.naturalWidth > 0`);
    await wait(600); // until the dialog has moved in
  });
  afterEach(async () => {
    if ((await page.locator('.flow-nvr-stage').count()) > 0) await close('cancel');
    await page.evaluate(`RED.nodes.node('${NODE}').zones = []`);
  });

  function answer(): object {
    const cells = Buffer.alloc((32 * 18) / 8, 0b101).toString('base64');
    const bytes = Buffer.alloc(32 * 18, 128).toString('base64');
    const grid = { width: 32, height: 18, noise: bytes, threshold: bytes, ignored: bytes, cells };
    const boxes = [{ x: 0.4, y: 0.4, width: 0.1, height: 0.2 }];
    const seen = { score: 0.42, boxes, zones: [], scene: 'steady', active: true, mode: 'full', fps: 5, grid };
    return { time: Date.now(), width: 640, height: 360, image: picture.toString('base64'), ...seen };
  }

  async function close(how: 'ok' | 'cancel'): Promise<void> {
    await page.click(`#node-dialog-${how}`);
    await page.waitForSelector('.flow-nvr-stage', { state: 'detached' });
  }

  async function place(x: number, y: number): Promise<[number, number]> {
    const box = (await page.locator('.flow-nvr-drawing').boundingBox())!;
    return [box.x + x * box.width, box.y + y * box.height];
  }

  async function click(...corners: [number, number][]): Promise<void> {
    for (const [x, y] of corners) await page.mouse.click(...(await place(x, y)));
  }

  async function drag(from: [number, number], to: [number, number]): Promise<void> {
    await page.mouse.move(...(await place(...from)));
    await page.mouse.down();
    await page.mouse.move(...(await place(...to)), { steps: 4 });
    await page.mouse.up();
  }

  const add = (kind: string): Promise<void> => page.click(`.flow-nvr-zones button[data-kind=${kind}]`);
  const polygons = (): Promise<number> => page.locator('.flow-nvr-area').count();
  const undos = (): Promise<number> => page.evaluate<number>('RED.history.depth()');
  /** What is stored, with shares in percent. */
  const stored = async (): Promise<Zone[]> => {
    const zones = await page.evaluate<Zone[]>(`RED.nodes.node('${NODE}').zones`);
    const percent = (value: number): number => Math.round(value * 100);
    return zones.map((zone) => ({
      ...zone,
      points: zone.points.map(({ x, y }) => ({ x: percent(x), y: percent(y) })),
    }));
  };
  const drawSquare = async (kind = 'include'): Promise<void> => {
    await add(kind);
    await click([0.2, 0.2], [0.6, 0.2], [0.6, 0.6], [0.2, 0.6], [0.2, 0.2]);
  };
  const pointsOf = (zone: Zone | undefined): number[][] => zone!.points.map(({ x, y }) => [x, y]);

  it('draws, undoes and redoes, and stores what was drawn', async () => {
    const before = await undos();
    await add('include');
    await click([0.2, 0.2], [0.6, 0.2], [0.9, 0.9]);
    await page.keyboard.press('Control+z');
    await click([0.6, 0.6], [0.2, 0.6], [0.2, 0.2]);
    assert.equal(await polygons(), 1);
    await page.keyboard.press('Control+z');
    assert.equal(await polygons(), 0);
    await page.keyboard.press('Control+y');
    assert.equal(await polygons(), 1);
    assert.equal(await undos(), before);
    await page.fill('[data-field=name]', 'Drive');
    await page.fill('[data-field=loiter]', '3');
    await close('ok');
    const [zone, ...others] = await stored();
    assert.deepEqual(others, []);
    assert.deepEqual(pointsOf(zone), [[20, 20], [60, 20], [60, 60], [20, 60]]); // prettier-ignore
    const { camera: of, name, kind, loiter } = zone!;
    assert.deepEqual([of, name, kind, loiter], ['yard', 'Drive', 'include', 3]);
  });

  it('closes with a double click or Enter, and never stores less than three points', async () => {
    await add('ignore');
    await click([0.1, 0.1], [0.3, 0.1]);
    await page.mouse.dblclick(...(await place(0.3, 0.3)));
    await add('include');
    await click([0.5, 0.5], [0.8, 0.5], [0.8, 0.8]);
    await page.keyboard.press('Enter');
    assert.equal(await polygons(), 2);
    await add('include');
    await click([0.5, 0.1], [0.6, 0.1]);
    await close('ok');
    assert.deepEqual(
      (await stored()).map(({ kind, points }) => [kind, points.length]),
      [['ignore', 3], ['include', 3]],
    ); // prettier-ignore
  });

  it('moves and removes points and zones, with the mouse and with keys', async () => {
    await drawSquare();
    await drag([0.6, 0.6], [0.7, 0.7]);
    await drag([0.4, 0.2], [0.4, 0.1]); // the middle of an edge
    await drag([0.4, 0.4], [0.45, 0.45]); // the zone
    for (let i = 0; i < 10; i++) await page.keyboard.press('ArrowRight');
    await page.mouse.dblclick(...(await place(0.5, 0.15)));
    await close('ok');
    assert.deepEqual(pointsOf((await stored())[0]), [[30, 25], [70, 25], [80, 75], [30, 65]]); // prettier-ignore
  });

  it('is drawn with the keyboard alone, and Escape leaves the dialog open', async () => {
    await page.focus('.flow-nvr-zones button[data-kind=include]');
    await page.keyboard.press('Enter');
    for (const way of ['ArrowUp', 'ArrowRight', 'ArrowDown']) {
      for (let i = 0; i < 4; i++) await page.keyboard.press(`Shift+${way}`);
      await page.keyboard.press('Space');
    }
    await page.keyboard.press('Enter');
    await page.keyboard.press('PageDown');
    await page.keyboard.press('Shift+ArrowLeft');
    await page.keyboard.press('Escape');
    await page.keyboard.press('Escape');
    assert.equal(await page.locator('.flow-nvr-handle').count(), 0);
    await close('ok');
    assert.deepEqual(pointsOf((await stored())[0]), [[48, 30], [70, 30], [70, 50]]); // prettier-ignore
  });

  it('deletes with a way back, and cancels with nothing changed', async () => {
    await drawSquare();
    await page.click('.flow-nvr-row .fa-trash-o');
    assert.equal(await polygons(), 0);
    await page.click('.flow-nvr-live a');
    assert.equal(await polygons(), 1);
    await close('cancel');
    assert.deepEqual(await stored(), []);
  });

  it('says why there is no picture, and draws all the same', async () => {
    await page.selectOption('.flow-nvr-camera-select', 'gate');
    await page.waitForSelector('.flow-nvr-veil code');
    assert.equal(await page.textContent('.flow-nvr-veil code'), 'the camera is offline');
    await drawSquare('ignore');
    await close('ok');
    assert.equal((await stored())[0]!.camera, 'gate');
  });

  it('shows what is detected, tries changes out, and takes them back on Cancel', async () => {
    const path = `/nvr/motion/tuning/${NODE}/yard`;
    const sent = (): { sensitivity: number; zones: Zone[] }[] =>
      asked
        .filter(({ method, path: to }) => method === 'POST' && to === path)
        .map(({ body }) => body as { sensitivity: number; zones: Zone[] });
    await page.click('.flow-nvr-zones > .flow-nvr-bar > button');
    await page.waitForSelector('.flow-nvr-box');
    assert.equal(await page.textContent('.flow-nvr-figure'), '42 %');
    assert.equal(await page.textContent('.flow-nvr-scene'), 'Motion');
    await page.fill('#node-input-sensitivity', '70');
    await drawSquare();
    await wait(1500);
    assert.equal(sent().at(-1)!.sensitivity, 70);
    assert.equal(sent().at(-1)!.zones.length, 1);
    assert.ok(asked.filter(({ method }) => method === 'GET').length >= 3);
    await close('cancel');
    assert.ok(asked.some((request) => request.path === `${path}/restore`));
    const { length } = asked;
    await wait(1200);
    assert.equal(asked.length, length, 'asked on after it was closed');
  });
});
