const UNITS = 0x10000;

/**
 * Finds many words in a text in one pass: the work grows with the text and with the words, never with both multiplied
 * (A. Aho and M. Corasick, "Efficient string matching", 1975).
 */
export class Matcher {
  private readonly fold: (unit: number) => number;
  /** The node behind a node and a UTF-16 unit, as `node * UNITS + unit`. Node 0 is the root. */
  private readonly next = new Map<number, number>();
  /** The node of the longest ending of a node's text that words begin with. */
  private readonly fallback: number[] = [0];
  /** Length of the longest word that a node's text ends with; 0 for none. */
  private readonly longest: number[] = [0];

  /** @param fold units that it gives the same value are taken for the same */
  constructor(words: Iterable<string>, fold: (unit: number) => number = (unit) => unit) {
    this.fold = fold;
    const levels: { node: number; parent: number; unit: number }[][] = [];
    for (const word of words) {
      let node = 0;
      for (let i = 0; i < word.length; i++) {
        const unit = fold(word.charCodeAt(i));
        const key = node * UNITS + unit;
        let to = this.next.get(key);
        if (to === undefined) {
          to = this.longest.push(0) - 1;
          this.next.set(key, to);
          (levels[i] ??= []).push({ node: to, parent: node, unit });
        }
        node = to;
      }
      this.longest[node] = word.length;
    }
    // Level by level: a fallback is always nearer to the root.
    for (const { node, parent, unit } of levels.flat()) {
      const fallback = parent === 0 ? 0 : this.step(this.fallback[parent]!, unit);
      this.fallback[node] = fallback;
      this.longest[node] ||= this.longest[fallback]!;
    }
  }

  /** Tells of the longest word that ends at each place, by the place where it ends. */
  find(text: string, tell: (start: number, end: number) => void): void {
    if (this.longest.length === 1) return;
    let node = 0;
    for (let i = 0; i < text.length; i++) {
      node = this.step(node, this.fold(text.charCodeAt(i)));
      const length = this.longest[node]!;
      if (length > 0) tell(i + 1 - length, i + 1);
    }
  }

  private step(from: number, unit: number): number {
    for (let node = from; ; node = this.fallback[node]!) {
      const to = this.next.get(node * UNITS + unit);
      if (to !== undefined) return to;
      if (node === 0) return 0;
    }
  }
}
