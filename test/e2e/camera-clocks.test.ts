/** Cameras whose own clocks cannot be trusted: what is recorded of them still has the time at which it was filmed. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import type { CameraMessage } from '../../engine/types.ts';
import { FRAME_MS, Rig, type Message } from '../support/rig.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { readFrames } from '../support/frames.ts';

const HOUR_MS = 3_600_000;
/** What is waited for before a camera's pace is judged, and what that may take. */
const JUDGED_MS = 90_000;
const SEGMENT_S = 5;

interface File {
  path: string;
  start: number;
  end: number;
  /** From when its first and last pictures were sent to when it says. */
  early: number;
  late: number;
}

describe("cameras' clocks", function () {
  this.timeout(150_000);
  let rig: Rig;
  let wall: FakeClock;

  before(async () => {
    wall = await FakeClock.create();
    rig = await Rig.recording({
      cameras: {
        jumps: { main: { size: 'sub', pace: 1 } },
        drifts: { main: { size: 'sub', pace: 1.01 } },
        counts: { main: { size: 'sub', pace: 0.8, audio: 'aac' } },
      },
      recorder: { segment: SEGMENT_S },
      env: wall.env,
    });
  });

  after(async () => {
    await rig.dispose();
    await wall.dispose();
  });

  async function filesOf(camera: string): Promise<File[]> {
    const rows = rig.catalog(
      (db) =>
        db
          .prepare(
            `SELECT s.path, s.start_ms AS start, s.end_ms AS "end" FROM segment s JOIN camera c ON c.id = s.camera_id
             WHERE c.key = ? AND s.state = 'closed' ORDER BY s.id`,
          )
          .all(camera) as Pick<File, 'path' | 'start' | 'end'>[],
    );
    return Promise.all(
      rows.map(async (row) => {
        const stamps = await readFrames(`${rig.storage}/${row.path}`);
        const [first, last] = [stamps[0]!, stamps.at(-1)!];
        return { ...row, early: row.start - first.sentMs, late: row.end - FRAME_MS - last.sentMs };
      }),
    );
  }

  const offline = (camera: string, detail: RegExp, timeoutMs: number): Promise<{ at: number }> =>
    rig.red.waitFor<Message<CameraMessage>>(
      'camera',
      ({ payload }) => payload.camera === camera && payload.state === 'offline' && detail.test(payload.detail),
      timeoutMs,
    );

  it('that are set, forth and back, cost a moment that is told', async () => {
    await wait(6000);
    await rig.cameras.shift('jumps-main', HOUR_MS);
    await offline('jumps', /clock jumped by 3600 s/, 10_000);
    await wait(8000);
    await rig.cameras.shift('jumps-main', -HOUR_MS);
    await offline('jumps', /clock was set back/, 10_000);
    await wait(12_000);
    const files = await filesOf('jumps');
    // The last pictures before it was set back are told so near to each other as they came in their GOP.
    for (const { early, late } of files) assert.ok(Math.abs(early) < 300 && late < 300 && late > -1300);
    assert.ok(files.filter(({ late }) => late < -300).length <= 1);
    assert.ok(files.at(-1)!.end > Date.now() - 2 * SEGMENT_S * 1000 - 3000);
    const gaps = rig.gaps().filter(({ camera }) => camera === 'jumps');
    assert.equal(gaps.length, 2);
    for (const { start, end } of gaps) assert.ok(end !== null && end - start < 6000, `${end! - start} ms`);
  });

  it('that are fast do not run away, and leave no hole between files', async () => {
    const files = await filesOf('drifts');
    assert.ok(files.length >= 4);
    for (const { early, late } of files) assert.ok(Math.abs(early) < 400 && Math.abs(late) < 400, `${early} ${late}`);
    for (const [i, file] of files.entries()) if (i > 0) assert.ok(Math.abs(file.start - files[i - 1]!.end) <= 2);
    assert.ok(!rig.gaps().some(({ camera }) => camera === 'drifts'));
  });

  it('that count pictures at another rate than they come are not used', async () => {
    // 25 %, as far as one minute tells.
    const { at } = await offline('counts', /2[3-7](\.\d)? % too slow/, JUDGED_MS);
    await wait((2 * SEGMENT_S + 5) * 1000);
    const files = (await filesOf('counts')).filter(({ start }) => start > at);
    assert.ok(files.length >= 1);
    for (const { path, start, end, early, late } of files) {
      assert.ok(Math.abs(early) < 300 && Math.abs(late) < 300, `${early} ${late}`);
      const entries = ['-show_entries', 'stream=codec_type,duration', '-of', 'csv=p=0'];
      const { stdout } = spawnSync('ffprobe', ['-v', 'error', ...entries, `${rig.storage}/${path}`]);
      // Sound and picture are as long as it took.
      for (const line of stdout.toString().trim().split('\n')) {
        assert.ok(Math.abs(Number(line.split(',')[1]) * 1000 - (end - start)) < 500, `${line} of ${end - start} ms`);
      }
    }
  });

  it('whose times are those of arrival follow a step of the wall clock', async () => {
    const known = (await filesOf('counts')).length;
    await wall.set(HOUR_MS / 1000);
    await wait((2 * SEGMENT_S + 8) * 1000);
    // The first may have been begun before.
    const files = (await filesOf('counts')).slice(known + 1);
    assert.ok(files.length >= 1);
    for (const { early, late } of files) {
      assert.ok(Math.abs(early - HOUR_MS) < 300 && Math.abs(late - HOUR_MS) < 300, `${early} ${late}`);
    }
  });
});
