/** The node of the widget that lists events in FlowFuse Dashboard, newest first. */
import type { Node, NodeAPI } from 'node-red';
import { commandOf, type Payload } from '../shared/message.ts';
import { openWidget, type WidgetProperties } from '../shared/widget.ts';

const COMMANDS = ['select', 'filter'] as const;

export default function register(RED: NodeAPI): void {
  function UiNvrAlerts(this: Node, properties: WidgetProperties): void {
    RED.nodes.createNode(this, properties);
    openWidget(RED, this, properties, { read, kept: ['filter'] });
  }
  RED.nodes.registerType('ui-nvr-alerts', UiNvrAlerts as never);
}

/** Throws `bad-message`. */
function read(payload: Payload): Payload {
  commandOf(payload, COMMANDS);
  return payload;
}
