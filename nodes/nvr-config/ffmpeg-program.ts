/**
 * Whether a program is FFmpeg, found out before anything is passed to it: addresses with passwords, footage. To find out,
 * it has to be run, so that this is done on Deploy only.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync, realpathSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { delimiter, join, resolve } from 'node:path';

/** Of a program that has been FFmpeg before: `version` by its file, so that a start with the same one costs nothing. */
type Known = Record<string, string>;

const TIMEOUT_MS = 10_000;
const MAX_KNOWN = 20;

/** The file that a path or a name on `PATH` stands for, if it can be run; null otherwise. Nothing is started. */
export function findProgram(program: string): string | null {
  const names = process.platform === 'win32' && !/\.exe$/i.test(program) ? [`${program}.exe`, program] : [program];
  const folders = /[\\/]/.test(program) ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  for (const folder of folders) {
    for (const name of names) {
      const file = folder ? join(folder, name) : resolve(name);
      if (isProgram(file)) return file;
    }
  }
  return null;
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return statSync(file).isFile();
  } catch {
    return false; // missing, or not ours to run
  }
}

/** What to do about a program that {@link findProgram} does not find. */
export function missingProgram(program: string): string {
  return `${program} is not a program that can be started: install FFmpeg, or enter its path`;
}

export class FfmpegPrograms {
  private readonly file: string | null;
  private known: Known;

  /** @param userDir keeps what was found out, over restarts */
  constructor(userDir: string | undefined) {
    this.file = userDir === undefined ? null : join(userDir, '.flow-nvr-ffmpeg.json');
    this.known = this.file === null ? {} : readKnown(this.file);
  }

  /** The version, if this file was FFmpeg before and is the same still. Nothing is started. */
  knownVersion(file: string): string | null {
    const key = keyOf(file);
    return key !== null && Object.hasOwn(this.known, key) ? this.known[key]! : null;
  }

  /** The version; runs the program unless it is known. Throws when it is not FFmpeg, or does not say so in time. */
  check(file: string): string {
    const known = this.knownVersion(file);
    if (known !== null) return known;
    const run = spawnSync(file, ['-version'], {
      encoding: 'buffer',
      timeout: TIMEOUT_MS,
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 20,
      windowsHide: true,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const version = run.error ? undefined : /^ffmpeg version (\S{1,100})/.exec(run.stdout.toString('utf8'))?.[1];
    if (!version) throw new Error(`${file} is not FFmpeg: nothing is given to it. Enter the path of FFmpeg`);
    this.remember(file, version);
    return version;
  }

  private remember(file: string, version: string): void {
    const key = keyOf(file);
    if (key === null) return;
    const others = Object.entries(this.known).filter(([one]) => one !== key);
    this.known = { [key]: version, ...Object.fromEntries(others.slice(0, MAX_KNOWN)) };
    if (this.file === null) return;
    try {
      writeFileSync(`${this.file}.new`, JSON.stringify(this.known), { mode: 0o600 });
      renameSync(`${this.file}.new`, this.file);
    } catch {
      // A user folder that cannot be written: it is found out anew at the next start.
    }
  }
}

/** Changes with every other file at this path. */
function keyOf(file: string): string | null {
  try {
    const { dev, ino, size, mtimeMs, ctimeMs } = statSync(file);
    return [realpathSync(file), dev, ino, size, mtimeMs, ctimeMs].join('|');
  } catch {
    return null; // it went away just now
  }
}

function readKnown(file: string): Known {
  try {
    const read: unknown = JSON.parse(readFileSync(file, 'utf8'));
    const entries = Object.entries(read ?? {}) as [string, unknown][];
    return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'));
  } catch {
    return {}; // the first start, or a file that broke: it is found out anew
  }
}

/** What is wrong with a version, or null. */
export function tooOld(version: string): string | null {
  const major = Number(/^n?(\d+)/.exec(version)?.[1] ?? NaN);
  return major < 5 ? `FFmpeg ${version} is too old: install 5.1 or later` : null;
}
