/** Addresses to look for cameras at, as people write them: hosts, ranges and networks. Pure. */
import { EngineError } from '../types.ts';

export interface Target {
  host: string;
  /** Null: the usual ones. */
  port: number | null;
}

export const MAX_TARGETS = 1024;

/**
 * `192.168.1.20`, `camera.lan:8080`, `192.168.1.20-60`, `192.168.1.0/24`, several of them with commas or spaces between.
 * Throws `bad-address`.
 */
export function parseTargets(text: string): Target[] {
  const targets = text
    .split(/[\s,;]+/)
    .filter(Boolean)
    .flatMap(targetsOf);
  if (targets.length > MAX_TARGETS) {
    throw bad(
      `${targets.length} addresses are too many at once: name at most ${MAX_TARGETS}, a /22 network for example`,
    );
  }
  return targets;
}

function targetsOf(item: string): Target[] {
  const network = /^(\d+\.\d+\.\d+\.\d+)\/(\d{1,2})$/.exec(item);
  if (network) {
    const bits = Number(network[2]);
    if (bits < 16 || bits > 32) throw bad(`${item} is no network that can be asked: use /22 to /32`);
    const size = 2 ** (32 - bits);
    const first = Math.floor(toNumber(network[1]!) / size) * size;
    // The first and the last address of a network are no hosts.
    const all = size > 2 ? range(first + 1, first + size - 2) : range(first, first + size - 1);
    return all.map((host) => ({ host, port: null }));
  }
  const span = /^(\d+\.\d+\.\d+\.\d+)-(\d+|\d+\.\d+\.\d+\.\d+)$/.exec(item);
  if (span) {
    const from = toNumber(span[1]!);
    const to = span[2]!.includes('.') ? toNumber(span[2]!) : from - (from % 256) + Number(span[2]);
    if (to < from || to - from >= 65_536 || (!span[2]!.includes('.') && Number(span[2]) > 255)) {
      throw bad(`${item} is no range: use 192.168.1.20-60`);
    }
    return range(from, to).map((host) => ({ host, port: null }));
  }
  const url = URL.canParse(`http://${item.replace(/^https?:\/\//i, '')}`)
    ? new URL(`http://${item.replace(/^https?:\/\//i, '')}`)
    : null;
  if (!url?.hostname || url.username || /^[a-z]+:\/\//i.test(item.replace(/^https?:\/\//i, ''))) {
    throw bad(`${item.slice(0, 60)} is no ONVIF address: use 192.168.1.20, 192.168.1.20-60 or 192.168.1.0/24`);
  }
  return [{ host: url.hostname, port: url.port ? Number(url.port) : null }];
}

function toNumber(address: string): number {
  const parts = address.split('.').map(Number);
  if (parts.some((part) => part > 255)) throw bad(`${address} is no address`);
  return parts.reduce((sum, part) => sum * 256 + part, 0);
}

function range(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => {
    const value = from + i;
    return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
  });
}

const bad = (message: string): EngineError => new EngineError('bad-address', message);
