/** What the engine's diagnostics cannot know without Node-RED: its log, its version, the nodes and their secrets. */
import { EventEmitter } from 'node:events';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { NodeAPI, NodeDef } from 'node-red';
import { LogRing, MAX_LINE_CHARS, type LogLevel } from '../../engine/diagnostics/log-ring.ts';
import { Redaction } from '../../engine/diagnostics/redaction.ts';
import type { Surroundings } from '../../engine/diagnostics/diagnostics.ts';

/** Node-RED's numbers; what is finer (debug, trace, audit, metric) would push out what matters. */
const LEVELS: Readonly<Record<number, LogLevel>> = { 10: 'fatal', 20: 'error', 30: 'warn', 40: 'info' };
/** Names of accounts are no secrets, and often are words of everyday texts. */
const NO_SECRET = /^user(name)?$|^login$|^account$/i;

interface LogMessage {
  level: number;
  timestamp?: number;
  type?: string;
  name?: string;
  id?: string;
  msg?: unknown;
}

interface OwnPackage {
  version: string;
  'node-red': { nodes: Record<string, string> };
}

/** Listens to the log from now on. @returns what surrounds the NVR of a config node */
export function surroundings(RED: NodeAPI): (nvr: string) => Surroundings {
  const own = ownPackage();
  const types = new Set(Object.keys(own['node-red'].nodes));
  const log = new LogRing();
  let secrets: string[] = [];
  let redaction = new Redaction(secrets);
  const learn = (): void => {
    secrets = secretsOf(RED);
    redaction = redaction.with(secrets);
  };
  // Before the nodes of a Deploy do anything that could be told, their credentials are known.
  RED.events.on('flows:starting', learn);
  RED.events.on('flows:started', learn);

  const handler = new EventEmitter();
  handler.on('log', (message: LogMessage) => {
    const level = LEVELS[message.level];
    if (!level) return;
    const { type, name, id } = message;
    log.push({
      ...{ at: message.timestamp ?? Date.now(), level },
      source: type ? redaction.text(`${type}:${name ?? id ?? ''}`) : '',
      text: redaction.text(textOf(message.msg), MAX_LINE_CHARS),
    });
  });
  RED.log.addHandler(handler);

  const versions = { 'flow-nvr': own.version, 'node-red': (RED.settings as { version?: string }).version ?? 'unknown' };
  return (nvr) => ({
    ...{ versions, log },
    configuration: () => {
      const nodes: NodeDef[] = [];
      // The node itself, and those that name it: others are none of the NVR's business.
      RED.nodes.eachNode((node) => {
        const mine = node.id === nvr || (node as { nvr?: unknown }).nvr === nvr;
        if (mine && types.has(node.type)) nodes.push(node);
      });
      return nodes;
    },
    secrets: () => {
      learn();
      return secrets;
    },
  });
}

/** Every credential of every node: a function may print another node's. */
function secretsOf(RED: NodeAPI): string[] {
  const found: string[] = [];
  RED.nodes.eachNode(({ id }) => {
    const credentials = RED.nodes.getCredentials(id) as Record<string, unknown> | undefined;
    for (const [name, value] of Object.entries(credentials ?? {})) {
      if (typeof value === 'string' && !NO_SECRET.test(name)) found.push(value);
    }
  });
  return found;
}

function textOf(msg: unknown): string {
  if (typeof msg === 'string') return msg;
  if (msg instanceof Error) return msg.stack ?? msg.message;
  if (typeof msg === 'object' && msg !== null && 'message' in msg && typeof msg.message === 'string')
    return msg.message;
  try {
    return JSON.stringify(msg ?? null);
  } catch {
    return String(msg); // circular
  }
}

/** As sources and as what is built from them, this file is at different depths. */
function ownPackage(): OwnPackage {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    try {
      return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as OwnPackage;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(folder) === folder) throw error;
    }
  }
}
