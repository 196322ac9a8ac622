/**
 * Plays `live/<camera>` (docs/http-api.md) in a video element through Media Source Extensions, as close to now as the
 * network allows, and comes back by itself after anything that ends it. Runs in the browser.
 */

export type LiveState = 'connecting' | 'playing' | 'stalled' | 'failed';

export interface LiveEffects {
  /**
   * The address of the WebSocket, asked for at each try: its token may be a new one.
   * @param codecs what this browser plays, for `codecs=`
   */
  address: (codecs: string) => string | Promise<string>;
  /** What goes on, with a reason where there is one. */
  state: (state: LiveState, reason: string | null) => void;
  /** The network is too slow: so many fragments were left out. */
  skipped?: (fragments: number) => void;
}

interface ServerMessage {
  type: 'init' | 'time' | 'skip' | 'error';
  codecs?: string;
  fragments?: number;
  message?: string;
}

/** Behind the end of what has come: enough for the jitter of a good network; more after each time it was not. */
const MIN_BEHIND_S = 0.12;
const MAX_BEHIND_S = 1;
/** Further behind, and the player jumps. */
const JUMP_S = 1.5;
/** The GOP until now comes first, at once: at the beginning the player jumps over what has been. */
const SETTLE_MS = 700;
const SETTLE_JUMP_S = 0.35;
const KEEP_S = 10;
const MAX_QUEUE = 300;
const STALL_MS = 4000;
const RETRY_MS = [500, 1000, 2000, 5000, 10_000];
const CANDIDATES = { avc1: 'avc1.640028', hvc1: 'hvc1.1.6.L120.B0' };

/** iPhones have the managed kind only. */
const Source = globalThis as { MediaSource?: typeof MediaSource; ManagedMediaSource?: typeof MediaSource };
const sourceType = (): typeof MediaSource | undefined => Source.MediaSource ?? Source.ManagedMediaSource;

/** The codec families that this browser plays; empty where it cannot play live media at all. */
export function playableCodecs(): string {
  const type = sourceType();
  if (!type) return '';
  return Object.entries(CANDIDATES)
    .filter(([, codec]) => type.isTypeSupported(`video/mp4; codecs="${codec}"`))
    .map(([family]) => family)
    .join(',');
}

export class LivePlayer {
  private readonly video: HTMLVideoElement;
  private readonly effects: LiveEffects;
  private socket: WebSocket | null = null;
  private source: MediaSource | null = null;
  private buffer: SourceBuffer | null = null;
  private queue: ArrayBuffer[] = [];
  private behind = MIN_BEHIND_S;
  private anchored = false;
  /** Bytes that have come. */
  received = 0;
  private begunMs = 0;
  private jumpedMs = 0;
  private tries = 0;
  private lastMs = performance.now();
  private retry: number | undefined;
  private readonly timer: number;
  private closed = false;

  constructor(video: HTMLVideoElement, effects: LiveEffects) {
    this.video = video;
    this.effects = effects;
    video.muted = true; // browsers start nothing with sound by itself
    video.playsInline = true;
    video.disableRemotePlayback = true; // else the managed kind does not open
    video.addEventListener('waiting', this.onWaiting);
    this.timer = window.setInterval(this.onTimer, 250);
    this.connect();
  }

  close(): void {
    this.closed = true;
    clearInterval(this.timer);
    clearTimeout(this.retry);
    this.video.removeEventListener('waiting', this.onWaiting);
    this.drop();
    this.video.removeAttribute('src');
    this.video.load();
  }

  /** A newer token, before that of the address ends. */
  renew(token: string): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ token }));
  }

  /** Tries at once, if it waits for its next try. */
  hurry(): void {
    if (this.retry === undefined) return;
    clearTimeout(this.retry);
    this.tries = 0;
    this.connect();
  }

  /** How far what is shown is behind what has come, in ms; null while nothing is shown. */
  get behindMs(): number | null {
    const { buffered, currentTime } = this.video;
    return this.anchored && buffered.length > 0 ? (buffered.end(buffered.length - 1) - currentTime) * 1000 : null;
  }

  private connect(): void {
    this.retry = undefined;
    this.effects.state('connecting', null);
    this.lastMs = performance.now();
    Promise.resolve(this.effects.address(playableCodecs())).then(
      (address) => {
        if (this.closed) return;
        const socket = new WebSocket(address);
        socket.binaryType = 'arraybuffer';
        socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
          if (this.socket === socket) this.take(data);
        };
        socket.onclose = ({ reason }) => {
          if (this.socket === socket) this.again(reason || 'the connection was lost');
        };
        this.socket = socket;
      },
      (error: unknown) => this.again(error instanceof Error ? error.message : String(error)),
    );
  }

  /** Ends this connection and tries again in a moment; the last picture stays. */
  private again(reason: string): void {
    if (this.closed) return;
    this.drop();
    this.effects.state('failed', reason);
    const delay = RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]!;
    clearTimeout(this.retry);
    this.retry = window.setTimeout(() => this.connect(), delay);
  }

  private drop(): void {
    const { socket } = this;
    this.socket = null;
    socket?.close();
    this.queue = [];
    this.buffer = null;
    if (this.source) URL.revokeObjectURL(this.video.src);
    this.source = null;
  }

  private take(data: string | ArrayBuffer): void {
    this.lastMs = performance.now();
    if (typeof data !== 'string') {
      this.received += data.byteLength;
      this.queue.push(data);
      // A tab in the background may be kept from playing: better a new start than memory without end.
      if (this.queue.length > MAX_QUEUE) this.again('this browser does not keep up');
      else this.feed();
      return;
    }
    const message = JSON.parse(data) as ServerMessage;
    if (message.type === 'init') this.begin(`video/mp4; codecs="${message.codecs ?? ''}"`);
    if (message.type === 'skip') this.effects.skipped?.(message.fragments ?? 0);
    if (message.type === 'error') this.again(message.message ?? 'the NVR cannot show this camera');
  }

  /** The last picture stays on show until the first of the new run. */
  private keepPicture(): void {
    const { video } = this;
    if (video.readyState < HTMLMediaElement.HAVE_CURRENT_DATA) return;
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext('2d')?.drawImage(video, 0, 0);
    video.poster = canvas.toDataURL('image/jpeg', 0.8);
  }

  /** A run begins: with a media source of its own, as its times begin anew. */
  private begin(type: string): void {
    const Type = sourceType();
    if (!Type?.isTypeSupported(type)) {
      this.again(`this browser cannot play ${type}`);
      return;
    }
    this.keepPicture();
    const source = new Type();
    if (this.source) URL.revokeObjectURL(this.video.src);
    this.source = source;
    this.buffer = null;
    this.queue = [];
    this.anchored = false;
    this.video.src = URL.createObjectURL(source);
    source.addEventListener('sourceopen', () => {
      if (this.source !== source) return;
      const buffer = source.addSourceBuffer(type);
      buffer.addEventListener('updateend', () => {
        if (this.buffer === buffer) this.onAppended(buffer);
      });
      buffer.addEventListener('error', () => {
        if (this.buffer === buffer) this.again('the stream cannot be decoded');
      });
      this.buffer = buffer;
      this.feed();
    });
  }

  private feed(): void {
    const { buffer, source } = this;
    if (!buffer || buffer.updating || source?.readyState !== 'open') return;
    const { buffered } = buffer;
    const last = buffered.length - 1;
    if (last >= 0 && this.video.currentTime - buffered.start(0) > 2 * KEEP_S) {
      buffer.remove(0, this.video.currentTime - KEEP_S);
      return;
    }
    const next = this.queue.shift();
    if (next) buffer.appendBuffer(next);
  }

  private onAppended(buffer: SourceBuffer): void {
    this.keepUp(buffer);
    this.feed();
  }

  /** Plays a little faster while behind, jumps when far behind. */
  private keepUp(buffer: SourceBuffer): void {
    const { buffered } = buffer;
    const { video } = this;
    if (buffered.length === 0) return;
    const end = buffered.end(buffered.length - 1);
    const behind = end - video.currentTime;
    const settling = performance.now() - this.begunMs < SETTLE_MS;
    if (!this.anchored || behind > (settling ? SETTLE_JUMP_S : JUMP_S) || behind < 0) {
      this.jumpedMs = performance.now();
      video.currentTime = Math.max(buffered.start(buffered.length - 1), end - this.behind);
      if (!this.anchored) {
        video.play().catch(() => undefined); // a player that is taken away in the same moment
        this.effects.state('playing', null);
        this.begunMs = performance.now();
      }
      this.anchored = true;
      this.tries = 0;
    }
    const excess = behind - this.behind;
    video.playbackRate = excess > 0.15 ? 1.15 : excess > 0.06 ? 1.05 : 1;
  }

  private readonly onWaiting = (): void => {
    // After a jump the player waits in any case.
    if (this.anchored && performance.now() - this.jumpedMs > SETTLE_MS)
      this.behind = Math.min(MAX_BEHIND_S, this.behind + 0.08);
  };

  private readonly onTimer = (): void => {
    // The network is trusted again slowly.
    this.behind = Math.max(MIN_BEHIND_S, this.behind - 0.003);
    if (this.buffer && !this.buffer.updating) this.keepUp(this.buffer);
    if (!this.socket || performance.now() - this.lastMs < STALL_MS) return;
    if (this.anchored && performance.now() - this.lastMs < 3 * STALL_MS) this.effects.state('stalled', null);
    else this.again('the camera sends nothing');
  };
}
