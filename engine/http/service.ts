/** All that the HTTP routes of one NVR need, made together and ended together. */
import { dirname, join } from 'node:path';
import type { EngineHost } from '../engine-host.ts';
import { Diagnostics, NO_SURROUNDINGS, type Surroundings } from '../diagnostics/diagnostics.ts';
import { Audience } from '../playback/audience.ts';
import { Clips } from '../playback/clips.ts';
import { LiveHub } from '../playback/live-hub.ts';
import { QueryHost } from '../playback/query-host.ts';
import { Stills } from '../playback/stills.ts';
import { FeedHub } from './feed.ts';
import { Tokens } from './tokens.ts';

/** A camera that can be steered, by whoever asks for it: a node registers it, HTTP and the dashboard use it. */
export interface PtzControl {
  /** As a message's payload to the ptz node, `{command: …}`; checked here. Rejects with why not. */
  execute(payload: Record<string, unknown>): Promise<Record<string, unknown>>;
  /** What it is and can do, and what it does now; without asking the camera. */
  describe(): Record<string, unknown>;
}

/** What all who see a widget share: the order of its cameras. */
export interface Board {
  read(): Record<string, unknown>;
  /** Throws `bad-request`. */
  write(arrangement: Record<string, unknown>): void;
}

export class NvrService {
  readonly host: EngineHost;
  readonly query: QueryHost;
  readonly live: LiveHub;
  readonly clips: Clips;
  readonly stills: Stills;
  readonly diagnostics: Diagnostics;
  readonly audience = new Audience();
  /** By camera. */
  readonly ptz = new Map<string, PtzControl>();
  /** By the widget's id. */
  readonly boards = new Map<string, Board>();
  readonly feed: FeedHub;
  private minted: Tokens | null = null;

  constructor(host: EngineHost, around: Surroundings = NO_SURROUNDINGS) {
    const { catalog, ffmpegPath } = host.config;
    this.host = host;
    this.query = new QueryHost(catalog);
    this.diagnostics = new Diagnostics(host, this.query, around);
    this.live = new LiveHub(host);
    this.feed = new FeedHub(host);
    this.clips = new Clips(this.query, ffmpegPath, join(dirname(catalog), '.flow-nvr-clips'));
    this.stills = new Stills(host, this.query, join(dirname(catalog), '.flow-nvr-strips'));
  }

  /** Made when first needed: its folder may not be there at the start. Throws the system's error. */
  get tokens(): Tokens {
    return (this.minted ??= new Tokens(dirname(this.host.config.catalog)));
  }

  async close(): Promise<void> {
    this.live.close();
    this.feed.close();
    this.clips.close();
    await this.query.close();
  }
}
