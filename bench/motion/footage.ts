/** Scenes as a camera would send them: encoded with few bits, and decoded small, as motion detection gets them. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LavfiScene } from './lavfi-scenes.ts';
import { HEIGHT, WIDTH } from './picture.ts';
import type { Scene } from './scenes.ts';

export const FRAME_WIDTH = 320;
export const FRAME_HEIGHT = 180;
export const FRAME_BYTES = FRAME_WIDTH * FRAME_HEIGHT;
export const FRAME_MS = 200;
/** Counts up when scenes change, so that old clips are not taken. */
const VERSION = 2;

const folder = join(tmpdir(), 'flow-nvr-motion-clips');

async function ended(child: ReturnType<typeof spawn>, what: string): Promise<void> {
  const [code] = (await once(child, 'exit')) as [number | null];
  if (code !== 0) throw new Error(`ffmpeg could not ${what}`);
}

async function encode(scene: Scene | LavfiScene, file: string): Promise<void> {
  const { fps, gop, kbps, seconds } = scene;
  const input =
    'graph' in scene
      ? ['-filter_complex', scene.graph, '-t', `${seconds}`]
      : ['-f', 'rawvideo', '-pix_fmt', 'gray', '-s', `${WIDTH}x${HEIGHT}`, '-r', `${fps}`, '-i', 'pipe:0'];
  const rate = ['-b:v', `${kbps}k`, '-maxrate', `${kbps * 1.5}k`, '-bufsize', `${kbps * 2}k`];
  const video = ['-c:v', 'libx264', '-preset', 'superfast', '-bf', '0', '-g', `${gop * fps}`, '-sc_threshold', '0'];
  const output = ['-threads', '1', ...rate, '-pix_fmt', 'yuv420p', '-f', 'mp4', '-y', `${file}.part`];
  const child = spawn('ffmpeg', ['-v', 'error', '-nostdin', ...input, ...video, ...output], {
    stdio: ['pipe', 'inherit', 'inherit'],
  });
  const done = ended(child, `encode ${scene.name}`);
  if ('paint' in scene) {
    for (let frame = 0; frame < seconds * fps; frame++) {
      const pixels = new Uint8Array(WIDTH * HEIGHT);
      scene.paint(frame / fps, pixels);
      if (!child.stdin.write(pixels)) await Promise.race([once(child.stdin, 'drain'), done]);
    }
  }
  child.stdin.end();
  await done;
  renameSync(`${file}.part`, file);
}

/** Grey frames of a video, one after the other, five a second. */
export async function decode(file: string): Promise<Uint8Array> {
  const raw = join(folder, `${process.pid}.raw`);
  mkdirSync(folder, { recursive: true });
  const filter = `fps=${1000 / FRAME_MS},scale=${FRAME_WIDTH}:${FRAME_HEIGHT}:flags=area,format=gray`;
  const args = ['-v', 'error', '-nostdin', '-i', file, '-vf', filter, '-f', 'rawvideo', '-y', raw];
  await ended(spawn('ffmpeg', args, { stdio: ['ignore', 'ignore', 'inherit'] }), `decode ${file}`);
  const frames = readFileSync(raw);
  rmSync(raw);
  return frames;
}

/** The clip is made once on a machine. */
export async function frames(scene: Scene | LavfiScene, seed: number): Promise<Uint8Array> {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${scene.name.replaceAll(/\W+/g, '-')}-${seed}-v${VERSION}.mp4`);
  if (!existsSync(file)) await encode(scene, file);
  return decode(file);
}
