/**
 * What the timeline shows and does, without its elements: the view, the clock, the players on it, what is marked. Parts that
 * change with every frame are plain; what templates show is in `ui`.
 */
import { reactive } from 'vue';
import type { Feed } from '../shared/feed.ts';
import { NvrError, type Session } from '../shared/session.ts';
import { MasterClock } from './clock.ts';
import { EventStore, type EventView } from './events.ts';
import { isTag, laneOf, tagLane, tagOf, type Lane, type LaneJson, type TagJson } from './lanes.ts';
import { around, fitted, levelOf, panned, tilesOf, xOf, zoomed, type View } from './scale.ts';
import { grows, Strips, type LoadedStrip } from './strips.ts';
import { SyncController } from './sync.ts';
import { TileStore } from './tiles.ts';
import type { VodPlayer } from './vod-player.ts';
import { isZone, Zone } from './zone.ts';

export const MAX_CAMERAS = 9;
export const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16] as const;
export const EVENT_KINDS = ['motion', 'recording', 'external', 'onvif-event', 'scene-change', 'camera'] as const;

export interface CameraInfo {
  camera: string;
  name: string;
  state: string;
}

export interface Hold {
  id: string;
  name: string;
  camera: string | null;
  start: number;
  end: number;
  until: number | null;
  who: string;
}

export interface Region {
  camera: string;
  box: { x: number; y: number; width: number; height: number };
  spans: { start: number; end: number }[];
  state: 'loading' | 'done' | 'failed';
}

/** How pictures are shown: from the camera, played, or one after the other. */
export type Mode = 'live' | 'video' | 'stills';

export interface TimelineOptions {
  session: Session;
  feed: Feed;
  stream: 'main' | 'sub';
  zone: string;
  /** Tells the flow what the user did. */
  send: (action: string, fields: Record<string, unknown>) => void;
}

const SYNC_MS = 100;
const UI_MS = 200;
const REFRESH_MS = 2000;
/** So near to now there is nothing to play yet: it becomes live. */
const NOW_MS = 4000;
/** Where the playhead stays when the view follows it. */
const FOLLOW_SHARE = 0.8;
/** Shown before an event when it is jumped to. */
const LEAD_MS = 2000;
const HOUR_MS = 3_600_000;

/** Above this speed a browser that plays so many videos shows single pictures in place of them. */
function decodable(cameras: number): number {
  if (cameras <= 1) return 8;
  return cameras <= 4 ? 4 : 2;
}

export class Timeline {
  readonly ui = reactive({
    cameras: [] as CameraInfo[],
    selected: [] as string[],
    mode: 'live',
    playing: true,
    waiting: false,
    rate: 1,
    time: Date.now(),
    marks: { in: null as number | null, out: null as number | null },
    hidden: new Set<string>(),
    /** Kinds that there are in what was seen. */
    kinds: new Set<string>(),
    /** Process values that are shown, and all that there are, as `source:name`. */
    tags: [] as string[],
    allTags: [] as string[],
    zone: 'UTC',
    /** Of the view, ms. */
    span: HOUR_MS,
    problem: null as string | null,
    empty: false,
    region: null as Region | null,
    drawing: false,
    event: null as EventView | null,
    holds: [] as Hold[],
    /** What was just done or went wrong, said once. */
    notice: '',
  });
  readonly clock: MasterClock;
  readonly sync: SyncController;
  readonly tiles: TileStore;
  readonly events: EventStore;
  readonly strips: Strips;
  readonly options: TimelineOptions;
  view: View;
  width = 1000;
  zone: Zone;
  /** The view moves with the playhead. */
  following = true;
  private readonly players = new Map<string, VodPlayer>();
  private readonly painters = new Set<() => void>();
  private dirty = true;
  private frame = 0;
  private syncedAt = 0;
  private toldAt = 0;
  private refreshedAt = 0;
  private regionAsked = 0;

  constructor(options: TimelineOptions) {
    this.options = options;
    const now = (): number => performance.now();
    const nvrNow = (): number => options.feed.now();
    this.clock = new MasterClock(now, nvrNow());
    this.sync = new SyncController(this.clock, now);
    const changed = (): void => this.invalidate();
    this.tiles = new TileStore({
      fetch: (range, columns) => this.fetchLanes(range, columns),
      changed: () => {
        this.look();
        changed();
      },
      problem: (error) => (this.ui.problem = error === null ? null : messageOf(error)),
      nowMs: nvrNow,
    });
    this.events = new EventStore({ fetch: (range, limit) => this.fetchEvents(range, limit), changed, nowMs: nvrNow });
    this.strips = new Strips({ load: (camera, range) => this.loadStrip(camera, range), changed, nowMs: nvrNow });
    this.zone = new Zone(isZone(options.zone) ? options.zone : 'UTC');
    this.ui.zone = this.zone.name;
    const at = nvrNow();
    this.view = { start: at - HOUR_MS * FOLLOW_SHARE, end: at + HOUR_MS * (1 - FOLLOW_SHARE) };
    this.clock.play();
    this.frame = requestAnimationFrame(this.onFrame);
  }

  close(): void {
    cancelAnimationFrame(this.frame);
    this.strips.close();
  }

  /** Calls with each frame in which something to draw has changed. */
  onPaint(painter: () => void): () => void {
    this.painters.add(painter);
    return () => this.painters.delete(painter);
  }

  invalidate(): void {
    this.dirty = true;
  }

  get now(): number {
    return this.options.feed.now();
  }

  /** What the playhead is at. */
  get time(): number {
    return this.ui.mode === 'live' ? this.now : this.clock.time;
  }

  get level(): number {
    return levelOf(this.view, this.width);
  }

  private readonly onFrame = (stamp: number): void => {
    this.frame = requestAnimationFrame(this.onFrame);
    const { ui, clock } = this;
    if (clock.playing && ui.mode !== 'live') this.limit();
    if (stamp - this.syncedAt >= SYNC_MS) {
      this.syncedAt = stamp;
      if (ui.mode === 'video') this.sync.tick();
    }
    if (stamp - this.toldAt >= UI_MS) {
      this.toldAt = stamp;
      this.tell();
    }
    if (stamp - this.refreshedAt >= REFRESH_MS) {
      this.refreshedAt = stamp;
      this.tiles.refresh(this.view, this.level);
      this.dirty = true;
    }
    if (this.following && clock.playing) this.follow();
    if (clock.playing && !clock.waiting) this.dirty = true;
    if (!this.dirty) return;
    this.dirty = false;
    this.tiles.want(this.view, this.level);
    this.events.want(this.view);
    for (const paint of this.painters) paint();
  };

  private tell(): void {
    const { ui, clock } = this;
    const waiting = clock.waiting && ui.mode === 'video';
    Object.assign(ui, { time: this.time, span: this.view.end - this.view.start, playing: clock.playing, waiting });
  }

  /** There is nothing to play in the future: who gets there sees what is live. */
  private limit(): void {
    const { clock } = this;
    if (clock.rate > 0 && clock.time > this.now - NOW_MS) this.goLive();
    else if (clock.rate < 0 && clock.time < 0) this.pause();
  }

  private follow(): void {
    const x = xOf(this.view, this.width, this.time) / this.width;
    if (x > FOLLOW_SHARE && x < 1.2) this.view = around(this.view, this.time, FOLLOW_SHARE);
    else if (x < 0 || x >= 1.2) this.view = around(this.view, this.time, 0.5);
  }

  /** What there is to choose from: kinds of events, cameras with process values. */
  private look(): void {
    const { ui, view } = this;
    let some = false;
    for (const index of tilesOf(view, this.level)) {
      for (const tile of this.tiles.best(this.level, index)) {
        for (const lane of tile.lanes.values()) {
          some ||= lane.recorded.some(([start, end]) => start < view.end && end > view.start);
          for (const kind of lane.events.keys()) ui.kinds.add(kind);
        }
      }
    }
    ui.empty = !some && this.tiles.settled;
  }

  // -- cameras

  async loadCameras(): Promise<void> {
    const { cameras } = await this.options.session.get<{ cameras: CameraInfo[] }>('api/cameras');
    this.ui.cameras = cameras.map(({ camera, name, state }) => ({ camera, name, state }));
  }

  /** Process values are for those who may see all cameras. */
  async loadTags(): Promise<void> {
    if (this.options.session.view.cameras !== '*') return;
    const { tags } = await this.options.session.get<{ tags: { source: string; name: string }[] }>('api/tags');
    this.ui.allTags = tags.map(({ source, name }) => `${source}:${name}`);
  }

  select(cameras: readonly string[]): void {
    const known = new Set(this.ui.cameras.map(({ camera }) => camera));
    const wanted = [...new Set(cameras)].filter((camera) => known.has(camera)).slice(0, MAX_CAMERAS);
    if (wanted.join() === this.ui.selected.join()) return;
    this.ui.selected = wanted;
    this.tiles.clear();
    this.events.clear();
    if (this.ui.region && !wanted.includes(this.ui.region.camera)) this.ui.region = null;
    this.settleMode();
    this.invalidate();
  }

  join(camera: string, player: VodPlayer): void {
    this.players.set(camera, player);
    this.sync.add(player);
  }

  leave(camera: string, player: VodPlayer): void {
    if (this.players.get(camera) === player) this.players.delete(camera);
    this.sync.remove(player);
  }

  /** Which process values are shown, as `source:name`. */
  showTags(tags: readonly string[]): void {
    this.ui.tags = [...tags];
    this.tiles.clear();
    this.invalidate();
  }

  nameOf(camera: string): string {
    if (isTag(camera)) return tagOf(camera);
    return this.ui.cameras.find((one) => one.camera === camera)?.name || camera;
  }

  /** What is known of a camera around a moment. */
  laneAt(camera: string, time: number): Lane | null {
    const { level } = this;
    const [tile] = this.tiles.best(level, Math.floor(time / 2 ** level / 512));
    return tile?.lanes.get(camera) ?? null;
  }

  // -- view

  zoom(factor: number, anchor = this.time): void {
    this.view = zoomed(this.view, factor, anchor);
    this.invalidate();
  }

  pan(byMs: number): void {
    this.view = panned(this.view, byMs);
    this.following = false;
    this.invalidate();
  }

  show(view: View): void {
    this.view = fitted(view);
    this.following = false;
    this.invalidate();
  }

  setWidth(width: number): void {
    this.width = width;
    this.invalidate();
  }

  setZone(name: string): void {
    if (!isZone(name)) return;
    this.zone = new Zone(name);
    this.ui.zone = name;
    this.invalidate();
  }

  // -- playing

  play(): void {
    if (this.ui.mode === 'live') return;
    this.clock.play();
    this.following = true;
    this.settleMode();
  }

  pause(): void {
    if (this.ui.mode === 'live') this.leaveLive(this.now - NOW_MS);
    this.clock.pause();
    this.settleMode();
  }

  toggle(): void {
    if (this.clock.playing) this.pause();
    else this.play();
  }

  setRate(rate: number): void {
    if (this.ui.mode === 'live' && rate !== 1) this.leaveLive(this.now - NOW_MS);
    this.ui.rate = rate;
    this.clock.setRate(rate);
    this.settleMode();
  }

  goLive(): void {
    this.ui.rate = 1;
    this.clock.setRate(1);
    this.clock.hold(false);
    this.clock.seek(this.now);
    this.clock.play();
    this.ui.mode = 'live';
    this.ui.event = null;
    this.following = true;
    if (this.now < this.view.start || this.now > this.view.end) this.view = around(this.view, this.now, FOLLOW_SHARE);
    this.invalidate();
  }

  /** @param how `user` tells the flow; while something is dragged it is told at the end only */
  seek(time: number, how: 'user' | 'drag' | 'quiet' = 'user'): void {
    if (time >= this.now - NOW_MS) {
      if (how !== 'drag') this.goLive();
      return;
    }
    if (this.ui.mode === 'live') this.leaveLive(time);
    else this.clock.seek(time);
    this.settleMode();
    if (this.ui.mode === 'video') this.sync.seekAll();
    const x = xOf(this.view, this.width, time);
    if (how !== 'drag' && (x < 0 || x > this.width)) this.view = around(this.view, time);
    this.tell();
    this.invalidate();
    if (how === 'user') this.options.send('seek', { time: Math.round(time), cameras: [...this.ui.selected] });
  }

  skip(ms: number): void {
    this.seek(this.time + ms);
  }

  /** One frame on or back; of the first camera that has a picture. */
  step(frames: 1 | -1): void {
    if (this.ui.mode === 'live') this.leaveLive(this.now - NOW_MS);
    this.clock.pause();
    this.settleMode();
    const after = this.ui.selected.map((camera) => this.players.get(camera)?.frameAfter(frames) ?? null);
    const time = after.find((one) => one !== null) ?? this.clock.time + frames * 40;
    this.clock.seek(time);
    this.sync.seekAll();
    this.tell();
    this.invalidate();
  }

  private leaveLive(time: number): void {
    this.clock.seek(time);
    this.ui.mode = 'video';
    this.tell();
  }

  private settleMode(): void {
    const { ui, clock } = this;
    if (ui.mode === 'live') return;
    const stills = clock.playing && (clock.rate < 0 || clock.rate > decodable(ui.selected.length));
    const mode = stills ? 'stills' : 'video';
    if (mode === ui.mode) return;
    ui.mode = mode;
    clock.hold(false);
    if (mode === 'video') this.sync.seekAll();
    else for (const player of this.players.values()) player.setRate(0);
  }

  // -- events

  async goToEvent(direction: 'next' | 'previous'): Promise<EventView | null> {
    const from = Math.floor(this.ui.event?.start ?? this.time);
    const [found] =
      direction === 'previous'
        ? await this.fetchEvents({ start: 0, end: from }, 1)
        : await this.fetchEvents({ start: from + 1, end: Math.ceil(this.now) + 1 }, 1, 'oldest');
    if (found) this.openEvent(found);
    return found ?? null;
  }

  openEvent(event: EventView): void {
    this.seek(event.start - LEAD_MS, 'quiet');
    this.ui.event = event;
    this.invalidate();
    this.options.send('event', { event: event.id, kind: event.kind, camera: event.camera, time: event.start });
  }

  kindsShown(): string[] {
    return EVENT_KINDS.filter((kind) => !this.ui.hidden.has(kind));
  }

  toggleKind(kind: string): void {
    const { hidden } = this.ui;
    if (!hidden.delete(kind)) hidden.add(kind);
    this.events.clear();
    this.invalidate();
  }

  // -- marks

  mark(side: 'in' | 'out', time: number | null = this.time): void {
    const { marks } = this.ui;
    marks[side] = time === null ? null : Math.round(time);
    if (marks.in !== null && marks.out !== null && marks.in >= marks.out) marks[side === 'in' ? 'out' : 'in'] = null;
    this.invalidate();
    if (marks.in !== null && marks.out !== null) {
      this.options.send('range', { start: marks.in, end: marks.out, cameras: [...this.ui.selected] });
    }
  }

  clearMarks(): void {
    Object.assign(this.ui.marks, { in: null, out: null });
    this.invalidate();
  }

  // -- what the server knows

  async findMotion(camera: string, box: Region['box']): Promise<void> {
    const asked = ++this.regionAsked;
    this.ui.region = { camera, box, spans: [], state: 'loading' };
    const span = Math.max(this.view.end - this.view.start, 24 * HOUR_MS);
    const end = Math.min(this.now, Math.max(this.view.end, this.time + span / 2));
    const share = (value: number): string => value.toFixed(3);
    try {
      const { moved } = await this.options.session.get<{ moved: Region['spans'] }>(`api/motion/${camera}`, {
        ...{ start: Math.round(end - span), end: Math.round(end), limit: 1000 },
        ...{ x: share(box.x), y: share(box.y), width: share(box.width), height: share(box.height) },
      });
      if (asked === this.regionAsked) this.ui.region = { camera, box, spans: moved, state: 'done' };
    } catch (error) {
      if (asked !== this.regionAsked) return;
      this.ui.region = { camera, box, spans: [], state: 'failed' };
      this.ui.notice = messageOf(error);
    }
    this.invalidate();
  }

  clearRegion(): void {
    this.regionAsked++;
    this.ui.region = null;
    this.invalidate();
  }

  async loadHolds(): Promise<void> {
    if (!this.options.session.may('playback')) return;
    const { holds } = await this.options.session.get<{ holds: Hold[] }>('api/holds');
    this.ui.holds = holds;
    this.invalidate();
  }

  private async fetchLanes({ start, end }: View, columns: number): Promise<Lane[]> {
    const cameras = this.ui.selected.join(',');
    if (cameras === '') return [];
    const answer = await this.options.session.get<{ lanes: LaneJson[]; tags?: TagJson[] }>('api/timeline', {
      ...{ cameras, start, end, width: columns, stream: this.options.stream },
      ...(this.ui.tags.length > 0 ? { tags: this.ui.tags.join(',') } : {}),
    });
    return [
      ...answer.lanes.map((lane) => laneOf(lane, columns)),
      ...(answer.tags ?? []).map((tag) => tagLane(tag, columns)),
    ];
  }

  private async fetchEvents({ start, end }: View, limit: number, order = 'newest'): Promise<EventView[]> {
    const cameras = this.ui.selected.join(',');
    const types = this.kindsShown().join(',');
    if (cameras === '' || types === '') return [];
    const { events } = await this.options.session.get<{ events: EventJson[] }>('api/events', {
      ...{ cameras, types, start: Math.round(start), end: Math.round(end), limit, order },
    });
    return events.flatMap((event) => viewsOf(event, this.ui.selected));
  }

  private async loadStrip(
    camera: string,
    range: { start: number; end: number; count: number; width: number },
  ): Promise<LoadedStrip> {
    const { session, stream } = this.options;
    const address = await session.socketPath(`strip/${camera}.jpg`, { ...range, stream });
    // The browser keeps strips for a minute, and this one has more pictures by then.
    const response = await fetch(address, grows(range, this.now) ? { cache: 'reload' } : {});
    if (!response.ok) throw new NvrError(response.status, {});
    const times = (response.headers.get('X-Frame-Times') ?? '').split(',').map(Number);
    return { image: await createImageBitmap(await response.blob()), times };
  }
}

interface EventJson {
  id: string;
  type: string;
  camera: string | null;
  /** Of all that it is about. */
  cameras?: string[];
  start: number;
  end: number | null;
  label?: string | null;
  cause?: string;
  score?: number;
  zones?: string[];
}

/** One for each camera that is shown: an event may be about several. */
function viewsOf(event: EventJson, shown: readonly string[]): EventView[] {
  const { id, type, camera, start, end, label = null, cause = null, score = null, zones = [] } = event;
  return (event.cameras ?? [camera])
    .filter((one) => one !== null && shown.includes(one))
    .map((one) => ({ id, kind: type, camera: one!, start, end, label, cause, score, zones }));
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
