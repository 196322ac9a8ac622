/**
 * Runs as npm's `dependencies` script, after each change of node_modules. A package with a `binding.gyp` that says `gypfile: false`
 * brings its binaries, but npm leaves that out of the lock file it writes; `npm ci`, which believes the lock file, would then run a
 * compiler. This puts it back. (npm 11 and later read `allowScripts` too; older ones do not know it.)
 */
import fs from 'fs';
import path from 'path';
import { fileURLToPath } from 'url';

const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const FILE = path.join(ROOT, 'package-lock.json');

/** Whether the installed package has something to compile that it need not have compiled. */
function bringsBinaries(name) {
  const folder = path.join(ROOT, name);
  if (name === '' || !fs.existsSync(path.join(folder, 'binding.gyp'))) return false;
  return JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8')).gypfile === false;
}

const text = fs.readFileSync(FILE, 'utf8');
const lock = JSON.parse(text);
const wrong = Object.keys(lock.packages).filter(
  (name) => lock.packages[name].gypfile !== false && bringsBinaries(name),
);
for (const name of wrong) lock.packages[name].gypfile = false;
if (wrong.length > 0) fs.writeFileSync(FILE, `${JSON.stringify(lock, null, 2)}\n`);
