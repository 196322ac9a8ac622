/**
 * A connection to a broker: messages at QoS 1 that count when the broker has acknowledged them, states that are retained
 * there and told anew at each connection, and commands.
 */
import { randomBytes } from 'node:crypto';
import { connect, type IClientOptions, type MqttClient } from 'mqtt';
import { Refused, type Channel } from './outbox.ts';
import type { MqttSpec, Parcel } from './types.ts';

const RECONNECT_MS = 1000;
const CONNECT_TIMEOUT_MS = 15_000;
const KEEPALIVE_S = 30;
/** A broker that is connected acknowledges sooner, or is to be taken for gone. */
const ACKNOWLEDGE_MS = 30_000;
const IN_FLIGHT = 16;
/** Larger commands are none. */
const MAX_COMMAND_BYTES = 64 * 1024;

export interface MqttEffects {
  state: (connected: boolean, problem: string | null) => void;
  command: (topic: string, payload: string) => void;
  /** The broker has forgotten the state, as it should. */
  released: (topic: string) => void;
}

/** Options for the client; with a name that no other client has, or each would push the other out. */
export function clientOptions({ username, password, version, tls, statusTopic }: MqttSpec, id: string): IClientOptions {
  const options: IClientOptions = {
    ...{ clientId: id, protocolVersion: version, clean: true, keepalive: KEEPALIVE_S, resubscribe: true },
    ...{ reconnectPeriod: RECONNECT_MS, connectTimeout: CONNECT_TIMEOUT_MS, queueQoSZero: false },
    ...(username ? { username, password: password ?? '' } : {}),
    will: { topic: statusTopic, payload: Buffer.from('offline'), qos: 1, retain: true },
  };
  return tls ? { ...options, ...tls } : options;
}

/** What to do about it, for the node's status. */
export function problemOf(error: Error & { code?: number | string }, { url, version }: MqttSpec): string {
  const { host } = new URL(url);
  if (error.code === 1 || error.code === 0x84) {
    return `the broker ${host} does not speak MQTT ${version === 5 ? '5' : '3.1.1'}: choose the other version`;
  }
  if ([4, 5, 0x86, 0x87].includes(error.code as number)) {
    return `the broker ${host} refuses the login: check user name, password and its access rules`;
  }
  if (error.code === 'ECONNREFUSED') return `no broker answers at ${host}: check address and port`;
  if (error.code === 'ENOTFOUND') return `the host of ${host} is not known: check the address`;
  return `the broker ${host} cannot be reached: ${error.message || String(error.code)}`;
}

export class MqttChannel implements Channel {
  readonly limit = IN_FLIGHT;
  private readonly spec: MqttSpec;
  private readonly effects: MqttEffects;
  private readonly client: MqttClient;
  private readonly states = new Map<string, string | Uint8Array | null>();
  private readonly pending = new Set<(error: Error) => void>();
  private closed = false;

  constructor(spec: MqttSpec, effects: MqttEffects) {
    this.spec = spec;
    this.effects = effects;
    const options = clientOptions(spec, `flow-nvr-${randomBytes(6).toString('hex')}`);
    this.client = connect(spec.url, { ...options, manualConnect: true });
    let problem: string | null = null;
    this.client.on('connect', () => {
      problem = null;
      this.onConnect();
    });
    this.client.on('error', (error) => {
      problem = problemOf(error, spec);
      this.effects.state(false, problem);
    });
    this.client.on('close', () => {
      if (!this.closed) this.effects.state(false, problem ?? `the connection to ${new URL(spec.url).host} was lost`);
    });
    this.client.on('message', (topic, payload, { retain }) => {
      if (topic === spec.statusTopic) {
        // The last will of an earlier connection, of which the broker has only now noticed that it broke.
        if (this.ready && payload.toString('latin1') === 'offline') this.tellOnline();
        return;
      }
      // A command that the broker kept is one for another time.
      if (!retain && payload.length <= MAX_COMMAND_BYTES) this.effects.command(topic, payload.toString('utf8'));
    });
  }

  open(): void {
    if (!this.closed) this.client.connect();
  }

  get ready(): boolean {
    return this.client.connected && !this.closed;
  }

  private onConnect(): void {
    const { subscribe, statusTopic } = this.spec;
    if (subscribe.length > 0) {
      this.client.subscribe(subscribe, { qos: 1 }, (error, granted) => {
        if (error && this.ready) this.effects.state(true, `the broker refuses the commands: ${error.message}`);
        else if (granted?.some(({ qos }) => (qos as number) >= 0x80)) {
          this.effects.state(true, 'the broker refuses the commands: check its access rules');
        }
      });
    }
    this.effects.state(true, null);
    // It may have lost what it retained. Availability comes last: then all that is available is there.
    for (const topic of this.states.keys()) this.tell(topic);
    this.tellOnline();
    this.client.subscribe(statusTopic, { qos: 1 }); // where access rules forbid it, it is not heard
  }

  private tellOnline(): void {
    this.client.publish(this.spec.statusTopic, 'online', { qos: 1, retain: true });
  }

  /** Retained at the broker, now and after each connection; null removes it there. */
  setState(topic: string, payload: string | Uint8Array | null): void {
    const known = this.states.get(topic);
    if (known !== undefined && same(known, payload)) return;
    this.states.set(topic, payload);
    if (this.ready) this.tell(topic);
  }

  /** Of its states. */
  get topics(): Iterable<string> {
    return this.states.keys();
  }

  private tell(topic: string): void {
    const payload = this.states.get(topic);
    if (payload === undefined) return;
    const bytes = typeof payload === 'string' ? payload : Buffer.from(payload ?? []);
    this.client.publish(topic, bytes, { qos: 1, retain: true }, (error) => {
      // What failed comes with the next connection.
      if (error || payload !== null || this.states.get(topic) !== null) return;
      this.states.delete(topic);
      this.effects.released(topic);
    });
  }

  deliver({ topic, body }: Parcel): Promise<void> {
    return new Promise((resolve, reject) => {
      const fail = (error: Error): void => {
        clearTimeout(timer);
        this.pending.delete(fail);
        reject(error);
      };
      const timer = setTimeout(() => {
        // A connection that takes no more is none; the client makes a new one, and sends again what is open.
        fail(new Error('the broker has not acknowledged it'));
        if (this.ready) this.client.stream.destroy();
      }, ACKNOWLEDGE_MS);
      this.pending.add(fail);
      // Where the connection breaks before the acknowledgement, the client sends it again on the next.
      this.client.publish(topic, body, { qos: 1 }, (error) => {
        if (error) {
          const { code, message } = error as Error & { code?: number | string };
          fail(typeof code === 'number' ? new Refused(`the broker refuses it: ${message}`) : error);
          return;
        }
        clearTimeout(timer);
        this.pending.delete(fail);
        resolve();
      });
    });
  }

  async close(): Promise<void> {
    if (this.closed) return;
    const { connected } = this.client;
    this.closed = true;
    // An orderly end is none that the broker tells of by itself.
    if (connected) {
      const said = new Promise<void>((resolve) => {
        this.client.publish(this.spec.statusTopic, 'offline', { qos: 1, retain: true }, () => resolve());
        setTimeout(resolve, 500).unref();
      });
      await said;
    }
    for (const fail of [...this.pending]) fail(new Error('the connection was ended'));
    await this.client.endAsync(true);
  }
}

function same(a: string | Uint8Array | null, b: string | Uint8Array | null): boolean {
  if (a === null || b === null || typeof a === 'string' || typeof b === 'string') return a === b;
  return Buffer.compare(a, b) === 0;
}
