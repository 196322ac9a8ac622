/** Which addresses a camera over HTTP may make us call, and how they are written for FFmpeg. Pure. */
import { EngineError } from '../types.ts';

/** A server that may be asked. */
export interface Target {
  host: string;
  port: number;
  tls: boolean;
}

/**
 * The servers of one camera. FFmpeg is only ever told `http:` addresses: {@link HttpRelay} has all of its requests, and
 * encrypts those to the ports that are said here to be encrypted.
 */
export class Targets {
  readonly own: Target;
  /** That of the camera, which may call itself by it. */
  ownAddress: string | null = null;
  private readonly others: readonly Target[];

  /**
   * The camera's own host: its port, and 443. Besides those that the address lists behind `#also=`, `host` or
   * `host:port`, separated by commas: they are asked without an account.
   */
  constructor(url: URL) {
    const tls = url.protocol === 'https:';
    this.own = { host: url.hostname, port: Number(url.port) || (tls ? 443 : 80), tls };
    const listed = /^#also=(.*)$/.exec(url.hash)?.[1]?.split(',') ?? [];
    this.others = [
      ...(this.own.port === 443 ? [] : [{ host: url.hostname, port: 443, tls: true }]),
      ...listed.flatMap((entry) => {
        const also = URL.parse(`http://${entry.trim()}`);
        if (!also) throw new EngineError('bad-url', 'behind #also= there must be hosts, separated by commas');
        if (also.port) return [{ host: also.hostname, port: Number(also.port), tls }];
        return [
          { host: also.hostname, port: 80, tls: false },
          { host: also.hostname, port: 443, tls: true },
        ];
      }),
    ];
  }

  /** The server of an address that FFmpeg asks for; null when it may not be asked. */
  find(url: URL): Target | null {
    if (url.protocol !== 'http:') return null;
    const port = Number(url.port) || 80;
    const address = url.hostname.replace(/^\[|\]$/g, '');
    const host = address === this.ownAddress ? this.own.host : url.hostname;
    return [this.own, ...this.others].find((target) => target.host === host && target.port === port) ?? null;
  }

  /**
   * Whether the account may go there: it is the camera's own host, and the connection is encrypted if the one that it
   * was set for is.
   */
  isOwn(target: Target): boolean {
    return target.host === this.own.host && (target.tls || !this.own.tls);
  }
}

/** An `https:` address as FFmpeg is told it. Others stay as they are. */
export function plain(address: string): string {
  const url = URL.parse(address);
  if (url?.protocol !== 'https:') return address;
  return `http://${url.hostname}:${url.port || 443}${url.pathname}${url.search}`;
}

/** The same for every address in a playlist. */
export function plainPlaylist(text: string): string {
  return text.replace(/https:\/\/(\[[0-9a-f:.]+\]|[^/:?#\s"'<>[\]]+)(:\d+)?/gi, (_, host: string, port?: string) => {
    return `http://${host}${port ?? ':443'}`;
  });
}
