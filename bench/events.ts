/**
 * From a machine's event to its clip, over MQTT: events of four cameras, shuffled, a third of them late, a fifth sent twice,
 * with a restart of Node-RED and an outage of the broker in the middle. The frames carry the time at which they were sent.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { connectAsync } from 'mqtt';
import { Catalog } from '../engine/catalog/catalog.ts';
import { capture, TAB } from '../test/support/flow.ts';
import { addFootage } from '../test/support/footage.ts';
import { readFrames } from '../test/support/frames.ts';
import { Listener, Mosquitto, until } from '../test/support/mosquitto.ts';
import type { FlowNode } from '../test/support/node-red.ts';
import { FRAME_MS, Rig } from '../test/support/rig.ts';
import { stampedMedia } from '../test/support/stamped-media.ts';
import { check, progress, type BenchResult } from './measure.ts';
import type { Options } from './run.ts';

const CAMERAS = ['cam1', 'cam2', 'cam3', 'cam4'];
const FILE_MS = 60_000;
const GOP_MS = 1000;
const PRE_MS = 5000;
const POST_MS = 3000;
/** Between what is seeded and the first live picture, no event asks for footage. */
const SEAM_MS = 30_000;
const SITE = 'bench';

interface Planned {
  id: string;
  camera: string;
  /** When it is published, after the start of it all. */
  atMs: number;
  /** How long before that it happened. */
  lateMs: number;
  /** Published once more, so long after. */
  againMs: number | null;
}

interface Sent extends Planned {
  sourceTime: number;
  sentMs: number;
}

interface Clip {
  id: string;
  correlationId: string;
  file: string | null;
  coverage: { gaps: { start: number; end: number; cause: string }[] } | null;
}

/** The same every time. */
function plan(count: number, spreadMs: number, pastMs: number): Planned[] {
  const mix = (i: number, by: number): number => ((i * by + 12_345) % 7919) / 7919;
  return Array.from({ length: count }, (_, i) => {
    const late = i % 3 === 0;
    return {
      id: `order-${i}`,
      camera: CAMERAS[i % CAMERAS.length]!,
      atMs: Math.round(mix(i, 4127) * spreadMs),
      lateMs: late
        ? SEAM_MS + spreadMs + Math.round(mix(i, 2741) * (pastMs - 2 * SEAM_MS))
        : Math.round(mix(i, 97) * 300),
      againMs: i % 5 === 1 ? Math.round(mix(i, 331) * 4000) : null,
    };
  });
}

/** Footage up to `end`, of all cameras; the last but one minute of the first camera is missing. */
async function seed(storage: string, end: number, minutes: number): Promise<{ start: number; end: number }> {
  const start = end - minutes * FILE_MS;
  const media = await stampedMedia(start, minutes * 60);
  const gap = { start: end - 2 * FILE_MS, end: end - FILE_MS };
  const catalog = Catalog.open(join(storage, 'catalog.sqlite'));
  try {
    for (const camera of CAMERAS) {
      const files = addFootage(catalog, storage, media, { camera, startMs: start, segmentMs: FILE_MS });
      if (camera !== CAMERAS[0]) continue;
      for (const { path } of files.filter(({ startMs }) => Math.abs(startMs - gap.start) < 1000)) {
        catalog.dropSegment(storage, path);
        await rm(join(storage, path));
      }
      catalog.openGap({ id: 1, camera, stream: 'main', ...gap, cause: 'camera-offline' });
    }
  } finally {
    catalog.close();
  }
  return gap;
}

function flow(rig: Rig, port: number): FlowNode[] {
  const nodes: Omit<FlowNode, 'z'>[] = [
    {
      ...{ id: 'plant-in', type: 'mqtt in', topic: 'plant/event', qos: '1', datatype: 'json', broker: 'plant-broker' },
      ...{ nl: false, rap: true, rh: 0, inputs: 0, wires: [['bench-index']] },
    },
    {
      ...{ id: 'bench-index', type: 'event-index', nvr: 'nvr-store', preRoll: 5, postRoll: 3, hold: 1, clock: 'trust' },
      ...{ clockOffset: 0, deadband: 0, keep: 400, wires: [['bench-clips'], []] },
    },
    {
      ...{
        id: 'bench-clips',
        type: 'clip-notify',
        nvr: 'nvr-store',
        mqtt: 'bench-bridge',
        stream: 'main',
        shape: 'plain',
      },
      ...{ preview: false, small: 0, pre: 5, post: 3, wires: [[], ['capture-delivery'], []] },
    },
  ];
  return [
    ...rig.flow(),
    ...capture('delivery'),
    ...nodes.map((node) => ({ ...node, z: TAB }) as FlowNode),
    {
      ...{ id: 'plant-broker', type: 'mqtt-broker', broker: '127.0.0.1', port: `${port}`, clientid: 'plant-side' },
      ...{
        autoConnect: true,
        autoUnsubscribe: false,
        usetls: false,
        protocolVersion: '4',
        keepalive: '60',
        cleansession: false,
      },
    },
    {
      ...{ id: 'bench-bridge', type: 'nvr-mqtt', nvr: 'nvr-store', url: `mqtt://127.0.0.1:${port}`, version: '5' },
      ...{ site: SITE, homeAssistant: false, prefix: '', commands: 'off' },
    },
  ];
}

export default async function events(options: Options): Promise<BenchResult> {
  const seconds = options.seconds ?? 500;
  const [count, spreadMs, minutes, outageMs] = options.short
    ? [60, 20_000, 6, 4000]
    : [seconds * 2, seconds * 1000, Math.ceil(seconds / 60) + 61, Math.min(20_000, seconds * 100)];
  const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-events-'));
  const broker = await Mosquitto.start([
    'allow_anonymous true',
    'persistence true',
    'persistence_location {folder}/',
    'max_queued_messages 0',
  ]);
  const rig = await Rig.create({
    cameras: Object.fromEntries(CAMERAS.map((name) => [name, { main: { size: 'sub' as const } }])),
    ...{ storage: join(folder, 'nvr'), recorder: { segment: 60 } },
  });
  const publisher = await connectAsync(broker.url, { reconnectPeriod: 200, clientId: 'plc' });
  const subscriber = await Listener.connect(broker.url, `nvr/${SITE}/clip`, {
    ...{ clientId: 'mes', clean: false, properties: { sessionExpiryInterval: 3600 } },
  });
  // By when it came: the listener does not keep that.
  const arrived = new Map<string, number>();
  let copies = 0;
  subscriber.client.on('message', (_topic, payload) => {
    const { correlationId } = JSON.parse(payload.toString()) as Clip;
    if (arrived.has(correlationId)) copies++;
    else arrived.set(correlationId, Date.now());
  });
  try {
    progress(`${minutes} minutes of footage are made`);
    const seeded = Math.floor(Date.now() / 1000) * 1000;
    const gap = await seed(rig.storage, seeded, minutes);
    await rig.red.deploy(flow(rig, broker.port));
    await rig.recordingSince(0);
    await wait(PRE_MS + 2000);
    rig.red.measureLoopDelay();
    progress(`${count} events in ${spreadMs / 1000} s`);
    const began = Date.now();
    // Time that is late enough lies in what was seeded.
    const planned = plan(count, spreadMs, minutes * FILE_MS);
    const troubles: [from: number, to: number][] = [];
    const trouble = async (atMs: number, cause: () => Promise<void>): Promise<void> => {
      await wait(atMs);
      const from = Date.now();
      await cause();
      troubles.push([from, Date.now()]);
    };
    const sent: Sent[] = [];
    const publish = async (event: Planned): Promise<void> => {
      await wait(event.atMs);
      const sentMs = Date.now();
      const base = event.lateMs > 1000 ? Math.min(sentMs - event.lateMs, seeded - SEAM_MS / 2) : sentMs - event.lateMs;
      const sourceTime = Math.max(base, seeded - minutes * FILE_MS + PRE_MS + GOP_MS);
      sent.push({ ...event, sentMs, sourceTime });
      const payload = JSON.stringify({
        ...{ type: 'external', source: 'line-1', sourceTime, correlationId: event.id, cameras: [event.camera] },
        ...{ preMs: PRE_MS, postMs: POST_MS, label: 'torque out of range', severity: 'error' },
        tags: [{ name: 'torque', value: 41.5, unit: 'Nm' }],
      });
      await publisher.publishAsync('plant/event', payload, { qos: 1 });
      if (event.againMs === null) return;
      await wait(event.againMs);
      await publisher.publishAsync('plant/event', payload, { qos: 1 });
    };
    await Promise.all([
      ...planned.map(publish),
      trouble(spreadMs * 0.35, async () => {
        await rig.red.stop();
        await rig.red.start();
        rig.red.measureLoopDelay();
      }),
      trouble(spreadMs * 0.7, async () => {
        broker.signal('SIGTERM');
        await wait(outageMs);
        await broker.start();
      }),
    ]);
    progress('the last clips');
    await until(`${count} clips`, () => arrived.size >= count, 60_000).catch((error: unknown) =>
      progress(String(error)),
    );
    await wait(2000);
    const loop = await rig.red.loopDelay();
    const { rows, distinct } = rig.catalog((db) => ({
      rows: db.prepare("SELECT count(*) FROM event WHERE type = 'external'").pluck().get() as number,
      distinct: db
        .prepare("SELECT count(DISTINCT correlation_id) FROM event WHERE type = 'external'")
        .pluck()
        .get() as number,
    }));
    const clips = new Map<string, Clip[]>();
    for (const clip of subscriber.json(`nvr/${SITE}/clip`) as unknown as Clip[]) {
      clips.set(clip.correlationId, [...(clips.get(clip.correlationId) ?? []), clip]);
    }
    const wrong = { id: 0, start: 0, end: 0, coverage: 0, none: 0 };
    const delays: { ms: number; disturbed: boolean }[] = [];
    for (const event of sent) {
      const [clip, ...more] = clips.get(event.id) ?? [];
      if (!clip) continue;
      if (more.some(({ id }) => id !== clip.id)) wrong.id++;
      const wanted = { start: event.sourceTime - PRE_MS, end: event.sourceTime + POST_MS };
      const cut =
        event.camera === CAMERAS[0]
          ? { start: Math.max(wanted.start, gap.start), end: Math.min(wanted.end, gap.end) }
          : null;
      const missing = cut ? Math.max(0, cut.end - cut.start) : 0;
      const told = (clip.coverage?.gaps ?? []).reduce((sum, { start, end }) => sum + end - start, 0);
      // The recorder's own seams are told as well: a restart of Node-RED is a gap of its own.
      const restarted = troubles.some(([from, to]) => wanted.start < to + 5000 && wanted.end > from - 1000);
      if (Math.abs(told - missing) > 50 && !restarted) wrong.coverage++;
      // When the last picture that it needs was filmed; a GOP is on disk when the next one begins.
      const ready = Math.max(event.sentMs, wanted.end + GOP_MS);
      const disturbed = troubles.some(([from, to]) => arrived.get(event.id)! > from && ready < to + 3000);
      delays.push({ ms: arrived.get(event.id)! - ready, disturbed });
      if (clip.file === null) {
        if (missing < wanted.end - wanted.start - GOP_MS && !restarted) wrong.none++;
        continue;
      }
      if (missing > 0 || restarted) continue;
      const stamps = await readFrames(clip.file);
      const [first, last] = [stamps[0]?.sentMs ?? Infinity, stamps.at(-1)?.sentMs ?? 0];
      if (first > wanted.start || first < wanted.start - GOP_MS - 2 * FRAME_MS) wrong.start++;
      if (last < wanted.end) {
        wrong.end++;
        progress(`${event.id} of ${event.camera} ends ${Math.round(wanted.end - last)} ms early`);
      }
    }
    const p95 = (values: number[]): number =>
      values.sort((a, b) => a - b)[Math.floor(values.length * 0.95)] ?? Infinity;
    return {
      checks: [
        check('events indexed', rows, 'events', count, 'atLeast'),
        check('events indexed twice', rows - distinct, 'events', 0),
        check('events without a clip', count - arrived.size, 'events', 0),
        check('clips delivered under two ids', wrong.id, 'clips', 0),
        check('clips that begin late, or a GOP early', wrong.start, 'clips', 0),
        check('clips that end early', wrong.end, 'clips', 0),
        check('clips that should be there', wrong.none, 'clips', 0),
        check('clips with wrong coverage', wrong.coverage, 'clips', 0),
        check(
          'from footage on disk to published clip, p95, undisturbed',
          p95(delays.filter(({ disturbed }) => !disturbed).map(({ ms }) => ms)),
          ...(['ms', 2000] as const),
        ),
        check('event loop delay p99', loop.p99Ms, 'ms', 20),
      ],
      details: {
        p95AllMs: p95(delays.map(({ ms }) => ms)),
        undisturbed: delays.filter(({ disturbed }) => !disturbed).length,
        copies,
        troubleMs: troubles.map(([from, to]) => to - from),
        seconds: (Date.now() - began) / 1000,
      },
    };
  } finally {
    await subscriber.close();
    await publisher.endAsync(true);
    await rig.dispose();
    await broker.dispose();
    await rm(folder, { recursive: true, force: true });
  }
}
