/** The one clock that all views of a timeline follow, in UTC. It knows no video. */

export class MasterClock {
  private readonly nowMs: () => number;
  private at: number;
  private since: number;
  private speed = 1;
  private running = false;
  private held = false;

  /** @param nowMs monotonic, for example `performance.now` */
  constructor(nowMs: () => number, at: number) {
    this.nowMs = nowMs;
    this.at = at;
    this.since = nowMs();
  }

  /** Epoch ms of what should be on show now. */
  get time(): number {
    return this.moves ? this.at + (this.nowMs() - this.since) * this.speed : this.at;
  }

  /** Whether somebody wants it to run. */
  get playing(): boolean {
    return this.running;
  }

  get rate(): number {
    return this.speed;
  }

  /** Playing, but waiting for a picture. */
  get waiting(): boolean {
    return this.running && this.held;
  }

  private get moves(): boolean {
    return this.running && !this.held;
  }

  private settle(): void {
    this.at = this.time;
    this.since = this.nowMs();
  }

  play(): void {
    this.settle();
    this.running = true;
  }

  pause(): void {
    this.settle();
    this.running = false;
  }

  hold(held: boolean): void {
    if (held === this.held) return;
    this.settle();
    this.held = held;
  }

  /** @param rate times real time; negative goes back */
  setRate(rate: number): void {
    this.settle();
    this.speed = rate;
  }

  seek(time: number): void {
    this.at = time;
    this.since = this.nowMs();
  }
}
