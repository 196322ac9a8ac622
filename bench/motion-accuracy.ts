/**
 * How well motion is found: clips with labels, made by code and by FFmpeg's filters, encoded as cameras do, decoded as motion detection gets them,
 * and run through the model with its default settings. The seeds here are not those that it was developed with.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { MotionEvents } from '../engine/motion/events.ts';
import { MotionModel } from '../engine/motion/model.ts';
import { DEFAULT_SETTINGS } from '../engine/motion/types.ts';
import { check, progress, type BenchResult } from './measure.ts';
import { decode, FRAME_BYTES, FRAME_HEIGHT, FRAME_MS, FRAME_WIDTH, frames } from './motion/footage.ts';
import { runningAverage } from './motion/running-average.ts';
import { lavfiScenes } from './motion/lavfi-scenes.ts';
import { scenes, type Label } from './motion/scenes.ts';
import { p95, score, total, type Detection, type Score } from './motion/score.ts';
import type { Options } from './run.ts';

const SEEDS = [11, 12];
const SHORT_SCENES = [
  ...['fast', 'two at once', 'silent: exposure', 'silent: clock'],
  ...['lavfi bars', 'lavfi quick, before stripes', 'lavfi silent: lights before bars', 'lavfi silent: rain'],
];
const FOOTAGE = process.env.FLOW_NVR_VIDEO ?? join(import.meta.dirname, '..', '..', 'shared', 'video');
const MAX_COST_MS = 0.3;
/** So many clips are run again to measure it. */
const TIMED_CLIPS = 8;
const HOUR_MS = 3_600_000;

type Maker = 'painted' | 'lavfi' | 'real';

interface Clip {
  name: string;
  maker: Maker;
  seconds: number;
  labels: Label[];
  pixels: Uint8Array;
}

/** Runs the clip so often, one time after the other, as one recording. */
function detect({ pixels }: Clip, times = 1, each?: () => void): { found: Detection[]; cpuMs: number; frames: number } {
  const model = new MotionModel(DEFAULT_SETTINGS);
  let ids = 0;
  const events = new MotionEvents(DEFAULT_SETTINGS, () => `${++ids}`);
  const found: Detection[] = [];
  let time = 0;
  let cpuMs = 0;
  for (let n = 0; n < times; n++) {
    const before = process.cpuUsage();
    for (let at = 0; at + FRAME_BYTES <= pixels.length; at += FRAME_BYTES, time += FRAME_MS) {
      const frame = { time, width: FRAME_WIDTH, height: FRAME_HEIGHT, pixels: pixels.subarray(at, at + FRAME_BYTES) };
      for (const event of events.step(model.step(frame))) {
        if (event.phase === 'end') found.push({ start: event.start / 1000, end: event.end! / 1000 });
      }
    }
    const { user, system } = process.cpuUsage(before);
    cpuMs += (user + system) / 1000;
    each?.();
  }
  for (const event of events.flush(time)) {
    if (event.phase === 'end') found.push({ start: event.start / 1000, end: event.end! / 1000 });
  }
  return { found, cpuMs, frames: time / FRAME_MS };
}

async function* clips(short: boolean): AsyncGenerator<Clip> {
  for (const seed of short ? SEEDS.slice(0, 1) : SEEDS) {
    for (const scene of [...scenes(seed), ...lavfiScenes(seed)]) {
      if (short && !SHORT_SCENES.includes(scene.name)) continue;
      const maker = 'graph' in scene ? 'lavfi' : 'painted';
      yield { ...scene, name: `${scene.name} ${seed}`, maker, pixels: await frames(scene, seed) };
    }
  }
  const labels = join(FOOTAGE, 'person-visits.labels.json');
  if (!existsSync(labels)) return progress('no real footage: only generated clips');
  const { file, events } = JSON.parse(readFileSync(labels, 'utf8')) as { file: string; events: Label[] };
  const pixels = await decode(join(FOOTAGE, file));
  const seconds = ((pixels.length / FRAME_BYTES) * FRAME_MS) / 1000;
  yield { name: file, maker: 'real', seconds, labels: events, pixels };
}

/** CPU time of the model, when everything is compiled. */
function cost(of: Clip[]): { cpuMs: number; count: number } {
  for (const clip of of) detect(clip, 2);
  let cpuMs = 0;
  let count = 0;
  for (const clip of of) {
    const result = detect(clip, 2);
    cpuMs += result.cpuMs;
    count += result.frames;
  }
  return { cpuMs, count };
}

/** MB by which memory has grown while the clip ran over and over for so many hours. */
function growth(clip: Clip, hours: number): number {
  const rounds = Math.ceil((hours * HOUR_MS) / (clip.seconds * 1000));
  const used: number[] = [];
  const collect = (globalThis as { gc?: () => void }).gc;
  detect(clip, rounds, () => {
    if (used.length % 8 === 0 || used.length > rounds - 3) collect?.();
    const { heapUsed, external } = process.memoryUsage();
    used.push((heapUsed + external) / 1_048_576);
  });
  // The least of several, so that garbage that waits for its collection is no growth.
  const least = (of: number[]) => Math.min(...of);
  const part = Math.max(1, Math.floor(rounds / 4));
  return least(used.slice(-part)) - least(used.slice(part, 2 * part));
}

const round = (value: number): number => Math.round(value * 1000) / 1000;

function row(
  name: string,
  { labels, found, single, falseEvents, startErrors, freeSeconds, reportedSeconds }: Score,
): string {
  const free = freeSeconds > 0 ? (100 * reportedSeconds) / freeSeconds : 0;
  const errors = startErrors.map((error) => error.toFixed(1)).join(' ');
  return `${name.padEnd(36)} found ${found}/${labels}, single ${single}, false ${falseEvents}, free time ${free.toFixed(1)} %, start ${errors}`;
}

export default async function motionAccuracy({ short }: Options): Promise<BenchResult> {
  const scores: Score[] = [];
  const byMaker: Record<Maker, Score[]> = { painted: [], lavfi: [], real: [] };
  const plain: Score[] = [];
  const kept: Clip[] = [];
  let first: Clip | null = null;
  for await (const clip of clips(short)) {
    first ??= clip;
    if (kept.length < TIMED_CLIPS) kept.push(clip);
    const result = detect(clip);
    const scored = score(clip.labels, result.found, clip.seconds);
    scores.push(scored);
    byMaker[clip.maker].push(scored);
    plain.push(score(clip.labels, runningAverage(clip.pixels, FRAME_BYTES, FRAME_MS), clip.seconds));
    progress(row(clip.name, scored));
  }
  const { cpuMs, count } = cost(kept);

  const hours = short ? 0.5 : 4;
  progress(`the first clip again and again, for ${hours} h`);
  const grown = growth(first!, hours);

  const all = total(scores);
  const average = total(plain);
  const perMinute = ({ silentFalseEvents, silentSeconds }: Score) => (silentFalseEvents / silentSeconds) * 60;
  const freeShare = ({ reportedSeconds, freeSeconds }: Score) => (100 * reportedSeconds) / freeSeconds;
  return {
    checks: [
      check('labelled events that are found', all.found / all.labels, '', 0.98, 'atLeast'),
      check('false events in silent clips', perMinute(all), 'a minute', 0.05),
      check('error of the start, p95', p95(all.startErrors), 's', 0.4),
      check('labelled events with exactly one detection', all.single / all.labels, '', 0.9, 'atLeast'),
      check('event-free time reported as motion', freeShare(all), '%', 2),
      check('CPU time of the model', cpuMs / count, 'ms a frame', MAX_COST_MS),
      check(`growth of memory in ${hours} h`, grown, 'MB', 2),
    ],
    details: {
      clips: scores.length,
      events: all.labels,
      silentMinutes: round(all.silentSeconds / 60),
      falseEventsAnywhere: all.falseEvents,
      makers: Object.fromEntries(
        Object.entries(byMaker).map(([maker, own]) => {
          const sum = total(own);
          const { labels, found, single, falseEvents, silentFalseEvents } = sum;
          const [startP95, freeTimePercent] = [round(p95(sum.startErrors)), round(freeShare(sum))];
          const figures = { labels, found, single, falseEvents, silentFalseEvents, startP95, freeTimePercent };
          return [maker, { clips: own.length, silentMinutes: round(sum.silentSeconds / 60), ...figures }];
        }),
      ),
      runningAverage: {
        found: round(average.found / average.labels),
        falseEventsAMinute: round(perMinute(average)),
        single: round(average.single / average.labels),
        freeTimePercent: round(freeShare(average)),
      },
    },
  };
}
