/** What no answer to a hostile request may have in it, whoever sent it and whatever it was. */

export interface HostileAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  body: Buffer;
}

/** As plain text, inside JSON (`\n` as two characters) and as Express writes it into HTML. */
const STACK_LINE = /(?:^|\n|\\n|<br>)(?:[ \t]|&nbsp;)*at (?:async )?[^\s(][^\n<]*(?::\d+:\d+|\(native\)|<anonymous>)/;
const CODE_PLACE = /node:internal|node_modules|\/dist\/|\.(?:[cm]?[jt]s|node):\d+/;
/** Folders in which the program, its data or its user live. */
const FOLDER = /(?:^|[^\w.:/-])(?:file:\/\/)?\/(?:tmp|home|root|usr|var|work|opt|etc|proc|mnt|srv)\/[\w.-]/;
const PASSWORDS = /root:[^:\n]*:0:0:/;

/**
 * What is wrong with an answer; empty if nothing is. A request whose own address names a folder is echoed by Node-RED's
 * 404 (`Cannot GET /tmp/x`), so do not send those to paths that are not the NVR's.
 */
export function problemsOf({ status, headers, body }: HostileAnswer): string[] {
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${String(value)}`);
  const text = `${fields.join('\n')}\n\n${body.toString('latin1')}`;
  const found: string[] = [];
  if (status >= 500) found.push(`status ${status}`);
  const patterns = [
    ['a stack trace', STACK_LINE],
    ['a place in the code', CODE_PLACE],
    ['a folder', FOLDER],
    ['a password file', PASSWORDS],
  ] as const;
  for (const [what, pattern] of patterns) {
    const shown = pattern.exec(text);
    if (shown) found.push(`${what}: ${text.slice(shown.index, shown.index + 120).trim()}`);
  }
  return found;
}
