/** The camera that a ptz node belongs to: where it is and with which account, as its camera-source has it. */
import type { NodeAPI, NodeDef } from 'node-red';
import { toCameraSpec, type CameraProperties } from '../camera-source/camera-spec.ts';
import { placeOf } from '../../engine/ingest/camera-address.ts';
import { EngineError } from '../../engine/types.ts';

export interface Account {
  username?: string;
  password?: string;
}

export interface KnownCamera extends Account {
  /** Where its ONVIF is: the camera-source's address, or the host of its stream; empty for a stream without a host. */
  address: string;
  anyCertificate: boolean;
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
        address: properties.onvif?.trim() || (placeOf(mainUrl)?.host ?? ''),
        anyCertificate: properties.anyCertificate ?? false,
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

/** Names of the zones that are drawn anywhere, by id. */
export function zoneNames(RED: NodeAPI): Map<string, string> {
  const names = new Map<string, string>();
  RED.nodes.eachNode((node) => {
    const { type, zones } = node as NodeDef & { zones?: { id?: unknown; name?: unknown }[] };
    if (type !== 'motion-detect' || !Array.isArray(zones)) return;
    for (const { id, name } of zones) if (typeof id === 'string' && typeof name === 'string') names.set(id, name);
  });
  return names;
}
