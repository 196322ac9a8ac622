import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  parseAge,
  parseSize,
  readCheck,
  readCopy,
  toRetentionSpec,
  toRuleSet,
} from '../../nodes/retention/retention-spec.ts';
import { CAMERA, Harness, RECORDER, type TestMessage } from './harness.ts';

const RETENTION = {
  ...{ id: 'retention-node', type: 'retention', name: '', nvr: 'storage-settings', storages: [] as unknown[] },
  ...{ rules: [{ cameras: '', continuous: '1 s' }] as unknown[], total: '', minFree: '', veto: '' },
};

describe('retention', function () {
  this.timeout(30_000);
  let harness: Harness;
  beforeEach(() => (harness = new Harness()));
  afterEach(() => harness.dispose());

  const flow = (retention: object): object[] => [
    { ...CAMERA, wires: [['recorder-node'], []] },
    { ...RECORDER, segment: 2, wires: [['recordings'], []] },
    { ...RETENTION, ...retention, wires: [['done'], ['about'], ['state']] },
    ...['recordings', 'done', 'about', 'state'].map((id) => ({ id, type: 'helper' })),
  ];
  const command = (payload: object): void => harness.node('retention-node').receive({ payload });
  const segment = (): Promise<TestMessage> =>
    harness.message('recordings', ({ payload }) => payload['phase'] === 'segment');
  const done = (type: string): Promise<TestMessage> =>
    harness.message('done', ({ payload }) => payload['type'] === type && payload['files'] !== 0);
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  it('deletes what is too old, and tells what is stored', async () => {
    await harness.load(flow({}));
    const { payload } = await segment();
    await pause(1500);
    const [told, state] = [done('deleted'), harness.message('state', () => true)];
    command({ command: 'run' });
    assert.equal(((await told).payload['shares'] as { reason: string }[])[0]?.reason, 'age');
    assert.equal(existsSync(payload['file'] as string), false);
    assert.equal((await state).payload['blocked'], false);
  });

  it('keeps what is held until it is released', async () => {
    await harness.load(flow({}));
    const { payload } = await segment();
    const held = done('hold');
    const { start, end } = payload as { start: number; end: number };
    command({ command: 'hold', name: 'theft', camera: 'yard', start: start - 1000, end: (end || Date.now()) + 60_000 });
    const { id } = (await held).payload['hold'] as { id: string };
    await pause(1500);
    const none = harness.message('done', (msg) => msg.payload['type'] === 'deleted');
    command({ command: 'run' });
    assert.equal((await none).payload['files'], 0);
    const list = done('holds');
    command({ command: 'holds' });
    assert.equal(((await list).payload['holds'] as object[]).length, 1);
    const deleted = done('deleted');
    const ended = harness.message('done', (msg) => msg.payload['phase'] === 'end');
    command({ command: 'release', id });
    await ended;
    command({ command: 'run' });
    await deleted;
    assert.equal(existsSync(payload['file'] as string), false);
  });

  it('announces first, and takes a veto', async () => {
    await harness.load(flow({ veto: '1 h' }));
    const { payload } = await segment();
    await pause(1500);
    const about = harness.message('about', () => true);
    command({ command: 'run' });
    const { id, files } = (await about).payload;
    assert.ok((files as number) >= 1);
    const held = done('hold');
    command({ command: 'veto', id, who: 'me' });
    assert.equal(((await held).payload['hold'] as { who: string }).who, 'me');
    assert.ok(existsSync(payload['file'] as string));
  });

  it('announces with pictures, copies, and deletes what was copied', async () => {
    const usb = mkdtempSync(join(tmpdir(), 'flow-nvr-usb-'));
    try {
      await harness.load(flow({ veto: '1 h', stills: true }));
      const { payload } = await segment();
      await pause(1500);
      const about = harness.message('about', () => true);
      command({ command: 'run' });
      const { id, files, stills } = (await about).payload as {
        id: string;
        files: number;
        stills: { camera: string; image: Buffer }[];
      };
      assert.ok(stills.length > 0 && Buffer.isBuffer(stills[0]!.image) && stills[0]!.camera === 'yard');
      assert.equal(stills[0]!.image.readUInt16BE(0), 0xffd8, 'a JPEG');
      const copied = harness.message('done', (msg) => msg.payload['type'] === 'copy' && msg.payload['phase'] === 'end');
      const deleted = done('deleted');
      command({ command: 'copy', id, folder: usb });
      assert.equal((await copied).payload['error'], null);
      assert.equal((await deleted).payload['files'], files);
      assert.equal(existsSync(payload['file'] as string), false);
      assert.equal(readdirSync(usb, { recursive: true }).filter((name) => String(name).endsWith('.mp4')).length, files);
    } finally {
      rmSync(usb, { recursive: true, force: true });
    }
  });

  it('checks while recording and backs up, and no secret is in the backup', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-backups-'));
    try {
      await harness.load(flow({ rules: [], backupFolder: folder, backupKeep: '2' }));
      await segment();
      const end = (type: string): Promise<TestMessage> =>
        harness.message('done', (msg) => msg.payload['type'] === type && msg.payload['phase'] === 'end');
      const checked = end('check');
      command({ command: 'check', verify: true, rate: 1000 });
      const { faults, files, bytes } = (await checked).payload as { faults: number; files: number; bytes: number };
      assert.ok(faults === 0 && files > 0 && bytes > 1000, `${faults} ${files} ${bytes}`);
      const backedUp = end('backup');
      command({ command: 'backup' });
      const { error, folder: made } = (await backedUp).payload as { error: string | null; folder: string };
      assert.equal(error, null);
      assert.ok(existsSync(join(made, 'catalog.sqlite')));
      const manifest = JSON.parse(readFileSync(join(made, 'nvr.json'), 'utf8')) as { files: string[] };
      assert.ok(manifest.files.every((name) => !/cred|keys|settings/.test(name)));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('reads rules of labels, zones and triggers, backups and checks', () => {
    const properties = { rules: [], storages: [], total: '', minFree: '', veto: '' };
    const rule = (line: object): unknown => toRuleSet({ ...properties, rules: [line] }, []).rules[0];
    assert.deepEqual(rule({ cameras: 'yard', event: '1 d', labels: 'person, fork lift', triggers: 'panic' }), {
      ...{ id: 'rule 1', cameras: ['yard'], keep: { eventMs: 86_400_000 } },
      only: { labels: ['person', 'fork lift'], triggers: ['panic'] },
    });
    assert.throws(() => rule({ zones: 'door' }), /how long such events/);
    assert.throws(() => rule({ zones: 'door', event: '1 d', continuous: '1 d' }), /nothing else/);
    const backup = (of: object): unknown => toRetentionSpec('n', { ...properties, ...of }, { folders: [] }).backup;
    assert.deepEqual(backup({ backupAt: '3:30', backupFolder: '/b', backupKeep: '3' }), {
      ...{ at: '3:30', folder: '/b', keep: 3, files: [] },
    });
    assert.deepEqual(backup({}), { at: null, folder: '', keep: 7, files: [] });
    for (const wrong of [{ backupAt: 'noon' }, { backupAt: '24:00' }, { backupFolder: 'b' }, { backupKeep: '0' }])
      assert.throws(() => backup(wrong), /^\S*Error: backup:/);
    assert.throws(() => readCopy({ folder: '/usb' }), /needs the id/);
    assert.throws(() => readCopy({ id: 'x', folder: 'usb' }), /absolute path/);
    assert.throws(() => readCheck({ start: 5 }), /epoch milliseconds/);
    assert.deepEqual(readCheck({ camera: 'yard', start: 1, end: 2, verify: true }), {
      ...{ camera: 'yard', range: { start: 1, end: 2 }, verify: true, repair: false, bytesPerSecond: 20e6 },
    });
  });

  it('refuses what it cannot do with what to do', async () => {
    await harness.load(flow({}));
    const rows: [object, RegExp][] = [
      [{ command: 'dance' }, /use run, hold, release, holds, veto, copy, check, backup/],
      [{ command: 'hold', start: 1, end: 2 }, /name the case/],
      [{ command: 'hold', name: 'x', start: 5, end: 1 }, /end must be later/],
      [{ command: 'hold', name: 'x', start: 1, end: 2, until: 'soon' }, /until must be/],
      [{ command: 'release' }, /needs the id/],
      [{ command: 'release', id: 'none' }, /no hold none/],
      [{ command: 'veto' }, /announced/],
      [{ command: 'copy', id: 'x', folder: '/usb' }, /nothing is announced/],
      [{ command: 'check', rate: -1 }, /MB\/s/],
    ];
    for (const [payload, expected] of rows)
      assert.match(await harness.errorOf('retention-node', { payload }), expected);
  });

  it('reads sizes, times and rules as people write them', () => {
    assert.deepEqual(
      ['200 GB', '1,5tb', '80 %', '500MB', '2', ''].map((text) => parseSize(text, 'x')),
      [{ bytes: 2e11 }, { bytes: 1.5e12 }, { percent: 80 }, { bytes: 5e8 }, { bytes: 2e9 }, null],
    );
    assert.deepEqual(
      ['7 d', '0.5', '12h', '30 min', '10 s', ''].map((text) => parseAge(text, 'x')),
      [7 * 86_400_000, 43_200_000, 43_200_000, 1_800_000, 10_000, null],
    );
    for (const text of ['x', '-1', '101 %', '0 GB', '5 KB']) assert.throws(() => parseSize(text, 'x'), /such as/);
    assert.throws(() => parseAge('soon', 'x'), /such as 7 d/);
    const properties = {
      ...{ total: '1 TB', minFree: '5 %', veto: '10 min', storages: [{ path: '/a', quota: '1 GB' }, { path: '' }] },
      rules: [{ cameras: 'yard, door', event: '9 d', thinAfter: '2 d', thinKeep: 'events', quota: '50 %' }],
    };
    const { rules, vetoMs } = toRetentionSpec('n', properties, { folders: [] });
    assert.deepEqual(
      [rules.total, rules.minFree, rules.storages, vetoMs],
      [...[{ bytes: 1e12 }, { percent: 5 }, { '/a': { bytes: 1e9 } }, 600_000]],
    );
    assert.deepEqual(rules.rules, [
      {
        ...{
          id: 'rule 1',
          cameras: ['yard', 'door'],
          quotaPercent: 50,
          thin: { afterMs: 172_800_000, keep: 'events' },
        },
        keep: { continuousMs: 172_800_000, eventMs: 777_600_000 },
      },
    ]);
  });

  const BUCKET = { bucket: 'footage', bucketPrefix: '/nvr/', bucketEndpoint: 'http://nas:9000', bucketAfter: '30 d' };

  it('reads tiers and a bucket', () => {
    const properties = { rules: [], storages: [], total: '', minFree: '', veto: '' };
    const read = (of: object, credentials: object = { accessKey: 'a', secretKey: 'b' }) =>
      toRetentionSpec('n', { ...properties, ...of }, { folders: ['/hot'], credentials });
    assert.deepEqual(read({}).rules.tiers, []);
    const tiers = [
      { to: '/warm/', after: '2 d' },
      { to: '/cold', after: '30', least: 'event' },
    ];
    const { rules, buckets } = read({ ...BUCKET, tiers, bucketLeast: 'motion', bucketKeep: '40 d' });
    const day = 86_400_000;
    assert.deepEqual(rules.tiers, [
      { to: '/warm', afterMs: 2 * day, least: 'continuous' },
      { to: '/cold', afterMs: 30 * day, least: 'event' },
      { to: 's3://footage/nvr', afterMs: 30 * day, least: 'motion', keepMs: 40 * day },
    ]);
    assert.deepEqual(buckets, {
      's3://footage/nvr': {
        ...{ endpoint: 'http://nas:9000', region: '', bucket: 'footage', prefix: 'nvr', pathStyle: true },
        ...{ accessKey: 'a', secretKey: 'b' },
      },
    });
    assert.doesNotMatch(JSON.stringify(rules), /accessKey/);
    for (const [of, expected, credentials] of [
      [{ tiers: [{ to: 'warm', after: '1' }] }, /tier 1: write the absolute path/],
      [{ tiers: [{ to: '/hot', after: '1' }] }, /recorded to \/hot already/],
      [{ tiers: [{ to: '/warm' }] }, /after which time/],
      [{ tiers: [tiers[0], tiers[0]] }, /twice/],
      [{ ...BUCKET, bucket: 'Not A Bucket' }, /no name of a bucket/],
      [{ ...BUCKET, bucketAfter: '' }, /after which time/],
      [{ ...BUCKET, bucketEndpoint: 'http://user:secret@nas' }, /write its server as/],
      [BUCKET, /access key/, {}],
    ] as [object, RegExp, object?][])
      assert.throws(() => read(of, credentials), expected);
  });

  it('does not start with rules that it cannot read', async () => {
    for (const [rule, expected] of [
      [{ continuous: 'long' }, /rule 1: write a time/],
      [{ event: '9 d' }, /nothing in it/],
      [{ cameras: '../x' }, /no id of a camera/],
    ] as const) {
      await harness.load(flow({ rules: [rule] }));
      assert.match(JSON.stringify(harness.node('retention-node').status.args), expected);
      await harness.dispose();
      harness = new Harness();
    }
  });
});
