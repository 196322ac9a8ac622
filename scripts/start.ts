/**
 * `npm start`: builds, makes sure of FFmpeg, and runs Node-RED with a user folder of its own and the bundled flow, or with
 * the cameras of the command line.
 */
import { spawnSync, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { dirname, join, relative, resolve } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { redact } from '../engine/diagnostics/redact.ts';
import { parseCamera, withCameras, type Camera, type FlowNode } from './demo-flow.ts';
import { ensure } from './install-needs.ts';
import { askPassword, refusePasswords, takePasswords, withPasswords } from './start/camera-accounts.ts';
import { endTogether, spawnDemoCamera, spawnNodeRed, watchNpm } from './start/children.ts';
import { requireLogin, setLogin } from './start/login.ts';
import { dashboardLink, refuseForeignFolder, writeSettings } from './start/settings-file.ts';

const ROOT = join(import.meta.dirname, '..');
const PACKAGE = '@flow-nvr/node-red-dashboard-2-nvr';
const DASHBOARD = '@flowfuse/node-red-dashboard';
const BUNDLED_FLOW = join(ROOT, 'flows', 'nvr.json');
const DEMO_STREAM = 'http://127.0.0.1:18481/';
const ANSWER_TIMEOUT_MS = 60_000;
const USAGE = `npm start -- [--camera ID=URL]… [--port N] [--host ADDRESS] [--login] [--user-dir FOLDER]

  --camera    records this camera in place of the demo cameras; as often as you have cameras
              for example --camera front=rtsp://user@192.168.1.10:554/stream1
              its password is asked for, or taken from FLOW_NVR_PASSWORD_FRONT
  --port      port of the editor (1880)
  --host      address the editor listens on (127.0.0.1: this computer only)
  --login     asks for a user name and a password, which the editor asks for from then on
              (without a terminal: FLOW_NVR_EDITOR_USER and FLOW_NVR_EDITOR_PASSWORD)
  --no-login  opens the editor to the network without a login, where --host says so
  --user-dir  folder for settings, flows and recordings (.nvr in the project)`;

interface Options {
  cameras: Camera[];
  port: number;
  host: string;
  userDir: string;
  login: boolean;
  noLogin: boolean;
}

function readOptions(args: string[]): Options | 'help' {
  const { values } = parseArgs({
    args,
    options: {
      camera: { type: 'string', multiple: true, default: [] },
      port: { type: 'string', default: '1880' },
      host: { type: 'string', default: '127.0.0.1' },
      'user-dir': { type: 'string', default: join(ROOT, '.nvr') },
      login: { type: 'boolean', default: false },
      'no-login': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error('--port takes a number from 1 to 65535');
  const cameras = values.camera.map(parseCamera);
  refusePasswords(cameras, [
    ...(['port', 'host', 'user-dir'] as const).flatMap((name) =>
      args.some((arg) => arg.startsWith(`--${name}`)) ? [`--${name}`, values[name]] : [],
    ),
    ...(['login', 'no-login'] as const).flatMap((name) => (values[name] ? [`--${name}`] : [])),
  ]);
  const { host, login, 'no-login': noLogin } = values;
  return { ...{ cameras, port, host, login, noLogin }, userDir: resolve(values['user-dir']) };
}

async function requireFreePort({ port, host }: Options): Promise<void> {
  const server = createServer().listen(port, host);
  try {
    await once(server, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new Error(
        `port ${port} is in use, perhaps by another Node-RED: stop that, or start with another port: npm start -- --port ${port + 1}`,
        { cause: error },
      );
    }
    throw new Error(
      `cannot listen on ${host}, port ${port} (${code ?? 'unknown error'}): choose another --host or --port`,
      {
        cause: error,
      },
    );
  }
  server.close();
  await once(server, 'close');
}

/** Makes the package, and Dashboard for its widgets, modules of the user folder, as if installed from the palette. */
function linkPackages(userDir: string): void {
  const dashboard = dirname(createRequire(import.meta.url).resolve(`${DASHBOARD}/package.json`));
  const places = { [PACKAGE]: ROOT, [DASHBOARD]: dashboard };
  for (const [name, place] of Object.entries(places)) link(userDir, name, place);
  const file = join(userDir, 'package.json');
  const known = existsSync(file)
    ? (JSON.parse(readFileSync(file, 'utf8')) as { dependencies?: Record<string, string> })
    : null;
  const base = known ?? {
    name: 'flow-nvr-user-folder',
    description: 'Node-RED user folder of npm start',
    private: true,
  };
  // `file:` keeps npm, when it installs another node here, from asking a registry for them.
  const linked = Object.entries(places).map(([name, place]) => [name, `file:${relative(userDir, place) || '.'}`]);
  const dependencies = { ...known?.dependencies, ...(Object.fromEntries(linked) as Record<string, string>) };
  writeFileSync(file, `${JSON.stringify({ ...base, dependencies }, null, 2)}\n`);
}

function link(userDir: string, name: string, place: string): void {
  const link = join(userDir, 'node_modules', name);
  mkdirSync(dirname(link), { recursive: true });
  const found = lstatSync(link, { throwIfNoEntry: false });
  if (found && !found.isSymbolicLink()) {
    if (name === DASHBOARD) return; // installed by the user, perhaps a newer one
    throw new Error(`${link} is an installed copy of this package: remove it, or choose another --user-dir`);
  }
  rmSync(link, { force: true });
  symlinkSync(place, link, 'junction');
}

/** The flow of the command line's cameras replaces the one that is there, which is kept beside it. */
function keepFlow(userDir: string): void {
  const file = join(userDir, 'flows.json');
  if (!existsSync(file)) return;
  const kept = join(userDir, `flows-${new Date().toISOString().slice(0, 19).replaceAll(':', '-')}.json`);
  copyFileSync(file, kept);
  console.log(`The flow that was there is kept in ${kept}`);
}

function build(): void {
  const { status } = spawnSync(process.execPath, [join(ROOT, 'scripts', 'build.ts')], { cwd: ROOT, stdio: 'inherit' });
  if (status !== 0) throw new Error('this version does not build');
}

function startNodeRed({ userDir, port, host, cameras }: Options, token: string): ChildProcess {
  const args = ['--userDir', userDir, '--settings', join(userDir, 'settings.js'), '--port', String(port)];
  // Safe mode loads the nodes but starts no flow until one is deployed: the old cameras are not connected for a moment.
  const safe = cameras.length > 0 ? ['--safe'] : [];
  // By which it may deploy where the editor has a login; see nodes/guard.ts.
  return spawnNodeRed([...args, '-D', `uiHost=${host}`, ...safe], { FLOW_NVR_START_TOKEN: token });
}

/** Where the flow still has it. */
function startDemoCamera(userDir: string): ChildProcess | null {
  return readFileSync(join(userDir, 'flows.json'), 'utf8').includes(DEMO_STREAM) ? spawnDemoCamera() : null;
}

function addressOf({ host, port }: Options): string {
  const name = host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host;
  return `http://${name.includes(':') ? `[${name}]` : name}:${port}`;
}

/** Whether Node-RED answered before it ended or the time was up. */
async function answers(child: ChildProcess, address: string): Promise<boolean> {
  const deadline = performance.now() + ANSWER_TIMEOUT_MS;
  while (child.exitCode === null && child.signalCode === null && performance.now() < deadline) {
    const response = await fetch(`${address}/settings`).catch(() => null);
    if (response) return true;
    await wait(200);
  }
  return false;
}

/** Through the admin API, so that credentials go straight into Node-RED's encrypted store. */
async function deploy(address: string, flows: FlowNode[], token: string): Promise<void> {
  const response = await fetch(`${address}/flows`, {
    method: 'POST',
    headers: {
      ...{ 'Content-Type': 'application/json', Authorization: `Bearer ${token}` },
      ...{ 'Node-RED-API-Version': 'v2', 'Node-RED-Deployment-Type': 'full' },
    },
    body: JSON.stringify({ flows }),
  });
  if (response.status === 401) {
    throw new Error('Node-RED asks for a login, so the cameras cannot be set from here: enter them in the editor');
  }
  if (!response.ok) throw new Error(`Node-RED did not take the flow (HTTP ${response.status})`);
}

async function main(): Promise<void> {
  const isOrphan = watchNpm('start');
  const passwords = takePasswords(process.env);
  const options = readOptions(process.argv.slice(2));
  if (options === 'help') {
    console.log(USAGE);
    return;
  }
  const { userDir } = options;
  const cameras = await withPasswords(options.cameras, passwords, process.stdin.isTTY ? askPassword : null);
  const bundled = JSON.parse(readFileSync(BUNDLED_FLOW, 'utf8')) as FlowNode[];
  const flows = cameras.length > 0 ? withCameras(bundled, cameras) : bundled;
  await requireFreePort(options);
  ensure(['ffmpeg']);
  build();
  refuseForeignFolder(userDir);
  mkdirSync(userDir, { recursive: true, mode: 0o750 });
  linkPackages(userDir);
  const first = writeSettings(userDir);
  if (options.login) await setLogin(userDir);
  const hint = requireLogin({ ...options, first });
  if (cameras.length > 0) keepFlow(userDir);
  else if (!existsSync(join(userDir, 'flows.json'))) copyFileSync(BUNDLED_FLOW, join(userDir, 'flows.json'));

  const demo = cameras.length === 0 ? startDemoCamera(userDir) : null;
  const token = randomBytes(32).toString('base64url');
  const child = startNodeRed(options, token);
  endTogether(child, isOrphan);
  const ended = once(child, 'exit') as Promise<[number | null]>;
  const address = addressOf(options);
  if (await answers(child, address)) {
    try {
      if (cameras.length > 0) await deploy(address, flows, token);
    } catch (error) {
      child.kill('SIGTERM');
      await ended;
      throw error;
    }
    console.log(`
Flow NVR is running.

  Dashboard   ${address}${dashboardLink(userDir)}
              lets any browser in that opens it within a day, for 30 days from its last visit
  Editor      ${address}/
  Recordings  ${join(userDir, 'nvr')}
${hint ? `\n${hint}\n` : ''}
Ctrl-C stops it.
`);
  } else if (child.exitCode === null && child.signalCode === null) {
    console.error(`Node-RED does not answer at ${address}; see its messages above`);
  }
  const [code] = await ended;
  demo?.kill();
  process.exitCode = code ?? 0;
}

try {
  await main();
} catch (error) {
  const { message, code } = error as NodeJS.ErrnoException;
  // What is wrong with the arguments names them, and they may have a password in them.
  console.error(code?.startsWith('ERR_PARSE_ARGS') ? `${redact(message)}\n\n${USAGE}` : message);
  process.exitCode = 1;
}
