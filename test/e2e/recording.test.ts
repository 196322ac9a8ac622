import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { Coverage } from '../../engine/types.ts';
import { unplayable, probe } from '../support/media-files.ts';
import { Rig, type CameraSetup } from '../support/rig.ts';

const SECRET = 'p@ss/w:rd?&%41#x';
const ENCODED = encodeURIComponent(SECRET);

const CAMERAS: Record<string, CameraSetup> = {
  'h264-aac': { main: { size: 'main', audio: 'aac', user: 'viewer', password: SECRET }, sub: {} },
  'h264-ulaw': { main: { audio: 'ulaw' } },
  'h264-alaw': { main: { audio: 'alaw' } },
  h265: { main: { video: 'h265', size: 'main' } },
  'h265-aac': { main: { video: 'h265', audio: 'aac' } },
};

/** Real cameras into a real Node-RED: what is on disk, in the catalogue and on the wires afterwards. */
describe('recording cameras without gaps', function () {
  this.timeout(120_000);
  let rig: Rig;
  let from: number;
  let to: number;

  before(async () => {
    rig = await Rig.recording({ cameras: CAMERAS });
    from = Date.now();
    // Segments of 10 s: every stream passes at least two boundaries.
    await wait(24_000);
    to = Date.now();
  });
  after(() => rig.dispose());

  it('answers what of a range is recorded', async () => {
    const ask = { command: 'coverage', camera: 'h265', start: from, end: to - 2000 };
    await rig.red.send('recorder', { payload: ask });
    const answer = await rig.red.waitFor<{ payload: Coverage & { type: string }; camera: string }>(
      'recording',
      ({ payload: { type } }) => type === 'coverage',
      5000,
    );
    const { payload } = answer.msg;
    assert.equal(answer.msg.camera, 'h265');
    assert.equal(payload.stream, 'main');
    assert.deepEqual(payload.gaps, []);
    assert.deepEqual(payload.recorded, [{ start: from, end: to - 2000 }]);
  });

  it('reports each camera, recording and segment with topic, camera and type', async () => {
    await rig.waitForRecording(({ phase }) => phase === 'segment', 1000);
    for (const name of ['camera', 'recording']) {
      for (const { msg } of await rig.red.captured<{ topic?: unknown; camera?: unknown; payload: { type?: unknown } }>(
        name,
      )) {
        assert.equal(typeof msg.topic, 'string');
        assert.ok(typeof msg.camera === 'string' && msg.camera in CAMERAS);
        assert.ok(
          name === 'camera'
            ? msg.payload.type === 'camera'
            : ['recording', 'coverage'].includes(String(msg.payload.type)),
        );
      }
    }
    const online = await rig.waitForCamera(
      ({ camera, state, metrics }) => camera === 'h264-aac' && state === 'online' && (metrics.main?.fps ?? 0) > 20,
      1000,
    );
    const { streams, metrics } = online.msg.payload;
    assert.match(streams.main!.codecs, /^avc1\.[0-9a-f]{6},mp4a\.40\.2$/i);
    assert.deepEqual([streams.main!.width, streams.main!.height, streams.main!.hasAudio], [1920, 1080, true]);
    assert.deepEqual([streams.sub!.width, streams.sub!.height], [640, 360]);
    assert.ok(Math.abs(metrics.main!.fps - 25) < 3, `${metrics.main!.fps} fps`);
    assert.deepEqual([metrics.main!.reconnects, metrics.main!.droppedFragments], [0, 0]);
  });

  it('takes a snapshot on demand', async () => {
    await rig.red.send('source', { payload: { command: 'snapshot' } });
    type Snapshot = { camera: string; time: number; payload: { bufferBytes: number } };
    for (const camera of Object.keys(CAMERAS)) {
      const { msg } = await rig.red.waitFor<Snapshot>('snapshot', (one) => one.camera === camera, 15_000);
      assert.ok(msg.payload.bufferBytes > 1000, `${msg.payload.bufferBytes} bytes`);
      assert.ok(Math.abs(msg.time - Date.now()) < 20_000);
    }
  });

  it('refuses bad input with one error each, and goes on', async () => {
    const bad: [string, object][] = [
      ['recorder', { payload: { command: 'explode' } }],
      ['recorder', { payload: { command: 'coverage', camera: 'h265', start: to, end: from } }],
      ['recorder', { payload: { command: 'coverage', camera: 'nobody', start: from, end: to } }],
      ['recorder', { payload: { command: 7 } }],
      ['recorder', { payload: { command: 'start', camera: 'nobody' } }],
    ];
    for (const [target, msg] of bad) {
      const before = (await rig.red.captured('error')).length;
      await rig.red.send(target, msg);
      await wait(300);
      const errors = (await rig.red.captured<{ error: { message: string } }>('error')).slice(before);
      assert.equal(errors.length, 1, `${JSON.stringify(msg)}: ${errors.length} errors`);
      assert.ok(errors[0]!.msg.error.message.length > 10);
    }
  });

  describe('after Node-RED has ended', () => {
    before(() => rig.red.stop());

    it('has every frame once, over all boundaries between files', async () => {
      for (const [name, count] of await rig.count(from, to)) {
        assert.deepEqual(
          [count.lost, count.duplicates, count.outOfOrder],
          [0, 0, 0],
          `${name} ${JSON.stringify(count)}`,
        );
      }
      for (const stream of rig.streams)
        assert.ok((await rig.files(stream)).length >= 3, `${stream.camera} ${stream.stream}`);
    });

    it('has files that any player opens, in a readable tree', async () => {
      const files = await rig.files();
      assert.deepEqual(await unplayable(files), []);
      for (const file of files) {
        const path = file.slice(rig.storage.length);
        const match =
          /^\/([a-z0-9-]+)\/(\d{4}-\d\d-\d\d)\/(\d\d)\/(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z)_(main|sub)\.mp4$/.exec(
            path,
          );
        assert.ok(match, path);
        const [, camera, day, hour, time, stream] = match;
        assert.equal(time!.slice(0, 13), `${day}T${hour}`);
        const { video, audio, durationS } = await probe(file);
        assert.ok(durationS > 0 && durationS < 12, `${path}: ${durationS} s`);
        assert.equal(video!.codec, camera!.startsWith('h265') ? 'hevc' : 'h264');
        const heard = camera !== 'h265' && stream === 'main';
        assert.equal(audio?.codec, heard ? 'aac' : undefined, path);
        // Sound and picture end together.
        if (audio)
          assert.ok(Math.abs(audio.durationS - durationS) < 0.5, `${path}: audio ${audio.durationS} of ${durationS} s`);
      }
    });

    it('starts files on the wall clock, at the time that their name and row say, in turn among the cameras', async () => {
      const second = new Set<number>();
      for (const stream of rig.streams) {
        const rows = rig
          .segments()
          .filter(({ camera, stream: name }) => camera === stream.camera && name === stream.stream);
        const files = await rig.files(stream);
        assert.equal(rows.length, files.length);
        for (const [i, { start, end, state }] of rows.entries()) {
          assert.ok(files[i]!.includes(new Date(start).toISOString().replaceAll(':', '-')));
          assert.notEqual(state, 'open');
          if (i === 0) continue;
          assert.ok(Math.abs(start - rows[i - 1]!.end!) < 100, 'one segment begins where the one before ends');
          assert.ok(end! - start < 12_000);
        }
        second.add(Math.round(rows[1]!.start / 1000) % 10);
      }
      assert.ok(second.size > 1, 'all cameras rotate at the same moment');
    });

    it('times every frame within half a second of the truth', async () => {
      for (const stream of rig.streams) {
        const rows = rig
          .segments()
          .filter(({ camera, stream: name }) => camera === stream.camera && name === stream.stream);
        const firsts = (await rig.frames(stream)).filter(({ sentMs }) => sentMs > from);
        const inside = firsts.filter(({ sentMs }) =>
          rows.some(({ start, end }) => sentMs > start - 500 && sentMs < end! + 500),
        );
        assert.equal(inside.length, firsts.length);
        assert.ok(Math.abs(rows[0]!.start - (await rig.frames(stream))[0]!.sentMs) < 500);
      }
    });

    it('has no gap in the ledger', () => {
      assert.deepEqual(
        rig.gaps().filter(({ start, end }) => start < to && (end ?? to) > from),
        [],
      );
    });

    it('left no process behind', () => {
      assert.deepEqual(rig.red.children(), []);
    });

    it('has told nobody the password', async () => {
      const read = async (name: string) => readFile(join(rig.red.userDir, name), 'utf8');
      const places = { log: rig.red.log, messages: await read('captured.jsonl'), flows: await read('flows.json') };
      for (const [place, text] of Object.entries(places)) {
        for (const secret of [SECRET, ENCODED, JSON.stringify(SECRET).slice(1, -1), 'viewer:']) {
          assert.ok(!text.includes(secret), `${place} has ${secret}`);
        }
      }
      const catalog = await readFile(join(rig.storage, 'catalog.sqlite'), 'latin1');
      assert.ok(!catalog.includes(SECRET) && !catalog.includes(ENCODED));
    });
  });
});
