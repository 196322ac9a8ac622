/** The words of motion detection. Nothing here knows where frames come from or who wants to know of motion. */

export interface GreyFrame {
  /** Epoch ms. */
  time: number;
  width: number;
  height: number;
  /** Row by row, one byte a pixel; valid only during the call. */
  pixels: Uint8Array;
}

/** In shares of the picture, 0..1, from its upper left. */
export interface Point {
  x: number;
  y: number;
}

/** In shares of the picture, 0..1. */
export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** A polygon. As soon as there is an `include` zone, only motion in such zones counts; in `ignore` zones none ever does. */
export interface Zone {
  id: string;
  name: string;
  kind: 'include' | 'ignore';
  points: Point[];
  /** 0..100, in place of the camera's. */
  sensitivity?: number;
  /** Share of the picture's area that an object must have at least, in place of the camera's. */
  minSize?: number;
  /** Share of the picture's area that an object may have at most, in place of the camera's. */
  maxSize?: number;
  /** An object must stay so long in the zone before it counts. */
  loiterMs?: number;
}

export interface MotionSettings {
  /** 0..100; every 25 halves the contrast that is needed. */
  sensitivity: number;
  /** Shares of the picture's area, of the box around an object. */
  minSize: number;
  maxSize: number;
  zones: Zone[];
  /** Time without motion after which an event ends. */
  holdMs: number;
}

export const DEFAULT_SETTINGS: MotionSettings = {
  sensitivity: 50,
  minSize: 0.0003,
  maxSize: 1,
  zones: [],
  holdMs: 2000,
};

/**
 * What the picture as a whole does. `learning`: the first second; `light`: its brightness or contrast changes; `shake`:
 * the camera moves; `scene-change`: it has become another picture, and stayed so (said once, for one frame).
 */
export type SceneState = 'learning' | 'steady' | 'light' | 'shake' | 'scene-change';

export interface FrameMotion {
  time: number;
  /** 0..1; above 0 exactly if motion counts in this frame. */
  score: number;
  boxes: Box[];
  /** Ids of the include zones touched. */
  zones: string[];
  scene: SceneState;
  /** GRID_WIDTH x GRID_HEIGHT bits, row by row, LSB first: where counted motion is. */
  cells: Uint8Array;
  /** When the objects in `boxes` were first seen, which was before it was known that they are objects. */
  since?: number;
  /** When one of them last moved: before `time` while they all stand still. */
  movedAt?: number;
}

export const GRID_WIDTH = 32;
export const GRID_HEIGHT = 18;

/** What became of motion; `score` is the highest so far, `boxes` and `zones` are those of the frame (at the end: all zones). */
export interface MotionPhase {
  phase: 'start' | 'update' | 'end';
  eventId: string;
  start: number;
  /** The last motion; null while it goes on. */
  end: number | null;
  score: number;
  boxes: Box[];
  zones: string[];
}

/** The picture has become another one: lights, night mode, a camera that was turned or covered. */
export interface SceneChange {
  phase: 'scene-change';
  time: number;
}

export type MotionEvent = MotionPhase | SceneChange;
