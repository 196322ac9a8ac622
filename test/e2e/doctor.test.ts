import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Told } from '../../cli/doctor/checks.ts';
import { CHECKS, runChecks } from '../../cli/doctor/checks.ts';

const CLI = join(import.meta.dirname, '../../cli/flow-nvr.ts');
const SECRET = 'hunter22-never-shown';

describe('flow-nvr doctor', function () {
  this.timeout(60_000);
  const folder = mkdtempSync(join(tmpdir(), 'flow-nvr-doctor-'));
  after(() => rmSync(folder, { recursive: true, force: true }));

  function doctor(...args: string[]): { told: Told[]; output: string; code: number | null } {
    const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, 'doctor', '--json', ...args], {
      encoding: 'utf8',
    });
    return { told: JSON.parse(stdout) as Told[], output: stdout + stderr, code: status };
  }
  const of = (told: Told[], check: string): Told[] => told.filter((one) => one.check === check);
  function settings(name: string, content: string): string {
    const file = join(folder, name);
    writeFileSync(file, content);
    return file;
  }

  it('knows this machine’s FFmpeg and its cage', () => {
    const { told, code } = doctor();
    assert.deepEqual(
      of(told, 'ffmpeg').map(({ level }) => level),
      ['ok'],
    );
    assert.ok(of(told, 'cage').length > 0 && of(told, 'cage').every(({ level }) => level !== 'problem'));
    assert.equal(code, 0);
    const text = spawnSync(process.execPath, [CLI, 'doctor'], { encoding: 'utf8' });
    assert.equal(text.status, 0);
    assert.match(text.stdout, /^ok +FFmpeg: \d/);
  });

  it('says what to install', () => {
    const { told, code } = doctor('--ffmpeg', '/nowhere/ffmpeg');
    assert.match(of(told, 'ffmpeg')[0]!.advice!, /apt install ffmpeg/);
    assert.equal(code, 1);
    assert.equal(of(doctor('--ffmpeg', process.execPath).told, 'ffmpeg')[0]!.level, 'problem');
  });

  it('finds footage that everybody may read', function () {
    if (process.platform === 'win32') this.skip();
    const storage = join(folder, 'storage');
    mkdirSync(storage);
    const catalog = join(storage, 'catalog.sqlite');
    writeFileSync(catalog, '');
    const levels = (folderMode: number, fileMode: number): [string[], number | null] => {
      chmodSync(storage, folderMode);
      chmodSync(catalog, fileMode);
      const { told, code } = doctor(storage);
      return [of(told, 'permissions').map(({ level }) => level), code];
    };
    assert.deepEqual(levels(0o755, 0o644), [['problem', 'problem'], 1]);
    assert.deepEqual(levels(0o770, 0o640), [['advice', 'ok'], 0]);
    assert.deepEqual(levels(0o750, 0o640), [['ok', 'ok'], 0]);
    assert.equal(doctor(join(folder, 'nowhere')).code, 1);
  });

  it('tells what Node-RED’s settings leave open, and no secret of theirs', () => {
    const open = settings('open.cjs', `console.log('${SECRET}'); module.exports = { uiPort: 1880 };`);
    const bare = doctor('--settings', open);
    const levels = of(bare.told, 'exposure').map(({ level, text }) => `${level} ${text.split(/[ :]/)[0]}`);
    assert.deepEqual(levels, [
      'advice uiHost',
      'problem adminAuth',
      'problem neither',
      'problem dashboard.ioMiddleware',
      'advice credentialSecret',
      'advice https',
    ]);
    assert.equal(bare.code, 1);
    const own = settings('own.cjs', `module.exports = { uiHost: '127.0.0.1' };`);
    assert.equal(doctor('--settings', own).code, 0);
    const closed = settings(
      'closed.cjs',
      `module.exports = { credentialSecret: '${SECRET}', adminAuth: { users: [{ password: '${SECRET}' }] }, https: { key: '${SECRET}' },
        httpNodeAuth: { user: 'u', pass: '${SECRET}' }, dashboard: { ioMiddleware: () => undefined } };`,
    );
    const { told, code, output } = doctor('--settings', closed);
    assert.deepEqual(
      of(told, 'exposure')
        .filter(({ level }) => level !== 'ok')
        .map(({ text }) => text),
      ['uiHost: the network reaches Node-RED'],
    );
    assert.equal(code, 0);
    assert.ok(!(output + bare.output).includes(SECRET));
  });

  it('outlives settings that throw, end their process or are none', () => {
    for (const content of [`throw new Error('${SECRET}')`, 'process.exit(0)', 'module.exports = null', '{{{']) {
      const { told, code, output } = doctor('--settings', settings('bad.cjs', content));
      assert.match(of(told, 'exposure')[0]!.text, /could not be loaded/, content);
      assert.equal(code, 1);
      assert.ok(!output.includes(SECRET));
    }
  });

  it('makes a problem of a check that fails, and goes on', async () => {
    const broken = { id: 'x', title: 'X', run: () => Promise.reject(new Error('no')) };
    const options = { ffmpeg: 'ffmpeg', storages: [], catalog: null, settings: null };
    const told = await runChecks([broken, ...CHECKS], options);
    assert.equal(told[0]!.level, 'problem');
    assert.ok(told.length > 1);
  });
});
