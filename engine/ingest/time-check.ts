/** Whether the times that a camera gives its pictures can be used. Pure. */
import type { Fragment } from '../media/fragment.ts';
import type { MediaClock } from '../media/media-clock.ts';

export interface WrongTimes {
  /** Its clock was set, or passes at another pace than time. */
  kind: 'jump' | 'pace';
  /** For the user. */
  detail: string;
}

/** A picture cannot last so much longer than it took to come. */
const JUMP_MS = 5000;
/** Nobody films so fast: behind a clock that was set back, FFmpeg gives each picture one tick. */
const LEAST_FRAME_MS = 2;
const LEAST_FRAMES = 5;
/** Faster or slower is not followed: clips would be, too. */
const MOST_DRIFT = 0.02;
/** What was waiting in the camera when we came makes it seem fast. */
const BEGIN_MS = 60_000;

export class TimeCheck {
  private readonly since: number;
  private last: number;

  /** @param mono when its stream began, ms */
  constructor(mono: number) {
    this.since = mono;
    this.last = mono;
  }

  /** To be asked of each fragment, before it is used. */
  look({ durationTicks, frames }: Fragment, media: MediaClock, mono: number): WrongTimes | null {
    const ms = media.mediaMs(durationTicks);
    const came = mono - this.last;
    this.last = mono;
    if (ms > came + JUMP_MS) {
      return { kind: 'jump', detail: `the camera's clock jumped by ${Math.round((ms - came) / 1000)} s` };
    }
    if (frames >= LEAST_FRAMES && ms < frames * LEAST_FRAME_MS) {
      return { kind: 'jump', detail: "the camera's clock was set back" };
    }
    if (Math.abs(media.drift) <= MOST_DRIFT || mono - this.since < BEGIN_MS) return null;
    const percent = Math.round(Math.abs(media.drift) * 1000) / 10;
    const how = media.drift > 0 ? 'slow' : 'fast';
    const detail = `the camera's times are ${percent} % too ${how}: from now on its pictures have the time at which they come`;
    return { kind: 'pace', detail };
  }
}
