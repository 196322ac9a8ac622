/**
 * Thread that analyses streams: see motion/analyser.ts. It shares nothing with the recording but the fragments it is sent,
 * and may die without it. `workerData` is the path of FFmpeg.
 */
import { randomUUID } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { systemClock } from '../clock.ts';
import { spawnDecoder } from '../ingest/ffmpeg-process.ts';
import type { ActivityMinute } from '../motion/activity.ts';
import { Analyser, type AnalyserState, type AnalysisMedia, type MotionMode } from '../motion/analyser.ts';
import type { FrameMotion, MotionEvent, MotionSettings } from '../motion/types.ts';

/** What a tuning dialog shows. */
export interface TuningPicture {
  width: number;
  height: number;
  /** Grey, a byte a pixel. */
  pixels: Uint8Array;
  motion: FrameMotion;
  learned: { noise: Uint8Array; threshold: Uint8Array; ignored: Uint8Array };
}

/** `key` names an analysis: a node's of a camera. */
export type MotionRequest =
  | { op: 'set'; key: string; mode: MotionMode; settings: MotionSettings; frames: boolean }
  | { op: 'media'; key: string; media: AnalysisMedia }
  | { op: 'restart'; key: string }
  | { op: 'remove'; key: string }
  | { op: 'picture'; key: string; id: number };

export type MotionReply =
  | { key: string; want: number | null }
  | { key: string; taken: number }
  | { key: string; event: MotionEvent; time: number }
  | { key: string; frame: FrameMotion }
  | { key: string; minute: ActivityMinute }
  | { key: string; state: AnalyserState }
  | { key: string; id: number; picture: TuningPicture | null };

const port = parentPort!;
const tell = (reply: MotionReply): void => port.postMessage(reply);

interface Running {
  analyser: Analyser;
  frames: boolean;
}

const analyses = new Map<string, Running>();

function start(key: string, { mode, settings, frames }: Extract<MotionRequest, { op: 'set' }>): Running {
  const analyser = new Analyser(
    mode,
    settings,
    {
      want: (sinceMs) => tell({ key, want: sinceMs }),
      event: (event, time) => tell({ key, event, time }),
      frame: (frame) => {
        if (analyses.get(key)?.frames) tell({ key, frame });
      },
      activity: (minute) => tell({ key, minute }),
      state: (state) => tell({ key, state }),
    },
    { clock: systemClock, spawn: spawnDecoder, ffmpegPath: workerData as string, newId: randomUUID },
  );
  return { analyser, frames };
}

port.on('message', (request: MotionRequest) => {
  const { key } = request;
  const running = analyses.get(key);
  if (request.op === 'set') {
    if (running) {
      running.frames = request.frames;
      running.analyser.configure(request.mode, request.settings);
    } else {
      analyses.set(key, start(key, request));
    }
    return;
  }
  if (request.op === 'picture') {
    tell({ key, id: request.id, picture: running?.analyser.picture() ?? null });
    return;
  }
  if (request.op === 'media') {
    running?.analyser.media(request.media);
    if (request.media.kind === 'fragment') tell({ key, taken: request.media.data.length });
  } else if (request.op === 'restart') {
    running?.analyser.restart();
  } else {
    running?.analyser.close();
    analyses.delete(key);
  }
});
