/** A few pictures of a clip, moving. */
import { openJpeg } from '../media/jpeg.ts';
import type { Strip } from '../playback/stills.ts';

export const PREVIEW_FRAMES = 8;
export const PREVIEW_WIDTH = 320;
const FRAME_MS = 400;

/** The pictures of a strip one after the other, as an animated WebP that does not end. */
export async function animate({ image, times }: Strip): Promise<Buffer> {
  const { default: sharp } = await import('sharp'); // when first needed: the recording starts before it
  const picture = await openJpeg(image);
  const { width, height } = await picture.metadata();
  const each = Math.floor(width / times.length);
  const frames = await Promise.all(
    times.map((_, i) =>
      picture
        .clone()
        .extract({ left: i * each, top: 0, width: each, height })
        .png()
        .toBuffer(),
    ),
  );
  return sharp(frames, { join: { animated: true } })
    .webp({ quality: 60, effort: 2, loop: 0, delay: times.map(() => FRAME_MS) })
    .toBuffer();
}
