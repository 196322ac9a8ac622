/** Who did what over HTTP, for the log: one line for each. */
import type { Request } from 'express';
import type { Access } from './tokens.ts';

/** Of what is done many times a second. */
export const OFTEN_MS = 5000;
const MAX_REMEMBERED = 1000;

/** What a route's line in the log says. */
export interface Logged {
  /** What is done, in a few words: `record of front`. Asked before it is done, with a body that nobody has checked. */
  what: (request: Request) => string;
  /** The same by the same token is told so often at most. */
  everyMs?: number;
}

/** Something that a stranger has sent, as a word of a line in the log. */
export function word(value: unknown): string {
  return typeof value === 'string' && /^[\w.-]{1,64}$/.test(value) ? value : '?';
}

export class Journal {
  private readonly log: (line: string) => void;
  private readonly now: () => number;
  private readonly told = new Map<string, number>();

  /** @param now a clock that only goes forward, ms */
  constructor(log: (line: string) => void, now: () => number = () => performance.now()) {
    this.log = log;
    this.now = now;
  }

  /** @param outcome `done`, or the code of the error */
  note(what: string, access: Pick<Access, 'id'>, address: string | undefined, outcome: string, everyMs = 0): void {
    const token = word(access.id.slice(0, 8));
    if (everyMs > 0 && !this.isDue(`${token} ${what} ${outcome}`, everyMs)) return;
    this.log(`nvr: ${what} by token ${token} from ${address ?? 'unknown'}: ${outcome}`);
  }

  private isDue(key: string, everyMs: number): boolean {
    const now = this.now();
    const last = this.told.get(key);
    if (last !== undefined && now - last < everyMs) return false;
    this.told.delete(key);
    this.told.set(key, now);
    const [oldest] = this.told.keys();
    if (this.told.size > MAX_REMEMBERED && oldest !== undefined) this.told.delete(oldest);
    return true;
  }
}
