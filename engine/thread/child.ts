/** What every child process of ours has in common. */
import type { ChildProcess } from 'node:child_process';
import { EngineError } from '../types.ts';

/**
 * Errors of a child's pipes end nothing: its `close` tells what became of it. Throws `ffmpeg` when there were no
 * descriptors left for its pipes; Node gives a child without streams then.
 */
export function adoptChild(child: ChildProcess): void {
  const pipes = child.stdio as ChildProcess['stdio'] | undefined;
  if (!pipes) {
    child.on('error', () => undefined); // told here already
    throw new EngineError('ffmpeg', 'the system lets Node-RED start no more processes: too many open files');
  }
  for (const stream of pipes) stream?.on('error', () => undefined);
}
