/** The node of the widget that shows the state of cameras, recorders and disks in FlowFuse Dashboard. */
import type { Node, NodeAPI } from 'node-red';
import { EngineError } from '../../engine/types.ts';
import { flag, text, type Actions } from '../shared/actions.ts';
import { commandOf, type Payload } from '../shared/message.ts';
import { openWidget, type WidgetProperties } from '../shared/widget.ts';

const TABS = ['cameras', 'coverage', 'storage', 'log', 'about'] as const;
const DEFAULT_TARGET = 99.9;

const ACTIONS: Actions = {
  'system/restart': { right: 'control', fields: { ok: flag, error: text(1000) } },
  'system/export': { right: 'playback', fields: { what: text() } },
};

interface SystemProperties extends WidgetProperties {
  /** Percent of the planned time that is to be recorded. */
  target?: unknown;
}

export default function register(RED: NodeAPI): void {
  function UiNvrSystem(this: Node, properties: SystemProperties): void {
    RED.nodes.createNode(this, properties);
    const target = Number(properties.target ?? DEFAULT_TARGET);
    const isShare = target > 0 && target <= 100;
    if (!isShare) this.warn(`the target must be a number up to 100: ${DEFAULT_TARGET} % is used`);
    openWidget(
      RED,
      this,
      { ...properties, target: isShare ? target : DEFAULT_TARGET },
      {
        ...{ read, kept: [], actions: ACTIONS },
      },
    );
  }
  RED.nodes.registerType('ui-nvr-system', UiNvrSystem as never);
}

/** Throws `bad-message`. */
function read(payload: Payload): Payload {
  const command = commandOf(payload, ['show']);
  const tab = TABS.find((one) => one === payload['tab']);
  if (!tab) throw new EngineError('bad-message', `tab must be one of ${TABS.join(', ')}`);
  return { command, tab };
}
