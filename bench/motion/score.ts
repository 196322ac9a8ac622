/** How well events agree with what happened. */
import type { Label } from './scenes.ts';

/** Seconds. */
export interface Detection {
  start: number;
  end: number;
}

export interface Score {
  labels: number;
  found: number;
  /** Labels with exactly one detection that has no other label. */
  single: number;
  falseEvents: number;
  startErrors: number[];
  freeSeconds: number;
  /** Of it, reported as motion. */
  reportedSeconds: number;
  /** If nothing happens in it. */
  silentSeconds: number;
  silentFalseEvents: number;
}

/** A detection so near a label, in seconds, is not one of nothing. */
const MARGIN = 1;

const overlap = (a: Detection, b: Detection): number => Math.min(a.end, b.end) - Math.max(a.start, b.start);

export function score(labels: Label[], detections: Detection[], seconds: number): Score {
  const matches = labels.map((label) => detections.filter((detection) => overlap(label, detection) >= 0));
  const found = matches.filter((of) => of.length > 0).length;
  const single = labels.filter((label, i) => {
    const [only] = matches[i]!;
    return matches[i]!.length === 1 && labels.every((other) => other === label || overlap(other, only!) < 0);
  }).length;
  const near = (detection: Detection) =>
    labels.some(({ start, end }) => overlap({ start: start - MARGIN, end: end + MARGIN }, detection) >= 0);
  const falseEvents = detections.filter((detection) => !near(detection)).length;
  const startErrors = labels.flatMap(({ start }, i) =>
    matches[i]![0] ? [Math.abs(matches[i]![0].start - start)] : [],
  );
  const labelled = labels.reduce((sum, { start, end }) => sum + end - start, 0);
  const reported = detections.reduce((sum, { start, end }) => sum + end - start, 0);
  const rightly = labels.reduce(
    (sum, label) => sum + detections.reduce((within, detection) => within + Math.max(0, overlap(label, detection)), 0),
    0,
  );
  const silent = labels.length === 0;
  return {
    ...{ labels: labels.length, found, single, falseEvents, startErrors },
    ...{ freeSeconds: seconds - labelled, reportedSeconds: Math.max(0, reported - rightly) },
    ...{ silentSeconds: silent ? seconds : 0, silentFalseEvents: silent ? falseEvents : 0 },
  };
}

export function total(scores: Score[]): Score {
  const sum = (of: (score: Score) => number) => scores.reduce((all, one) => all + of(one), 0);
  return {
    labels: sum(({ labels }) => labels),
    found: sum(({ found }) => found),
    single: sum(({ single }) => single),
    falseEvents: sum(({ falseEvents }) => falseEvents),
    startErrors: scores.flatMap(({ startErrors }) => startErrors),
    freeSeconds: sum(({ freeSeconds }) => freeSeconds),
    reportedSeconds: sum(({ reportedSeconds }) => reportedSeconds),
    silentSeconds: sum(({ silentSeconds }) => silentSeconds),
    silentFalseEvents: sum(({ silentFalseEvents }) => silentFalseEvents),
  };
}

export function p95(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil(values.length * 0.95) - 1)] ?? 0;
}
