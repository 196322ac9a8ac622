import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Check, Finding } from './types.ts';

const LOAD_MS = 10_000;

/** What is known of a settings file: no value of it, but the address that Node-RED listens at. */
interface Facts {
  adminAuth: boolean;
  adminRoot: boolean;
  httpNodeAuth: boolean;
  dashboardMiddleware: boolean;
  dashboardIoMiddleware: boolean;
  credentialSecret: boolean;
  https: boolean;
  uiHost: string;
}

/**
 * Runs in a process of its own, for settings are a program: it may wait for ever, end its process, or print secrets. What
 * it prints goes nowhere; the facts come over the channel.
 */
const LOADER = `
  const { default: settings } = await import(process.argv[1]);
  const set = (value) => value !== undefined && value !== null && value !== '';
  process.send({
    adminAuth: set(settings.adminAuth),
    adminRoot: settings.httpAdminRoot !== false,
    httpNodeAuth: set(settings.httpNodeAuth),
    dashboardMiddleware: set(settings.dashboard?.middleware),
    dashboardIoMiddleware: set(settings.dashboard?.ioMiddleware),
    credentialSecret: set(settings.credentialSecret) && settings.credentialSecret !== false,
    https: set(settings.https),
    uiHost: typeof settings.uiHost === 'string' ? settings.uiHost : '',
  }, () => process.exit(0));
`;

function factsOf(file: string): Promise<Facts | null> {
  return new Promise((done) => {
    const args = ['--input-type=module', '-e', LOADER, pathToFileURL(resolve(file)).href];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'ignore', 'ipc'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), LOAD_MS);
    let facts: Facts | null = null;
    child.on('message', (message) => (facts = message as Facts));
    child.on('error', () => undefined); // `close` follows
    child.on('close', () => {
      clearTimeout(timer);
      done(facts);
    });
  });
}

const LOCAL = /^(127\.\d+\.\d+\.\d+|::1|localhost)$/;

function findingsOf(facts: Facts): Finding[] {
  const local = LOCAL.test(facts.uiHost);
  /** Open to everybody who reaches it: a problem in a network, and advice on this computer alone. */
  const need = (given: boolean, text: string, missing: string, advice: string): Finding =>
    given ? { level: 'ok', text } : { level: local ? 'advice' : 'problem', text: missing, advice };
  const findings: Finding[] = [
    local
      ? { level: 'ok', text: `uiHost: only this computer reaches Node-RED (${facts.uiHost})` }
      : {
          ...{ level: 'advice', text: 'uiHost: the network reaches Node-RED' },
          advice: 'Set uiHost to 127.0.0.1 unless other computers, and not a proxy on this one, are to open it.',
        },
  ];
  if (facts.adminRoot) {
    findings.push(
      need(
        facts.adminAuth,
        'adminAuth: the editor asks for a login',
        'adminAuth is not set: whoever opens the editor may run any program',
        'Set adminAuth: https://nodered.org/docs/user-guide/runtime/securing-node-red',
      ),
    );
  }
  findings.push(
    need(
      facts.httpNodeAuth || facts.dashboardMiddleware,
      'the dashboard’s pages ask who opens them',
      'neither httpNodeAuth nor dashboard.middleware is set: whoever reaches the dashboard sees it',
      'Set httpNodeAuth, or dashboard.middleware.',
    ),
    need(
      facts.dashboardIoMiddleware,
      'dashboard.ioMiddleware guards the dashboard’s socket',
      'dashboard.ioMiddleware is not set: the dashboard’s socket takes messages without a login, also with httpNodeAuth',
      'Set dashboard.ioMiddleware to a function that looks at the login.',
    ),
    facts.credentialSecret
      ? { level: 'ok', text: 'credentialSecret is set' }
      : {
          ...{
            level: 'advice',
            text: 'credentialSecret is not set: the cameras’ passwords are encrypted with a key that lies beside them',
          },
          advice: 'Set credentialSecret, and keep it apart from backups of the user folder.',
        },
    facts.https || local
      ? { level: 'ok', text: facts.https ? 'https is set' : 'https is not needed: nothing leaves this computer' }
      : {
          ...{ level: 'advice', text: 'https is not set: passwords and pictures cross the network in the clear' },
          advice: 'Set https, or put a proxy with a certificate in front.',
        },
  );
  return findings;
}

export const exposure: Check = {
  id: 'exposure',
  title: 'Node-RED’s settings',
  run: async ({ settings }) => {
    if (settings === null) return [];
    const facts = await factsOf(settings);
    if (facts) return findingsOf(facts);
    // Nothing of what went wrong is shown: messages of a program quote it.
    return [
      { level: 'problem', text: `${settings} could not be loaded within ${LOAD_MS / 1000} s, or has no settings` },
    ];
  },
};
