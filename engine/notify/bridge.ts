/** The NVR at a broker: states of its cameras, its events, commands from there, and Home Assistant's discovery. */
import type { EngineHost, EngineHostEvents } from '../engine-host.ts';
import { EngineError, type CameraMessage, type MotionMessage, type RecorderState } from '../types.ts';
import { cameraDiscovery, nvrDiscovery, type DiscoveryOptions } from './home-assistant.ts';
import type { NotifyHost } from './notify-host.ts';
import { cameraRecord, motionRecord, readCommand, topicsOf, type Command, type Topics } from './topics.ts';

const LOOK_MS = 5000;
/** After this all cameras of the flow are there: what an earlier run told of others is removed. */
const SETTLED_MS = 60_000;
/** Pictures of a camera come no closer together. */
const PICTURE_MS = 2000;
/** Motion whose end was missed is over some time. */
const MAX_ACTIVE = 50;

export interface BridgeOptions {
  channel: string;
  site: string;
  commands: boolean;
  /** Null: not told. */
  homeAssistant: DiscoveryOptions | null;
}

type Host = Pick<
  EngineHost,
  'on' | 'off' | 'cameraMessages' | 'recorderStates' | 'commandRecorder' | 'still' | 'snapshot'
>;

interface Known {
  /** All that is retained of it. */
  topics: Set<string>;
  motion: Set<string>;
  pictureMs: number;
}

export class Bridge {
  private readonly host: Host;
  private readonly notify: Pick<NotifyHost, 'call' | 'setState' | 'pruneStates' | 'on' | 'off'>;
  private readonly options: BridgeOptions;
  private readonly topics: Topics;
  private readonly warn: (message: string) => void;
  private readonly cameras = new Map<string, Known>();
  /** What is retained of the NVR as a whole. */
  private readonly own = new Set<string>();
  private readonly timers: NodeJS.Timeout[] = [];

  constructor(
    host: Host,
    notify: Pick<NotifyHost, 'call' | 'setState' | 'pruneStates' | 'on' | 'off'>,
    options: BridgeOptions,
    warn: (message: string) => void,
  ) {
    this.host = host;
    this.notify = notify;
    this.options = options;
    this.topics = topicsOf(options.site);
    this.warn = warn;
  }

  /** To be called behind `setChannel`. */
  open(): void {
    const { host, notify, options } = this;
    host.on('camera', this.onCamera);
    host.on('motion', this.onMotion);
    host.on('recorder', this.onRecorder);
    notify.on('command', this.onCommand);
    if (options.homeAssistant) this.retainAll(null, nvrDiscovery(options.homeAssistant));
    this.panic();
    for (const message of host.cameraMessages) this.onCamera(message);
    for (const state of host.recorderStates) this.onRecorder(state);
    this.timers.push(setInterval(() => this.look(), LOOK_MS));
    this.timers.push(setTimeout(() => this.prune(), SETTLED_MS));
  }

  close(): void {
    this.host.off('camera', this.onCamera);
    this.host.off('motion', this.onMotion);
    this.host.off('recorder', this.onRecorder);
    this.notify.off('command', this.onCommand);
    for (const timer of this.timers) clearTimeout(timer);
  }

  private quiet(promise: Promise<unknown>): void {
    promise.catch((error: unknown) => this.warn(error instanceof Error ? error.message : String(error)));
  }

  private retain(camera: string | null, topic: string, payload: string | Uint8Array): void {
    (camera === null ? this.own : this.cameras.get(camera)?.topics)?.add(topic);
    this.quiet(this.notify.setState(this.options.channel, topic, payload));
  }

  private retainAll(camera: string | null, records: ReadonlyMap<string, object>): void {
    for (const [topic, record] of records) this.retain(camera, topic, JSON.stringify(record));
  }

  private readonly onCamera = (message: CameraMessage): void => {
    const { camera, name } = message;
    const of = this.topics.camera(camera);
    if (!this.cameras.has(camera)) {
      this.cameras.set(camera, { topics: new Set(), motion: new Set(), pictureMs: 0 });
      this.retain(camera, of.motion, 'OFF');
      const recorded = this.host.recorderStates.some((state) => state.camera === camera && state.recording);
      this.retain(camera, of.recording, recorded ? 'ON' : 'OFF');
    }
    const { homeAssistant } = this.options;
    // Again when it has another name; the same is not sent twice.
    if (homeAssistant) this.retainAll(camera, cameraDiscovery(homeAssistant, { id: camera, name }));
    this.retain(camera, of.state, JSON.stringify(cameraRecord(message)));
  };

  private readonly onRecorder = ({ camera }: RecorderState): void => {
    this.panic();
    if (!this.cameras.has(camera)) return;
    const recording = this.host.recorderStates.some((state) => state.camera === camera && state.recording);
    this.retain(camera, this.topics.camera(camera).recording, recording ? 'ON' : 'OFF');
  };

  private panic(): void {
    const panic = this.host.recorderStates.some((state) => state.panic);
    this.retain(null, this.topics.panic, panic ? 'ON' : 'OFF');
  }

  private readonly onMotion = (...[, message]: EngineHostEvents['motion']): void => {
    const known = this.cameras.get(message.camera);
    if (!known || (message.type === 'motion' && message.phase === 'update')) return;
    const of = this.topics.camera(message.camera);
    const record = motionRecord(message);
    const body = JSON.stringify(record);
    const { channel } = this.options;
    this.quiet(this.notify.call('put', channel, [{ id: record.id, channel, topic: this.topics.event, body }]));
    this.retain(message.camera, of.event, body);
    if (message.type === 'motion') {
      if (message.phase === 'end') known.motion.delete(message.eventId);
      else known.motion.add(message.eventId);
      for (const eventId of known.motion) if (known.motion.size > MAX_ACTIVE) known.motion.delete(eventId);
      this.retain(message.camera, of.motion, known.motion.size > 0 ? 'ON' : 'OFF');
    }
    if (message.type === 'scene-change' || message.phase === 'start') this.quiet(this.picture(known, message));
  };

  private async picture(known: Known, { camera, time }: MotionMessage): Promise<void> {
    const now = performance.now();
    if (known.pictureMs > 0 && now - known.pictureMs < PICTURE_MS) return;
    known.pictureMs = now;
    try {
      const { image } = await this.host.still(camera, time);
      if (this.cameras.get(camera) === known) this.retain(camera, this.topics.camera(camera).image, image);
    } catch (error) {
      // The camera went away meanwhile: the event is told all the same.
      if (!(error instanceof EngineError)) throw error;
    }
  }

  /** What earlier runs and configurations retained is removed at the broker. */
  private prune(): void {
    // clip-notify tells pictures, too.
    const images = this.host.cameraMessages.map(({ camera }) => this.topics.camera(camera).image);
    const topics = [...this.cameras.values()].flatMap((known) => [...known.topics]);
    this.quiet(this.notify.pruneStates(this.options.channel, [...this.own, ...topics, ...images]));
  }

  /** Cameras that are there no more are removed at the broker. */
  private look(): void {
    const there = new Set(this.host.cameraMessages.map(({ camera }) => camera));
    for (const [camera, { topics }] of this.cameras) {
      if (there.has(camera)) continue;
      this.cameras.delete(camera);
      topics.add(this.topics.camera(camera).image); // clip-notify tells pictures, too
      for (const topic of topics) this.quiet(this.notify.setState(this.options.channel, topic, null));
    }
  }

  private readonly onCommand = (channel: string, topic: string, payload: string): void => {
    if (channel !== this.options.channel || !this.options.commands) return;
    const command = readCommand(this.options.site, topic, payload);
    if (!command) {
      this.warn(`a command over MQTT was not understood: ${topic.slice(0, 100)} takes ON or OFF`);
      return;
    }
    this.obey(command).catch((error: unknown) => {
      this.warn(`a command over MQTT failed: ${topic}: ${error instanceof Error ? error.message : String(error)}`);
    });
  };

  private async obey(command: Command): Promise<void> {
    const { host } = this;
    if (command.command === 'snapshot') {
      const { image } = await host.snapshot(command.camera);
      this.retain(command.camera, this.topics.camera(command.camera).image, image);
      return;
    }
    const states = host.recorderStates;
    if (command.command === 'panic') {
      const [first] = states;
      if (!first) throw new EngineError('no-recorder', 'this NVR has no recorder');
      await host.commandRecorder(first.recorder, command.on ? 'panic' : 'release', null);
      return;
    }
    const recorders = states.filter(({ camera }) => camera === command.camera);
    if (recorders.length === 0) throw new EngineError('unknown-camera', `no recorder records ${command.camera}`);
    for (const { recorder } of recorders) {
      await host.commandRecorder(recorder, command.on ? 'start' : 'stop', command.camera);
    }
  }
}
