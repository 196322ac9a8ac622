/** What was recorded and what is now, over HTTP: every frame that a player gets is told by its number. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { hash } from 'bcryptjs';
import sharp from 'sharp';
import WebSocket from 'ws';
import type { Right } from '../../engine/http/tokens.ts';
import { stampsIn, type FrameStamp } from '../support/frames.ts';
import { Rig } from '../support/rig.ts';

const ALL: Right[] = ['live', 'playback', 'export', 'admin'];

/** Frames that follow each other without one missing or twice. */
function assertConsecutive(stamps: readonly FrameStamp[]): void {
  stamps.slice(1).forEach(({ number }, i) => assert.equal(number, stamps[i]!.number + 1));
}

describe('playback and live view over HTTP', function () {
  this.timeout(60_000);
  let rig: Rig;
  let folder: string;
  let token: string;
  /** When the cameras went and came back. */
  let goneAt: number;
  let backAt: number;
  let endAt: number;

  const mint = async (cameras: string[] | '*', rights: Right[], minutes = 10): Promise<string> => {
    const answer = (await rig.red.post('/nvr/token', { nvr: 'nvr-store', cameras, rights, minutes })) as {
      token: string;
    };
    return answer.token;
  };
  const get = (
    path: string,
    headers: Record<string, string> = { Authorization: `Bearer ${token}` },
  ): Promise<Response> => fetch(`${rig.red.url}/nvr/${path}`, { headers });
  const bytes = async (path: string): Promise<Buffer> => {
    const response = await get(path);
    const body = Buffer.from(await response.arrayBuffer());
    assert.equal(response.status, 200, body.toString().slice(0, 300));
    return body;
  };
  const json = async <T>(path: string): Promise<T> => JSON.parse((await bytes(path)).toString()) as T;
  const save = async (name: string, data: Buffer): Promise<string> => {
    await writeFile(join(folder, name), data);
    return join(folder, name);
  };

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'flow-nvr-playback-'));
    rig = await Rig.recording({
      cameras: { yard: { main: { size: 'sub', audio: 'aac' } }, gate: { main: { video: 'h265', size: 'sub' } } },
      recorder: { segment: 4 },
    });
    token = await mint('*', ALL);
    await wait(9000);
    goneAt = Date.now();
    await rig.cameras.kill();
    await wait(4000);
    backAt = await rig.cameras.restart();
    await rig.recordingSince(backAt);
    await wait(7000);
    endAt = Date.now();
  });
  after(async () => {
    await rig.dispose();
    await rm(folder, { recursive: true, force: true });
  });

  it('plays a range over files without a seam, frame by frame', async () => {
    for (const camera of ['yard', 'gate']) {
      const [start, end] = [goneAt - 7000, goneAt - 1500];
      const playlist = (await bytes(`vod/${camera}/index.m3u8?start=${start}&end=${end}`)).toString();
      assert.match(playlist, /#EXT-X-ENDLIST/);
      assert.doesNotMatch(playlist, /DISCONTINUITY/);
      const parts = playlist.split('\n').filter((line) => line.endsWith('.m4s'));
      const files = new Set(parts.map((part) => part.split('-')[0]));
      assert.ok(files.size >= 2, 'the range should be in several files');
      const stamps: FrameStamp[] = [];
      for (const part of parts) stamps.push(...stampsIn(await bytes(`vod/${camera}/${part}`)));
      assertConsecutive(stamps);
      assert.ok(stamps[0]!.sentMs <= start && stamps[0]!.sentMs > start - 1800, `${stamps[0]!.sentMs - start}`);
      assert.ok(stamps.at(-1)!.sentMs >= end - 400);
      // The date in the playlist is when the first frame was sent.
      const date = Date.parse(/PROGRAM-DATE-TIME:(.*)/.exec(playlist)![1]!);
      assert.ok(Math.abs(date - stamps[0]!.sentMs) < 500, `${date - stamps[0]!.sentMs} ms`);
    }
  });

  it('plays in FFmpeg from the playlist alone, over a gap, with a discontinuity', async () => {
    const address = `${rig.red.url}/nvr/vod/yard/index.m3u8?start=${goneAt - 3000}&end=${backAt + 4000}&token=${token}`;
    const playlist = await (await fetch(address)).text();
    assert.equal(playlist.match(/#EXT-X-DISCONTINUITY/g)?.length, 1);
    const played = spawnSync('ffmpeg', ['-v', 'error', '-i', address, '-map', '0:v', '-f', 'framecrc', '-']);
    assert.equal(played.status, 0, played.stderr.toString());
    const frames = played.stdout
      .toString()
      .split('\n')
      .filter((line) => /^0,/.test(line)).length;
    const { coverage } = await json<{ coverage: { recorded: { start: number; end: number }[] }[] }>(
      `api/coverage?cameras=yard&start=${goneAt - 3000}&end=${backAt + 4000}`,
    );
    const seconds = coverage[0]!.recorded.reduce((sum, { start, end }) => sum + (end - start) / 1000, 0);
    assert.ok(Math.abs(frames / 25 - seconds) < 2.2, `${frames} frames for ${seconds} s`);
  });

  it('plays what is being written, and says that more will come', async () => {
    const start = Date.now() - 5000;
    const read = async (): Promise<string> =>
      (await bytes(`vod/yard/index.m3u8?start=${start}&end=${start + 60_000}`)).toString();
    const first = await read();
    assert.doesNotMatch(first, /ENDLIST/);
    await wait(6000); // parts of four seconds are added when they are whole
    const second = await read();
    const parts = (text: string): string[] => text.split('\n').filter((line) => line.endsWith('.m4s'));
    assert.ok(parts(second).length > parts(first).length);
    const stamps: FrameStamp[] = [];
    for (const part of parts(second)) stamps.push(...stampsIn(await bytes(`vod/yard/${part}`)));
    assertConsecutive(stamps);
    assert.ok(stamps.at(-1)!.sentMs > Date.now() - 7000);
  });

  it('makes a clip that begins and ends when it was asked to, with sound', async () => {
    const [start, end] = [goneAt - 6500, goneAt - 2500];
    const file = await save('clip.mp4', await bytes(`clip/yard.mp4?start=${start}&end=${end}`));
    const probe = JSON.parse(
      spawnSync('ffprobe', ['-v', 'error', '-show_format', '-show_streams', '-of', 'json', file]).stdout.toString(),
    ) as { format: { duration: string }; streams: { codec_name: string; start_time: string }[] };
    assert.deepEqual(
      probe.streams.map(({ codec_name }) => codec_name),
      ['h264', 'aac'],
    );
    assert.ok(Math.abs(Number(probe.format.duration) - 4) < 0.3, probe.format.duration);
    // Decoded: what a player shows. 25 frames a second, and no more before the start than the lead that is hidden.
    const shown = spawnSync('ffmpeg', [
      '-v',
      'error',
      '-i',
      file,
      '-map',
      '0:v',
      '-f',
      'framecrc',
      '-',
    ]).stdout.toString();
    const frames = shown.split('\n').filter((line) => /^0,/.test(line)).length;
    assert.ok(Math.abs(frames - 100) <= 4, `${frames} frames`);
    const stamps = stampsIn(await bytes(`clip/yard.mp4?start=${start}&end=${end}`));
    assertConsecutive(stamps);
    const ranged = await get(`clip/yard.mp4?start=${start}&end=${end}`, {
      Authorization: `Bearer ${token}`,
      Range: 'bytes=0-99',
    });
    assert.equal(ranged.status, 206);
    const head = Buffer.from(await ranged.arrayBuffer());
    assert.equal(head.length, 100);
    assert.equal(head.toString('latin1', 4, 8), 'ftyp');
    assert.deepEqual(
      await json(`clip/yard.json?start=${start}&end=${end}`).then((state) => (state as { state: string }).state),
      'done',
    );
  });

  it('makes a clip over a gap, and a timelapse', async () => {
    const over = await save('over.mp4', await bytes(`clip/gate.mp4?start=${goneAt - 3000}&end=${backAt + 4000}`));
    const packets = ['-v', 'error', '-select_streams', 'v', '-show_entries', 'packet=dts_time', '-of', 'csv=p=0', over];
    const times = spawnSync('ffprobe', packets).stdout.toString().trim().split('\n').map(Number);
    assert.ok(times.length > 120);
    times.slice(1).forEach((time, i) => assert.ok(time > times[i]!, `${time} follows ${times[i]}`));
    const decoded = spawnSync('ffmpeg', [
      '-v',
      'error',
      '-err_detect',
      'explode',
      '-xerror',
      '-i',
      over,
      '-f',
      'rawvideo',
      '-y',
      '/dev/null',
    ]);
    assert.equal(decoded.status, 0, decoded.stderr.toString());
    const lapse = await save(
      'lapse.mp4',
      await bytes(`clip/yard.mp4?start=${goneAt - 7000}&end=${goneAt - 1000}&speed=4`),
    );
    const duration = Number(
      spawnSync('ffprobe', [
        '-v',
        'error',
        '-show_entries',
        'format=duration',
        '-of',
        'csv=p=0',
        lapse,
      ]).stdout.toString(),
    );
    assert.ok(duration > 1.2 && duration < 1.9, `${duration} s`);
  });

  it('shows the picture of now, of a moment, and strips', async () => {
    const now = await sharp(await bytes('snapshot/yard.jpg?width=200')).metadata();
    assert.equal(now.width, 200);
    const then = await sharp(await bytes(`snapshot/gate.jpg?at=${goneAt - 3000}`)).metadata();
    assert.deepEqual([then.width, then.height], [640, 360]);
    const response = await get(`strip/yard.jpg?start=${goneAt - 8000}&end=${goneAt - 1000}&count=5&width=100`);
    assert.equal(response.status, 200);
    const times = response.headers.get('x-frame-times')!.split(',').map(Number);
    const strip = await sharp(Buffer.from(await response.arrayBuffer())).metadata();
    assert.equal(strip.width, 100 * times.length);
    times.forEach((time, i) => assert.ok(Math.abs(time - (goneAt - 8000 + i * 1400)) < 1800));
  });

  it('shows live from the current GOP on, to many, and encodes H.265 for who cannot play it', async () => {
    const open = async (path: string): Promise<{ init: { codecs: string }; frames: Buffer[]; close: () => void }> => {
      const socket = new WebSocket(`${rig.red.url.replace('http', 'ws')}/nvr/live/${path}&token=${token}`);
      const frames: Buffer[] = [];
      const init = new Promise<{ codecs: string }>((resolve, reject) => {
        socket.on('message', (data: Buffer, binary) => {
          if (binary) frames.push(data);
          else {
            const message = JSON.parse(data.toString()) as { type: string; codecs: string; message: string };
            if (message.type === 'init') resolve(message);
            if (message.type === 'error') reject(new Error(message.message));
          }
        });
        socket.on('error', reject);
        socket.on('close', () => reject(new Error('closed')));
      });
      return { init: await init, frames, close: () => socket.close() };
    };
    const [yard, again, gate, encoded] = await Promise.all([
      open('yard?stream=main'),
      open('yard?stream=main'),
      open('gate?stream=main&codecs=avc1,hvc1'),
      open('gate?stream=main&codecs=avc1'),
    ]);
    await wait(4000);
    assert.match(yard.init.codecs, /^avc1\.[0-9a-f]{6},mp4a\.40\.2$/);
    assert.match(gate.init.codecs, /^hvc1/);
    assert.match(encoded.init.codecs, /^avc1/);
    for (const { frames } of [yard, again, gate]) {
      const stamps = stampsIn(Buffer.concat(frames));
      assertConsecutive(stamps);
      assert.ok(Date.now() - stamps.at(-1)!.sentMs < 1500, `${Date.now() - stamps.at(-1)!.sentMs} ms behind`);
    }
    const file = await save('live.mp4', Buffer.concat(encoded.frames));
    const decoded = spawnSync('ffmpeg', ['-v', 'error', '-i', file, '-f', 'framecrc', '-map', '0:v', '-']);
    assert.ok(decoded.stdout.toString().split('\n').length > 40, decoded.stderr.toString());
    // Four viewers, one connection for each camera.
    const metrics = (await bytes('metrics')).toString();
    assert.match(metrics, /flow_nvr_viewers\{camera="yard"\} 2/);
    for (const { close } of [yard, again, gate, encoded]) close();
  });

  it('shows live pictures as MJPEG', async () => {
    const response = await get('live/yard.mjpeg?fps=5&width=160');
    assert.match(response.headers.get('content-type')!, /multipart\/x-mixed-replace/);
    const reader = response.body!.getReader();
    let data = Buffer.alloc(0);
    while (data.indexOf(Buffer.from([0xff, 0xd9])) < 0) data = Buffer.concat([data, (await reader.read()).value!]);
    await reader.cancel();
    const image = data.subarray(data.indexOf(Buffer.from([0xff, 0xd8])));
    assert.equal((await sharp(image).metadata()).width, 160);
  });

  it('answers what there is and what is missing', async () => {
    const { cameras } = await json<{ cameras: { camera: string; state: string }[] }>('api/cameras');
    assert.deepEqual(
      cameras.map(({ camera, state }) => [camera, state]),
      [
        ['gate', 'online'],
        ['yard', 'online'],
      ],
    );
    const { lanes } = await json<{
      lanes: { camera: string; recorded: number[][]; gaps: [number, number, string][] }[];
    }>(`api/timeline?cameras=yard,gate&start=${goneAt - 8000}&end=${endAt}&width=2000`);
    for (const { recorded, gaps } of lanes) {
      assert.equal(recorded.length, 2);
      assert.equal(gaps.length, 1);
      assert.equal(gaps[0]![2], 'camera-offline');
      assert.ok(Math.abs(gaps[0]![0] - goneAt) < 1000 && Math.abs(gaps[0]![1] - backAt) < 2500);
    }
    const page = await json<{ events: { id: string }[]; cursor: string }>('api/events?types=gap&limit=1');
    const next = await json<{ events: { id: string }[] }>(`api/events?types=gap&limit=1&cursor=${page.cursor}`);
    assert.ok(page.events[0]!.id !== next.events[0]!.id);
    const { storage } = await json<{ storage: { freeBytes: number; cameras: { bytes: number }[] }[] }>('api/storage');
    assert.ok(storage[0]!.freeBytes > 0 && storage[0]!.cameras.every((camera) => camera.bytes > 10_000));
    const metrics = (await bytes('metrics')).toString();
    assert.match(metrics, /flow_nvr_camera_up\{camera="yard"\} 1/);
    assert.match(metrics, /flow_nvr_playback_viewers\{camera="yard"\} [0-9]/);
    assert.match(metrics, /flow_nvr_gap_seconds_total\{camera="yard",cause="camera-offline"\} [2-9]/);
    const health = await get('health', {});
    assert.deepEqual([health.status, await health.json()], [200, { status: 'ok' }]);
  });

  it('is closed to everybody else', async () => {
    const other = await mint(['gate'], ALL);
    const weak = await mint('*', ['live']);
    const expired = await mint('*', ALL, 0.00001);
    await wait(1500);
    const [header, payload, signature] = token.split('.');
    const forged = Buffer.from(Buffer.from(payload!, 'base64url').toString().replace('live', 'evil')).toString(
      'base64url',
    );
    const range = `start=${goneAt - 3000}&end=${goneAt}`;
    const rows: [path: string, token: string | null, status: number][] = [
      [`vod/yard/index.m3u8?${range}`, null, 401],
      [`vod/yard/index.m3u8?${range}`, 'nonsense', 401],
      [`vod/yard/index.m3u8?${range}`, expired, 401],
      [`vod/yard/index.m3u8?${range}`, `${header}.${forged}.${signature}`, 401],
      [`vod/yard/index.m3u8?${range}`, `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`, 401],
      [`vod/yard/index.m3u8?${range}`, other, 403],
      [`api/timeline?cameras=yard&${range}`, other, 403],
      [`clip/yard.mp4?${range}`, weak, 403],
      ['metrics', weak, 403],
      ['snapshot/yard.jpg', null, 401],
      ['live/yard.mjpeg', null, 401],
      [`vod/..%2f..%2fetc/index.m3u8?${range}`, token, 400],
      ['vod/yard/..%2f..%2fcatalog.sqlite', token, 400],
      ['vod/yard/init-1.mp4%00.txt', token, 400],
      ['vod/yard/%', token, 400],
      ['vod/yard/99999-1760000000000-0-1.m4s', token, 404],
      ['vod/yard/index.m3u8?start=5&end=1', token, 400],
      ['vod/yard/index.m3u8?start=x&end=y', token, 400],
      ['vod/yard/index.m3u8?start[]=1&end=2', token, 400],
      [`vod/yard/index.m3u8?start=${goneAt - 90_000_000}&end=${goneAt}`, token, 400],
      ['vod/yard/index.m3u8?start=1000&end=2000', token, 404],
      ['clip/yard.mp4?start=1000&end=2000', token, 404],
      [`clip/yard.mp4?${range}&speed=-1`, token, 400],
      ['snapshot/yard.jpg?at=1000', token, 404],
      ['snapshot/yard.jpg?width=1e9', token, 400],
      ['snapshot/nobody.jpg', token, 404],
      ['api/events?cursor=xyz', token, 400],
      ['nothing/here', token, 404],
    ];
    for (const [path, bearer, status] of rows) {
      const response = await get(path, bearer === null ? {} : { Authorization: `Bearer ${bearer}` });
      const text = await response.text();
      assert.equal(response.status, status, `${path}: ${text}`);
      assert.ok(!text.includes(rig.storage) && !text.includes('/work') && !text.includes('node_modules'), text);
    }
    // A part of one camera's footage under the name of another.
    const [part] = (await bytes(`vod/gate/index.m3u8?${range}`))
      .toString()
      .split('\n')
      .filter((line) => line.endsWith('.m4s'));
    assert.equal((await get(`vod/yard/${part}`)).status, 404);
    for (const bad of ['', `token=${expired}`, `token=${other}`]) {
      const socket = new WebSocket(`${rig.red.url.replace('http', 'ws')}/nvr/live/yard?${bad}`);
      const [, response] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
      assert.ok([401, 403].includes(response.statusCode));
    }
  });

  it('lets a token end before its time, and keys be replaced', async () => {
    const [lost, kept] = [await mint('*', ['live']), await mint('*', ['live'])];
    const socket = new WebSocket(`${rig.red.url.replace('http', 'ws')}/nvr/live/yard?token=${lost}`);
    await once(socket, 'message');
    const status = async (bearer: string): Promise<number> =>
      (await get('snapshot/yard.jpg', { Authorization: `Bearer ${bearer}` })).status;
    assert.equal(await status(lost), 200);
    assert.deepEqual(await rig.red.post('/nvr/token/revoke', { nvr: 'nvr-store', token: lost }), { revoked: true });
    assert.equal(await status(lost), 401);
    const [code] = (await once(socket, 'close')) as [number];
    assert.equal(code, 4401);
    for (let i = 0; i < 2; i++) await rig.red.post('/nvr/token/rotate', { nvr: 'nvr-store' });
    assert.equal(await status(kept), 200);
    await rig.red.post('/nvr/token/rotate', { nvr: 'nvr-store' });
    assert.equal(await status(kept), 401);
    token = await mint('*', ALL);
  });

  it('refuses what makes no sense, whatever it is, and goes on', async () => {
    let seed = 7;
    const random = (below: number): number => (seed = (seed * 1103515245 + 12345) % 2147483648) % below;
    const pieces = [
      'vod',
      'yard',
      'gate',
      '..',
      '%2e%2e',
      '%00',
      'index.m3u8',
      'clip',
      'init-1.mp4',
      '1-1760000000000-0-1.m4s',
      '💥',
      '%ff',
    ];
    const routes = [
      'vod/X/index.m3u8',
      'clip/X.mp4',
      'clip/X.json',
      'strip/X.jpg',
      'vod/X/X',
      'api/timeline',
      'api/coverage',
    ];
    const pairs = ['start=1', 'end=9e9', 'start=-1', 'stream=x', 'at=NaN', 'width=0', 'cameras=,', 'limit=0', 'a[b]=c'];
    const statuses = new Set<number>();
    const ask = async (i: number): Promise<void> => {
      const piece = (): string => pieces[random(pieces.length)]!;
      const path =
        i % 2 === 0
          ? routes[random(routes.length)]!.replaceAll('X', piece)
          : Array.from({ length: 1 + random(4) }, piece).join('/');
      const address = encodeURI(path).replaceAll('%25', '%');
      // What leads out of our path before it is sent is not ours to answer.
      if (!new URL(address, 'http://x/nvr/').pathname.startsWith('/nvr/')) return;
      const query = Array.from({ length: random(4) }, () => pairs[random(pairs.length)]).join('&');
      const bearer = i % 10 === 0 ? { Authorization: 'Bearer x.y.z' } : { Authorization: `Bearer ${token}` };
      const response = await get(`${address}?${query}`, bearer);
      const text = await response.text();
      statuses.add(response.status);
      assert.ok(response.status >= 400 && response.status < 500, `${path}?${query}: ${response.status} ${text}`);
      assert.ok(!text.includes(rig.storage) && !text.includes('node_modules'), text);
    };
    for (let i = 0; i < 10_000; i += 50) await Promise.all(Array.from({ length: 50 }, (_, k) => ask(i + k)));
    assert.ok(statuses.size >= 2);
    assert.ok(rig.red.running);
  });

  it('cost the recording nothing', async () => {
    const counts = await rig.count(backAt + 2000, Date.now() - 2500);
    for (const [stream, { lost }] of counts) assert.equal(lost, 0, stream);
  });
});

describe('a Node-RED that asks for a password', function () {
  this.timeout(60_000);
  let rig: Rig;
  before(async () => {
    const pass = await hash('only for tests', 8);
    rig = await Rig.recording({
      ...{ cameras: { yard: { main: { size: 'sub' } } }, recorder: { segment: 4 } },
      env: { HTTP_NODE_AUTH: JSON.stringify({ user: 'anna', pass }) },
    });
  });
  after(() => rig.dispose());

  it('asks for it on our routes and on our sockets, beside the token', async () => {
    const minted = await rig.red.post('/nvr/token', {
      ...{ nvr: 'nvr-store', cameras: '*', rights: ['live'], minutes: 1 },
    });
    const { token } = minted as { token: string };
    const authorization = (password: string): string => `Basic ${Buffer.from(`anna:${password}`).toString('base64')}`;
    const path = `snapshot/yard.jpg?token=${token}`;
    const live = `${rig.red.url.replace('http', 'ws')}/nvr/live/yard?token=`;
    for (const headers of [{}, { Authorization: authorization('wrong') }]) {
      assert.equal((await fetch(`${rig.red.url}/nvr/${path}`, { headers })).status, 401);
      const socket = new WebSocket(live + token, { headers });
      const [, response] = (await once(socket, 'unexpected-response')) as [unknown, { statusCode: number }];
      assert.equal(response.statusCode, 401);
    }
    const headers = { Authorization: authorization('only for tests') };
    assert.equal((await fetch(`${rig.red.url}/nvr/${path}`, { headers })).status, 200);
    const socket = new WebSocket(live + token, { headers });
    await once(socket, 'message');
    socket.close();
    const tokenless = new WebSocket(live, { headers });
    const [, response] = (await once(tokenless, 'unexpected-response')) as [unknown, { statusCode: number }];
    assert.equal(response.statusCode, 401);
  });
});
