/** Camera addresses: what is accepted, which FFmpeg protocols each may use, and how secrets are kept out of texts. */
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../types.ts';
import { checkLavfi } from './lavfi.ts';

export type SourceKind = 'rtsp' | 'rtmp' | 'http' | 'file' | 'lavfi';

export interface Source {
  kind: SourceKind;
  /** What follows `-i`: with credentials for the network kinds. */
  input: string;
  /** Host and port to knock at while the camera is away; null where there is none. */
  endpoint: { host: string; port: number } | null;
}

const KINDS: Record<string, { kind: SourceKind; port: number }> = {
  'rtsp:': { kind: 'rtsp', port: 554 },
  'rtsps:': { kind: 'rtsp', port: 322 },
  'rtmp:': { kind: 'rtmp', port: 1935 },
  'rtmps:': { kind: 'rtmp', port: 443 },
  'http:': { kind: 'http', port: 80 },
  'https:': { kind: 'http', port: 443 },
};

/** A host with its port, and behind it the end of an address's authority. */
const HOST = /^(\[[0-9a-f:.]+\]|[^\s:@/?#[\]]+)(:\d*)?(?=[/?#]|$)/i;
/**
 * Names that cameras give to the account in their addresses, in the query or, as those with XM firmware, in the path:
 * `/user=admin&password=secret&channel=1`, `/user=admin_password=secret_channel=1`.
 */
const USERNAME = /([?&/](?:user|username|usr|login|loginuse)=)([^&#]*?)(?=[&#]|_password=|$)/i;
const PASSWORD =
  /((?:[?&/]|_(?=password=))(?:pass|passwd|password|pwd|loginpas)=)([^&#]*?)(?=[&#]|_channel=|_stream=|$)/i;
/** Whatever may be a secret in an address; too much is hidden rather than too little. */
const SECRET = /((?:pass|passwd|password|pwd|loginpas|token|key|secret|auth|sig|signature)=|[?&/;]pw?=)[^&;\s'"]*/gi;

interface Account {
  username?: string;
  password?: string;
}

/**
 * Credentials found in an address, taken out of it. People type passwords with `@`, `:`, `/` and `?` unescaped, so the
 * first `@` with a host and the end of the authority behind it is the one that ends them. Those behind names leave
 * `{username}` and `{password}` in their place, which {@link parseSource} fills in again.
 */
export function splitCredentials(address: string): { url: string } & Account {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(address)?.[0];
  if (!scheme || /^file:/i.test(scheme)) return { url: address };
  const before = takeUserInfo(address.slice(scheme.length));
  const named = takeNamed(before.rest);
  return { url: scheme + named.rest, ...named.account, ...before.account };
}

/** `user:password@` before the host. */
function takeUserInfo(rest: string): { rest: string; account: Account } {
  if (HOST.test(rest)) return { rest, account: {} };
  for (let at = rest.indexOf('@'); at >= 0; at = rest.indexOf('@', at + 1)) {
    const behind = rest.slice(at + 1);
    if (!HOST.test(behind)) continue;
    const userInfo = rest.slice(0, at);
    const colon = userInfo.indexOf(':');
    const username = decode(colon < 0 ? userInfo : userInfo.slice(0, colon));
    const password = colon < 0 ? {} : { password: decode(userInfo.slice(colon + 1)) };
    return { rest: behind, account: { username, ...password } };
  }
  return { rest, account: {} };
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

/** Checks an address and turns it into FFmpeg's input. Throws `bad-url` with what to do. */
export function parseSource(address: string, credentials: Account = {}): Source {
  const text = address.trim();
  if (!text) throw new EngineError('bad-url', 'no address: enter the stream URL of the camera');
  if (/[\0-\x1f\x7f]/.test(text)) throw new EngineError('bad-url', 'the address has control characters in it');
  if (text.startsWith('lavfi:')) {
    const graph = text.slice(6);
    const checked = checkLavfi(graph);
    if (!('filters' in checked)) throw new EngineError('bad-url', lavfiRefused(checked.filter));
    return { kind: 'lavfi', input: graph, endpoint: null };
  }
  if (isAbsolute(text)) return { kind: 'file', input: text, endpoint: null };
  const split = splitCredentials(text);
  // Not `new URL`: its error carries the address, and with it what may be a password.
  const url = URL.parse(split.url);
  if (!url) throw new EngineError('bad-url', 'not a URL: write for example rtsp://192.168.1.10:554/stream1');
  if (url.protocol === 'file:') return { kind: 'file', input: fileURLToPath(url), endpoint: null };
  const known = KINDS[url.protocol];
  if (!known) {
    throw new EngineError(
      'bad-url',
      `${url.protocol} is not supported: use rtsp, rtsps, rtmp, rtmps, http, https, file or lavfi`,
    );
  }
  if (!url.hostname) throw new EngineError('bad-url', 'the address has no host');
  const username = credentials.username ?? split.username;
  const password = credentials.password ?? split.password;
  const endpoint = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || known.port };
  const scheme = `${url.protocol}//`;
  const rest = split.url.slice(scheme.length);
  if (/\{(username|password)\}/.test(rest)) {
    const filled = rest
      .replaceAll('{username}', encode(username ?? ''))
      .replaceAll('{password}', encode(password ?? ''));
    return { kind: known.kind, input: scheme + filled, endpoint };
  }
  const userInfo = username || password ? `${encode(username ?? '')}:${encode(password ?? '')}@` : '';
  return {
    kind: known.kind,
    input: scheme + userInfo + rest,
    endpoint,
  };
}

function lavfiRefused(filter: string | null): string {
  const why = filter
    ? `a lavfi: address cannot use ${filter.slice(0, 40)} in this way`
    : 'this lavfi: address is not a filter graph that can be checked';
  return `${why}: only test pictures, and filters that need no files, such as lavfi:testsrc2=size=640x360:rate=15`;
}

/** Hides user information of URLs and the given secrets, plain and percent-encoded, in a text meant for people. */
export function redact(text: string, secrets: readonly (string | undefined)[] = []): string {
  let out = text;
  // These first: half of one that the patterns below cut in two would not be found any more.
  for (const secret of secrets) {
    if (!secret) continue;
    for (const form of new Set([encode(secret), secret])) out = out.split(form).join('***');
  }
  return out.replace(/((?:\b[a-z][a-z0-9+.-]*:)?\/\/)[^\s'"]*@/gi, '$1***@').replace(SECRET, '$1***');
}

/** Half a surrogate pair is no character, and `encodeURIComponent` throws. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
