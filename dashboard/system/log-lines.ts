/** The log as the page holds it: what was read so far, and what of it is on show. Pure. */
import type { LogLevel, LogLine, LogPage } from '../../engine/diagnostics/log-ring.ts';

const MAX_LINES = 20_000;
/** From what must be seen to what may be; a level shows those before it, too. */
const ORDER: readonly LogLevel[] = ['fatal', 'error', 'warn', 'info'];

export class LogLines {
  private readonly maxLines: number;
  lines: LogLine[] = [];
  /** Older ones can be read. */
  more = true;

  constructor(maxLines = MAX_LINES) {
    this.maxLines = maxLines;
  }

  get last(): number | null {
    return this.lines.at(-1)?.id ?? null;
  }

  get first(): number | null {
    return this.lines[0]?.id ?? null;
  }

  /** Takes what came behind the last line, or the newest lines when there were none. */
  append({ lines, first, last }: LogPage): void {
    // Node-RED was started anew, or said more in between than it holds: what is known does not continue.
    const known = this.last;
    const broken = known !== null && (last < known || (lines[0] !== undefined && lines[0].id !== known + 1));
    if (broken) this.lines = [];
    this.lines = [...this.lines, ...lines].slice(-this.maxLines);
    this.more = this.lines.length > 0 && this.lines[0]!.id > first && this.lines.length < this.maxLines;
  }

  /** Takes what stood before the first line. */
  prepend({ lines, first }: LogPage): void {
    const fitting = lines.filter(({ id }) => this.first === null || id < this.first);
    this.lines = [...fitting.slice(-(this.maxLines - this.lines.length)), ...this.lines];
    this.more = fitting.length > 0 && this.lines[0]!.id > first && this.lines.length < this.maxLines;
  }

  /** What is at least as bad as `level` and has all words of `text`. */
  shown(level: LogLevel, text: string): LogLine[] {
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    const levels = new Set(ORDER.slice(0, ORDER.indexOf(level) + 1));
    if (words.length === 0 && levels.size === ORDER.length) return this.lines;
    return this.lines.filter((line) => {
      if (!levels.has(line.level)) return false;
      if (words.length === 0) return true;
      const said = `${line.source} ${line.text}`.toLowerCase();
      return words.every((word) => said.includes(word));
    });
  }
}
