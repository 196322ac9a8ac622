/** What the dashboard's widgets have in common as nodes: they take commands for the page, and send what is done there. */
import type { Node, NodeAPI, NodeDef } from 'node-red';
import type { NvrService } from '../../engine/http/service.ts';
import { readAction, type Actions } from './actions.ts';
import { payloadOf, type Payload } from './message.ts';
import { refuse, type NvrConfigNode } from './nvr.ts';
import { guardOf, type IoServer } from './socket-guard.ts';

export interface WidgetProperties extends NodeDef {
  nvr: string;
  group: string;
  [property: string]: unknown;
}

/** The parts of Dashboard's nodes that are used here. */
interface UiBase {
  emit(event: string, msg: object, node: Node): void;
  stores: { data: { save(base: UiBase, node: Node, msg: object): void } };
  uiShared?: { ioServer?: IoServer | null };
}

interface UiGroup extends Node {
  register(node: Node, properties: object, events: object): void;
  getBase(): UiBase;
}

type WidgetMessage = Record<string, unknown> & { topic?: string; payload?: unknown };

export interface WidgetOptions {
  /** Checks a message's payload. Throws what is wrong with it. */
  read: (payload: Payload) => Payload;
  /** Commands that pages opened later get too, the last of each. */
  kept: readonly string[];
  /** What its page may send to the flow. */
  actions: Actions;
}

export interface OpenWidget {
  service: NvrService;
  /** Tells all open pages. */
  tell(payload: object): void;
}

/**
 * Registers a widget with Dashboard.
 *
 * @returns null where something is missing; the node was told to {@link refuse}
 */
export function openWidget(
  RED: NodeAPI,
  node: Node,
  properties: WidgetProperties,
  { read, kept, actions }: WidgetOptions,
): OpenWidget | null {
  const nvr = RED.nodes.getNode(properties.nvr) as NvrConfigNode | null;
  const group = RED.nodes.getNode(properties.group) as Partial<UiGroup> | null;
  if (!group || typeof group.register !== 'function' || typeof group.getBase !== 'function') {
    refuse(node, 'choose a group of a dashboard in this node; without Dashboard, install @flowfuse/node-red-dashboard');
    return null;
  }
  if (!nvr?.service || nvr.httpPath === null) {
    refuse(node, nvr?.problem ?? 'choose an NVR configuration in this node');
    return null;
  }
  const { httpNodeRoot } = RED.settings as { httpNodeRoot?: string | false };
  if (httpNodeRoot === false) {
    refuse(node, 'Node-RED has its HTTP nodes switched off (httpNodeRoot: false in settings.js): switch them on');
    return null;
  }
  const { id, type } = node;
  const { service } = nvr;
  const base = group.getBase();
  const server = base.uiShared?.ioServer;
  if (server)
    node.on(
      'close',
      guardOf(RED, server).guard(id, (given) => readAction(actions, given, service)),
    );
  else node.warn("this version of Dashboard is not known: what is done on the widget's page is not sent to the flow");
  const last = new Map<string, Payload>();
  const emit = (payload: unknown): void => base.emit(`msg-input:${id}`, { payload }, node);

  // Dashboard takes this apart for the page: what is in it is read by everybody who opens the dashboard.
  const page = { ...properties, base: `${(httpNodeRoot || '/').replace(/\/?$/, '/')}${nvr.httpPath}` };
  group.register(node, page, {
    /** What was done on the page goes out; the guard has checked it. */
    onAction: Boolean(server),
    // Without these Dashboard would store what a client sends, and give it to all pages.
    onChange: () => undefined,
    onSend: () => undefined,
    beforeSend: (msg: WidgetMessage) => {
      const payload = msg.payload as Payload | null | undefined;
      if (typeof payload?.['type'] === 'string') msg.topic = `${type}/${payload['type']}`;
      return msg;
    },
    // Dashboard calls done, with what is thrown.
    onInput: (msg: WidgetMessage) => {
      // `enabled`, `visible` and `class` are Dashboard's own.
      if (msg.payload === undefined) {
        base.emit(`msg-input:${id}`, msg, node);
        return;
      }
      const payload = read(payloadOf(msg));
      const command = String(payload['command']);
      if (kept.includes(command)) {
        last.set(command, payload);
        base.stores.data.save(base, node, { payload: { kept: [...last.values()] } });
      }
      emit(payload);
    },
  });
  return { service, tell: emit };
}
