/** The node of the widget that shows what is recorded over time in FlowFuse Dashboard, and plays it. */
import type { Node, NodeAPI } from 'node-red';
import { commandOf, type Payload } from '../shared/message.ts';
import { openWidget, type WidgetProperties } from '../shared/widget.ts';

const COMMANDS = ['select', 'seek'] as const;

export default function register(RED: NodeAPI): void {
  function UiNvrTimeline(this: Node, properties: WidgetProperties): void {
    RED.nodes.createNode(this, properties);
    openWidget(RED, this, properties, { read, kept: [] });
  }
  RED.nodes.registerType('ui-nvr-timeline', UiNvrTimeline as never);
}

/** Throws `bad-message`. */
function read(payload: Payload): Payload {
  commandOf(payload, COMMANDS);
  return payload;
}
