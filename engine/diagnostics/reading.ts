/** How many layers of encoding are seen through: JSON in an address, an address in an address. */
const LAYERS = 2;

/** A text as it is, and as it reads without its encodings; a backslash may begin an escape, or be just one. */
export function readingsOf(text: string): Reading[] {
  const original = new Reading(text);
  const readings = [original];
  for (const backslashes of text.includes('\\') ? [true, false] : [true]) {
    let reading: Reading | null = original;
    for (let layer = 0; reading && layer < LAYERS; layer++) {
      reading = reading.decoded(backslashes);
      if (reading) readings.push(reading);
    }
  }
  return readings;
}

/** A text as somebody reads it who undoes its encodings, with the places where each character came from. */
export class Reading {
  readonly text: string;
  /** For each unit of the text; null where the text is the original. */
  private readonly places: { from: readonly number[]; to: readonly number[] } | null;

  constructor(text: string, places: { from: readonly number[]; to: readonly number[] } | null = null) {
    this.text = text;
    this.places = places;
  }

  /** Where in the original a part of the text, not an empty one, begins and ends. */
  origin(start: number, end: number): readonly [start: number, end: number] {
    return this.places ? [this.places.from[start]!, this.places.to[end - 1]!] : [start, end];
  }

  /**
   * With percent-encoding, backslash escapes (of JSON, JavaScript, C) and character references (of HTML, XML) undone once,
   * whatever mixture they come in; null where there are none.
   * @param backslashes whether those are escapes
   */
  decoded(backslashes: boolean): Reading | null {
    const { text } = this;
    if (!/[%\\&]/.test(text)) return null;
    const parts: string[] = [];
    const from: number[] = [];
    const to: number[] = [];
    for (let at = 0; at < text.length;) {
      const { units, length } = escapeAt(text, at, backslashes) ?? { units: text.charAt(at), length: 1 };
      const [first, last] = this.origin(at, at + length);
      for (let i = 0; i < units.length; i++) {
        from.push(first);
        to.push(last);
      }
      parts.push(units);
      at += length;
    }
    const read = parts.join('');
    return read === text ? null : new Reading(read, { from, to });
  }
}

interface Escape {
  units: string;
  /** Of what stands for them. */
  length: number;
}

function escapeAt(text: string, at: number, backslashes: boolean): Escape | null {
  switch (text.charCodeAt(at)) {
    case 0x25:
      return percentAt(text, at);
    case 0x5c:
      return backslashes ? backslashAt(text, at) : null;
    case 0x26:
      return referenceAt(text, at);
    default:
      return null;
  }
}

/** The value of so many hexadecimal digits, or -1. */
function hexAt(text: string, at: number, digits: number): number {
  const part = text.slice(at, at + digits);
  return part.length === digits && /^[\da-f]{1,4}$/i.test(part) ? Number.parseInt(part, 16) : -1;
}

/** Of UTF-8; a byte that is none is taken as ISO 8859-1, which old devices send. */
function percentAt(text: string, at: number): Escape | null {
  const byteAt = (place: number): number => (text.charCodeAt(place) === 0x25 ? hexAt(text, place + 1, 2) : -1);
  const first = byteAt(at);
  if (first < 0) return null;
  const more = first < 0xc2 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : first < 0xf5 ? 3 : 0;
  if (more > 0) {
    const bytes = Array.from({ length: more + 1 }, (_, i) => byteAt(at + 3 * i));
    const read = Buffer.from(bytes).toString('utf8');
    // Its own bytes again: it was valid.
    const valid = !bytes.includes(-1) && Buffer.from(read).equals(Buffer.from(bytes));
    if (valid) return { units: read, length: 3 * (more + 1) };
  }
  return { units: String.fromCharCode(first), length: 3 };
}

const ESCAPED: Readonly<Record<string, string>> = {
  ...{ n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v', '0': '\0' },
  ...{ '\\': '\\', '/': '/', '"': '"', "'": "'", '`': '`' },
};

function backslashAt(text: string, at: number): Escape | null {
  const letter = text.charAt(at + 1);
  if (letter === 'u' || letter === 'x') {
    const digits = letter === 'u' ? 4 : 2;
    const unit = hexAt(text, at + 2, digits);
    return unit < 0 ? null : { units: String.fromCharCode(unit), length: 2 + digits };
  }
  const units = ESCAPED[letter];
  return units === undefined ? null : { units, length: 2 };
}

const NAMED: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };

function referenceAt(text: string, at: number): Escape | null {
  const name = /^&(#?\w{1,8});/.exec(text.slice(at, at + 12))?.[1];
  if (name === undefined) return null;
  const length = name.length + 2;
  const code = name.startsWith('#') ? Number(name.replace('#', '').replace(/^x/i, '0x')) : NaN;
  if (code >= 0 && code <= 0x10ffff) return { units: String.fromCodePoint(code), length };
  const units = NAMED[name];
  return units === undefined ? null : { units, length };
}
