/** All that the HTTP routes of one NVR need, made together and ended together. */
import { dirname, join } from 'node:path';
import type { EngineHost } from '../engine-host.ts';
import { Diagnostics, NO_SURROUNDINGS, type Surroundings } from '../diagnostics/diagnostics.ts';
import { Audience } from '../playback/audience.ts';
import { Clips } from '../playback/clips.ts';
import { LiveHub } from '../playback/live-hub.ts';
import { QueryHost } from '../playback/query-host.ts';
import { Stills } from '../playback/stills.ts';
import { Tokens } from './tokens.ts';

export class NvrService {
  readonly host: EngineHost;
  readonly query: QueryHost;
  readonly live: LiveHub;
  readonly clips: Clips;
  readonly stills: Stills;
  readonly diagnostics: Diagnostics;
  readonly audience = new Audience();
  private minted: Tokens | null = null;

  constructor(host: EngineHost, around: Surroundings = NO_SURROUNDINGS) {
    const { catalog, ffmpegPath } = host.config;
    this.host = host;
    this.query = new QueryHost(catalog);
    this.diagnostics = new Diagnostics(host, this.query, around);
    this.live = new LiveHub(host);
    this.clips = new Clips(this.query, ffmpegPath, join(dirname(catalog), '.flow-nvr-clips'));
    this.stills = new Stills(host, this.query, join(dirname(catalog), '.flow-nvr-strips'));
  }

  /** Made when first needed: its folder may not be there at the start. Throws the system's error. */
  get tokens(): Tokens {
    return (this.minted ??= new Tokens(dirname(this.host.config.catalog)));
  }

  async close(): Promise<void> {
    this.live.close();
    this.clips.close();
    await this.query.close();
  }
}
