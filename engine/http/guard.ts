/**
 * What every route of the NVR goes through: who asks, what they may, how often, the body, the log, and the answer to
 * whatever goes wrong.
 */
import { setMaxListeners } from 'node:events';
import type { Request, RequestHandler, Response, Router } from 'express';
import { rateLimit } from 'express-rate-limit';
import { askedBy } from '../playback/asker.ts';
import { EngineError } from '../types.ts';
import { answerFor, askerOf, demand, isGone, tokenOf } from './access.ts';
import { readBody } from './body.ts';
import { Journal, type Logged } from './journal.ts';
import { cameraOf, timeOf } from './params.ts';
import type { NvrService } from './service.ts';
import { demandTime, type Times } from './shares.ts';
import { EndedToken, type Access, type Right } from './tokens.ts';

/** What waits in a queue is through it in some seconds. */
const RETRY_SECONDS = 2;

export type Handler = (nvr: NvrService, request: Request, response: Response, access: Access) => Promise<void> | void;
/** The cameras that were asked for, or all; the token must be for each of them. */
export type Permitted = (nvr: NvrService, request: Request, access: Access) => Promise<string[]>;

type RightOf = Right | ((request: Request) => Right);

/**
 * A route that needs a right; on one camera if its path names one. A `post` changes something: its body is JSON, it is
 * done even if the client leaves, and it leaves a line in the log.
 * @param times those of its address that all it answers is of: what is shared opens nothing else
 * @param logs what its line in the log says
 */
export interface Route {
  (method: 'get', path: string, right: RightOf, times: Times, handler: Handler, logs?: Logged): void;
  (method: 'post', path: string, right: RightOf, times: Times, handler: Handler, logs: Logged): void;
}

export interface GuardEffects {
  service: () => NvrService | null;
  log: (line: string) => void;
}

export interface Guard {
  route: Route;
  /** Answers with an error. Only of what was not foreseen is anything logged, and nothing of that is told. */
  fail: (error: unknown, request: Request, response: Response) => void;
}

export function guardOf(router: Router, { service, log }: GuardEffects): Guard {
  const journal = new Journal(log);

  const fail = (error: unknown, request: Request, response: Response): void => {
    const { status, body } = answerFor(error);
    if (status === 500)
      log(`nvr: ${request.method} ${request.path}: ${error instanceof Error ? error.message : String(error)}`);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (status === 429 && !response.hasHeader('Retry-After')) response.set('Retry-After', `${RETRY_SECONDS}`);
    response.status(status).json(body);
  };

  const limits = limitsOf();
  /** Rejects with `busy`. */
  const within = (limit: RequestHandler, request: Request, response: Response): Promise<void> =>
    new Promise((resolve, reject) => {
      limit(request, response, (error?: Error | string) => {
        if (error === undefined) resolve();
        else reject(error instanceof Error ? error : new Error(error));
      });
    });

  const route = (
    method: 'get' | 'post',
    path: string,
    right: RightOf,
    times: Times,
    handler: Handler,
    logs?: Logged,
  ) => {
    const run = async (request: Request, response: Response): Promise<void> => {
      const nvr = service();
      if (!nvr) throw new EngineError('engine', 'the NVR is not configured');
      const camera = request.params['camera'] === undefined ? null : cameraOf(request.params['camera']);
      const needed = typeof right === 'function' ? right(request) : right;
      const access = await demand(nvr.tokens, tokenOf(request, request.query), camera, needed);
      if (access.range) demandTime(access.range, times, timesOf(request.query));
      (response.locals as { token: string }).token = access.id;
      await within(limits.perToken, request, response);
      if (method === 'post') await readBody(request, response);
      if (isGone(response)) return;
      const what = logs?.what(request);
      const note = (outcome: string): void => {
        if (what !== undefined) journal.note(what, access, request.ip, outcome, logs?.everyMs);
      };
      const gone = method === 'get' ? goneSignal(response) : null;
      try {
        await askedBy(askerOf(access), gone, async () => handler(nvr, request, response, access));
      } catch (error) {
        note(error instanceof EngineError ? error.code : 'error');
        throw error;
      }
      const { made } = response.locals as { made?: string };
      note(made === undefined ? 'done' : `done, its id is ${made}`);
    };
    router[method](path, (request, response) => {
      run(request, response)
        .catch(async (error: unknown) => {
          if (isGone(response)) return; // it has no address any more to be counted by, and nobody to be told
          if (error instanceof EngineError && error.code === 'unauthorized' && !(error instanceof EndedToken))
            await within(limits.perStranger, request, response);
          throw error;
        })
        .catch((error: unknown) => fail(error, request, response));
    });
  };
  return { route, fail };
}

function limitsOf(): { perStranger: RequestHandler; perToken: RequestHandler } {
  const limits = {
    ...{ windowMs: 60_000, standardHeaders: 'draft-8' as const, legacyHeaders: false },
    handler: (_request: Request, _response: Response, next: (error: Error) => void): void =>
      next(new EngineError('busy', 'too many requests in a minute; try again later')),
  };
  return {
    // Guessing is slow work. Behind a reverse proxy many share an address: whoever has a good token is not counted here,
    // and not refused for what the others do; nor is a page whose token has just ended, which would not learn that.
    perStranger: rateLimit({ ...limits, limit: 300 }),
    // A share link may be passed on to many addresses. Nine cameras played side by side are far below this.
    perToken: rateLimit({
      ...limits,
      limit: 6000,
      keyGenerator: (_request, response) => (response.locals as { token: string }).token,
    }),
  };
}

function timesOf(query: Record<string, unknown>): Parameters<typeof demandTime>[2] {
  return { start: timeOf(query, 'start'), end: timeOf(query, 'end'), at: timeOf(query, 'at') };
}

/** Aborted when the client leaves before it has its answer. */
function goneSignal(response: Response): AbortSignal {
  const leaving = new AbortController();
  setMaxListeners(0, leaving.signal); // one for each question that waits
  response.once('close', () => {
    if (!response.writableFinished) leaving.abort();
  });
  return leaving.signal;
}
