/**
 * Finds what moves. Each frame is laid over the learned background (alignment), the cells that differ more than noise and
 * light explain are put together (blobs) and followed (tracks); what travels counts.
 */
import { Alignment } from './alignment.ts';
import { Background, FOLLOW } from './background.ts';
import { BlobFinder, type Blob } from './blobs.ts';
import { CELL, layoutOf, Shrinker, type Layout } from './plane.ts';
import { Tracks, type Track } from './tracks.ts';
import { GRID_HEIGHT, GRID_WIDTH, type Box, type FrameMotion, type GreyFrame, type MotionSettings } from './types.ts';
import type { SceneState } from './types.ts';
import { ZoneMasks } from './zones.ts';

/** ms until the background is good for something. */
const LEARN_MS = 900;
/** ms during which more is wanted of an object. */
const CAREFUL_MS = 6000;
/** Units in one step that make a change of light. */
const LIGHT_JUMP = 8;
/** Share of the cells that differ beside objects, which no object does at once. */
const SCENE_SHARE = 0.35;
/** ms until exposure has settled after a change of light. */
const SETTLE_MS = 1000;
/** ms after which a changed scene is compared with the one before. */
const LASTING_MS = 2000;
/** Units and share of the cells that make it another scene. */
const SCENE_UNITS = 10;
const LASTING_SHARE = 0.5;
/** ms after which what stands still becomes background. */
const STILL_MS = 45_000;
/** ms after which a small still rest of an object is taken for what it left behind or changed, and how small that is. */
const REMNANT_MS = 1500;
const REMNANT_SHARE = 0.2;
/** ms in which an object's place is found to be a hole that it left behind. */
const GHOST_MS = 1000;
/** Observations from one look to the next. */
const GHOST_HITS = 3;
/** Steps along its outline in the picture by those in the background. */
const GHOST_SHARE = 0.7;
/** Contours sharper than this are those of things. */
const SHARP = 0.8;
/** Share of its box that a thing fills; drops that lie near each other do not. */
const DENSE = 0.15;
/** ms in which a place that always moves gets known, and in which that is forgotten. */
const BUSY_MS = 4000;
const CALM_MS = 300_000;
/** Strength from which on a new track may be an object that must not get into the background, and ms for which. */
const YOUNG_STRENGTH = 40;
const YOUNG_MS = 2500;
const BRIEF_STRENGTH = 60;
const LEFT_MS = 2000;
const LEFT_TRAVEL = 1;
const BRIEF_MS = 3000;
/** ms from one fading to the next. */
const FADE_MS = 2000;
/** Observations after which a track that has not travelled is known to stay. */
const FOOTPRINT_HITS = 20;
/** By how much busyness raises the threshold. */
const BUSY_FACTOR = 1.5;
/** ms in which the camera's shaking is forgotten. */
const SHAKE_MS = 3000;

const NONE: Blob[] = [];

/** All that has the size of the picture. */
class State {
  readonly shrinker: Shrinker;
  readonly current: Float32Array;
  readonly placed: Float32Array;
  readonly before: Float32Array;
  readonly background: Background;
  readonly alignment: Alignment;
  readonly blobs: BlobFinder;
  readonly masks: ZoneMasks;
  readonly tracks: Tracks;
  readonly busy: Float32Array;
  readonly factor: Float32Array;
  readonly follow: Uint8Array;
  readonly owner = new Uint8Array(256);
  readonly covered: Uint8Array;
  readonly layout: Layout;

  constructor(layout: Layout, settings: MotionSettings, from?: State) {
    this.layout = layout;
    const cells = layout.columns * layout.rows;
    const pixels = layout.width * layout.height;
    this.masks = new ZoneMasks(settings, layout);
    this.tracks = from?.tracks ?? new Tracks(layout);
    this.tracks.setZones(this.masks.include.length);
    this.shrinker = from?.shrinker ?? new Shrinker(layout);
    this.current = from?.current ?? new Float32Array(pixels);
    this.placed = from?.placed ?? new Float32Array(pixels);
    this.before = from?.before ?? new Float32Array(pixels);
    this.background = from?.background ?? new Background(layout);
    this.alignment = from?.alignment ?? new Alignment(layout);
    this.blobs = from?.blobs ?? new BlobFinder(this.background);
    this.busy = from?.busy ?? new Float32Array(cells);
    this.factor = new Float32Array(cells);
    this.follow = from?.follow ?? new Uint8Array(cells);
    this.covered = from?.covered ?? new Uint8Array(cells);
  }
}

export class MotionModel {
  private settings: MotionSettings;
  private state: State | null = null;
  private fresh = true;
  private last = 0;
  private shake = 0;
  private settleUntil = -Infinity;
  /** When a changed scene is to be compared; Infinity if none is. */
  private compareAt = Infinity;
  /** Whether cells' factors are out of date. */
  private unweighed = true;
  /** ms by which busyness has not yet faded. */
  private unfadedMs = 0;
  private readonly shares = new Float64Array(256);
  private readonly counts = new Float64Array(256);

  constructor(settings: MotionSettings) {
    this.settings = settings;
  }

  /** Keeps what was learned. */
  configure(settings: MotionSettings): void {
    this.settings = settings;
    this.unweighed = true;
    if (this.state) this.state = new State(this.state.layout, settings, this.state);
  }

  /** Forgets the background, for example after the camera was turned. */
  restart(): void {
    this.fresh = true;
  }

  private prepare(frame: GreyFrame): State {
    let state = this.state;
    if (state?.layout.frameWidth !== frame.width || state.layout.frameHeight !== frame.height) {
      state = this.state = new State(layoutOf(frame.width, frame.height), this.settings);
      this.fresh = this.unweighed = true;
    }
    return state;
  }

  step(frame: GreyFrame): FrameMotion {
    const state = this.prepare(frame);
    const { background, alignment, tracks } = state;
    state.shrinker.shrink(frame, state.current);
    const elapsed = Math.max(0, frame.time - this.last);
    this.last = frame.time;
    if (this.fresh) {
      this.fresh = false;
      background.start(state.current);
      tracks.clear();
      state.busy.fill(0);
      this.unweighed = true;
      this.shake = 0;
      this.settleUntil = -Infinity;
      this.compareAt = Infinity;
      return this.nothing(frame.time, 'learning');
    }
    this.shake *= Math.exp(-elapsed / SHAKE_MS);
    this.compare(state);
    const shift = Math.hypot(alignment.shiftX, alignment.shiftY);
    this.shake = Math.max(shift, this.shake);
    const current = alignment.shifted ? state.placed : state.current;

    const scene = this.scene(state, current, frame.time, shift);
    const learning = background.age < LEARN_MS;
    const found = state.blobs.find();
    const blobs = found.filter(isThing);
    const around = {
      ...{ busy: this.busyShares(state), learning: background.age < CAREFUL_MS },
      soft: blobs.length < found.length ? found.filter((blob) => !blobs.includes(blob)) : NONE,
    };
    if (learning) tracks.skip(elapsed, blobs);
    else if (frame.time < this.settleUntil) {
      tracks.clearNew();
      tracks.step(frame.time, elapsed, this.known(state, blobs), around);
    } else tracks.step(frame.time, elapsed, blobs, around);
    this.learn(state, current, frame.time, elapsed);
    if (scene === 'learning') return this.nothing(frame.time, scene);
    return this.report(state, frame.time, scene);
  }

  /** While the light changes only objects that were known before are followed. */
  private known(state: State, blobs: Blob[]): Blob[] {
    const objects = state.tracks.tracks;
    return blobs.filter((blob) =>
      objects.some(
        (t) => blob.maxX > t.minX - 8 && blob.minX < t.maxX + 8 && blob.maxY > t.minY - 8 && blob.minY < t.maxY + 8,
      ),
    );
  }

  private nothing(time: number, scene: SceneState): FrameMotion {
    return { time, score: 0, boxes: [], zones: [], scene, cells: new Uint8Array((GRID_WIDTH * GRID_HEIGHT) / 8) };
  }

  private compare(state: State): void {
    if (this.unweighed) this.weigh(state);
    const { background, current, placed, alignment, factor } = state;
    background.compare(current, placed, alignment, factor, this.shake);
  }

  private weigh({ factor, masks, busy }: State): void {
    this.unweighed = false;
    for (let cell = 0; cell < factor.length; cell++) {
      factor[cell] = masks.ignored[cell]! > 0 ? 0 : masks.factor[cell]! * (1 + BUSY_FACTOR * busy[cell]!);
    }
  }

  /** Of each blob, by its label. */
  private busyShares({ busy, blobs, background }: State): Float64Array {
    const { shares, counts } = this;
    shares.fill(0);
    if (background.activeCells === 0) return shares;
    counts.fill(0);
    const { labels } = blobs;
    for (let cell = 0; cell < labels.length; cell++) {
      const label = labels[cell]!;
      if (label === 0) continue;
      shares[label]! += busy[cell]!;
      counts[label]!++;
    }
    for (let label = 1; label < shares.length; label++) if (counts[label]! > 0) shares[label]! /= counts[label]!;
    return shares;
  }

  private scene(state: State, current: Float32Array, time: number, shift: number): SceneState {
    const { background, alignment } = state;
    const step = Math.abs(alignment.offset) + Math.abs(alignment.gain) * 30;
    let beside = 0;
    this.cover(state);
    if (background.activeCells > SCENE_SHARE * background.active.length) {
      for (let cell = 0; cell < state.covered.length; cell++) {
        if (background.active[cell]! > 0 && state.covered[cell] === 0) beside++;
      }
    }
    const jumped = step > LIGHT_JUMP || beside > SCENE_SHARE * background.active.length;
    if (jumped && background.age >= LEARN_MS) {
      if (this.compareAt === Infinity) {
        state.before.set(background.value);
        this.compareAt = time + LASTING_MS;
      }
      this.settleUntil = time + SETTLE_MS;
    }
    if (background.age < LEARN_MS) return 'learning';
    if (time >= this.compareAt) {
      this.compareAt = Infinity;
      if (this.isOther(state, current)) return 'scene-change';
    }
    if (time < this.settleUntil || step > 2) return 'light';
    return shift > 0.25 ? 'shake' : 'steady';
  }

  /** Marks the cells in and next to the places of objects. */
  private cover({ tracks, covered, layout }: State): void {
    const { columns, rows } = layout;
    covered.fill(0);
    for (const { object, minX, minY, maxX, maxY } of tracks.tracks) {
      if (!object) continue;
      const left = Math.max(0, Math.floor(minX / CELL) - 1);
      const right = Math.min(columns, Math.ceil(maxX / CELL) + 1);
      const bottom = Math.min(rows, Math.ceil(maxY / CELL) + 1);
      for (let row = Math.max(0, Math.floor(minY / CELL) - 1); row < bottom; row++) {
        covered.fill(1, row * columns + left, row * columns + right);
      }
    }
  }

  private isOther({ before, layout }: State, current: Float32Array): boolean {
    const { width, columns, rows } = layout;
    let other = 0;
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        let sum = 0;
        for (let y = 0, i = row * CELL * width + column * CELL; y < CELL; y++, i += width) {
          for (let x = i; x < i + CELL; x++) sum += Math.abs(current[x]! - before[x]!);
        }
        if (sum > SCENE_UNITS * CELL * CELL) other++;
      }
    }
    return other > LASTING_SHARE * columns * rows;
  }

  private learn(state: State, current: Float32Array, time: number, elapsed: number): void {
    const { background, alignment, tracks, follow, busy, owner, covered, blobs: finder } = state;
    const { labels } = finder;
    const settling = time < this.settleUntil;
    follow.fill(FOLLOW.usual);
    if (settling) {
      this.cover(state);
      for (let cell = 0; cell < follow.length; cell++) follow[cell] = covered[cell]! > 0 ? FOLLOW.keep : FOLLOW.fast;
    }
    const busier = 1 - Math.exp(-Math.min(1000, elapsed) / BUSY_MS);
    this.fade(busy, elapsed);
    // Only when it has come to nothing is it known what it was.
    for (const { footprint } of tracks.nothing) this.remember(busy, footprint, busier);
    if (background.activeCells > 0) {
      background.measureStable(elapsed);
      owner.fill(0);
      tracks.tracks.forEach((track, number) => {
        if (track.lastSeen === time) for (const label of track.labels) owner[label] = number + 1;
      });
      for (let cell = 0; cell < labels.length; cell++) {
        const number = labels[cell]! > 0 ? owner[labels[cell]!]! : 0;
        if (labels[cell]! > 0 && !settling) follow[cell] = FOLLOW.each;
        if (number === 0) continue;
        const track = tracks.tracks[number - 1]!;
        const young = track.usual >= YOUNG_STRENGTH && time - track.begun < YOUNG_MS;
        // What stays as it is while the object moves on, it has left behind.
        const left = background.stableMs[cell]! > LEFT_MS && track.travelled > LEFT_TRAVEL;
        if (track.object || young) follow[cell] = track.object && left ? FOLLOW.fast : FOLLOW.keep;
        if (!track.object || brief(track, time)) track.footprint.push(cell);
      }
    }
    const objects = tracks.tracks.filter(({ object }) => object);
    for (const track of tracks.tracks) {
      if (track.object && !brief(track, time)) track.footprint.length = 0;
      else if (!track.object && track.hits % FOOTPRINT_HITS === 0) {
        // It goes on and on in its place.
        this.remember(busy, track.footprint, busier);
        track.footprint.length = 0;
      }
    }
    for (const track of objects) {
      if (track.lastSeen !== time || settling) continue;
      const still = time - track.movedAt;
      const remnant = still > REMNANT_MS && track.strength < REMNANT_SHARE * track.peak;
      if (
        remnant ||
        still > STILL_MS ||
        (still > GHOST_MS && track.hits % GHOST_HITS === 0 && this.isGhost(state, current, track))
      )
        this.absorb(state, track);
    }
    background.learn(current, alignment, elapsed, follow);
  }

  private remember(busy: Float32Array, cells: number[], share: number): void {
    for (const cell of cells) busy[cell]! += share * (1 - busy[cell]!);
    if (cells.length > 0) this.unweighed = true;
  }

  private fade(busy: Float32Array, elapsed: number): void {
    this.unfadedMs += elapsed;
    if (this.unfadedMs < FADE_MS) return;
    const left = Math.exp(-this.unfadedMs / CALM_MS);
    for (let cell = 0; cell < busy.length; cell++) busy[cell]! *= left;
    this.unfadedMs = 0;
    this.unweighed = true;
  }

  private absorb(state: State, track: Track): void {
    const { follow, blobs } = state;
    for (let cell = 0; cell < follow.length; cell++) {
      if (track.labels.includes(blobs.labels[cell]!)) follow[cell] = FOLLOW.absorb;
    }
    state.tracks.tracks = state.tracks.tracks.filter((other) => other !== track);
  }

  /** Where an object was that has left, the outline of what differs is one of the background, not of the picture. */
  private isGhost({ background, blobs, layout }: State, current: Float32Array, track: Track): boolean {
    const { width, columns } = layout;
    const { value, active } = background;
    let now = 0;
    let before = 0;
    for (let cell = 0; cell < active.length; cell++) {
      if (!track.labels.includes(blobs.labels[cell]!)) continue;
      const start = Math.floor(cell / columns) * CELL * width + (cell % columns) * CELL;
      for (let y = 0; y < CELL; y++) {
        for (let i = start + y * width, end = i + CELL; i < end; i++) {
          const differs = background.differsAt(i);
          for (const next of [i + 1, i + width, i - 1, i - width]) {
            if (next < 0 || next >= value.length || background.differsAt(next) === differs) continue;
            now += Math.abs(current[next]! - current[i]!);
            before += Math.abs(value[next]! - value[i]!);
          }
        }
      }
    }
    return now < GHOST_SHARE * before;
  }

  private report(state: State, time: number, scene: SceneState): FrameMotion {
    const motion = this.nothing(time, scene);
    const { masks, layout } = state;
    const { include } = masks;
    let since = Infinity;
    let movedAt = -Infinity;
    const zones = new Set<string>();
    for (const track of state.tracks.tracks) {
      if (!track.object || track.lastSeen !== time) continue;
      const box = boxOf(track, layout);
      const size = box.width * box.height;
      let start = track.since;
      if (include.length === 0) {
        if (size < this.settings.minSize || size > this.settings.maxSize) continue;
      } else {
        start = Infinity;
        include.forEach(({ zone, cells }, number) => {
          const fits =
            size >= (zone.minSize ?? this.settings.minSize) && size <= (zone.maxSize ?? this.settings.maxSize);
          if (!fits || !this.touches(state, track, cells)) {
            track.inZone[number] = NaN;
            return;
          }
          if (Number.isNaN(track.inZone[number]!)) track.inZone[number] = time;
          const entered = track.inZone[number]!;
          if (time - entered < (zone.loiterMs ?? 0)) return;
          zones.add(zone.id);
          start = Math.min(start, Math.max(track.since, entered));
        });
        if (start === Infinity) continue;
      }
      since = Math.min(since, start);
      movedAt = Math.max(movedAt, track.movedAt);
      motion.boxes.push(box);
      motion.score = Math.max(motion.score, 1 - Math.exp(-track.strength / 40));
      this.mark(state, track, motion.cells);
    }
    motion.zones.push(...zones);
    if (motion.boxes.length > 0) Object.assign(motion, { since, movedAt });
    return motion;
  }

  /** Whether a fifth of the object is in the zone. */
  private touches({ blobs }: State, track: Track, zone: Uint8Array): boolean {
    let all = 0;
    let within = 0;
    for (let cell = 0; cell < zone.length; cell++) {
      if (!track.labels.includes(blobs.labels[cell]!)) continue;
      all++;
      within += zone[cell]!;
    }
    return within > 0 && within >= 0.2 * all;
  }

  private mark({ blobs, layout }: State, track: Track, into: Uint8Array): void {
    const { columns, factor, frameWidth, frameHeight } = layout;
    for (let cell = 0; cell < blobs.labels.length; cell++) {
      if (!track.labels.includes(blobs.labels[cell]!)) continue;
      const x = ((cell % columns) + 0.5) * CELL * factor;
      const y = (Math.floor(cell / columns) + 0.5) * CELL * factor;
      const column = Math.min(GRID_WIDTH - 1, Math.floor((x / frameWidth) * GRID_WIDTH));
      const row = Math.min(GRID_HEIGHT - 1, Math.floor((y / frameHeight) * GRID_HEIGHT));
      const bit = row * GRID_WIDTH + column;
      into[bit >> 3]! |= 1 << (bit & 7);
    }
  }

  /** Does this frame, after a pause of up to several seconds, differ so that the frames between should be looked at. */
  differs(frame: GreyFrame): boolean {
    const state = this.prepare(frame);
    if (this.fresh) return true;
    state.shrinker.shrink(frame, state.current);
    this.compare(state);
    return state.blobs.find().some(isThing);
  }

  /** For each cell of the grid. */
  picture(): { noise: Uint8Array; threshold: Uint8Array; ignored: Uint8Array } {
    const cells = GRID_WIDTH * GRID_HEIGHT;
    const noise = new Uint8Array(cells);
    const threshold = new Uint8Array(cells);
    const ignored = new Uint8Array(cells);
    const { state } = this;
    if (!state || state.layout.columns === 0 || state.layout.rows === 0) return { noise, threshold, ignored };
    this.weigh(state);
    const { columns, rows } = state.layout;
    for (let row = 0; row < GRID_HEIGHT; row++) {
      for (let column = 0; column < GRID_WIDTH; column++) {
        const x = Math.min(columns - 1, Math.floor(((column + 0.5) / GRID_WIDTH) * columns));
        const y = Math.min(rows - 1, Math.floor(((row + 0.5) / GRID_HEIGHT) * rows));
        const cell = y * columns + x;
        const to = row * GRID_WIDTH + column;
        const { deviation, limit } = state.background.cell(x, y);
        noise[to] = Math.min(255, Math.round(deviation));
        threshold[to] = Math.min(255, Math.round(limit * state.factor[cell]!));
        ignored[to] = state.masks.ignored[cell]! > 0 || state.busy[cell]! > 0.5 ? 1 : 0;
      }
    }
    return { noise, threshold, ignored };
  }
}

/** An object so weak and so short was none, if it goes now. */
const brief = ({ begun, peak }: Track, time: number): boolean => peak < BRIEF_STRENGTH && time - begun < BRIEF_MS;

function isThing({ sharpness, cells, minX, minY, maxX, maxY }: Blob): boolean {
  return sharpness >= SHARP && cells * CELL * CELL >= DENSE * (maxX - minX) * (maxY - minY);
}

function boxOf({ minX, minY, maxX, maxY }: Track, { factor, frameWidth, frameHeight }: Layout): Box {
  const [x, y] = [(minX * factor) / frameWidth, (minY * factor) / frameHeight];
  return {
    x,
    y,
    width: Math.min(1, (maxX * factor) / frameWidth) - x,
    height: Math.min(1, (maxY * factor) / frameHeight) - y,
  };
}
