/** The names under which people reach this Node-RED, as its users have set them. */
import type { NodeAPI, NodeDef } from 'node-red';
import { hostNameOf } from '../../engine/http/same-site.ts';

/** Names in a text, with commas or spaces between, or in a list; lower case, without ports. What is no name is left out. */
export function readHostNames(given: unknown): string[] {
  const parts = [given].flat().flatMap((part) => (typeof part === 'string' ? part.split(/[\s,;]+/) : []));
  return [...new Set(parts.map((part) => hostNameOf(part)).filter((name) => name !== null))];
}

/** "Host names" of all nvr-configs that are deployed, and `flowNvr: { hostNames: [...] }` of settings.js. */
export function hostNamesOf(RED: NodeAPI): string[] {
  const { flowNvr } = RED.settings as { flowNvr?: { hostNames?: unknown } };
  const given: unknown[] = [flowNvr?.hostNames].flat();
  RED.nodes.eachNode((node) => {
    const { type, d, hostNames } = node as NodeDef & { d?: boolean; hostNames?: unknown };
    if (type === 'nvr-config' && !d) given.push(hostNames);
  });
  return readHostNames(given);
}
