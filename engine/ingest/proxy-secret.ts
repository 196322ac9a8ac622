/** FFmpeg is told a proxy of ours on loopback in its environment, with a secret: no other program can use that proxy. */
import { randomBytes, timingSafeEqual } from 'node:crypto';

/** FFmpeg has a few connections; programs that may not use a proxy shall not use up Node-RED's descriptors either. */
export const MAX_CONNECTIONS = 64;
/** For a request to be complete. */
export const HEAD_MS = 8000;

export class ProxySecret {
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
