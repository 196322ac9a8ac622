/**
 * `npm run screenshots [-- PAGE…]`: runs the demo of `npm start` in a folder of its own, lets things happen for two minutes,
 * and takes the pictures in docs/screenshots: each page, on a desktop and a phone, light and dark. Needs Chromium.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { chromium, type Page } from 'playwright-core';
import sharp from 'sharp';
import type { FlowNode } from './demo-flow.ts';
import { dashboardLink } from './start/settings-file.ts';

const FOLDER = join(import.meta.dirname, '..', 'docs', 'screenshots');
const MAX_BYTES = 150_000;
const START_TIMEOUT_MS = 120_000;
/** For something to have happened: motion, clips, footage for previews. */
const HAPPEN_MS = 120_000;
/** For live pictures to come. */
const SETTLE_MS = 6000;
const PAGES = ['live', 'timeline', 'alerts', 'system'];
const SIZES = { desktop: { width: 1440, height: 860 }, phone: { width: 390, height: 844 } };
/** The flow's own theme is the dark one. */
const LIGHT = {
  surface: '#ffffff',
  primary: '#0d5fb8',
  bgPage: '#eef1f5',
  groupBg: '#ffffff',
  groupOutline: '#d8dde4',
};
/** Buttons of the flow, pressed so that there is something to see. */
const PRESSED = ['nvr-machine', 'nvr-ptz-ask-7'];

/** As good as fits. */
async function packed(png: Buffer): Promise<Buffer> {
  for (const quality of [85, 70, 55, 40]) {
    const webp = await sharp(png).webp({ quality }).toBuffer();
    if (webp.length < MAX_BYTES) return webp;
  }
  throw new Error('the picture does not fit');
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  return port;
}

async function started(address: string): Promise<void> {
  for (const deadline = performance.now() + START_TIMEOUT_MS; performance.now() < deadline; await wait(500)) {
    const response = await fetch(`${address}/dashboard`).catch(() => null);
    if (response?.ok) return;
  }
  throw new Error(`nothing answers at ${address}/dashboard`);
}

async function makeLight(address: string): Promise<void> {
  const headers = { 'Node-RED-API-Version': 'v2', 'Content-Type': 'application/json' };
  const { flows } = (await (await fetch(`${address}/flows`, { headers })).json()) as { flows: FlowNode[] };
  const changed = flows.map((node) => (node.type === 'ui-theme' ? { ...node, colors: LIGHT } : node));
  const response = await fetch(`${address}/flows`, {
    ...{ method: 'POST', body: JSON.stringify({ flows: changed }) },
    headers: { ...headers, 'Node-RED-Deployment-Type': 'nodes' },
  });
  if (!response.ok) throw new Error(`the theme was not taken: HTTP ${response.status}`);
  await wait(3000);
}

async function shoot(page: Page, address: string, path: string, name: string): Promise<void> {
  await page.goto(`${address}/dashboard/${path}`);
  await page.waitForTimeout(SETTLE_MS);
  // Closer: the demo is minutes old.
  if (path === 'timeline') for (let i = 0; i < 4; i++) await page.locator('.tl').press('+');
  await page.waitForTimeout(1500);
  writeFileSync(join(FOLDER, `${name}.webp`), await packed(await page.screenshot()));
  console.log(`docs/screenshots/${name}.webp`);
}

const only = process.argv.slice(2);
const userDir = mkdtempSync(join(tmpdir(), 'flow-nvr-screenshots-'));
const port = await freePort();
const address = `http://127.0.0.1:${port}`;
const start = join(import.meta.dirname, 'start.ts');
const demo = spawn(process.execPath, [start, '--port', `${port}`, '--user-dir', userDir], { stdio: 'inherit' });
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
try {
  mkdirSync(FOLDER, { recursive: true });
  await started(address);
  await wait(HAPPEN_MS / 3);
  for (const id of PRESSED) await fetch(`${address}/inject/${id}`, { method: 'POST' });
  await wait((HAPPEN_MS * 2) / 3);
  for (const theme of ['dark', 'light']) {
    if (theme === 'light') await makeLight(address);
    for (const [size, viewport] of Object.entries(SIZES)) {
      const page = await browser.newPage({ viewport, locale: 'en-GB', hasTouch: size === 'phone' });
      await page.goto(`${address}${dashboardLink(userDir)}`);
      for (const path of PAGES) {
        if (only.length === 0 || only.includes(path)) await shoot(page, address, path, `${path}-${size}-${theme}`);
      }
      await page.close();
    }
  }
} finally {
  await browser.close();
  demo.kill('SIGTERM');
  await once(demo, 'exit');
  rmSync(userDir, { recursive: true, force: true });
}
