/** HLS media playlists (RFC 8216) of recorded footage. Pure. */
import type { TimeRange } from '../types.ts';
import type { Playable } from './footage.ts';
import { CHUNK_MS, type Chunk } from './runs.ts';

export function partName({ segment, startMs, firstGop, gops }: Chunk): string {
  return `${segment}-${startMs}-${firstGop}-${gops}.m4s`;
}

/**
 * A playlist of the range. Each run begins with its init segment and its date; between runs there is a discontinuity.
 * A final one is `VOD` and never changes; the others are `EVENT` and only grow.
 * @param query what the addresses in it carry, `?token=…` or nothing
 */
export function mediaPlaylist({ runs, final }: Playable, range: TimeRange, query: string): string {
  const chunks = runs.flatMap((run) => run.chunks);
  const longest = chunks.reduce((most, { durationMs }) => Math.max(most, durationMs), CHUNK_MS);
  const lines = [
    '#EXTM3U',
    '#EXT-X-VERSION:7',
    `#EXT-X-TARGETDURATION:${Math.ceil(longest / 1000)}`,
    `#EXT-X-PLAYLIST-TYPE:${final ? 'VOD' : 'EVENT'}`,
    '#EXT-X-MEDIA-SEQUENCE:0',
    '#EXT-X-INDEPENDENT-SEGMENTS',
  ];
  // A GOP begins before the moment that was asked for; and what still grows would be played from its end.
  const [first] = chunks;
  if (first) {
    const offsetMs = Math.max(0, range.start - first.startMs);
    if (offsetMs > 0 || !final) lines.push(`#EXT-X-START:TIME-OFFSET=${(offsetMs / 1000).toFixed(3)},PRECISE=YES`);
  }
  runs.forEach((run, i) => {
    if (i > 0) lines.push('#EXT-X-DISCONTINUITY');
    lines.push(`#EXT-X-MAP:URI="init-${run.init}.mp4${query}"`);
    let dated = -1;
    for (const chunk of run.chunks) {
      // Once a file: the wall clock is followed there, a player that adds up durations would drift from it.
      if (chunk.segment !== dated) lines.push(`#EXT-X-PROGRAM-DATE-TIME:${new Date(chunk.startMs).toISOString()}`);
      dated = chunk.segment;
      lines.push(`#EXTINF:${(chunk.durationMs / 1000).toFixed(5)},`);
      lines.push(`${partName(chunk)}${query}`);
    }
  });
  if (final) lines.push('#EXT-X-ENDLIST');
  return `${lines.join('\n')}\n`;
}
