/** A Node-RED with FlowFuse Dashboard, a page with one widget of ours, and a Chromium that looks at it. */
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { capture, entrance, tab, TAB } from './flow.ts';
import { NodeRed, type FlowNode } from './node-red.ts';

const DASHBOARD = '@flowfuse/node-red-dashboard';
const ARGS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
  // A page that is measured is not in the background.
  '--disable-renderer-backgrounding',
];

const COLOURS = {
  light: { surface: '#ffffff', primary: '#0d74ce', bgPage: '#eef1f5', groupBg: '#ffffff', groupOutline: '#d8dde4' },
  dark: { surface: '#14181f', primary: '#4c9df0', bgPage: '#0b0e13', groupBg: '#14181f', groupOutline: '#2a313c' },
};

/** A Node-RED whose user has Dashboard installed; nothing runs yet. */
export async function createWithDashboard(): Promise<NodeRed> {
  const red = await NodeRed.create();
  const folder = dirname(createRequire(import.meta.url).resolve(`${DASHBOARD}/package.json`));
  const link = join(red.userDir, 'node_modules', DASHBOARD);
  await mkdir(dirname(link), { recursive: true });
  await symlink(folder, link, 'dir');
  const file = join(red.userDir, 'package.json');
  const manifest = JSON.parse(await readFile(file, 'utf8')) as { dependencies: Record<string, string> };
  manifest.dependencies[DASHBOARD] = '*';
  await writeFile(file, JSON.stringify(manifest));
  return red;
}

/** One page that shows one widget; what it sends goes to the capture `widget`, what the entrance `widget` gets to it. */
export function widgetFlow(
  type: string,
  storage: string,
  options: { theme?: keyof typeof COLOURS; height?: number; properties?: Record<string, unknown> } = {},
): FlowNode[] {
  const { theme = 'light', height = 15, properties = {} } = options;
  const sizes = { density: 'compact', pagePadding: '8px', groupGap: '8px', groupBorderRadius: '8px', widgetGap: '8px' };
  return [
    ...tab(),
    {
      ...{ id: 'nvr-store', type: 'nvr-config', name: 'NVR', storage, catalog: '', httpPath: 'nvr', ffmpegPath: '' },
      openToNetwork: true,
    },
    {
      id: 'db-base',
      type: 'ui-base',
      name: 'NVR',
      path: '/dashboard',
      includeClientData: true,
      showPathInSidebar: false,
    },
    { id: 'db-theme', type: 'ui-theme', name: 'Theme', colors: COLOURS[theme], sizes },
    {
      ...{
        id: 'db-page',
        type: 'ui-page',
        name: 'Page',
        ui: 'db-base',
        path: '/page-one',
        layout: 'grid',
        theme: 'db-theme',
      },
      ...{ order: 1, className: '', visible: true, disabled: false, icon: 'home' },
      breakpoints: [{ name: 'Default', px: '0', cols: '12' }],
    },
    {
      ...{ id: 'db-group', type: 'ui-group', name: 'Group', page: 'db-page', width: 12, height: 1, order: 1 },
      ...{ showTitle: false, className: '', visible: true, disabled: false },
    },
    {
      ...{ id: 'the-widget', type, z: TAB, name: '', nvr: 'nvr-store', group: 'db-group', order: 1, width: 12, height },
      ...properties,
      wires: [['capture-widget']],
    },
    ...capture('widget'),
    ...entrance('widget', ['the-widget']),
  ];
}

export class DashboardPage {
  readonly page: Page;
  /** What went wrong in the page. */
  readonly problems: string[] = [];
  private readonly browser: Browser;

  private constructor(browser: Browser, page: Page) {
    this.browser = browser;
    this.page = page;
    page.on('pageerror', (error) => this.problems.push(error.stack ?? error.message));
    page.on('console', (message) => {
      // Failed requests are told by who asked.
      if (message.type() === 'error' && !/Failed to load resource/.test(message.text()))
        this.problems.push(message.text());
    });
  }

  static async open(
    red: NodeRed,
    options: BrowserContextOptions = { viewport: { width: 1500, height: 900 } },
    args: string[] = [],
  ): Promise<DashboardPage> {
    const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: [...ARGS, ...args] });
    try {
      const page = await browser.newPage({ locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
      const opened = new DashboardPage(browser, page);
      await page.goto(`${red.url}/dashboard/page-one`);
      return opened;
    } catch (error) {
      await browser.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.browser.close();
  }
}
