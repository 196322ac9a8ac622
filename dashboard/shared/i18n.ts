/** Texts in the language of the browser: English or German. */
import { reactive } from 'vue';

export type Texts = Record<string, string>;
export type Language = 'en' | 'de';

/** For templates: a test may change it. */
export const locale = reactive<{ language: Language }>({
  language: /^de\b/i.test(typeof navigator === 'undefined' ? '' : navigator.language) ? 'de' : 'en',
});

/**
 * Texts of one widget. Both languages have the same keys; `{name}` is a gap to fill in.
 *
 * @example const t = texts({ en: { hello: 'Hello {who}' }, de: { hello: 'Hallo {who}' } }); t('hello', { who: 'Eva' })
 */
export function texts<K extends string>(
  both: Record<Language, Record<K, string>>,
): (key: K, gaps?: Record<string, string | number>) => string {
  return (key, gaps = {}) =>
    both[locale.language][key].replace(/\{(\w+)\}/g, (whole, name: string) => String(gaps[name] ?? whole));
}

/** `de-AT` where the browser says so: dates as its user is used to. */
function region(): string {
  const { language } = navigator;
  return language.toLowerCase().startsWith(locale.language) ? language : locale.language;
}

export function time(ms: number, options: Intl.DateTimeFormatOptions = { timeStyle: 'medium' }): string {
  return new Intl.DateTimeFormat(region(), options).format(ms);
}

export function number(value: number, options: Intl.NumberFormatOptions = { maximumFractionDigits: 1 }): string {
  return new Intl.NumberFormat(region(), options).format(value);
}

/** `0:07`, `12:34`, `1:02:03` */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  const two = (value: number): string => String(value).padStart(2, '0');
  return h > 0 ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** `1.5 GB`, in powers of ten as disks are sold. */
export function bytes(value: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB'];
  const power = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
  return `${number(value / 1000 ** power, { maximumFractionDigits: power === 0 ? 0 : 1 })} ${units[power]!}`;
}
