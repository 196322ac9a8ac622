/** Operations that a piece of code does, counted: how they grow says what its time would, whatever else the machine does. */

/** What a call of a built-in costs, from what it is called on, its arguments and its result. */
type Cost = (self: unknown, args: readonly unknown[], result: unknown) => number;

const one: Cost = () => 1;
const length: Cost = (self) => (self as { length: number }).length;
const taken: Cost = (_, __, result) => (result as { length: number }).length;
/** What was searched: to what was found, or to the end. */
const searched: Cost = (self, [, from], result) => {
  const start = typeof from === 'number' ? from : 0;
  const found = typeof result === 'number' && result >= start ? result : (self as string).length;
  return 1 + found - start;
};

/** To put the marks on a letter in order takes the square of their number. */
function normalizing(text: string): number {
  return (text.match(/\p{M}+/gu) ?? []).reduce((sum, marks) => sum + marks.length ** 2, text.length);
}

/**
 * A pattern with a quantifier that has no bound may look at each character once for each other one: it costs the square of
 * what it may look at. One without, or with nothing behind it that could fail, takes each place a bounded number of times.
 */
function patternCost(pattern: RegExp, from: number, text: string, result: RegExpExecArray | null): number {
  const rest = text.length - from;
  const source = pattern.source.replace(/\\.|\[(?:\\.|[^\]])*\]/g, 'x').replace(/(?:[*+]|\{\d+,\})$/, '');
  const unbounded = /[*+]|\{\d+,\}/.test(source);
  if (unbounded) return rest ** 2;
  return 1 + (result ? result.index + result[0].length - from : rest);
}

const COSTS: readonly (readonly [object, Readonly<Record<string, Cost>>])[] = [
  [
    String.prototype,
    {
      ...{ charAt: one, charCodeAt: one, codePointAt: one, slice: one, substring: one, at: one },
      ...{ indexOf: searched, includes: length, lastIndexOf: length, startsWith: one, endsWith: one },
      ...{
        split: length,
        replaceAll: length,
        trim: length,
        trimStart: length,
        toLowerCase: length,
        toUpperCase: length,
      },
    },
  ],
  [
    Array.prototype,
    {
      ...{
        indexOf: searched,
        includes: length,
        find: length,
        filter: length,
        some: length,
        every: length,
        map: length,
      },
      ...{ flatMap: length, sort: length, join: length, slice: taken },
    },
  ],
  [Map.prototype, { get: one, set: one, has: one }],
  [Set.prototype, { has: one, add: one }],
];

/** The work of a run, which ends in it: nothing else may run meanwhile. */
export function workOf(run: () => void): number {
  let work = 0;
  const restore: (() => void)[] = [];
  const replace = (
    target: object,
    name: string,
    counted: (original: (...args: unknown[]) => unknown) => unknown,
  ): void => {
    const before = Object.getOwnPropertyDescriptor(target, name)!;
    Object.defineProperty(target, name, { ...before, value: counted(before.value as () => unknown) });
    restore.push(() => Object.defineProperty(target, name, before));
  };
  // What is found out with built-ins is found out when they are themselves again.
  const pending: (() => number)[] = [];
  for (const [target, costs] of COSTS) {
    for (const [name, cost] of Object.entries(costs)) {
      replace(target, name, (original) => {
        return function (this: unknown, ...args: unknown[]) {
          const result: unknown = Reflect.apply(original, this, args);
          work += cost(this, args, result);
          return result;
        };
      });
    }
  }
  replace(RegExp.prototype, 'exec', (original) => {
    return function (this: RegExp, text: string) {
      const from = this.global || this.sticky ? this.lastIndex : 0;
      const result = Reflect.apply(original, this, [text]) as RegExpExecArray | null;
      pending.push(() => patternCost(this, from, text, result));
      return result;
    };
  });
  replace(String.prototype, 'normalize', (original) => {
    return function (this: string, form: unknown) {
      pending.push(() => normalizing(this));
      return Reflect.apply(original, this, [form]);
    };
  });
  try {
    run();
  } finally {
    for (const put of restore.reverse()) put();
  }
  return pending.reduce((sum, cost) => sum + cost(), work);
}
