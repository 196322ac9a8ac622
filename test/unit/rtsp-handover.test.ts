import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { ownerOf, RtspHandover } from '../../engine/ingest/rtsp-handover.ts';

describe('the handover of an RTSP address', function () {
  if (process.platform !== 'linux') return;
  const ADDRESS = 'rtsp://viewer:s3cret@camera:8554/straße?a=b';
  let handover: RtspHandover;
  beforeEach(async () => (handover = (await RtspHandover.open(ADDRESS))!));
  afterEach(() => handover.close());

  async function ask(...pieces: string[]): Promise<string> {
    const socket = connect(Number(new URL(handover.url).port), '127.0.0.1');
    socket.on('error', () => undefined); // it may be closed in the middle
    const said: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => said.push(chunk));
    for (const piece of pieces) socket.write(piece);
    await new Promise((resolve) => socket.once('close', resolve));
    return Buffer.concat(said).toString('utf8');
  }

  it('redirects a process of ours, as often as it asks', async () => {
    for (let i = 0; i < 2; i++) {
      assert.equal(
        await ask('OPTIONS rtsp://x/ RTSP/1.0\r\nCSeq: 7\r\n', 'User-Agent: x\r\n\r\n'),
        `RTSP/1.0 302 Found\r\nCSeq: 7\r\nLocation: ${ADDRESS}\r\n\r\n`,
      );
    }
  });

  it('tells nothing to what does not speak RTSP, or has no end', async () => {
    for (const text of ['GET / HTTP/1.1\r\n\r\n', '\r\n\r\n', `OPTIONS x\r\nCSeq: ${'9'.repeat(99)}\r\n\r\n`]) {
      assert.equal(await ask(text), '');
    }
    assert.equal(await ask('x'.repeat(100_000)), '');
  });

  it('tells nothing to another user', async function () {
    if (process.getuid?.() !== 0) this.skip(); // only root can become somebody else
    const port = new URL(handover.url).port;
    const script = `
      const socket = require('node:net').connect(${port}, '127.0.0.1');
      socket.on('data', (chunk) => process.stdout.write(chunk)).on('error', () => {});
      socket.write('OPTIONS rtsp://x/ RTSP/1.0\\r\\nCSeq: 1\\r\\n\\r\\n');`;
    const run = async (user: object): Promise<string> => {
      // Node that every user may run: the one of the tests is in a folder of its owner.
      const child = spawn('/proc/self/exe', ['-e', script], { ...user, stdio: ['ignore', 'pipe', 'inherit'] });
      let said = '';
      child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      assert.deepEqual(await once(child, 'close'), [0, null]);
      return said;
    };
    assert.match(await run({}), /302 Found/);
    assert.equal(await run({ uid: 65_534, gid: 65_534 }), '');
  });

  it('is not made for addresses that FFmpeg would cut off', async () => {
    assert.equal(await RtspHandover.open(`rtsp://c/${'x'.repeat(4000)}`), null);
  });

  it('ends all that hangs on it', async () => {
    const hanging = ask('OPTIONS ');
    const other = connect(Number(new URL(handover.url).port), '127.0.0.1').on('error', () => undefined);
    await once(other, 'connect');
    handover.close();
    assert.equal(await hanging, '');
  });

  it('finds the owner of a connection', () => {
    const table = [
      '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
      '   0: 0100007F:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0',
      '   1: 0100007F:1F90 0100007F:0050 01 00000000:00000000 00:00000000 00000000  1001        0 2 1 0',
      '   2: 0100007F:0050 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 3 1 0',
      '   3: 0200A8C0:1F91 0100007F:0050 01 00000000:00000000 00:00000000 00000000     0        0 4 1 0',
      '   4: 0100007F:1F92 0100007F:0050 06 00000000:00000000 00:00000000 00000000     0        0 0 1 0',
    ].join('\n');
    assert.equal(ownerOf(table, 0x1f90, 0x50), 1001);
    for (const from of [0x1f91, 0x1f92, 0x1f93, -1]) assert.equal(ownerOf(table, from, 0x50), null);
    assert.equal(ownerOf('', 1, 2), null);
  });
});
