/** The node of the widget that shows what is recorded over time in FlowFuse Dashboard, and plays it. */
import type { Node, NodeAPI } from 'node-red';
import { EVENT_KINDS } from '../../engine/events/types.ts';
import { EngineError } from '../../engine/types.ts';
import { oneOf, text, time, type Actions } from '../shared/actions.ts';
import { cameraOf, commandOf, timeOf, type Payload } from '../shared/message.ts';
import { openWidget, type WidgetProperties } from '../shared/widget.ts';

const COMMANDS = ['select', 'seek', 'range', 'play', 'pause', 'live', 'speed'] as const;
const MAX_CAMERAS = 9;
const SPEEDS = { least: 0.25, most: 16 };

const range = { start: time, end: time };
const ACTIONS: Actions = {
  'timeline/seek': { right: 'playback', fields: { time } },
  'timeline/event': { right: 'playback', fields: { event: text(), kind: oneOf(...EVENT_KINDS), time } },
  'timeline/range': { right: 'playback', fields: range },
  'timeline/export': { right: 'export', fields: range },
  'timeline/hold': { right: 'control', fields: { ...range, name: text(1000) } },
  'timeline/release': { right: 'control', fields: { ...range, hold: text() } },
};

interface TimelineProperties extends WidgetProperties {
  /** Of the site; empty for that of Node-RED's computer. */
  zone?: string;
}

export default function register(RED: NodeAPI): void {
  function UiNvrTimeline(this: Node, properties: TimelineProperties): void {
    RED.nodes.createNode(this, properties);
    const zone = properties.zone || Intl.DateTimeFormat().resolvedOptions().timeZone;
    if (!isZone(zone)) this.warn(`there is no time zone ${zone}: UTC is used; names are such as Europe/Berlin`);
    openWidget(
      RED,
      this,
      { ...properties, zone: isZone(zone) ? zone : 'UTC' },
      {
        ...{ read, kept: ['select'], actions: ACTIONS },
      },
    );
  }
  RED.nodes.registerType('ui-nvr-timeline', UiNvrTimeline as never);
}

function isZone(name: string): boolean {
  try {
    return Boolean(new Intl.DateTimeFormat('en', { timeZone: name }));
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** Throws `bad-message`. */
function read(payload: Payload): Payload {
  switch (commandOf(payload, COMMANDS)) {
    case 'select':
      return { command: 'select', cameras: camerasOf(payload) };
    case 'seek':
      return { command: 'seek', time: timeOf(payload, 'time') };
    case 'range': {
      const [start, end] = [timeOf(payload, 'start'), timeOf(payload, 'end')];
      if (end <= start) throw new EngineError('bad-message', 'end must be later than start');
      return { command: 'range', start, end };
    }
    case 'speed': {
      const { speed } = payload;
      if (typeof speed === 'number' && Math.abs(speed) >= SPEEDS.least && Math.abs(speed) <= SPEEDS.most) {
        return { command: 'speed', speed };
      }
      throw new EngineError('bad-message', 'speed must be a number from 0.25 to 16, or below 0 for backwards');
    }
    default:
      return { command: payload['command'] };
  }
}

function camerasOf({ camera, cameras = camera }: Payload): string[] {
  const list = Array.isArray(cameras) ? cameras : [cameras];
  const ids = list.map(cameraOf).filter((id) => id !== null);
  if (ids.length > 0 && ids.length <= MAX_CAMERAS) return ids;
  throw new EngineError('bad-message', `cameras must be a list of 1 to ${MAX_CAMERAS} camera ids`);
}
