/** How many connections Node-RED's server takes at once: who opens them without end must not use up what recording needs. */
import { readFileSync } from 'node:fs';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

/** More are no people. */
const MOST = 4096;
const LEAST = 64;
/** Where nothing is known: what systems allow at least. */
const USUAL_FILES = 1024;

/** Of `/proc/self/limits`: open files that this process may have. Pure; null if it does not say. */
export function filesIn(limits: string): number | null {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? null : Number(soft);
}

/** Half of the files that the process may open. Pure. */
export function connectionsFor(files: number): number {
  return Math.min(MOST, Math.max(LEAST, Math.floor(files / 2)));
}

function openFiles(): number {
  try {
    return filesIn(readFileSync('/proc/self/limits', 'utf8')) ?? USUAL_FILES;
  } catch {
    return USUAL_FILES; // not Linux
  }
}

/** Those over the limit are closed at once, and so are those of one address beyond half of it. A limit that is set stays. */
export function limitConnections(server: Server): void {
  // Node's default is no number at all.
  if ((server.maxConnections as number | undefined) !== undefined) return;
  const most = connectionsFor(openFiles());
  server.maxConnections = most;
  const open = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = socket.remoteAddress;
    // A proxy on this computer has the connections of all.
    if (address === undefined || /^(::ffff:)?127\.|^::1$/.test(address)) return;
    const own = (open.get(address) ?? 0) + 1;
    open.set(address, own);
    socket.once('close', () => {
      const left = (open.get(address) ?? 1) - 1;
      if (left > 0) open.set(address, left);
      else open.delete(address);
    });
    if (own > most / 2) socket.destroy();
  });
}
