/**
 * A TCP proxy before an RTSP camera that does what real cameras do and GStreamer's server does not: when its client has
 * not read for a second it drops media packets, whole ones, until the client has caught up.
 *
 * What the client has read is known exactly, whatever the kernel's buffers hold: /proc/net/tcp tells the bytes that wait
 * at both ends of the connection. So this works for clients on the same machine only, over IPv4, with RTP interleaved.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';

const SAMPLE_MS = 50;
const PATIENCE_MS = 1000;
/** Bytes the proxy itself holds before it drops at once. */
const QUEUE_BYTES = 256 * 1024;

export interface ProxyCount {
  forwarded: number;
  dropped: number;
  /** Bytes that clients have read. */
  readBytes: number;
}

/** The messages of a server's side of an RTSP connection: interleaved packets and responses. */
export class InterleavedSplitter {
  #pending: Buffer = Buffer.alloc(0);

  /** `media` tells packets, which may be dropped, from responses, which may not. */
  push(chunk: Buffer): { media: boolean; data: Buffer }[] {
    const messages: { media: boolean; data: Buffer }[] = [];
    let rest: Buffer = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    for (let size = this.#size(rest); size > 0 && size <= rest.length; size = this.#size(rest)) {
      messages.push({ media: rest[0] === 0x24, data: rest.subarray(0, size) });
      rest = rest.subarray(size);
    }
    this.#pending = rest;
    return messages;
  }

  /** Size of the message at the start of the data; 0 while that is not known yet. */
  #size(data: Buffer): number {
    if (data.length < 4) return 0;
    if (data[0] === 0x24) return 4 + data.readUInt16BE(2);
    const end = data.indexOf('\r\n\r\n');
    if (end < 0) return 0;
    const body = /^content-length:\s*(\d+)/im.exec(data.toString('latin1', 0, end))?.[1] ?? '0';
    return end + 4 + Number(body);
  }
}

class Connection {
  readonly #client: Socket;
  readonly #camera: Socket;
  readonly #proxy: ImpatientProxy;
  readonly #splitter = new InterleavedSplitter();
  /** When which byte was handed to the kernel, oldest first: what the client has not read yet. */
  #unread: { upTo: number; at: number }[] = [];
  #written = 0;
  #read = 0;
  #impatient = false;

  constructor(client: Socket, proxy: ImpatientProxy) {
    this.#client = client;
    this.#proxy = proxy;
    this.#camera = connect(proxy.cameraPort, '127.0.0.1');
    client.setNoDelay(true);
    this.#camera.setNoDelay(true);
    client.pipe(this.#camera);
    this.#camera.on('data', (chunk) => this.#forward(chunk));
    for (const socket of [client, this.#camera]) {
      socket.on('error', () => undefined);
      socket.on('close', () => this.destroy());
    }
  }

  #forward(chunk: Buffer): void {
    for (const { media, data } of this.#splitter.push(chunk)) {
      if (media && (this.#impatient || this.#client.writableLength > QUEUE_BYTES)) {
        this.#proxy.count.dropped++;
        continue;
      }
      this.#proxy.count.forwarded += media ? 1 : 0;
      this.#client.write(data);
      this.#written += data.length;
      this.#unread.push({ upTo: this.#written, at: performance.now() });
    }
  }

  get ports(): [proxy: number, client: number] {
    return [this.#client.localPort ?? 0, this.#client.remotePort ?? 0];
  }

  /** Called with the bytes the kernel holds for this client. */
  observe(inKernel: number): void {
    const read = Math.max(this.#read, this.#written - this.#client.writableLength - inKernel);
    this.#proxy.count.readBytes += read - this.#read;
    this.#read = read;
    const next = this.#unread.findIndex(({ upTo }) => upTo > read);
    this.#unread.splice(0, next < 0 ? this.#unread.length : next);
    const oldest = this.#unread[0];
    this.#impatient = oldest !== undefined && performance.now() - oldest.at > PATIENCE_MS;
  }

  destroy(): void {
    this.#client.destroy();
    this.#camera.destroy();
    this.#proxy.connections.delete(this);
  }
}

export class ImpatientProxy {
  readonly cameraPort: number;
  readonly connections = new Set<Connection>();
  readonly count: ProxyCount = { forwarded: 0, dropped: 0, readBytes: 0 };
  /** What clients had read when, for finding a dip. */
  readonly history: { time: number; readBytes: number }[] = [];
  readonly #server: Server;
  #timer: NodeJS.Timeout | undefined;

  constructor(cameraPort: number) {
    this.cameraPort = cameraPort;
    this.#server = createServer((client) => this.connections.add(new Connection(client, this)));
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async start(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#timer = setInterval(() => void this.#sample(), SAMPLE_MS);
    return this;
  }

  async #sample(): Promise<void> {
    const waiting = new Map<string, number>();
    for (const line of (await readFile('/proc/net/tcp', 'latin1')).split('\n').slice(1)) {
      const [, local, remote, , queues] = line.trim().split(/\s+/);
      if (local === undefined || remote === undefined || queues === undefined) continue;
      const [tx, rx] = queues.split(':').map((hex) => Number.parseInt(hex, 16));
      const [from, to] = [local, remote].map((address) => Number.parseInt(address.split(':')[1]!, 16));
      waiting.set(`${from}>${to} tx`, tx!);
      waiting.set(`${from}>${to} rx`, rx!);
    }
    for (const connection of this.connections) {
      const [proxy, client] = connection.ports;
      connection.observe((waiting.get(`${proxy}>${client} tx`) ?? 0) + (waiting.get(`${client}>${proxy} rx`) ?? 0));
    }
    this.history.push({ time: Date.now(), readBytes: this.count.readBytes });
  }

  /** The lowest rate over any window of this length between two instants, in bytes a second. */
  lowestRate(fromMs: number, toMs: number, windowMs: number): number {
    const samples = this.history.filter(({ time }) => time >= fromMs && time <= toMs);
    let lowest = Infinity;
    let begin = 0;
    for (const end of samples) {
      while (end.time - samples[begin]!.time > windowMs) begin++;
      const start = samples[Math.max(0, begin - 1)]!;
      const span = end.time - start.time;
      if (span >= windowMs) lowest = Math.min(lowest, ((end.readBytes - start.readBytes) * 1000) / span);
    }
    return lowest;
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer);
    for (const connection of this.connections) connection.destroy();
    this.#server.close();
    await once(this.#server, 'close');
  }
}

export const startImpatientProxy = (cameraPort: number): Promise<ImpatientProxy> =>
  new ImpatientProxy(cameraPort).start();
