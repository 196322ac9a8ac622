/** A wall clock that tests can step, for Node-RED and what it starts, by Debian's libfaketime. */
import { globSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

function libfaketime(): string {
  const file = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')[0];
  if (file === undefined) throw new Error('libfaketime is missing: apt-get install libfaketime');
  return file;
}

export class FakeClock {
  /** Environment of a process that has this clock. The monotonic clock stays as it is. */
  readonly env: Record<string, string>;
  private readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
    this.env = {
      LD_PRELOAD: libfaketime(),
      FAKETIME_TIMESTAMP_FILE: join(folder, 'offset'),
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      FAKETIME_NO_CACHE: '1',
      FLOW_NVR_FFMPEG_ENV: 'FAKETIME_TIMESTAMP_FILE,FAKETIME_DONT_FAKE_MONOTONIC,FAKETIME_NO_CACHE',
    };
  }

  static async create(): Promise<FakeClock> {
    const clock = new FakeClock(await mkdtemp(join(tmpdir(), 'flow-nvr-clock-')));
    await clock.set(0);
    return clock;
  }

  /** So many seconds before or behind the real one, from now on. */
  async set(seconds: number): Promise<void> {
    await writeFile(this.env.FAKETIME_TIMESTAMP_FILE!, `${seconds < 0 ? '' : '+'}${seconds}`);
  }

  async dispose(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
