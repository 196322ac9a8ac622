/** Steers a camera over ONVIF and passes on what it notices. */
import type { Node, NodeAPI, NodeDef } from 'node-red';
import type { PtzControl } from '../../engine/http/service.ts';
import { aboutOf, OnvifCamera, type CameraOptions, type KnownPreset, type Result } from '../../engine/onvif/camera.ts';
import type { DeviceDescription } from '../../engine/onvif/device.ts';
import type { DeviceEvent, Notification } from '../../engine/onvif/events.ts';
import type { PatrolState } from '../../engine/onvif/patrol.ts';
import type { Visit, VisitState } from '../../engine/onvif/visits.ts';
import { EngineError } from '../../engine/types.ts';
import { adminRoute } from '../shared/admin-routes.ts';
import { cameraOf, payloadOf, type Payload } from '../shared/message.ts';
import { openNode, settle, short, textOf, type NvrConfigNode } from '../shared/nvr.ts';
import { findCamera, zoneNames, type Account } from './camera-of.ts';
import { isEvent, visitFor } from './event-rules.ts';
import { pictureNow } from './picture.ts';
import { toCommand, toPtzConfig, type PtzProperties } from './ptz-spec.ts';

/** Kinds that are motion to the nodes behind; others are for the flow to decide. */
const MOTION_KINDS: readonly string[] = ['motion', 'line-crossing'];

export default function register(RED: NodeAPI): void {
  function Ptz(this: Node<Account>, properties: NodeDef & PtzProperties & { nvr: string }): void {
    RED.nodes.createNode(this, properties);
    const opened = openNode(RED, this, properties.nvr, () => toPtzConfig(properties));
    if (!opened) return;
    const { host, service, spec: settings } = opened;
    const { camera: id } = properties;
    const source = `ptz ${this.id}`;
    let onvif: OnvifCamera | null = null;
    let device: DeviceDescription | null = null;
    let moving = false;
    let patrol: PatrolState = { state: 'idle' };
    let visit: VisitState = { state: 'idle' };
    /** Of where it stands now; made once, for whoever needs it. */
    let picture: Promise<{ image: Buffer; time: number }> | null = null;
    const problems = new Map<string, string>();
    const show = (): void => this.status(statusOf(device, moving, patrol, visit, problems));
    const tell = (payload: object): void =>
      this.send([{ topic: `ptz/${id}`, camera: id, payload: { type: 'ptz', camera: id, ...payload } }, null]);
    const quietly = (work: Promise<unknown>): void => void work.catch((error: unknown) => this.debug(textOf(error)));
    const pictureHere = (): Promise<{ image: Buffer; time: number }> => (picture ??= pictureNow(host, id));

    const onEvent = (event: DeviceEvent): void => {
      const { kind, label, phase, eventId, topic, source: from, time, start } = event;
      const payload = {
        ...{ type: MOTION_KINDS.includes(kind) ? 'motion' : 'onvif-event', kind, phase, camera: id, eventId },
        ...{ topic, source: from, time, start, end: phase === 'end' ? time : null, ...(label ? { label } : {}) },
      };
      this.send([null, { topic: `onvif/${id}/${kind}`, camera: id, payload }]);
    };
    const onNotification = ({ topic, operation, source: from, data }: Notification): void => {
      if (!properties.allEvents) return;
      const payload = { type: 'onvif-message', camera: id, topic, operation, source: from, data, time: Date.now() };
      this.send([null, { topic: `onvif/${id}`, camera: id, payload }]);
    };
    const onTurning = (turning: boolean): void => {
      moving = turning;
      if (turning) picture = null;
      // What moves in its picture now is the picture itself; then it looks at another one.
      quietly(host.setTurning(id, turning));
      tell({ moving, patrol });
      show();
    };
    const onProblem = (part: string, problem: Error | null): void => {
      const text = problem?.message ?? '';
      if (text && text !== problems.get(part)) this.error(text, { topic: `ptz/${id}`, camera: id });
      if (text) problems.set(part, text);
      else problems.delete(part);
      show();
    };
    const onPatrol = (state: PatrolState): void => {
      patrol = state;
      // A visit that went well, or an end: what was wrong with the patrol is over.
      if (state.state === 'idle') problems.delete('patrol');
      tell({ moving, patrol });
      show();
    };
    /** An event of its own, so that recorders and the index take it: the camera looks at what happened elsewhere. */
    const onVisit = (state: VisitState): void => {
      const before = visit;
      visit = state;
      show();
      const out = (of: Visit, phase: 'start' | 'update' | 'end', more: object): void => {
        const payload = {
          ...{ type: 'external', source, label: of.preset, phase, camera: id, cameras: [id] },
          ...{ correlationId: of.eventId, preset: of.preset, time: Date.now(), ...more },
        };
        this.send([null, { topic: `ptz/${id}/visit`, camera: id, payload }]);
      };
      if (before.state === 'there') out(before.visit, 'end', {});
      if (state.state !== 'there') return;
      out(state.visit, 'start', {});
      const late = pictureHere().then(({ image }) => {
        if (visit === state) out(state.visit, 'update', { still: image });
      });
      quietly(late);
    };
    const onAtPreset = (token: string): void => {
      const keep = async (): Promise<void> => {
        const taken = pictureHere();
        const { image, time } = await taken;
        // It went on meanwhile: the picture may show something else.
        if (picture === taken) await host.putPresetStill(id, token, image, time);
      };
      quietly(keep());
    };
    const onPresets = (presets: KnownPreset[]): void => quietly(host.putPresets(id, presets, Date.now()));

    /** The camera's address and account now. Throws `unknown-camera` or `bad-address`. */
    const target = (): Pick<CameraOptions, 'address' | 'account' | 'anyCertificate'> => {
      const known = findCamera(RED, properties.nvr, id);
      const own = properties.address.trim();
      const address = own || known.address;
      if (!address) throw new EngineError('bad-address', "enter the camera's ONVIF address: its stream has no host");
      const { username, password = '' } = this.credentials.username ? this.credentials : known;
      const anyCertificate = own ? (properties.anyCertificate ?? false) : known.anyCertificate;
      return { address, anyCertificate, ...(username ? { account: { username, password } } : {}) };
    };
    let used = '';
    /** Begins, and begins anew when the camera-source got another address or account. */
    const connect = (): void => {
      try {
        const options = target();
        if (used === JSON.stringify(options)) return;
        const next = new OnvifCamera(
          { ...options, travel: settings.travel, events: properties.events, idleMs: settings.idleMs },
          {
            ...{ onTurning, onEvent, onNotification, onProblem, onPatrol, onVisit, onPresets, onAtPreset },
            onConnected: (description) => {
              device = description;
              show();
            },
          },
        );
        if (onvif) quietly(onvif.close());
        [onvif, device, used] = [next, null, JSON.stringify(options)];
        problems.clear();
        show();
      } catch (error) {
        onProblem('device', error as Error);
      }
    };
    const execute = async (payload: Payload): Promise<Result> => {
      const command = toCommand(payload, settings);
      if (!onvif) throw new EngineError('closed', problems.get('device') ?? 'the camera is not connected');
      const result = await onvif.execute(command);
      if (command.command !== 'presets') return result;
      const known = await service.query.call('presets', id).catch(() => []);
      const times = new Map(known.map(({ token, stillTime }) => [token, stillTime]));
      const presets = (result['presets'] as KnownPreset[]).map(async (preset) => {
        const stillTime = times.get(preset.token) ?? null;
        if (payload['stills'] !== true || stillTime === null) return { ...preset, stillTime };
        const still = await service.query.call('presetStill', id, preset.token).catch(() => null);
        return { ...preset, stillTime, ...(still ? { still: Buffer.from(still) } : {}) };
      });
      return { presets: await Promise.all(presets) };
    };
    const control: PtzControl = {
      execute,
      describe: () => ({
        ...{ connected: device !== null, moving, patrol, visit, problem: [...problems.values()][0] ?? null },
        ...(device && aboutOf(device)),
      }),
    };
    service.ptz.set(id, control);
    connect();
    // A Deploy of changed nodes only leaves this one as it is, also when its camera's account was changed.
    RED.events.on('flows:started', connect);
    show();

    this.on('input', (msg, send, done) => {
      const run = async (): Promise<void> => {
        const payload = payloadOf(msg);
        // The camera's own messages, so that one wire from camera-source does no harm.
        if (payload['type'] === 'camera') return;
        if (isEvent(payload)) {
          if (payload['source'] === source) return; // our own, on its way back
          const wish = visitFor(settings.rules, payload, zoneNames(RED), Date.now());
          if (wish) await onvif?.execute({ command: 'visit', visit: wish });
          return;
        }
        const wanted = cameraOf(payload['camera'] ?? (msg as { camera?: unknown }).camera);
        if (wanted !== null && wanted !== id) return;
        const result = await execute(payload);
        const answer = { type: 'ptz', camera: id, command: payload['command'], ...result };
        Object.assign(msg, { topic: `ptz/${id}`, camera: id, payload: answer });
        send([msg, null]);
      };
      settle(run(), done);
    });
    this.on('close', (done: () => void) => {
      RED.events.off('flows:started', connect);
      if (service.ptz.get(id) === control) service.ptz.delete(id);
      (onvif?.close() ?? Promise.resolve()).then(done, done);
    });
  }
  RED.nodes.registerType('ptz', Ptz as never, {
    credentials: { username: { type: 'text' }, password: { type: 'password' } },
  });

  // Names only: what is seen there is not in it, and no camera is asked.
  adminRoute(RED, 'get', '/nvr/ptz/presets/:nvr/:camera', 'ptz.read', async ({ param }) => {
    const nvr = RED.nodes.getNode(param('nvr')) as Partial<NvrConfigNode> | null;
    const known = nvr?.service?.query.call('presets', param('camera')) ?? Promise.resolve([]);
    return { presets: await known.catch(() => []) }; // nothing was recorded yet
  });
}

function statusOf(
  device: DeviceDescription | null,
  moving: boolean,
  patrol: PatrolState,
  visit: VisitState,
  problems: ReadonlyMap<string, string>,
): { fill: 'red' | 'green' | 'blue' | 'yellow' | 'grey'; shape: 'ring' | 'dot'; text: string } {
  const [problem] = problems.values();
  if (problem) return { fill: 'red', shape: 'ring', text: short(problem) };
  if (!device) return { fill: 'yellow', shape: 'ring', text: 'ptz.status.connecting' };
  if (visit.state !== 'idle') return { fill: 'blue', shape: 'dot', text: short(`⚑ ${visit.visit.preset}`) };
  if (patrol.state === 'paused') return { fill: 'yellow', shape: 'dot', text: 'ptz.status.paused' };
  if (patrol.state !== 'idle') return { fill: 'blue', shape: 'dot', text: short(`↻ ${patrol.preset}`) };
  if (moving) return { fill: 'blue', shape: 'dot', text: 'ptz.status.moving' };
  if (!device.ptz) return { fill: 'grey', shape: 'dot', text: 'ptz.status.fixed' };
  return {
    fill: 'green',
    shape: 'dot',
    text: short(`${device.manufacturer} ${device.model}`.trim()) || 'ptz.status.ready',
  };
}
