/**
 * Node-RED's editor reads the bodies of all requests below its root, and answers what it cannot read with a stack trace,
 * before our routes look at the token. Requests for us go on to them instead, through `httpNodeAuth`, with what went wrong.
 */
import type { NextFunction, Request, Response } from 'express';
import type { NodeAPI } from 'node-red';
import { noteBodyFailure } from '../../engine/http/body-failure.ts';

/** @param path of the NVR, `nvr` for example */
export function takeBodyFailures(RED: NodeAPI, path: string): void {
  const { httpAdmin } = RED as { httpAdmin?: NodeAPI['httpAdmin'] };
  const { httpNodeRoot } = RED.settings as { httpNodeRoot?: string | false };
  const prefix = `${(httpNodeRoot || '/').replace(/\/?$/, '/')}${path}/`;
  httpAdmin?.use((error: unknown, request: Request, _response: Response, next: NextFunction) => {
    if (!request.originalUrl.startsWith(prefix)) {
      next(error);
      return;
    }
    noteBodyFailure(request, error);
    next();
  });
}
