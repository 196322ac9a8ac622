/** Steers a camera over ONVIF and passes on what it notices. */
import type { Node, NodeAPI, NodeDef } from 'node-red';
import { OnvifCamera } from '../../engine/onvif/camera.ts';
import type { DeviceDescription } from '../../engine/onvif/device.ts';
import type { DeviceEvent, Notification } from '../../engine/onvif/events.ts';
import type { PatrolState } from '../../engine/onvif/patrol.ts';
import { EngineError } from '../../engine/types.ts';
import { cameraOf, payloadOf } from '../shared/message.ts';
import { openNode, refuse, settle, short, textOf } from '../shared/nvr.ts';
import { findCamera, type Account } from './camera-of.ts';
import { toCommand, toPtzConfig, type PtzProperties } from './ptz-spec.ts';

/** Kinds that are motion to the nodes behind; others are for the flow to decide. */
const MOTION_KINDS: readonly string[] = ['motion', 'line-crossing'];

export default function register(RED: NodeAPI): void {
  function Ptz(this: Node<Account>, properties: NodeDef & PtzProperties & { nvr: string }): void {
    RED.nodes.createNode(this, properties);
    const opened = openNode(RED, this, properties.nvr, () => toPtzConfig(properties));
    if (!opened) return;
    const { host, spec: settings } = opened;
    const { camera: id } = properties;
    let device: DeviceDescription | null = null;
    let moving = false;
    let patrol: PatrolState = { state: 'idle' };
    const problems = new Map<string, string>();
    const show = (): void => this.status(statusOf(device, moving, patrol, problems));
    const tell = (payload: object): void =>
      this.send([{ topic: `ptz/${id}`, camera: id, payload: { type: 'ptz', camera: id, ...payload } }, null]);
    const onEvent = (event: DeviceEvent): void => {
      const { kind, phase, eventId, topic, source, time, start } = event;
      const payload = {
        ...{ type: MOTION_KINDS.includes(kind) ? 'motion' : 'onvif-event', kind, phase, camera: id, eventId },
        ...{ topic, source, time, start, end: phase === 'end' ? time : null },
      };
      this.send([null, { topic: `onvif/${id}/${kind}`, camera: id, payload }]);
    };
    const onNotification = ({ topic, operation, source, data }: Notification): void => {
      if (!properties.allEvents) return;
      const payload = { type: 'onvif-message', camera: id, topic, operation, source, data, time: Date.now() };
      this.send([null, { topic: `onvif/${id}`, camera: id, payload }]);
    };
    const onTurning = (turning: boolean): void => {
      moving = turning;
      tell({ moving, patrol });
      show();
      // What it looks at is another picture now: motion detection learns it anew.
      if (!turning) host.restartMotion(id).catch((error: unknown) => this.debug(textOf(error)));
    };
    const onProblem = (part: string, problem: Error | null): void => {
      const text = problem?.message ?? '';
      if (text && text !== problems.get(part)) this.error(text, { topic: `ptz/${id}`, camera: id });
      if (text) problems.set(part, text);
      else problems.delete(part);
      show();
    };

    let onvif: OnvifCamera;
    try {
      const known = findCamera(RED, properties.nvr, id);
      const address = properties.address.trim() || known.host;
      if (!address) throw new EngineError('bad-address', "enter the camera's ONVIF address: its stream has no host");
      const own = this.credentials.username ? this.credentials : known;
      const { username, password = '' } = own;
      onvif = new OnvifCamera(
        {
          address,
          travel: settings.travel,
          events: properties.events,
          ...(username ? { account: { username, password } } : {}),
        },
        {
          ...{ onTurning, onEvent, onNotification, onProblem },
          onPatrol: (state) => {
            patrol = state;
            // A visit that went well, or an end: what was wrong with the patrol is over.
            if (state.state === 'idle') problems.delete('patrol');
            tell({ moving, patrol });
            show();
          },
          onConnected: (description) => {
            device = description;
            show();
          },
        },
      );
    } catch (error) {
      refuse(this, textOf(error));
      return;
    }
    show();

    this.on('input', (msg, send, done) => {
      const run = async (): Promise<void> => {
        const payload = payloadOf(msg);
        // The camera's own messages, so that one wire from camera-source does no harm.
        if (payload['type'] === 'camera') return;
        const wanted = cameraOf(payload['camera'] ?? (msg as { camera?: unknown }).camera);
        if (wanted !== null && wanted !== id) return;
        const result = await onvif.execute(toCommand(payload, settings));
        const answer = { type: 'ptz', camera: id, command: payload['command'], ...result };
        Object.assign(msg, { topic: `ptz/${id}`, camera: id, payload: answer });
        send([msg, null]);
      };
      settle(run(), done);
    });
    this.on('close', (done: () => void) => {
      onvif.close().then(done, done);
    });
  }
  RED.nodes.registerType('ptz', Ptz as never, {
    credentials: { username: { type: 'text' }, password: { type: 'password' } },
  });
}

function statusOf(
  device: DeviceDescription | null,
  moving: boolean,
  patrol: PatrolState,
  problems: ReadonlyMap<string, string>,
): { fill: 'red' | 'green' | 'blue' | 'yellow' | 'grey'; shape: 'ring' | 'dot'; text: string } {
  const [problem] = problems.values();
  if (problem) return { fill: 'red', shape: 'ring', text: short(problem) };
  if (!device) return { fill: 'yellow', shape: 'ring', text: 'ptz.status.connecting' };
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
