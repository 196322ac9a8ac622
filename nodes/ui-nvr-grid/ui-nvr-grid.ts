/** The node of the camera grid. */
import type { Node, NodeAPI } from 'node-red';
import { LAYOUTS } from '../../dashboard/grid/layout.ts';
import type { Board } from '../../engine/http/service.ts';
import { EngineError } from '../../engine/types.ts';
import { between, flag, oneOf, text, type Actions } from '../shared/actions.ts';
import { cameraOf, commandOf, type Payload } from '../shared/message.ts';
import { openWidget, type WidgetProperties } from '../shared/widget.ts';

const COMMANDS = ['select', 'enlarge', 'layout', 'group', 'page', 'tour', 'order'] as const;
/** Pages that are opened later are told, too. */
const KEPT = ['layout', 'group', 'tour', 'order'];
const MAX_CAMERAS = 500;
/** In the node's context. */
const BOARD = 'arrangement';

const axis = between(-1, 1);
const ACTIONS: Actions = {
  select: { right: 'live' },
  enlarge: { right: 'live', fields: { enlarged: flag } },
  timeline: { right: 'live' },
  layout: { right: 'live', fields: { layout: oneOf(...LAYOUTS) } },
  order: { right: 'live' },
  snapshot: { right: 'live' },
  record: { right: 'control' },
  'stop-record': { right: 'control' },
  panic: { right: 'control', everywhere: true },
  release: { right: 'control', everywhere: true },
  ptz: {
    right: 'control',
    fields: {
      command: oneOf('move', 'stop', 'relative', 'home', 'goto-preset'),
      ...{ pan: axis, tilt: axis, zoom: axis, timeout: between(0, 60_000), preset: text() },
    },
  },
};

export default function register(RED: NodeAPI): void {
  function UiNvrGrid(this: Node, properties: WidgetProperties): void {
    RED.nodes.createNode(this, properties);
    const { id } = this;
    const widget = openWidget(RED, this, properties, { read, kept: KEPT, actions: ACTIONS });
    if (!widget) return;
    const { boards } = widget.service;
    const context = this.context();
    const board: Board = {
      read: () => (context.get(BOARD) as Record<string, unknown> | undefined) ?? {},
      write: (arrangement) => {
        const [layout, order] = [layoutIn(arrangement), orderIn(arrangement['order'])];
        context.set(BOARD, { layout, order });
        widget.tell({ command: 'layout', layout });
        widget.tell({ command: 'order', cameras: order });
      },
    };
    boards.set(id, board);
    this.on('close', (done: () => void) => {
      if (boards.get(id) === board) boards.delete(id);
      done();
    });
  }
  RED.nodes.registerType('ui-nvr-grid', UiNvrGrid as never);
}

const bad = (message: string): EngineError => new EngineError('bad-message', message);

/** Throws `bad-message` with what to write instead. */
function read(payload: Payload): Payload {
  const command = commandOf(payload, COMMANDS);
  switch (command) {
    case 'select':
    case 'enlarge':
      return { command, camera: cameraOf(payload['camera']) };
    case 'layout':
      return { command, layout: layoutIn(payload) };
    case 'group':
      if (typeof payload['group'] === 'string') return { command, group: payload['group'] };
      throw bad("group must be the name of one of the node's groups, or empty for all cameras");
    case 'page':
      return { command, page: numberIn(payload, 'page', 1, MAX_CAMERAS) };
    case 'tour':
      return { command, seconds: numberIn(payload, 'seconds', 0, 3600) };
    case 'order':
      return { command, cameras: orderIn(payload['cameras']) };
  }
}

function layoutIn({ layout }: Payload): string {
  const known = LAYOUTS.find((name) => name === layout);
  if (known) return known;
  throw bad(`layout must be one of ${LAYOUTS.join(', ')}`);
}

function numberIn(payload: Payload, field: string, least: number, most: number): number {
  const value = payload[field];
  if (typeof value === 'number' && value >= least && value <= most) return value;
  throw bad(`${field} must be a number from ${least} to ${most}`);
}

function orderIn(cameras: unknown): string[] {
  if (!Array.isArray(cameras) || cameras.length > MAX_CAMERAS) throw bad('cameras must be a list of ids of cameras');
  return cameras.map(cameraOf).filter((camera) => camera !== null);
}
