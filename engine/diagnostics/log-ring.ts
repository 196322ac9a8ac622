/** The last lines of the log, for whoever looks at the system without a shell on its computer. Bounded by lines and size. */

export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogLine {
  /** Ascending without holes, so that a reader can tell where it stopped. */
  id: number;
  /** Epoch ms. */
  at: number;
  level: LogLevel;
  /** Who said it: a node's type and name, or nothing for Node-RED itself. */
  source: string;
  text: string;
}

export interface LogPage {
  lines: LogLine[];
  /** First and last line that are held; 0 for none. */
  first: number;
  last: number;
}

const MAX_LINES = 20_000;
const MAX_CHARS = 8_000_000;
export const MAX_LINE_CHARS = 4000;

export class LogRing {
  private readonly maxLines: number;
  private readonly maxChars: number;
  /** Those before `from` are gone; cut off from time to time, for cutting costs as much as the array is long. */
  private lines: LogLine[] = [];
  private from = 0;
  private chars = 0;
  private lastId = 0;

  constructor(maxLines = MAX_LINES, maxChars = MAX_CHARS) {
    this.maxLines = maxLines;
    this.maxChars = maxChars;
  }

  push(line: Omit<LogLine, 'id'>): void {
    const text = line.text.length > MAX_LINE_CHARS ? `${line.text.slice(0, MAX_LINE_CHARS)}…` : line.text;
    this.lines.push({ ...line, text, id: ++this.lastId });
    this.chars += text.length + line.source.length;
    while (this.size > this.maxLines || (this.chars > this.maxChars && this.size > 1)) {
      const gone = this.lines[this.from++]!;
      this.chars -= gone.text.length + gone.source.length;
    }
    if (this.from > this.maxLines) {
      this.lines = this.lines.slice(this.from);
      this.from = 0;
    }
  }

  get size(): number {
    return this.lines.length - this.from;
  }

  /** The oldest `limit` lines behind `after`, or the newest before `before`, or simply the newest; always in their order. */
  page({ after, before, limit }: { after?: number | null; before?: number | null; limit: number }): LogPage {
    const end = this.lines.length;
    const first = this.lines[this.from]?.id ?? 0;
    const placeOf = (id: number): number => Math.min(end, Math.max(this.from, this.from + id - first));
    const held = { first, last: first === 0 ? 0 : this.lastId };
    if (after !== undefined && after !== null) {
      // Numbers from before a restart: what is here is all new to the reader.
      const place = after > this.lastId ? this.from : placeOf(after + 1);
      return { lines: this.lines.slice(place, place + limit), ...held };
    }
    const until = before === undefined || before === null ? end : placeOf(before);
    return { lines: this.lines.slice(Math.max(this.from, until - limit), until), ...held };
  }
}
