/** Every kind of address that a camera-source takes, each from a real server of that kind, recorded and played back. */
import assert from 'node:assert/strict';
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { CameraMessage, RecordingMessage } from '../../engine/types.ts';
import { ingestArgs } from '../../engine/ingest/ffmpeg-args.ts';
import { parseSource } from '../../engine/ingest/source-url.ts';
import { startCameras, type Cameras } from '../support/cameras.ts';
import { capture, entrance, tab, TAB } from '../support/flow.ts';
import { freePort, NodeRed } from '../support/node-red.ts';

const PICTURE = ['-re', '-f', 'lavfi', '-i', 'testsrc2=size=320x180:rate=10'];
const H264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-g', '10', '-pix_fmt', 'yuv420p'];
const ONLINE_MS = 25_000;

describe('addresses of every kind', function () {
  this.timeout(90_000);
  const processes: ChildProcess[] = [];
  const servers: Server[] = [];
  let folder: string;
  let cameras: Cameras;
  let red: NodeRed;
  let sources: Record<string, { url: string; transport?: string; codec: string }>;

  const ffmpeg = (...args: string[]): void => {
    processes.push(spawn('ffmpeg', ['-v', 'error', '-nostdin', '-y', ...args], { stdio: 'ignore' }));
  };

  const serve = async (handler: RequestListener): Promise<string> => {
    const server = createServer(handler);
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flow-nvr-sources-'));
    const clip = join(folder, 'clip.mp4');
    const made = spawnSync('ffmpeg', ['-v', 'error', ...PICTURE.slice(1), '-t', '2', ...H264, clip]);
    assert.equal(made.status, 0, made.stderr.toString());
    const rtmp = `rtmp://127.0.0.1:${await freePort()}/live/cam`;
    ffmpeg(...PICTURE, ...H264, '-f', 'flv', '-listen', '1', rtmp);
    ffmpeg(...PICTURE, ...H264, '-f', 'hls', '-hls_time', '1', '-hls_flags', 'delete_segments', join(folder, 'a.m3u8'));
    const hls = await serve((request, response) => {
      const file = join(folder, basename(request.url ?? ''));
      if (existsSync(file)) createReadStream(file).pipe(response);
      else response.writeHead(404).end();
    });
    const mjpeg = await serve((request, response) => {
      const args = ['-v', 'error', ...PICTURE, '-c:v', 'mjpeg', '-f', 'mpjpeg', '-boundary_tag', 'x', 'pipe:1'];
      const camera = spawn('ffmpeg', args, { stdio: ['ignore', 'pipe', 'ignore'] });
      processes.push(camera);
      response.writeHead(200, { 'Content-Type': 'multipart/x-mixed-replace; boundary=x' });
      camera.stdout.pipe(response);
      request.on('close', () => camera.kill());
    });
    cameras = await startCameras({ udp: { size: 'sub' }, tunnel: { size: 'sub' } });
    sources = {
      udp: { url: cameras.url('udp'), transport: 'udp', codec: 'h264' },
      tunnel: { url: cameras.url('tunnel'), transport: 'http', codec: 'h264' },
      rtmp: { url: rtmp, codec: 'h264' },
      hls: { url: `${hls}/a.m3u8`, codec: 'h264' },
      mjpeg: { url: `${mjpeg}/video`, codec: 'h264' },
      file: { url: clip, codec: 'h264' },
      lavfi: { url: 'lavfi:testsrc2=size=320x180:rate=10', codec: 'h264' },
    };
    red = await NodeRed.create();
    await red.start();
    await red.deploy([
      ...tab(),
      ...['camera', 'recording'].flatMap(capture),
      ...entrance('recorder', ['the-recorder']),
      {
        ...{ id: 'store', type: 'nvr-config', name: '', catalog: '', httpPath: 'nvr', ffmpegPath: '' },
        storage: folder,
      },
      ...Object.entries(sources).map(([id, { url, transport }]) => ({
        ...{
          id: `source-${id}`,
          type: 'camera-source',
          z: TAB,
          name: id,
          nvr: 'store',
          camera: id,
          subUrl: '',
          audio: true,
        },
        ...{ url, transport: transport ?? 'tcp', wires: [['the-recorder', 'capture-camera'], []] },
      })),
      {
        ...{
          id: 'the-recorder',
          type: 'recorder',
          z: TAB,
          name: '',
          nvr: 'store',
          mode: 'continuous',
          streams: 'main',
        },
        ...{ preRoll: 5, postRoll: 10, segment: 3, schedule: [], wires: [['capture-recording'], []] },
      },
    ]);
  });

  after(async () => {
    await red.dispose();
    await cameras.stop();
    for (const child of processes) child.kill('SIGKILL');
    for (const server of servers) {
      server.closeAllConnections();
      server.close();
    }
    await rm(folder, { recursive: true, force: true });
  });

  for (const id of ['udp', 'tunnel', 'rtmp', 'hls', 'mjpeg', 'file', 'lavfi']) {
    it(`${id}: is online, and its file plays`, async () => {
      const online = await red.waitFor<{ payload: CameraMessage }>(
        'camera',
        ({ payload }) => payload.camera === id && payload.state === 'online',
        ONLINE_MS,
      );
      assert.match(online.msg.payload.streams.main!.codecs, /^avc1\./);
      const segment = await red.waitFor<{ payload: RecordingMessage }>(
        'recording',
        ({ payload }) => payload.camera === id && payload.phase === 'segment',
        15_000,
      );
      const { payload } = segment.msg;
      assert.ok(payload.phase === 'segment' && payload.end !== null && payload.end - payload.start > 500);
      const probe = [
        '-v',
        'error',
        '-count_frames',
        '-show_entries',
        'stream=codec_name,nb_read_frames',
        '-of',
        'json',
      ];
      const { streams } = JSON.parse(spawnSync('ffprobe', [...probe, payload.file]).stdout.toString()) as {
        streams: { codec_name: string; nb_read_frames: string }[];
      };
      assert.equal(streams[0]!.codec_name, sources[id]!.codec);
      const frames = Number(streams[0]!.nb_read_frames);
      assert.ok(frames >= 5, `${frames} frames`);
      // As long as it took, whatever the stream says of its rate.
      const rate = frames / ((payload.end - payload.start) / 1000);
      const fps = ['udp', 'tunnel'].includes(id) ? 25 : 10;
      assert.ok(rate > fps * 0.75 && rate < fps * 1.3, `${rate} frames a second`);
    });
  }

  it('mjpeg: keeps each picture of those that come in lumps', async () => {
    const one = ['-v', 'error', ...PICTURE.slice(1), '-frames:v', '1', '-c:v', 'mjpeg', '-f', 'image2pipe', 'pipe:1'];
    const jpeg = spawnSync('ffmpeg', one).stdout;
    const part = Buffer.concat([
      Buffer.from(`--x\r\nContent-Type: image/jpeg\r\nContent-Length: ${jpeg.length}\r\n\r\n`),
      jpeg,
      Buffer.from('\r\n'),
    ]);
    const url = await serve((_, response) => {
      response.writeHead(200, { 'Content-Type': 'multipart/x-mixed-replace; boundary=x' });
      let lumps = 0;
      const timer = setInterval(() => {
        response.write(Buffer.concat(Array<Buffer>(8).fill(part)));
        if (++lumps < 6) return;
        clearInterval(timer);
        response.end();
      }, 300);
    });
    const transcode = { video: true, audio: false, arrival: true };
    const args = ingestArgs(parseSource(`${url}/video.mjpg`), { transport: 'tcp', audio: false, transcode });
    const file = join(folder, 'lumps.mp4');
    const child = spawn('ffmpeg', [...args.slice(0, -1), file], { stdio: 'ignore' });
    await once(child, 'exit');
    const count = ['-v', 'error', '-count_frames', '-show_entries', 'stream=nb_read_frames', '-of', 'csv=p=0', file];
    assert.equal(Number(spawnSync('ffprobe', count).stdout.toString()), 48);
  });
});
