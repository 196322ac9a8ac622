/** What may be done to cameras and recorders over HTTP. */
import { EngineError } from '../types.ts';
import type { NvrService } from './service.ts';

export const CAMERA_COMMANDS = ['record', 'stop-record', 'start', 'stop', 'restart'] as const;
export const NVR_COMMANDS = ['panic', 'release'] as const;

/** The body of a request as an object. Throws `bad-request`. */
export function bodyOf(body: unknown): Record<string, unknown> {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>;
  throw new EngineError('bad-request', 'the body must be a JSON object with Content-Type: application/json');
}

function commandIn<T extends string>(body: Record<string, unknown>, commands: readonly T[]): T {
  const known = commands.find((command) => command === body['command']);
  if (known) return known;
  throw new EngineError('bad-request', `command must be one of ${commands.join(', ')}`);
}

/**
 * Records a camera by hand, or starts and stops the camera itself. Rejects with `bad-request`, `unknown-camera`, or
 * `not-found` when no recorder has the camera.
 */
export async function controlCamera(nvr: NvrService, camera: string, body: Record<string, unknown>): Promise<void> {
  const { host } = nvr;
  const command = commandIn(body, CAMERA_COMMANDS);
  if (!host.cameraMessage(camera)) throw new EngineError('unknown-camera', `there is no camera ${camera}`);
  if (command !== 'record' && command !== 'stop-record') {
    await host.commandCamera(camera, command);
    return;
  }
  const recorders = recordersOf(nvr, camera);
  const order = command === 'record' ? 'start' : 'stop';
  await Promise.all(recorders.map((recorder) => host.commandRecorder(recorder, order, camera)));
}

/** Records everything whatever the recorders are set to, until `release`. Rejects with `bad-request` or `not-found`. */
export async function controlAll(nvr: NvrService, body: Record<string, unknown>): Promise<void> {
  const command = commandIn(body, NVR_COMMANDS);
  // The command is for all recorders, whichever of them takes it.
  await nvr.host.commandRecorder(recordersOf(nvr, null)[0]!, command, null);
}

/** Passes a command on to whatever steers the camera. */
export async function steer(
  nvr: NvrService,
  camera: string,
  body: Record<string, unknown>,
): Promise<Record<string, unknown>> {
  return ptzOf(nvr, camera).execute(body);
}

/** Throws `not-found`. */
export function ptzOf(nvr: NvrService, camera: string) {
  const ptz = nvr.ptz.get(camera);
  if (!ptz) throw new EngineError('not-found', `camera ${camera} cannot be steered: there is no ptz node for it`);
  return ptz;
}

function recordersOf({ host }: NvrService, camera: string | null): string[] {
  const recorders = host.recordersOf(camera);
  if (recorders.length > 0) return recorders;
  throw new EngineError(
    'not-found',
    camera ? `no recorder has camera ${camera}: wire it to one` : 'there is no recorder: add one to the flow',
  );
}
