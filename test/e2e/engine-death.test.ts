import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Worker } from 'node:worker_threads';
import Database from 'better-sqlite3';
import { EngineHost } from '../../engine/engine-host.ts';
import { readEvent } from '../../engine/events/incoming.ts';
import type { GapMessage, RecordingMessage } from '../../engine/types.ts';

describe('a recording engine whose thread dies', function () {
  this.timeout(40_000);

  it('is started again with its cameras, and the time without it is in the ledger', async () => {
    const storage = await mkdtemp(join(tmpdir(), 'flow-nvr-death-'));
    const host = new EngineHost({ storages: [storage], catalog: join(storage, 'c.sqlite'), ffmpegPath: 'ffmpeg' });
    try {
      const problems: (string | null)[] = [];
      const recordings: RecordingMessage[] = [];
      const gaps: GapMessage[] = [];
      host.on('problem', (message) => problems.push(message));
      host.on('recording', (_recorder, message) => recordings.push(message));
      host.on('gap', (_recorder, message) => gaps.push(message));
      const until = async (test: () => boolean, what: string): Promise<void> => {
        for (let i = 0; !test(); i++) {
          assert.ok(i < 300, `${what}; problems: ${problems.join(', ')}`);
          await wait(50);
        }
      };
      await host.setCamera({
        ...{ id: 'yard', name: 'Yard', mainUrl: 'lavfi:testsrc2=size=160x90:rate=10', transport: 'tcp', audio: false },
      });
      await host.setRecorder({
        ...{
          id: 'r',
          mode: 'continuous',
          streams: ['main'],
          preRollMs: 0,
          postRollMs: 0,
          segmentMs: 60_000,
          schedule: [],
        },
      });
      await host.attach('r', 'yard');
      await host.setIndex({
        ...{ node: 'index', preMs: 1000, postMs: 1000, holdMs: 60_000, deadband: 0, keepMs: 86_400_000 },
        clock: { mode: 'trust', offsetMs: 0 },
      });
      const put = (label: string): Promise<string | null> =>
        host.putIndexed('index', readEvent({ type: 'external', cameras: ['yard'], label }, undefined)!, Date.now());
      await until(() => recordings.some(({ phase }) => phase === 'start'), 'not recorded');
      await wait(1500);

      const killedAt = Date.now();
      // As an exception that nothing caught, or memory that ran out, would end it.
      const first = put('on its way');
      await (host as unknown as { worker: Worker }).worker.terminate();
      const second = put('just then');
      await until(() => recordings.filter(({ phase }) => phase === 'start').length === 2, 'not recorded again');
      assert.match(String(problems[0]), /engine stopped .* started again/);
      assert.equal(host.currentProblem, null);
      const ids = [await first, await second];
      const reader = new Database(join(storage, 'c.sqlite'), { readonly: true });
      assert.deepEqual(reader.prepare("SELECT id FROM event WHERE type = 'external' ORDER BY row").pluck().all(), ids);
      reader.close();

      await until(() => gaps.some(({ end }) => end !== null), 'no gap is told');
      await wait(1000);
      const { recorded, gaps: told } = await host.coverage('yard', 'main', killedAt - 1000, Date.now() - 800);
      assert.equal(told.length, 1);
      assert.equal(told[0]!.cause, 'restart');
      // At most a second before the kill is lost.
      assert.ok(told[0]!.start > killedAt - 1000, `the gap starts ${told[0]!.start - killedAt} ms after the kill`);
      assert.equal(recorded.at(-1)!.start, told[0]!.end);
    } finally {
      await host.shutdown();
      await rm(storage, { recursive: true, force: true });
    }
  });
});
