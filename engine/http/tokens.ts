/**
 * Who may see what: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256. The keys are in a file beside the catalogue,
 * made at the first start, readable by its owner only. The first signs; the others are still accepted, so that a key can
 * be replaced without closing every door at once.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DEFAULT_MODES, type Modes } from '../recording/file-modes.ts';
import { EngineError, type TimeRange } from '../types.ts';

/** `control`: record, steer, acknowledge. */
export const RIGHTS = ['live', 'playback', 'export', 'control', 'admin'] as const;
export type Right = (typeof RIGHTS)[number];

export interface Grant {
  /** Camera ids, or `*` for all. */
  cameras: readonly string[] | '*';
  rights: readonly Right[];
  /** Only footage of this time; see shares.ts. */
  range?: TimeRange;
  /** Id of the token that it was made with: it ends when that one is taken back. */
  from?: string;
  /** Who has it, where several tokens are given to the same person or page: together they have one share of what is short. */
  by?: string;
}

export interface Access extends Grant {
  id: string;
  expiresMs: number;
}

const FILE = '.flow-nvr-keys.json';
const MAX_KEYS = 3;
const MAX_REVOKED = 10_000;

/** Loaded when first needed: the recording starts before it. */
const jose = () => import('jose');

interface Keys {
  keys: string[];
  /** Ids of tokens that were taken back, with their own end: after that they need no remembering. */
  revoked: [id: string, expiresMs: number][];
}

const GOOD_TOKEN = 'this needs a token that is good and has not ended';

/** A token of ours that has ended or was taken back: whoever has it does not guess. */
export class EndedToken extends EngineError {
  constructor() {
    super('unauthorized', GOOD_TOKEN);
  }
}

export class Tokens {
  private readonly file: string;
  private readonly modes: Modes;
  private state: Keys;

  /** Throws the system's error when the folder cannot be written. */
  constructor(folder: string, modes: Modes = DEFAULT_MODES) {
    this.modes = modes;
    this.file = join(folder, FILE);
    try {
      this.state = JSON.parse(readFileSync(this.file, 'utf8')) as Keys;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      this.state = { keys: [], revoked: [] };
      this.rotate();
    }
  }

  /** From now on a new key signs. What the last two keys signed is good until it ends. */
  rotate(): void {
    this.state.keys = [randomBytes(32).toString('base64url'), ...this.state.keys].slice(0, MAX_KEYS);
    this.save();
  }

  private save(): void {
    mkdirSync(dirname(this.file), { recursive: true, mode: this.modes.folder });
    const partial = `${this.file}.partial`;
    writeFileSync(partial, JSON.stringify(this.state), { mode: 0o600 });
    renameSync(partial, this.file);
  }

  async mint(grant: Grant, expiresInMs: number): Promise<string> {
    const { SignJWT } = await jose();
    const { cameras, rights, range, from, by } = grant;
    const more = { ...(range ? { range: [range.start, range.end] } : {}), from, by }; // undefined is not written
    return new SignJWT({ cameras, rights, ...more })
      .setProtectedHeader({ alg: 'HS256' })
      .setJti(randomUUID())
      .setExpirationTime(Math.ceil((Date.now() + expiresInMs) / 1000))
      .sign(secretOf(this.state.keys[0]!));
  }

  /**
   * Throws `unauthorized` for anything but a good token that has not ended: {@link EndedToken} for one that was good
   * once.
   */
  async verify(token: string): Promise<Access> {
    const { errors, jwtVerify } = await jose();
    for (const key of this.state.keys) {
      try {
        const { payload } = await jwtVerify(token, secretOf(key), { algorithms: ['HS256'] });
        const { cameras, rights, range, from, by, jti, exp } = payload;
        const good = (cameras === '*' || isStrings(cameras)) && isStrings(rights) && jti && exp !== undefined;
        if (!good) break;
        if (this.isRevoked(jti) || (typeof from === 'string' && this.isRevoked(from))) throw new EndedToken();
        const whose = typeof by === 'string' ? { by } : {};
        const access: Access = { cameras, rights: rights as Right[], id: jti, expiresMs: exp * 1000, ...whose };
        if (range === undefined) return access;
        if (!isSpan(range)) break;
        return { ...access, range: { start: range[0], end: range[1] } };
      } catch (error) {
        // Looked at behind the signature: it was ours.
        if (error instanceof errors.JWTExpired || error instanceof EndedToken) throw new EndedToken();
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break;
      }
    }
    throw new EngineError('unauthorized', GOOD_TOKEN);
  }

  isRevoked(id: string): boolean {
    return this.state.revoked.some(([revoked]) => revoked === id);
  }

  /** Takes a token back before its end, and the links that were made with it. */
  revoke({ id, expiresMs }: Pick<Access, 'id' | 'expiresMs'>): void {
    const still = this.state.revoked.filter(([, end]) => end > Date.now());
    this.state.revoked = [...still, [id, expiresMs] as [string, number]].slice(-MAX_REVOKED);
    this.save();
  }
}

/** Rights to what was recorded: all that a token for one range of time can be for. */
const OF_THE_PAST: readonly Right[] = ['playback', 'export'];

export function allows({ cameras, rights, range }: Grant, camera: string | null, right: Right): boolean {
  if (range && !OF_THE_PAST.includes(right)) return false;
  return rights.includes(right) && (camera === null || cameras === '*' || cameras.includes(camera));
}

function secretOf(key: string): Uint8Array {
  return Buffer.from(key, 'base64url');
}

function isSpan(value: unknown): value is [number, number] {
  return Array.isArray(value) && value.length === 2 && value.every(Number.isSafeInteger);
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string');
}
