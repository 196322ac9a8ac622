/** What FFmpeg's last words mean for the user. */
import type { OfflineReason } from '../types.ts';

const PATTERNS: readonly (readonly [RegExp, OfflineReason])[] = [
  [/401 Unauthorized|403 Forbidden|authorization failed/i, 'auth'],
  [
    /Failed to resolve hostname|Name or service not known|No route to host|Network is unreachable|EHOSTUNREACH/i,
    'host',
  ],
  [/Connection refused/i, 'refused'],
  [/404|Not Found|No such file or directory|454 Session/i, 'path'],
  [/timed out|ETIMEDOUT/i, 'timeout'],
  [/Could not find codec parameters|matches no streams|Could not find tag for codec|Unknown decoder/i, 'codec'],
  [/Connection reset|Broken pipe|End of file|I\/O error|Input\/output error/i, 'ended'],
];

/** Sorts a failure by the lines FFmpeg wrote; `ended` when it just stopped. */
export function classifyFailure(lines: readonly string[]): OfflineReason {
  const text = lines.join('\n');
  return PATTERNS.find(([pattern]) => pattern.test(text))?.[1] ?? (lines.length === 0 ? 'ended' : 'error');
}

/** FFmpeg refused the audio codec for MP4: the answer is to encode it. */
export function isAudioRefused(lines: readonly string[]): boolean {
  return lines.some((line) =>
    /Could not find tag for codec (pcm_|adpcm_|g72|amr|wma|vorbis|flac|opus|speex)/i.test(line),
  );
}

/** Wait before try number `failures` (1 = first retry): 0.5 s doubling to 30 s, ±20 % so that cameras spread. */
export function backoffMs(failures: number, random: number): number {
  const base = Math.min(30_000, 500 * 2 ** Math.max(0, failures - 1));
  return Math.round(base * (0.8 + 0.4 * random));
}

/** Why a camera gives no pictures. */
export interface Problem {
  reason: OfflineReason;
  detail: string;
}

/** @param host with its port, as a device named it */
export function redirectedTo(host: string): string {
  return `the camera redirects to ${host.slice(0, 100)}, which does not get its account: enter that address if it is right`;
}

/** Why a camera could not be connected to. */
export function unreachable({ code, message }: NodeJS.ErrnoException): Problem {
  switch (code) {
    case 'ECONNREFUSED':
      return { reason: 'refused', detail: 'Connection refused' };
    case 'ETIMEDOUT':
      return { reason: 'timeout', detail: 'Connection timed out' };
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
    case 'EHOSTUNREACH':
    case 'ENETUNREACH':
      return { reason: 'host', detail: `the camera's host cannot be reached (${code})` };
    default:
      return { reason: 'ended', detail: message.slice(0, 200) };
  }
}
