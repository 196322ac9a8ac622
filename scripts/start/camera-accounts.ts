/**
 * Passwords of the cameras of `npm start`: never on the command line, which every user of the computer can read, but in the
 * environment or typed at the terminal.
 */
import { createInterface } from 'node:readline';
import { Writable } from 'node:stream';
import { redact } from '../../engine/diagnostics/redact.ts';
import { splitCredentials } from '../../engine/ingest/source-url.ts';
import type { Camera } from '../demo-flow.ts';

const PREFIX = 'FLOW_NVR_PASSWORD_';
/** Where a password belongs that cameras take in the query or the path of their address. */
const PLACE = '{password}';

/** `front-door` has FLOW_NVR_PASSWORD_FRONT_DOOR. */
export function variableOf(id: string): string {
  return PREFIX + id.toUpperCase().replaceAll('-', '_');
}

/** Takes the passwords out of the environment, so that no child process gets them. */
export function takePasswords(environment: NodeJS.ProcessEnv): Map<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(environment)) {
    if (!name.startsWith(PREFIX)) continue;
    found.set(name, value ?? '');
    // `Reflect`, for the name is only known here.
    Reflect.deleteProperty(environment, name);
  }
  return found;
}

/** The address as it may be on a command line: the name of the account stays, the password goes. */
function withoutPassword(address: string): string {
  const { url, username, password } = splitCredentials(address);
  if (password === undefined) return address;
  const named = username === undefined ? url : url.replace('{username}', encodeURIComponent(username));
  if (named.includes(PLACE)) return named;
  return named.replace('://', `://${encodeURIComponent(username ?? '')}@`);
}

const quote = (argument: string): string =>
  /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;

/** Throws when there is a password on the command line, with the command to use in its place. */
export function refusePasswords(cameras: readonly Camera[], others: readonly string[]): void {
  const id = cameras.find(({ url }) => splitCredentials(url).password !== undefined)?.id;
  if (id !== undefined) {
    const safe = cameras.flatMap((camera) => ['--camera', `${camera.id}=${withoutPassword(camera.url)}`]);
    throw new Error(
      `--camera ${id}: every user of this computer can read a password on the command line. Leave it out:\n\n` +
        `  npm start -- ${[...safe, ...others].map(quote).join(' ')}\n\n` +
        `You are asked for it then; without a terminal it is taken from ${variableOf(id)} in the environment.`,
    );
  }
  for (const { id, url } of cameras) {
    // Without what `redact` would take for an account, and the places of passwords.
    const bare = url.replace(/[?&/_]\w+=\{password\}/g, '').replaceAll('@', '');
    if (redact(bare) === bare) continue;
    throw new Error(
      `--camera ${id}: the address seems to have a key or token in it, and every user of this computer can read the command line. Start without this camera and add it in the editor.`,
    );
  }
}

/**
 * The cameras with the passwords of the environment, or of `ask` for those whose address names an account. Throws, saying how to
 * give one, where there is neither.
 * @param ask null without a terminal
 */
export async function withPasswords(
  cameras: readonly Camera[],
  passwords: ReadonlyMap<string, string>,
  ask: ((id: string) => Promise<string>) | null,
): Promise<Camera[]> {
  const complete: Camera[] = [];
  for (const camera of cameras) {
    const { id, url } = camera;
    const variable = variableOf(id);
    const twin = cameras.find((other) => other.id !== id && variableOf(other.id) === variable);
    const isWanted = url.includes(PLACE) || splitCredentials(url).username !== undefined;
    const given = passwords.get(variable);
    if (given !== undefined && twin) {
      throw new Error(`${variable} could be the password of ${id} and of ${twin.id}: rename one of these cameras`);
    }
    if (given !== undefined && !isWanted) {
      throw new Error(
        `${variable} is set, but the address of --camera ${id} names no user: write user@ before the host`,
      );
    }
    if (!isWanted) complete.push(camera);
    else if (given !== undefined) complete.push({ ...camera, password: given });
    else if (ask) complete.push({ ...camera, password: await ask(id) });
    else {
      throw new Error(
        `--camera ${id} needs a password: set ${variable} in the environment (empty for none), or start in a terminal to be asked`,
      );
    }
  }
  return complete;
}

/** Asks at the terminal; what is typed is not shown. Rejects when there is no answer (Ctrl-C, Ctrl-D). */
export function askPassword(id: string): Promise<string> {
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true, historySize: 0 });
  process.stderr.write(`Password of camera ${id} (not shown; Enter for none): `);
  return new Promise((resolve, reject) => {
    terminal.once('line', (line) => {
      resolve(line);
      terminal.close();
    });
    terminal.once('SIGINT', () => terminal.close());
    terminal.once('close', () => {
      process.stderr.write('\n');
      process.stdin.pause();
      reject(new Error(`no password for ${id}`)); // of no effect behind an answer
    });
  });
}
