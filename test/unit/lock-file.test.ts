import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const ROOT = join(import.meta.dirname, '../..');

interface Locked {
  gypfile?: boolean;
  hasInstallScript?: boolean;
}

const json = (...path: string[]): unknown => JSON.parse(readFileSync(join(ROOT, ...path), 'utf8'));

/** A fresh machine has no compiler, and npm asks before it runs the scripts of packages. */
describe('the lock file', () => {
  const { packages } = json('package-lock.json') as { packages: Record<string, Locked> };
  const { allowScripts } = json('package.json') as { allowScripts: Record<string, boolean> };
  const installed = Object.keys(packages).filter((path) => path !== '' && existsSync(join(ROOT, path)));
  const nameOf = (path: string): string => path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const native = installed.filter((path) => existsSync(join(ROOT, path, 'binding.gyp')));

  it('has npm compile nothing', () => {
    assert.ok(native.includes('node_modules/better-sqlite3'));
    for (const path of native) {
      assert.equal(
        packages[path]?.gypfile,
        false,
        `${path}: run node scripts/lock-file.mjs, or npm ci runs a compiler`,
      );
    }
  });

  it('has a decision for every install script', () => {
    const scripted = installed.filter((path) => packages[path]?.hasInstallScript === true || native.includes(path));
    for (const path of scripted) {
      assert.ok(nameOf(path) in allowScripts, `package.json's allowScripts says nothing of ${nameOf(path)}`);
    }
    for (const path of native) assert.equal(allowScripts[nameOf(path)], false);
  });

  it("lets the package that brings Node run its script, and no other's", () => {
    assert.deepEqual(
      Object.keys(allowScripts).filter((name) => allowScripts[name]),
      ['node'],
    );
  });
});
