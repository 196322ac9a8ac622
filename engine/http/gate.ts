/**
 * Who may open the dashboard where no login asks: a browser that has come once by a link with a key. It keeps a cookie.
 * Addresses and headers do not count: a proxy on this computer makes everybody look local.
 *
 * Keys and cookies are an end of validity, a nonce, and an HMAC-SHA-256 (RFC 2104) of both. Its secret is in a file of the
 * user folder that only the owner can read; without that file all keys and cookies are void.
 */
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';

export const ACCESS_FILE = '.flow-nvr-access.json';
const COOKIE = 'flow_nvr_access';
const DAY_MS = 86_400_000;
/** How long a browser stays admitted after it came last. */
const COOKIE_MS = 30 * DAY_MS;
/** A cookie this old is replaced by a fresh one. */
const RENEW_MS = DAY_MS;
/** For a link that the editor makes: it works once. */
const ONCE_MS = 10 * 60_000;
/** For the link that `npm start` prints: a phone may use it, too. */
const PRINTED_MS = DAY_MS;
const MAX_LENGTH = 200;

/** What a signed text is for. None is good for anything else. */
type Purpose = 'cookie' | 'once' | 'printed';

export class Gate {
  private readonly file: string;
  private known: Buffer | null = null;
  /** Keys that work once do so only in the process that made them. */
  private readonly run = randomBytes(16).toString('base64url');
  /** One-time keys that were used, with their end, epoch ms. */
  private readonly used = new Map<string, number>();

  /** @param folder Node-RED's user folder */
  constructor(folder: string) {
    this.file = join(folder, ACCESS_FILE);
  }

  /** A key for one browser, good for ten minutes. Throws the system's error when the secret cannot be read or made. */
  keyForOne(): string {
    return this.sign('once', Date.now() + ONCE_MS);
  }

  /** A key for any number of browsers, good for a day. Throws as {@link keyForOne}. */
  keyToPrint(): string {
    return this.sign('printed', Date.now() + PRINTED_MS);
  }

  /** Whether a key lets somebody in. A one-time key does so once. */
  takes(key: unknown): boolean {
    if (typeof key !== 'string') return false;
    if (this.endOf('printed', key) !== null) return true;
    const end = this.endOf('once', key);
    if (end === null || this.used.has(key)) return false;
    for (const [old, until] of this.used) if (until < Date.now()) this.used.delete(old);
    this.used.set(key, end);
    return true;
  }

  /** Until when, epoch ms, these headers' cookie admits; null if it does not. */
  admittedUntil(headers: IncomingHttpHeaders): number | null {
    for (const part of (headers.cookie ?? '').split(';')) {
      const [name, value] = part.trim().split('=', 2);
      if (name !== this.cookieName || value === undefined) continue;
      const end = this.endOf('cookie', value);
      if (end !== null) return end;
    }
    return null;
  }

  /** A `Set-Cookie` header for whoever is admitted, or null while theirs is good for long. */
  renewed(headers: IncomingHttpHeaders): string | null {
    const until = this.admittedUntil(headers);
    return until !== null && until > Date.now() + COOKIE_MS - RENEW_MS ? null : this.cookie();
  }

  /** @param lifeMs how long it admits; also how long the browser keeps it */
  cookie(lifeMs = COOKIE_MS): string {
    const value = this.sign('cookie', Date.now() + lifeMs);
    return `${this.cookieName}=${value}; Max-Age=${Math.floor(lifeMs / 1000)}; Path=/; HttpOnly; SameSite=Strict`;
  }

  /** Of this Node-RED: browsers send cookies to all ports of a host, and a second one there has its own. */
  private get cookieName(): string {
    return `${COOKIE}_${createHash('sha256').update(this.secret()).digest('hex').slice(0, 8)}`;
  }

  private sign(purpose: Purpose, end: number): string {
    const body = `${end.toString(36)}.${randomBytes(12).toString('base64url')}`;
    return `${body}.${this.mac(purpose, body).toString('base64url')}`;
  }

  /** When a text that was signed for this purpose ends, epoch ms; null if it has, or was not. */
  private endOf(purpose: Purpose, text: string): number | null {
    const match = text.length > MAX_LENGTH ? null : /^(([0-9a-z]+)\.[\w-]+)\.([\w-]+)$/.exec(text);
    if (!match) return null;
    const [, body, end, mac] = match as unknown as [string, string, string, string];
    // As texts: several texts stand for the same bytes, and one that was used must not come again as another.
    const [given, right] = [Buffer.from(mac), Buffer.from(this.mac(purpose, body).toString('base64url'))];
    if (given.length !== right.length || !timingSafeEqual(given, right)) return null;
    const endMs = parseInt(end, 36);
    return endMs > Date.now() ? endMs : null;
  }

  private mac(purpose: Purpose, body: string): Buffer {
    const scope = purpose === 'once' ? `once ${this.run}` : purpose;
    return createHmac('sha256', this.secret()).update(`${scope}\n${body}`).digest();
  }

  private secret(): Buffer {
    this.known ??= this.read() ?? this.make();
    return this.known;
  }

  /** Null when there is none, or one that was cut short by a power failure. */
  private read(): Buffer | null {
    let text: string;
    try {
      text = readFileSync(this.file, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
      throw error;
    }
    const encoded = /^\{"secret":"([\w-]{43})"\}\n$/.exec(text)?.[1];
    return encoded === undefined ? null : Buffer.from(encoded, 'base64url');
  }

  private make(): Buffer {
    const secret = randomBytes(32);
    writeFileSync(this.file, `{"secret":"${secret.toString('base64url')}"}\n`, { mode: 0o600 });
    return secret;
  }
}

const gates = new Map<string, Gate>();

/** The gate of a user folder: one in each process, as it remembers which keys were used. */
export function gateOf(folder: string): Gate {
  const known = gates.get(folder) ?? new Gate(folder);
  gates.set(folder, known);
  return known;
}
