/** One ONVIF camera as the ptz node uses it: described once, steered through its queue, listened to. */
import { randomUUID } from 'node:crypto';
import { EngineError } from '../types.ts';
import { OnvifClient, type ClientOptions } from './client.ts';
import { describeDevice, type DeviceDescription, type PtzAbilities } from './device.ts';
import { EventTracker, type DeviceEvent, type EventLimits, type Notification } from './events.ts';
import { ImagingService, type FocusWish, type ImagingSettings } from './imaging.ts';
import { NS } from './names.ts';
import { Patrol, type PatrolState, type PatrolStop } from './patrol.ts';
import { findPreset, PtzService } from './ptz-service.ts';
import {
  needsPosition,
  plan,
  speedOf,
  uniformPosition,
  type Axes,
  type Motion,
  type Travel,
  type Wish,
} from './ptz.ts';
import { PullPoint, type PullPointOptions } from './pull-point.ts';
import { CommandQueue, type CommandKind } from './queue.ts';
import { Standstill } from './standstill.ts';
import { Visits, type Visit, type VisitState } from './visits.ts';
import { escapeXml } from './xml.ts';

export type Command =
  | ({ command: 'steer' } & Wish)
  | { command: 'stop' }
  | { command: 'goto-preset'; preset: string; speed?: number }
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
  | { command: 'visit'; visit: Visit }
  | { command: 'patrol'; stops: readonly PatrolStop[] | null; resumeMs: number };

export interface CameraOptions extends ClientOptions {
  travel: Travel | null;
  events: boolean;
  /** After somebody steered, events do not move it for so long. */
  idleMs: number;
  pullPoint?: Partial<PullPointOptions>;
  eventLimits?: EventLimits;
}

export interface CameraEffects {
  /** Begins and ends of turning: what moved the picture itself. */
  onTurning: (turning: boolean) => void;
  onEvent: (event: DeviceEvent) => void;
  onNotification: (notification: Notification) => void;
  onPatrol: (state: PatrolState) => void;
  onVisit: (state: VisitState) => void;
  /** The presets that it has now, whenever they were asked for. */
  onPresets: (presets: KnownPreset[]) => void;
  /** It stands where a preset is. */
  onAtPreset: (token: string) => void;
  /** Null: all is well. `part` is what has it. */
  onProblem: (part: 'device' | 'events' | 'patrol' | 'visit', problem: Error | null) => void;
  onConnected: (device: DeviceDescription) => void;
}

/** A preset as the nodes see it. */
export interface KnownPreset {
  token: string;
  name: string;
  /** Uniform; null where the camera does not say. */
  position: Axes | null;
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
  private readonly visits: Visits;
  private readonly standstill: Standstill;
  private readonly tracker: EventTracker;
  private device: Promise<DeviceDescription> | null = null;
  private presets: KnownPreset[] | null = null;
  private reading: Promise<KnownPreset[]> | null = null;
  /** Counts what made it move. */
  private moves = 0;
  private pullPoint: PullPoint | null = null;
  private watchdog: NodeJS.Timeout | null = null;
  /** Continuous moves and stops that were sent and are not answered: nobody knows whether the camera turns. */
  private unanswered = 0;
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
        await this.arrive(preset);
      },
      onChange: effects.onPatrol,
      onError: (error) => effects.onProblem('patrol', error as Error),
    });
    this.visits = new Visits({
      whereNow: () => this.position(),
      visit: (preset) => {
        this.patrol.hold();
        return this.arrive(preset);
      },
      leave: (back, before) => this.leave(back, before),
      onChange: (state) => {
        if (state.state === 'there') effects.onProblem('visit', null);
        effects.onVisit(state);
      },
      onError: (error) => {
        effects.onProblem('visit', error as Error);
        this.patrol.resume();
      },
    });
    this.connectOn(RETRY_MS[0]);
  }

  get clockOffsetMs(): number {
    return this.client.clockOffsetMs;
  }

  get patrolState(): PatrolState {
    return this.patrol.state;
  }

  get visitState(): VisitState {
    return this.visits.state;
  }

  /** Asked once; anew after a failure. */
  describe(): Promise<DeviceDescription> {
    this.device ??= describeDevice(this.client).catch((error: unknown) => {
      this.device = null;
      throw error;
    });
    return this.device;
  }

  /** A camera that turns, or may turn because an answer is still to come, is stopped first. */
  async close(): Promise<void> {
    this.closed = true;
    for (const timer of [this.watchdog, this.eventTimer, this.retry]) if (timer) clearTimeout(timer);
    const turning = this.watchdog !== null || this.unanswered > 0;
    this.patrol.stop();
    this.visits.cancel();
    this.standstill.close();
    this.queue.close(); // takes back a move that is on its way, if the camera has not read it yet: the stop comes after it
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
        this.steered();
        return this.steer(command);
      case 'stop':
        this.steered();
        return this.submit('stop', () => this.perform({ action: 'Stop' }));
      case 'goto-preset':
        this.steered();
        return this.gotoPreset(command.preset, command.speed);
      case 'home':
        this.steered();
        return this.goHome();
      case 'visit': {
        await this.submit('other', () => this.resolvePreset(command.visit.preset));
        return { visit: this.visits.begin(command.visit) };
      }
      case 'patrol':
        this.visits.cancel();
        return this.startPatrol(command);
      default:
        return this.submit('other', () => this.ask(command));
    }
  }

  /** By hand. */
  private steered(): void {
    this.patrol.pause();
    this.visits.steered(this.options.idleMs);
  }

  /** Where it looks, or null where it does not say. */
  private async position(): Promise<Axes | null> {
    const { abilities, service } = await this.ptz();
    const position = uniformPosition(abilities, (await service.status()).position);
    return Object.keys(position).length > 0 ? position : null;
  }

  /** To a preset, until it stands; whether it is there then. */
  private async arrive(preset: string): Promise<boolean> {
    const result = await this.gotoPreset(preset);
    if ('superseded' in result) return false;
    const { moves } = this;
    await this.standstill.reached();
    return moves === this.moves && !this.closed;
  }

  private async leave(back: Visit['back'], before: Axes | null): Promise<void> {
    if (this.patrol.active) {
      this.patrol.resume();
      return;
    }
    if (back === 'stay') return;
    const { abilities } = await this.ptz();
    const { panTilt, zoom } = abilities;
    const axes: Axes = { ...before };
    if (!panTilt.absolute) delete axes.pan;
    if (!panTilt.absolute) delete axes.tilt;
    if (!zoom.absolute) delete axes.zoom;
    if (back === 'before' && Object.keys(axes).length > 0) await this.steer({ way: 'absolute', axes, degrees: false });
    else if (abilities.home) await this.goHome();
    await this.standstill.reached();
  }

  private goHome(): Promise<Result> {
    return this.submit('move', async (signal) => {
      const { abilities, service } = await this.ptz();
      if (!abilities.home) throw new EngineError('ptz-unsupported', 'the camera has no home position');
      await service.gotoHome(signal);
      this.moved(null);
    });
  }

  private async ask(
    command: Exclude<Command, { command: 'steer' | 'stop' | 'goto-preset' | 'home' | 'visit' | 'patrol' }>,
  ): Promise<unknown> {
    switch (command.command) {
      case 'status':
        return this.status();
      case 'presets':
        return { presets: await this.readPresets(true) };
      case 'set-preset':
        return this.setPreset(command.name, command.preset);
      case 'remove-preset': {
        const { service } = await this.ptz();
        const preset = await this.resolvePreset(command.preset);
        await service.removePreset(preset.token);
        await this.presetsChanged();
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
    const uncertain = timeoutMs !== null || motion.action === 'Stop';
    if (uncertain) this.unanswered++;
    try {
      await service.perform(motion, signal);
    } catch (error) {
      // The camera may have heard it, and only the answer was lost: it is stopped as if it had.
      const lost = error instanceof EngineError && (error.code === 'network' || error.code === 'timeout');
      if (lost && timeoutMs !== null) this.moved(timeoutMs);
      throw error;
    } finally {
      if (uncertain) this.unanswered--;
    }
    this.moved(timeoutMs);
  }

  /** @param timeoutMs of a continuous move, after which the camera must not turn any more, whatever it thinks of timeouts */
  private moved(timeoutMs: number | null): void {
    this.endWatchdog();
    this.moves++;
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

  private gotoPreset(wanted: string, speed?: number): Promise<Result> {
    return this.submit('move', async (signal) => {
      const { abilities, service } = await this.ptz();
      const preset = await this.resolvePreset(wanted);
      await service.gotoPreset(preset.token, speed === undefined ? null : speedOf(abilities, speed), signal);
      this.moved(null);
      const { moves } = this;
      void this.standstill.reached().then(() => {
        if (moves === this.moves && !this.closed) this.effects.onAtPreset(preset.token);
      });
      return { preset: preset.token, name: preset.name };
    });
  }

  /** @param anew though it is being asked already */
  private readPresets(anew: boolean): Promise<KnownPreset[]> {
    if (this.reading && !anew) return this.reading;
    const reading = this.fetchPresets();
    this.reading = reading;
    const done = (presets: KnownPreset[] | null): void => {
      if (this.reading !== reading) return;
      this.reading = null;
      if (!presets || this.closed) return;
      this.presets = presets;
      this.effects.onPresets(presets);
    };
    reading.then(done, () => done(null));
    return reading;
  }

  private async fetchPresets(): Promise<KnownPreset[]> {
    const { abilities, service } = await this.ptz();
    return (await service.presets()).map(({ position, ...preset }) => {
      const known = position.panTilt !== null || position.zoom !== null;
      return { ...preset, position: known ? uniformPosition(abilities, position) : null };
    });
  }

  /** By us: what others see of them is brought up to date; if that fails, when they are next asked for. */
  private async presetsChanged(): Promise<void> {
    this.presets = null;
    await this.readPresets(true).catch(() => undefined);
  }

  /** Asks the device again when it is not among those known. */
  private async resolvePreset(wanted: string): Promise<KnownPreset> {
    if (this.presets) {
      try {
        return findPreset(this.presets, wanted);
      } catch {
        this.presets = null; // it may be new
      }
    }
    return findPreset(await this.readPresets(false), wanted);
  }

  private async setPreset(name: string, wanted: string | null): Promise<Result> {
    const { abilities, service } = await this.ptz();
    if (abilities.maxPresets === 0) throw new EngineError('ptz-unsupported', 'the camera has no presets');
    const token = wanted === null ? null : (await this.resolvePreset(wanted)).token;
    const given = await service.setPreset(name, token);
    await this.presetsChanged();
    if (!this.standstill.isTurning) this.effects.onAtPreset(given);
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
    const about = { ...aboutOf(device), patrol: this.patrol.state, visit: this.visits.state };
    const { ptz } = device;
    if (!ptz) return about;
    const { position, moving } = await (await this.ptz()).service.status();
    return { ...about, position: uniformPosition(ptz, position) satisfies Axes, moving };
  }

  /** Begins, or ends when there are no stops. Rejects with `no-preset` before it begins. */
  private async startPatrol({ stops, resumeMs }: Extract<Command, { command: 'patrol' }>): Promise<Result> {
    if (!stops) {
      this.patrol.stop();
      return { patrol: this.patrol.state };
    }
    await this.submit('other', async () => {
      const presets = await this.readPresets(true);
      for (const { preset } of stops) findPreset(presets, preset);
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
        // Those who show presets need not ask for them; a camera that will not tell them says so when they are asked for.
        if (device.ptz?.maxPresets) this.readPresets(false).catch(() => undefined);
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

/** What a device is and can do, for a flow. */
export function aboutOf({
  manufacturer,
  model,
  firmware,
  clockOffsetMs,
  ptz,
  services,
  relays,
}: DeviceDescription): Result {
  return {
    ...{ manufacturer, model, firmware, clockOffsetMs: Math.round(clockOffsetMs) },
    ...{ ptz: ptz && abilitiesOf(ptz), imaging: services.imaging !== undefined, relays },
  };
}

function abilitiesOf({ panTilt, zoom, maxPresets, home, auxiliary, speed }: PtzAbilities): Result {
  const ways = (axis: PtzAbilities['panTilt']): string[] =>
    Object.entries(axis).flatMap(([way, space]) => (space ? [way] : []));
  return { panTilt: ways(panTilt), zoom: ways(zoom), maxPresets, home, auxiliary, speed: speed.panTilt !== null };
}
