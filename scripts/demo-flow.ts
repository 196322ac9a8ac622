/** The flow of `npm start -- --camera id=url …`: the bundled one with the user's cameras in place of the demo's. Pure. */
import { parseSource, splitCredentials } from '../engine/ingest/source-url.ts';
import { isCameraId } from '../engine/recording/segment-path.ts';

export interface FlowNode {
  id: string;
  type: string;
  name?: string;
  x?: number;
  y?: number;
  wires?: string[][];
  credentials?: { username?: string; password?: string };
  [property: string]: unknown;
}

export interface Camera {
  id: string;
  url: string;
  /** Of the account that the address names. */
  password?: string;
}

/** Distance of two cameras on the canvas. */
const ROW = 60;
/** The comment that is only true of the demo. */
const DEMO_NOTE = 'nvr-demo';
/** The tab of the camera that can be steered, which is simulated. */
const DEMO_TAB = 'nvr-ptz-tab';

/** `front=rtsp://…` of the command line. Throws with what to write instead, never with the address. */
export function parseCamera(argument: string): Camera {
  const equals = argument.indexOf('=');
  const id = argument.slice(0, Math.max(equals, 0));
  const url = argument.slice(equals + 1).trim();
  if (!isCameraId(id)) {
    throw new Error(
      '--camera takes id=url, the id of a-z, 0-9, - and _: for example --camera front=rtsp://user@192.168.1.10/stream1',
    );
  }
  try {
    parseSource(url);
  } catch (error) {
    throw new Error(`--camera ${id}: ${error instanceof Error ? error.message : 'wrong address'}`, { cause: error });
  }
  return { id, url };
}

/** Credentials go into `credentials`, which Node-RED's admin API puts into its encrypted store. */
function cameraNode(template: FlowNode, { id, url, password }: Camera, row: number): FlowNode {
  const { url: address, username } = splitCredentials(url);
  const node = {
    ...template,
    id: `nvr-camera-${id}`,
    name: id,
    camera: id,
    url: address,
    y: (template.y ?? 0) + row * ROW,
  };
  const credentials = {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
  return Object.keys(credentials).length > 0 ? { ...node, credentials } : node;
}

/**
 * The bundled flow with other cameras. What is drawn below the demo's, on their tab, moves with their number, and what
 * names the first of them names the first of the others. Throws when two cameras have one id.
 */
export function withCameras(flow: readonly FlowNode[], cameras: readonly Camera[]): FlowNode[] {
  const twice = cameras.find(({ id }, i) => cameras.findIndex((other) => other.id === id) !== i);
  if (twice) throw new Error(`--camera ${twice.id} is given twice: give each camera its own id`);
  const kept = flow.filter(({ id, z }) => id !== DEMO_TAB && z !== DEMO_TAB);
  const demo = kept.filter((node) => node.type === 'camera-source');
  const [template] = demo;
  if (!template) throw new Error('the bundled flow has no camera-source');
  const bottom = Math.max(...demo.map((node) => node.y ?? 0));
  const shift = (cameras.length - demo.length) * ROW;
  const first = cameras[0]!.id;
  const rest = kept
    .filter((node) => node.type !== 'camera-source' && node.id !== DEMO_NOTE)
    .map((node) => ({
      ...node,
      ...(node['z'] === template['z'] && node.y !== undefined && node.y > bottom ? { y: node.y + shift } : {}),
    }))
    .map((node) => JSON.parse(JSON.stringify(node).replaceAll(String(template['camera']), first)) as FlowNode);
  return [...rest, ...cameras.map((camera, row) => cameraNode(template, camera, row))];
}
