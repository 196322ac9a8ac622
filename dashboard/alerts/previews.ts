/**
 * Moving previews: a strip of pictures (`strip/<camera>.jpg`), shown one after the other. Few at once are loaded, and few are
 * kept, however many cards are passed by.
 */
export interface Strip {
  /** An object URL; good until the strip is dropped. */
  url: string;
  frames: number;
}

export interface PreviewEffects {
  fetch(address: string, signal: AbortSignal): Promise<Response>;
}

const MAX_KEPT = 40;
const MAX_AT_ONCE = 3;

export class Previews {
  private readonly effects: PreviewEffects;
  private readonly kept = new Map<string, Strip>();
  private loading = 0;

  constructor(effects: PreviewEffects) {
    this.effects = effects;
  }

  /** Null when there is none, or too many are on their way: a preview that comes late is of no use. */
  async load(key: string, address: string, signal: AbortSignal): Promise<Strip | null> {
    const known = this.kept.get(key);
    if (known) {
      this.kept.delete(key);
      this.kept.set(key, known); // the one that was used last goes last
      return known;
    }
    if (this.loading >= MAX_AT_ONCE || address === '') return null;
    this.loading++;
    try {
      const answer = await this.effects.fetch(address, signal);
      if (!answer.ok) return null;
      const frames = (answer.headers.get('X-Frame-Times') ?? '').split(',').filter(Boolean).length;
      const image = await answer.blob();
      if (frames < 2) return null;
      const strip = { url: URL.createObjectURL(image), frames };
      this.kept.set(key, strip);
      for (const [oldest, { url }] of this.kept) {
        if (this.kept.size <= MAX_KEPT) break;
        URL.revokeObjectURL(url);
        this.kept.delete(oldest);
      }
      return strip;
    } catch (error) {
      if (signal.aborted || error instanceof TypeError) return null; // passed by, or Node-RED is away
      throw error;
    } finally {
      this.loading--;
    }
  }

  close(): void {
    for (const { url } of this.kept.values()) URL.revokeObjectURL(url);
    this.kept.clear();
  }
}
