import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { newPulse, watchPulse } from '../../engine/thread/pulse.ts';

const LOOK_MS = 100;
/** Beats for a while, says that it stops, and hangs. */
const THREAD = `
  const { parentPort, workerData } = require('node:worker_threads');
  setInterval(() => Atomics.add(workerData, 0, 1), 5);
  setTimeout(() => { parentPort.postMessage('hangs'); setTimeout(() => { for (;;); }, 50); }, 1000);
`;

describe('the pulse of a thread', () => {
  it('is missed when it hangs, and not before', async () => {
    const pulse = newPulse();
    const told: string[] = [];
    const missed = new Promise<void>((resolve) => {
      watchPulse(
        pulse,
        () => {
          told.push('missed');
          resolve();
        },
        LOOK_MS,
      );
    });
    const worker = new Worker(THREAD, { eval: true, workerData: pulse });
    try {
      worker.once('message', (message: string) => told.push(message));
      await once(worker, 'message');
      const keepsUs = setInterval(() => undefined, 1000); // the watch does not
      await missed;
      clearInterval(keepsUs);
      assert.deepEqual(told, ['hangs', 'missed']);
    } finally {
      await worker.terminate();
    }
  });

  it('is not missed of a thread that is still being loaded, nor after the watch', async () => {
    const pulse = newPulse();
    const unwatch = watchPulse(pulse, () => assert.fail('missed'), 2);
    await new Promise((resolve) => setTimeout(resolve, 100));
    Atomics.add(pulse, 0, 1);
    unwatch();
    await new Promise((resolve) => setTimeout(resolve, 100));
  });
});
