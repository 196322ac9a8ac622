/** FFmpeg's arguments for one picture of fragments. */
import { BOUNDED } from './decoding.ts';

/** The first picture of the fMP4 on stdin whose time is `offsetMs` or later. */
export function stillAtArgs(offsetMs: number): string[] {
  return [
    // With the times it has: FFmpeg would move the first packet to zero, and that may be one of sound.
    ...['-hide_banner', '-loglevel', 'error', ...BOUNDED, '-copyts', '-f', 'mp4', '-i', 'pipe:0', '-map', '0:v:0'],
    ...['-ss', (offsetMs / 1000).toFixed(3)],
    ...['-frames:v', '1', '-f', 'image2pipe', '-c:v', 'mjpeg', '-q:v', '3', 'pipe:1'],
  ];
}
