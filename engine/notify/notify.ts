/** All of notification that is one thread: clips that are due, the outbox, its channels, and the clips that are kept. */
import type { Clock } from '../clock.ts';
import { ClipJobs } from './clip-jobs.ts';
import { MqttChannel } from './mqtt-channel.ts';
import type { NotifyStore } from './notify-store.ts';
import { Outbox, type OutboxEffects } from './outbox.ts';
import { tidyShelf } from './shelf.ts';
import type {
  ChannelSpec,
  ChannelState,
  ClipEvent,
  ClipJob,
  DeliveryMessage,
  NotifyCounts,
  NotifyPolicy,
  OutboxMessage,
  Parcel,
  Suppression,
} from './types.ts';
import { WebhookChannel } from './webhook-channel.ts';

export type NotifyEvent =
  | { event: 'due'; job: ClipJob }
  | { event: 'delivery'; node: string; message: DeliveryMessage }
  | { event: 'channel'; state: ChannelState }
  | { event: 'command'; channel: string; topic: string; payload: string }
  | { event: 'problem'; message: string };

const TIDY_MS = 10 * 60_000;
const MAX_LISTED = 500;

export interface NotifyEffects {
  clock: Clock;
  random: () => number;
  tell: (event: NotifyEvent) => void;
  bounds?: OutboxEffects['bounds'];
}

export class Notify {
  private readonly store: NotifyStore;
  private readonly effects: NotifyEffects;
  private readonly jobs: ClipJobs;
  private readonly outboxes: Outbox;
  private readonly channels = new Map<string, { key: string; channel: MqttChannel | WebhookChannel }>();
  private cancel: () => void = () => undefined;

  constructor(store: NotifyStore, effects: NotifyEffects) {
    this.store = store;
    this.effects = effects;
    const { clock, random, tell, bounds } = effects;
    this.jobs = new ClipJobs(store, { clock, random, due: (job) => tell({ event: 'due', job }) });
    this.outboxes = new Outbox(store, {
      ...{ clock, random, tell: (node, message) => tell({ event: 'delivery', node, message }) },
      problem: (message) => tell({ event: 'problem', message }),
      ...(bounds ? { bounds } : {}),
    });
    this.tidy();
  }

  private tidy(): void {
    try {
      this.jobs.tidy();
      this.outboxes.tidy();
      for (const policy of this.jobs.nodes.values()) this.tidyShelf(policy);
    } catch (error) {
      this.effects.tell({ event: 'problem', message: error instanceof Error ? error.message : String(error) });
    }
    this.cancel = this.effects.clock.after(TIDY_MS, () => this.tidy());
  }

  private tidyShelf({ keep }: NotifyPolicy): void {
    tidyShelf(keep.folder, keep, this.effects.clock.now());
  }

  setNode(node: string, policy: NotifyPolicy | null): void {
    this.jobs.setNode(node, policy);
  }

  submit(node: string, event: ClipEvent): Suppression | null {
    return this.jobs.submit(node, event);
  }

  later(job: number, problem: string | null, afterMs: number | null): void {
    this.jobs.later(job, problem, afterMs);
  }

  /** The clips of a job are made: from here on its messages are not lost. */
  finish(job: number, node: string, parcels: Parcel[]): void {
    this.store.transaction(() => {
      if (!this.store.job(job)) return; // whoever made it before a Deploy was sooner
      this.outboxes.put(node, parcels);
      this.jobs.finish(job);
    });
    this.jobs.finished(job);
    this.outboxes.pumpAll();
    const policy = this.jobs.nodes.get(node);
    if (policy) this.tidyShelf(policy);
  }

  put(node: string, parcels: Parcel[]): void {
    this.store.transaction(() => this.outboxes.put(node, parcels));
    this.outboxes.pumpAll();
  }

  /** @param others whose messages count as the node's own */
  counts(node: string, others: readonly string[]): NotifyCounts {
    return this.store.counts(node, others);
  }

  outbox(node: string, others: readonly string[]): OutboxMessage {
    const jobs = this.store.jobs(node, MAX_LISTED).map(({ events, due, attempts, problem }) => ({
      ...{
        events: events.map(({ eventId }) => eventId),
        cameras: [...new Set(events.flatMap(({ cameras }) => cameras))],
      },
      ...{ due, attempts, problem },
    }));
    const entries = this.store.entries([node, ...others], MAX_LISTED);
    return { type: 'outbox', entries, counts: this.counts(node, others), jobs };
  }

  resend(nodes: readonly string[], id: string | null): number {
    const count = this.store.resend(nodes, id, this.effects.clock.now());
    this.outboxes.pumpAll();
    return count;
  }

  discard(nodes: readonly string[], id: string | null): number {
    return this.store.discard(nodes, id);
  }

  /** Null ends it; what waits for it goes on waiting. The same again changes nothing. */
  async setChannel(id: string, spec: ChannelSpec | null): Promise<void> {
    const known = this.channels.get(id);
    const key = JSON.stringify(spec);
    if (known?.key === key) return;
    this.outboxes.drop(id);
    const channel = spec && this.channelOf(id, spec);
    // At once: the states that are told from here on are the new one's.
    if (channel) this.channels.set(id, { key, channel });
    else this.channels.delete(id);
    await known?.channel.close();
    if (!channel || this.channels.get(id)?.channel !== channel) return;
    this.outboxes.open(id, channel);
    if (channel instanceof MqttChannel) channel.open();
  }

  private channelOf(id: string, spec: ChannelSpec): MqttChannel | WebhookChannel {
    const { clock, tell } = this.effects;
    const state = (connected: boolean, problem: string | null): void =>
      tell({ event: 'channel', state: { channel: id, connected, problem } });
    if (spec.kind === 'webhook') return new WebhookChannel(spec, clock, state);
    return new MqttChannel(spec, {
      state: (connected, problem) => {
        state(connected, problem);
        if (connected) this.outboxes.connected(id);
      },
      command: (topic, payload) => tell({ event: 'command', channel: id, topic, payload }),
      released: (topic) => {
        try {
          this.store.release(id, topic);
        } catch (error) {
          // It is removed at the broker once more in the next run.
          tell({ event: 'problem', message: `the outbox cannot be written: ${(error as Error).message}` });
        }
      },
    });
  }

  /** Retained by the broker; null removes it there. */
  setState(id: string, topic: string, payload: string | Uint8Array | null): void {
    const channel = this.channels.get(id)?.channel;
    if (!(channel instanceof MqttChannel)) return;
    if (payload !== null) this.store.retain(id, topic);
    channel.setState(topic, payload);
  }

  /** Removes from the broker what was retained there, by whatever run, but for these topics. */
  pruneStates(id: string, topics: readonly string[]): void {
    const channel = this.channels.get(id)?.channel;
    if (!(channel instanceof MqttChannel)) return;
    const current = new Set(topics);
    for (const topic of new Set([...this.store.retained(id), ...channel.topics])) {
      if (!current.has(topic)) channel.setState(topic, null);
    }
  }

  async close(): Promise<void> {
    this.cancel();
    this.jobs.close();
    await this.outboxes.close();
    this.store.close();
  }
}
