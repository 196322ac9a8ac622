/** JPEG pictures that a camera made, or FFmpeg of a camera's media, and that sharp reads in this process. */
import type { Sharp } from 'sharp';
import { EngineError } from '../types.ts';

/** Larger than any camera's picture. */
const MAX_BYTES = 32 * 1024 * 1024;
export const MAX_PIXELS = 64 * 1024 * 1024;

/**
 * Opens a picture with sharp. Only JPEG: libvips has loaders for dozens of formats, and takes the one that the first bytes
 * ask for. Rejects with `bad-media`; what is damaged is told when it is read.
 */
export async function openJpeg(image: Uint8Array): Promise<Sharp> {
  if (image.length > MAX_BYTES || image[0] !== 0xff || image[1] !== 0xd8 || image[2] !== 0xff)
    throw new EngineError('bad-media', 'the picture is not a JPEG of a size that cameras make');
  const { default: sharp } = await import('sharp'); // when first needed: the recording starts before it
  return sharp(image, { limitInputPixels: MAX_PIXELS, failOn: 'error' });
}
