/** What the nodes of one nvr-config share. */
import type { Node } from 'node-red';
import type { EngineHost } from '../../engine/engine-host.ts';
import type { NvrService } from '../../engine/http/service.ts';

export interface NvrConfigNode extends Node {
  /** Null when the configuration is wrong; `problem` says why. */
  host: EngineHost | null;
  /** What the HTTP routes are made of; null when `host` is. */
  service: NvrService | null;
  problem: string | null;
}

/** What to tell in a node's status and error for anything thrown. */
export function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Status texts are one line on the canvas. */
export function short(text: string): string {
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}
