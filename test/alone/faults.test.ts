import assert from 'node:assert/strict';
import { blockedLoop } from '../../bench/faults/blocked-loop.ts';
import { cameraHang, cameraRestart } from '../../bench/faults/camera-outage.ts';
import { clockStep } from '../../bench/faults/clock-step.ts';
import { deploy } from '../../bench/faults/deploy.ts';
import { killed } from '../../bench/faults/killed.ts';
import { TEST, type Fault } from '../../bench/faults/scale.ts';
import { storageFull, storageReadOnly, storageRemoved } from '../../bench/faults/storage.ts';

/** The faults of `bench faults`, with smaller numbers. */
describe('what is lost when things go wrong', function () {
  this.timeout(90_000);

  const faults: [string, Fault][] = [
    ['no frame while a function node blocks the event loop', blockedLoop],
    ['no frame by a Deploy', deploy],
    ['less than a second by SIGKILL of Node-RED', killed],
    ['only what was not sent when cameras restart', cameraRestart],
    ['only what was not sent when cameras hang', cameraHang],
    ['nothing but the time without room when the storage is full', storageFull],
    ['nothing but the time without it when the storage folder is removed', storageRemoved],
    ['nothing but that time when the storage is read-only', storageReadOnly],
    ['no frame when the clock steps by an hour', clockStep],
  ];
  for (const [what, fault] of faults) {
    it(what, async () => {
      const bad = (await fault(TEST)).filter(({ ok }) => !ok);
      assert.deepEqual(
        bad.map(({ name, value, unit, limit }) => `${name}: ${value} ${unit} (limit ${limit})`),
        [],
      );
    });
  }
});
