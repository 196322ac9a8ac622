/**
 * The one reading of a network camera's address: which host it names, and which account. Everything that asks "whose
 * password, for which host?" asks here, and FFmpeg gets the address written anew from its parts, so that no other reading
 * of the same text can lead somewhere else.
 */
import { domainToASCII } from 'node:url';
import { EngineError } from '../types.ts';

export interface Account {
  username?: string;
  password?: string;
}

export interface CameraAddress extends Account {
  /** Lower case, without the colon. */
  scheme: string;
  /** A name or an IP address, IPv6 in brackets; ASCII, as typed otherwise. */
  host: string;
  /** Null: the scheme's. */
  port: number | null;
  /** Path, query and fragment as typed: some cameras want them as they are. Empty, or begins with `/`, `?` or `#`. */
  rest: string;
}

/** As FFmpeg's own limit (`MAX_URL_SIZE`). */
const MAX_LENGTH = 4096;
const SCHEME = /^([a-z][a-z0-9+.-]*):\/\//i;
/** The end of an authority: a host with its port. What is percent-encoded or has a backslash in it is no host. */
const HOST = /^(\[[0-9a-f:.]+\]|[a-z0-9._-]+|[a-z0-9._\u00a1-\uffff-]+)(?::(\d{0,5}))?$/i;
/**
 * Names that cameras give to the account in their addresses, in the query or, as those with XM firmware, in the path:
 * `/user=admin&password=secret&channel=1`, `/user=admin_password=secret_channel=1`.
 */
const USERNAME = /([?&/](?:user|username|usr|login|loginuse)=)([^&#]*?)(?=[&#]|_password=|$)/i;
const PASSWORD =
  /((?:[?&/]|_(?=password=))(?:pass|passwd|password|pwd|loginpas)=)([^&#]*?)(?=[&#]|_channel=|_stream=|$)/i;

const bad = (message: string): EngineError => new EngineError('bad-url', message);

/**
 * Reads an address as RFC 3986, the URL standard and FFmpeg do: the authority ends at the first `/`, `?` or `#`, and the
 * last `@` in it ends the account. Where that names no host because somebody typed a password with a `/`, `?` or `#` in it,
 * the `@` behind that counts if there is exactly one with a host after it.
 *
 * Throws `bad-url`, without the address, which may have a password in it.
 */
export function readAddress(address: string): CameraAddress {
  if (address.length > MAX_LENGTH) throw bad(`the address is longer than ${MAX_LENGTH} characters`);
  const scheme = SCHEME.exec(address);
  if (!scheme) throw bad('not a URL: write for example rtsp://192.168.1.10:554/stream1');
  const text = address.slice(scheme[0].length);
  const readings = readingsOf(text);
  if (readings.length > 1) {
    throw bad(
      'the address can be read in several ways: enter user name and password in their own fields, or write @ as %40',
    );
  }
  const [reading] = readings;
  if (!reading) throw bad('the address has no host: write for example rtsp://192.168.1.10:554/stream1');
  const host = domainToASCII(reading.host);
  const literal = reading.host.startsWith('[') || /^[a-z0-9._-]+$/i.test(reading.host);
  const port = Number(reading.port);
  if ((!literal && !/^[a-z0-9._-]+$/i.test(host)) || port > 65_535) throw bad('the address has no valid host and port');
  return {
    ...{ scheme: scheme[1]!.toLowerCase(), host: literal ? reading.host : host, port: port || null },
    ...{ rest: reading.rest, ...reading.account },
  };
}

interface Reading {
  account: Account;
  host: string;
  port: string;
  rest: string;
}

/** All ways in which what follows `scheme://` can be meant; none where there is no host in it. */
function readingsOf(text: string): Reading[] {
  const end = endOfAuthority(text, 0);
  const authority = text.slice(0, end);
  const plain = readingAt(text, authority.lastIndexOf('@'), end);
  if (plain) return [plain];
  // Without a colon there is no password that it could end in.
  if (!authority.includes(':')) return [];
  const readings: Reading[] = [];
  for (let at = text.indexOf('@', end); at >= 0 && readings.length < 2; at = text.indexOf('@', at + 1)) {
    const reading = readingAt(text, at, endOfAuthority(text, at));
    if (reading) readings.push(reading);
  }
  return readings;
}

function endOfAuthority(text: string, from: number): number {
  const length = text.slice(from).search(/[/?#]/);
  return length < 0 ? text.length : from + length;
}

/** @param at of the `@` before the host, -1 where there is none */
function readingAt(text: string, at: number, end: number): Reading | null {
  const match = HOST.exec(text.slice(at + 1, end));
  if (!match) return null;
  const account = at < 0 ? {} : accountOf(text.slice(0, at));
  return { account, host: match[1]!, port: match[2] ?? '', rest: text.slice(end) };
}

function accountOf(userInfo: string): Account {
  const colon = userInfo.indexOf(':');
  if (colon < 0) return { username: decode(userInfo) };
  return { username: decode(userInfo.slice(0, colon)), password: decode(userInfo.slice(colon + 1)) };
}

/** `scheme://host:port` with what follows; without an account. */
export function writeAddress({ scheme, host, port, rest }: CameraAddress, userInfo = ''): string {
  return `${scheme}://${userInfo}${host}${port === null ? '' : `:${port}`}${rest}`;
}

/**
 * An address and the account that was in it. One behind names in the path or query leaves `{username}` and `{password}` in
 * its place. Throws as {@link readAddress}.
 */
export function splitAddress(text: string): { address: CameraAddress; account: Account } {
  const { username, password, ...address } = readAddress(text);
  const named = takeNamed(address.rest);
  const account = {
    ...named.account,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
  };
  return { address: { ...address, rest: named.rest }, account };
}

/** {@link splitAddress} for texts that may be anything: files, test pictures and what cannot be read stay as they are. */
export function splitCredentials(text: string): { url: string } & Account {
  if (/^file:/i.test(text)) return { url: text };
  const split = orNull(() => splitAddress(text));
  return split ? { url: writeAddress(split.address), ...split.account } : { url: text };
}

/** What was read, or null for a `bad-url`. */
export function orNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof EngineError) return null;
    throw error;
  }
}

/** `user=…&password=…` behind the host. */
function takeNamed(rest: string): { rest: string; account: Account } {
  const password = PASSWORD.exec(rest)?.[2];
  if (!password || password === '{password}') return { rest, account: {} };
  const username = USERNAME.exec(rest)?.[2];
  return {
    rest: rest.replace(PASSWORD, '$1{password}').replace(USERNAME, '$1{username}'),
    account: { ...(username ? { username: decode(username) } : {}), password: decode(password) },
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a bare % is part of the password
  }
}

const ENCRYPTED = new Set(['rtsps', 'rtmps', 'https']);

/** Where an account goes that is used with an address; null for files, test pictures and what cannot be read. */
export function placeOf(address: string): { host: string; encrypted: boolean } | null {
  const text = address.trim();
  if (!text || /^(lavfi|file):/i.test(text)) return null;
  const read = orNull(() => readAddress(SCHEME.test(text) ? text : `http://${text}`));
  return read && { host: read.host.toLowerCase(), encrypted: ENCRYPTED.has(read.scheme) };
}
