/**
 * `npm start`, `npm test` and the other scripts: says in one line when this Node, or what npm installed, will not do, and runs
 * the script otherwise. Plain JavaScript that Node 14 can parse, for it is there to speak to old Nodes.
 */
import fs from 'fs';
import path from 'path';
import { fileURLToPath, pathToFileURL } from 'url';

/** Runs TypeScript as it is and knows `import.meta.main`. */
const OLDEST_NODE = [24, 2];
const ROOT = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const SCRIPTS = {
  start: 'scripts/start.ts',
  test: 'scripts/test.ts',
  bench: 'bench/run.ts',
  build: 'scripts/build.ts',
  reconcile: 'cli/flow-nvr.ts',
  restore: 'cli/flow-nvr.ts',
  screenshots: 'scripts/screenshots.ts',
};
/** Scripts that take their own name as their first argument. */
const COMMANDS = ['reconcile', 'restore'];

function read(file) {
  try {
    return JSON.parse(fs.readFileSync(path.join(ROOT, file), 'utf8')).packages;
  } catch {
    return null; // missing, or cut short: both mean that npm has not done its work
  }
}

/** The first package that should be there and is not, `npm ci` as a whole where it did not end, or null. */
function missing() {
  const wanted = read('package-lock.json');
  // npm writes this one last: without it the installation failed or never began.
  const installed = read('node_modules/.package-lock.json');
  if (!installed || !wanted) return 'node_modules';
  const isNeeded = (name) => name !== '' && !wanted[name].optional && !wanted[name].devOptional;
  const isThere = (name) =>
    installed[name] && installed[name].version === wanted[name].version && fs.existsSync(path.join(ROOT, name));
  return Object.keys(wanted).find((name) => isNeeded(name) && !isThere(name)) || null;
}

function isTooOld() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  return major < OLDEST_NODE[0] || (major === OLDEST_NODE[0] && minor < OLDEST_NODE[1]);
}

/** What keeps the script from running, in one line; null when nothing does. */
function problem(script) {
  const command = script === 'start' || script === 'test' ? `npm ${script}` : `npm run ${script}`;
  const lacking = missing();
  if (lacking === 'node_modules') return `npm ci has not run here, or did not end well: run npm ci, then ${command}.`;
  if (lacking) return `${lacking} is missing or out of date: run npm ci, then ${command}.`;
  if (!isTooOld()) return null;
  const versions = `Node ${OLDEST_NODE.join('.')} or later is needed, and this is Node ${process.versions.node}`;
  const brought = fs.existsSync(
    path.join(ROOT, 'node_modules', '.bin', process.platform === 'win32' ? 'node.cmd' : 'node'),
  );
  return brought && !process.env.npm_lifecycle_event
    ? `${versions}: run ${command}, which uses the one that npm ci installed.`
    : `${versions}: install it, or run npm ci with install scripts allowed, which brings one.`;
}

const [script, ...args] = process.argv.slice(2);
const names = Object.keys(SCRIPTS);
const trouble = names.includes(script) ? problem(script) : `usage: node scripts/run.mjs ${names.join('|')} …`;
if (trouble) {
  console.error(trouble);
  process.exitCode = 1;
} else {
  const file = path.join(ROOT, SCRIPTS[script]);
  process.argv = [process.argv[0], file].concat(COMMANDS.includes(script) ? [script] : [], args);
  import(pathToFileURL(file).href)
    .then((module) => module.main && module.main())
    .catch((error) => {
      console.error(error);
      process.exitCode = 1;
    });
}
