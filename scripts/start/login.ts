/** The editor's login of `npm start`: set at the terminal, kept as a bcrypt hash in the user folder. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline/promises';
import { createRequire } from 'node:module';
import { Writable } from 'node:stream';
import { hash } from 'bcryptjs';
import { LOGIN_FILE } from '../../nodes/guard.ts';

const ROUNDS = 10;
const LEAST_LENGTH = 8;
/** More, and bcrypt does not look at it (bytes). */
const MOST_BYTES = 72;

/** Asks, or takes what the environment says where nobody can be asked. Rejects with what is wrong with a password. */
export async function setLogin(userDir: string): Promise<void> {
  const given = process.env['FLOW_NVR_EDITOR_PASSWORD'];
  const { username, password } =
    given !== undefined ? { username: process.env['FLOW_NVR_EDITOR_USER'] || 'admin', password: given } : await ask();
  delete process.env['FLOW_NVR_EDITOR_PASSWORD']; // Node-RED does not need it
  if (password.length < LEAST_LENGTH) throw new Error(`the password needs at least ${LEAST_LENGTH} characters`);
  if (Buffer.byteLength(password) > MOST_BYTES) throw new Error(`the password has more than ${MOST_BYTES} bytes`);
  const login = { username, hash: await hash(password, ROUNDS) };
  writeFileSync(join(userDir, LOGIN_FILE), `${JSON.stringify(login)}\n`, { mode: 0o600 });
}

async function ask(): Promise<{ username: string; password: string }> {
  if (!process.stdin.isTTY) throw new Error('--login needs a terminal, or FLOW_NVR_EDITOR_PASSWORD');
  let silent = false;
  const output = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      if (!silent) process.stdout.write(chunk);
      done();
    },
  });
  const terminal = createInterface({ input: process.stdin, output, terminal: true });
  const aside = async (question: string): Promise<string> => {
    process.stdout.write(question);
    silent = true;
    const answer = await terminal.question('');
    silent = false;
    process.stdout.write('\n');
    return answer;
  };
  try {
    const username = (await terminal.question("User name for Node-RED's editor (admin): ")).trim() || 'admin';
    const password = await aside('Password: ');
    if ((await aside('Once more: ')) !== password) throw new Error('the two passwords are not the same');
    return { username, password };
  } finally {
    terminal.close();
  }
}

/**
 * Does not open an editor without a login to the network unless that is said; but a service that ran so goes on.
 *
 * @returns what to tell the user at the end, or null
 * @throws Error that says what to add to the command
 */
export function requireLogin(start: {
  userDir: string;
  host: string;
  noLogin: boolean;
  first: boolean;
}): string | null {
  const { userDir, host, noLogin, first } = start;
  if (existsSync(join(userDir, LOGIN_FILE)) || hasOwnLogin(userDir)) return null;
  if (/^(127\.\d+\.\d+\.\d+|::1|localhost)$/.test(host)) {
    return 'Whoever uses this computer can open the editor. To set a password: npm start -- --login';
  }
  const open = `whoever reaches ${host} could open the editor, and run programs on this computer by it`;
  if (!noLogin && (first || process.stdin.isTTY)) {
    throw new Error(`Without a login ${open}. Add --login to set a password, or --no-login to open it all the same`);
  }
  return `There is no login: ${open}. To set a password: npm start -- --login`;
}

/** Whether the user's own settings.js asks for one. */
function hasOwnLogin(userDir: string): boolean {
  const settings = createRequire(import.meta.url)(join(userDir, 'settings.js')) as { adminAuth?: unknown };
  return Boolean(settings.adminAuth);
}
