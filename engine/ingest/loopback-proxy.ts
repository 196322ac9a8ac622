/** FFmpeg is told a proxy of ours on loopback in its environment, with a secret: no other program can use that proxy. */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import type { Problem } from './failure.ts';

/** FFmpeg has a few connections; programs that may not use a proxy shall not use up Node-RED's descriptors either. */
export const MAX_CONNECTIONS = 64;
/** For a request to be complete. */
export const HEAD_MS = 8000;

class ProxySecret {
  private readonly text = randomBytes(16).toString('hex');

  /** For FFmpeg's environment: of `http:` addresses everything goes through the proxy at this port. */
  env(port: number): Record<string, string> {
    return { http_proxy: `http://nvr:${this.text}@127.0.0.1:${port}`, no_proxy: '' };
  }

  /** @param header `Proxy-Authorization` */
  isIn(header: string | undefined): boolean {
    const expected = Buffer.from(`Basic ${Buffer.from(`nvr:${this.text}`).toString('base64')}`);
    const given = Buffer.from(header ?? '');
    return given.length === expected.length && timingSafeEqual(given, expected);
  }
}

/** What stands between FFmpeg and one camera. */
export abstract class LoopbackProxy {
  protected abstract readonly server: Server;
  protected readonly secret = new ProxySecret();
  protected failure: Problem | null = null;

  /** Rejects when no port can be had. */
  protected async listen(): Promise<this> {
    this.server.maxConnections = MAX_CONNECTIONS;
    this.server.listen(0, '127.0.0.1');
    await once(this.server, 'listening');
    this.server.on('error', () => undefined); // a connection that could not be taken: FFmpeg tells what it missed
    return this;
  }

  /** For FFmpeg's environment. */
  get env(): Record<string, string> {
    return this.secret.env((this.server.address() as AddressInfo).port);
  }

  /** Why the camera could not be asked, or where it wanted to lead us. */
  get problem(): Problem | null {
    return this.failure;
  }

  /** Pictures come: what went wrong until now did not keep them away. */
  forget(): void {
    this.failure = null;
  }

  abstract close(): void;
}
