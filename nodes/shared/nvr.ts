/** What the nodes of one nvr-config share. */
import type { Node, NodeAPI } from 'node-red';
import type { EngineHost } from '../../engine/engine-host.ts';
import type { NvrService } from '../../engine/http/service.ts';

export interface NvrConfigNode extends Node {
  /** Null when the configuration is wrong; `problem` says why. */
  host: EngineHost | null;
  /** What the HTTP routes are made of; null when `host` is. */
  service: NvrService | null;
  /** Below Node-RED's root for HTTP nodes, without slashes around it; null when `host` is. */
  httpPath: string | null;
  problem: string | null;
}

/** The node says in its status, in an error and to every message why it cannot work. */
export function refuse(node: Node, problem: string): void {
  node.status({ fill: 'red', shape: 'ring', text: short(problem) });
  node.error(problem);
  node.on('input', (_msg, _send, done) => done(new Error(problem)));
}

/** What a node of an NVR works with. */
export interface Opened<S> {
  nvr: NvrConfigNode;
  host: EngineHost;
  service: NvrService;
  spec: S;
}

/**
 * What a node needs before it can work: its NVR, and its own properties read.
 *
 * @param read throws what is wrong with them
 * @returns null where something is missing or wrong; the node was told to {@link refuse}
 */
export function openNode<S>(
  RED: NodeAPI,
  node: Node,
  configuration: string,
  read: (host: EngineHost) => S,
): Opened<S> | null {
  const nvr = RED.nodes.getNode(configuration) as NvrConfigNode | null;
  if (!nvr?.host || !nvr.service) {
    refuse(node, nvr?.problem ?? 'choose an NVR configuration in this node');
    return null;
  }
  const { host, service } = nvr;
  try {
    return { nvr, host, service, spec: read(host) };
  } catch (error) {
    refuse(node, textOf(error));
    return null;
  }
}

/** A message was dealt with when the promise is: `done` is called once, with the error if there was one. */
export function settle(work: Promise<void>, done: (error?: Error) => void): void {
  work.then(
    () => done(),
    (error: unknown) => done(error instanceof Error ? error : new Error(String(error))),
  );
}

/** What to tell in a node's status and error for anything thrown. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Status texts are one line on the canvas. */
export function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
