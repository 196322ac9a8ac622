import { Redaction } from './redaction.ts';

type Secrets = readonly (string | undefined)[];

const NONE = new Redaction([]);
/** A process has many lines, and the same secrets for all of them. */
const known = new WeakMap<Secrets, Redaction>();

/**
 * Hides accounts in addresses, what looks like a secret, and the given secrets in a text meant for people, as
 * {@link Redaction} does.
 */
export function redact(text: string, secrets: Secrets = []): string {
  const redaction = (known.get(secrets) ?? NONE).with(secrets.filter((secret) => secret !== undefined));
  if (redaction !== NONE) known.set(secrets, redaction);
  return redaction.text(text);
}
