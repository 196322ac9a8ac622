/**
 * npm run -s bench -- NAME [--short] [--json] [options of the benchmark]
 *
 * Runs bench/NAME.ts and prints its checks. The last line is one JSON object, and with --json the only one on stdout.
 * Exit code 0: every check is ok. 1: one is not, or the benchmark failed. 2: wrong usage.
 */
import { parseArgs } from 'node:util';
import { progress, type BenchResult } from './measure.ts';

export interface Options {
  short: boolean;
  cameras: number | undefined;
  seconds: number | undefined;
  sub: boolean;
  only: string[] | undefined;
}

const BENCHES: Record<
  string,
  { about: string; load: () => Promise<{ default: (options: Options) => Promise<BenchResult> }> }
> = {
  ingest: {
    about: 'CPU and memory of recording against bare ffmpeg; lost frames. [--cameras 8] [--sub=false] [--seconds 60]',
    load: () => import('./ingest.ts'),
  },
  playback: {
    about: 'how fast footage is found and delivered from 30 days of 20 cameras while 8 are recorded',
    load: () => import('./playback.ts'),
  },
  viewing: {
    about: 'what people see in Chromium: delay, seeks, views at once; memory with many viewers',
    load: () => import('./viewing.ts'),
  },
  'motion-accuracy': {
    about: 'which motion is found, and what is taken for motion, in generated (and real) footage with labels',
    load: () => import('./motion-accuracy.ts'),
  },
  motion: {
    about: "CPU of motion detection against Debian's motion and bare FFmpeg, and its delay. [--cameras 4]",
    load: () => import('./motion.ts'),
  },
  timeline: {
    about: "the dashboard's timeline in Chromium: 30 days of 9 cameras drawn and moved, seeks, 9 videos on one clock",
    load: () => import('./timeline.ts'),
  },
  dashboard: {
    about: 'the bundled dashboard in Chromium with nine cameras: opening, dropped frames, memory. [--seconds 600]',
    load: () => import('./dashboard.ts'),
  },
  ptz: {
    about: 'how soon commands are on the wire, and the CPU of cameras with ONVIF events. [--cameras 100]',
    load: () => import('./ptz.ts'),
  },
  retention: {
    about: 'how long deleting 50,000 of a million files keeps the catalogue from others, while 8 cameras are recorded',
    load: () => import('./retention.ts'),
  },
  events: {
    about: "from a machine's event over MQTT to its clip, with a restart and an outage of the broker. [--seconds 500]",
    load: () => import('./events.ts'),
  },
  'event-index': {
    about: 'how fast events are stored, and found among a million. [--seconds 30]',
    load: () => import('./event-index.ts'),
  },
  tiers: {
    about: 'moving gigabytes to another folder and a bucket while 4 cameras are recorded',
    load: () => import('./tiers.ts'),
  },
  'retention-kill': {
    about: 'what 200 kills at random moments of deleting, backing up, moving and uploading leave behind',
    load: () => import('./retention-kill.ts'),
  },
  'retention-disk': {
    about: 'a disk of 300 MB that four cameras fill again and again for ten minutes. Needs root',
    load: () => import('./retention-disk.ts'),
  },
  faults: {
    about: 'what is lost when things go wrong. [--only a,c] picks among a to h',
    load: () => import('./faults.ts'),
  },
};

function usage(problem: string): never {
  const names = Object.entries(BENCHES).map(([name, { about }]) => `  ${name.padEnd(15)} ${about}`);
  console.error(`${problem}\nusage: npm run -s bench -- NAME [--short] [--json] [options]\n${names.join('\n')}`);
  process.exit(2);
}

function count(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) usage(`--${name} wants a whole number above 0, not '${text}'`);
  return value;
}

function parse(): { name: string; json: boolean; options: Options } {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        short: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        cameras: { type: 'string' },
        seconds: { type: 'string' },
        sub: { type: 'string', default: 'true' },
        only: { type: 'string' },
      },
    });
    const [name, ...rest] = positionals;
    if (name === undefined) usage('which benchmark?');
    if (rest.length > 0) usage(`unexpected: ${rest.join(' ')}`);
    if (!['true', 'false'].includes(values.sub)) usage(`--sub wants true or false, not '${values.sub}'`);
    return {
      name,
      json: values.json,
      options: {
        short: values.short,
        cameras: count('cameras', values.cameras),
        seconds: count('seconds', values.seconds),
        sub: values.sub === 'true',
        only: values.only?.split(','),
      },
    };
  } catch (error) {
    usage((error as Error).message);
  }
}

const { name, json, options } = parse();
const bench = Object.hasOwn(BENCHES, name) ? BENCHES[name] : undefined;
if (bench === undefined) usage(`no benchmark '${name}'`);

// SIGINT must reach the `exit` handlers that end the processes a benchmark has started.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(1));

const started = performance.now();
let result: BenchResult & { error?: string };
try {
  result = await (await bench.load()).default(options);
} catch (error) {
  progress((error as Error).stack ?? String(error));
  result = { checks: [], error: String(error).split('\n')[0] ?? '' };
}
const { checks, details, error } = result;
const seconds = Math.round((performance.now() - started) / 100) / 10;
const ok = checks.length > 0 && checks.every((one) => one.ok);
if (!json) {
  for (const { name: what, value, unit, limit, ok: good } of checks) {
    console.log(`${good ? 'ok  ' : 'FAIL'} ${what}: ${value} ${unit} (limit ${limit})`);
  }
}
console.log(JSON.stringify({ bench: name, ok, checks, seconds, short: options.short, error, ...details }));
process.exit(ok ? 0 : 1);
