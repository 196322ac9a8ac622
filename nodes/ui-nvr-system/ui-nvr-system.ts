/** The node of the widget that shows the state of cameras, recorders and disks in FlowFuse Dashboard. */
import type { Node, NodeAPI } from 'node-red';
import { commandOf, type Payload } from '../shared/message.ts';
import { openWidget, type WidgetProperties } from '../shared/widget.ts';

const COMMANDS = ['show'] as const;

export default function register(RED: NodeAPI): void {
  function UiNvrSystem(this: Node, properties: WidgetProperties): void {
    RED.nodes.createNode(this, properties);
    openWidget(RED, this, properties, { read, kept: [] });
  }
  RED.nodes.registerType('ui-nvr-system', UiNvrSystem as never);
}

/** Throws `bad-message`. */
function read(payload: Payload): Payload {
  commandOf(payload, COMMANDS);
  return payload;
}
