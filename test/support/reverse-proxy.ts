/** Debian's nginx and HAProxy before a Node-RED, as their users set them up; each on a port of its own, without root. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { freePort } from './node-red.ts';

const START_MS = 20_000;

/** @param host what `proxy_set_header Host` says */
const nginx = (port: number, target: number, folder: string, host: string): string => `
daemon off;
worker_processes 1;
pid ${folder}/pid;
error_log ${folder}/error.log;
events {}
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')}
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://127.0.0.1:${target};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header Host ${host};
    }
  }
}
`;

/** @param more a line of the backend */
const haproxy = (port: number, target: number, more: string): string => `
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1h
frontend front
  bind 127.0.0.1:${port}
  default_backend red
backend red
  ${more}
  server red 127.0.0.1:${target}
`;

export const PROXIES = {
  'nginx, Host $host': (port, target, folder) => ['nginx', nginx(port, target, folder, '$host')],
  'nginx, Host localhost': (port, target, folder) => ['nginx', nginx(port, target, folder, 'localhost')],
  HAProxy: (port, target) => ['haproxy', haproxy(port, target, '')],
  'HAProxy, Host localhost': (port, target) => [
    'haproxy',
    haproxy(port, target, 'http-request set-header Host localhost'),
  ],
} satisfies Record<string, (port: number, target: number, folder: string) => [program: string, config: string]>;

export class ReverseProxy {
  readonly port: number;
  private readonly child: ChildProcess;
  private readonly folder: string;

  private constructor(port: number, child: ChildProcess, folder: string) {
    this.port = port;
    this.child = child;
    this.folder = folder;
  }

  static async start(kind: keyof typeof PROXIES, target: number): Promise<ReverseProxy> {
    const [port, folder] = [await freePort(), mkdtempSync(join(tmpdir(), 'flow-nvr-proxy-'))];
    const [program, config] = PROXIES[kind](port, target, folder);
    const file = join(folder, 'config');
    writeFileSync(file, config);
    const args =
      program === 'nginx' ? ['-e', join(folder, 'error.log'), '-p', folder, '-c', file] : ['-db', '-f', file];
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` };
    const child = spawn(program, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
    let printed = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (printed += chunk.toString()));
    child.on('error', (error) => (printed += error.message));
    const proxy = new ReverseProxy(port, child, folder);
    for (const deadline = performance.now() + START_MS; !(await listens(port)); await wait(50)) {
      if (child.exitCode !== null || performance.now() > deadline) {
        await proxy.stop();
        throw new Error(`${program} does not start:\n${printed}`);
      }
    }
    return proxy;
  }

  async stop(): Promise<void> {
    if (this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null) {
      this.child.kill('SIGTERM');
      await once(this.child, 'exit');
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false; // not yet
  } finally {
    socket.destroy();
  }
}
