/** Keeps secrets out of texts that people see. */

/** Whatever may be a secret in an address; too much is hidden rather than too little. */
const SECRET = /((?:pass|passwd|password|pwd|loginpas|token|key|secret|auth|sig|signature)=|[?&/;]pw?=)[^&;\s'"]*/gi;

/** Hides user information of URLs and the given secrets, plain and percent-encoded, in a text meant for people. */
export function redact(text: string, secrets: readonly (string | undefined)[] = []): string {
  let out = text;
  // These first: half of one that the patterns below cut in two would not be found any more.
  for (const secret of secrets) {
    if (!secret) continue;
    for (const form of new Set([encodeURIComponent(secret.toWellFormed()), secret])) out = out.split(form).join('***');
  }
  return out.replace(/((?:\b[a-z][a-z0-9+.-]*:)?\/\/)[^\s'"]*@/gi, '$1***@').replace(SECRET, '$1***');
}
