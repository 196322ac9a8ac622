/**
 * Values of a tag, packed: for each its distance in time from the one before, and its own distance from that where both are
 * whole numbers, else eight bytes. A step an hour and a step a second both take three bytes or so. Pure.
 */

export interface Sample {
  time: number;
  value: number;
}

const WHOLE = 2 ** 40;

function pushVarint(bytes: number[], value: number): void {
  let left = value;
  while (left >= 128) {
    bytes.push((left % 128) + 128);
    left = Math.floor(left / 128);
  }
  bytes.push(left);
}

const isWhole = (value: number): boolean => Number.isInteger(value) && Math.abs(value) < WHOLE && !Object.is(value, -0);

/** @param samples sorted by time, from `start` on */
export function packSamples(start: number, samples: readonly Sample[]): Buffer {
  const bytes: number[] = [];
  const float = Buffer.alloc(8);
  let [time, value] = [start, 0];
  for (const sample of samples) {
    const distance = sample.value - value;
    const whole = isWhole(value) && isWhole(sample.value);
    pushVarint(bytes, (sample.time - time) * 2 + (whole ? 0 : 1));
    if (whole) {
      pushVarint(bytes, distance < 0 ? -distance * 2 - 1 : distance * 2);
    } else {
      float.writeDoubleLE(sample.value);
      bytes.push(...float);
    }
    [time, value] = [sample.time, sample.value];
  }
  return Buffer.from(bytes);
}

export function unpackSamples(start: number, data: Uint8Array): Sample[] {
  const view = Buffer.from(data.buffer, data.byteOffset, data.length);
  const samples: Sample[] = [];
  let at = 0;
  const varint = (): number => {
    let [value, factor] = [0, 1];
    for (;;) {
      const byte = view[at++]!;
      value += (byte % 128) * factor;
      if (byte < 128) return value;
      factor *= 128;
    }
  };
  let [time, value] = [start, 0];
  while (at < view.length) {
    const head = varint();
    time += Math.floor(head / 2);
    if (head % 2 === 0) {
      const distance = varint();
      value += distance % 2 === 1 ? -(distance + 1) / 2 : distance / 2;
    } else {
      value = view.readDoubleLE(at);
      at += 8;
    }
    samples.push({ time, value });
  }
  return samples;
}

/** What was least, most and last in each of `width` parts of a range, so that no edge vanishes; parts without change are left out. */
export type LanePoint = [time: number, min: number, max: number, last: number];

/** @param samples sorted; the last before the range says where the curve begins */
export function laneOf(samples: Iterable<Sample>, range: { start: number; end: number }, width: number): LanePoint[] {
  const step = (range.end - range.start) / width;
  const points: LanePoint[] = [];
  let part = -1;
  let before: number | null = null;
  for (const { time, value } of samples) {
    if (time >= range.end) break;
    if (time < range.start) {
      before = value;
      continue;
    }
    if (before !== null && points.length === 0 && time > range.start)
      points.push([range.start, before, before, before]);
    const here = Math.floor((time - range.start) / step);
    const last = points.at(-1);
    if (here === part && last) {
      last[1] = Math.min(last[1], value);
      last[2] = Math.max(last[2], value);
      last[3] = value;
    } else {
      points.push([time, value, value, value]);
      part = here;
    }
    before = value;
  }
  if (points.length === 0 && before !== null) points.push([range.start, before, before, before]);
  return points;
}
