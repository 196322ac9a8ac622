/** Who plays what was recorded: whoever asked for a part of it a moment ago. Players ask every few seconds. */
const WATCHING_MS = 30_000;
const MAX_REMEMBERED = 2000;

export class Audience {
  private readonly seenAt = new Map<string, { camera: string; ms: number }>();

  /** @param viewer the id of a token */
  seen(camera: string, viewer: string, nowMs: number): void {
    const key = `${camera} ${viewer}`;
    this.seenAt.delete(key);
    this.seenAt.set(key, { camera, ms: nowMs }); // the oldest is the first
    if (this.seenAt.size > MAX_REMEMBERED) this.seenAt.delete(this.seenAt.keys().next().value!);
  }

  /** How many play, by camera. */
  counts(nowMs: number): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [key, { camera, ms }] of this.seenAt) {
      if (nowMs - ms > WATCHING_MS) this.seenAt.delete(key);
      else counts.set(camera, (counts.get(camera) ?? 0) + 1);
    }
    return counts;
  }
}
