/** camera-source's properties as the engine wants them. */
import { parseSource, splitCredentials } from '../../engine/ingest/source-url.ts';
import { isCameraId } from '../../engine/recording/segment-path.ts';
import { EngineError, type CameraSpec, type RtspTransport } from '../../engine/types.ts';

export interface CameraProperties {
  name: string;
  camera: string;
  url: string;
  subUrl: string;
  transport: string;
  audio: boolean;
  /** Address of its ONVIF services, for the nodes that steer it; empty: the host of its stream. */
  onvif?: string;
  /** Of `onvif` with https: take any certificate. */
  anyCertificate?: boolean;
}

/** An id made of a name: `Front door (2)` → `front-door-2`. */
export function slug(name: string): string {
  return name
    .normalize('NFKD')
    .toLowerCase()
    .replace(/[\u0300-\u036f]/g, '')
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 64);
}

/** Throws `bad-url` or `bad-camera`. Credentials typed into a URL count where the node has none. */
export function toCameraSpec(
  properties: CameraProperties,
  credentials: { username?: string; password?: string },
  nodeId: string,
): CameraSpec {
  const id = properties.camera || slug(properties.name) || slug(nodeId);
  if (!isCameraId(id)) {
    throw new EngineError(
      'bad-camera',
      `camera id "${id.slice(0, 64)}" is not valid: use a-z, 0-9, - and _, at most 64 characters`,
    );
  }
  const transports: readonly string[] = ['tcp', 'udp', 'http'];
  const transport = transports.includes(properties.transport) ? (properties.transport as RtspTransport) : 'tcp';
  const main = splitCredentials(properties.url.trim());
  const sub = splitCredentials(properties.subUrl.trim());
  const username = credentials.username ?? main.username ?? sub.username;
  const password = credentials.password ?? main.password ?? sub.password;
  parseSource(main.url);
  if (sub.url) parseSource(sub.url);
  return {
    id,
    name: properties.name || id,
    mainUrl: main.url,
    ...(sub.url ? { subUrl: sub.url } : {}),
    ...(username ? { username } : {}),
    ...(password ? { password } : {}),
    transport,
    audio: properties.audio,
  };
}
