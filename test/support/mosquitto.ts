/** Debian's Mosquitto as the tests' broker, and a client that writes down what it gets. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createConnection, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { connectAsync, type IClientOptions, type MqttClient } from 'mqtt';

export async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A broker that can be killed and started again on the same port. */
export class Mosquitto {
  readonly port: number;
  private readonly folder: string;
  private child: ChildProcess | null = null;
  private readonly onExit = (): void => void this.child?.kill('SIGKILL');

  private constructor(port: number, folder: string) {
    this.port = port;
    this.folder = folder;
    process.on('exit', this.onExit);
  }

  /** @param lines more of its configuration; `{folder}` in it is a folder for files */
  static async start(
    lines: readonly string[] = ['allow_anonymous true'],
    files: Record<string, string> = {},
  ): Promise<Mosquitto> {
    const folder = await mkdtemp(join(tmpdir(), 'flow-nvr-mosquitto-'));
    const broker = new Mosquitto(await freePort(), folder);
    for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text, { mode: 0o644 });
    const listener = `listener ${broker.port} 127.0.0.1`;
    // It keeps nothing unless told to; root would otherwise become the user mosquitto, who cannot read the folder.
    const keeps = lines.some((line) => line.startsWith('persistence ')) ? [] : ['persistence false'];
    const config = [listener, ...keeps, 'user root', ...lines].join('\n').replaceAll('{folder}', folder);
    await writeFile(join(folder, 'mosquitto.conf'), `${config}\n`);
    await broker.start();
    return broker;
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const env = { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/local/sbin` };
    const child = spawn('mosquitto', ['-c', join(this.folder, 'mosquitto.conf')], {
      env,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    this.child = child;
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()));
    for (let i = 0; i < 200; i++) {
      if (child.exitCode !== null) throw new Error(`Mosquitto ended: ${said}`);
      const socket = createConnection({ host: '127.0.0.1', port: this.port });
      const open = await new Promise<boolean>((resolve) => {
        socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
      });
      socket.destroy();
      if (open) return;
      await wait(25);
    }
    throw new Error(`Mosquitto does not listen: ${said}`);
  }

  signal(name: NodeJS.Signals): void {
    this.child?.kill(name);
  }

  async kill(): Promise<void> {
    const { child } = this;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  async dispose(): Promise<void> {
    await this.kill();
    process.off('exit', this.onExit);
    await rm(this.folder, { recursive: true, force: true });
  }
}

export interface Heard {
  topic: string;
  payload: Buffer;
  retain: boolean;
}

/** Somebody else at the broker. */
export class Listener {
  readonly heard: Heard[] = [];
  readonly client: MqttClient;

  private constructor(client: MqttClient) {
    this.client = client;
    client.on('message', (topic, payload, { retain }) => this.heard.push({ topic, payload, retain }));
  }

  static async connect(url: string, filter: string, options: IClientOptions = {}): Promise<Listener> {
    const client = await connectAsync(url, { reconnectPeriod: 200, protocolVersion: 5, ...options });
    const listener = new Listener(client);
    await client.subscribeAsync(filter, { qos: 1 });
    return listener;
  }

  /** Texts of a topic, in order. */
  texts(topic: string): string[] {
    return this.heard.filter((of) => of.topic === topic).map(({ payload }) => payload.toString());
  }

  json(topic: string): Record<string, unknown>[] {
    return this.texts(topic).map((text) => JSON.parse(text) as Record<string, unknown>);
  }

  async close(): Promise<void> {
    await this.client.endAsync(true);
  }
}

/** Waits until it is true, or says what was there instead. */
export async function until(what: string, test: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await test())) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await wait(20);
  }
}
