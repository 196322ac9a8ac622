/**
 * Objects over time. Motion is what travels: a blob becomes an object when it has left its place on a fairly straight
 * way. Leaves swing around a place, a clock changes in one, rain is gone before it was anywhere.
 */
import type { Blob } from './blobs.ts';
import type { Layout } from './plane.ts';
import { Strays } from './strays.ts';

/** Observations that are remembered of a track: the way that is looked at. */
const HISTORY = 16;
/** Share of its smaller side that a blob must travel; and at least so many pixels. */
const TRAVEL_SHARE = 0.4;
const TRAVEL_PIXELS = 2.5;
/** Net way by path length, 1 for straight. */
const STRAIGHT = 0.55;
/** ms without a blob after which a track ends; a new one may be a flicker, an object is worth waiting for. */
const LOST_MS = 500;
const OBJECT_LOST_MS = 1500;
/** ms for which a lost object that shows again in its place needs not travel again. */
const REMEMBER_MS = 6000;
/** Share of the frames of its way that it must be seen in. */
const SEEN_SHARE = 0.7;
/** ms over which its presence is averaged. */
const PRESENT_MS = 1500;
/** Largest change of the strength's logarithm in the last step, and of its to and fro in each of them. */
const JUMP = 1.6;
const UNSTEADY = 0.55;
/** Pixels that belong to the border: what shakes in from outside is not looked at. */
const BORDER = 3;
/** Strength that chance seldom brings together. */
const LARGE = 300;
/** Times its usual strength that is another thing. */
const OTHER = 6;
const TRAVELLED_MS = 2000;
/** ms for which what might be a part of a thing is remembered, and pixels that it may be beside it. */
const COMING_MS = 2500;
const NEAR = 4;
/** Strength of what is so small and faint that it is far away, and so does not move fast. */
const TINY = 12;
const MAX_TRACKS = 64;
/** Numbers for each place in the history. */
const PLACE = 7;
/** How often chance may make up an object: once in so many. */
const CHANCE = 1e-4;
/** Share of its usual strength below which an object is not there any more: what it left behind is. */
const REMNANT = 0.12;

export interface Track {
  id: number;
  /** When its motion began. */
  since: number;
  /** When it was first seen. */
  begun: number;
  lastSeen: number;
  /** When it was last somewhere else. */
  movedAt: number;
  /** How far it has come in the last two seconds, by its smaller side. */
  travelled: number;
  object: boolean;
  hits: number;
  minX: number;
  minY: number;
  maxX: number;
  maxY: number;
  area: number;
  strength: number;
  /** Pixels a ms. */
  velocityX: number;
  velocityY: number;
  /** Where it was when it last had moved. */
  restX: number;
  restY: number;
  /** Share of it that lies where there always is motion. */
  busy: number;
  /** Cells it was in, once for each frame, while it is no object. */
  footprint: number[];
  /** Blobs of this frame, by their labels. */
  labels: number[];
  /** Ring of the last places. */
  times: Float64Array;
  /** Numbers of the frames they were seen in. */
  frames: Float64Array;
  /** Left, top, right, bottom, the middle's x and y, and the logarithm of the strength. */
  places: Float32Array;
  /** Share of the last frames that it was seen in. */
  present: number;
  /** The most that `usual` was. */
  peak: number;
  /** What its strength usually is. */
  usual: number;
  /** For each include zone: since when it is in it; NaN while it is not. */
  inZone: Float64Array;
}

export interface Surroundings {
  /** How much of the blob with a label is where there always is motion, 0..1. */
  busy: Float64Array;
  /** More steps are wanted while little was learned. */
  learning: boolean;
  /** Blobs that are no things by their shape. One of them may be what of a thing has come into view. */
  soft: Blob[];
}

export class Tracks {
  tracks: Track[] = [];
  private lost: Track[] = [];
  private nextId = 1;
  private readonly layout: Layout;
  private zones = 0;
  private readonly strays: Strays;
  /** Tracks that came to nothing in this frame. */
  nothing: Track[] = [];
  private frame = 0;
  /** Of the last {@link COMING_MS}. */
  private soft: { time: number; blob: Blob }[] = [];

  constructor(layout: Layout) {
    this.layout = layout;
    this.strays = new Strays(layout);
  }

  setZones(zones: number): void {
    this.zones = zones;
    for (const track of this.tracks) track.inZone = new Float64Array(zones).fill(NaN);
  }

  clear(): void {
    this.tracks = [];
    this.lost = [];
    this.soft = [];
    this.strays.clear();
  }

  /** Forgets those that are not objects yet. */
  clearNew(): void {
    this.tracks = this.tracks.filter(({ object }) => object);
  }

  /** While nothing can be followed: learns what chance brings. */
  skip(elapsedMs: number, blobs: Blob[]): void {
    this.frame++;
    this.nothing = [];
    this.clearNew();
    this.strays.count(
      elapsedMs,
      blobs.map((blob) => this.begin(0, blob)),
    );
  }

  step(time: number, elapsedMs: number, blobs: Blob[], around: Surroundings): void {
    this.frame++;
    const free = new Set(blobs);
    if (this.soft.length > 0) this.soft = this.soft.filter((one) => time - one.time < COMING_MS);
    if (around.soft.length < MAX_TRACKS) for (const blob of around.soft) this.soft.push({ time, blob });
    for (const track of this.tracks) track.labels.length = 0;
    // Objects choose first, then the longest known.
    this.tracks.sort((a, b) => Number(b.object) - Number(a.object) || b.hits - a.hits);
    for (const track of this.tracks) this.claim(track, time, free);
    for (const track of this.tracks) if (track.lastSeen !== time && track.hits <= 2) this.leap(track, time, free);
    const begun = [...free];
    for (const blob of begun) if (this.tracks.length < MAX_TRACKS) this.tracks.push(this.begin(time, blob));
    const byLabel = new Map(blobs.map((blob) => [blob.label, blob]));
    for (const track of this.tracks) {
      if (track.lastSeen !== time) continue;
      const own = track.labels.map((label) => byLabel.get(label)!);
      track.busy =
        own.reduce((sum, blob) => sum + around.busy[blob.label]! * blob.cells, 0) /
        own.reduce((sum, { cells }) => sum + cells, 0);
      if (!track.object) this.judge(track, time, around);
      this.rest(track, time);
    }
    const gone = this.tracks.filter((track) => this.isGone(track, time, elapsedMs));
    this.nothing = gone.filter(({ object, footprint }) => !object || footprint.length > 0);
    this.strays.count(elapsedMs, this.nothing);
    if (gone.length > 0) {
      this.tracks = this.tracks.filter((track) => !gone.includes(track));
      this.lost.push(...gone.filter(({ object }) => object));
    }
    this.lost = this.lost.filter(({ lastSeen }) => time - lastSeen < REMEMBER_MS);
  }

  private isGone(track: Track, time: number, elapsedMs: number): boolean {
    const { object, lastSeen } = track;
    const seen = lastSeen === time ? 1 : 0;
    track.present += (1 - Math.exp(-elapsedMs / PRESENT_MS)) * (seen - track.present);
    if (object && seen === 0 && track.present < 0.4) return true;
    // At one frame every few seconds a single miss is no reason yet.
    return time - lastSeen > Math.max(object ? OBJECT_LOST_MS : LOST_MS, 1.5 * elapsedMs);
  }

  /** Takes the blobs around where the track should be. */
  private claim(track: Track, time: number, free: Set<Blob>): void {
    const away = time - track.lastSeen;
    const reach = this.reach(track, away);
    const moveX = track.velocityX * Math.min(1500, away);
    const moveY = track.velocityY * Math.min(1500, away);
    const left = Math.min(track.minX, track.minX + moveX) - reach;
    const right = Math.max(track.maxX, track.maxX + moveX) + reach;
    const top = Math.min(track.minY, track.minY + moveY) - reach;
    const bottom = Math.max(track.maxY, track.maxY + moveY) + reach;
    let own: Blob[] = [];
    // What has been there for a while is not suddenly many times as large: something else has come.
    const most = !track.object && track.hits > 3 ? OTHER * track.usual : Infinity;
    for (const blob of free) {
      if (blob.strength > most) continue;
      if (blob.maxX > left && blob.minX < right && blob.maxY > top && blob.minY < bottom) own.push(blob);
    }
    if (own.length === 0) return;
    // Where there are drops all over the place, what is nearby need not be a part of it.
    const around = (right - left) * (bottom - top);
    const byChance = (strength: number): boolean => this.strays.density(track, strength) * around > 0.1;
    own.sort((a, b) => unlike(track, a) - unlike(track, b));
    if (byChance(0.3 * track.usual)) own.length = 1;
    else if (own.length > 1) own = own.filter((blob, i) => i === 0 || !byChance(0.7 * blob.strength));
    const strength = own.reduce((sum, blob) => sum + blob.strength, 0);
    if (strength < (byChance(0.7 * own[0]!.strength) ? 0.4 : REMNANT) * track.usual) return;
    for (const blob of own) free.delete(blob);
    this.observe(track, time, own);
  }

  /** Something fast: a blob of about the same size that is new, far from where another was a moment ago. */
  private leap(track: Track, time: number, free: Set<Blob>): void {
    const away = time - track.lastSeen;
    if (
      away > 2500 ||
      track.area < 24 ||
      this.strays.density(track, 0.5 * track.strength) * this.layout.width * this.layout.height > 0.1
    )
      return;
    let best: Blob | null = null;
    for (const blob of free) {
      const size = blob.area / track.area;
      if (size > 0.3 && size < 3.5 && (best === null || blob.strength > best.strength)) best = blob;
    }
    if (best === null) return;
    const last = ((track.hits - 1) % HISTORY) * PLACE;
    const distance = Math.hypot(best.centerX - track.places[last + 4]!, best.centerY - track.places[last + 5]!);
    if (distance > Math.min(0.6, 0.0012 * away + 0.1) * this.layout.width * 1.5) return;
    free.delete(best);
    this.observe(track, time, [best]);
  }

  private begin(time: number, blob: Blob): Track {
    const track: Track = {
      ...{
        travelled: 0,
        id: this.nextId++,
        since: time,
        begun: time,
        lastSeen: time,
        movedAt: time,
        object: false,
        hits: 0,
      },
      ...{ minX: 0, minY: 0, maxX: 0, maxY: 0, area: 0, strength: 0, velocityX: 0, velocityY: 0 },
      ...{
        restX: blob.centerX,
        restY: blob.centerY,
        busy: 0,
        present: 1,
        peak: 0,
        usual: blob.strength,
        labels: [],
        footprint: [],
      },
      times: new Float64Array(HISTORY),
      frames: new Float64Array(HISTORY),
      places: new Float32Array(PLACE * HISTORY),
      inZone: new Float64Array(this.zones).fill(NaN),
    };
    this.observe(track, time, [blob]);
    const known = this.lost.findIndex(
      ({ usual, minX, minY, maxX, maxY }) =>
        usual > 20 &&
        blob.strength > 0.3 * usual &&
        blob.maxX > minX - 3 &&
        blob.minX < maxX + 3 &&
        blob.maxY > minY - 3 &&
        blob.minY < maxY + 3,
    );
    if (known >= 0) {
      track.object = true;
      this.lost.splice(known, 1);
    }
    return track;
  }

  private observe(track: Track, time: number, blobs: Blob[]): void {
    let minX = Infinity;
    let minY = Infinity;
    let maxX = 0;
    let maxY = 0;
    let x = 0;
    let y = 0;
    let strength = 0;
    let area = 0;
    for (const blob of blobs) {
      minX = Math.min(minX, blob.minX);
      minY = Math.min(minY, blob.minY);
      maxX = Math.max(maxX, blob.maxX);
      maxY = Math.max(maxY, blob.maxY);
      x += blob.centerX * blob.strength;
      y += blob.centerY * blob.strength;
      strength += blob.strength;
      area += blob.area;
      track.labels.push(blob.label);
    }
    x /= strength;
    y /= strength;
    track.peak = Math.max(track.peak, track.usual);
    if (track.hits > 0) {
      const last = ((track.hits - 1) % HISTORY) * PLACE;
      const elapsed = Math.max(1, time - track.lastSeen);
      const share = track.hits > 1 ? 0.5 : 1;
      track.velocityX += share * ((x - track.places[last + 4]!) / elapsed - track.velocityX);
      track.velocityY += share * ((y - track.places[last + 5]!) / elapsed - track.velocityY);
    }
    const at = track.hits % HISTORY;
    track.times[at] = time;
    track.frames[at] = this.frame;
    track.places.set([minX, minY, maxX, maxY, x, y, Math.log(strength)], at * PLACE);
    track.usual +=
      (strength > track.usual ? 0.5 : 1 - Math.exp((track.lastSeen - time) / 3000)) * (strength - track.usual);
    track.hits++;
    track.lastSeen = time;
    Object.assign(track, { minX, minY, maxX, maxY, area, strength });
  }

  /** Whether a part of its way that leads to here is long and straight enough, and no work of chance. */
  private judge(track: Track, time: number, around: Surroundings): void {
    const { hits, places } = track;
    const width = track.maxX - track.minX;
    const height = track.maxY - track.minY;
    const strict = (around.learning ? 3 : 1) + 6 * track.busy;
    const wanted = Math.max(TRAVEL_PIXELS, TRAVEL_SHARE * Math.min(width, height)) * strict;
    // Large and far in one step is enough: what crosses the picture in half a second is seen two or three times.
    if (hits === 2 && track.area < 60) return;
    const chance = this.neededHits(track);
    const least = Math.max(
      track.usual < LARGE ? chance : Math.min(4, chance),
      track.usual < TINY ? 6 : track.usual < 40 ? 4 : 2,
    );
    if (hits < least) return;
    // Things keep their speed; chance jumps to and fro.
    let steps = 0;
    let longest = 0;
    let jerks = 0;
    let lastX = 0;
    let lastY = 0;
    const paths = [0, 0, 0, 0, 0, 0, 0];
    const here = ((hits - 1) % HISTORY) * PLACE;
    // What was another size a moment ago is another thing, or two that have met.
    if (hits > 1 && Math.abs(places[here + 6]! - places[((hits - 2) % HISTORY) * PLACE + 6]!) > JUMP) return;
    for (let back = 1; back < Math.min(hits, HISTORY); back++) {
      const number = (hits - 1 - back + HISTORY) % HISTORY;
      const then = number * PLACE;
      const after = ((number + 1) % HISTORY) * PLACE;
      for (let k = 0; k < PLACE; k++) paths[k]! += Math.abs(places[then + k]! - places[after + k]!);
      const stepX = places[after + 4]! - places[then + 4]!;
      const stepY = places[after + 5]! - places[then + 5]!;
      const step = Math.hypot(stepX, stepY);
      steps += step;
      longest = Math.max(longest, step);
      if (back > 1) jerks += Math.hypot(stepX - lastX, stepY - lastY);
      lastX = stepX;
      lastY = stepY;
      if ((back < 2 && hits > 2) || back + 1 < least) continue;
      if (back + 1 < SEEN_SHARE * (this.frame - track.frames[number]! + 1)) break;
      if (track.usual < TINY && steps / back > Math.max(width, height) + 3) continue;
      const growth = Math.abs(places[then + 6]! - places[here + 6]!);
      if (paths[6]! - growth > UNSTEADY * back) continue;
      if (back > 1 && jerks / (back - 1) > Math.max(0.6 * (steps / back), 0.25 * Math.max(width, height) + 1)) continue;
      const needed = hits === 2 ? Math.max(wanted, 0.12 * this.layout.width) : wanted;
      const way = Math.max(this.way(places, then, here, paths, 0), this.way(places, then, here, paths, 1));
      if (way < needed) continue;
      const net = Math.hypot(places[here + 4]! - places[then + 4]!, places[here + 5]! - places[then + 5]!);
      if (back > 1 && longest > (back === 2 ? 0.85 : 0.65) * net) continue;
      track.object = true;
      track.since = this.beginning(track, back);
      track.movedAt = time;
      return;
    }
  }

  /** When what has travelled since so many observations was first seen, coming into view, and was no drop before. */
  private beginning({ hits, places, times }: Track, back: number): number {
    const travelled = times[(hits - 1 - back + HISTORY) % HISTORY]!;
    let since = travelled;
    let first = (hits - 1 - back + HISTORY) % HISTORY;
    for (let n = back + 1; n < Math.min(hits, HISTORY); n++) {
      const number = (hits - 1 - n + HISTORY) % HISTORY;
      const then = number * PLACE;
      const after = ((number + 1) % HISTORY) * PLACE;
      const side = Math.max(
        places[after + 2]! - places[after]!,
        places[after + 3]! - places[after + 1]!,
        places[then + 2]! - places[then]!,
        places[then + 3]! - places[then + 1]!,
      );
      const step = Math.hypot(places[then + 4]! - places[after + 4]!, places[then + 5]! - places[after + 5]!);
      if (travelled - times[number]! > 1500 || step > 0.7 * side + 3) break;
      since = times[number]!;
      first = number;
    }
    return this.coming(since, places.subarray(first * PLACE, first * PLACE + 4));
  }

  /** What was first seen here may have been there before as something whose shape told nothing. */
  private coming(since: number, place: Float32Array): number {
    let [left, top, right, bottom] = place as unknown as [number, number, number, number];
    let first = since;
    for (const { time, blob } of this.soft.toReversed()) {
      if (time >= first || first - time > LOST_MS) continue;
      const { minX, minY, maxX, maxY } = blob;
      if (maxX < left - NEAR || minX > right + NEAR || maxY < top - NEAR || minY > bottom + NEAR) continue;
      if ((maxX - minX) * (maxY - minY) > 1.5 * (right - left) * (bottom - top)) continue;
      first = time;
      [left, top, right, bottom] = [minX, minY, maxX, maxY];
    }
    return first;
  }

  /**
   * How far it went along one axis: both its edges and its middle, in one direction and without much to and fro. What only
   * grows or flickers has edges that do otherwise. An edge at the picture's border says nothing.
   */
  private way(places: Float32Array, from: number, to: number, paths: number[], axis: 0 | 1): number {
    const size = axis === 0 ? this.layout.width : this.layout.height;
    let least = Infinity;
    let direction = 0;
    for (const k of [axis, axis + 2, axis + 4]) {
      const atBorder =
        k < 2
          ? places[from + k]! <= BORDER || places[to + k]! <= BORDER
          : places[from + k]! >= size - BORDER || places[to + k]! >= size - BORDER;
      if (k < 4 && atBorder) continue;
      const net = places[to + k]! - places[from + k]!;
      if (direction !== 0 && Math.sign(net) !== direction) return 0;
      direction = Math.sign(net);
      if (Math.abs(net) < STRAIGHT * paths[k]!) return 0;
      // The middle of what comes in over the border moves half as fast as its front.
      least = Math.min(least, Math.abs(net) * (k < 4 ? 1 : 1.6));
    }
    return least;
  }

  /** So many observations that what chance brings would not have made them up. */
  private neededHits(track: Track): number {
    const around = this.reach(track, 0) * 2;
    const area = (track.maxX - track.minX + around) * (track.maxY - track.minY + around);
    const density = this.strays.density(track, 0.5 * track.strength);
    const likely = Math.min(0.97, density * area);
    if (likely < 1e-6) return 2;
    return 1 + Math.log(CHANCE / Math.max(1, density * this.layout.width * this.layout.height)) / Math.log(likely);
  }

  /** Pixels beside its place in which it is looked for. */
  private reach({ minX, minY, maxX, maxY }: Track, awayMs: number): number {
    return Math.min(24, 3 + 0.25 * Math.min(maxX - minX, maxY - minY) + 0.01 * Math.min(1000, awayMs));
  }

  private rest(track: Track, time: number): void {
    const last = ((track.hits - 1) % HISTORY) * PLACE;
    const x = track.places[last + 4]!;
    const y = track.places[last + 5]!;
    const side = Math.min(track.maxX - track.minX, track.maxY - track.minY);
    let then = last;
    for (let back = 1; back < Math.min(track.hits, HISTORY); back++) {
      const number = (track.hits - 1 - back + HISTORY) % HISTORY;
      if (time - track.times[number]! > TRAVELLED_MS) break;
      then = number * PLACE;
    }
    track.travelled = Math.hypot(x - track.places[then + 4]!, y - track.places[then + 5]!) / Math.max(1, side);
    if (Math.hypot(x - track.restX, y - track.restY) < Math.max(1.5, 0.15 * side)) return;
    track.restX = x;
    track.restY = y;
    track.movedAt = time;
  }
}

/** How little a blob is like what the track was. */
function unlike(track: Track, blob: Blob): number {
  const x = (track.minX + track.maxX) / 2 - blob.centerX;
  const y = (track.minY + track.maxY) / 2 - blob.centerY;
  return Math.abs(Math.log(blob.strength / track.usual)) + Math.hypot(x, y) / 10;
}
