/** What a person needs to see how the NVR is doing, and what somebody else needs to help: log, versions, support bundle. */
import { arch, cpus, freemem, loadavg, release, totalmem, type } from 'node:os';
import { setImmediate as turn } from 'node:timers/promises';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { droppedMeasures, measuresInForce } from '../cage/state.ts';
import type { EngineHost } from '../engine-host.ts';
import { runJob } from '../ingest/ffmpeg-process.ts';
import type { QueryHost } from '../playback/query-host.ts';
import { EngineError } from '../types.ts';
import { LogRing, type LogLine, type LogPage } from './log-ring.ts';
import { Redaction } from './redaction.ts';

/** What only the program around the engine knows. */
export interface Surroundings {
  /** Names and versions of the package and of what it runs in. */
  versions: Readonly<Record<string, string>>;
  log: LogRing;
  /** The NVR's part of the configuration. */
  configuration: () => unknown[];
  /** Values that must not be seen. */
  secrets: () => string[];
}

export const NO_SURROUNDINGS: Surroundings = {
  versions: {},
  log: new LogRing(1),
  configuration: () => [],
  secrets: () => [],
};

/** Characters redacted in one turn of the event loop: some 10 ms. */
const CHARS_A_TURN = 32_768;
const BUNDLE_FORMAT = 1;
const compress = promisify(gzip);

export interface SystemState {
  versions: Record<string, string>;
  /** The NVR's time, and its zone's name: days are counted in it. */
  time: number;
  timeZone: string;
  uptimeSeconds: number;
  process: { residentBytes: number; heapBytes: number };
  machine: { cpus: number; model: string; load: number[]; memoryBytes: number; freeMemoryBytes: number };
  /** Measures of FFmpeg's cage that work here, and those that stopped working since the start. */
  cage: { inForce: string[]; dropped: string[] };
  /** What is wrong with the engine itself; null when nothing is. */
  problem: string | null;
}

export class Diagnostics {
  private readonly host: EngineHost;
  private readonly query: QueryHost;
  private readonly around: Surroundings;
  private ffmpeg: string | null = null;
  private last = new Redaction([]);

  constructor(host: EngineHost, query: QueryHost, around: Surroundings) {
    this.host = host;
    this.query = query;
    this.around = around;
  }

  private redaction(): Redaction {
    return (this.last = this.last.with([...this.around.secrets(), ...this.host.secrets()]));
  }

  async log(place: Parameters<LogRing['page']>[0]): Promise<LogPage> {
    const page = this.around.log.page(place);
    return { ...page, lines: await this.redacted(page.lines, this.redaction()) };
  }

  /** A second time: a line may be older than what is known of its secrets. */
  private async redacted(lines: readonly LogLine[], redaction: Redaction): Promise<LogLine[]> {
    const out: LogLine[] = [];
    let chars = 0;
    for (const line of lines) {
      chars += line.source.length + line.text.length;
      if (chars > CHARS_A_TURN) {
        await turn();
        chars = 0;
      }
      out.push({ ...line, source: redaction.text(line.source), text: redaction.text(line.text) });
    }
    return out;
  }

  async state(): Promise<SystemState> {
    const [ffmpeg, sqlite] = await Promise.all([this.ffmpegVersion(), this.sqliteVersion()]);
    const { rss, heapUsed } = process.memoryUsage();
    const cores = cpus();
    return {
      versions: {
        ...this.around.versions,
        node: process.versions.node,
        ffmpeg,
        sqlite,
        os: `${type()} ${release()} ${arch()}`,
      },
      time: Date.now(),
      timeZone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      uptimeSeconds: Math.round(process.uptime()),
      process: { residentBytes: rss, heapBytes: heapUsed },
      machine: {
        ...{ cpus: cores.length, model: cores[0]?.model.trim() ?? '', load: loadavg() },
        ...{ memoryBytes: totalmem(), freeMemoryBytes: freemem() },
      },
      cage: { inForce: [...measuresInForce()], dropped: droppedMeasures() },
      problem: this.redaction().text(this.host.currentProblem ?? '') || null,
    };
  }

  private async ffmpegVersion(): Promise<string> {
    try {
      return (this.ffmpeg ??=
        /^ffmpeg version (\S+)/.exec(
          (await runJob(this.host.config.ffmpegPath, ['-version'], { timeoutMs: 5000 })).stdout.toString('utf8'),
        )?.[1] ?? 'unknown');
    } catch (error) {
      if (error instanceof EngineError) return 'not found';
      throw error;
    }
  }

  private async sqliteVersion(): Promise<string> {
    return (await this.unlessNoCatalog(this.query.call('statistics', Date.now())))?.sqlite ?? 'unknown';
  }

  private async unlessNoCatalog<T>(asked: Promise<T>): Promise<T | null> {
    try {
      return await asked;
    } catch (error) {
      if (error instanceof EngineError) return null; // nothing was recorded yet, or its disk does not answer
      throw error;
    }
  }

  /** The NVR's nodes as they are configured, without their credentials and without what looks like one. */
  configuration(): unknown {
    return this.redaction().value(this.around.configuration());
  }

  /** All of it in one gzipped JSON file, to be sent to somebody who is to help: no secrets, no pictures. */
  async bundle(): Promise<Buffer> {
    const redaction = this.redaction();
    const now = Date.now();
    const [state, catalog, storage, footage, gaps] = await Promise.all([
      this.state(),
      this.unlessNoCatalog(this.query.call('statistics', now)),
      this.unlessNoCatalog(this.query.call('storage', this.host.config.storages, now)),
      this.unlessNoCatalog(this.query.call('extents')),
      this.unlessNoCatalog(this.query.call('gapSeconds', now)),
    ]);
    const { lines } = this.around.log.page({ limit: Number.MAX_SAFE_INTEGER });
    const content = redaction.value({
      format: BUNDLE_FORMAT,
      ...state,
      cameras: this.host.cameraMessages,
      motion: this.host.motionStates,
      retention: this.host.retentionState,
      ...{ catalog, storage, footage, gaps },
      configuration: this.around.configuration(),
    }) as object;
    const log = await this.redacted(lines, redaction);
    return compress(JSON.stringify({ ...content, log }, null, 1));
  }
}
