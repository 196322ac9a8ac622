/** Keeps secrets out of what is shown or handed on: by their values where they are known, by their looks where they are not. */
import { redact } from './redact.ts';

const HIDDEN = '***';
/** A value that is so short would be found in every other word; what holds it is found by its name. */
const LEAST_CHARS = 4;
/** Names of what is never shown. */
const SECRET_NAME = /pass(wd|word|phrase)?$|pwd|secret|token|credential|auth(orization)?$|cookie|signature|bearer/i;
/** `key` alone, `api_key`, `apiKey`; not `monkey`, `keyframe` or `keyword`. */
const KEY_NAME = /^key$|[_-]key$|[a-z]Key$|(api|access|private)key$/;

/** `password: x`, `"token":"x"`, `apiKey = 'x'`, as people and libraries print them. */
const NAMED =
  /(["']?\b[\w-]{0,40}(?:password|passwd|passphrase|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?)["']?\s*[:=]\s*)("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s,;}\]&]+)/gi;
const BEARER = /\b(Bearer|Basic|Digest)\s+[\w.~+/=-]{8,}/gi;
const JWT = /\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*/g;
const PEM = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(-----END [A-Z ]*PRIVATE KEY-----|$)/g;

export class Redaction {
  private readonly secrets: string[];

  /** @param secrets values that must not be seen, as whoever holds them knows them */
  constructor(secrets: Iterable<string>) {
    // The longest first: one may be part of another.
    this.secrets = [...new Set(secrets)]
      .filter((secret) => secret.length >= LEAST_CHARS)
      .sort((a, b) => b.length - a.length);
  }

  text(text: string): string {
    return redact(this.encoded(text), this.secrets)
      .replace(PEM, HIDDEN)
      .replace(BEARER, `$1 ${HIDDEN}`)
      .replace(JWT, HIDDEN)
      .replace(NAMED, `$1${HIDDEN}`);
  }

  /** The same secret as JSON writes it. */
  private encoded(text: string): string {
    let out = text;
    for (const secret of this.secrets) {
      const form = JSON.stringify(secret).slice(1, -1);
      if (form !== secret) out = out.split(form).join(HIDDEN);
    }
    return out;
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

function isSecretName(name: string): boolean {
  return SECRET_NAME.test(name) || KEY_NAME.test(name);
}
