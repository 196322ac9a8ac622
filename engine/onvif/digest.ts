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

const FIELD = /([a-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/gi;

/** The strongest digest challenge among `WWW-Authenticate` headers that can be answered, or null. */
export function parseChallenges(headers: readonly string[]): Challenge | null {
  const found = headers
    .flatMap((header) => header.split(/,?\s*(?=\b(?:Digest|Basic)\s+[a-z]+=)/i))
    .filter((part) => /^\s*Digest\s/i.test(part))
    .map(parseChallenge)
    .filter((challenge) => challenge !== null);
  return found.find(({ algorithm }) => algorithm === 'SHA-256') ?? found[0] ?? null;
}

function parseChallenge(header: string): Challenge | null {
  const fields = new Map<string, string>();
  for (const [, key, quoted, plain] of header.replace(/^\s*Digest\s+/i, '').matchAll(FIELD)) {
    fields.set(key!.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '');
  }
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
