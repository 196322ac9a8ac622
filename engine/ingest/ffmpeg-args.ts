/** Every FFmpeg command line of the engine, as pure functions. Options: FFmpeg 5.1 and later. */
import { BOUNDED } from '../media/decoding.ts';
import type { RtspTransport } from '../types.ts';
import type { Source, SourceKind } from './source-url.ts';

/** What cannot be taken as it comes; found out from the first init segment, or in the minutes behind it. */
export interface Transcode {
  /** Encoded, because MP4 players cannot take it. */
  video: boolean;
  audio: boolean;
  /** The time of a picture is that of its arrival: it has none, or a wrong one. */
  arrival: boolean;
}

/** Longest wait for an answer of a camera; bounds how long FFmpeg can hang on a dead connection. */
export const IO_TIMEOUT_MS = 8000;

/**
 * Fragments are cut at keyframes and at this length. A fragment a frame costs twice the CPU on both sides of the pipe
 * (docs/architecture.md has the figures) and gains no viewer more than this.
 */
export const FRAGMENT_MS = 120;

/**
 * Only what the kind of source needs; a playlist or SDP cannot make FFmpeg open local files or other protocols. What comes
 * over HTTP is fetched for it by a relay, and RTSP over HTTP goes through a tunnel: both speak plain HTTP to it.
 */
function protocolsOf(kind: SourceKind, transport: RtspTransport): string {
  switch (kind) {
    case 'rtsp':
      return transport === 'http' ? 'rtp,tcp,http' : transport === 'udp' ? 'rtp,srtp,udp,tcp,tls' : 'rtp,tcp,tls';
    case 'rtmp':
      return 'rtmp,rtmps,tcp,tls';
    case 'http':
      return 'http,tcp,crypto';
    case 'file':
      return 'file';
    case 'lavfi':
      return '';
  }
}

/** How FFmpeg is to open its input. */
export interface InputOptions {
  transport: RtspTransport;
  /** {@link Transcode.arrival} */
  arrival?: boolean;
}

/** A source as FFmpeg is told it. */
export interface Input extends Source {
  /** There is nothing in it that other users may not read. */
  isOpen?: boolean;
}

/** What an address with an account is opened with: neither `q` on stdin nor the order of options is touched by it. */
const SCRIPT = 'async:pipe:3';

const QUICK = { fflags: '+genpts', analyzeduration: '3000000', fpsprobesize: '0' } as const;

/**
 * The script that FFmpeg reads from its file descriptor 3, for addresses that may have a password in them: its command
 * line can be read by every user of the machine. Null for those that are on the command line.
 */
export function inputScript(source: Source, { transport, arrival = false }: InputOptions): string | null {
  if (source.kind !== 'rtsp' && source.kind !== 'rtmp') return null;
  const timeout = String(IO_TIMEOUT_MS * 1000);
  const options: Record<string, string> = {
    protocol_whitelist: protocolsOf(source.kind, transport),
    ...QUICK,
    ...(arrival ? { use_wallclock_as_timestamps: '1' } : {}),
    ...(source.kind === 'rtsp' ? { rtsp_transport: transport, timeout } : { rw_timeout: timeout }),
  };
  // Quoted as FFmpeg reads it; control characters are in no address that was checked.
  const file = source.input.replaceAll("'", String.raw`'\''`);
  const lines = Object.entries(options).map(([name, value]) => `option ${name} ${value}`);
  return ['ffconcat version 1.0', `file '${file}'`, ...lines, ''].join('\n');
}

function inputArgs(source: Input, { transport, arrival = false }: InputOptions, realTime: boolean): string[] {
  const protocols = ['-protocol_whitelist', protocolsOf(source.kind, transport)];
  const quick = ['-analyzeduration', QUICK.analyzeduration, '-fpsprobesize', QUICK.fpsprobesize];
  switch (source.kind) {
    case 'rtsp':
    case 'rtmp': {
      if (source.kind === 'rtsp' && source.isOpen) {
        return [
          ...[...protocols, '-fflags', QUICK.fflags, ...quick],
          ...(arrival ? ['-use_wallclock_as_timestamps', '1'] : []),
          ...['-rtsp_transport', transport, '-timeout', String(IO_TIMEOUT_MS * 1000), '-i', source.input],
        ];
      }
      const script = ['-f', 'concat', '-safe', '0', '-auto_convert', '0', '-i', SCRIPT];
      return ['-protocol_whitelist', `async,pipe,${protocolsOf(source.kind, transport)}`, ...quick, ...script];
    }
    case 'http':
      return [
        ...[...protocols, '-fflags', QUICK.fflags, ...quick],
        ...(arrival ? ['-use_wallclock_as_timestamps', '1'] : []),
        ...['-rw_timeout', String(IO_TIMEOUT_MS * 1000), '-i', source.input],
      ];
    case 'file':
      return [...protocols, ...(realTime ? ['-re', '-stream_loop', '-1'] : []), '-i', source.input];
    case 'lavfi':
      return [...(realTime ? ['-re'] : []), '-f', 'lavfi', '-i', source.input];
  }
}

const H264 = ['-c:v', 'libx264', '-preset', 'veryfast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p', '-threads', '1'];
const KEYFRAME_EVERY_SECOND = ['-force_key_frames', 'expr:gte(t,n_forced)'];

/** The one process of a stream: copies it into fragmented MP4 on stdout. */
export function ingestArgs(
  source: Input,
  options: { transport: RtspTransport; audio: boolean; transcode: Transcode },
): string[] {
  const { arrival } = options.transcode;
  const encodeVideo = source.kind === 'lavfi' || options.transcode.video;
  const encodeAudio = options.transcode.audio || arrival;
  return [
    '-hide_banner',
    '-nostats',
    ...['-loglevel', 'warning'],
    ...inputArgs(source, { transport: options.transport, arrival }, true),
    ...['-map', '0:v:0'],
    ...(options.audio ? ['-map', '0:a:0?'] : []),
    ...(encodeVideo ? [...H264, ...KEYFRAME_EVERY_SECOND] : ['-c:v', 'copy']),
    // Each picture once, however soon behind another: in units of the rate that is told, those of a lump would be one.
    ...(encodeVideo && source.kind !== 'lavfi' ? ['-fps_mode', 'vfr', '-enc_time_base', '1:90000'] : []),
    ...(options.audio ? ['-c:a', encodeAudio ? 'aac' : 'copy'] : []),
    // Packets of sound come in lumps: what is heard must not.
    ...(options.audio && arrival ? ['-af', 'aresample=async=1000'] : []),
    ...['-f', 'mp4', '-movflags', '+empty_moov+default_base_moof+frag_keyframe'],
    ...['-frag_duration', String(FRAGMENT_MS * 1000), '-flush_packets', '1'],
    'pipe:1',
  ];
}

/** ffprobe of an address, as JSON. */
export function probeArgs(source: Input, transport: RtspTransport): string[] {
  return ['-v', 'error', '-of', 'json', '-show_streams', ...inputArgs(source, { transport }, false)];
}

/** One JPEG of an address on stdout. */
export function stillArgs(source: Input, transport: RtspTransport): string[] {
  return [
    '-hide_banner',
    ...['-loglevel', 'error'],
    ...inputArgs(source, { transport }, false),
    ...['-map', '0:v:0', '-frames:v', '1', '-vf', "scale='min(640,iw)':-2"],
    ...['-f', 'image2pipe', '-c:v', 'mjpeg', '-q:v', '4', 'pipe:1'],
  ];
}

/** The first picture of the fMP4 on stdin as JPEG on stdout. */
export function snapshotArgs(): string[] {
  return [
    '-hide_banner',
    ...['-loglevel', 'error', ...BOUNDED, '-f', 'mp4', '-i', 'pipe:0'],
    ...['-map', '0:v:0', '-frames:v', '1', '-f', 'image2pipe', '-c:v', 'mjpeg', '-q:v', '3', 'pipe:1'],
  ];
}
