/** Bytes of strangers on raw sockets: a real Node-RED that records stays up, says nothing, and keeps nothing of them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdir, readlink } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { hash } from 'bcryptjs';
import { capture, tab, TAB } from '../support/flow.ts';
import { problemsOf } from '../support/hostile-answers.ts';
import { NodeRed, type FlowNode } from '../support/node-red.ts';
import { newSeed, RawInputs, type Step } from '../support/raw-inputs.ts';

/** Both together make more than 10,000. */
const INPUTS = 5100;
const AT_ONCE = 40;
/** A step may wait for an answer that never comes; the next goes on then. */
const PATIENCE_MS = 30;

const upgrade = (path: string, version = '1.1'): string =>
  [
    ...[`GET ${path} HTTP/${version}`, 'Host: x', 'Connection: Upgrade', 'Upgrade: websocket'],
    ...['Sec-WebSocket-Version: 13', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', '', ''],
  ].join('\r\n');
const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`;

function flow(storage: string): FlowNode[] {
  const recorder = { mode: 'continuous', streams: 'main', preRoll: 5, postRoll: 10, segment: 4, schedule: [] };
  return [
    ...tab(),
    ...['recording', 'gap'].flatMap(capture),
    { id: 'nvr-store', type: 'nvr-config', name: 'NVR', storage, catalog: '', httpPath: 'nvr', ffmpegPath: '' },
    {
      ...{ id: 'source', type: 'camera-source', z: TAB, name: 'yard', nvr: 'nvr-store', camera: 'yard', subUrl: '' },
      ...{ url: 'lavfi:testsrc2=size=160x90:rate=5', transport: 'tcp', audio: false, wires: [['recorder-1'], []] },
    },
    {
      ...{ id: 'recorder-1', type: 'recorder', z: TAB, name: 'Recorder', nvr: 'nvr-store', ...recorder },
      wires: [['capture-recording'], ['capture-gap']],
    },
  ];
}

/** Sends what an input says, and gives what came back. */
async function converse(port: number, steps: readonly Step[]): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: false });
  const chunks: Buffer[] = [];
  socket.on('data', (chunk) => chunks.push(chunk));
  socket.on('error', () => undefined); // what hostile clients get now and then
  const closed = new Promise((resolve) => socket.once('close', resolve));
  await Promise.race([once(socket, 'connect').catch(() => undefined), closed]);
  for (const step of steps) {
    if (socket.destroyed) break;
    if ('send' in step) socket.write(step.send);
    else if ('wait' in step) await Promise.race([moved(socket), closed, wait(PATIENCE_MS)]);
    else await leave(socket, step.close, closed);
  }
  return Buffer.concat(chunks);
}

const moved = (socket: Socket): Promise<unknown> => new Promise((resolve) => socket.once('data', resolve));

async function leave(socket: Socket, how: 'fin' | 'rst', closed: Promise<unknown>): Promise<void> {
  if (how === 'rst') socket.resetAndDestroy();
  else socket.end();
  await Promise.race([closed, wait(PATIENCE_MS)]);
  socket.destroy();
}

/** Of the answers that came on one connection. */
function problemsIn(came: Buffer): string[] {
  const statuses = [...came.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status));
  return problemsOf({ status: Math.max(0, ...statuses), headers: {}, body: came });
}

for (const asked of [false, true]) {
  describe(`raw sockets${asked ? ', where httpNodeAuth asks for a password' : ''}`, function () {
    this.timeout(120_000);
    const authorization = asked ? `Basic ${Buffer.from('anna:only for tests').toString('base64')}` : '';
    let red: NodeRed;
    let token: string;

    const healthy = async (): Promise<void> => {
      assert.ok(red.running, red.log.slice(-2000));
      const answer = await fetch(`${red.url}/nvr/health`, { headers: { ...(asked ? { authorization } : {}) } });
      assert.equal(answer.status, 200);
      assert.doesNotMatch(red.log, /Uncaught|\n\s+at .*:\d+:\d+/);
    };
    /** Sockets that the process has open, on either side. */
    const sockets = async (): Promise<number> => {
      const folder = `/proc/${red.pid}/fd`;
      const links = await Promise.all((await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => '')));
      return links.filter((link) => link.startsWith('socket:')).length;
    };
    const recordedSince = (since: number): Promise<unknown> =>
      red.waitFor<{ payload: { phase: string } }>(
        'recording',
        ({ payload }, at) => payload.phase === 'segment' && at > since,
        60_000,
      );

    before(async () => {
      const pass = await hash('only for tests', 4);
      red = await NodeRed.create(asked ? { env: { HTTP_NODE_AUTH: JSON.stringify({ user: 'anna', pass }) } } : {});
      await red.start();
      await red.deploy(flow(join(red.userDir, 'nvr')));
      await recordedSince(0);
      const answer = await red.post('/nvr/token', { nvr: 'nvr-store', cameras: '*', rights: ['live'], minutes: 10 });
      ({ token } = answer as { token: string });
    });
    after(() => red.dispose());

    const packets: Record<string, string> = {
      'an upgrade behind a request': get('/nvr/health') + upgrade('/nvr/feed'),
      'an upgrade behind two requests': get('/nvr/api/cameras') + get('/nvr/health') + upgrade('/nvr/live/yard'),
      'an upgrade that nobody wants behind a request': get('/nvr/api/cameras') + upgrade('/nobody'),
      'two upgrades': upgrade('/nvr/feed') + upgrade('/nvr/feed'),
      'an upgrade of HTTP/1.0': upgrade('/nvr/feed', '1.0'),
      'an address for which Node’s old parser throws': upgrade('http://%ff@x/'),
      'the same without a scheme': upgrade('//u%ff@x/'),
      'the same with a backslash': upgrade('/\\u%ff@x/'),
    };
    for (const [name, packet] of Object.entries(packets)) {
      it(`outlive ${name}, and the connection ends`, async () => {
        const socket = connect(red.port, '127.0.0.1');
        socket.resume().on('error', () => undefined);
        socket.write(packet);
        await once(socket, 'close');
        await healthy();
      });
    }

    it(`outlive ${INPUTS} connections of strangers`, async () => {
      const seed = newSeed();
      const before = await sockets();
      const inputs = new RawInputs(seed, { token, camera: 'yard', authorization });
      const found: string[] = [];
      let left = INPUTS;
      const one = async (): Promise<void> => {
        while (left-- > 0 && red.running) {
          const steps = inputs.next();
          const problems = problemsIn(await converse(red.port, steps));
          if (problems.length > 0) found.push(`${problems.join(', ')} for ${shown(steps)}`);
        }
      };
      await Promise.all(Array.from({ length: AT_ONCE }, one));
      assert.deepEqual(found.slice(0, 5), [], `seed ${seed}`);
      assert.ok(red.running, `seed ${seed}\n${red.log.slice(-2000)}`);
      await healthy();
      const endAt = Date.now();
      await recordedSince(endAt);
      assert.deepEqual(await red.captured('gap'), []);
      // Those of `healthy` and of the post above may be kept alive for a moment.
      while ((await sockets()) > before) await wait(100);
    });
  });
}

function shown(steps: readonly Step[]): string {
  return JSON.stringify(steps.map((step) => ('send' in step ? step.send.toString('latin1').slice(0, 400) : step)));
}
