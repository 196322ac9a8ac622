/** Keeps secrets out of what is shown or handed on: by their values where they are known, by their looks where they are not. */
import { findLooks } from './looks.ts';
import { Matcher } from './matcher.ts';
import { readingsOf } from './reading.ts';

const HIDDEN = '***';
/**
 * A shorter value would be found in every other word: it is hidden only where it stands as a credential, which
 * {@link findLooks} sees without knowing it.
 */
export const LEAST_CHARS = 4;
/** Of a longer secret, such as a key, each part of this length is one. */
const PART_CHARS = 128;
/** What is longer is cut. */
export const MAX_TEXT_CHARS = 61_440;
/** Looked at behind the cut, where a secret may end that begins before it; longer than any form of a part of one. */
const MARGIN_CHARS = 4096;
const BASE64 = /[\w+/=%-]/;

/** Names of what is never shown. */
const SECRET_NAME = /pass(wd|word|phrase)?$|pwd|secret|token|credential|auth(orization)?$|cookie|signature|bearer/i;
/** `key` alone, `api_key`, `apiKey`; not `monkey`, `keyframe` or `keyword`. */
const KEY_NAME = /^key$|[_-]key$|[a-z]Key$|(api|access|private)key$/;

interface Matchers {
  /** In the text as it is, or as it reads decoded; a space may be written as `+`. */
  plain: Matcher;
  /** Those characters of a longer text's base64 that a secret in it decides alone. */
  base64: Matcher;
  hex: Matcher;
}

/**
 * Finds secrets of at least {@link LEAST_CHARS} characters: plain, with any of their characters percent-encoded or escaped
 * (JSON, JavaScript, HTML), in either case, up to twice; as base64 and base64url, alone or within `user:password` or
 * another text; as hexadecimal digits. The work is proportional to the text, however many secrets there are.
 */
export class Redaction {
  private readonly secrets: readonly string[];
  private built: Matchers | null = null;

  /** @param secrets values that must not be seen, as whoever holds them knows them */
  constructor(secrets: Iterable<string>) {
    this.secrets = [...new Set(secrets)].filter((secret) => secret.length >= LEAST_CHARS);
  }

  /** This one, if it is for the same secrets, or one for these: to build one for hundreds of them takes a while. */
  with(secrets: Iterable<string>): Redaction {
    const other = new Redaction(secrets);
    const same =
      other.secrets.length === this.secrets.length && other.secrets.every((one, i) => one === this.secrets[i]);
    return same ? this : other;
  }

  /** The text with each secret replaced, cut where it is longer than `most`. */
  text(text: string, most = MAX_TEXT_CHARS): string {
    const hidden = new HiddenParts(text.slice(0, most + MARGIN_CHARS));
    const { plain, base64, hex } = (this.built ??= matchersFor(this.secrets));
    for (const reading of readingsOf(hidden.text)) {
      const hide = (start: number, end: number): void => hidden.add(...reading.origin(start, end));
      findLooks(reading.text, hide);
      plain.find(reading.text, hide);
      hex.find(reading.text, hide);
      base64.find(reading.text, wholeRuns(reading.text, hide));
    }
    return text.length > most ? `${hidden.replaced(most)}…` : hidden.replaced(text.length);
  }

  /** A copy of plain data without secrets; what has the name of one is not looked into. */
  value(value: unknown): unknown {
    if (typeof value === 'string') return this.text(value);
    if (Array.isArray(value)) return value.map((item) => this.value(item));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [
        this.text(name),
        isSecretName(name) && item !== null && item !== '' && typeof item !== 'boolean' ? HIDDEN : this.value(item),
      ]),
    );
  }
}

/** Parts of a text that are not to be seen, in any order and over each other. */
class HiddenParts {
  readonly text: string;
  /** How many parts begin at a place, less those that end there. */
  private readonly edges: Int32Array;

  constructor(text: string) {
    this.text = text;
    this.edges = new Int32Array(text.length + 1);
  }

  add(start: number, end: number): void {
    this.edges[start]!++;
    this.edges[end]!--;
  }

  /** The text up to there; parts that touch are one. */
  replaced(length: number): string {
    const parts: string[] = [];
    let shownFrom = 0;
    let depth = 0;
    for (let at = 0; at < length; at++) {
      const before = depth;
      depth += this.edges[at]!;
      if (before === 0 && depth > 0) parts.push(this.text.slice(shownFrom, at), HIDDEN);
      else if (before > 0 && depth === 0) shownFrom = at;
    }
    if (depth === 0) parts.push(this.text.slice(shownFrom, length));
    return parts.join('');
  }
}

function matchersFor(secrets: readonly string[]): Matchers {
  const [plain, base64, hex] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const part of secrets.flatMap(partsOf)) {
    const wellFormed = part.toWellFormed();
    plain.add(wellFormed);
    // As texts read in which it was left as it is, though a part of it looks like an escape.
    for (const { text } of readingsOf(part)) if (text.length >= LEAST_CHARS) plain.add(text);
    for (const encoding of ['utf8', 'latin1'] as const) {
      const bytes = Buffer.from(wellFormed, encoding);
      hex.add(bytes.toString('hex'));
      for (const word of base64Of(bytes)) base64.add(word);
    }
  }
  return {
    plain: new Matcher(plain, (unit) => (unit === 0x2b ? 0x20 : unit)),
    base64: new Matcher(base64),
    hex: new Matcher(hex, (unit) => (unit >= 0x41 && unit <= 0x46 ? unit + 0x20 : unit)),
  };
}

/** The secret, or what to look for of a long one: pieces side by side, the last one at its end. */
function partsOf(secret: string): string[] {
  if (secret.length <= PART_CHARS) return [secret];
  const starts = Array.from({ length: Math.floor(secret.length / PART_CHARS) }, (_, i) => i * PART_CHARS);
  return [...starts, secret.length - PART_CHARS].map((start) => secret.slice(start, start + PART_CHARS));
}

/** Of each way in which the bytes may lie in groups of three (RFC 4648, section 4): what only they decide. */
function base64Of(bytes: Buffer): string[] {
  return [0, 1, 2].flatMap((before) => {
    const all = Buffer.concat([Buffer.alloc(before), bytes]);
    const word = all.toString('base64').slice(Math.ceil((before * 8) / 6), Math.floor((all.length * 8) / 6));
    return [word, word.replaceAll('+', '-').replaceAll('/', '_')];
  });
}

/** Tells of the whole run of base64 that a part is in: its edges have bits of the secret. */
function wholeRuns(text: string, tell: (start: number, end: number) => void): (start: number, end: number) => void {
  let known = 0;
  return (from, to) => {
    if (to <= known) return;
    let [start, end] = [from, to];
    while (start > known && BASE64.test(text.charAt(start - 1))) start--;
    while (end < text.length && BASE64.test(text.charAt(end))) end++;
    tell(start, end);
    known = end;
  };
}

function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) || KEY_NAME.test(name);
}
