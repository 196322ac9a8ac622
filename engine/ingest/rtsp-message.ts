/** RTSP requests and responses as text (RFC 2326), as far as asking a camera needs. Pure. */
import { EngineError } from '../types.ts';

export interface RtspResponse {
  status: number;
  /** By lower-case name; a header may come more than once. */
  headers: ReadonlyMap<string, readonly string[]>;
  body: string;
}

/** What a device may send as head and as body: an SDP has a few kilobytes. */
const MAX_HEAD = 32 * 1024;
const MAX_BODY = 256 * 1024;

/** Throws `bad-url` when a part has a line break in it. */
export function rtspRequest(method: string, url: string, headers: Readonly<Record<string, string>>): string {
  const lines = [`${method} ${url} RTSP/1.0`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
  if (lines.some((line) => /[\r\n]/.test(line))) throw new EngineError('bad-url', 'the address has a line break in it');
  return `${lines.join('\r\n')}\r\n\r\n`;
}

interface Open {
  status: number;
  headers: Map<string, string[]>;
  body: string;
  /** Bytes of the body that have not come yet. */
  left: number;
}

/** Puts the responses of a connection together from its pieces, however they are cut; bounded in memory. */
export class RtspReader {
  private head = '';
  private open: Open | null = null;

  /** The responses that this piece completes. Throws `error` when it is not RTSP, or too long. */
  push(chunk: Buffer): RtspResponse[] {
    const found: RtspResponse[] = [];
    let rest = chunk.toString('latin1');
    while (rest) {
      rest = this.open ? this.readBody(this.open, rest) : this.readHead(rest);
      if (this.open?.left !== 0) continue;
      const { status, headers, body } = this.open;
      found.push({ status, headers, body });
      this.open = null;
    }
    return found;
  }

  private readBody(open: Open, text: string): string {
    const taken = text.slice(0, open.left);
    open.body += taken;
    open.left -= taken.length;
    return text.slice(taken.length);
  }

  private readHead(text: string): string {
    const before = this.head.length;
    this.head += text;
    if (!this.head.startsWith('RTSP/') && !'RTSP/'.startsWith(this.head)) throw notRtsp();
    const blank = /\r?\n\r?\n/g;
    // It may have begun in the piece before.
    blank.lastIndex = Math.max(0, before - 3);
    const end = blank.exec(this.head);
    if ((end?.index ?? this.head.length) > MAX_HEAD) throw new EngineError('error', 'an RTSP head without an end');
    if (!end) return '';
    const rest = text.slice(blank.lastIndex - before);
    this.open = parseHead(this.head.slice(0, end.index));
    this.head = '';
    return rest;
  }
}

function parseHead(head: string): Open {
  const [first = '', ...lines] = head.split(/\r?\n/);
  const status = /^RTSP\/\d\.\d (\d{3})(?: |$)/.exec(first)?.[1];
  if (!status) throw notRtsp();
  const headers = new Map<string, string[]>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    if (colon <= 0) continue;
    const name = line.slice(0, colon).trim().toLowerCase();
    const value = line.slice(colon + 1).trim();
    const values = headers.get(name);
    if (values) values.push(value);
    else headers.set(name, [value]);
  }
  const length = headers.get('content-length')?.[0] ?? '0';
  if (!/^\d{1,9}$/.test(length) || Number(length) > MAX_BODY) throw new EngineError('error', 'an RTSP body too long');
  return { status: Number(status), headers, body: '', left: Number(length) };
}

function notRtsp(): EngineError {
  return new EngineError('error', 'what answers does not speak RTSP');
}
