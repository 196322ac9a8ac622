/**
 * Steering by something held: a key, a button, the wheel. The move is renewed while it is held, and ends by itself should the
 * page be gone. That it was let go is not always told, so that it ends when nobody can be holding it any more.
 */
export interface Axes {
  pan?: number;
  tilt?: number;
  zoom?: number;
}

export type Command = { command: 'stop' } | ({ command: 'move'; timeout: number } & Axes);

/** A move ends by itself after this. */
const MOVE_MS = 1000;
const RENEW_MS = 400;
/** Nobody holds a key for longer: its end was lost. */
export const LONGEST_MS = 30_000;

export class Steering {
  private readonly send: (command: Command) => void;
  private renew: ReturnType<typeof setInterval> | undefined;
  private limit: ReturnType<typeof setTimeout> | undefined;
  /** What the camera does for this page now. */
  private moving = false;

  constructor(send: (command: Command) => void) {
    this.send = send;
  }

  get active(): boolean {
    return this.moving;
  }

  /** @returns what the camera was told */
  begin(axes: Axes): Command {
    const command: Command = { command: 'move', ...axes, timeout: MOVE_MS };
    this.endTimers();
    this.moving = true;
    this.send(command);
    this.renew = setInterval(() => this.send(command), RENEW_MS);
    this.limit = setTimeout(() => this.end(), LONGEST_MS);
    return command;
  }

  /** Does nothing unless something is held. */
  end(): void {
    this.endTimers();
    if (!this.moving) return;
    this.moving = false;
    this.send({ command: 'stop' });
  }

  private endTimers(): void {
    clearInterval(this.renew);
    clearTimeout(this.limit);
  }
}

/**
 * Calls `end` when the page gets no key or button any more: another window, a system dialog, another tab.
 * @returns ends that
 */
export function whenAway(
  window: EventTarget,
  document: EventTarget & { visibilityState: string },
  end: () => void,
): () => void {
  const onVisibility = (): void => {
    if (document.visibilityState === 'hidden') end();
  };
  window.addEventListener('blur', end);
  document.addEventListener('visibilitychange', onVisibility);
  return () => {
    window.removeEventListener('blur', end);
    document.removeEventListener('visibilitychange', onVisibility);
  };
}
