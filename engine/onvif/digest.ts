/** HTTP Digest access authentication (RFC 7616), as far as cameras use it: MD5 or SHA-256, `auth` or no qop. */
import { createHash, randomBytes } from 'node:crypto';

export interface Challenge {
  realm: string;
  nonce: string;
  opaque: string | null;
  algorithm: 'MD5' | 'SHA-256';
  /** Null: RFC 2069, without qop. */
  qop: 'auth' | null;
}

/** Headers longer than this, or more of them, are not read: those of cameras have 200 characters. */
const MAX_HEADER_CHARS = 4096;
const MAX_HEADERS = 8;
const MAX_CHALLENGES = 8;

/** The strongest digest challenge among `WWW-Authenticate` headers that can be answered, or null. */
export function parseChallenges(headers: readonly string[]): Challenge | null {
  const found = headers
    .slice(0, MAX_HEADERS)
    .filter(({ length }) => length <= MAX_HEADER_CHARS)
    .flatMap(challengesIn)
    .slice(0, MAX_CHALLENGES)
    .filter(({ scheme }) => scheme === 'digest')
    .map(({ fields }) => challengeOf(fields))
    .filter((challenge) => challenge !== null);
  return found.find(({ algorithm }) => algorithm === 'SHA-256') ?? found[0] ?? null;
}

interface RawChallenge {
  /** In small letters, as the names of the fields. */
  scheme: string;
  fields: Map<string, string>;
}

const TOKEN = /[\w!#$%&'*+.^`|~-]/;
const SPACE = /\s/;
const SPACE_OR_COMMA = /[\s,]/;

/**
 * The challenges of one header (RFC 9110, section 11.6.1), each character looked at once. A name with `=` behind it is a
 * field of the challenge before it, any other one begins a challenge; devices that leave commas out are understood.
 */
function challengesIn(header: string): RawChallenge[] {
  const found: RawChallenge[] = [];
  let at = 0;
  const take = (allowed: RegExp): string => {
    const from = at;
    while (at < header.length && allowed.test(header.charAt(at))) at++;
    return header.slice(from, at);
  };
  const takeQuoted = (): string => {
    const parts: string[] = [];
    for (at++; at < header.length && header.charAt(at) !== '"'; at++) {
      if (header.charAt(at) === '\\') at++;
      parts.push(header.charAt(at));
    }
    at++;
    return parts.join('');
  };
  const takeValue = (): string => {
    const from = at;
    while (at < header.length && !SPACE_OR_COMMA.test(header.charAt(at))) at++;
    return header.slice(from, at);
  };
  while (at < header.length) {
    take(SPACE_OR_COMMA);
    const name = take(TOKEN).toLowerCase();
    if (name === '') {
      at++; // what nothing can begin with
      continue;
    }
    take(SPACE);
    if (header.charAt(at) !== '=') {
      found.push({ scheme: name, fields: new Map() });
      continue;
    }
    at++;
    take(SPACE);
    const value = header.charAt(at) === '"' ? takeQuoted() : takeValue();
    found.at(-1)?.fields.set(name, value);
  }
  return found;
}

function challengeOf(fields: ReadonlyMap<string, string>): Challenge | null {
  const name = (fields.get('algorithm') ?? 'MD5').toUpperCase().replace('SHA256', 'SHA-256');
  const qops = fields
    .get('qop')
    ?.split(',')
    .map((text) => text.trim());
  const nonce = fields.get('nonce');
  if ((name !== 'MD5' && name !== 'SHA-256') || !nonce || (qops && !qops.includes('auth'))) return null;
  return {
    ...{ realm: fields.get('realm') ?? '', nonce, opaque: fields.get('opaque') ?? null },
    ...{ algorithm: name, qop: qops ? 'auth' : null },
  };
}

/** @param count how often this nonce was used, from 1 */
export function authorization(
  { realm, nonce, opaque, algorithm, qop }: Challenge,
  { method, path, username, password }: { method: string; path: string; username: string; password: string },
  count: number,
  cnonce = randomBytes(8).toString('hex'),
): string {
  const hash = (text: string): string =>
    createHash(algorithm === 'MD5' ? 'md5' : 'sha256')
      .update(text)
      .digest('hex');
  const nc = count.toString(16).padStart(8, '0');
  const middle = qop ? `${nonce}:${nc}:${cnonce}:${qop}` : nonce;
  const response = hash(`${hash(`${username}:${realm}:${password}`)}:${middle}:${hash(`${method}:${path}`)}`);
  const quote = (text: string): string => `"${text.replace(/["\\]/g, '\\$&')}"`;
  const fields = [
    `username=${quote(username)}`,
    `realm=${quote(realm)}`,
    `nonce=${quote(nonce)}`,
    `uri=${quote(path)}`,
    `algorithm=${algorithm}`,
    ...(qop ? [`qop=${qop}`, `nc=${nc}`, `cnonce="${cnonce}"`] : []),
    ...(opaque === null ? [] : [`opaque=${quote(opaque)}`]),
    `response="${response}"`,
  ];
  return `Digest ${fields.join(', ')}`;
}
