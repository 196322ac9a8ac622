/**
 * A client of the dashboard's socket that is no browser: Engine.IO 4 over HTTP long polling, with Socket.IO 5 in it, spoken
 * by hand, so that it can say what no page of Dashboard says.
 */
import { request } from 'node:http';

export interface DashboardAddress {
  /** Of Node-RED, or of a proxy before it. */
  port: number;
  headers?: Record<string, string>;
}

interface Answer {
  status: number;
  body: string;
}

function ask({ port, headers = {} }: DashboardAddress, query: string, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asking = request(
      {
        ...{ host: '127.0.0.1', port, path: `/dashboard/socket.io/?EIO=4&transport=polling${query}` },
        ...{ method: body === undefined ? 'GET' : 'POST', headers: { 'Content-Type': 'text/plain', ...headers } },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
        response.on('error', reject);
      },
    );
    asking.on('error', reject);
    asking.end(body);
  });
}

export class DashboardSocket {
  /** Events as they came: `['widget-load:x', {…}]`. */
  readonly events: unknown[][] = [];
  private readonly address: DashboardAddress;
  private readonly sid: string;

  private constructor(address: DashboardAddress, sid: string) {
    this.address = address;
    this.sid = sid;
  }

  /** Rejects with what the server says when it lets nobody in. */
  static async open(address: DashboardAddress): Promise<DashboardSocket> {
    const { status, body } = await ask(address, '');
    if (status !== 200 || !body.startsWith('0')) throw new Error(`the handshake answers ${status} ${body}`);
    const { sid } = JSON.parse(body.slice(1)) as { sid: string };
    const socket = new DashboardSocket(address, sid);
    await socket.post('40');
    for (;;) {
      for (const packet of await socket.poll()) {
        if (packet.startsWith('40')) return socket;
        if (packet.startsWith('44')) throw new Error(`refused: ${packet.slice(2)}`);
        if (packet === '41' || packet === '1') throw new Error('closed');
      }
    }
  }

  private async post(packet: string): Promise<void> {
    const { status, body } = await ask(this.address, `&sid=${this.sid}`, packet);
    if (status !== 200) throw new Error(`a packet is answered ${status} ${body}`);
  }

  private async poll(): Promise<string[]> {
    const { status, body } = await ask(this.address, `&sid=${this.sid}`);
    if (status !== 200) throw new Error(`polling answers ${status} ${body}`);
    const packets = body.split('\x1e');
    for (const packet of packets) {
      if (packet === '2') await this.post('3');
      if (packet.startsWith('42')) this.events.push(JSON.parse(packet.slice(2)) as unknown[]);
    }
    return packets;
  }

  emit(...event: unknown[]): Promise<void> {
    return this.post(`42${JSON.stringify(event)}`);
  }

  /** What Dashboard keeps for a widget. */
  async load(id: string): Promise<unknown[]> {
    const name = `widget-load:${id}`;
    this.events.length = 0;
    await this.emit('widget-load', id);
    for (;;) {
      const found = this.events.find(([event]) => event === name);
      if (found) return found.slice(1);
      await this.poll();
    }
  }
}
