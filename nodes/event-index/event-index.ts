/** Stores events, links them to footage, and finds them again. */
import type { Node, NodeAPI, NodeDef, NodeMessage } from 'node-red';
import { cursorText } from '../../engine/http/event-params.ts';
import { MAX_NOTE, readEvent, readNote, readTag, readWho, textIn } from '../../engine/events/incoming.ts';
import { EVENT_KINDS, type IndexedEvent } from '../../engine/events/types.ts';
import type { IncomingEvent } from '../../engine/events/incoming.ts';
import { EngineError } from '../../engine/types.ts';
import { commandOf, payloadOf, type Payload } from '../shared/message.ts';
import { openNode, settle, short, textOf } from '../shared/nvr.ts';
import { readQuery, readWhich, toIndexSpec, type EventIndexProperties } from './event-index-spec.ts';

const COMMANDS = ['acknowledge', 'annotate'] as const;
const SHOW_MS = 1000;

export default function register(RED: NodeAPI): void {
  function EventIndex(this: Node, properties: NodeDef & EventIndexProperties & { nvr: string }): void {
    RED.nodes.createNode(this, properties);
    const opened = openNode(RED, this, properties.nvr, () => toIndexSpec(this.id, properties));
    if (!opened) return;
    const { host, service, spec } = opened;
    const { id } = this;
    /** Events by camera that its own state is: open until it comes back. */
    const away = new Map<string, string>();
    let count = 0;
    let last = '';
    let showing: NodeJS.Timeout | null = null;

    const show = (): void => {
      if (last === '') this.status({ fill: 'grey', shape: 'dot', text: 'event-index.status.ready' });
      else this.status({ fill: 'green', shape: 'dot', text: short(`${count} · ${last}`) });
    };
    const tell = (event: IndexedEvent): void => {
      const [camera] = event.cameras;
      const msg = { topic: `event/${event.type}`, ...(camera === undefined ? {} : { camera }), payload: event };
      this.send([msg, null]);
    };
    const onEvent = (event: IndexedEvent, node: string | null): void => {
      if (node !== id) return;
      tell(event);
      if (event.phase === 'indexed') {
        count++;
        last = event.label ?? event.type;
        // Hundreds a second need not be seen one by one.
        showing ??= setTimeout(() => {
          showing = null;
          show();
        }, SHOW_MS);
      }
    };
    host.on('event', onEvent);
    show();
    host.setIndex(spec).catch((error: unknown) => this.error(textOf(error)));

    const index = async (payload: Payload, msg: NodeMessage): Promise<void> => {
      const arrival = Date.now();
      const { camera, topic } = msg as { camera?: unknown; topic?: unknown };
      const event = readEvent(payload, camera);
      if (!event) return;
      if (event.kind === 'recording' || event.kind === 'gap') {
        tell(kept(event, arrival));
        return;
      }
      if (event.kind === 'camera') {
        const [of = ''] = event.cameras;
        const open = away.get(of);
        // Its heartbeats say the same again and again.
        if (event.phase === 'start' ? open !== undefined : open === undefined) return;
        const eventId = open ?? `camera-${of}-${event.start!}`;
        if (event.phase === 'start') away.set(of, eventId);
        else away.delete(of);
        await host.putIndexed(id, { ...event, eventId }, arrival);
        return;
      }
      // Events of one machine are told apart from those of another.
      const source =
        event.source ?? (event.kind === 'external' && typeof topic === 'string' ? topic.slice(0, 100) || null : null);
      await host.putIndexed(id, { ...event, source }, arrival);
    };
    const command = async (payload: Payload): Promise<void> => {
      const who = readWho(payload) || 'flow';
      if (commandOf(payload, COMMANDS) === 'acknowledge') {
        await host.acknowledgeEvents(readWhich(payload, Date.now()), who, id);
        return;
      }
      const eventId = textIn(payload, 'eventId', MAX_NOTE);
      if (eventId === undefined) throw new EngineError('bad-event', 'annotate needs an eventId');
      await host.annotateEvent(eventId, who, readNote(payload).text, id);
    };
    const handle = async (msg: NodeMessage, send: (msg: (NodeMessage | null)[]) => void): Promise<void> => {
      const payload = payloadOf(msg);
      if (payload['command'] !== undefined) {
        await command(payload);
      } else if (payload['type'] === 'tag') {
        await host.putTag(id, readTag(payload), Date.now());
      } else if (payload['type'] === undefined && payload['query'] !== undefined) {
        const { filter, after, limit } = readQuery(payload['query'], Date.now());
        const { events, cursor } = await service.query.call('events', filter, after, limit);
        Object.assign(msg, { payload: { type: 'events', events, cursor: cursorText(cursor) } });
        send([null, msg]);
      } else {
        await index(payload, msg);
      }
    };
    this.on('input', (msg, send, done) => {
      settle(handle(msg, send), done);
    });
    this.on('close', (removed: boolean, done: () => void) => {
      if (showing) clearTimeout(showing);
      host.off('event', onEvent);
      host.releaseIndex(id, removed);
      done();
    });
  }
  RED.nodes.registerType('event-index', EventIndex as never);
}

/** Recordings and gaps are in tables of their own already: queries find them there, and they only pass through. */
function kept(event: IncomingEvent, now: number): IndexedEvent {
  const { kind, cameras, start = now, end = null, label = null, severity = 'info', eventId } = event;
  return {
    ...{
      type: EVENT_KINDS.find((known) => known === kind)!,
      kind,
      phase: event.phase === 'end' ? 'complete' : 'indexed',
    },
    ...{
      eventId: eventId ?? '',
      correlationId: null,
      source: null,
      cameras,
      start,
      end,
      sourceTime: null,
      uncertaintyMs: 0,
    },
    ...{
      preMs: 0,
      postMs: 0,
      label,
      severity,
      zones: [],
      score: null,
      boxes: [],
      tags: [],
      notes: [],
      acknowledged: null,
    },
    ...{ footage: [], problems: [] },
  };
}
