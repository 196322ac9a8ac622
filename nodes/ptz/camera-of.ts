/** The camera that a ptz node belongs to: where it is and with which account, as its camera-source has it. */
import type { NodeAPI, NodeDef } from 'node-red';
import { toCameraSpec, type CameraProperties } from '../camera-source/camera-spec.ts';
import { EngineError } from '../../engine/types.ts';

export interface Account {
  username?: string;
  password?: string;
}

export interface KnownCamera extends Account {
  /** Empty for a stream without a host. */
  host: string;
}

/** Throws `unknown-camera`. A camera-source that is not valid itself is as none. */
export function findCamera(RED: NodeAPI, nvr: string, camera: string): KnownCamera {
  const matches: KnownCamera[] = [];
  RED.nodes.eachNode((node) => {
    const properties = node as NodeDef & CameraProperties & { nvr: string; d?: boolean };
    if (properties.type !== 'camera-source' || properties.nvr !== nvr || properties.d) return;
    try {
      const account = (RED.nodes.getCredentials(properties.id) as Account | undefined) ?? {};
      const { id, mainUrl, username, password } = toCameraSpec(properties, account, properties.id);
      if (id !== camera) return;
      matches.push({
        host: hostOf(mainUrl),
        ...(username === undefined ? {} : { username }),
        ...(password === undefined ? {} : { password }),
      });
    } catch {
      // That camera-source says itself what is wrong with it.
    }
  });
  const [found] = matches;
  if (!found)
    throw new EngineError(
      'unknown-camera',
      `there is no camera ${camera.slice(0, 64) || '(none chosen)'}: choose one in this node`,
    );
  return found;
}

/** The host of `rtsp://host:554/path`; the streams' port is not that of ONVIF. */
export function hostOf(url: string): string {
  return /^(?:rtsps?|rtmps?|https?):\/\/(\[[^\]]+\]|[^:/?#]+)/i.exec(url)?.[1] ?? '';
}
