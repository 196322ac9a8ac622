/** Config node: where and how to store. Owns the engine that its nodes share, across Deploys. */
import type { NodeAPI, NodeDef } from 'node-red';
import { EngineHost } from '../../engine/engine-host.ts';
import type { EngineConfig } from '../../engine/types.ts';
import { textOf, type NvrConfigNode } from '../shared/nvr.ts';
import { checkPaths, ffmpegVersion, toEngineConfig, type NvrConfigProperties } from './settings.ts';

/** Engines outlive the nodes that use them by this, so that a Deploy can take them up again. */
const GRACE_MS = 12_000;

interface Shared {
  host: EngineHost;
  key: string;
  closing: NodeJS.Timeout | null;
}

export default function register(RED: NodeAPI): void {
  const engines = new Map<string, Shared>();
  const userDir = RED.settings.userDir ?? process.cwd();
  let stopping = false;
  const onSignal = (): void => {
    stopping = true;
  };
  // Before Node-RED's own handlers: they close the nodes, and the nodes must know that it is for good.
  process.prependOnceListener('SIGINT', onSignal);
  process.prependOnceListener('SIGTERM', onSignal);

  /** The engine of a config node: the one from before the Deploy when nothing changed. */
  function takeUp(id: string, config: EngineConfig): EngineHost {
    const key = JSON.stringify(config);
    const found = engines.get(id);
    if (found?.closing) clearTimeout(found.closing);
    if (found?.key === key) {
      found.closing = null;
      return found.host;
    }
    // The old engine ends its files while the new one starts its own.
    void found?.host.shutdown();
    const host = new EngineHost(config);
    engines.set(id, { host, key, closing: null });
    return host;
  }

  function NvrConfig(this: NvrConfigNode, properties: NodeDef & NvrConfigProperties): void {
    RED.nodes.createNode(this, properties);
    this.host = null;
    const [problem] = checkPaths(properties, userDir);
    this.problem = problem?.message ?? null;
    if (problem) {
      this.error(problem.message);
    } else {
      const config = toEngineConfig(properties, userDir);
      this.host = takeUp(this.id, config);
      ffmpegVersion(config.ffmpegPath).catch((error: unknown) => this.error(textOf(error)));
    }
    const { host } = this;
    const onProblem = (message: string | null): void => {
      if (message) this.error(message);
    };
    host?.on('problem', onProblem);
    this.on('close', (removed: boolean, done: () => void) => {
      host?.off('problem', onProblem);
      const shared = engines.get(this.id);
      if (!shared || shared.host !== host) {
        done();
        return;
      }
      if (removed || stopping) {
        engines.delete(this.id);
        void shared.host.shutdown().then(done, done);
        return;
      }
      shared.closing = setTimeout(() => {
        engines.delete(this.id);
        void shared.host.shutdown();
      }, GRACE_MS).unref();
      done();
    });
  }
  RED.nodes.registerType('nvr-config', NvrConfig as never);

  RED.httpAdmin.post('/nvr/check-config', RED.auth.needsPermission('nvr-config.write'), (request, response) => {
    const body = (request.body ?? {}) as Partial<Record<keyof NvrConfigProperties, unknown>>;
    const text = (field: keyof NvrConfigProperties): string => (typeof body[field] === 'string' ? body[field] : '');
    const properties: NvrConfigProperties = {
      storage: text('storage'),
      catalog: text('catalog'),
      ffmpegPath: text('ffmpegPath'),
      httpPath: text('httpPath'),
    };
    const problems = checkPaths(properties, userDir);
    ffmpegVersion(properties.ffmpegPath || 'ffmpeg').then(
      (version) => response.json({ problems, ffmpegVersion: version }),
      (error: unknown) => response.json({ problems: [...problems, { field: 'ffmpegPath', message: textOf(error) }] }),
    );
  });
}
