/** One ONVIF camera as the ptz node uses it: described once, steered through its queue, listened to. */
import { randomUUID } from 'node:crypto';
import { EngineError } from '../types.ts';
import { OnvifClient, type ClientOptions } from './client.ts';
import { describeDevice, type DeviceDescription, type PtzAbilities } from './device.ts';
import { EventTracker, type DeviceEvent, type EventLimits, type Notification } from './events.ts';
import { ImagingService, type FocusWish, type ImagingSettings } from './imaging.ts';
import { NS } from './names.ts';
import { Patrol, type PatrolState, type PatrolStop } from './patrol.ts';
import { findPreset, PtzService, type Preset } from './ptz-service.ts';
import { needsPosition, plan, uniformPosition, type Axes, type Motion, type Travel, type Wish } from './ptz.ts';
import { PullPoint, type PullPointOptions } from './pull-point.ts';
import { CommandQueue, type CommandKind } from './queue.ts';
import { Standstill } from './standstill.ts';
import { escapeXml } from './xml.ts';

export type Command =
  | ({ command: 'steer' } & Wish)
  | { command: 'stop' }
  | { command: 'goto-preset'; preset: string }
  | { command: 'set-preset'; name: string; preset: string | null }
  | { command: 'remove-preset'; preset: string }
  | { command: 'presets' }
  | { command: 'home' }
  | { command: 'set-home' }
  | { command: 'status' }
  | { command: 'aux'; data: string }
  | { command: 'relay'; relay: string; active: boolean }
  | { command: 'focus'; focus: FocusWish }
  | { command: 'imaging'; settings: ImagingSettings | null }
  | { command: 'patrol'; stops: readonly PatrolStop[] | null; resumeMs: number };

export interface CameraOptions extends ClientOptions {
  travel: Travel | null;
  events: boolean;
  pullPoint?: Partial<PullPointOptions>;
  eventLimits?: EventLimits;
}

export interface CameraEffects {
  /** Begins and ends of turning: what moved the picture itself. */
  onTurning: (turning: boolean) => void;
  onEvent: (event: DeviceEvent) => void;
  onNotification: (notification: Notification) => void;
  onPatrol: (state: PatrolState) => void;
  /** Null: all is well. `part` is what has it. */
  onProblem: (part: 'device' | 'events' | 'patrol', problem: Error | null) => void;
  onConnected: (device: DeviceDescription) => void;
}

export type Result = Record<string, unknown>;

/** A device that does not stop by itself at a move's timeout is stopped so much later. */
const WATCHDOG_MS = 300;
const RETRY_MS: readonly [number, number] = [5000, 60_000];

export class OnvifCamera {
  private readonly client: OnvifClient;
  private readonly options: CameraOptions;
  private readonly effects: CameraEffects;
  private readonly queue = new CommandQueue();
  private readonly patrol: Patrol;
  private readonly standstill: Standstill;
  private readonly tracker: EventTracker;
  private device: Promise<DeviceDescription> | null = null;
  private presets: Preset[] | null = null;
  private pullPoint: PullPoint | null = null;
  private watchdog: NodeJS.Timeout | null = null;
  private eventTimer: NodeJS.Timeout | null = null;
  private retry: NodeJS.Timeout | null = null;
  private closed = false;

  /** Throws `bad-address`. */
  constructor(options: CameraOptions, effects: CameraEffects) {
    this.options = options;
    this.effects = effects;
    this.client = new OnvifClient(options);
    this.tracker = new EventTracker(randomUUID, options.eventLimits);
    this.standstill = new Standstill(async () => (await this.ptz()).service.status(), effects.onTurning);
    this.patrol = new Patrol({
      visit: async (preset) => {
        const result = await this.gotoPreset(preset);
        if ('superseded' in result) return;
        await this.standstill.reached();
      },
      onChange: effects.onPatrol,
      onError: (error) => effects.onProblem('patrol', error as Error),
    });
    this.connectOn(RETRY_MS[0]);
  }

  get clockOffsetMs(): number {
    return this.client.clockOffsetMs;
  }

  get patrolState(): PatrolState {
    return this.patrol.state;
  }

  /** Asked once; anew after a failure. */
  describe(): Promise<DeviceDescription> {
    this.device ??= describeDevice(this.client).catch((error: unknown) => {
      this.device = null;
      throw error;
    });
    return this.device;
  }

  /** A camera that turns is stopped first. */
  async close(): Promise<void> {
    this.closed = true;
    for (const timer of [this.watchdog, this.eventTimer, this.retry]) if (timer) clearTimeout(timer);
    const turning = this.watchdog !== null;
    this.patrol.stop();
    this.standstill.close();
    this.queue.close();
    const goodbye: Promise<void>[] = [];
    if (this.pullPoint) goodbye.push(this.pullPoint.close());
    if (turning) goodbye.push(this.perform({ action: 'Stop' }));
    await Promise.race([Promise.allSettled(goodbye), new Promise((resolve) => setTimeout(resolve, 2000).unref())]);
    for (const event of this.tracker.closeAll(Date.now())) this.effects.onEvent(event);
    this.client.close();
  }

  /** Rejects with the reason why not; see {@link plan} and {@link OnvifClient.call}. */
  async execute(command: Command): Promise<Result> {
    switch (command.command) {
      case 'steer':
        this.patrol.pause();
        return this.steer(command);
      case 'stop':
        this.patrol.pause();
        return this.submit('stop', () => this.perform({ action: 'Stop' }));
      case 'goto-preset':
        this.patrol.pause();
        return this.gotoPreset(command.preset);
      case 'home':
        this.patrol.pause();
        return this.submit('move', async (signal) => {
          const { abilities, service } = await this.ptz();
          if (!abilities.home) throw new EngineError('ptz-unsupported', 'the camera has no home position');
          await service.gotoHome(signal);
          this.moved(null);
        });
      case 'patrol':
        return this.startPatrol(command);
      default:
        return this.submit('other', () => this.ask(command));
    }
  }

  private async ask(
    command: Exclude<Command, { command: 'steer' | 'stop' | 'goto-preset' | 'home' | 'patrol' }>,
  ): Promise<unknown> {
    switch (command.command) {
      case 'status':
        return this.status();
      case 'presets': {
        this.presets = await (await this.ptz()).service.presets();
        return { presets: this.presets };
      }
      case 'set-preset':
        return this.setPreset(command.name, command.preset);
      case 'remove-preset': {
        const { service } = await this.ptz();
        const preset = await this.resolvePreset(command.preset);
        await service.removePreset(preset.token);
        this.presets = null;
        return { preset: preset.token };
      }
      case 'set-home': {
        const { abilities, service } = await this.ptz();
        if (!abilities.home) throw new EngineError('ptz-unsupported', 'the camera has no home position');
        return service.setHome();
      }
      case 'aux':
        return { answer: await (await this.ptz()).service.auxiliary(command.data) };
      case 'relay':
        return this.setRelay(command.relay, command.active);
      case 'focus':
        return (await this.imaging()).focus(command.focus);
      case 'imaging': {
        const imaging = await this.imaging();
        if (command.settings) await imaging.set(command.settings);
        return { imaging: await imaging.settings() };
      }
    }
  }

  private steer(wish: Wish): Promise<Result> {
    return this.submit(wish.way === 'relative' ? 'step' : 'move', async (signal) => {
      const { abilities, service } = await this.ptz();
      const position = needsPosition(abilities, wish)
        ? uniformPosition(abilities, (await service.status(signal)).position)
        : null;
      const motion = plan(abilities, wish, position, this.options.travel);
      await this.perform(motion, signal);
      return { action: motion.action, ...('emulated' in motion && motion.emulated ? { emulated: true } : {}) };
    });
  }

  private async perform(motion: Motion, signal?: AbortSignal): Promise<void> {
    const { service } = await this.ptz();
    const timeoutMs = motion.action === 'ContinuousMove' ? motion.timeoutMs : null;
    try {
      await service.perform(motion, signal);
    } catch (error) {
      // The camera may have heard it, and only the answer was lost: it is stopped as if it had.
      const lost = error instanceof EngineError && (error.code === 'network' || error.code === 'timeout');
      if (lost && timeoutMs !== null) this.moved(timeoutMs);
      throw error;
    }
    this.moved(timeoutMs);
  }

  /** @param timeoutMs of a continuous move, after which the camera must not turn any more, whatever it thinks of timeouts */
  private moved(timeoutMs: number | null): void {
    this.endWatchdog();
    if (timeoutMs !== null && !this.closed) {
      const guard = (): void => {
        this.watchdog = null;
        // A stop that fails is tried again: it is the one command that must not be lost.
        this.perform({ action: 'Stop' }).catch(() => {
          if (!this.closed) this.watchdog ??= setTimeout(guard, RETRY_MS[0]);
        });
      };
      this.watchdog = setTimeout(guard, timeoutMs + WATCHDOG_MS);
    }
    if (!this.closed) this.standstill.watch();
  }

  private endWatchdog(): void {
    if (this.watchdog) clearTimeout(this.watchdog);
    this.watchdog = null;
  }

  private gotoPreset(wanted: string): Promise<Result> {
    return this.submit('move', async (signal) => {
      const { service } = await this.ptz();
      const preset = await this.resolvePreset(wanted);
      await service.gotoPreset(preset.token, signal);
      this.moved(null);
      return { preset: preset.token, name: preset.name };
    });
  }

  /** Asks the device again when it is not among those known. */
  private async resolvePreset(wanted: string): Promise<Preset> {
    if (this.presets) {
      try {
        return findPreset(this.presets, wanted);
      } catch {
        this.presets = null; // it may be new
      }
    }
    this.presets = await (await this.ptz()).service.presets();
    return findPreset(this.presets, wanted);
  }

  private async setPreset(name: string, wanted: string | null): Promise<Result> {
    const { abilities, service } = await this.ptz();
    if (abilities.maxPresets === 0) throw new EngineError('ptz-unsupported', 'the camera has no presets');
    const token = wanted === null ? null : (await this.resolvePreset(wanted)).token;
    const given = await service.setPreset(name, token);
    this.presets = null;
    return { preset: given, name };
  }

  private async setRelay(wanted: string, active: boolean): Promise<Result> {
    const { relays } = await this.describe();
    const relay = relays.find((token) => token === wanted) ?? (wanted === '' ? relays[0] : undefined);
    if (relay === undefined) {
      const has = relays.length > 0 ? `it has ${relays.slice(0, 10).join(', ')}` : 'it has none';
      throw new EngineError('unsupported', `the camera has no such relay: ${has}`);
    }
    const state = `<LogicalState>${active ? 'active' : 'inactive'}</LogicalState>`;
    const body = `<RelayOutputToken>${escapeXml(relay)}</RelayOutputToken>${state}`;
    await this.client.call(this.client.base, `<SetRelayOutputState xmlns="${NS.device}">${body}</SetRelayOutputState>`);
    return { relay, active };
  }

  private async status(): Promise<Result> {
    const device = await this.describe();
    const { manufacturer, model, firmware, clockOffsetMs, ptz } = device;
    const about = { manufacturer, model, firmware, clockOffsetMs: Math.round(clockOffsetMs) };
    const patrol = this.patrol.state;
    if (!ptz) return { ...about, ptz: null, patrol };
    const { position, moving } = await (await this.ptz()).service.status();
    return { ...about, patrol, ptz: abilitiesOf(ptz), position: uniformPosition(ptz, position) satisfies Axes, moving };
  }

  /** Begins, or ends when there are no stops. Rejects with `no-preset` before it begins. */
  private async startPatrol({ stops, resumeMs }: Extract<Command, { command: 'patrol' }>): Promise<Result> {
    if (!stops) {
      this.patrol.stop();
      return { patrol: this.patrol.state };
    }
    await this.submit('other', async () => {
      this.presets = await (await this.ptz()).service.presets();
      for (const { preset } of stops) findPreset(this.presets, preset);
    });
    this.patrol.start(stops, resumeMs);
    return { patrol: this.patrol.state };
  }

  private async submit(kind: CommandKind, run: (signal: AbortSignal) => Promise<unknown>): Promise<Result> {
    return { ...((await this.queue.submit(kind, run)) as Result | undefined) };
  }

  private async ptz(): Promise<{ abilities: PtzAbilities; service: PtzService }> {
    const { services, ptz } = await this.describe();
    if (!services.ptz || !ptz)
      throw new EngineError('ptz-unsupported', 'this camera cannot be steered: it has no PTZ service');
    return { abilities: ptz, service: new PtzService(this.client, services.ptz, ptz.profile) };
  }

  private async imaging(): Promise<ImagingService> {
    const { services, profiles } = await this.describe();
    const source = profiles.find(({ videoSource }) => videoSource)?.videoSource;
    if (!services.imaging || !source) throw new EngineError('unsupported', 'this camera has no imaging service');
    return new ImagingService(this.client, services.imaging, source);
  }

  private connectOn(delayMs: number): void {
    this.describe().then(
      (device) => {
        if (this.closed) return;
        this.effects.onProblem('device', null);
        this.effects.onConnected(device);
        if (this.options.events && device.services.events) this.listen(device.services.events);
      },
      (error: unknown) => {
        if (this.closed) return;
        this.effects.onProblem('device', error as Error);
        this.retry = setTimeout(() => this.connectOn(Math.min(delayMs * 2, RETRY_MS[1])), delayMs).unref();
      },
    );
  }

  private listen(events: URL): void {
    const onNotifications = (notifications: Notification[]): void => {
      if (this.closed) return;
      for (const notification of notifications) {
        this.effects.onNotification(notification);
        for (const event of this.tracker.accept(notification, Date.now())) this.effects.onEvent(event);
      }
      this.armEvents();
    };
    const onProblem = (problem: Error | null): void => this.effects.onProblem('events', problem);
    this.pullPoint = new PullPoint(this.client, events, { onNotifications, onProblem }, this.options.pullPoint);
  }

  private armEvents(): void {
    if (this.eventTimer) clearTimeout(this.eventTimer);
    this.eventTimer = null;
    const { nextAt } = this.tracker;
    if (nextAt === null) return;
    const tick = (): void => {
      for (const event of this.tracker.tick(Date.now())) this.effects.onEvent(event);
      this.armEvents();
    };
    this.eventTimer = setTimeout(tick, Math.max(nextAt - Date.now(), 50)).unref();
  }
}

function abilitiesOf({ panTilt, zoom, maxPresets, home, auxiliary }: PtzAbilities): Result {
  const ways = (axis: PtzAbilities['panTilt']): string[] =>
    Object.entries(axis).flatMap(([way, space]) => (space ? [way] : []));
  return { panTilt: ways(panTilt), zoom: ways(zoom), maxPresets, home, auxiliary };
}
