/**
 * Live media for any number of viewers: each camera stream is taken from the engine once, and only while somebody
 * watches. A stream that a viewer cannot play is encoded to H.264 once for all of them.
 */
import type { EngineHost } from '../engine-host.ts';
import type { LiveMedia } from '../live-feed.ts';
import type { StreamName } from '../types.ts';
import { whoAsks } from './asker.ts';
import { placeToFree, type Asker } from './fair-queue.ts';
import { H264Encoder } from './h264-encoder.ts';

export type LiveInit = Extract<LiveMedia, { kind: 'init' }>;
export type LiveFragment = Extract<LiveMedia, { kind: 'fragment' }>;

export interface Viewer {
  /** A run begins, or began before the viewer came. */
  init(init: LiveInit): void;
  fragment(fragment: LiveFragment): void;
  /** Why there is nothing (more) to see. */
  failed(message: string): void;
}

/** A feed without viewers goes on for a moment: people switch back and forth. */
const LINGER_MS = 5000;
/** A GOP without end is not kept for newcomers. */
const MAX_GOP_BYTES = 32 * 1024 * 1024;
/** Each is a decoder and an encoder: more would cost the recording its CPU. */
export const MAX_ENCODERS = 8;
const BUSY = `busy: at most ${MAX_ENCODERS} streams are encoded for browsers at once; use live/….mjpeg`;

/** Passes a stream on, and keeps what newcomers need: its init segment and the current GOP. */
class Feed {
  readonly viewers = new Map<Viewer, Asker>();
  private current: LiveInit | null = null;
  private gop: LiveFragment[] = [];
  private gopBytes = 0;
  lingering: NodeJS.Timeout | undefined;
  /** Its source was let go: another of its name may have taken its place. */
  ended = false;
  readonly stop: () => void;

  /** @param start connects the feed to its source; returns how to end that */
  constructor(start: (feed: Feed) => () => void) {
    this.stop = start(this);
  }

  take(media: LiveMedia): void {
    if (media.kind === 'init') {
      this.current = media;
      this.gop = [];
      this.gopBytes = 0;
      for (const viewer of this.viewers.keys()) viewer.init(media);
      return;
    }
    if (media.key) {
      this.gop = [];
      this.gopBytes = 0;
    }
    this.gopBytes += media.data.length;
    if (this.gopBytes <= MAX_GOP_BYTES) this.gop.push(media);
    for (const viewer of this.viewers.keys()) viewer.fragment(media);
  }

  fail(message: string): void {
    for (const viewer of this.viewers.keys()) viewer.failed(message);
  }

  add(viewer: Viewer, asker: Asker): void {
    clearTimeout(this.lingering);
    this.viewers.set(viewer, asker);
    if (!this.current) return;
    viewer.init(this.current);
    if (this.gop[0]?.key) for (const fragment of this.gop) viewer.fragment(fragment);
  }
}

export class LiveHub {
  private readonly host: EngineHost;
  private readonly feeds = new Map<string, Feed>();
  /** What slow viewers did not get. */
  skippedFragments = 0;

  constructor(host: EngineHost) {
    this.host = host;
    host.on('media', this.onMedia);
  }

  /** How many watch, by camera. */
  viewers(): Map<string, number> {
    const counts = new Map<string, number>();
    for (const [key, { viewers }] of this.feeds) {
      const camera = key.split(' ')[0]!;
      counts.set(camera, (counts.get(camera) ?? 0) + viewers.size);
    }
    return counts;
  }

  /**
   * Shows a stream to a viewer until the returned function is called.
   * @param h264 encode it, because the viewer cannot play what it is; the viewer fails at once when too many are encoded
   * @param asker whose viewer it is: when all encoders are taken, who has most of them gives one to who has less
   */
  join(camera: string, stream: StreamName, viewer: Viewer, h264 = false, asker = whoAsks().asker): () => void {
    const key = `${camera} ${stream}${h264 ? ' h264' : ''}`;
    let feed = this.feeds.get(key);
    if (!feed) {
      if (h264 && !this.mayEncode(asker)) {
        viewer.failed(BUSY);
        return () => undefined;
      }
      feed = new Feed((own) => (h264 ? this.encode(camera, stream, own) : this.watch(camera, stream, own)));
      this.feeds.set(key, feed);
    }
    feed.add(viewer, asker);
    const joined = feed;
    return () => {
      if (!joined.viewers.delete(viewer) || joined.viewers.size > 0 || joined.ended) return;
      joined.lingering = setTimeout(() => this.end(joined), LINGER_MS).unref();
    };
  }

  close(): void {
    this.host.off('media', this.onMedia);
    for (const feed of [...this.feeds.values()]) this.end(feed, 'the NVR is being stopped');
  }

  /**
   * Whoever comes from now on gets a new feed.
   * @param message why, for those who still watch
   */
  private end(feed: Feed, message?: string): void {
    if (feed.ended) return;
    feed.ended = true;
    clearTimeout(feed.lingering);
    for (const [key, known] of this.feeds) if (known === feed) this.feeds.delete(key);
    feed.stop();
    if (message !== undefined) feed.fail(message);
  }

  /** Makes room by ending an encoder that nobody watches any more, or one of whoever has most. */
  private mayEncode(asker: Asker): boolean {
    const encoded = [...this.feeds].filter(([key]) => key.endsWith(' h264')).map(([, feed]) => feed);
    if (encoded.length < MAX_ENCODERS) return true;
    const idle = encoded.find(({ viewers }) => viewers.size === 0);
    if (idle) {
      this.end(idle);
      return true;
    }
    const given =
      encoded[
        placeToFree(
          encoded.map(({ viewers }) => [...viewers.values()]),
          asker,
        ) ?? -1
      ];
    if (given) this.end(given, BUSY);
    return given !== undefined;
  }

  private readonly onMedia = (camera: string, stream: StreamName, media: LiveMedia): void => {
    this.feeds.get(`${camera} ${stream}`)?.take(media);
    if (media.kind === 'fragment') this.host.acknowledge(camera, stream, media.data.length);
  };

  private watch(camera: string, stream: StreamName, feed: Feed): () => void {
    this.host.watch(camera, stream).catch((error: unknown) => {
      this.end(feed, error instanceof Error ? error.message : String(error));
    });
    return () => {
      this.host.unwatch(camera, stream).catch(() => undefined); // a camera that is gone sends nothing
    };
  }

  private encode(camera: string, stream: StreamName, feed: Feed): () => void {
    const encoder = new H264Encoder(this.host.config.ffmpegPath, {
      media: (media) => feed.take(media),
      failed: (message) => this.end(feed, message),
    });
    const leave = this.join(camera, stream, encoder);
    return () => {
      leave();
      encoder.close();
    };
  }
}
