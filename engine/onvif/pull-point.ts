/**
 * A PullPoint subscription that is kept alive: renewed in time, made anew when the device forgot it, and polled where the
 * device cannot keep a request waiting (ONVIF Core Specification, section 9.2).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { EngineError } from '../types.ts';
import type { OnvifClient } from './client.ts';
import { notificationsOf, type Notification } from './events.ts';
import { NS } from './names.ts';
import { escapeXml, find, formatDuration, textAt, type XmlElement } from './xml.ts';

export interface PullPointOptions {
  /** How long the device may keep a request waiting for events. */
  waitMs: number;
  /** How long a subscription lives without being renewed. */
  lifeMs: number;
  /** Pause between requests to a device that answers at once without events. */
  pollMs: number;
  backoffMs: readonly [first: number, last: number];
}

const DEFAULTS: PullPointOptions = { waitMs: 30_000, lifeMs: 300_000, pollMs: 1000, backoffMs: [1000, 60_000] };
const MESSAGE_LIMIT = 100;
/** An empty answer this much before its time is one of a device that does not wait. */
const EARLY = 0.5;
const SHORTEST_WAIT_MS = 1000;
const GRACE_MS = 5000;
const UNSUBSCRIBE_MS = 2000;
/** Between answers with events: a device that always has some more may not keep us busy with nothing else. */
const REST_MS = 20;
/** For each event that came: a device tells a hundred in a second at most, whoever makes it tell them. */
const REST_PER_MESSAGE_MS = 10;
/** What a device wants to see again in every request; it is an id or two. */
const MAX_REFERENCE_CHARS = 4096;

export interface PullPointEffects {
  onNotifications: (notifications: Notification[]) => void;
  /** Null: events come. */
  onProblem: (problem: Error | null) => void;
}

interface Subscription {
  url: URL;
  /** What every request must bring back, as XML. */
  headers: string;
  /** performance.now() at which it ends. */
  endsAt: number;
  lifeMs: number;
}

export class PullPoint {
  private readonly client: OnvifClient;
  private readonly events: URL;
  private readonly effects: PullPointEffects;
  private readonly options: PullPointOptions;
  private readonly abort = new AbortController();
  private waitMs: number;
  private subscription: Subscription | null = null;
  readonly done: Promise<void>;

  constructor(client: OnvifClient, events: URL, effects: PullPointEffects, options: Partial<PullPointOptions> = {}) {
    this.client = client;
    this.events = events;
    this.effects = effects;
    this.options = { ...DEFAULTS, ...options };
    this.waitMs = this.options.waitMs;
    this.done = this.run();
  }

  /** Tells the device too, if it is there. */
  async close(): Promise<void> {
    this.abort.abort();
    await this.done;
    const { subscription } = this;
    if (!subscription) return;
    const body = `<Unsubscribe xmlns="${NS.notification}"/>`;
    await this.send(subscription, body, 'Unsubscribe', UNSUBSCRIBE_MS, null).catch(() => undefined); // it ends by itself
  }

  private isClosed(): boolean {
    return this.abort.signal.aborted;
  }

  private async run(): Promise<void> {
    const [first, last] = this.options.backoffMs;
    let delayMs = first;
    while (!this.isClosed()) {
      try {
        this.subscription = await this.subscribe();
        this.effects.onProblem(null);
        delayMs = first;
        await this.pullOn(this.subscription);
      } catch (error) {
        if (this.isClosed()) break;
        this.effects.onProblem(error instanceof Error ? error : new Error(String(error)));
        this.subscription = null;
        // An account that is refused again and again gets locked by some devices.
        const wait = error instanceof EngineError && error.code === 'auth' ? last : delayMs;
        await sleep(wait, undefined, { signal: this.abort.signal, ref: false }).catch(() => undefined);
        delayMs = Math.min(delayMs * 2, last);
      }
    }
  }

  private async subscribe(): Promise<Subscription> {
    const { lifeMs } = this.options;
    const body = `<CreatePullPointSubscription xmlns="${NS.events}"><InitialTerminationTime>${formatDuration(lifeMs)}</InitialTerminationTime></CreatePullPointSubscription>`;
    const action = `<a:Action xmlns:a="${NS.addressing}">${NS.events}/EventPortType/CreatePullPointSubscriptionRequest</a:Action>`;
    const answer = await this.client.call(this.events, body, { headers: action, signal: this.abort.signal });
    const reference = find(answer, 'SubscriptionReference');
    const headers = (find(reference, 'ReferenceParameters')?.children ?? []).map(serialize).join('');
    if (headers.length > MAX_REFERENCE_CHARS)
      throw new EngineError('bad-xml', 'the device sent no valid XML: the reference of its subscription is too long');
    const given = lifeOf(answer) ?? lifeMs;
    return {
      url: this.client.resolve(textAt(reference, 'Address')),
      ...{ headers, endsAt: performance.now() + given, lifeMs: given },
    };
  }

  private async pullOn(subscription: Subscription): Promise<void> {
    while (!this.isClosed()) {
      // A device may forget it in the moment it ends: a third of its life is left for a renewal that fails once.
      if (performance.now() > subscription.endsAt - subscription.lifeMs / 3) await this.renew(subscription);
      const left = subscription.endsAt - performance.now();
      const waitMs = Math.round(Math.max(Math.min(this.waitMs, left / 2), SHORTEST_WAIT_MS));
      const asked = performance.now();
      const notifications = await this.pull(subscription, waitMs);
      if (notifications === null) continue;
      if (notifications.length > 0) {
        this.effects.onNotifications(notifications);
        await sleep(Math.max(REST_MS, notifications.length * REST_PER_MESSAGE_MS), undefined, {
          ...{ signal: this.abort.signal, ref: false },
        }).catch(() => undefined);
      } else if (performance.now() - asked < waitMs * EARLY) {
        await sleep(this.options.pollMs, undefined, { signal: this.abort.signal, ref: false }).catch(() => undefined);
      }
    }
  }

  /** Null when the device broke the connection instead of waiting: it is asked to wait less from now on. */
  private async pull(subscription: Subscription, waitMs: number): Promise<Notification[] | null> {
    const body = `<PullMessages xmlns="${NS.events}"><Timeout>${formatDuration(waitMs)}</Timeout><MessageLimit>${MESSAGE_LIMIT}</MessageLimit></PullMessages>`;
    try {
      const action = 'PullMessages';
      return notificationsOf(await this.send(subscription, body, action, waitMs + GRACE_MS, this.abort.signal));
    } catch (error) {
      const broke = error instanceof EngineError && (error.code === 'network' || error.code === 'timeout');
      if (!broke || this.waitMs <= SHORTEST_WAIT_MS) throw error;
      this.waitMs = Math.max(this.waitMs / 4, SHORTEST_WAIT_MS);
      return null;
    }
  }

  private async renew(subscription: Subscription): Promise<void> {
    const time = `<TerminationTime>${formatDuration(this.options.lifeMs)}</TerminationTime>`;
    const body = `<Renew xmlns="${NS.notification}">${time}</Renew>`;
    const answer = await this.send(subscription, body, 'Renew', undefined, this.abort.signal);
    subscription.lifeMs = lifeOf(answer) ?? this.options.lifeMs;
    subscription.endsAt = performance.now() + subscription.lifeMs;
  }

  private send(
    { url, headers }: Subscription,
    body: string,
    action: 'PullMessages' | 'Renew' | 'Unsubscribe',
    timeoutMs: number | undefined,
    signal: AbortSignal | null,
  ): Promise<XmlElement> {
    const uri =
      action === 'PullMessages'
        ? `${NS.events}/PullPointSubscription/PullMessagesRequest`
        : `http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager/${action}Request`;
    const addressing = `<a:Action xmlns:a="${NS.addressing}">${uri}</a:Action><a:To xmlns:a="${NS.addressing}">${escapeXml(url.href)}</a:To>`;
    return this.client.call(url, body, {
      headers: addressing + headers,
      ...(timeoutMs === undefined ? {} : { timeoutMs }),
      ...(signal ? { signal } : {}),
    });
  }
}

/** How long a subscription lives, by the device's own clock; null when it does not say. */
function lifeOf(answer: XmlElement): number | null {
  const life = Date.parse(textAt(answer, 'TerminationTime')) - Date.parse(textAt(answer, 'CurrentTime'));
  return life >= 1000 ? Math.min(life, 86_400_000) : null;
}

/** An element as it came. */
function serialize({ name, ns, attributes, children, text }: XmlElement): string {
  const given = Object.entries(attributes).map(([key, value]) => ` ${key}="${escapeXml(value)}"`);
  return `<${name} xmlns="${escapeXml(ns)}"${given.join('')}>${escapeXml(text)}${children.map(serialize).join('')}</${name}>`;
}
