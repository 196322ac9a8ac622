/**
 * Node-RED's editor reads the bodies of all requests below its root, and answers what it cannot read with a stack trace,
 * before our routes look at the token. Requests for us go on to them instead, through `httpNodeAuth`, with what went wrong.
 */
import type { Application, NextFunction, Request, Response } from 'express';
import type { NodeAPI } from 'node-red';
import { noteBodyFailure } from '../../engine/http/body-failure.ts';

/** @param path of the NVR, `nvr` for example */
export function takeBodyFailures(RED: NodeAPI, path: string): void {
  // The app that nodes get is mounted in the editor's, which reads the bodies. Without an editor nobody does.
  const { httpAdmin } = RED as { httpAdmin?: { parent?: Application } };
  const { httpNodeRoot } = RED.settings as { httpNodeRoot?: string | false };
  const prefix = `${(httpNodeRoot || '/').replace(/\/?$/, '/')}${path}/`;
  httpAdmin?.parent?.use((error: unknown, request: Request, _response: Response, next: NextFunction) => {
    const { status } = (error ?? {}) as { status?: unknown };
    if (typeof status !== 'number' || status >= 500 || !request.originalUrl.startsWith(prefix)) {
      next(error);
      return;
    }
    noteBodyFailure(request, error);
    next();
  });
}
