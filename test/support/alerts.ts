/** A Node-RED with a dashboard of the alerts and the system widget, and a catalogue full of alerts. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import Sqlite from 'better-sqlite3';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { Catalog } from '../../engine/catalog/catalog.ts';
import { recordOf } from '../../engine/events/event-row.ts';
import { ROWS_PER_MS, wordsOf } from '../../engine/events/words.ts';
import { addFootage } from './footage.ts';
import { capture, entrance, tab, TAB } from './flow.ts';
import type { FlowNode, NodeRed } from './node-red.ts';

export const CAMERAS = { front: 'Front door', yard: 'Yard', gate: 'Gate', hall: 'Hall 3' } as const;
const IDS = Object.keys(CAMERAS) as (keyof typeof CAMERAS)[];
const DAY_MS = 86_400_000;

export interface Seed {
  alerts: number;
  /** The newest of them. */
  until: number;
  /** Milliseconds from one to the next. */
  every: number;
}

/** What the alert with this number is: 0 is the newest. */
export function alertOf(number: number, { until, every }: Seed) {
  const camera = IDS[number % IDS.length]!;
  const start = until - number * every;
  const base = { id: `alert-${number}`, camera, source: null, start, end: start + 4000 + (number % 9) * 3500 };
  if (number % 97 === 5) {
    const data = {
      label: 'Emergency stop',
      severity: 'critical',
      tags: [{ name: 'pressure', value: 7.5, unit: 'bar' }],
    };
    return { ...base, type: 'external', data };
  }
  if (number % 41 === 7)
    return { ...base, type: 'external', data: { label: 'Door forced', severity: 'error', zones: ['dock'] } };
  if (number % 23 === 3)
    return { ...base, type: 'onvif-event', data: { label: 'Line crossed', severity: 'warning', zones: ['fence'] } };
  return {
    ...base,
    type: 'motion',
    data: { score: 0.4 + (number % 50) / 100, zones: number % 3 === 0 ? ['driveway'] : [] },
  };
}

/**
 * Alerts, straight into the catalogue of a Node-RED that does not run yet: the rows that EventStore writes, without what it
 * asks for each of them.
 */
export function seedAlerts(userDir: string, of: Seed): void {
  const storage = join(userDir, 'nvr');
  mkdirSync(storage, { recursive: true });
  const file = join(storage, 'catalog.sqlite');
  Catalog.open(file).close();
  const db = new Sqlite(file);
  try {
    db.pragma('synchronous = off');
    const add = db.prepare(
      `INSERT INTO event (row, id, type, camera_id, source, start_ms, end_ms, data, indexed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)`,
    );
    const find = db.prepare('INSERT INTO event_words (rowid, words) VALUES (CAST(? AS INTEGER), ?)');
    const link = db.prepare(
      'INSERT INTO event_camera (event, camera_id, motion, start_ms, end_ms) VALUES (?, ?, ?, ?, ?)',
    );
    const camera = db.prepare('INSERT INTO camera (key) VALUES (?) RETURNING id').pluck();
    db.transaction(() => {
      const numbers = new Map(IDS.map((id) => [id, camera.get(id) as number]));
      for (let number = of.alerts - 1; number >= 0; number--) {
        const { id, type, camera: on, source, start, end, data } = alertOf(number, of);
        const row = start * ROWS_PER_MS;
        const text = JSON.stringify({ ...data, cameras: [on] });
        add.run(row, id, type, numbers.get(on), source, start, end, text);
        const record = recordOf({ row, id, type, source, correlation: null, node: null, start, end, data: text });
        find.run(row, wordsOf(record));
        link.run(row, numbers.get(on), type === 'motion' ? 1 : 0, start, end);
      }
    })();
  } finally {
    db.close();
  }
}

/**
 * A month of recordings with gaps, and footage around the newest alert of one camera. When Node-RED runs: at its start it
 * would look for the files.
 */
export function seedFootage(userDir: string, of: Seed, media: Buffer): void {
  const storage = join(userDir, 'nvr');
  const catalog = Catalog.open(join(storage, 'catalog.sqlite'));
  try {
    addFootage(catalog, storage, media, { camera: 'front', startMs: of.until - 10_000, segmentMs: 30_000 });
    const today = Math.floor(of.until / DAY_MS) * DAY_MS;
    catalog.transaction(() => {
      const gap = catalog.sql(
        "INSERT INTO gap (camera_id, stream, start_ms, end_ms, cause) SELECT id, 'main', ?, ?, ? FROM camera WHERE key = ?",
      );
      const file = catalog.sql(
        `INSERT INTO segment (camera_id, stream, storage_id, path, start_ms, end_ms, start_ticks, bytes, state)
         SELECT id, 'main', 1, ?, ?, ?, 0, 50000000, 'closed' FROM camera WHERE key = ?`,
      );
      for (const [which, camera] of IDS.entries()) {
        for (let day = 1; day <= 29; day++) {
          const start = today - day * DAY_MS;
          for (let hour = 0; hour < 24; hour++) {
            const [from, to] = [start + hour * 3_600_000, start + (hour + 1) * 3_600_000];
            const lost = (day * 7 + which * 11 + hour) % 131 === 0 || (which === 2 && day === 9 && hour < 15);
            if (lost) gap.run(from, to, which % 2 === 0 ? 'camera-offline' : 'storage-slow', camera);
            else if ((day + which + hour) % 37 === 0) {
              file.run(`${camera}/${from}`, from, to - 20_000, camera);
              gap.run(to - 20_000, to, 'stalled', camera);
            } else file.run(`${camera}/${from}`, from, to, camera);
          }
        }
      }
    });
  } finally {
    catalog.close();
  }
}

export interface FlowOptions {
  access: 'view' | 'control' | 'admin';
  dark?: boolean;
}

export function flow({ access, dark = false }: FlowOptions): FlowNode[] {
  const page = (name: string, order: number): FlowNode[] => [
    {
      ...{
        id: `page-${name}`,
        type: 'ui-page',
        name,
        ui: 'ui',
        path: `/${name}`,
        icon: 'home',
        layout: 'grid',
        theme: 'theme',
      },
      ...{ order, className: '', visible: 'true', disabled: 'false' },
      breakpoints: [
        { name: 'Default', px: '0', cols: '3' },
        { name: 'Desktop', px: '768', cols: '12' },
      ],
    },
    {
      ...{ id: `group-${name}`, type: 'ui-group', name, page: `page-${name}`, width: '12', height: '1', order: 1 },
      ...{ showTitle: false, className: '', visible: 'true', disabled: 'false', groupType: 'default' },
    },
    {
      ...{
        id: `widget-${name}`,
        type: `ui-nvr-${name}`,
        z: TAB,
        name: '',
        nvr: 'store',
        group: `group-${name}`,
        order: 1,
      },
      ...{ width: 12, height: 16, className: '', wires: [[`capture-${name}`]] },
    },
    ...capture(name),
    ...entrance(`to-${name}`, [`widget-${name}`]),
  ];
  const colors = dark
    ? { surface: '#10141c', primary: '#4c9bff', bgPage: '#0b0e14', groupBg: '#141a24', groupOutline: '#222b39' }
    : { surface: '#ffffff', primary: '#0b66c3', bgPage: '#eef1f5', groupBg: '#ffffff', groupOutline: '#dde3ea' };
  return [
    ...tab(),
    {
      ...{
        id: 'store',
        type: 'nvr-config',
        name: 'Store',
        storage: 'nvr',
        catalog: '',
        httpPath: 'nvr',
        openToNetwork: true,
        ffmpegPath: '',
      },
      dashboardAccess: access,
    },
    ...IDS.slice(0, 2).map((camera, i) => ({
      ...{
        id: `source-${camera}`,
        type: 'camera-source',
        z: TAB,
        name: CAMERAS[camera],
        nvr: 'store',
        camera,
        subUrl: '',
      },
      ...{
        url: `lavfi:testsrc2=size=320x180:rate=${5 + i * 5}`,
        transport: 'tcp',
        audio: false,
        wires: [['record'], []],
      },
    })),
    ...['gate', 'hall'].map((camera) => ({
      ...{
        id: `source-${camera}`,
        type: 'camera-source',
        z: TAB,
        name: CAMERAS[camera as 'gate'],
        nvr: 'store',
        camera,
      },
      ...{ url: 'rtsp://127.0.0.1:9/main', subUrl: '', transport: 'tcp', audio: false, wires: [[], []] },
    })),
    {
      ...{ id: 'index', type: 'event-index', z: TAB, name: '', nvr: 'store', preRoll: 2, postRoll: 2, hold: 0 },
      ...{ clock: 'trust', clockOffset: 0, deadband: 0, keep: 400, wires: [[], []] },
    },
    ...entrance('event', ['index']),
    {
      ...{
        id: 'record',
        type: 'recorder',
        z: TAB,
        name: '',
        nvr: 'store',
        mode: 'continuous',
        streams: 'main',
        preRoll: 5,
      },
      ...{ postRoll: 10, segment: 60, schedule: [], wires: [[], []] },
    },
    {
      ...{
        id: 'keep',
        type: 'retention',
        z: TAB,
        name: '',
        nvr: 'store',
        storages: [],
        total: '',
        minFree: '',
        veto: '',
      },
      rules: [
        ...[
          { cameras: 'front', continuous: '400 d', quota: '36 GB' },
          { cameras: '', continuous: '400 d', quota: '2 TB' },
        ],
      ].map((rule) => ({ ...rule, motion: '', event: '', thinAfter: '', thinKeep: 'motion' })),
      wires: [[], [], []],
    },
    ...entrance('keep', ['keep']),
    {
      ...{ id: 'say', type: 'function', z: TAB, outputs: 0, wires: [] },
      func: 'for (let i = 0; i < msg.count; i++) node[i % 50 === 7 ? "error" : i % 9 === 4 ? "warn" : "log"]("line " + i + " of the test");',
    },
    ...entrance('say', ['say']),
    {
      ...{ id: 'ui', type: 'ui-base', name: 'Test', path: '/dashboard', appIcon: '', includeClientData: true },
      ...{ acceptsClientConfig: [], showPathInSidebar: false, headerContent: 'page', navigationStyle: 'default' },
      ...{ titleBarStyle: 'default', showReconnectNotification: false, notificationDisplayTime: 1 },
      ...{ showDisconnectNotification: false, allowInstall: false },
    },
    {
      ...{ id: 'theme', type: 'ui-theme', name: 'Test', colors },
      sizes: { density: 'compact', pagePadding: '12px', groupGap: '12px', groupBorderRadius: '8px', widgetGap: '12px' },
    },
    ...page('alerts', 1),
    ...page('system', 2),
  ];
}

const ARGS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'],
];

export class Dashboard {
  readonly problems: string[] = [];
  private readonly browser: Browser;
  private readonly red: NodeRed;

  private constructor(browser: Browser, red: NodeRed) {
    this.browser = browser;
    this.red = red;
  }

  static async open(red: NodeRed): Promise<Dashboard> {
    return new Dashboard(await chromium.launch({ executablePath: '/usr/bin/chromium', args: ARGS }), red);
  }

  /** A page of the dashboard in a browser profile of its own. */
  async page(name: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await this.browser.newContext({
      ...{ viewport: { width: 1440, height: 900 }, locale: 'en-GB', timezoneId: 'Europe/Berlin' },
      ...options,
    });
    const page = await context.newPage();
    page.on('pageerror', (error) => this.problems.push(String(error)));
    await page.goto(`${this.red.url}/dashboard/${name}`);
    return page;
  }

  async close(): Promise<void> {
    await this.browser.close();
  }
}
