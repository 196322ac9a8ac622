/** The node of the widget that lists events in FlowFuse Dashboard, newest first. */
import type { Node, NodeAPI } from 'node-red';
import { EVENT_KINDS, SEVERITIES } from '../../engine/events/types.ts';
import { EngineError } from '../../engine/types.ts';
import { between, flag, json, list, oneOf, optional, record, text, time, type Actions } from '../shared/actions.ts';
import { cameraOf, commandOf, timeOf, type Payload } from '../shared/message.ts';
import { openWidget, type WidgetProperties } from '../shared/widget.ts';

const COMMANDS = ['filter', 'select'] as const;
const MAX_VALUES = 50;
const MAX_TEXT = 200;

const name = text();
/** As the page shows it: of the index, or as the feed told it. */
const EVENT = record({
  ...{ id: name, camera: optional(name) },
  ...{ eventId: name, kind: oneOf(...EVENT_KINDS), type: oneOf(...EVENT_KINDS), phase: name, cameras: list(name, 500) },
  ...{ correlationId: optional(text(1000)), source: optional(text(1000)), label: optional(text(1000)) },
  ...{ start: time, end: optional(time), sourceTime: optional(between(-8.64e15, 8.64e15)), uncertaintyMs: time },
  ...{ preMs: time, postMs: time, severity: oneOf(...SEVERITIES), zones: list(name, 500), score: optional(json) },
  ...{ boxes: list(json, 1000), tags: list(json, 1000), notes: list(json, 1000), footage: list(json, 500) },
  problems: list(text(1000)),
  acknowledged: optional(record({ who: text(1000), at: time })),
});
const FILTER = record({
  ...{ cameras: list(name), kinds: list(oneOf(...EVENT_KINDS)), zones: list(name), labels: list(name) },
  ...{ severities: list(oneOf(...SEVERITIES)), open: flag, text: name, start: optional(time), end: optional(time) },
});
const count = between(0, 1e9);
const ACTIONS: Actions = {
  'alert/unread': { right: 'playback', fields: { count } },
  'alert/select': { right: 'playback', fields: { event: EVENT } },
  'alert/timeline': { right: 'playback', fields: { event: EVENT } },
  'alert/share': { right: 'playback', fields: { event: EVENT, link: text(2000) } },
  'alert/acknowledge': { right: 'control', fields: { event: EVENT, filter: FILTER, count } },
  'alert/note': { right: 'control', fields: { event: EVENT, text: text(10_000) } },
};

export default function register(RED: NodeAPI): void {
  function UiNvrAlerts(this: Node, properties: WidgetProperties): void {
    RED.nodes.createNode(this, properties);
    openWidget(RED, this, properties, { read, kept: ['filter'], actions: ACTIONS });
  }
  RED.nodes.registerType('ui-nvr-alerts', UiNvrAlerts as never);
}

const bad = (what: string): EngineError => new EngineError('bad-message', what);

/** Throws `bad-message`. */
function read(payload: Payload): Payload {
  if (commandOf(payload, COMMANDS) === 'select') {
    const { eventId } = payload;
    if (typeof eventId !== 'string' || eventId === '') throw bad('eventId must be the id of an event');
    return { command: 'select', eventId, camera: cameraOf(payload['camera']), time: timeOf(payload, 'time') };
  }
  const { text, open } = payload;
  if (text !== undefined && (typeof text !== 'string' || text.length > MAX_TEXT))
    throw bad(`text must be words to look for, at most ${MAX_TEXT} characters`);
  if (open !== undefined && typeof open !== 'boolean') throw bad('open must be true or false');
  return {
    command: 'filter',
    cameras: listOf(payload, 'cameras').map(cameraOf),
    kinds: listOf(payload, 'kinds', EVENT_KINDS),
    severities: listOf(payload, 'severities', SEVERITIES),
    zones: listOf(payload, 'zones'),
    labels: listOf(payload, 'labels'),
    ...(text === undefined ? {} : { text }),
    ...(open === undefined ? {} : { open }),
    ...((payload['start'] ?? null) === null ? {} : { start: timeOf(payload, 'start') }),
    ...((payload['end'] ?? null) === null ? {} : { end: timeOf(payload, 'end') }),
  };
}

function listOf(payload: Payload, name: string, known?: readonly string[]): string[] {
  const values: unknown[] = [payload[name] ?? []].flat();
  if (values.length > MAX_VALUES) throw bad(`${name} must be a list of at most ${MAX_VALUES}`);
  return values.map((value) => {
    if (typeof value !== 'string' || value === '') throw bad(`${name} must be a text or a list of texts`);
    if (known && !known.includes(value)) throw bad(`${name} must be of ${known.join(', ')}`);
    return value;
  });
}
