/**
 * Keeps several players on one clock. A player that is a little off is played a little faster or slower, one that is far
 * off seeks; while one has nothing to show yet the clock waits for it, but not for ever. No DOM in here.
 */
import type { MasterClock } from './clock.ts';

/** What a player has at a moment. `loading`: not known yet. */
export type Cover = 'footage' | 'gap' | 'loading';

export interface SyncedPlayer {
  /** What is at this time; may start to load it. */
  cover(time: number): Cover;
  /** Epoch ms of the picture on show; null while there is none. */
  readonly position: number | null;
  /** A seek that is not over yet. */
  readonly seeking: boolean;
  /** Has what comes next, so that it can play. */
  readonly ready: boolean;
  seek(time: number): void;
  /** @param rate 0 to stand still */
  setRate(rate: number): void;
  /** Whether there is something to show. */
  show(cover: Cover): void;
}

/** Nobody sees less; below it a player is left alone. */
export const CLOSE_MS = 25;
/** Above it a seek is sooner there than a change of speed. At high speeds it is more. */
const FAR_MS = 400;
/** A correction takes about so long. */
const CORRECT_MS = 800;
/** Sound and motion at up to so much more or less speed seem right. */
const MAX_BEND = 0.15;
/** Less than a frame: what stands is the very frame of the clock, of all players. */
const STILL_MS = 15;
/** The clock waits for a slow player no longer than this at once; then others go on without it. */
const PATIENCE_MS = 4000;

/**
 * What brings a player to where it should be.
 * @param errorMs how far it is ahead
 */
export function correction(errorMs: number, rate: number): { rate: number } | 'seek' {
  const far = FAR_MS * Math.max(1, Math.sqrt(rate));
  if (Math.abs(errorMs) > far) return 'seek';
  if (Math.abs(errorMs) <= CLOSE_MS) return { rate };
  const bend = Math.max(-MAX_BEND, Math.min(MAX_BEND, -errorMs / CORRECT_MS / rate));
  // Steps of 1 %: each change of speed costs the browser something.
  return { rate: rate * (1 + Math.round(bend * 100) / 100) };
}

export class SyncController {
  private readonly clock: MasterClock;
  private readonly nowMs: () => number;
  private waitingSince: number | null = null;
  private readonly players = new Set<SyncedPlayer>();
  /** How late a seek is when it is over: the next one aims so much ahead. */
  private readonly lead = new Map<SyncedPlayer, { since: number; ms: number }>();

  constructor(clock: MasterClock, nowMs: () => number) {
    this.clock = clock;
    this.nowMs = nowMs;
  }

  add(player: SyncedPlayer): void {
    this.players.add(player);
  }

  remove(player: SyncedPlayer): void {
    this.players.delete(player);
    this.lead.delete(player);
  }

  /** All of them to the clock's time, at once. */
  seekAll(): void {
    this.waitingSince = null;
    for (const player of this.players) this.seek(player, this.clock.time);
  }

  /** To be called some ten times a second. */
  tick(): void {
    const { clock } = this;
    const time = clock.time;
    let waits = false;
    for (const player of this.players) {
      const cover = player.cover(time);
      player.show(cover);
      if (cover === 'gap') player.setRate(0);
      else waits = this.follow(player, cover, time) || waits;
    }
    this.wait(waits && clock.playing);
  }

  /** @returns whether it must be waited for */
  private follow(player: SyncedPlayer, cover: Cover, time: number): boolean {
    const { clock } = this;
    const { position } = player;
    if (cover === 'loading' || player.seeking) return true;
    const lead = this.lead.get(player);
    if (lead?.since) {
      lead.ms = Math.min(1000, (lead.ms + this.nowMs() - lead.since) / 2);
      lead.since = 0;
    }
    if (position === null) {
      this.seek(player, time);
      return true;
    }
    const error = position - time;
    if (!clock.playing) {
      player.setRate(0);
      if (Math.abs(error) > STILL_MS) this.seek(player, time);
      return false;
    }
    const what = correction(error, clock.rate);
    if (what === 'seek') {
      // While the clock goes on, it will have gone on when the seek is over.
      this.seek(player, clock.waiting ? time : time + (lead?.ms ?? 100) * clock.rate);
      return true;
    }
    player.setRate(clock.waiting ? 0 : what.rate);
    return !player.ready;
  }

  private seek(player: SyncedPlayer, time: number): void {
    const lead = this.lead.get(player) ?? { since: 0, ms: 100 };
    lead.since = this.nowMs();
    this.lead.set(player, lead);
    player.seek(time);
  }

  private wait(waits: boolean): void {
    const now = this.nowMs();
    if (!waits) this.waitingSince = null;
    else this.waitingSince ??= now;
    this.clock.hold(this.waitingSince !== null && now - this.waitingSince < PATIENCE_MS);
  }
}
