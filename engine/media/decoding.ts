/** What every decoder of a camera's pictures is told. */
import { MAX_PIXELS } from './jpeg.ts';

/**
 * A header may claim any size, and a decoder takes memory for it: FFmpeg refuses pictures beyond twice the largest that
 * H.264 and H.265 know (level 6.2: 35.7 megapixels). Options before `-i`.
 */
export const BOUNDED: readonly string[] = ['-max_pixels', String(MAX_PIXELS)];
