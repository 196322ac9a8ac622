/** What has to be there before FFmpeg opens a camera's address, and while it has it open. */
import { inputScript, type InputOptions } from './ffmpeg-args.ts';
import type { Hidden } from './ffmpeg-process.ts';
import type { Problem } from './failure.ts';
import { HttpRelay, type HttpAccount } from './http-relay.ts';
import { RtspIntroduction } from './rtsp-introduction.ts';
import { refuseTunnelRedirect, resolveRtsp } from './rtsp-preflight.ts';
import type { Source } from './source-url.ts';

export interface Access {
  /** To make FFmpeg's arguments of. */
  source: Source;
  hidden: Hidden;
  /** Why there are no pictures, when we know better than FFmpeg. */
  problem(): Problem | null;
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
      const { scheme, userInfo, rest, account } = splitInput(source.input);
      if (options.transport === 'http') await refuseTunnelRedirect(scheme + rest, signal);
      const address = await resolveRtsp(scheme + rest, account, signal);
      const input = scheme + rest === address ? source.input : address.replace('//', () => `//${userInfo}`);
      if (options.transport === 'http') return direct({ ...source, input }, options);
      const introduction = await RtspIntroduction.open(input);
      return {
        source: { ...source, input: introduction.url },
        ...{ hidden: {}, problem: () => null, close: () => introduction.close() },
      };
    }
    case 'http': {
      const { scheme, rest, account } = splitInput(source.input);
      const relay = await HttpRelay.open(
        scheme + rest,
        account,
        secrets.filter((secret) => secret !== undefined && secret !== '').map((secret) => encodeURIComponent(secret!)),
      );
      return {
        source: { ...source, input: relay.url },
        hidden: { env: relay.env },
        problem: () => relay.problem,
        close: () => relay.close(),
      };
    }
    case 'rtmp':
      return direct(source, options);
    case 'file':
    case 'lavfi':
      return { source, hidden: { offline: true }, problem: () => null, close: () => undefined };
  }
}

function direct(source: Source, options: InputOptions): Access {
  return { source, hidden: { script: inputScript(source, options) }, problem: () => null, close: () => undefined };
}

/** The account that `parseSource` put into an address, taken out of it again. */
function splitInput(input: string): { scheme: string; userInfo: string; rest: string; account: HttpAccount | null } {
  const [, scheme = '', userInfo = '', rest = ''] = /^([a-z]+:\/\/)([^@/?#]*@)?(.*)$/i.exec(input) ?? [];
  const [, username = '', password = ''] = /^([^:]*):(.*)@$/.exec(userInfo) ?? [];
  const account = { username: decodeURIComponent(username), password: decodeURIComponent(password) };
  return { scheme, userInfo, rest, account: userInfo ? account : null };
}
