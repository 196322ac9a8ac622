/** Checks, backups and copies: one of each at a time, with their progress told; backups also by the clock. */
import type { Clock } from '../clock.ts';
import { EngineError } from '../types.ts';
import type {
  BackupReport,
  CheckOptions,
  CheckReport,
  CopyItem,
  CopyReport,
  UpkeepJob,
  UpkeepReply,
  UpkeepReport,
} from '../upkeep/types.ts';
import type { BackupSpec, RetentionMessage } from './types.ts';

/** A job in a thread of its own. */
export interface RunningJob {
  done: Promise<UpkeepReport[keyof UpkeepReport]>;
  stop(): void;
}

type Progress = Extract<UpkeepReply, { progress: unknown }>['progress'];

export interface UpkeepEffects {
  clock: Clock;
  tell: (message: RetentionMessage) => void;
  start: (job: UpkeepJob, onProgress: (progress: Progress) => void) => RunningJob;
  catalog: string;
  storages: () => string[];
  /** Where backups go when the rules do not say. */
  backupFolder: string;
}

/** A backup that failed is tried again; one that takes longer does not get on. */
const RETRY_MS = 3_600_000;
const DEFAULT_BACKUP: BackupSpec = { at: null, folder: '', keep: 7, files: [] };

/** The last time, until now, that a clock on the wall showed `HH:MM`. */
export function lastTimeOf(at: string, now: number): number {
  const [hours, minutes] = at.split(':').map(Number);
  const time = new Date(now);
  time.setHours(hours!, minutes, 0, 0);
  if (time.getTime() > now) time.setDate(time.getDate() - 1);
  return time.getTime();
}

export class Upkeep {
  private readonly effects: UpkeepEffects;
  private readonly running = new Map<UpkeepJob['kind'], RunningJob>();
  private spec: BackupSpec = DEFAULT_BACKUP;
  private triedAt = -Infinity;
  /** The last time of the clock for which there is a backup. */
  private backedUp = NaN;
  /** Why the last backup failed; null when it did not. */
  problem: string | null = null;

  constructor(effects: UpkeepEffects) {
    this.effects = effects;
  }

  set(spec: BackupSpec | null): void {
    this.spec = spec ?? DEFAULT_BACKUP;
    this.triedAt = -Infinity;
    this.backedUp = NaN;
    this.problem = null;
  }

  /** Every few seconds. What there is in the folder is for the backup to find out: it may be on a disk that hangs. */
  check(): void {
    const { at } = this.spec;
    const { clock } = this.effects;
    if (at === null || clock.monotonic() - this.triedAt < RETRY_MS) return;
    if (this.running.has('backup')) {
      this.problem = `the backup to ${this.folder} does not get on: is that folder within reach?`;
      return;
    }
    const due = lastTimeOf(at, clock.now());
    if (due === this.backedUp) return;
    this.makeBackup(due).then(
      () => (this.backedUp = due),
      () => undefined, // it was told
    );
  }

  private get folder(): string {
    return this.spec.folder === '' ? this.effects.backupFolder : this.spec.folder;
  }

  /** Rejects with `busy`, `cancelled`, or what went wrong. */
  async compare(options: CheckOptions): Promise<CheckReport> {
    const { catalog, storages, clock, tell } = this.effects;
    const from = clock.monotonic();
    const job = { kind: 'check' as const, catalog, storages: storages(), options };
    const report = (await this.run(job, (progress) => {
      if ('faults' in progress) tell({ type: 'check', phase: 'progress', time: clock.now(), ...progress });
    })) as CheckReport;
    const seconds = (clock.monotonic() - from) / 1000;
    tell({ type: 'check', phase: 'end', time: clock.now(), seconds, ...report });
    return report;
  }

  cancel(kind: UpkeepJob['kind']): boolean {
    const job = this.running.get(kind);
    job?.stop();
    return job !== undefined;
  }

  /** Rejects with `busy`, or what went wrong, which is told as well. */
  async backUp(): Promise<BackupReport> {
    return (await this.makeBackup(null))!;
  }

  /** Null when there is one since then. */
  private async makeBackup(since: number | null): Promise<BackupReport | null> {
    const { catalog, storages, clock, tell } = this.effects;
    this.triedAt = clock.monotonic();
    const { folder } = this;
    const { keep, files } = this.spec;
    const source = { catalog, storages: storages(), files };
    try {
      const report = (await this.run({ kind: 'backup', source, options: { folder, keep, since } }, ({ done }) =>
        tell({ type: 'backup', phase: 'progress', time: clock.now(), done }),
      )) as BackupReport | null;
      this.problem = null;
      if (report) tell({ type: 'backup', phase: 'end', time: clock.now(), error: null, ...report });
      return report;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (!(error instanceof EngineError && ['busy', 'cancelled'].includes(error.code))) {
        this.problem = `the backup failed: ${message}`;
        tell({ type: 'backup', phase: 'end', time: clock.now(), error: message, folder, bytes: 0, files: [] });
      }
      throw error;
    }
  }

  async copy(id: string, items: CopyItem[], folder: string): Promise<CopyReport> {
    const { clock, tell } = this.effects;
    const of = { type: 'copy' as const, id, folder };
    try {
      const report = (await this.run({ kind: 'copy', items, folder }, ({ done }) =>
        tell({ ...of, phase: 'progress', time: clock.now(), done }),
      )) as CopyReport;
      tell({ ...of, phase: 'end', time: clock.now(), error: null, ...report });
      return report;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      tell({ ...of, phase: 'end', time: clock.now(), error: message, files: 0, bytes: 0 });
      throw error;
    }
  }

  close(): void {
    for (const job of this.running.values()) job.stop();
  }

  private async run(
    job: UpkeepJob,
    onProgress: (progress: Progress) => void,
  ): Promise<UpkeepReport[keyof UpkeepReport]> {
    const { kind } = job;
    if (this.running.has(kind)) throw new EngineError('busy', `a ${kind} is under way already: wait until it is done`);
    const started = this.effects.start(job, onProgress);
    this.running.set(kind, started);
    try {
      return await started.done;
    } finally {
      this.running.delete(kind);
    }
  }
}
