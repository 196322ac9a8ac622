/** What a camera shows where it stands, as a small picture. */
import { setTimeout as wait } from 'node:timers/promises';
import type { EngineHost } from '../../engine/engine-host.ts';
import { openJpeg } from '../../engine/media/jpeg.ts';

const WIDTH = 320;
const MAX_BYTES = 40 * 1024;
/** Until what it shows now has come through its encoder and the network. */
const BEHIND_MS = 1200;
/** The last makes any picture small enough. */
const QUALITIES = [80, 60, 40, 10];

/** JPEG of what it shows now. Rejects with `offline`. */
export async function pictureNow(host: EngineHost, camera: string): Promise<{ image: Buffer; time: number }> {
  const time = Date.now();
  await wait(BEHIND_MS, undefined, { ref: false });
  const { image } = await host.still(camera, time + BEHIND_MS / 2);
  const small = (await openJpeg(image)).resize({ width: WIDTH, withoutEnlargement: true });
  let jpeg = Buffer.alloc(0);
  for (const quality of QUALITIES) {
    jpeg = await small.clone().jpeg({ quality }).toBuffer();
    if (jpeg.length <= MAX_BYTES) break;
  }
  return { image: jpeg, time };
}
