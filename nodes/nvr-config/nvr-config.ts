/** Config node: where and how to store. Owns the engine that its nodes share, across Deploys. */
import type { NodeAPI, NodeDef } from 'node-red';
import { EngineHost } from '../../engine/engine-host.ts';
import { NvrService } from '../../engine/http/service.ts';
import { RIGHTS, type Grant, type Right } from '../../engine/http/tokens.ts';
import { EngineError, type EngineConfig } from '../../engine/types.ts';
import { adminRoute } from '../shared/admin-routes.ts';
import { textOf, type NvrConfigNode } from '../shared/nvr.ts';
import { offerDashboardLinks } from './dashboard-link.ts';
import { guardEditor } from './editor-guard.ts';
import { FfmpegPrograms, findProgram, missingProgram, tooOld } from './ffmpeg-program.ts';
import { HttpServer } from './http-server.ts';
import { surroundings } from './surroundings.ts';
import { compressDashboards } from './thin-links.ts';
import { checkPaths, toEngineConfig, type NvrConfigProperties, type Problem } from './settings.ts';

/** Engines outlive the nodes that use them by this, so that a Deploy can take them up again. */
const GRACE_MS = 12_000;
/** A year. */
const MAX_TOKEN_MINUTES = 366 * 24 * 60;

interface Shared {
  host: EngineHost;
  service: NvrService;
  key: string;
  closing: NodeJS.Timeout | null;
}

export default function register(RED: NodeAPI): void {
  const engines = new Map<string, Shared>();
  const userDir = RED.settings.userDir ?? process.cwd();
  const http = new HttpServer(RED);
  const programs = new FfmpegPrograms(RED.settings.userDir);
  const around = surroundings(RED);
  compressDashboards(RED);
  guardEditor(RED);
  offerDashboardLinks(RED);
  let stopping = false;
  const onSignal = (): void => {
    stopping = true;
  };
  // Before Node-RED's own handlers: they close the nodes, and the nodes must know that it is for good.
  process.prependOnceListener('SIGINT', onSignal);
  process.prependOnceListener('SIGTERM', onSignal);
  // Node-RED ends upon these, too. A program that has it built in may not: then they are left to that.
  for (const signal of ['SIGHUP', 'SIGUSR2', 'SIGBREAK'] as const) {
    if (process.listenerCount(signal) > 0) process.prependOnceListener(signal, onSignal);
  }

  /** The engine of a config node: the one from before the Deploy when nothing changed. */
  function takeUp(id: string, config: EngineConfig): Shared {
    const key = JSON.stringify(config);
    const found = engines.get(id);
    if (found?.closing) clearTimeout(found.closing);
    if (found?.key === key) {
      found.closing = null;
      return found;
    }
    // The old engine ends its files while the new one starts its own.
    if (found) endAlone(found);
    const host = new EngineHost(config);
    const shared = { host, service: new NvrService(host, around(id)), key, closing: null };
    engines.set(id, shared);
    return shared;
  }

  async function end({ host, service }: Shared): Promise<void> {
    await Promise.all([host.shutdown(), service.close()]);
  }

  /** Nobody waits for it, so what fails is for the log: a rejection that nobody hears would end Node-RED. */
  function endAlone(shared: Shared): void {
    end(shared).catch((error: unknown) => RED.log.error(`nvr: an engine did not end in order: ${textOf(error)}`));
  }

  /** What is no FFmpeg gets nothing. One that is missing may come yet: the cameras try again, and say so until then. */
  function checkProgram(node: NvrConfigNode, { ffmpegPath }: NvrConfigProperties): Problem | undefined {
    const program = ffmpegPath || 'ffmpeg';
    const file = findProgram(program);
    if (!file) {
      node.error(missingProgram(program));
      return undefined;
    }
    try {
      const old = tooOld(programs.check(file));
      if (old) node.error(old);
      return undefined;
    } catch (error) {
      return { field: 'ffmpegPath', message: textOf(error) };
    }
  }

  function NvrConfig(this: NvrConfigNode, properties: NodeDef & NvrConfigProperties): void {
    RED.nodes.createNode(this, properties);
    this.host = null;
    this.service = null;
    this.httpPath = null;
    const path = (properties.httpPath || 'nvr').replace(/^\/|\/$/g, '');
    const [problem = checkProgram(this, properties)] = checkPaths(properties, userDir);
    this.problem = problem?.message ?? null;
    if (problem) {
      this.error(problem.message);
    } else {
      const config = toEngineConfig(properties, userDir);
      const shared = takeUp(this.id, config);
      this.host = shared.host;
      this.service = shared.service;
      this.httpPath = path;
      const taken = http.serve(path, this.id, shared.service, {
        access: properties.dashboardAccess ?? 'control',
        open: properties.openToNetwork === true,
      });
      if (taken) this.error(taken);
    }
    const { host } = this;
    const onProblem = (message: string | null): void => {
      if (message) this.error(message);
    };
    host?.on('problem', onProblem);
    this.on('close', (removed: boolean, done: () => void) => {
      host?.off('problem', onProblem);
      // Before all else: one with a problem has no engine, and may have had a path before it.
      http.release(this.id, removed || stopping);
      const shared = engines.get(this.id);
      if (!shared || shared.host !== host) {
        done();
        return;
      }
      if (removed || stopping) {
        engines.delete(this.id);
        void end(shared).then(done, done);
        return;
      }
      shared.closing = setTimeout(() => {
        engines.delete(this.id);
        http.release(this.id, true);
        endAlone(shared);
      }, GRACE_MS).unref();
      done();
    });
  }
  RED.nodes.registerType('nvr-config', NvrConfig as never);

  // While somebody types, nothing is started: a path in a request is not run. That is left to Deploy.
  adminRoute(RED, 'post', '/nvr/check-config', 'nvr-config.write', ({ body }) => {
    const text = (field: keyof NvrConfigProperties): string => {
      const value = body[field];
      return typeof value === 'string' ? value : '';
    };
    const properties: NvrConfigProperties = {
      storage: text('storage'),
      catalog: text('catalog'),
      ffmpegPath: text('ffmpegPath'),
      httpPath: text('httpPath'),
    };
    const problems = checkPaths(properties, userDir);
    const program = properties.ffmpegPath || 'ffmpeg';
    const file = findProgram(program);
    const version = file && programs.knownVersion(file);
    const message = file ? version && tooOld(version) : missingProgram(program);
    if (message) problems.push({ field: 'ffmpegPath', message });
    return { problems, ffmpeg: message ? null : { file, version } };
  });

  /** Answers for one nvr-config, for those who may change it. */
  const tokenRoute = (
    path: `/nvr/${string}`,
    handler: (service: NvrService, body: Record<string, unknown>) => Promise<object | null>,
    needed: string,
  ): void =>
    adminRoute(RED, 'post', path, 'nvr-config.write', async ({ body, from }) => {
      const service = typeof body['nvr'] === 'string' ? engines.get(body['nvr'])?.service : undefined;
      const result = service ? await handler(service, body) : null;
      RED.log.info(`nvr: ${path.slice('/nvr/'.length)} from ${from}: ${result ? 'done' : 'bad-request'}`);
      if (!result) throw new EngineError('bad-request', `needed: nvr (id of an nvr-config)${needed}`);
      return result;
    });
  tokenRoute(
    '/nvr/token',
    async ({ tokens }, { cameras, rights, minutes }) => {
      const grant = grantOf(cameras, rights);
      const good = typeof minutes === 'number' && minutes > 0 && minutes <= MAX_TOKEN_MINUTES;
      return grant && good ? { token: await tokens.mint(grant, minutes * 60_000) } : null;
    },
    `, cameras ("*" or a list), rights (of ${RIGHTS.join(', ')}), minutes (up to ${MAX_TOKEN_MINUTES})`,
  );
  tokenRoute(
    '/nvr/token/revoke',
    async ({ tokens }, { token, id }) => {
      if (typeof id === 'string' && /^[0-9a-f-]{36}$/.test(id)) {
        tokens.revoke({ id, expiresMs: Date.now() + MAX_TOKEN_MINUTES * 60_000 });
        return { revoked: true };
      }
      if (typeof token !== 'string') return null;
      try {
        tokens.revoke(await tokens.verify(token));
      } catch (error) {
        if (!(error instanceof EngineError && error.code === 'unauthorized')) throw error;
        return { revoked: false }; // it is good for nothing already
      }
      return { revoked: true };
    },
    ', token, or id (the log has those of links)',
  );
  // Tokens signed with a key older than the last two are good for nothing from then on.
  tokenRoute('/nvr/token/rotate', ({ tokens }) => Promise.resolve(tokens.rotate()).then(() => ({ rotated: true })), '');
}

function grantOf(cameras: unknown, rights: unknown): Grant | null {
  const isText = (value: unknown): value is string => typeof value === 'string';
  const known = (right: unknown): right is Right => RIGHTS.some((name) => name === right);
  if (!Array.isArray(rights) || rights.length === 0 || !rights.every(known)) return null;
  if (cameras === '*') return { cameras, rights };
  return Array.isArray(cameras) && cameras.length > 0 && cameras.every(isText) ? { cameras, rights } : null;
}
