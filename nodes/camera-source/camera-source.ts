/** A camera: connects it and tells the others of it. */
import type { Node, NodeAPI, NodeDef } from 'node-red';
import type { CameraMessage, RtspTransport } from '../../engine/types.ts';
import { adminRoute, type AdminHandler } from '../shared/admin-routes.ts';
import { commandOf, payloadOf } from '../shared/message.ts';
import { openNode, refuse, settle, short, textOf, type NvrConfigNode } from '../shared/nvr.ts';
import { toCameraSpec, type CameraProperties } from './camera-spec.ts';
import { findDevices, onvifClock, onvifProfiles, onvifStill, type OnvifAccess } from './onvif-lookup.ts';
import { accountFor, type Credentials } from './stored-account.ts';
import { testStream } from './test-stream.ts';

const COMMANDS = ['start', 'stop', 'restart', 'snapshot'] as const;

export default function register(RED: NodeAPI): void {
  /** Which node has which camera of which configuration. */
  const owners = new Map<string, string>();

  function CameraSource(this: Node<Credentials>, properties: NodeDef & CameraProperties & { nvr: string }): void {
    RED.nodes.createNode(this, properties);
    const opened = openNode(RED, this, properties.nvr, () => toCameraSpec(properties, this.credentials, this.id));
    if (!opened) return;
    const { nvr, host, spec } = opened;
    const { id } = spec;
    const key = `${nvr.id} ${id}`;
    const other = owners.get(key);
    if (other && other !== this.id) {
      refuse(this, `another camera-source has the camera id ${id}: give each its own`);
      return;
    }
    owners.set(key, this.id);

    const onCamera = (message: CameraMessage): void => {
      if (message.camera !== id) return;
      this.status(statusOf(message));
      this.send([{ topic: `camera/${id}`, camera: id, payload: message }, null]);
    };
    host.on('camera', onCamera);
    host.setCamera(spec).catch((error: unknown) => {
      this.status({ fill: 'red', shape: 'ring', text: short(textOf(error)) });
      this.error(textOf(error));
    });

    this.on('input', (msg, send, done) => {
      const run = async (): Promise<void> => {
        const command = commandOf(payloadOf(msg), COMMANDS);
        if (command !== 'snapshot') {
          await host.commandCamera(id, command);
          return;
        }
        const { image, time } = await host.snapshot(id);
        Object.assign(msg, { topic: `camera/${id}/snapshot`, camera: id, time, payload: Buffer.from(image) });
        send([null, msg]);
      };
      settle(run(), done);
    });
    this.on('close', (removed: boolean, done: () => void) => {
      host.off('camera', onCamera);
      owners.delete(key);
      host.releaseCamera(id, removed);
      done();
    });
  }
  RED.nodes.registerType('camera-source', CameraSource as never, {
    credentials: { username: { type: 'text' }, password: { type: 'password' } },
  });

  registerRoutes(RED);
}

/** What the dialog asks. All of it talks to cameras, so that an account that may only read has none of it. */
function registerRoutes(RED: NodeAPI): void {
  const post = (path: `/nvr/${string}`, handler: AdminHandler): void =>
    adminRoute(RED, 'post', path, 'camera-source.write', handler);
  const textIn = (body: Record<string, unknown>, field: string): string => {
    const value = body[field];
    return typeof value === 'string' ? value : '';
  };
  const accountAt = (body: Record<string, unknown>, address: string): Credentials =>
    accountFor(RED, {
      ...{ id: textIn(body, 'id'), address },
      ...{ username: textIn(body, 'username'), password: textIn(body, 'password') },
    });

  post('/nvr/onvif/discover', async ({ body }) => ({ devices: await findDevices(textIn(body, 'address').trim()) }));

  const onvif = (path: string, ask: (access: OnvifAccess) => Promise<object>): void =>
    post(`/nvr/onvif/${path}`, ({ body }) => {
      const address = textIn(body, 'address').trim();
      const { username, password = '' } = accountAt(body, address);
      const account = username ? { username, password } : null;
      return ask({ address, account, anyCertificate: body['anyCertificate'] === true });
    });
  onvif('profiles', onvifProfiles);
  onvif('still', async (access) => ({ ok: true, still: (await onvifStill(access)).toString('base64') }));
  onvif('clock', async (access) => ({ ok: true, clockOffsetMs: Math.round(await onvifClock(access)) }));

  post('/nvr/test-stream', ({ body }) => {
    const nvr = RED.nodes.getNode(textIn(body, 'nvr')) as Partial<NvrConfigNode> | null;
    const url = textIn(body, 'url');
    const { username, password } = accountAt(body, url);
    const transport = textIn(body, 'transport');
    return testStream({
      ...{ url, ...(username ? { username } : {}), ...(password ? { password } : {}) },
      transport: (['tcp', 'udp', 'http'].includes(transport) ? transport : 'tcp') as RtspTransport,
      // A program that was named in a request is never run: only that of an NVR which is deployed.
      ffmpegPath: nvr?.host?.config.ffmpegPath ?? 'ffmpeg',
    });
  });
}

function statusOf(message: CameraMessage): {
  fill: 'red' | 'yellow' | 'green' | 'grey';
  shape: 'ring' | 'dot';
  text: string;
} {
  switch (message.state) {
    case 'online': {
      const main = message.streams.main;
      const size = main ? `${main.width}x${main.height}` : '';
      const fps = message.metrics.main?.fps;
      return { fill: 'green', shape: 'dot', text: fps ? `${size} ${Math.round(fps)} fps` : size };
    }
    case 'connecting':
      return { fill: 'yellow', shape: 'ring', text: 'camera-source.status.connecting' };
    case 'stopped':
      return { fill: 'grey', shape: 'ring', text: 'camera-source.status.stopped' };
    case 'offline':
      return { fill: 'red', shape: 'ring', text: short(`${message.reason}: ${message.detail}`) };
  }
}
