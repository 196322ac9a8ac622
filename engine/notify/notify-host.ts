/** The notify thread as seen from the main thread: begun when it is first needed, and again, with all it was told, when it died. */
import { EventEmitter } from 'node:events';
import { Worker } from 'node:worker_threads';
import { DEFAULT_MODES, type Modes } from '../recording/file-modes.ts';
import type { NotifyCalls, NotifyReply, NotifyRequest, NotifyThreadData } from '../thread/notify-thread.ts';
import { sibling } from '../thread/sibling.ts';
import { EngineError } from '../types.ts';
import type { NotifyEvent } from './notify.ts';
import type { ChannelSpec, ChannelState, ClipJob, DeliveryMessage, NotifyPolicy } from './types.ts';

export interface NotifyHostEvents {
  due: [ClipJob];
  delivery: [node: string, DeliveryMessage];
  channel: [ChannelState];
  command: [channel: string, topic: string, payload: string];
  problem: [string];
}

const RESTART_MS = 2000;
const CLOSE_MS = 2000;
/** What a Deploy closes and opens again keeps its connection. */
const GRACE_MS = 10_000;
/** Calls that wait for a thread that is begun again, and for one whose disk hangs. */
const MAX_HELD = 1000;
const MAX_CALLS = 20_000;

export class NotifyHost extends EventEmitter<NotifyHostEvents> {
  private readonly file: string;
  private worker: Worker | null = null;
  private nextId = 1;
  private readonly calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  private readonly nodes = new Map<string, NotifyPolicy>();
  private readonly channels = new Map<string, ChannelSpec>();
  private readonly states = new Map<string, Map<string, string | Uint8Array>>();
  private readonly channelStates = new Map<string, ChannelState>();
  private readonly releases = new Map<string, NodeJS.Timeout>();
  /** While a thread that died is begun again: what is asked for meanwhile. */
  private held: NotifyRequest[] | null = null;
  private closed = false;
  private readonly modes: Modes;

  /** @param file SQLite, on a local disk */
  constructor(file: string, modes: Modes = DEFAULT_MODES) {
    super();
    this.modes = modes;
    this.setMaxListeners(0);
    this.file = file;
  }

  /** Rejects with `notify` and what the thread says, `closed`. */
  call<K extends keyof NotifyCalls>(
    call: K,
    ...args: Parameters<NotifyCalls[K]>
  ): Promise<Awaited<ReturnType<NotifyCalls[K]>>> {
    return new Promise((resolve, reject) => {
      if (this.closed && call !== 'close') {
        reject(new EngineError('closed', 'the NVR is being stopped'));
        return;
      }
      if (this.calls.size >= MAX_CALLS) {
        reject(new EngineError('busy', 'the outbox does not answer: its disk may hang'));
        return;
      }
      const id = this.nextId++;
      const request: NotifyRequest = { id, call, args };
      if (this.held) {
        if (this.held.length >= MAX_HELD) {
          reject(new EngineError('notify', 'the outbox is being begun again; try again in a moment'));
          return;
        }
        this.held.push(request);
      } else {
        this.begun().postMessage(request);
      }
      this.calls.set(id, { resolve: resolve as (value: unknown) => void, reject });
    });
  }

  /** The thread; one that is begun now is told first of all that is there. */
  private begun(): Worker {
    if (this.worker) return this.worker;
    const worker = (this.worker = this.start());
    const quiet = (promise: Promise<unknown>): void => {
      promise.catch((error: unknown) => this.emit('problem', error instanceof Error ? error.message : String(error)));
    };
    for (const [channel, spec] of this.channels) {
      quiet(this.call('setChannel', channel, spec));
      for (const [topic, payload] of this.states.get(channel) ?? [])
        quiet(this.call('setState', channel, topic, payload));
    }
    for (const [node, policy] of this.nodes) quiet(this.call('setNode', node, policy));
    return worker;
  }

  private start(): Worker {
    const worker = new Worker(sibling('../thread/notify-thread', import.meta.url), {
      workerData: { file: this.file, modes: this.modes } satisfies NotifyThreadData,
    });
    let died = 'it ended';
    worker.on('message', (reply: NotifyReply) => this.onReply(reply));
    worker.on('error', (error: unknown) => {
      died = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      if (this.worker !== worker) return;
      this.worker = null;
      for (const { reject } of this.calls.values()) {
        reject(new EngineError('notify', `the outbox stopped (${died}); it is begun again`));
      }
      this.calls.clear();
      if (this.closed) return;
      this.emit('problem', `the outbox stopped (${died}) and is begun again`);
      this.held = [];
      setTimeout(() => this.revive(), RESTART_MS).unref();
    });
    return worker;
  }

  private revive(): void {
    const held = this.held ?? [];
    this.held = null;
    if (this.closed) return;
    const worker = this.begun();
    for (const request of held) worker.postMessage(request);
  }

  private onReply(reply: NotifyReply): void {
    if ('event' in reply) {
      this.onEvent(reply);
      return;
    }
    const call = this.calls.get(reply.id);
    this.calls.delete(reply.id);
    if ('error' in reply) call?.reject(new EngineError(reply.error.code, reply.error.message));
    else call?.resolve(reply.result);
  }

  private onEvent(event: NotifyEvent): void {
    switch (event.event) {
      case 'due':
        this.emit('due', event.job);
        return;
      case 'delivery':
        this.emit('delivery', event.node, event.message);
        return;
      case 'channel':
        this.channelStates.set(event.state.channel, event.state);
        this.emit('channel', event.state);
        return;
      case 'command':
        this.emit('command', event.channel, event.topic, event.payload);
        return;
      case 'problem':
        this.emit('problem', event.message);
    }
  }

  /** The node's events become clips from now on: those that wait for it, too. */
  async setNode(node: string, policy: NotifyPolicy): Promise<void> {
    this.nodes.set(node, policy);
    await this.call('setNode', node, policy);
  }

  /** Its clips wait until it is back. */
  async releaseNode(node: string): Promise<void> {
    this.nodes.delete(node);
    if (!this.closed) await this.call('setNode', node, null);
  }

  async setChannel(channel: string, spec: ChannelSpec): Promise<void> {
    this.keep(channel);
    this.channels.set(channel, spec);
    const set = this.call('setChannel', channel, spec);
    // One to another broker, or with another account, begins with none of them.
    const states = [...(this.states.get(channel) ?? [])];
    await Promise.all([set, ...states.map(([topic, payload]) => this.call('setState', channel, topic, payload))]);
  }

  /** @param now false lets it be for a moment, in case it is taken up again */
  releaseChannel(channel: string, now: boolean): void {
    this.keep(channel);
    const go = (): void => {
      this.releases.delete(channel);
      this.channels.delete(channel);
      this.channelStates.delete(channel);
      this.states.delete(channel);
      if (!this.closed)
        this.call('setChannel', channel, null).catch((error: unknown) => this.emit('problem', String(error)));
    };
    if (now) go();
    else this.releases.set(channel, setTimeout(go, GRACE_MS).unref());
  }

  private keep(channel: string): void {
    clearTimeout(this.releases.get(channel));
    this.releases.delete(channel);
  }

  /** The last thing known of a channel. */
  channelState(channel: string): ChannelState | null {
    return this.channelStates.get(channel) ?? null;
  }

  /** Retained by the broker; null removes it there. */
  async setState(channel: string, topic: string, payload: string | Uint8Array | null): Promise<void> {
    let states = this.states.get(channel);
    if (!states) this.states.set(channel, (states = new Map<string, string | Uint8Array>()));
    if (payload === null) states.delete(topic);
    else states.set(topic, payload);
    await this.call('setState', channel, topic, payload);
  }

  /** What is retained at the broker and not among these topics is removed there. */
  async pruneStates(channel: string, topics: readonly string[]): Promise<void> {
    const states = this.states.get(channel);
    const current = new Set(topics);
    for (const topic of states?.keys() ?? []) if (!current.has(topic)) states!.delete(topic);
    await this.call('pruneStates', channel, topics);
  }

  async close(): Promise<void> {
    const { worker } = this;
    for (const timer of this.releases.values()) clearTimeout(timer);
    if (this.closed) return;
    if (!worker) {
      this.closed = true;
      for (const { reject } of this.calls.values()) reject(new EngineError('closed', 'the NVR is being stopped'));
      this.calls.clear();
      return;
    }
    const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS).unref());
    const closing = this.call('close').catch(() => undefined);
    this.closed = true;
    await Promise.race([closing, late]);
    await worker.terminate();
  }
}
