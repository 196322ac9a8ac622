/**
 * Plays what was recorded of one camera in a video element, at any moment that it is told to: it loads the playlist of the
 * hour around it and finds the place. It follows a clock (sync.ts), it has none of its own. Runs in the browser.
 */
import type Hls from 'hls.js';
import type { ErrorData, Fragment } from 'hls.js';
import { loadHls } from '../shared/hls.ts';
import { MediaMap, partsOf } from './media-map.ts';
import type { Cover, SyncedPlayer } from './sync.ts';

export interface VodEffects {
  /** The address of the playlist of a range, when there is a token for it. */
  playlist: (start: number, end: number) => Promise<string>;
  /** The same address with the token of now: that in a playlist may have ended meanwhile. */
  fresh: (address: string) => string;
  /** What is on show: footage, a gap, or nothing yet. */
  show: (cover: Cover) => void;
  /** This browser cannot play what is recorded. Null when it can again. */
  unplayable: (codec: string | null) => void;
}

/** Playlists of whole half hours are asked for by all, and may be kept by the browser. */
const WINDOW_MS = 1_800_000;
/** Around it, so that the seam is not at the moment that is wanted. */
const MARGIN_MS = 10_000;
/** What was recorded so shortly ago may not be in the playlist yet. */
const FRESH_MS = 20_000;
/** Half an hour without footage is asked for again when it may have some. */
const AGAIN_MS = 5000;
/** Before a gap a player may have played all there is a little early. */
const SEAM_MS = 400;
const CONFIG = {
  enableWorker: false, // fMP4 passes through as it is
  autoStartLoad: true,
  maxBufferLength: 10,
  maxMaxBufferLength: 20,
  maxBufferSize: 24 * 1024 * 1024,
  backBufferLength: 20,
  startFragPrefetch: true,
  testBandwidth: false,
};

interface Window {
  start: number;
  end: number;
  /** `none`: nothing is recorded in it. */
  state: 'loading' | 'ready' | 'none' | 'failed';
  loadedAt: number;
  hls: Hls | null;
  map: MediaMap;
}

export class VodPlayer implements SyncedPlayer {
  readonly video: HTMLVideoElement;
  private readonly effects: VodEffects;
  private window: Window | null = null;
  private wanted: number | null = null;
  private shown: Cover | null = null;
  private rate = 0;
  private closed = false;
  /** The last two frames that were on show, by their media time, s. */
  private frame = { at: -1, lasts: 0.04 };
  private callback = 0;

  constructor(video: HTMLVideoElement, effects: VodEffects) {
    this.video = video;
    this.effects = effects;
    video.playsInline = true;
    video.preservesPitch = true;
    const see = (_now: number, { mediaTime }: VideoFrameCallbackMetadata): void => {
      const after = mediaTime - this.frame.at;
      // Of frames that were left out nothing can be told.
      const lasts = after > 0.005 && after < Math.min(0.5, this.frame.lasts * 1.6) ? after : this.frame.lasts;
      this.frame = { at: mediaTime, lasts };
      this.callback = video.requestVideoFrameCallback(see);
    };
    this.callback = video.requestVideoFrameCallback(see);
  }

  /** The middle of the frame so many after that on show, epoch ms. Null while there is none. */
  frameAfter(count: number): number | null {
    const { at, lasts } = this.frame;
    const { currentTime } = this.video;
    if (this.position === null || at < 0) return null;
    // A frame that was sought may not have been told yet: then the middle of it is where the video is.
    const middle = currentTime >= at && currentTime < at + lasts ? at + lasts / 2 : currentTime;
    return this.window?.map.utcAt(Math.max(0, middle + lasts * count)) ?? null;
  }

  close(): void {
    this.closed = true;
    this.video.cancelVideoFrameCallback(this.callback);
    this.drop();
  }

  cover(time: number): Cover {
    const window = this.windowOf(time);
    if (window.state === 'none') return this.isFresh(time) ? 'loading' : 'gap';
    if (window.state !== 'ready') return 'loading';
    if (window.map.mediaAt(time) !== null) return 'footage';
    return this.isFresh(time) && time > window.map.end ? 'loading' : 'gap';
  }

  get position(): number | null {
    const { window, video } = this;
    if (window?.state !== 'ready' || video.readyState < 1) return null;
    return window.map.utcAt(video.currentTime);
  }

  get seeking(): boolean {
    return this.window?.state === 'loading' || this.video.seeking;
  }

  get ready(): boolean {
    if (this.video.readyState >= 3) return true;
    // In front of a gap there is nothing more to wait for.
    const { position } = this;
    return position !== null && this.window!.map.endsWithin(position, SEAM_MS);
  }

  seek(time: number): void {
    this.wanted = time;
    const window = this.windowOf(time);
    if (window.state !== 'ready') return; // it begins there when it is loaded
    const media = window.map.mediaAt(time);
    if (media !== null) this.video.currentTime = media;
  }

  setRate(rate: number): void {
    const { video } = this;
    if (rate === this.rate && video.paused === (rate === 0)) return;
    this.rate = rate;
    if (rate === 0) {
      video.pause();
      return;
    }
    video.playbackRate = rate;
    // A pause or a seek that comes before it began ends it: the next correction begins it again.
    if (video.paused) video.play().catch(() => undefined);
  }

  show(cover: Cover): void {
    if (cover === this.shown) return;
    this.shown = cover;
    this.effects.show(cover);
  }

  private isFresh(time: number): boolean {
    return time > Date.now() - FRESH_MS;
  }

  /** The half hour of a moment, which is loaded if it is another than before. */
  private windowOf(time: number): Window {
    const { window } = this;
    if (window && time >= window.start && time < window.end) {
      const again = window.state === 'failed' || (window.state === 'none' && window.end > Date.now() - FRESH_MS);
      if (!again || performance.now() - window.loadedAt < AGAIN_MS) return window;
    }
    this.drop();
    const start = Math.floor(time / WINDOW_MS) * WINDOW_MS;
    const made: Window = {
      ...{ start: start - MARGIN_MS, end: start + WINDOW_MS + MARGIN_MS, state: 'loading', hls: null },
      ...{ loadedAt: performance.now(), map: new MediaMap([]) },
    };
    this.window = made;
    this.wanted = time;
    this.load(made).catch(() => {
      if (made === this.window) made.state = 'failed';
    });
    return made;
  }

  private async load(window: Window): Promise<void> {
    const address = await this.effects.playlist(window.start, window.end);
    const [Hls, response] = await Promise.all([loadHls(), fetch(address)]);
    const text = await response.text();
    if (this.closed || window !== this.window) return;
    if (response.status === 404) {
      window.state = 'none';
      return;
    }
    if (!response.ok) throw new Error(`${response.status}`);
    window.map = new MediaMap(partsOf(text));
    const begin = window.map.mediaAt(this.wanted ?? window.start) ?? 0;
    const hls = new Hls({
      ...CONFIG,
      startPosition: begin,
      xhrSetup: (request, url) => request.open('GET', this.effects.fresh(url), true),
    });
    window.hls = hls;
    const remap = (): void => {
      const fragments = hls.levels[0]?.details?.fragments;
      if (!fragments || window !== this.window) return;
      window.map = new MediaMap(fragments.map(partOf));
    };
    hls.on(Hls.Events.LEVEL_UPDATED, remap);
    hls.on(Hls.Events.LEVEL_PTS_UPDATED, remap);
    hls.on(Hls.Events.ERROR, (_, data) => this.onError(Hls, window, hls, data));
    hls.on(Hls.Events.FRAG_BUFFERED, () => {
      if (window !== this.window || window.state !== 'loading') return;
      window.state = 'ready';
      this.effects.unplayable(null);
      // Somebody may have sought elsewhere meanwhile.
      if (this.wanted !== null) this.seek(this.wanted);
    });
    hls.attachMedia(this.video);
    hls.loadSource(address);
  }

  private onError({ ErrorDetails, ErrorTypes }: typeof Hls, window: Window, hls: Hls, data: ErrorData): void {
    const codec = [ErrorDetails.BUFFER_ADD_CODEC_ERROR, ErrorDetails.BUFFER_INCOMPATIBLE_CODECS_ERROR];
    if (codec.includes(data.details) || data.details === ErrorDetails.MANIFEST_INCOMPATIBLE_CODECS_ERROR) {
      this.effects.unplayable(data.mimeType ?? data.error.message);
      return;
    }
    if (!data.fatal || window !== this.window) return;
    if (data.type === ErrorTypes.MEDIA_ERROR) hls.recoverMediaError();
    else window.state = 'failed'; // and is loaded again in a moment
  }

  private drop(): void {
    this.window?.hls?.destroy();
    this.window = null;
    this.rate = 0;
    this.video.pause();
  }
}

function partOf({ start, duration, programDateTime }: Fragment): { start: number; duration: number; utc: number } {
  return { start, duration, utc: programDateTime ?? NaN };
}
