import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import express from 'express';
import type { NodeAPI } from 'node-red';
import nvrConfig from '../../nodes/nvr-config/nvr-config.ts';
import { FfmpegPrograms, findProgram, missingProgram, tooOld } from '../../nodes/nvr-config/ffmpeg-program.ts';
import { checkPaths, toEngineConfig } from '../../nodes/nvr-config/settings.ts';
import { CAMERA, Harness } from './harness.ts';

describe('nvr-config', function () {
  this.timeout(30_000);
  let harness: Harness;
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  it('makes folders absolute, one a line', () => {
    const config = toEngineConfig({ storage: 'a\n /b \n\na', catalog: '', ffmpegPath: '', httpPath: '' }, '/u');
    assert.deepEqual(config, {
      storages: ['/u/a', '/b'],
      catalog: '/u/a/catalog.sqlite',
      ffmpegPath: 'ffmpeg',
      readers: 'group',
    });
  });

  it('names each wrong value with its field', () => {
    const file = join(harness.storage, 'file');
    writeFileSync(file, '');
    const problems = checkPaths({ storage: file, catalog: harness.storage, ffmpegPath: '', httpPath: 'a b' }, '/');
    assert.deepEqual(
      problems.map(({ field }) => field),
      ['storage', 'catalog', 'httpPath'],
    );
  });

  it('finds FFmpeg without running it, and runs it once only as long as it is the same file', () => {
    for (const none of [join(harness.storage, 'none'), harness.storage, 'no-such-program']) {
      assert.equal(findProgram(none), null);
      assert.match(missingProgram(none), /install FFmpeg/);
    }
    const runs = join(harness.storage, 'runs');
    const program = join(harness.storage, 'ffmpeg');
    const write = (says: string): void =>
      writeFileSync(program, `#!/bin/sh\necho "$@" >> '${runs}'\necho '${says}'\n`, { mode: 0o755 });
    const count = (): number => (existsSync(runs) ? readFileSync(runs, 'utf8').trim().split('\n').length : 0);
    write('ffmpeg version 6.1 Copyright');
    const first = new FfmpegPrograms(harness.storage);
    assert.equal(findProgram(program), program);
    assert.equal(first.knownVersion(program), null);
    assert.equal(count(), 0);
    assert.equal(first.check(program), '6.1');
    const later = new FfmpegPrograms(harness.storage);
    assert.equal(later.knownVersion(program), '6.1');
    assert.equal(later.check(program), '6.1');
    assert.equal(count(), 1);
    write('something else');
    assert.equal(later.knownVersion(program), null);
    assert.throws(() => later.check(program), /is not FFmpeg/);
    writeFileSync(join(harness.storage, '.flow-nvr-ffmpeg.json'), '{"a"');
    assert.throws(() => new FfmpegPrograms(harness.storage).check(program), /is not FFmpeg/);
    assert.equal(tooOld(new FfmpegPrograms(undefined).check(findProgram('ffmpeg')!)), null);
    assert.match(tooOld('4.4.2')!, /install 5.1/);
  });

  it('gives nothing to a program that is not FFmpeg', async () => {
    const runs = join(harness.storage, 'runs');
    const program = join(harness.storage, 'ffmpeg');
    writeFileSync(program, `#!/bin/sh\necho "$@" >> '${runs}'\n`, { mode: 0o755 });
    await harness.load([{ ...CAMERA, wires: [[], []] }], { ffmpegPath: program });
    assert.match(JSON.stringify(harness.node('camera').status.args), /is not FFmpeg/);
    assert.equal(readFileSync(runs, 'utf8'), '-version\n');
  });

  it('passes its problem on to the nodes that use it', async () => {
    const file = join(harness.storage, 'file');
    writeFileSync(file, '');
    await harness.load([{ ...CAMERA, wires: [[], []] }], { storage: file });
    assert.match(JSON.stringify(harness.node('camera').status.args), /choose a folder/);
  });
});

describe('the HTTP path of an nvr-config', function () {
  this.timeout(30_000);
  const harness = new Harness();
  const app = express();
  const server = app.listen(0, '127.0.0.1');
  const errors: string[] = [];
  const close: (() => Promise<void>)[] = [];
  let Config: (this: object, properties: object) => void;

  before(async () => {
    const RED = {
      ...{ httpNode: app, httpAdmin: express(), server, settings: { userDir: harness.storage } },
      events: new EventEmitter(),
      log: { info: () => undefined, error: (text: string) => errors.push(text), addHandler: () => undefined },
      auth: { needsPermission: () => (_request: unknown, _response: unknown, next: () => void) => next() },
      nodes: {
        createNode: () => undefined,
        registerType: (_type: string, constructor: typeof Config) => (Config = constructor),
        eachNode: () => undefined,
        getCredentials: () => undefined,
      },
    };
    nvrConfig(RED as unknown as NodeAPI);
    if (!server.listening) await once(server, 'listening');
  });
  afterEach(async () => {
    for (const one of close.splice(0)) await one();
    assert.deepEqual(errors.splice(0), []);
  });
  after(async () => {
    server.close();
    await harness.dispose();
  });

  /** A node as Node-RED makes it. @returns how Node-RED closes it */
  function deploy(id: string, httpPath: string, more: object = {}): (removed: boolean) => Promise<void> {
    const node = Object.assign(new EventEmitter(), { id, error: (text: string) => errors.push(text) });
    const storage = join(harness.storage, id);
    Config.call(node, { id, httpPath, storage, catalog: '', ffmpegPath: '', openToNetwork: true, ...more });
    const closed = (removed: boolean): Promise<void> =>
      new Promise((resolve) => void node.emit('close', removed, resolve));
    close.push(() => closed(true));
    return closed;
  }

  async function statusOf(path: string): Promise<number> {
    const { port } = server.address() as AddressInfo;
    return (await fetch(`http://127.0.0.1:${port}/${path}/dashboard/token`)).status;
  }

  it('is the new one alone after a Deploy that changes it', async () => {
    const stop = deploy('one', 'old', { dashboardAccess: 'admin', openToNetwork: true });
    assert.equal(await statusOf('old'), 200);
    await stop(false);
    assert.equal(await statusOf('old'), 200, 'it answers while the Deploy goes on');
    deploy('one', 'new');
    assert.deepEqual([await statusOf('new'), await statusOf('old')], [200, 503]);
  });

  it('answers no more when the node is deleted, wherever it was before', async () => {
    await deploy('one', 'first')(false);
    const stop = deploy('one', 'second');
    await stop(true);
    assert.deepEqual([await statusOf('first'), await statusOf('second')], [503, 503]);
    const wrong = deploy('two', 'third');
    await wrong(false);
    const broken = deploy('two', 'a path with blanks');
    assert.equal(errors.splice(0).length, 1, 'it cannot be used');
    await broken(true);
    assert.equal(await statusOf('third'), 503);
  });

  it('can be taken by another when it was given up, in whatever order a Deploy starts the two', async () => {
    const stops = [deploy('one', 'left'), deploy('two', 'right')];
    deploy('three', 'left');
    assert.match(errors.splice(0).join(), /left is used by another/);
    for (const stop of stops) await stop(false);
    deploy('one', 'right');
    deploy('two', 'left');
    assert.deepEqual([await statusOf('left'), await statusOf('right')], [200, 200]);
    assert.deepEqual(errors, []);
  });
});
