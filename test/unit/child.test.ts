import assert from 'node:assert/strict';
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lowerPriority } from '../../engine/ingest/ffmpeg-process.ts';
import { H264Encoder } from '../../engine/playback/h264-encoder.ts';

describe('a child process', () => {
  let folder: string;
  before(() => (folder = mkdtempSync(join(tmpdir(), 'flow-nvr-child-'))));
  after(() => rmSync(folder, { recursive: true, force: true }));

  it('that is gone when its priority is lowered ends nothing', async () => {
    const gone = spawn('true');
    await once(gone, 'close');
    const child = Object.assign(new EventEmitter(), { pid: gone.pid }) as unknown as ChildProcess;
    lowerPriority(child, 10);
    child.emit('spawn'); // throws what a listener throws
  });

  it('for which there are no descriptors left is an error for its caller, and ends nothing', () => {
    const module = fileURLToPath(new URL('../../engine/ingest/ffmpeg-process.ts', import.meta.url));
    const script = `
      import { openSync, closeSync } from 'node:fs';
      import { setTimeout as wait } from 'node:timers/promises';
      import { spawnFfmpeg, runJob } from ${JSON.stringify(module)};
      const open = [];
      try { for (;;) open.push(openSync('/dev/null')); } catch {}
      let said = '';
      try { spawnFfmpeg('true', [], 'pipe'); } catch (error) { said = error.message; }
      await runJob('true', [], { timeoutMs: 5000 }).catch((error) => (said += '; ' + error.message));
      await wait(50);
      for (const descriptor of open) closeSync(descriptor);
      console.log(said);
    `;
    const file = join(folder, 'script.ts');
    writeFileSync(file, script);
    const said = execFileSync('sh', ['-c', `ulimit -n 200; exec "${process.execPath}" "${file}"`], {
      encoding: 'utf8',
    });
    assert.match(said, /start no more processes.*; .*start no more processes/);
  });

  it('that encodes for a viewer and gives no MP4 is an error for that viewer', async () => {
    const ffmpegPath = join(folder, 'ffmpeg.sh');
    // It passes for an encoder that works; encoding, it gives a box of less than its own header.
    const box = '\\000\\000\\000\\003moov';
    writeFileSync(ffmpegPath, `#!/bin/sh\ncase "$*" in *pipe:1*) printf '${box}${box}'; cat > /dev/null;; esac\n`, {
      mode: 0o755,
    });
    const failed = Promise.withResolvers<string>();
    const encoder = new H264Encoder(ffmpegPath, { media: () => undefined, failed: failed.resolve });
    const init = { codecs: 'hvc1', width: 16, height: 16, hasAudio: false, data: new Uint8Array(8) };
    encoder.init({ kind: 'init', ...init });
    assert.match(await failed.promise, /^encoding for this viewer ended: /);
    encoder.close();
  });
});
