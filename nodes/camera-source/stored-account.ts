/** The password that Node-RED keeps for a camera goes to that camera only, whatever address the dialog has. */
import type { NodeAPI, NodeDef } from 'node-red';
import { placeOf } from '../../engine/ingest/camera-address.ts';
import { EngineError } from '../../engine/types.ts';
import type { CameraProperties } from './camera-spec.ts';

export interface Credentials {
  username?: string;
  password?: string;
}

/** What the editor has in place of a password that is stored. */
const STORED = '__PWRD__';

/**
 * The account to use at an address that the dialog asks about.
 *
 * The stored password is used where the deployed node of that id has the same host in one of its addresses, and never
 * without TLS where that has it. The port does not count: a camera has its streams, its web pages and ONVIF at different ones.
 *
 * Throws `password` where it would have to be used elsewhere: it must be typed again.
 */
export function accountFor(
  RED: NodeAPI,
  { id, address, username, password }: { id: string; address: string; username: string; password: string },
): Credentials {
  if (password !== STORED) return { username, password };
  const place = placeOf(address);
  // A file or a test picture: there is nobody to tell it to.
  if (!place) return {};
  const deployed: (CameraProperties & NodeDef)[] = [];
  RED.nodes.eachNode((node) => {
    if (node.id === id && node.type === 'camera-source') deployed.push(node as CameraProperties & NodeDef);
  });
  const own = deployed
    .flatMap(({ url, subUrl, onvif }) => [url, subUrl, onvif ?? ''])
    .map((one) => placeOf(one))
    .some((one) => one?.host === place.host && (place.encrypted || !one.encrypted));
  if (!own) {
    throw new EngineError(
      'password',
      `the stored password is for the host that this camera was deployed with: enter it again to use it at ${place.host}`,
    );
  }
  const stored = RED.nodes.getCredentials(id) as Credentials | undefined;
  return { username: username || (stored?.username ?? ''), password: stored?.password ?? '' };
}
