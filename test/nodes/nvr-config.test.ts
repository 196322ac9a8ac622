import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import express from 'express';
import type { NodeAPI } from 'node-red';
import nvrConfig from '../../nodes/nvr-config/nvr-config.ts';
import { checkPaths, ffmpegVersion, toEngineConfig } from '../../nodes/nvr-config/settings.ts';
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
    Config.call(node, { id, httpPath, storage, catalog: '', ffmpegPath: '', ...more });
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
