/** "Test stream" of the editor: what a camera sends, and a picture, or why not. */
import { dirname, join, basename } from 'node:path';
import { redact } from '../../engine/diagnostics/redact.ts';
import { classifyFailure } from '../../engine/ingest/failure.ts';
import { probeArgs, stillArgs } from '../../engine/ingest/ffmpeg-args.ts';
import { runJob } from '../../engine/ingest/ffmpeg-process.ts';
import { openAccess, type Access } from '../../engine/ingest/source-access.ts';
import { parseSource, splitCredentials } from '../../engine/ingest/source-url.ts';
import { EngineError, type OfflineReason, type RtspTransport } from '../../engine/types.ts';

export interface TestRequest {
  url: string;
  username?: string;
  password?: string;
  transport: RtspTransport;
  ffmpegPath: string;
}

export type TestResult =
  | {
      ok: true;
      video: { codec: string; width: number; height: number; fps: number };
      audio: { codec: string; sampleRate: number; channels: number } | null;
      still: string;
    }
  | { ok: false; reason: OfflineReason | 'url'; message: string };

interface ProbedStream {
  codec_type?: string;
  codec_name?: string;
  width?: number;
  height?: number;
  avg_frame_rate?: string;
  r_frame_rate?: string;
  sample_rate?: string;
  channels?: number;
}

const TIMEOUT_MS = 20_000;

export async function testStream(request: TestRequest): Promise<TestResult> {
  const secrets = [request.password, splitCredentials(request.url.trim()).password];
  let access: Access | null = null;
  try {
    const { transport } = request;
    access = await openAccess(parseSource(request.url, request), { transport }, { secrets });
    const { source, hidden } = access;
    const ffprobe = join(dirname(request.ffmpegPath), basename(request.ffmpegPath).replace('ffmpeg', 'ffprobe'));
    const path = request.ffmpegPath.includes('/') || request.ffmpegPath.includes('\\') ? ffprobe : basename(ffprobe);
    const job = { timeoutMs: TIMEOUT_MS, secrets, network: hidden.offline !== true, hidden };
    const probe = await runJob(path, probeArgs(source, transport), job);
    const streams =
      probe.code === 0 ? (JSON.parse(probe.stdout.toString('utf8')) as { streams?: ProbedStream[] }).streams : [];
    const video = streams?.find((stream) => stream.codec_type === 'video');
    if (!video) {
      const problem = access.problem();
      if (problem) return { ok: false, reason: problem.reason, message: redact(problem.detail, secrets) };
      const reason = probe.code === 0 ? 'codec' : classifyFailure(probe.stderr);
      return { ok: false, reason, message: probe.stderr.at(-1) ?? 'there is no video in this stream' };
    }
    const audio = streams?.find((stream) => stream.codec_type === 'audio');
    const still = await runJob(request.ffmpegPath, stillArgs(source, transport), job);
    return {
      ok: true,
      video: {
        codec: video.codec_name ?? 'unknown',
        width: video.width ?? 0,
        height: video.height ?? 0,
        fps: rateOf(video.avg_frame_rate) || rateOf(video.r_frame_rate),
      },
      audio: audio
        ? {
            codec: audio.codec_name ?? 'unknown',
            sampleRate: Number(audio.sample_rate ?? 0),
            channels: audio.channels ?? 0,
          }
        : null,
      still: still.stdout.length > 0 ? `data:image/jpeg;base64,${still.stdout.toString('base64')}` : '',
    };
  } catch (error) {
    const code = error instanceof EngineError ? error.code : 'error';
    const known = (['redirect', 'timeout', 'ffmpeg'] as const).find((one) => one === code);
    const reason = code === 'bad-url' ? 'url' : (known ?? 'error');
    return { ok: false, reason, message: redact(error instanceof Error ? error.message : String(error), secrets) };
  } finally {
    access?.close();
  }
}

/** `30000/1001` as a number with two decimals; 0 when it is not one. */
function rateOf(text: string | undefined): number {
  const [numerator, denominator] = (text ?? '').split('/').map(Number);
  const rate = (numerator ?? 0) / (denominator ?? 1);
  return Number.isFinite(rate) ? Math.round(rate * 100) / 100 : 0;
}
