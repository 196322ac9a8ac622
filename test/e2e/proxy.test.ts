import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { startCameras, type Cameras } from '../support/cameras.ts';
import { countFrames, readFrames } from '../support/frames.ts';
import { InterleavedSplitter, startImpatientProxy, type ImpatientProxy } from '../support/impatient-proxy.ts';

/** What the other e2e tests stand on: cameras whose frames can be counted, and a proxy that really drops. */
describe('simulated cameras and the impatient proxy', function () {
  this.timeout(60_000);
  let folder: string;
  let cameras: Cameras;
  let proxy: ImpatientProxy;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flow-nvr-proxy-'));
    cameras = await startCameras({
      main: { size: 'main' },
      h265: { video: 'h265', audio: 'ulaw' },
      aac: { audio: 'aac' },
    });
    proxy = await startImpatientProxy(cameras.port);
  });
  after(async () => {
    await proxy.stop();
    await cameras.stop();
    await rm(folder, { recursive: true });
  });

  function record(url: string, file: string, seconds: number): ChildProcess {
    const options = ['-v', 'fatal', '-nostdin', '-rtsp_transport', 'tcp', '-i', url, '-t', `${seconds}`];
    return spawn('ffmpeg', [...options, '-c:v', 'copy', '-c:a', 'aac', file], { stdio: 'ignore' });
  }

  it('numbers every frame of H.264 and H.265, and none is lost through the proxy', async () => {
    const names = ['main', 'h265', 'aac'];
    const clients = names.map((name) => record(cameras.url(name, proxy.port), join(folder, `${name}.mp4`), 4));
    await Promise.all(clients.map((client) => once(client, 'close')));
    for (const name of names) {
      const count = countFrames(await readFrames(join(folder, `${name}.mp4`)));
      assert.ok(count.frames >= 95, `${name}: ${count.frames} frames`);
      assert.deepEqual([count.lost, count.duplicates, count.outOfOrder], [0, 0, 0], name);
      assert.ok(Math.abs(count.last!.sentMs - count.first!.sentMs - (count.frames - 1) * 40) < 100, `${name}: times`);
    }
    assert.equal(proxy.count.dropped, 0);
    const stats = await cameras.stats();
    assert.ok(stats['main']!.sent >= 95);
  });

  it('drops what a client that stops reading for 5 s has not read for 1 s', async () => {
    const client = record(cameras.url('main', proxy.port), join(folder, 'stopped.mp4'), 12);
    await wait(3000);
    client.kill('SIGSTOP');
    await wait(5000);
    client.kill('SIGCONT');
    await once(client, 'close');
    const { lost } = countFrames(await readFrames(join(folder, 'stopped.mp4')));
    assert.ok(proxy.count.dropped > 1000, `${proxy.count.dropped} packets dropped`);
    assert.ok(lost > 75 && lost < 130, `${lost} frames lost, about 100 expected`);
  });

  it('goes on numbering over a restart of the cameras', async () => {
    const before = (await cameras.stats())['aac']!.now;
    await cameras.kill();
    await cameras.restart();
    const after = (await cameras.stats())['aac']!.now;
    assert.ok(after > before && after < before + 250, `${before} → ${after}`);
  });

  it('splits packets and responses wherever the chunks end', () => {
    const packet = Buffer.from([0x24, 0, 0, 3, 1, 2, 3]);
    const response = Buffer.from('RTSP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody');
    const whole = Buffer.concat([packet, response, packet]);
    for (let cut = 0; cut <= whole.length; cut++) {
      const splitter = new InterleavedSplitter();
      const messages = [whole.subarray(0, cut), whole.subarray(cut)].flatMap((chunk) => splitter.push(chunk));
      assert.deepEqual(
        messages.map(({ media, data }) => [media, data.length]),
        [
          [true, packet.length],
          [false, response.length],
          [true, packet.length],
        ],
      );
    }
  });
});
