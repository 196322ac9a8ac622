import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkPaths, ffmpegVersion, toEngineConfig } from '../../nodes/nvr-config/settings.ts';
import { CAMERA, Harness } from './harness.ts';

describe('nvr-config', function () {
  this.timeout(30_000);
  let harness: Harness;
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  it('makes folders absolute, one a line', () => {
    const config = toEngineConfig({ storage: 'a\n /b \n\na', catalog: '', ffmpegPath: '', httpPath: '' }, '/u');
    assert.deepEqual(config, { storages: ['/u/a', '/b'], catalog: '/u/a/catalog.sqlite', ffmpegPath: 'ffmpeg' });
  });

  it('names each wrong value with its field', async () => {
    const file = join(harness.storage, 'file');
    writeFileSync(file, '');
    const problems = checkPaths({ storage: file, catalog: harness.storage, ffmpegPath: '', httpPath: 'a b' }, '/');
    assert.deepEqual(
      problems.map(({ field }) => field),
      ['storage', 'catalog', 'httpPath'],
    );
    await assert.rejects(ffmpegVersion(join(harness.storage, 'none')), /install FFmpeg/);
    assert.match(await ffmpegVersion('ffmpeg'), /^\S+$/);
  });

  it('passes its problem on to the nodes that use it', async () => {
    const file = join(harness.storage, 'file');
    writeFileSync(file, '');
    await harness.load([{ ...CAMERA, wires: [[], []] }], { storage: file });
    assert.match(JSON.stringify(harness.node('camera').status.args), /choose a folder/);
  });
});
