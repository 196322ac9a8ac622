/**
 * Which of FFmpeg's filter graphs may be a camera. FFmpeg has filters that read and write files, load libraries and
 * listen on ports, and each version adds some: so only those that are known to do none of it are let through, and a text
 * that this parser does not understand is refused. It reads as FFmpeg does (`graphparser.c`, `av_get_token`,
 * `av_opt_get_key_value`), or less.
 */

/** Long enough for any test picture. */
const MAX_LENGTH = 4000;

/** None of their options is a file, a library, an address or a command. */
const HARMLESS = new Set(
  [
    // Sources of pictures and sound.
    'allrgb allyuv color colorchart colorspectrum gradients haldclutsrc mandelbrot mptestsrc nullsrc pal100bars',
    'pal75bars rgbtestsrc sierpinski smptebars smptehdbars testsrc testsrc2 yuvtestsrc zoneplate',
    'aevalsrc anoisesrc anullsrc sine',
    // Pictures.
    'avgblur blend boxblur chromashift colorbalance colorchannelmixer colorhold colorkey colorlevels concat copy crop',
    'drawbox drawgrid edgedetect eq fade fieldorder fillborders format fps framerate gblur geq hflip histeq hstack hue',
    'interlace lagfun loop lut lutrgb lutyuv monochrome negate noformat noise null overlay pad perspective pixelize',
    'random realtime rgbashift rotate scale scroll select setdar setparams setpts setrange setsar settb shear shuffleframes',
    'shufflepixels shuffleplanes split swapuv tblend telecine tile tinterlace tmix tpad transpose trim unsharp vflip',
    'vignette vstack xfade xstack zoompan',
    // Sound.
    'aecho aeval afade aformat aloop amerge amix anull apad aresample arealtime asetnsamples asetpts asetrate asettb asplit',
    'atempo atrim channelmap channelsplit highpass lowpass pan tremolo vibrato volume',
  ]
    .join(' ')
    .split(' '),
);

/** They can read a file: only these options, by their names, for the first one without a name would be that file. */
const NAMED_ONLY: Readonly<Record<string, ReadonlySet<string>>> = {
  life: new Set(
    'rate r size s rule random_fill_ratio ratio random_seed seed stitch mold life_color death_color mold_color'.split(
      ' ',
    ),
  ),
  cellauto: new Set(
    'pattern p rate r size s rule random_fill_ratio ratio random_seed seed scroll start_full full stitch'.split(' '),
  ),
};

/** In no harmless filter of today; there in case a later FFmpeg gives one an option of that kind. */
const SUSPECT = /file|path|url|script|dump|command|socket|bind|plugin|model/;

/** Why a graph is refused. */
export interface LavfiProblem {
  /** The filter that is not on the list; null when the text is not understood. */
  filter: string | null;
}

/** The names of the filters that were let through. */
export function checkLavfi(graph: string): { filters: string[] } | LavfiProblem {
  if (graph.length > MAX_LENGTH) return { filter: null };
  const reader = new Reader(graph);
  const filters: string[] = [];
  for (;;) {
    if (!reader.labels()) return { filter: null };
    const name = reader.name();
    if (!name) return { filter: null };
    const allowed = NAMED_ONLY[name] ?? (HARMLESS.has(name) ? null : undefined);
    if (allowed === undefined) return { filter: name };
    const options = reader.options();
    if (options === null) return { filter: null };
    if (!areAllowed(options, allowed)) return { filter: name };
    filters.push(name);
    if (!reader.labels()) return { filter: null };
    if (reader.atEnd) return { filters };
    if (!reader.separator()) return { filter: null };
  }
}

const SPACE = /[ \n\t\r]/;

class Reader {
  private at = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  get atEnd(): boolean {
    this.space();
    return this.at === this.text.length;
  }

  /** `[in][out0]`, or none. */
  labels(): boolean {
    for (this.space(); this.text[this.at] === '['; this.space()) {
      if (!this.take(/\[[A-Za-z0-9_.+:-]+\]/y)) return false;
    }
    return true;
  }

  /** A filter's name, without the `@id` that an instance may have; FFmpeg takes quotes and escapes there, we do not. */
  name(): string | null {
    this.space();
    const name = this.take(/[A-Za-z0-9_]+(?:@[A-Za-z0-9_]+)?/y);
    return name ? name.split('@')[0]! : null;
  }

  /** What follows `=`, unescaped once; empty when there is nothing, null when it has no end. */
  options(): string | null {
    this.space();
    if (this.text[this.at] !== '=') return '';
    this.at++;
    const token = readToken(this.text, this.at, '[],;');
    if (!token) return null;
    this.at = token.end;
    return token.value;
  }

  separator(): boolean {
    this.space();
    return this.take(/[,;]/y) !== null;
  }

  private space(): void {
    while (SPACE.test(this.text[this.at] ?? '')) this.at++;
  }

  private take(pattern: RegExp): string | null {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text)?.[0] ?? null;
    this.at += found?.length ?? 0;
    return found;
  }
}

/**
 * FFmpeg's `av_get_token`: until one of `ends`, with `'…'` taken as it is and `\x` as x, without the space around it.
 * Null for a quote without an end and a backslash at the end, which FFmpeg would take.
 */
function readToken(text: string, from: number, ends: string): { value: string; end: number } | null {
  let at = from;
  while (SPACE.test(text[at] ?? '')) at++;
  let value = '';
  /** So much of the value was quoted or escaped, and is not trimmed. */
  let kept = 0;
  for (; at < text.length && !ends.includes(text[at]!); at++) {
    const char = text[at]!;
    if (char === '\\') {
      const escaped = text[++at];
      if (escaped === undefined) return null;
      value += escaped;
      kept = value.length;
    } else if (char === "'") {
      const close = text.indexOf("'", at + 1);
      if (close < 0) return null;
      value += text.slice(at + 1, close);
      kept = value.length;
      at = close;
    } else {
      value += char;
    }
  }
  while (value.length > kept && SPACE.test(value.at(-1)!)) value = value.slice(0, -1);
  return { value, end: at };
}

/** @param allowed names that may be set; null: all that a filter without files has */
function areAllowed(options: string, allowed: ReadonlySet<string> | null): boolean {
  for (let at = 0; at < options.length;) {
    // What FFmpeg takes for a name, `/` (its value is in a file, since FFmpeg 7) and `.` included.
    const key = /[ \n\t\r]*([A-Za-z0-9_./]+)[ \n\t\r]*=/y;
    key.lastIndex = at;
    const name = key.exec(options)?.[1];
    if (name !== undefined) at = key.lastIndex;
    const token = readToken(options, at, ':');
    if (!token) return false;
    if (name === undefined) {
      if (allowed || !isHarmlessValue(token.value)) return false;
    } else if (!/^[A-Za-z0-9_]+$/.test(name) || SUSPECT.test(name) || (allowed && !allowed.has(name))) {
      return false;
    }
    at = token.end + 1;
  }
  return true;
}

/** A value without a name: FFmpeg gives it to the options in their order. Nothing that could be read as a name. */
function isHarmlessValue(value: string): boolean {
  return !value.includes('=') && !/^[./~\\]/.test(value);
}
