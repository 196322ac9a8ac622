/**
 * The camera of the PTZ demo of `npm start`: a simulated ONVIF device, and the picture that follows where it looks. Ends
 * with its parent. Ports: see flows/nvr.json.
 */
import { OnvifCamera } from '../test/support/onvif-camera.ts';
import { PanningPicture } from '../test/support/panning-picture.ts';

const ONVIF_PORT = 18_480;
const PICTURE_PORT = 18_481;
const PRESETS = {
  Door: { pan: -0.9, tilt: -0.2, zoom: 0.6 },
  Gate: { pan: 0.02, tilt: -0.3, zoom: 0.55 },
  Yard: { pan: 0.8, tilt: -0.3, zoom: 0.5 },
  All: { pan: 0, tilt: -0.8, zoom: 0 },
};

const camera = new OnvifCamera({
  ...{ name: 'Demo PTZ', auth: 'none', presets: {} },
  speeds: { pan: 0.5, tilt: 0.5, zoom: 0.4 },
});
Object.entries(PRESETS).forEach(([name, position], i) => camera.presets.set(String(i + 1), { name, position }));
camera.homePosition = PRESETS.All;
for (const axis of ['pan', 'tilt', 'zoom'] as const) camera.table.place(axis, PRESETS.All[axis]);

try {
  await new PanningPicture({ position: () => camera.table.position, traffic: true }).start(PICTURE_PORT);
  await camera.start(ONVIF_PORT);
} catch (error) {
  console.error(
    `The demo camera that can be steered needs the ports ${ONVIF_PORT} and ${PICTURE_PORT} (${(error as NodeJS.ErrnoException).code ?? String(error)}): it stays away.`,
  );
  process.exit(0);
}
process.stdin.resume().on('end', () => process.exit(0));
