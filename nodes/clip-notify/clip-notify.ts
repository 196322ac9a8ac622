/** Makes clips of events, and delivers them. */
import { dirname, join } from 'node:path';
import type { Node, NodeAPI, NodeDef, NodeMessage } from 'node-red';
import type { IndexedEvent } from '../../engine/events/types.ts';
import { ClipMaker, LOOK_AGAIN_MS, NotYet } from '../../engine/notify/clip-maker.ts';
import { influxPayload, lineOf } from '../../engine/notify/line-protocol.ts';
import { modesOf } from '../../engine/recording/file-modes.ts';
import { clipPoint, clipRecord, indexedRecord, topicsOf } from '../../engine/notify/topics.ts';
import type {
  ChannelState,
  ClipJob,
  ClipMessage,
  DeliveryMessage,
  NotifyCounts,
  Parcel,
} from '../../engine/notify/types.ts';
import { commandOf, payloadOf, type Payload } from '../shared/message.ts';
import { openNode, refuse, settle, short, textOf, type NvrConfigNode } from '../shared/nvr.ts';
import type { NvrMqttNode } from '../nvr-mqtt/nvr-mqtt.ts';
import {
  isIndexed,
  isToldByBridge,
  readClipCommand,
  readEvent,
  toClipNotifyConfig,
  type ClipNotifyProperties,
} from './clip-notify-spec.ts';
import { shaped } from './shapes.ts';

const COMMANDS = ['clip', 'outbox', 'resend', 'delete'] as const;
/** Counts for the status are asked for at most so often. */
const SHOW_MS = 300;
const RELEASE_TRIES = 5;
const RELEASE_MS = 5000;
/** Of the 15 s that Node-RED gives. */
const CLOSE_MS = 5000;

interface ClipNotifyNode extends Node {
  credentials: { webhookSecret?: string };
}

export default function register(RED: NodeAPI): void {
  type Properties = NodeDef & ClipNotifyProperties & { nvr: string; mqtt: string };

  function ClipNotify(this: ClipNotifyNode, properties: Properties): void {
    RED.nodes.createNode(this, properties);
    const opened = openNode(RED, this, properties.nvr, () => {
      const { catalog } = (RED.nodes.getNode(properties.nvr) as NvrConfigNode).host!.config;
      // No camera has such a name, so no recording is ever looked for in there.
      return toClipNotifyConfig(this.id, properties, join(dirname(catalog), '_clips'));
    });
    if (!opened) return;
    const { nvr, host, service, spec } = opened;
    const { id } = this;
    const { notify } = service;
    const mqtt = properties.mqtt ? (RED.nodes.getNode(properties.mqtt) as NvrMqttNode | null) : null;
    if (properties.mqtt && (!mqtt?.broker || mqtt.broker.nvr !== nvr)) {
      refuse(this, mqtt?.problem ?? 'the MQTT broker is not set up, or for another NVR configuration');
      return;
    }
    const broker = mqtt?.broker ? { channel: mqtt.broker.channel, topics: topicsOf(mqtt.broker.site) } : null;
    const webhook = spec.webhook === null ? null : `webhook-${id}`;
    /** Whose messages go by the same way, and can be sent again from here. */
    const others = broker ? [broker.channel] : [];
    const channels = [broker?.channel, webhook].filter((channel) => channel !== undefined && channel !== null);
    let closed = false;
    let counts: NotifyCounts | null = null;
    const progress = new Map<string, number>();
    const making = new Set<number>();
    /** Told in this run; what could not be put into the outbox then is not told again. */
    const told = new Set<string>();
    const problems = new Map<number, string>();

    const show = (): void => {
      const channel = channels.map((name) => notify.channelState(name)).find((state) => state?.problem) ?? null;
      this.status(statusOf(counts, progress, channel));
    };
    let showing: NodeJS.Timeout | null = null;
    const refresh = (): void => {
      showing ??= setTimeout(() => {
        notify.call('counts', id, others).then(
          (now) => {
            showing = null;
            if (closed) return;
            counts = now;
            show();
          },
          () => (showing = null), // the outbox is begun again, and says so
        );
      }, SHOW_MS);
    };
    const second = (payload: object, topic: string): void =>
      this.send([null, { topic, payload }, null] as NodeMessage[]);

    const maker = new ClipMaker(
      {
        ...{ clips: service.clips, stills: service.stills, query: service.query, now: () => Date.now() },
        ffmpegPath: host.config.ffmpegPath,
        modes: modesOf(host.config.readers),
        link: async (camera, { start, end }) => {
          if (spec.baseUrl === null) return null;
          const access = { cameras: [camera], rights: ['playback' as const, 'export' as const], range: { start, end } };
          const token = await service.tokens.mint(access, spec.linkMs);
          return `${spec.baseUrl}/clip/${camera}.mp4?start=${start}&end=${end}&token=${token}`;
        },
        progress: (eventId, camera, percent) => {
          progress.set(camera, percent);
          show();
          second({ type: 'clip-progress', eventId, camera, percent }, `clip/${camera}`);
        },
        warn: (message) => this.warn(message),
      },
      { ...spec, maxClipMs: spec.policy.maxClipMs, folder: spec.policy.keep.folder },
    );
    const tell = async (message: ClipMessage): Promise<void> => {
      if (told.has(message.id)) return;
      const points = message.clips.map((clip) => {
        const point = clipPoint(message, clip);
        const record = clipRecord(message);
        const { measurement } = point;
        return { topic: 'nvr_clip', measurement, payload: influxPayload(point), line: lineOf(point), record };
      });
      this.send([await shaped(spec.shape, message, spec.chatId), null, points] as NodeMessage[][]);
      told.add(message.id);
      for (const old of told) if (told.size > 1000) told.delete(old);
    };
    const make = async (job: ClipJob): Promise<void> => {
      const message = await maker.make(job);
      if (closed) return; // its successor makes it anew
      await tell(message);
      const body = JSON.stringify(clipRecord(message));
      const parcels: Parcel[] = [
        ...(broker ? [{ id: message.id, channel: broker.channel, topic: broker.topics.clip, body }] : []),
        ...(webhook ? [{ id: message.id, channel: webhook, topic: '', body }] : []),
      ];
      await notify.call('finish', job.id, id, parcels);
      // It is made, whatever fails from here on.
      for (const { eventId } of job.events) void release(eventId);
      for (const { camera, thumbnail } of message.clips) {
        if (!broker || !thumbnail) continue;
        const { image } = broker.topics.camera(camera);
        notify.setState(broker.channel, image, thumbnail).catch((error: unknown) => this.warn(textOf(error)));
      }
    };
    /** An engine that is being begun again is asked once more. */
    const release = async (eventId: string, tries = RELEASE_TRIES): Promise<void> => {
      try {
        await host.releaseEventHold(eventId);
      } catch (error) {
        if (tries > 1) setTimeout(() => void release(eventId, tries - 1), RELEASE_MS).unref();
        else this.warn(`its footage is held until the hold ends: ${textOf(error)}`);
      }
    };
    const onDue = (job: ClipJob): void => {
      if (job.node !== id || making.has(job.id)) return;
      making.add(job.id);
      make(job)
        .then(
          () => problems.delete(job.id),
          async (error: unknown) => {
            if (closed) return;
            const problem = error instanceof NotYet ? error.problem : textOf(error);
            if (problem && problems.get(job.id) !== problem) this.warn(`a clip is tried again: ${problem}`);
            if (problem) problems.set(job.id, problem);
            await notify.call('later', job.id, problem, problem === null ? LOOK_AGAIN_MS : null);
          },
        )
        .catch((error: unknown) => this.error(textOf(error)))
        .finally(() => {
          making.delete(job.id);
          for (const { cameras } of job.events) for (const camera of cameras) progress.delete(camera);
          refresh();
        });
    };
    const onDelivery = (node: string, message: DeliveryMessage): void => {
      if (others.includes(node)) refresh();
      if (node !== id) return;
      second(message, 'delivery');
      if (message.type === 'delivery' && (message.state === 'dead' || message.state === 'dropped')) {
        this.error(`a message was not delivered: ${message.problem ?? ''}`, { topic: 'delivery', payload: message });
      }
      refresh();
    };
    const onChannel = ({ channel }: ChannelState): void => {
      if (channels.includes(channel)) refresh();
    };
    notify.on('due', onDue);
    notify.on('delivery', onDelivery);
    notify.on('channel', onChannel);
    const secret = this.credentials.webhookSecret ?? '';
    this.status({ fill: 'grey', shape: 'dot', text: 'clip-notify.status.ready' });
    // Told to the thread before anything else is; one that dies is told again.
    Promise.all([
      webhook && spec.webhook !== null
        ? notify.setChannel(webhook, { kind: 'webhook', url: spec.webhook, secret })
        : undefined,
      notify.setNode(id, spec.policy),
    ]).then(refresh, (error: unknown) => this.error(textOf(error)));

    const idIn = (payload: Payload): string | null => (typeof payload['id'] === 'string' ? payload['id'] : null);
    const handle = async (msg: NodeMessage, send: (msgs: (NodeMessage | null)[]) => void): Promise<void> => {
      const payload = payloadOf(msg);
      if (payload['command'] === undefined && payload['type'] !== undefined) {
        if (broker && isIndexed(payload)) {
          const event = payload as unknown as IndexedEvent;
          if (!isToldByBridge(event)) {
            const record = indexedRecord(event);
            const body = JSON.stringify(record);
            const { channel, topics } = broker;
            await notify.call('put', id, [{ id: record.id, channel, topic: topics.event, body }]);
          }
        }
        const event = readEvent(payload, msg as { camera?: unknown }, spec);
        if (event) await notify.call('submit', id, event);
        refresh();
        return;
      }
      const answer = (of: object): void => send([null, Object.assign(msg, { topic: 'outbox', payload: of }), null]);
      switch (commandOf(payload, COMMANDS)) {
        case 'clip':
          await notify.call('submit', id, readClipCommand(payload, msg as { camera?: unknown }));
          break;
        case 'outbox':
          answer(await notify.call('outbox', id, others));
          return;
        case 'resend':
          answer({ type: 'resend', count: await notify.call('resend', [id, ...others], idIn(payload)) });
          break;
        case 'delete':
          answer({ type: 'delete', count: await notify.call('discard', [id, ...others], idIn(payload)) });
      }
      refresh();
    };
    this.on('input', (msg, send, done) => {
      settle(handle(msg, send), done);
    });
    this.on('close', (removed: boolean, done: () => void) => {
      closed = true;
      maker.close();
      if (showing) clearTimeout(showing);
      notify.off('due', onDue);
      notify.off('delivery', onDelivery);
      notify.off('channel', onChannel);
      if (webhook) notify.releaseChannel(webhook, removed);
      // What is not made yet waits for the node to be back. A disk that hangs is not waited for.
      const late = new Promise<void>((resolve) => setTimeout(resolve, CLOSE_MS).unref());
      Promise.race([notify.releaseNode(id), late]).then(done, () => done());
    });
  }
  RED.nodes.registerType('clip-notify', ClipNotify as never, { credentials: { webhookSecret: { type: 'password' } } });
}

function statusOf(
  counts: NotifyCounts | null,
  progress: ReadonlyMap<string, number>,
  channel: ChannelState | null,
): { fill: 'red' | 'green' | 'yellow' | 'blue' | 'grey'; shape: 'ring' | 'dot'; text: string } {
  const { jobs = 0, waiting = 0, dead = 0 } = counts ?? {};
  const numbers = [jobs > 0 ? `▶ ${jobs}` : '', waiting > 0 ? `✉ ${waiting}` : '', dead > 0 ? `✕ ${dead}` : ''];
  const text = numbers.filter((part) => part !== '').join('  ');
  const [working] = progress;
  if (channel?.problem)
    return { fill: 'red', shape: 'ring', text: short([text, channel.problem].filter(Boolean).join(' ')) };
  if (working) return { fill: 'blue', shape: 'dot', text: `${working[0]} ${working[1]} %` };
  if (dead > 0) return { fill: 'red', shape: 'dot', text };
  if (text !== '') return { fill: waiting > 0 ? 'yellow' : 'blue', shape: 'dot', text };
  return { fill: 'green', shape: 'dot', text: 'clip-notify.status.ready' };
}
