/**
 * A page's access to one NVR, shared by all widgets on it: gets a token, renews it in time, and comes back by itself when
 * Node-RED was away. Knows no browser: what it needs of one is passed in.
 */
import { reactive } from 'vue';
import type { Right } from '../../engine/http/tokens.ts';

/**
 * `connecting`: no answer yet; `denied`: this person or place may not see it, `reason` says what to do; `offline`: Node-RED
 * does not answer, and is asked again.
 */
export type SessionState = 'connecting' | 'ready' | 'denied' | 'offline';

export type Params = Record<string, string | number | boolean | null | undefined>;

export interface SessionAnswer {
  status: number;
  json(): Promise<unknown>;
}

export interface SessionEffects {
  /** Rejects when there is no answer. */
  fetch(
    address: string,
    init: { method: string; headers?: Record<string, string>; body?: string },
  ): Promise<SessionAnswer>;
  /** Runs something later; returns how to call it off. */
  after(ms: number, run: () => void): () => void;
}

/** An answer that is no success. `status` 0: there was none. */
export class NvrError extends Error {
  readonly status: number;
  readonly code: string;
  /** The whole answer: a clip that is not there comes with the coverage of its time, for example. */
  readonly body: Record<string, unknown>;

  constructor(status: number, body: Record<string, unknown>) {
    super(typeof body['message'] === 'string' ? body['message'] : `HTTP ${status}`);
    this.name = 'NvrError';
    this.status = status;
    this.code = typeof body['error'] === 'string' ? body['error'] : 'error';
    this.body = body;
  }
}

export interface SessionView {
  state: SessionState;
  reason: string | null;
  /** What kind of reason, as the NVR names it: `closed`, for example. */
  code: string | null;
  rights: Set<Right>;
  /** Cameras that this page may see. */
  cameras: string[] | '*';
}

interface Grant {
  token: string;
  rights: Right[];
  cameras: string[] | '*';
  expiresInMs: number;
}

/** Of a token's time, the share after which the next one is fetched. */
const RENEW_AT = 0.75;
const RETRY_MS = [500, 1000, 2000, 4000, 8000, 15_000];
/** Whoever is denied may have got a login meanwhile. */
const DENIED_MS = 20_000;

export class Session {
  /** The NVR's address without a slash at its end: `/nvr`. */
  readonly base: string;
  /** For templates and watchers. */
  readonly view = reactive<SessionView>({
    state: 'connecting',
    reason: null,
    code: null,
    rights: new Set(),
    cameras: '*',
  });
  private readonly effects: SessionEffects;
  private token: string | null = null;
  private tries = 0;
  private pending: Promise<void> | null = null;
  private callOff: (() => void) | null = null;
  private readonly listeners = new Set<(token: string) => void>();
  private waiting: { resolve: () => void; reject: (error: Error) => void }[] = [];

  constructor(base: string, effects: SessionEffects) {
    this.base = base.replace(/\/$/, '');
    this.effects = effects;
  }

  get state(): SessionState {
    return this.view.state;
  }

  get reason(): string | null {
    return this.view.reason;
  }

  get rights(): Set<Right> {
    return this.view.rights;
  }

  may(right: Right, camera: string | null = null): boolean {
    const { rights, cameras } = this.view;
    return rights.has(right) && (camera === null || cameras === '*' || cameras.includes(camera));
  }

  /** Called with each new token, at once if there is one; for sockets, which must be told before theirs ends. */
  onToken(listener: (token: string) => void): () => void {
    this.listeners.add(listener);
    if (this.token) listener(this.token);
    return () => this.listeners.delete(listener);
  }

  /** Gets a token now. Never rejects: `view` says what came of it. */
  refresh(): Promise<void> {
    this.callOff?.();
    this.pending ??= this.ask().finally(() => (this.pending = null));
    return this.pending;
  }

  private async ask(): Promise<void> {
    try {
      const grant = (await this.call('GET', '/dashboard/token')) as unknown as Grant;
      this.token = grant.token;
      this.tries = 0;
      Object.assign(this.view, {
        rights: new Set(grant.rights),
        cameras: grant.cameras,
        state: 'ready',
        reason: null,
        code: null,
      });
      this.again(grant.expiresInMs * RENEW_AT);
      for (const { resolve } of this.waiting.splice(0)) resolve();
      for (const listener of this.listeners) listener(grant.token);
    } catch (error) {
      const { status, message, code } = error instanceof NvrError ? error : new NvrError(0, { message: String(error) });
      const denied = status === 401 || status === 403;
      if (denied) {
        this.token = null;
        Object.assign(this.view, { rights: new Set(), state: 'denied', reason: message, code });
        for (const { reject } of this.waiting.splice(0)) reject(error as Error);
      } else {
        Object.assign(this.view, { state: 'offline', reason: message, code });
      }
      this.again(denied ? DENIED_MS : RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]!);
    }
  }

  private again(ms: number): void {
    this.callOff?.();
    this.callOff = this.effects.after(ms, () => void this.refresh());
  }

  /** Resolves when there is a token; rejects when there will be none for now. */
  private ready(): Promise<void> {
    if (this.token && this.view.state === 'ready') return Promise.resolve();
    if (this.view.state === 'denied') return Promise.reject(new NvrError(403, { message: this.view.reason }));
    return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
  }

  /** Rejects with {@link NvrError}. */
  private async call(method: string, path: string, body?: unknown): Promise<Record<string, unknown>> {
    const init = {
      method,
      ...(body === undefined ? {} : { headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) }),
    };
    let answer: SessionAnswer;
    try {
      answer = await this.effects.fetch(`${this.base}${path}`, init);
    } catch {
      throw new NvrError(0, { error: 'offline', message: 'Node-RED does not answer' });
    }
    if (answer.status === 204) return {};
    // A proxy in between answers with a page of its own.
    const json = (await answer.json().catch(() => ({}))) as Record<string, unknown>;
    if (answer.status >= 400) throw new NvrError(answer.status, json);
    return json;
  }

  private async request(method: string, path: string, params?: Params, body?: unknown): Promise<unknown> {
    await this.ready();
    try {
      return await this.call(method, this.pathOf(path, params), body);
    } catch (error) {
      const { status } = error as NvrError;
      if (status === 0) void this.refresh();
      if (status !== 401) throw error;
      // The keys were changed, or this computer slept: once more with a new token.
      await this.refresh();
      await this.ready();
      return this.call(method, this.pathOf(path, params), body);
    }
  }

  private pathOf(path: string, params: Params = {}): string {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(params)) {
      if (value !== null && value !== undefined) query.set(name, String(value));
    }
    // Not in a header: that is httpNodeAuth's.
    if (this.token) query.set('token', this.token);
    return `/${path}?${query.toString()}`;
  }

  /** @param path below the NVR's address: `api/cameras`. Rejects with {@link NvrError}. */
  get<T>(path: string, params?: Params): Promise<T> {
    return this.request('GET', path, params) as Promise<T>;
  }

  /** Rejects with {@link NvrError}. */
  post<T = Record<string, never>>(path: string, body: object, params?: Params): Promise<T> {
    return this.request('POST', path, params, body) as Promise<T>;
  }

  /** An address with the token of now, for `src` and links. Empty while there is no token. */
  url(path: string, params?: Params): string {
    return this.token ? `${this.base}${this.pathOf(path, params)}` : '';
  }

  /** A good token, for what goes over the dashboard's own socket; waits for one. Rejects with {@link NvrError}. */
  async proof(): Promise<string> {
    await this.ready();
    return this.token ?? '';
  }

  /** The path of a WebSocket with a good token; waits for one. Rejects with {@link NvrError}. */
  async socketPath(path: string, params?: Params): Promise<string> {
    await this.ready();
    return `${this.base}${this.pathOf(path, params)}`;
  }

  close(): void {
    this.callOff?.();
    this.listeners.clear();
  }
}
