/** Lengths of time as people say them: `0.4 s`, `12 min`, `3.5 h`, `2 d`. */
import { number } from '../shared/i18n.ts';

export function span(ms: number): string {
  const seconds = ms / 1000;
  const [value, unit] =
    seconds < 100
      ? [seconds, 's']
      : seconds < 6000
        ? [seconds / 60, 'min']
        : seconds < 172_800
          ? [seconds / 3600, 'h']
          : [seconds / 86_400, 'd'];
  return `${number(value, { maximumFractionDigits: value < 10 ? 1 : 0 })} ${unit}`;
}
