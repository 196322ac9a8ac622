/** All that the HTTP routes of one NVR need, made together and ended together. */
import { dirname, join } from 'node:path';
import type { EngineHost } from '../engine-host.ts';
import { NotifyHost } from '../notify/notify-host.ts';
import { Diagnostics, NO_SURROUNDINGS, type Surroundings } from '../diagnostics/diagnostics.ts';
import { Audience } from '../playback/audience.ts';
import { Clips } from '../playback/clips.ts';
import type { StorageState } from '../playback/ledger.ts';
import { LiveHub } from '../playback/live-hub.ts';
import { QueryHost } from '../playback/query-host.ts';
import { RemoteCache } from '../playback/remote-cache.ts';
import { Stills } from '../playback/stills.ts';
import { FeedHub } from './feed.ts';
import { systemClock } from '../clock.ts';
import { modesOf } from '../recording/file-modes.ts';
import { PlaceLink } from '../retention/place-link.ts';
import { placeBackend } from '../thread/place-backend.ts';
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
  readonly notify: NotifyHost;
  readonly diagnostics: Diagnostics;
  readonly audience = new Audience();
  /** By camera. */
  readonly ptz = new Map<string, PtzControl>();
  /** By the widget's id. */
  readonly boards = new Map<string, Board>();
  readonly feed: FeedHub;
  private readonly cache: RemoteCache;
  /** By the name of the bucket; each has a thread of its own. */
  private readonly buckets = new Map<string, PlaceLink>();
  private minted: Tokens | null = null;

  constructor(host: EngineHost, around: Surroundings = NO_SURROUNDINGS) {
    const { catalog, ffmpegPath, readers } = host.config;
    const modes = modesOf(readers);
    this.host = host;
    const cache = join(dirname(catalog), '.flow-nvr-cache');
    this.cache = new RemoteCache(cache, (storage) => this.bucketOf(storage), undefined, modes);
    this.query = new QueryHost({ catalog, cache }, (file) => this.cache.fetch(file));
    this.diagnostics = new Diagnostics(host, this.query, around);
    this.live = new LiveHub(host);
    this.feed = new FeedHub(host);
    this.clips = new Clips(this.query, ffmpegPath, join(dirname(catalog), '.flow-nvr-clips'), undefined, modes);
    this.notify = new NotifyHost(join(dirname(catalog), 'notify.sqlite'), modes);
    this.stills = new Stills(host, this.query, join(dirname(catalog), '.flow-nvr-strips'));
  }

  /** Made when first needed: its folder may not be there at the start. Throws the system's error. */
  get tokens(): Tokens {
    return (this.minted ??= new Tokens(dirname(this.host.config.catalog), modesOf(this.host.config.readers)));
  }

  /** Bytes and room of each storage folder; those of tiers as the retention thread saw them last. */
  async storage(nowMs: number): Promise<StorageState[]> {
    const states = await this.query.call('storage', this.host.config.storages, nowMs);
    const seen = new Map(this.host.retentionState?.storages.map((one) => [one.storage, one]));
    return states.map((state) => {
      const { freeBytes = null, totalBytes = null } = seen.get(state.path) ?? {};
      return { ...state, freeBytes: state.freeBytes ?? freeBytes, totalBytes: state.totalBytes ?? totalBytes };
    });
  }

  private bucketOf(to: string): PlaceLink | null {
    const access = this.host.buckets[to] ?? null;
    const known = this.buckets.get(to);
    if (known && JSON.stringify(known.data.access) === JSON.stringify(access)) return known;
    known?.close();
    this.buckets.delete(to);
    if (!access) return null;
    const { catalog, readers } = this.host.config;
    const link = new PlaceLink({ to, access, catalog, readers }, placeBackend, systemClock);
    this.buckets.set(to, link);
    return link;
  }

  async close(): Promise<void> {
    for (const link of this.buckets.values()) link.close();
    this.cache.close();
    this.live.close();
    this.feed.close();
    await this.notify.close();
    this.clips.close();
    await this.query.close();
  }
}
