/** Who asks: the token of a request, and whether it is enough. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Asker } from '../playback/fair-queue.ts';
import { EngineError, type Coverage } from '../types.ts';
import { allows, type Access, type Right, type Tokens } from './tokens.ts';

/** The token of a request: `Authorization: Bearer …`, or `token=…` for what cannot send headers. */
export function tokenOf(request: IncomingMessage, query: Record<string, unknown>): string | null {
  const bearer = /^Bearer ([\w.-]{1,4096})$/i.exec(request.headers.authorization ?? '')?.[1];
  if (bearer) return bearer;
  const { token } = query;
  return typeof token === 'string' && /^[\w.-]{1,4096}$/.test(token) ? token : null;
}

/** Throws `unauthorized` without a good token, `forbidden` when it does not allow this. */
export async function demand(
  tokens: Tokens,
  token: string | null,
  camera: string | null,
  right: Right,
): Promise<Access> {
  if (token === null) throw new EngineError('unauthorized', 'this needs a token');
  const access = await tokens.verify(token);
  if (!allows(access, camera, right)) {
    throw new EngineError(
      'forbidden',
      camera ? `the token is not for ${right} of this camera` : `the token is not for ${right}`,
    );
  }
  return access;
}

/** Pages of the dashboard have tokens `by` this, and whose they are behind it. */
export const DASHBOARD = 'dashboard';

/** Whose share of what is short somebody's requests come out of. */
export function askerOf({ id, by, rights, range }: Access): Asker {
  if (range) return { id: `link ${id}`, kind: 'link' };
  const operator = rights.includes('control') || rights.includes('admin') || by?.startsWith(DASHBOARD);
  return { id: by === undefined ? `token ${id}` : `by ${by}`, kind: operator ? 'operator' : 'viewer' };
}

/** There is no footage in a range; with what is known of it instead. */
export class NothingRecorded extends EngineError {
  readonly coverage: Coverage;

  constructor(coverage: Coverage) {
    const reasons = coverage.deleted.map(({ reason }) => `deleted (${reason})`);
    const causes = [...new Set([...reasons, ...coverage.gaps.map(({ cause }) => cause)])];
    const why = causes.length > 0 ? `: ${causes.join(', ')}` : ', and nothing was to be recorded';
    super('not-found', `nothing is recorded of ${coverage.camera} in this range${why}`);
    this.coverage = coverage;
  }
}

export interface Answer {
  status: number;
  body: { error: string; message: string; coverage?: Coverage };
}

const CODES: Readonly<Record<number, readonly string[]>> = {
  400: [
    ...['bad-request', 'bad-message', 'bad-event', 'bad-hold', 'too-many'],
    ...['ptz-range', 'ptz-empty', 'ptz-position', 'imaging-range'],
  ],
  401: ['unauthorized'],
  403: ['forbidden'],
  404: ['not-found', 'unknown-camera', 'unknown-recorder', 'no-stream', 'no-preset', 'no-hold', 'no-recorder'],
  // Not with this camera, or not as things are.
  409: ['codec-change', 'ptz-unsupported', 'unsupported', 'too-many-holds'],
  413: ['too-large'],
  415: ['media-type'],
  429: ['busy'],
  503: [
    // `gone`: the client left, nobody reads the answer.
    ...['offline', 'catalog', 'timeout', 'bucket', 'remote', 'engine', 'closed', 'gone'],
    // A camera that is steered: `auth` is about its account, not about who asks.
    ...['device', 'auth', 'network', 'host', 'refused', 'certificate', 'bad-xml'],
  ],
};
const STATUS = new Map(Object.entries(CODES).flatMap(([status, codes]) => codes.map((code) => [code, Number(status)])));

/** What to answer for an error. Texts of what was not foreseen may hold paths: they are for the log. */
export function answerFor(error: unknown): Answer {
  if (error instanceof EngineError) {
    const status = STATUS.get(error.code);
    const told = error instanceof NothingRecorded ? { coverage: error.coverage } : {};
    if (status !== undefined) return { status, body: { error: error.code, message: error.message, ...told } };
  }
  return { status: 500, body: { error: 'error', message: 'that did not work; the log of Node-RED says why' } };
}

/**
 * Whether nobody waits for an answer any more. A client that left while something was waited for: its `close` was told
 * before anybody listened, so whoever takes hold of something asks first.
 */
export function isGone(response: ServerResponse): boolean {
  return response.closed || response.req.socket.destroyed;
}
