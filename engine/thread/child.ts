/** What every child process of ours has in common. */
import type { ChildProcess } from 'node:child_process';
import { setPriority } from 'node:os';

/** Lowers a child's priority when it begins: `niceness` as nice(1) counts, 19 the lowest. */
export function lowerPriority(child: ChildProcess, niceness: number): void {
  child.on('spawn', () => {
    try {
      setPriority(child.pid!, niceness);
    } catch {
      // It has ended already (`close` tells why), or the system does not allow it: then it runs as it is.
    }
  });
}

/**
 * Errors of a child's pipes end nothing: its `close` tells what became of it. Throws the system's error when there were
 * no descriptors left for its pipes; Node gives a child without streams then.
 */
export function adoptChild(child: ChildProcess): void {
  const pipes = child.stdio as ChildProcess['stdio'] | undefined;
  if (!pipes) {
    child.on('error', () => undefined); // told here already
    throw new Error('no process can be started: too many files and connections are open');
  }
  for (const stream of pipes) stream?.on('error', () => undefined);
}
