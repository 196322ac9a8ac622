/**
 * `npm run screenshots [-- ADDRESS]`: takes the pictures in docs/screenshots from a Node-RED that `npm start` runs.
 * Needs Chromium at /usr/bin/chromium.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import sharp from 'sharp';

const FOLDER = join(import.meta.dirname, '..', 'docs', 'screenshots');
const MAX_BYTES = 150_000;
/** For live pictures to come, and for something to move. */
const SETTLE_MS = 8000;
const SHOTS = [
  { name: 'live', path: 'live', width: 1440, height: 860 },
  { name: 'live-phone', path: 'live', width: 390, height: 844 },
  { name: 'timeline', path: 'timeline', width: 1440, height: 860 },
  { name: 'alerts', path: 'alerts', width: 1440, height: 860 },
  { name: 'system', path: 'system', width: 1440, height: 860 },
];

/** As good as fits. */
async function packed(png: Buffer): Promise<Buffer> {
  for (const quality of [85, 70, 55, 40]) {
    const webp = await sharp(png).webp({ quality }).toBuffer();
    if (webp.length < MAX_BYTES) return webp;
  }
  throw new Error('the picture does not fit');
}

const [address = 'http://127.0.0.1:1880', ...only] = process.argv.slice(2);
const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
try {
  mkdirSync(FOLDER, { recursive: true });
  for (const { name, path, width, height } of SHOTS) {
    if (only.length > 0 && !only.includes(name)) continue;
    const page = await browser.newPage({ viewport: { width, height }, locale: 'en-GB' });
    await page.goto(`${address}/dashboard/${path}`);
    await page.waitForTimeout(SETTLE_MS);
    writeFileSync(join(FOLDER, `${name}.webp`), await packed(await page.screenshot()));
    console.log(`docs/screenshots/${name}.webp`);
    await page.close();
  }
} finally {
  await browser.close();
}
