/** Camera addresses: what is accepted, which FFmpeg protocols each may use, and how secrets are kept out of texts. */
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../types.ts';

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

/** Credentials found in an address, taken out of it. Lenient about unescaped `@`, `:` and `/` in passwords. */
export function splitCredentials(address: string): { url: string; username?: string; password?: string } {
  const scheme = /^[a-z][a-z0-9+.-]*:\/\//i.exec(address)?.[0];
  if (!scheme || /^file:/i.test(scheme)) return { url: address };
  const rest = address.slice(scheme.length);
  const authorityEnd = /[/?#]/.exec(rest)?.index ?? rest.length;
  let at = rest.slice(0, authorityEnd).lastIndexOf('@');
  // `admin:pa/ss@host/x`: what stands before the first slash is no host:port, so the password goes on behind it.
  if (at < 0 && !/^[^:]*(:\d*)?$|^\[[^\]]*\](:\d*)?$/.test(rest.slice(0, authorityEnd))) at = rest.indexOf('@');
  if (at < 0) return { url: address };
  const userInfo = rest.slice(0, at);
  const colon = userInfo.indexOf(':');
  const decode = (text: string): string => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // a bare % is part of the password
    }
  };
  const username = decode(colon < 0 ? userInfo : userInfo.slice(0, colon));
  const password = colon < 0 ? undefined : decode(userInfo.slice(colon + 1));
  return { url: scheme + rest.slice(at + 1), username, ...(password === undefined ? {} : { password }) };
}

/** Checks an address and turns it into FFmpeg's input. Throws `bad-url` with what to do. */
export function parseSource(address: string, credentials: { username?: string; password?: string } = {}): Source {
  const text = address.trim();
  if (!text) throw new EngineError('bad-url', 'no address: enter the stream URL of the camera');
  if (/[\0-\x1f\x7f]/.test(text)) throw new EngineError('bad-url', 'the address has control characters in it');
  if (text.startsWith('lavfi:')) {
    const graph = text.slice(6);
    // Sources that read files would get around the protocol whitelist.
    if (!graph || /\b(a?movie|subtitles|ass|drawtext|filter_script|sendcmd)\b|textfile|file(name)?=/i.test(graph)) {
      throw new EngineError(
        'bad-url',
        'a lavfi: address needs a test source such as lavfi:testsrc2=size=640x360:rate=15',
      );
    }
    return { kind: 'lavfi', input: graph, endpoint: null };
  }
  if (isAbsolute(text)) return { kind: 'file', input: text, endpoint: null };
  const split = splitCredentials(text);
  let url: URL;
  try {
    url = new URL(split.url);
  } catch (cause) {
    throw new EngineError('bad-url', 'not a URL: write for example rtsp://192.168.1.10:554/stream1', { cause });
  }
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
  const scheme = `${url.protocol}//`;
  const rest = split.url.slice(scheme.length);
  const userInfo = username ? `${encodeURIComponent(username)}:${encodeURIComponent(password ?? '')}@` : '';
  return {
    kind: known.kind,
    input: scheme + userInfo + rest,
    endpoint: { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port) || known.port },
  };
}

/** Hides user information of URLs and the given secrets, plain and percent-encoded, in a text meant for people. */
export function redact(text: string, secrets: readonly (string | undefined)[] = []): string {
  let out = text.replace(/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/'"]*@/gi, '$1***@');
  for (const secret of secrets) {
    if (!secret) continue;
    for (const form of new Set([encodeURIComponent(secret), secret])) out = out.split(form).join('***');
  }
  return out;
}
