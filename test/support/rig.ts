/** Cameras, a real Node-RED that records them, and the means to find out what became of every frame. */
import { existsSync } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import Database from 'better-sqlite3';
import type { CameraMessage, GapMessage, RecordingMessage, StreamName } from '../../engine/types.ts';
import { FPS } from './clips.ts';
import { startCameras, type Cameras, type MountOptions, type ServerOptions } from './cameras.ts';
import { blocker, capture, entrance, tab, TAB } from './flow.ts';
import { countFrames, readFrames, type FrameCount, type FrameStamp } from './frames.ts';
import { startImpatientProxy, type ImpatientProxy } from './impatient-proxy.ts';
import { NodeRed, type FlowNode } from './node-red.ts';

export const FRAME_MS = 1000 / FPS;
const RECORDING_TIMEOUT_MS = 30_000;

export interface CameraSetup {
  main: MountOptions;
  sub?: MountOptions;
}

export interface RigOptions {
  cameras: Record<string, CameraSetup>;
  /** Put the proxy that drops frames between Node-RED and the cameras. */
  impatient?: boolean;
  /** Absolute folder; a folder in Node-RED's otherwise. */
  storage?: string;
  recorder?: Record<string, unknown>;
  /** Environment of the Node-RED process. */
  env?: Record<string, string>;
  auth?: ServerOptions['auth'];
  /** With FlowFuse Dashboard. */
  dashboard?: boolean;
}

export interface Stream {
  camera: string;
  stream: StreamName;
}

export interface GapRow extends Stream {
  start: number;
  end: number | null;
  cause: string;
}

export interface SegmentRow extends Stream {
  start: number;
  end: number | null;
  state: string;
}

export type Message<P> = { payload: P; topic: string; camera: string };

export class Rig {
  readonly options: RigOptions;
  readonly cameras: Cameras;
  readonly red: NodeRed;
  readonly proxy: ImpatientProxy | null;
  readonly storage: string;

  private constructor(options: RigOptions, cameras: Cameras, red: NodeRed, proxy: ImpatientProxy | null) {
    this.options = options;
    this.cameras = cameras;
    this.red = red;
    this.proxy = proxy;
    this.storage = options.storage ?? join(red.userDir, 'nvr');
  }

  /** Everything runs; nothing is recorded yet. */
  static async create(options: RigOptions): Promise<Rig> {
    const mounts: Record<string, MountOptions> = {};
    for (const [name, { main, sub }] of Object.entries(options.cameras)) {
      mounts[`${name}-main`] = main;
      if (sub)
        mounts[`${name}-sub`] = {
          ...sub,
          ...(main.user === undefined ? {} : { user: main.user, password: main.password ?? '' }),
        };
    }
    const [cameras, red] = await Promise.all([
      startCameras(mounts, options.auth ? { auth: options.auth } : {}),
      NodeRed.create({ ...(options.env ? { env: options.env } : {}), dashboard: options.dashboard ?? false }),
    ]);
    const proxy = options.impatient ? await startImpatientProxy(cameras.port) : null;
    const rig = new Rig(options, cameras, red, proxy);
    try {
      await red.start();
    } catch (error) {
      await rig.dispose();
      throw error;
    }
    return rig;
  }

  /** As `create`, then deploys and waits until every stream is being written. */
  static async recording(options: RigOptions): Promise<Rig> {
    const rig = await Rig.create(options);
    try {
      await rig.red.deploy(rig.flow());
      await rig.recordingSince(0);
    } catch (error) {
      await rig.dispose();
      throw error;
    }
    return rig;
  }

  get streams(): Stream[] {
    return Object.entries(this.options.cameras).flatMap(([camera, { sub }]) => [
      { camera, stream: 'main' as const },
      ...(sub ? [{ camera, stream: 'sub' as const }] : []),
    ]);
  }

  url(camera: string, stream: StreamName): string {
    return this.cameras.url(`${camera}-${stream}`, this.proxy?.port);
  }

  /** Camera sources into one recorder; all their messages are captured under the name of their kind. */
  flow(recorder: Record<string, unknown> = {}): FlowNode[] {
    const sources = Object.entries(this.options.cameras).map(([camera, { main, sub }]): FlowNode => ({
      id: `source-${camera}`,
      type: 'camera-source',
      z: TAB,
      name: camera,
      nvr: 'nvr-store',
      camera,
      url: this.url(camera, 'main'),
      subUrl: sub ? this.url(camera, 'sub') : '',
      transport: 'tcp',
      audio: true,
      ...(main.user === undefined ? {} : { credentials: { username: main.user, password: main.password } }),
      wires: [['recorder-1', 'capture-camera'], ['capture-snapshot']],
    }));
    const both = this.streams.some(({ stream }) => stream === 'sub');
    return [
      ...tab(),
      ...['camera', 'snapshot', 'recording', 'gap'].flatMap(capture),
      ...blocker(),
      ...entrance('recorder', ['recorder-1']),
      ...entrance(
        'source',
        Object.keys(this.options.cameras).map((camera) => `source-${camera}`),
      ),
      {
        id: 'nvr-store',
        type: 'nvr-config',
        name: 'NVR',
        storage: this.storage,
        catalog: '',
        httpPath: 'nvr',
        ffmpegPath: '',
      },
      ...sources,
      {
        id: 'recorder-1',
        type: 'recorder',
        z: TAB,
        name: 'Recorder',
        nvr: 'nvr-store',
        mode: 'continuous',
        streams: both ? 'both' : 'main',
        preRoll: 5,
        postRoll: 10,
        segment: 10,
        schedule: [],
        ...this.options.recorder,
        ...recorder,
        wires: [['capture-recording'], ['capture-gap']],
      },
    ];
  }

  /** Files of one stream, oldest first by their names, or of all. */
  async files(of?: Stream): Promise<string[]> {
    const root = of ? join(this.storage, of.camera) : this.storage;
    try {
      const names = await readdir(root, { recursive: true });
      // Files that begin with the same picture have a number at the end.
      const wanted = new RegExp(of ? `_${of.stream}(_\\d+)?\\.mp4$` : '\\.mp4$');
      return names
        .filter((name) => wanted.test(name))
        .sort()
        .map((name) => join(root, name));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  async frames(of: Stream, changedSinceMs = 0): Promise<FrameStamp[]> {
    const stamps: FrameStamp[] = [];
    for (const file of await this.files(of)) {
      try {
        if (changedSinceMs > 0 && (await stat(file)).mtimeMs < changedSinceMs) continue;
        stamps.push(...(await readFrames(file)));
      } catch (error) {
        // Retention may have deleted it since it was listed.
        if (existsSync(file)) throw error;
      }
    }
    return stamps;
  }

  /** Waits until every stream has on disk a frame sent after that time; returns the latest of their first such frames. */
  async recordingSince(sinceMs: number, timeoutMs = RECORDING_TIMEOUT_MS): Promise<number> {
    const deadline = performance.now() + timeoutMs;
    let latest = 0;
    for (const stream of this.streams) {
      for (;;) {
        const first = (await this.frames(stream, sinceMs)).filter(({ sentMs }) => sentMs > sinceMs)[0];
        if (first) {
          latest = Math.max(latest, first.sentMs);
          break;
        }
        if (performance.now() > deadline || !this.red.running) {
          const { camera, stream: name } = stream;
          throw new Error(`${camera} ${name} is not recorded after ${timeoutMs} ms\n${this.red.log.slice(-3000)}`);
        }
        await wait(100);
      }
    }
    return latest;
  }

  /** Frames of each stream, counted; those missing at the end of a range that should be full count as lost. */
  async count(fromMs = 0, toMs = 0): Promise<Map<string, FrameCount>> {
    const counts = new Map<string, FrameCount>();
    for (const stream of this.streams) {
      const all = await this.frames(stream);
      const stamps = all.filter(({ sentMs }) => sentMs >= fromMs && (toMs === 0 || sentMs <= toMs));
      const count = countFrames(stamps);
      const { first, last } = count;
      // A tick of the server and a frame are no loss at the edges of the range.
      const slack = 2 * FRAME_MS + 20;
      const before = all.findLast(({ sentMs }) => sentMs < fromMs);
      const after = toMs === 0 ? undefined : all.find(({ sentMs }) => sentMs > toMs);
      // Nor is a pause of the server itself: then the numbers go on.
      const between = (a = before, b = after): number => (a && b ? b.number - a.number - 1 : Infinity);
      const atStart = missingFrames((first?.sentMs ?? toMs) - fromMs - slack);
      const atEnd = missingFrames(toMs - (last?.sentMs ?? fromMs) - slack);
      if (fromMs > 0) count.lost += Math.min(atStart, between(before, first ?? after));
      if (toMs > 0) count.lost += Math.min(atEnd, between(last ?? before, after));
      counts.set(`${stream.camera} ${stream.stream}`, count);
    }
    return counts;
  }

  /** Frames lost of all streams together. */
  async lost(fromMs = 0, toMs = 0): Promise<number> {
    return [...(await this.count(fromMs, toMs)).values()].reduce((sum, { lost }) => sum + lost, 0);
  }

  catalog<T>(use: (db: Database.Database) => T): T {
    const db = new Database(join(this.storage, 'catalog.sqlite'), { readonly: true });
    try {
      return use(db);
    } finally {
      db.close();
    }
  }

  gaps(): GapRow[] {
    return this.catalog((db) =>
      db
        .prepare<[], GapRow>(
          'SELECT camera.key AS camera, stream, start_ms AS start, end_ms AS "end", cause FROM gap JOIN camera ON camera.id = camera_id ORDER BY start_ms',
        )
        .all(),
    );
  }

  segments(): SegmentRow[] {
    return this.catalog((db) =>
      db
        .prepare<[], SegmentRow>(
          'SELECT camera.key AS camera, stream, start_ms AS start, end_ms AS "end", state FROM segment JOIN camera ON camera.id = camera_id ORDER BY start_ms',
        )
        .all(),
    );
  }

  waitForGap(test: (gap: GapMessage, at: number) => boolean, timeoutMs: number) {
    return this.red.waitFor<Message<GapMessage>>(
      'gap',
      ({ payload }, at) => test(payload, at),
      timeoutMs,
      'gap message',
    );
  }

  waitForCamera(test: (camera: CameraMessage, at: number) => boolean, timeoutMs: number) {
    const what = 'camera message';
    return this.red.waitFor<Message<CameraMessage>>('camera', ({ payload }, at) => test(payload, at), timeoutMs, what);
  }

  waitForRecording(test: (recording: RecordingMessage, at: number) => boolean, timeoutMs: number) {
    const what = 'recording message';
    return this.red.waitFor<Message<RecordingMessage>>(
      'recording',
      ({ payload }, at) => test(payload, at),
      timeoutMs,
      what,
    );
  }

  async dispose(): Promise<void> {
    await this.red.stop();
    await this.proxy?.stop();
    await this.cameras.stop();
    if (this.options.storage !== undefined && existsSync(this.storage)) {
      // What is in it: the folder itself may be a mount point.
      for (const name of await readdir(this.storage))
        await rm(join(this.storage, name), { recursive: true, force: true });
    }
    await this.red.dispose();
  }
}

const missingFrames = (ms: number): number => Math.max(0, Math.round(ms / FRAME_MS));
