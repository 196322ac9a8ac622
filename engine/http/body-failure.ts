/** What came of bodies that somebody read before our routes did. Loads nothing: Node-RED's start waits for it. */
import type { IncomingMessage } from 'node:http';

const failures = new WeakMap<IncomingMessage, unknown>();

/**
 * Node-RED's editor reads the bodies of all requests to the same root, before anybody looks at a token. What goes wrong
 * there is told by us, and only to who has a token.
 */
export function noteBodyFailure(request: IncomingMessage, error: unknown): void {
  failures.set(request, error);
}

/** The error, or undefined. */
export function bodyFailure(request: IncomingMessage): unknown {
  return failures.get(request);
}
