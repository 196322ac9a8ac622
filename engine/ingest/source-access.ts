/** What has to be there before FFmpeg opens a camera's address, and while it has it open. */
import { inputScript, type Input, type InputOptions } from './ffmpeg-args.ts';
import type { Hidden } from './ffmpeg-process.ts';
import type { Problem } from './failure.ts';
import { HttpRelay, type HttpAccount } from './http-relay.ts';
import { resolveRtsp } from './rtsp-preflight.ts';
import { RtspHandover } from './rtsp-handover.ts';
import { RtspTunnel } from './rtsp-tunnel.ts';
import type { Source } from './source-url.ts';

export interface Access {
  /** To make FFmpeg's arguments of. */
  source: Input;
  hidden: Hidden;
  /** Why there are no pictures, when we know better than FFmpeg. */
  problem(): Problem | null;
  /** Pictures come: what went wrong until now did not keep them away. */
  forget(): void;
  close(): void;
}

/**
 * Makes sure that FFmpeg asks no host but the camera's, and that no password is in its command line.
 * Rejects with `redirect` when the camera leads to another host.
 *
 * @param secrets that may stand in the path of the address
 */
export async function openAccess(
  source: Source,
  options: InputOptions,
  { secrets = [], signal }: { secrets?: readonly (string | undefined)[]; signal?: AbortSignal } = {},
): Promise<Access> {
  switch (source.kind) {
    case 'rtsp': {
      if (options.transport === 'http') return tunnel(source, options);
      const { scheme, userInfo, rest, account } = splitInput(source.input);
      const address = await resolveRtsp(scheme + rest, account, signal);
      const input = scheme + rest === address ? source.input : address.replace('//', () => `//${userInfo}`);
      return handOver({ ...source, input }, options);
    }
    case 'http': {
      const { scheme, rest, account } = splitInput(source.input);
      const relay = await HttpRelay.open(
        scheme + rest,
        account,
        secrets
          .filter((secret) => secret !== undefined && secret !== '')
          .map((secret) => encodeURIComponent(secret!.toWellFormed())),
      );
      return {
        source: { ...source, input: relay.url },
        hidden: { env: relay.env },
        ...watched(relay),
      };
    }
    case 'rtmp':
      return direct(source, options);
    case 'file':
    case 'lavfi': {
      const access = direct(source, options);
      return { ...access, hidden: { ...access.hidden, offline: true } };
    }
  }
}

async function handOver(source: Source, options: InputOptions): Promise<Access> {
  const handover = await RtspHandover.open(source.input);
  if (!handover) return direct(source, options);
  const close = (): void => handover.close();
  return {
    source: { ...source, input: handover.url, isOpen: true },
    // It was asked for once pictures come.
    ...{ hidden: {}, problem: () => null, forget: close, close },
  };
}

/** The port is written out, so that FFmpeg and the tunnel mean the same. */
async function tunnel(source: Source, options: InputOptions): Promise<Access> {
  const { scheme, userInfo, rest } = splitInput(source.input);
  const { host, port } = source.endpoint!;
  const opened = await RtspTunnel.open({ host, port, tls: scheme.toLowerCase() === 'rtsps://' });
  const input = `${scheme}${userInfo}${rest.replace(/^(\[[^\]]*\]|[^:/?#]*)(:\d*)?/, (_, name: string) => `${name}:${port}`)}`;
  return {
    source: { ...source, input },
    hidden: { script: inputScript({ ...source, input }, options), env: opened.env },
    ...watched(opened),
  };
}

function watched(between: HttpRelay | RtspTunnel): Pick<Access, 'problem' | 'forget' | 'close'> {
  return {
    problem: () => between.problem,
    forget: () => between.forget(),
    close: () => between.close(),
  };
}

function direct(source: Source, options: InputOptions): Access {
  const nothing = (): void => undefined;
  return {
    ...{ source, hidden: { script: inputScript(source, options) } },
    ...{ problem: () => null, forget: nothing, close: nothing },
  };
}

/** The account that `parseSource` put into an address, taken out of it again. */
function splitInput(input: string): { scheme: string; userInfo: string; rest: string; account: HttpAccount | null } {
  const [, scheme = '', userInfo = '', rest = ''] = /^([a-z]+:\/\/)([^@/?#]*@)?(.*)$/i.exec(input) ?? [];
  const [, username = '', password = ''] = /^([^:]*):(.*)@$/.exec(userInfo) ?? [];
  const account = { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  return { scheme, userInfo, rest, account: userInfo ? account : null };
}
