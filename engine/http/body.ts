/** Bodies of requests: JSON objects of some size, read behind the check of the token. */
import { json, type Request, type RequestHandler, type Response } from 'express';
import { EngineError } from '../types.ts';
import { bodyFailure } from './body-failure.ts';

const MAX_BYTES = 64 * 1024;
/** Nothing that is asked here has more levels; what walks through it may be recursive. */
const MAX_DEPTH = 32;

const parse: RequestHandler = json({ limit: MAX_BYTES });

/** Rejects with `bad-request`, `media-type` or `too-large`. */
export async function readBody(request: Request, response: Response): Promise<void> {
  const early = bodyFailure(request);
  if (early !== undefined) throw refusalOf(early);
  const length = request.get('content-length');
  // `is` tells null when there is no body, and nothing is wrong with that.
  if (length !== '0' && request.is('json') === false)
    throw new EngineError('media-type', 'the body must be application/json');
  if (Number(length ?? 0) > MAX_BYTES) throw tooLarge();
  // Does nothing where the editor has read it.
  await new Promise<void>((resolve, reject) => {
    parse(request, response, (error?: unknown) => {
      if (error === undefined) resolve();
      else reject(refusalOf(error));
    });
  });
  const body: unknown = request.body;
  if (isDeep(body)) throw new EngineError('bad-request', `the body has more than ${MAX_DEPTH} levels`);
  // It may have been sent compressed, or in chunks; it is read already.
  if (length === undefined || request.get('content-encoding') !== undefined) {
    if (Buffer.byteLength(JSON.stringify(body ?? null)) > MAX_BYTES) throw tooLarge();
  }
}

const tooLarge = (): EngineError => new EngineError('too-large', 'the body is too long');

/** The parser's own words quote the body, and name its place in the code. */
function refusalOf(error: unknown): EngineError {
  const { status } = (error ?? {}) as { status?: unknown };
  if (status === 413) return tooLarge();
  if (status === 415)
    return new EngineError('media-type', 'the body must be JSON in UTF-8, compressed with gzip at most');
  return new EngineError('bad-request', 'the body is no JSON');
}

/** Level by level, for recursion would be what it protects from. */
function isDeep(body: unknown): boolean {
  let level: unknown[] = [body];
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return true;
    level = level.flatMap((one) =>
      typeof one === 'object' && one !== null ? Object.values(one as Record<string, unknown>) : [],
    );
  }
  return false;
}
