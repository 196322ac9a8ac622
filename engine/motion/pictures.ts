/** Pictures for people: the frame that was analysed, and boxes drawn where something moves. */
import { openJpeg } from '../media/jpeg.ts';
import type { Box } from './types.ts';

/** Libraries are loaded when the first picture is made: recording starts before them. */
const sharp = async (): Promise<(typeof import('sharp'))['default']> => (await import('sharp')).default;

/** @param image JPEG @returns JPEG of the same size */
export async function drawBoxes(image: Uint8Array, boxes: readonly Box[]): Promise<Buffer> {
  const picture = await openJpeg(image);
  const { width, height } = await picture.metadata();
  const line = Math.max(2, Math.round(width / 320));
  const rectangles = boxes.map(
    (box) =>
      `<rect x="${box.x * width}" y="${box.y * height}" width="${box.width * width}" height="${box.height * height}"/>`,
  );
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><g fill="none" stroke="#ffd400" stroke-width="${line}">${rectangles.join('')}</g></svg>`;
  return picture
    .composite([{ input: Buffer.from(svg) }])
    .jpeg({ quality: 85 })
    .toBuffer();
}

export async function greyJpeg({
  pixels,
  width,
  height,
}: {
  pixels: Uint8Array;
  width: number;
  height: number;
}): Promise<Buffer> {
  return (await sharp())(pixels, { raw: { width, height, channels: 1 } })
    .jpeg({ quality: 70 })
    .toBuffer();
}
