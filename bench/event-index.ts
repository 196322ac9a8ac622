/**
 * The event index: 200 events a second through a real Node-RED into a catalogue that holds a million, then pages of them by
 * every filter, alone and together, also where nothing is to be found.
 */
import { closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { Catalog } from '../engine/catalog/catalog.ts';
import { recordOf } from '../engine/events/event-row.ts';
import { ROWS_PER_MS, wordsOf } from '../engine/events/words.ts';
import { capture, entrance, tab, TAB } from '../test/support/flow.ts';
import { NodeRed } from '../test/support/node-red.ts';
import { check, progress, type BenchResult } from './measure.ts';
import { Random } from './motion/random.ts';
import type { Options } from './run.ts';

const EVENTS = 1_000_000;
const CAMERAS = 20;
const DAY_MS = 86_400_000;
const SPAN_MS = 300 * DAY_MS;
const PER_SECOND = 200;
const MAX_PAGE_MS = 30;

const nameOf = (camera: number): string => `cam${`${camera + 1}`.padStart(2, '0')}`;

/** Half of motion, half of a factory's machines. Written as the index writes them, but for the triggers of files. */
function fill(file: string, end: number): void {
  const catalog = Catalog.open(file);
  const { db } = catalog;
  db.pragma('synchronous = OFF');
  const random = new Random(5);
  const next = (): number => random.next();
  const pick = (of: number): number => Math.floor(next() * of);
  for (let camera = 0; camera < CAMERAS; camera++) {
    db.prepare('INSERT INTO camera (id, key) VALUES (?, ?)').run(camera + 1, nameOf(camera));
  }
  const trigger = db.prepare("SELECT sql FROM sqlite_master WHERE name = 'event_linked'").pluck().get() as string;
  db.exec('DROP TRIGGER event_linked');
  const add = db.prepare(
    `INSERT INTO event (row, id, type, camera_id, source, correlation_id, node, start_ms, end_ms, data, indexed)
     VALUES (?, ?, ?, ?, ?, ?, 'old', ?, ?, ?, 1)`,
  );
  const link = db.prepare(
    'INSERT INTO event_camera (camera_id, motion, start_ms, end_ms, event) VALUES (?, ?, ?, ?, ?)',
  );
  const word = db.prepare('INSERT INTO event_words (rowid, words) VALUES (CAST(? AS INTEGER), ?)');
  const start = end - SPAN_MS;
  const step = SPAN_MS / EVENTS;
  for (let from = 0; from < EVENTS; from += 20_000) {
    db.transaction(() => {
      for (let i = from; i < from + 20_000; i++) {
        const motion = next() < 0.5;
        const camera = pick(CAMERAS);
        const at = Math.floor(start + i * step);
        const acknowledged = next() < 0.3 ? { acknowledged: { who: 'me', at } } : {};
        const own = motion
          ? {
              ...{ score: next(), zones: next() < 0.3 ? [] : [`zone ${pick(8)}`] },
              boxes: [{ x: next() * 0.8, y: next() * 0.8, width: 0.1 + next() * 0.1, height: 0.1 + next() * 0.1 }],
            }
          : {
              ...{
                label: `fault ${pick(12)}`,
                severity: (['info', 'warning', 'error', 'critical'] as const)[pick(4)]!,
              },
              tags: [
                { name: 'station', value: pick(50) },
                { name: 'order', value: `A-${pick(200_000)}` },
              ],
            };
        const data = JSON.stringify({
          cameras: [nameOf(camera)],
          preMs: 5000,
          postMs: 10_000,
          ...acknowledged,
          ...own,
        });
        const row = at * ROWS_PER_MS;
        const type = motion ? 'motion' : 'external';
        const [source, correlation] = motion ? ['n', null] : [`plc ${pick(10)}`, `${i}`];
        add.run(row, `old-${i}`, type, camera + 1, source, correlation, at, at + 5000, data);
        link.run(camera + 1, motion ? 1 : 0, at - 5000, at + 15_000, row);
        const columns = {
          row,
          id: `old-${i}`,
          type,
          source,
          correlation,
          node: 'old',
          start: at,
          end: at + 5000,
          data,
        };
        word.run(row, wordsOf(recordOf(columns)));
      }
    })();
  }
  db.exec(trigger);
  db.pragma('wal_checkpoint(TRUNCATE)');
  catalog.close();
  // Or the first who asks for his own to be on disk waits for a gigabyte.
  const fd = openSync(file, 'r+');
  fsyncSync(fd);
  closeSync(fd);
}

/** Every 50 ms what is due; counts what went in, what was done, and what came out. */
const SOURCE = `
  if (msg.report) { return [null, { ...flow.get('counts') }]; }
  if (msg.payload?.phase) {
    if (msg.payload.phase === 'indexed') flow.get('counts').indexed++;
    return null;
  }
  if (msg.isDone) { flow.get('counts').done++; return null; }
  const counts = { sent: 0, indexed: 0, done: 0 };
  flow.set('counts', counts);
  const from = Date.now();
  const timer = setInterval(() => {
    const due = Math.min(msg.total, Math.floor((Date.now() - from) / 1000 * msg.rate));
    for (; counts.sent < due; counts.sent++) {
      node.send([{ payload: { type: 'external', source: 'plc ' + counts.sent % 10, correlationId: 'new-' + counts.sent,
        sourceTime: Date.now() - 50, cameras: ['cam' + String(1 + counts.sent % 20).padStart(2, '0')], label: 'fault ' + counts.sent % 12,
        severity: 'error', tags: { station: counts.sent % 50, order: 'B-' + counts.sent } } }, null]);
    }
    if (counts.sent >= msg.total) clearInterval(timer);
  }, 50);`;

export default async function eventIndex(options: Options): Promise<BenchResult> {
  const seconds = options.seconds ?? (options.short ? 5 : 30);
  const rounds = options.short ? 20 : 60;
  const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-events-'));
  const red = await NodeRed.create();
  try {
    const file = join(folder, 'catalog.sqlite');
    mkdirSync(folder, { recursive: true });
    const end = Date.now() - 60_000;
    progress(`${EVENTS} events are made`);
    fill(file, end);
    await red.start();
    await red.deploy([
      ...tab(),
      ...capture('counts'),
      ...entrance('source', ['source']),
      {
        ...{
          id: 'nvr-store',
          type: 'nvr-config',
          name: 'NVR',
          storage: folder,
          catalog: file,
          httpPath: 'nvr',
          ffmpegPath: '',
        },
      },
      { id: 'source', type: 'function', z: TAB, func: SOURCE, outputs: 2, wires: [['index'], ['capture-counts']] },
      {
        ...{ id: 'index', type: 'event-index', z: TAB, name: '', nvr: 'nvr-store', preRoll: 5, postRoll: 10, hold: 7 },
        ...{ clock: 'trust', clockOffset: 0, deadband: 0, keep: 400, wires: [['source'], []] },
      },
      { id: 'done', type: 'complete', z: TAB, scope: ['index'], uncaught: false, wires: [['mark']] },
      { id: 'mark', type: 'function', z: TAB, func: 'return { isDone: true };', outputs: 1, wires: [['source']] },
    ]);
    await wait(2000);
    const counts = async (): Promise<{ sent: number; indexed: number; done: number }> => {
      const before = (await red.captured('counts')).length;
      await red.send('source', { report: true });
      for (;;) {
        const found = (await red.captured<{ sent: number; indexed: number; done: number }>('counts'))[before];
        if (found) return found.msg;
        await wait(20);
      }
    };
    progress(`${PER_SECOND} events a second for ${seconds} s`);
    const total = PER_SECOND * seconds;
    red.measureLoopDelay();
    const from = performance.now();
    await red.send('source', { total, rate: PER_SECOND });
    let backlog = 0;
    for (let i = 0; i < seconds; i++) {
      await wait(1000 - ((performance.now() - from) % 1000));
      const { sent, done } = await counts();
      backlog = Math.max(backlog, sent - done);
    }
    await wait(1500);
    const last = await counts();
    const loop = await red.loopDelay();

    const minted = await red.post('/nvr/token', { nvr: 'nvr-store', cameras: '*', rights: ['playback'], minutes: 60 });
    const headers = { Authorization: `Bearer ${(minted as { token: string }).token}` };
    const get = async (path: string): Promise<{ events: unknown[]; cursor: string | null }> => {
      const response = await fetch(`${red.url}/nvr/api/events?${path}`, { headers });
      if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
      return (await response.json()) as { events: unknown[]; cursor: string | null };
    };
    const found: Record<string, number> = {};
    const p95 = async (name: string, path: (i: number) => string): Promise<number> => {
      const times: number[] = [];
      for (let i = -3; i < rounds; i++) {
        const begun = performance.now();
        const page = await get(path(i + 3));
        if (i >= 0) times.push(performance.now() - begun);
        found[name] = page.events.length;
      }
      return times.sort((a, b) => a - b)[Math.floor(times.length * 0.95)] ?? Infinity;
    };
    const until = (i: number): number => Math.floor(end - ((i * 37) % 300) * DAY_MS * 0.99);
    const deep = (i: number): string => Buffer.from(`${until(i)} e${until(i) * ROWS_PER_MS}`).toString('base64url');
    const many = Array.from({ length: 9 }, (_, i) => nameOf(2 * i)).join(',');
    const pages: [string, (i: number) => string][] = [
      ['all', () => ''],
      ['all, from a cursor', (i) => `cursor=${deep(i)}`],
      ['one camera before a time', (i) => `cameras=${nameOf(i % CAMERAS)}&end=${until(i)}`],
      ['nine cameras and a type', (i) => `cameras=${many}&types=motion&end=${until(i)}`],
      ['a zone', (i) => `zones=zone ${i % 8}&end=${until(i)}`],
      ['a label', (i) => `labels=fault ${i % 12}&end=${until(i)}`],
      ['severity, not acknowledged', (i) => `severity=error,critical&acknowledged=false&cursor=${deep(i)}`],
      ['a rare word', (i) => `text=A-${i * 31}`],
      ['common words', (i) => `text=fault station&end=${until(i)}`],
      ['a region', (i) => `region=0.4,0.4,0.1,0.1&end=${until(i)}`],
      [
        'all of it',
        (i) =>
          `cameras=${many}&types=external&labels=fault 3&severity=error&acknowledged=true&text=station ${i % 50}&end=${until(i)}`,
      ],
      ['oldest first', (i) => `order=oldest&types=external&start=${until(i)}`],
      ['nothing: a zone and a label', (i) => `zones=zone ${i % 8}&labels=fault 3`],
      ['nothing: motion with a severity', () => 'types=motion&severity=critical'],
      ['nothing: cameras, a zone and a word', () => `cameras=${many}&zones=zone 1&text=station`],
      ['what begins a word of many', (i) => `text=statio*&end=${until(i)}`],
      ['what begins many words', (i) => `text=1*&end=${until(i)}`],
      ['what begins some words', (i) => `text=${10 + i}*&end=${until(i)}`],
      ['what begins a few words', (i) => `text=${100 + i}*`],
      ['what begins words, with other things', (i) => `text=st* 1*&labels=fault 3&cameras=${many}&end=${until(i)}`],
      ['nothing: what begins many words, and a zone', () => 'text=1*&zones=zone 1'],
      ['nothing: what begins words of the index itself', () => 'text=q*'],
      ['most of the picture', (i) => `region=0,0,1,0.9&end=${until(i)}`],
    ];
    progress('pages are asked for');
    const figures: [string, number][] = [];
    for (const [name, path] of pages) figures.push([name, await p95(name, path)]);
    return {
      checks: [
        check('events stored', last.indexed, 'events', total, 'atLeast'),
        check('most events that waited to be stored', backlog, 'events', PER_SECOND),
        check('event loop delay p99 while they are', loop.p99Ms, 'ms', 20),
        ...figures.map(([name, ms]) => check(`page: ${name}, p95`, ms, 'ms', MAX_PAGE_MS)),
      ],
      details: { seconds, rounds, found, loopMaxMs: loop.maxMs },
    };
  } finally {
    await red.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}
