/** The alerts and the system widget in a real dashboard, with many thousand alerts in the catalogue. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import Sqlite from 'better-sqlite3';
import type { Page } from 'playwright-core';
import { Dashboard, flow, seedAlerts, seedFootage, type Seed } from '../support/alerts.ts';
import { seriousFindings } from '../support/axe.ts';
import { numberedMedia } from '../support/footage.ts';
import { NodeRed } from '../support/node-red.ts';

/** A hundred thousand take a minute to be scrolled through where the machine is busy. */
const ALERTS = 30_000;

interface Told {
  payload: { type: string; action: string; event?: { eventId: string }; camera?: string; ok?: boolean };
}

describe('alerts and system in Chromium', function () {
  this.timeout(120_000);
  let red: NodeRed;
  let dashboard: Dashboard;
  let page: Page;
  let of: Seed;

  const card = (eventId: string) => page.locator(`[data-event="${eventId}"]`);
  const rowOf = (eventId: string): { acknowledged?: { who: string }; notes?: { who: string; text: string }[] } => {
    const db = new Sqlite(join(red.userDir, 'nvr', 'catalog.sqlite'), { readonly: true });
    try {
      return JSON.parse(db.prepare('SELECT data FROM event WHERE id = ?').pluck().get(eventId) as string) as object;
    } finally {
      db.close();
    }
  };
  const until = async (what: string, test: () => boolean | Promise<boolean>): Promise<void> => {
    const deadline = performance.now() + 15_000;
    while (!(await test())) {
      if (performance.now() > deadline) throw new Error(`not in 15 s: ${what}`);
      await wait(50);
    }
  };

  before(async () => {
    red = await NodeRed.create();
    of = { alerts: ALERTS, until: Date.now() - 120_000, every: 26_000 };
    seedAlerts(red.userDir, of);
    await red.start();
    await red.deploy(flow({ access: 'admin' }));
    await wait(1000);
    seedFootage(red.userDir, of, numberedMedia({ seconds: 24, width: 320, height: 180, kbps: 300 }));
    dashboard = await Dashboard.open(red);
    page = await dashboard.page('alerts');
    await card('alert-0').waitFor();
  });
  after(async () => {
    await dashboard.close();
    await red.dispose();
  });

  it('lists the newest first and is scrolled through to the last of many thousands, holding a few', async () => {
    const first = await page.locator('.nvr-alert').first().getAttribute('data-event');
    assert.equal(first, 'alert-0');
    const last = `alert-${ALERTS - 1}`;
    const { end, most } = await page.evaluate(async (id) => {
      const scroller = document.querySelector('.nvr-alerts-scroll')!;
      let drawn = 0;
      for (let rounds = 0; rounds < 20_000; rounds++) {
        scroller.scrollTop = scroller.scrollHeight;
        await new Promise((resolve) => setTimeout(resolve, 4));
        drawn = Math.max(drawn, document.querySelectorAll('.nvr-alert').length);
        if (document.querySelector(`[data-event="${id}"]`)) break;
      }
      return { end: scroller.scrollTop, most: drawn };
    }, last);
    await card(last).waitFor({ timeout: 1000 });
    assert.ok(end > 1_000_000, `${end} px`);
    assert.ok(most < 80, `${most} cards drawn at once`);
    // And back, far up: what was dropped is read again, where it was.
    await page.evaluate(() => {
      const scroller = document.querySelector('.nvr-alerts-scroll')!;
      scroller.scrollTop = scroller.scrollHeight / 2;
    });
    await until('the middle', async () => {
      const [id] = await page
        .locator('.nvr-alert')
        .evaluateAll((cards) => cards.map((one) => one.getAttribute('data-event')));
      const number = Number(id?.split('-')[1]);
      return Math.abs(number - ALERTS / 2) < 1000;
    });
  });

  it('keeps its place when something happens, says so, and shows it when asked', async () => {
    const before = await page.locator('.nvr-alert').first().getAttribute('data-event');
    for (const label of ['Valve open', 'Valve shut', 'Lot done']) {
      await red.send('event', {
        payload: { type: 'external', source: 'plc', label, severity: 'warning', cameras: ['front'] },
      });
    }
    const pill = page.locator('.nvr-alerts-newer');
    await until('three new', async () => (await pill.count()) > 0 && /3/.test((await pill.textContent()) ?? ''));
    assert.equal(await page.locator('.nvr-alert').first().getAttribute('data-event'), before);
    await pill.click();
    await page.getByText('Lot done').first().waitFor();
    assert.equal(await page.locator('.nvr-alert').first().getAttribute('aria-posinset'), '1');
    // At the top a new one comes by itself.
    await red.send('event', {
      payload: { type: 'external', source: 'plc', label: 'Oil low', severity: 'error', cameras: ['yard'] },
    });
    await page.locator('.nvr-alert').getByText('Oil low').waitFor();
    assert.match((await page.locator('.nvr-alerts > [aria-live]').textContent()) ?? '', /Oil low/);
  });

  it('filters by words and by what nobody acknowledged', async () => {
    await page.getByRole('searchbox').fill('emergency');
    await until('only those', async () => {
      const texts = await page.locator('.nvr-alert strong').allTextContents();
      return texts.length > 3 && texts.every((text) => text.includes('Emergency stop'));
    });
    // All of them, and none but them.
    await page.getByRole('button', { name: 'Acknowledge all shown' }).click();
    await page.getByText('Acknowledge all that match the filters?').waitFor();
    await page.getByRole('button', { name: 'Acknowledge', exact: true }).click();
    await page.getByText(`${Math.ceil((ALERTS - 5) / 97)} acknowledged`.replace(/^(\d)(\d{3})/, '$1,$2')).waitFor();
    assert.equal(rowOf('alert-5').acknowledged?.who, 'Dashboard');
    assert.equal(rowOf('alert-4').acknowledged, undefined);
    await page.getByRole('searchbox').fill('nothingofthekind');
    await page.getByText('Nothing matches these filters').waitFor();
    await page.getByRole('button', { name: 'Clear filters' }).click();
    await card('alert-0').waitFor();
  });

  it('acknowledges, in the catalogue too, and tells the flow', async () => {
    // The page is another's now: with a name.
    await page.evaluate(() => localStorage.setItem('flow-nvr-who', 'Anna'));
    await page.reload();
    await card('alert-0').locator('.nvr-alert-ack').click();
    await until('the row', () => rowOf('alert-0').acknowledged !== undefined);
    await card('alert-0').locator('.nvr-alert-acked').waitFor();
    const { msg } = await red.waitFor<Told>('alerts', ({ payload }) => payload.event?.eventId === 'alert-0', 5000);
    assert.equal(msg.payload.action, 'acknowledge');
    assert.equal(rowOf('alert-0').acknowledged?.who, 'Anna');
    await page.getByRole('button', { name: 'Unacknowledged' }).click();
    await card('alert-1').waitFor();
    assert.equal(await card('alert-0').count(), 0);
    await page.getByRole('button', { name: 'Unacknowledged' }).click();
    await card('alert-0').waitFor();
  });

  it('plays, is annotated and shared', async () => {
    await card('alert-0').click();
    const detail = page.getByRole('dialog');
    await until('it plays', () =>
      page.evaluate(
        () => (document.querySelector<HTMLVideoElement>('.nvr-alert-player video')?.currentTime ?? 0) > 0.2,
      ),
    );
    assert.equal(await detail.getByRole('textbox', { name: 'Your name' }).inputValue(), 'Anna');
    await detail.getByRole('textbox', { name: 'Your name' }).fill('Bo');
    await detail.getByRole('textbox', { name: 'Add a note' }).fill('Looked at it');
    await detail.getByRole('button', { name: 'Add', exact: true }).click();
    await until('the note', () => rowOf('alert-0').notes?.[0]?.text === 'Looked at it');
    assert.equal(rowOf('alert-0').notes?.[0]?.who, 'Bo');
    await detail.getByText('Looked at it').waitFor();
    await detail.getByRole('button', { name: 'Copy link' }).click();
    await red.waitFor<Told>('alerts', ({ payload }) => payload.action === 'share', 5000);
    assert.deepEqual(await seriousFindings(page, '.nvr-alerts'), []);
    await page.keyboard.press('Escape');
    await detail.waitFor({ state: 'detached' });
  });

  it('moves its pictures while one is looked at, unless less motion is wanted', async () => {
    await card('alert-0').hover();
    await card('alert-0').locator('.nvr-alert-strip').waitFor();
    const calm = await dashboard.page('alerts', { reducedMotion: 'reduce' });
    await calm.locator('[data-event="alert-0"]').hover();
    await wait(1200);
    assert.equal(await calm.locator('.nvr-alert-strip').count(), 0);
    await calm.context().close();
  });

  it('shows how the system is, and restarts a camera', async () => {
    await red.send('say', { count: 12_000 });
    // What retention foretells comes from what is being written.
    await red.send('keep', { payload: { command: 'run' } });
    page = await dashboard.page('system');
    await page.getByText('2 of 4 cameras are not online').waitFor();
    assert.deepEqual(await seriousFindings(page, '.nvr-system'), []);
    await page.getByRole('button', { name: 'Restart: Yard' }).click();
    await page.getByRole('button', { name: 'Restart', exact: true }).click();
    await red.waitFor<Told>('system', ({ payload }) => payload.action === 'restart' && payload.ok === true, 5000);
    for (const [tab, text] of [
      ['Coverage', 'disk too slow'],
      ['Storage', 'The next two weeks'],
      ['About', 'Versions'],
    ] as const) {
      await page.getByRole('tab', { name: tab }).click();
      await page.getByText(text).first().waitFor();
      if (tab === 'Storage') {
        const rule = (await page.locator('.nvr-box', { hasText: 'rule 1' }).textContent()) ?? '';
        assert.match(rule, /Used ?3[45]\.\d GB.*Limit ?36 GB.*Written ?[1-9].* a day/s);
        assert.match(rule, /\d days/);
      }
      assert.deepEqual(await seriousFindings(page, '.nvr-system'), [], tab);
    }
    await page.getByRole('tab', { name: 'Log' }).click();
    await page.getByText('line 11999 of the test').waitFor();
    await until('all lines', async () =>
      /1[23],\d{3} of/.test((await page.locator('.nvr-system-bar').textContent()) ?? ''),
    );
    assert.ok((await page.locator('.nvr-log-line').count()) < 100);
    await page.getByRole('searchbox').fill('line 11234 of');
    await page.getByText('line 11234 of the test').waitFor();
    assert.deepEqual(await seriousFindings(page, '.nvr-system'), []);
  });

  it('gives a viewer nothing to change', async () => {
    await page.context().close();
    await red.deploy(flow({ access: 'view' }));
    page = await dashboard.page('alerts');
    await card('alert-0').waitFor();
    assert.equal(await page.locator('.nvr-alert-ack').count(), 0);
    assert.equal(await page.getByRole('button', { name: /Acknowledge/ }).count(), 0);
    await card('alert-1').click();
    await page.getByRole('dialog').waitFor();
    assert.equal(await page.getByRole('textbox', { name: 'Add a note' }).count(), 0);
    await page.context().close();
    page = await dashboard.page('system');
    await page.getByText('2 of 4 cameras').waitFor();
    assert.deepEqual(await page.getByRole('tab').allTextContents(), ['Cameras', 'Coverage']);
    assert.equal(await page.getByRole('button', { name: /Restart/ }).count(), 0);
    assert.deepEqual(dashboard.problems, []);
  });
});
