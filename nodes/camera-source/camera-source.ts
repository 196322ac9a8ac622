/** A camera: connects it and tells the others of it. */
import type { Request } from 'express';
import type { Node, NodeAPI, NodeDef } from 'node-red';
import type { CameraMessage, RtspTransport } from '../../engine/types.ts';
import { commandOf, payloadOf } from '../shared/message.ts';
import { openNode, refuse, settle, short, textOf, type NvrConfigNode } from '../shared/nvr.ts';
import { toCameraSpec, type CameraProperties } from './camera-spec.ts';
import { findDevices, onvifClock, onvifProfiles, onvifStill, type OnvifAccess } from './onvif-lookup.ts';
import { testStream } from './test-stream.ts';

const COMMANDS = ['start', 'stop', 'restart', 'snapshot'] as const;

interface Credentials {
  username?: string;
  password?: string;
}

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

  const permission = RED.auth.needsPermission('camera-source.write');
  /** What the dialog sends, with what is stored where it does not know it. */
  const readBody = (request: Request): { text: (field: string) => string; username: string; password: string } => {
    const body = (request.body ?? {}) as Record<string, unknown>;
    const text = (field: string): string => (typeof body[field] === 'string' ? body[field] : '');
    const stored = (text('id') ? (RED.nodes.getCredentials(text('id')) as Credentials | undefined) : undefined) ?? {};
    const typed = text('password');
    const password = typed && typed !== '__PWRD__' ? typed : (stored.password ?? '');
    return { text, password, username: text('username') || (stored.username ?? '') };
  };

  RED.httpAdmin.post('/nvr/onvif/discover', permission, (request, response) => {
    const { text } = readBody(request);
    Promise.resolve()
      .then(() => findDevices(text('address').trim()))
      .then(
        (devices) => response.json({ devices }),
        (error: unknown) => response.status(400).json({ message: textOf(error) }),
      );
  });

  const accessOf = (request: Request): OnvifAccess => {
    const { text, username, password } = readBody(request);
    const { anyCertificate } = (request.body ?? {}) as Record<string, unknown>;
    const account = username ? { username, password } : null;
    return { address: text('address').trim(), account, anyCertificate: anyCertificate === true };
  };
  const onvif = (path: string, ask: (access: OnvifAccess) => Promise<object>): void => {
    RED.httpAdmin.post(`/nvr/onvif/${path}`, permission, (request, response) => {
      ask(accessOf(request)).then(
        (result) => response.json(result),
        (error: unknown) => response.status(502).json({ ok: false, reason: 'error', message: textOf(error) }),
      );
    });
  };
  onvif('profiles', onvifProfiles);
  onvif('still', async (access) => ({ ok: true, still: (await onvifStill(access)).toString('base64') }));
  onvif('clock', async (access) => ({ ok: true, clockOffsetMs: Math.round(await onvifClock(access)) }));

  RED.httpAdmin.post('/nvr/test-stream', permission, (request, response) => {
    const { text, username, password } = readBody(request);
    const nvr = RED.nodes.getNode(text('nvr')) as NvrConfigNode | null;
    testStream({
      url: text('url'),
      ...(username ? { username } : {}),
      ...(password ? { password } : {}),
      transport: (['tcp', 'udp', 'http'].includes(text('transport')) ? text('transport') : 'tcp') as RtspTransport,
      ffmpegPath: text('ffmpegPath') || nvr?.host?.config.ffmpegPath || 'ffmpeg',
    }).then(
      (result) => response.json(result),
      (error: unknown) => response.status(500).json({ ok: false, reason: 'error', message: textOf(error) }),
    );
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
