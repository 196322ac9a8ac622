/** Finding cameras in camera-source's dialog, in a real editor and with devices that answer over HTTP. */
import assert from 'node:assert/strict';
import { chromium, type Browser, type Page } from 'playwright-core';
import { NodeRed } from '../support/node-red.ts';
import { OnvifCamera } from '../support/onvif-camera.ts';

const CAMERA = {
  ...{ id: 'cam', type: 'camera-source', z: 'tab', x: 160, y: 80, nvr: 'store', name: '', camera: '', url: '' },
  ...{ subUrl: '', transport: 'tcp', audio: true, onvif: '', anyCertificate: false, wires: [[], []] },
};

describe("finding cameras in camera-source's dialog in Chromium", function () {
  this.timeout(90_000);
  let red: NodeRed;
  let browser: Browser;
  let page: Page;
  let sims: OnvifCamera[];

  before(async () => {
    sims = await Promise.all([
      new OnvifCamera({ name: 'Yard' }).start(),
      new OnvifCamera({ name: 'Gate', kind: 'fixed', clockOffsetMs: -7_500_000 }).start(),
      new OnvifCamera({ name: 'Broken', garbage: '<html>' }).start(),
      new OnvifCamera({ name: 'Hall', password: 'another' }).start(),
    ]);
    red = await NodeRed.create();
    await red.start();
    await red.post('/settings/user', { editor: { view: { 'view-show-welcome-tours': false } } });
    browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
    page = await browser.newPage({ viewport: { width: 1300, height: 1100 }, locale: 'en-US' });
    page.on('dialog', (dialog) => void dialog.accept());
    await page.goto(red.url);
    await page.waitForFunction('window.RED?.nodes?.registry.getNodeSetForType("ptz")?.added');
    const flow = [
      { id: 'tab', type: 'tab', label: 'Cameras' },
      { id: 'store', type: 'nvr-config', name: 'NVR' },
      CAMERA,
    ];
    await page.evaluate(
      `RED.nodes.import(${JSON.stringify(flow)}); RED.workspaces.show('tab'); RED.editor.edit(RED.nodes.node('cam'))`,
    );
    await page.waitForSelector('#flow-nvr-find-button');
  });
  after(async () => {
    await browser.close();
    await red.dispose();
    await Promise.all(sims.map((sim) => sim.stop()));
  });

  it('shows what each is, sets a clock, and adds those that are ticked with wires and accounts', async () => {
    const { username, password } = sims[0]!.options;
    await page.fill('#node-input-username', username);
    await page.fill('#node-input-password', password);
    await page.click('#flow-nvr-find-button');
    // Only those of this test, whatever is in the network here.
    await page.fill('.flow-nvr-panel input >> nth=0', sims.map(({ port }) => `127.0.0.1:${port}`).join(', '));
    await page.waitForFunction(`!document.querySelector('.flow-nvr-panel button').disabled`);
    await page.click('.flow-nvr-panel button >> nth=0');
    // One that answers nonsense to everything is no camera; it hides no other.
    await page.waitForFunction(`document.querySelectorAll('.flow-nvr-device').length === 3`);
    const accounts = sims.flatMap(({ calls }) => calls.filter(({ auth }) => auth !== 'none'));
    assert.deepEqual(accounts, [], 'no account was sent before a device was picked');
    for (let picked = 0; picked < 3; picked++)
      await page.locator('.flow-nvr-device').getByText('Connect', { exact: true }).first().click();
    await page.waitForFunction(`document.querySelectorAll('.flow-nvr-device input:checked').length === 2`);
    await page.getByText('wants another account').waitFor();
    assert.match(
      (await page.textContent('.flow-nvr-rows'))!,
      /2 h 5 min behind[\s\S]*wants another account|wants another account[\s\S]*2 h 5 min behind/,
    );
    await page.click('.flow-nvr-device .red-ui-button-small');
    await page.waitForFunction(`!document.querySelector('.flow-nvr-device .red-ui-button-small')`);
    assert.ok(Math.abs(sims[1]!.options.clockOffsetMs) < 2000);
    await page.click('.flow-nvr-add button');
    await page
      .waitForFunction(`RED.nodes.filterNodes({ type: 'camera-source' }).length === 2`, undefined, { timeout: 5000 })
      .catch(async () => {
        throw new Error(`nothing was added; the dialog says: ${(await page.textContent('.flow-nvr-panel')) ?? ''}`);
      });
    const nodes = await page.evaluate<
      { id: string; type: string; url?: string; onvif?: string; wires: string[][]; credentials?: object }[]
    >(`RED.nodes.createCompleteNodeSet().filter((node) => node.z === 'tab').map((node) => ({ ...node }))`);
    const sources = nodes.filter(({ type }) => type === 'camera-source');
    assert.equal(sources.length, 2);
    const added = sources.find(({ url }) => url)!;
    assert.match(added.onvif!, /^http:\/\/127\.0\.0\.1:\d+\//);
    assert.deepEqual(added.credentials, { username, password });
    const recorder = nodes.find(({ type }) => type === 'recorder')!;
    for (const { wires } of sources) assert.deepEqual(wires[0], [recorder.id]);
    assert.match(await page.inputValue('#node-input-url'), /^rtsp:\/\/127\.0\.0\.1\//);
  });

  it('reads a list and says what is wrong in it, and fills in addresses by maker', async () => {
    await page.click('#flow-nvr-list-button');
    await page.fill('.flow-nvr-panel textarea', 'id,url\nroof,rtsp://h/1\nROOF,rtsp://h/1');
    assert.equal(await page.locator('.flow-nvr-panel tr').count(), 3);
    assert.match((await page.textContent('.flow-nvr-panel table'))!, /needs an id/);
    await page.click('#flow-nvr-maker-button');
    await page.selectOption('.flow-nvr-panel select', { label: 'Reolink' });
    await page.fill('.flow-nvr-panel .flow-nvr-bar input', '10.0.0.7');
    await page.click('.flow-nvr-panel .flow-nvr-bar button');
    assert.equal(await page.inputValue('#node-input-subUrl'), 'rtsp://10.0.0.7:554/h264Preview_01_sub');
  });
});
