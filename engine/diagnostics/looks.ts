/**
 * What must be a secret, whoever owns it, by how it looks: accounts in addresses, values behind names such as `password`,
 * tokens, private keys. Texts come from cameras too: patterns have no quantifier without a bound, ends are searched for
 * once, so that the work is proportional to the length.
 */

type Tell = (start: number, end: number) => void;

/** Tells of each, its name left out, so that people see what was there. Too much is hidden rather than too little. */
export function findLooks(text: string, tell: Tell): void {
  findAccounts(text, tell);
  findValues(text, IN_ADDRESS, (start) => until(text, start, ADDRESS_END), tell);
  findValues(text, NAMED, (start) => until(text, start, VALUE_END), tell);
  findValues(text, HEADER, (start) => until(text, start, LINE_END), tell);
  findSchemes(text, tell);
  findTokens(text, tell);
  findKeys(text, tell);
}

/** `'` may be in an account as it is (RFC 3986, section 3.2.1). */
const ACCOUNT_END = /[\s"]/g;
const ADDRESS_END = /[&;\s'"]/g;
const VALUE_END = /[\s,;}\]&]/g;
const LINE_END = /[\r\n]/g;
const NO_CREDENTIAL = /[^\w.~+/=-]/g;
const NO_TOKEN = /[^\w.-]/g;

/** The names that parameters of addresses have, also behind others: `access_token=`. */
const IN_ADDRESS = /(?:(?:pass|passwd|password|pwd|loginpas|token|key|secret|auth|sig|signature)=|[?&/;]pw?=)/gi;
/** `password: x`, `"token":"x"`, `apiKey = 'x'`, as people and libraries print them. */
const NAMED =
  /(?:password|passwd|passphrase|pwd|secret|token|api[-_]?key|access[-_]?key|private[-_]?key|credentials?)["']?\s{0,16}[:=]\s{0,16}/gi;
/** Their whole line is the value: `Authorization: Digest username="…", response="…"`. */
const HEADER = /(?:authorization|cookie)["']?\s{0,16}[:=]\s{0,16}/gi;
const SCHEME = /\b(?:Bearer|Basic|Digest)\s{1,16}/gi;
const LEAST_CREDENTIAL = 8;

/** Where the next of these characters is, or the end. */
function until(text: string, from: number, stop: RegExp): number {
  stop.lastIndex = from;
  return stop.exec(text)?.index ?? text.length;
}

/** `user:password@` behind `//`, whatever the password is made of: to the last `@` before a space. */
function findAccounts(text: string, tell: Tell): void {
  for (let at = text.indexOf('//'); at >= 0;) {
    const start = at + 2;
    const end = until(text, start, ACCOUNT_END);
    const length = text.slice(start, end).lastIndexOf('@');
    if (length > 0) tell(start, start + length);
    at = text.indexOf('//', end);
  }
}

/** What is behind a name: in quotes, or to where such a value ends. */
function findValues(text: string, name: RegExp, endOf: (start: number) => number, tell: Tell): void {
  let hidden = 0;
  for (const match of text.matchAll(name)) {
    const behind = match.index + match[0].length;
    // It is part of the value before it, which ends where this one would.
    if (behind < hidden) continue;
    const quote = text.charAt(behind);
    const quoted = quote === '"' || quote === "'";
    const start = quoted ? behind + 1 : behind;
    const end = quoted ? quotedEnd(text, start, quote) : endOf(start);
    if (end > start) tell(start, end);
    hidden = Math.max(hidden, end);
  }
}

/** The closing quote, or the line's end where a line was cut. */
function quotedEnd(text: string, from: number, quote: string): number {
  for (let at = from; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === quote || char === '\n') return at;
    if (char === '\\') at++;
  }
  return text.length;
}

/** `Basic dXNlcjpwYXNz`, but not `Basic authentication`. */
function findSchemes(text: string, tell: Tell): void {
  for (const match of text.matchAll(SCHEME)) {
    const start = match.index + match[0].length;
    const end = until(text, start, NO_CREDENTIAL);
    const isWord = /^[A-Z]?[a-z]{1,23}[.]?$/.test(text.slice(start, Math.min(end, start + 30)));
    if (end - start >= LEAST_CREDENTIAL && !isWord) tell(start, end);
  }
}

/** JSON Web Tokens (RFC 7519): three parts of base64url, the first one of which begins with `{"`. */
function findTokens(text: string, tell: Tell): void {
  let seen = 0;
  for (const { index } of text.matchAll(/\beyJ/g)) {
    if (index < seen) continue; // what follows the first has no more parts than that
    seen = until(text, index, NO_TOKEN);
    const [first = '', second, third] = text.slice(index, seen).split('.', 3);
    if (first.length + (second?.length ?? 0) > 10 && third !== undefined) tell(index, seen);
  }
}

/** Private keys as PEM (RFC 7468), also without their end. */
function findKeys(text: string, tell: Tell): void {
  let hidden = 0;
  for (const { index } of text.matchAll(/-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----/g)) {
    if (index < hidden) continue;
    const end = /-----END [A-Z ]{0,30}PRIVATE KEY-----/g;
    end.lastIndex = index;
    const found = end.exec(text);
    hidden = found ? found.index + found[0].length : text.length;
    tell(index, hidden);
  }
}
