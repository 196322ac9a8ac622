/** Camera addresses: what is accepted, and which FFmpeg protocols each may use. */
import { isAbsolute } from 'node:path';
import { fileURLToPath } from 'node:url';
import { EngineError } from '../types.ts';
import { splitAddress, writeAddress, type Account } from './camera-address.ts';
import { checkLavfi } from './lavfi.ts';

export { splitCredentials } from './camera-address.ts';

export type SourceKind = 'rtsp' | 'rtmp' | 'http' | 'file' | 'lavfi';

export interface Source {
  kind: SourceKind;
  /** What follows `-i`: with credentials for the network kinds. */
  input: string;
  /** Host and port to knock at while the camera is away; null where there is none. */
  endpoint: { host: string; port: number } | null;
}

const KINDS: Record<string, { kind: SourceKind; port: number }> = {
  rtsp: { kind: 'rtsp', port: 554 },
  rtsps: { kind: 'rtsp', port: 322 },
  rtmp: { kind: 'rtmp', port: 1935 },
  rtmps: { kind: 'rtmp', port: 443 },
  http: { kind: 'http', port: 80 },
  https: { kind: 'http', port: 443 },
};

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
  if (/^file:/i.test(text)) {
    // Not `new URL`: its error carries the address.
    const url = URL.parse(text);
    const file = url && pathOf(url);
    if (!file) throw new EngineError('bad-url', 'not a file: URL: write for example file:///media/test.mp4');
    return { kind: 'file', input: file, endpoint: null };
  }
  const { address: read, account } = splitAddress(text);
  const known = KINDS[read.scheme];
  if (!known) {
    throw new EngineError(
      'bad-url',
      `${read.scheme}: is not supported: use rtsp, rtsps, rtmp, rtmps, http, https, file or lavfi`,
    );
  }
  const username = credentials.username ?? account.username;
  const password = credentials.password ?? account.password;
  const endpoint = { host: read.host.replace(/^\[|\]$/g, ''), port: read.port ?? known.port };
  const named = /\{(username|password)\}/.test(read.rest);
  const rest = read.rest
    .replaceAll('{username}', () => encode(username ?? ''))
    .replaceAll('{password}', () => encode(password ?? ''));
  const userInfo = !named && (username || password) ? `${encode(username ?? '')}:${encode(password ?? '')}@` : '';
  // Written anew from the parts that were read: FFmpeg's own reading finds the same host.
  return { kind: known.kind, input: writeAddress({ ...read, rest }, userInfo), endpoint };
}

/** Null for a file of another host, and for one whose name has a `/` in it. */
function pathOf(url: URL): string | null {
  try {
    return fileURLToPath(url);
  } catch {
    return null;
  }
}

function lavfiRefused(filter: string | null): string {
  const why = filter
    ? `a lavfi: address cannot use ${filter.slice(0, 40)} in this way`
    : 'this lavfi: address is not a filter graph that can be checked';
  return `${why}: only test pictures, and filters that need no files, such as lavfi:testsrc2=size=640x360:rate=15`;
}

/** Half a surrogate pair is no character, and `encodeURIComponent` throws. */
function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed());
}
