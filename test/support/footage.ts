/** Footage without a camera: files and rows as recording would have made them, of any time and length. */
import { spawnSync } from 'node:child_process';
import { linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { crc32 } from 'node:zlib';
import type { Catalog } from '../../engine/catalog/catalog.ts';
import { encodeGopIndex, ticksOf, type Gop } from '../../engine/catalog/gop-index.ts';
import { copyRebased, FragmentParser, type Fragment } from '../../engine/media/fragment.ts';
import { fileHeader, sealHeader, type InitSegment } from '../../engine/media/init-segment.ts';
import { segmentPath } from '../../engine/recording/segment-path.ts';
import type { StreamName } from '../../engine/types.ts';

export const FPS = 25;
/** Bits of the frame number, as black and white squares in the first row of the picture, the lowest bit first. */
export const BITS = 14;

export interface PictureOptions {
  seconds: number;
  width: number;
  height: number;
  kbps: number;
  /** Seconds from keyframe to keyframe. */
  gop?: number;
  audio?: boolean;
}

/** Fragmented MP4 as ingest receives it. Every frame shows its number, see {@link BITS}. */
export function numberedMedia({ seconds, width, height, kbps, gop = 1, audio = false }: PictureOptions): Buffer {
  const side = Math.floor(width / BITS / 2) * 2;
  const bits = Array.from({ length: BITS }, (_, bit) => {
    const box = (color: string, when: string): string =>
      `drawbox=x=${bit * side}:y=0:w=${side}:h=${side}:color=${color}:t=fill${when}`;
    return [box('black', ''), box('white', `:enable='mod(floor(n/${2 ** bit}),2)'`)].join(',');
  }).join(',');
  const args = [
    ...['-v', 'error', '-nostdin', '-f', 'lavfi', '-i'],
    `testsrc2=size=${width}x${height}:rate=${FPS},noise=alls=10:allf=t,${bits},format=yuv420p`,
    ...(audio ? ['-f', 'lavfi', '-i', 'sine=frequency=440:sample_rate=48000', '-c:a', 'aac'] : []),
    ...['-t', `${seconds}`, '-c:v', 'libx264', '-preset', 'ultrafast', '-bf', '0', '-g', `${FPS * gop}`],
    ...['-keyint_min', `${FPS * gop}`, '-sc_threshold', '0', '-b:v', `${kbps}k`, '-maxrate', `${kbps}k`],
    ...['-bufsize', `${kbps / 2}k`, '-f', 'mp4', '-movflags', '+empty_moov+default_base_moof+frag_keyframe'],
    ...['-frag_duration', '120000', 'pipe:1'],
  ];
  return ffmpeg(args);
}

/** The number that a frame of grey pixels shows. */
export function numberIn(gray: Uint8Array, width: number): number {
  const side = Math.floor(width / BITS / 2) * 2;
  const row = Math.floor(side / 2) * width;
  let number = 0;
  for (let bit = 0; bit < BITS; bit++) if (gray[row + bit * side + side / 2]! > 128) number += 2 ** bit;
  return number;
}

function ffmpeg(args: string[], input?: Buffer): Buffer {
  const { stdout, stderr, status } = spawnSync('ffmpeg', args, {
    maxBuffer: 512 * 1024 * 1024,
    ...(input ? { input } : {}),
  });
  if (status !== 0) throw new Error(`ffmpeg: ${stderr.toString()}`);
  return stdout;
}

/** The same again and again, without encoding it again. */
export function repeated(media: Buffer, times: number): Buffer {
  const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-repeat-'));
  try {
    const file = join(folder, 'media.mp4');
    writeFileSync(file, media);
    return ffmpeg([
      ...['-v', 'error', '-nostdin', '-stream_loop', `${times - 1}`, '-i', file, '-c', 'copy', '-f', 'mp4'],
      ...['-movflags', '+empty_moov+default_base_moof+frag_keyframe', '-frag_duration', '120000', 'pipe:1'],
    ]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

export interface MadeFile {
  path: string;
  startMs: number;
  endMs: number;
  startTicks: number;
  init: InitSegment;
  data: Buffer;
  gops: Gop[];
  gopIndex: Buffer;
}

export interface FileOptions {
  camera: string;
  stream?: StreamName;
  startMs: number;
  segmentMs: number;
  /** As while it is written: without index, not closed. */
  open?: boolean;
}

/** Cuts media into segment files, each rebased to zero. */
export function cutFiles(
  media: Buffer,
  { camera, stream = 'main', startMs, segmentMs, open }: FileOptions,
): MadeFile[] {
  const inits: InitSegment[] = [];
  const fragments: Fragment[] = [];
  const parser = new FragmentParser(
    (init) => inits.push(init),
    (fragment) => fragments.push({ ...fragment, data: Buffer.from(fragment.data) }),
  );
  parser.push(media);
  const [found] = inits;
  if (!found) throw new Error('no init segment');
  const { timescale } = found.video;
  const perFile = (segmentMs * timescale) / 1000;
  const groups: Fragment[][] = [];
  for (const fragment of fragments) {
    const current = groups.at(-1);
    if (!current || (fragment.key && fragment.startTicks - current[0]!.startTicks >= perFile)) groups.push([fragment]);
    else current.push(fragment);
  }
  return groups.map((group): MadeFile => {
    const startTicks = group[0]!.startTicks;
    const header = Buffer.from(fileHeader(found));
    const bodies: Buffer[] = [];
    const gops: Gop[] = [];
    for (const fragment of group) {
      const body = Buffer.alloc(fragment.data.length);
      copyRebased(fragment, found, startTicks, body, 0);
      bodies.push(body);
      if (fragment.key || gops.length === 0) gops.push({ bytes: 0, durationTicks: 0, frames: 0 });
      const gop = gops.at(-1)!;
      gop.bytes += body.length;
      gop.durationTicks += fragment.durationTicks;
      gop.frames += fragment.frames;
    }
    if (!open) for (const { offset, bytes } of sealHeader(header, found.video, gops)) bytes.copy(header, offset);
    const start = Math.round(startMs + (startTicks * 1000) / timescale);
    return {
      path: segmentPath(camera, stream, start),
      startMs: start,
      endMs: Math.round(start + (ticksOf(gops) * 1000) / timescale),
      startTicks,
      init: found,
      data: Buffer.concat([header, ...bodies]),
      gops,
      gopIndex: encodeGopIndex({ timescale, offset: header.length, gops }),
    };
  });
}

/** Writes files into a storage folder, with their rows. */
export function addFootage(catalog: Catalog, storage: string, media: Buffer, options: FileOptions): MadeFile[] {
  const { camera, stream = 'main', open = false } = options;
  const files = cutFiles(media, options);
  for (const file of files) {
    mkdirSync(dirname(join(storage, file.path)), { recursive: true });
    writeFileSync(join(storage, file.path), file.data);
    catalog.transaction(() => {
      const { path, startMs, startTicks, endMs } = file;
      catalog.openSegment({
        camera,
        stream,
        storage,
        path,
        recordingId: null,
        init: file.init.data,
        startMs,
        startTicks,
      });
      if (open) return;
      const frames = file.gops.reduce((sum, gop) => sum + gop.frames, 0);
      const bytes = file.data.length;
      catalog.closeSegment({ storage, path, endMs, bytes, frames, gops: file.gopIndex, hash: crc32(file.data) });
    });
  }
  return files;
}

/** Gives a file a second place in the storage folder, at no cost. */
export function linkFile(storage: string, from: string, to: string): void {
  mkdirSync(dirname(join(storage, to)), { recursive: true });
  linkSync(join(storage, from), join(storage, to));
}
