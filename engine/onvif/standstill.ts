/** When a camera that was told to move stands again, found out by asking. */
import type { PtzStatus } from './ptz-service.ts';

const FIRST_MS = 250;
const EVERY_MS = 500;
/** One that says nothing about itself is taken to stand after this. */
const BLIND_MS = 8000;
const LONGEST_MS = 90_000;
const EPSILON = 1e-4;

export class Standstill {
  private readonly status: () => Promise<PtzStatus>;
  private readonly onTurning: (turning: boolean) => void;
  private timer: NodeJS.Timeout | null = null;
  private turning = false;
  private since = 0;
  private round = 0;
  private last = '';
  private waiters: (() => void)[] = [];

  constructor(status: () => Promise<PtzStatus>, onTurning: (turning: boolean) => void) {
    this.status = status;
    this.onTurning = onTurning;
  }

  get isTurning(): boolean {
    return this.turning;
  }

  /** A command to move was taken. */
  watch(): void {
    this.round++;
    this.since = performance.now();
    this.last = '';
    if (!this.turning) {
      this.turning = true;
      this.onTurning(true);
    }
    this.plan(FIRST_MS);
  }

  /** Resolves when it stands, or was stopped being watched. */
  reached(): Promise<void> {
    return this.turning ? new Promise((resolve) => this.waiters.push(resolve)) : Promise.resolve();
  }

  close(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    this.round++;
    this.end();
  }

  private plan(ms: number): void {
    if (this.timer) clearTimeout(this.timer);
    const { round } = this;
    this.timer = setTimeout(() => void this.look(round), ms).unref();
  }

  private async look(round: number): Promise<void> {
    const stands = await this.stands().catch(() => performance.now() - this.since > BLIND_MS);
    if (round !== this.round) return;
    if (!stands && performance.now() - this.since < LONGEST_MS) {
      this.plan(EVERY_MS);
      return;
    }
    this.timer = null;
    this.end();
  }

  private async stands(): Promise<boolean> {
    const { moving, position } = await this.status();
    if (moving !== null) return !moving;
    const { panTilt, zoom } = position;
    if (!panTilt && zoom === null) return performance.now() - this.since > BLIND_MS;
    const round = (value: number): number => Math.round(value / EPSILON);
    const text = JSON.stringify([panTilt && [round(panTilt.x), round(panTilt.y)], zoom === null ? null : round(zoom)]);
    const same = text === this.last;
    this.last = text;
    return same;
  }

  private end(): void {
    if (this.turning) {
      this.turning = false;
      this.onTurning(false);
    }
    for (const resolve of this.waiters.splice(0)) resolve();
  }
}
