import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { setTimeout as wait } from 'node:timers/promises';
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { PacedPipe } from '../../engine/ingest/paced-pipe.ts';
import { GopRing, type TimedFragment } from '../../engine/media/gop-ring.ts';
import { SLAB_BYTES, takeSlab } from '../../engine/media/slab.ts';
import type { WriterRequest } from '../../engine/recording/file-writer.ts';
import { WriteQueue } from '../../engine/recording/write-queue.ts';

describe('memory that is used again', () => {
  it('is not what the ring still holds', () => {
    const sizes = fc.array(fc.record({ bytes: fc.integer({ min: 1, max: SLAB_BYTES / 2 }), key: fc.boolean() }), {
      minLength: 5,
      maxLength: 60,
    });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 0, max: 5000 }), (fragments, keepMs) => {
        const ring = new GopRing();
        ring.keepMs = keepMs;
        let slab = takeSlab();
        let used = 0;
        fragments.forEach(({ bytes, key }, i) => {
          if (used + bytes > slab.length) {
            slab = takeSlab();
            used = 0;
          }
          const data = slab.subarray(used, used + bytes).fill(i);
          used += bytes;
          const times = { startMs: i * 100, endMs: (i + 1) * 100, startTicks: i, durationTicks: 1, tickMs: 100 };
          ring.push({
            ...times,
            data,
            key: key || i === 0,
            frames: 1,
            decodeTimes: [],
            sampleCounts: [],
          } satisfies TimedFragment);
          for (const held of ring.since(0)) assert.ok(held.data.every((byte) => byte === held.startTicks));
        });
      }),
      { numRuns: 20 },
    );
  });

  it('carries every byte to the writer, also when buffers are few and fragments large', async () => {
    const received = new Map<string, ReturnType<typeof createHash>>();
    const queue: WriteQueue = new WriteQueue((requests: WriterRequest[], buffers) => {
      for (const request of requests) {
        if (request.op !== 'append') continue;
        const hash = received.get(request.id) ?? createHash('sha1');
        received.set(request.id, hash.update(request.data));
      }
      queue.recycle(buffers);
    });
    const expected = new Map<string, ReturnType<typeof createHash>>();
    for (let i = 0; i < 200; i++) {
      const id = `file${i % 3}`;
      const bytes = i === 70 ? 3_000_000 : 1 + ((i * 7919) % 400_000);
      queue.append(id, bytes, (target, offset) => target.fill(i, offset, offset + bytes));
      expected.set(id, (expected.get(id) ?? createHash('sha1')).update(Buffer.alloc(bytes, i)));
      if (i % 5 === 0) await wait(1);
    }
    await wait(5);
    for (const [id, hash] of expected) assert.equal(received.get(id)!.digest('hex'), hash.digest('hex'));
  });
});

describe('paced pipe', () => {
  const script = (body: string): string[] => ['-e', body];

  async function collect(body: string): Promise<{ bytes: number; hash: string }> {
    const hash = createHash('sha1');
    let bytes = 0;
    await new Promise<void>((resolve, reject) => {
      const data = (chunk: Buffer): void => {
        bytes += chunk.length;
        hash.update(chunk);
      };
      PacedPipe.open({ data, end: resolve }).then((pipe) => {
        spawn(process.execPath, script(body), { stdio: ['ignore', pipe!.childEnd, 'ignore'] });
        pipe!.childEnd.destroy();
        pipe!.eager = false;
      }, reject);
    });
    return { bytes, hash: hash.digest('hex') };
  }

  it('delivers all that a child writes, far more than the socket holds, up to its end', async () => {
    const { bytes, hash } = await collect(
      'const b=Buffer.alloc(20e6,7);let o=0;while(o<b.length){try{o+=require("fs").writeSync(1,b,o)}catch(e){if(e.code!=="EAGAIN")throw e}}',
    );
    assert.equal(bytes, 20e6);
    assert.equal(hash, createHash('sha1').update(Buffer.alloc(20e6, 7)).digest('hex'));
  });

  it('ends when the child ends without a word', async () => {
    assert.equal((await collect('process.exit(3)')).bytes, 0);
  });

  it('tells nothing after it is closed', async () => {
    let told = 0;
    const pipe = await PacedPipe.open({ data: () => told++, end: () => told++ });
    pipe!.childEnd.write('late');
    pipe!.close();
    await wait(250);
    assert.equal(told, 0);
  });
});
