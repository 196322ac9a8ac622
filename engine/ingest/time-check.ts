/** Whether the times that a camera gives its pictures can be used. Pure. */
import type { Fragment } from '../media/fragment.ts';
import type { MediaClock } from '../media/media-clock.ts';

export interface WrongTimes {
  /** Its clock was set, or passes at another pace than time. */
  kind: 'jump' | 'pace';
  /** For the user. */
  detail: string;
}

/** A picture cannot last so much longer than it took to come, and end so late after it came. */
const JUMP_MS = 5000;
/** Nobody films so fast: behind a clock that was set back, FFmpeg gives each picture one tick. */
const LEAST_FRAME_MS = 2;
const LEAST_FRAMES = 5;
/** Faster or slower is not followed, for clips would be, too. */
const MOST_DRIFT = 0.02;
/** A queue in the network that grows or empties looks like that, but not for so long. */
const LONG_MS = 600_000;
/** And not so fast for so long: it would have to hold 9 s. */
const GROSS_DRIFT = 0.15;
const GROSS_MS = 60_000;

export class TimeCheck {
  private readonly since: number;
  private readonly steady: boolean;
  private last: number;
  private pictures = { frames: 0, ms: 0 };

  /**
   * @param mono when its stream began, ms
   * @param steady whether pictures come as they are filmed; the pace of what comes in bursts is not judged
   */
  constructor(mono: number, steady: boolean) {
    this.since = mono;
    this.steady = steady;
    this.last = mono;
  }

  /** To be asked of each fragment, before it is used. */
  look(
    { startTicks, durationTicks, frames }: Fragment,
    media: MediaClock,
    now: { utc: number; mono: number },
  ): WrongTimes | null {
    const ms = media.mediaMs(durationTicks);
    const came = now.mono - this.last;
    this.last = now.mono;
    // Time for which the camera sent nothing, or for which nobody took what it sent, has passed.
    if (ms > came + JUMP_MS && media.utc(startTicks + durationTicks) > now.utc + JUMP_MS) {
      return { kind: 'jump', detail: `the camera's clock jumped by ${Math.round((ms - came) / 1000)} s` };
    }
    const { pictures } = this;
    pictures.frames += frames;
    pictures.ms += ms;
    if (pictures.frames >= LEAST_FRAMES) {
      this.pictures = { frames: 0, ms: 0 };
      if (pictures.ms < pictures.frames * LEAST_FRAME_MS) {
        return { kind: 'jump', detail: "the camera's clock was set back" };
      }
    }
    const [drift, passed] = [Math.abs(media.drift), now.mono - this.since];
    const isWrong = (drift > GROSS_DRIFT && passed >= GROSS_MS) || (drift > MOST_DRIFT && passed >= LONG_MS);
    if (!this.steady || !isWrong) return null;
    const how = media.drift > 0 ? 'slow' : 'fast';
    const percent = Math.round(drift * 1000) / 10;
    return {
      kind: 'pace',
      detail: `the camera's times are ${percent} % too ${how}: from now on its pictures have the time at which they come`,
    };
  }
}
