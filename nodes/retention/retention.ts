/** Deletes footage that its rules no longer keep, and keeps what is held. */
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, resolve } from 'node:path';
import type { Node, NodeAPI, NodeDef, NodeMessage } from 'node-red';
import type { BackupSpec, RetentionMessage, RetentionStateMessage } from '../../engine/retention/types.ts';
import { EngineError } from '../../engine/types.ts';
import { adminRoute } from '../shared/admin-routes.ts';
import { cameraOf, commandOf, payloadOf } from '../shared/message.ts';
import { openNode, refuse, settle, short, textOf, type NvrConfigNode } from '../shared/nvr.ts';
import {
  readCheck,
  readCopy,
  readHold,
  readReason,
  toRetentionSpec,
  toRuleSet,
  type RetentionCredentials,
  type RetentionProperties,
} from './retention-spec.ts';

const COMMANDS = ['run', 'hold', 'release', 'holds', 'veto', 'copy', 'check', 'backup'] as const;
const OUTPUT: Record<RetentionMessage['type'], number> = {
  ...{ deleted: 0, moved: 0, hold: 0, check: 0, backup: 0, copy: 0 },
  ...{ 'about-to-delete': 1, storage: 2 },
};

export default function register(RED: NodeAPI): void {
  function Retention(
    this: Node<RetentionCredentials>,
    properties: NodeDef & RetentionProperties & { nvr: string },
  ): void {
    RED.nodes.createNode(this, properties);
    const opened = openNode(RED, this, properties.nvr, ({ config }) =>
      toRetentionSpec(this.id, properties, {
        ...{ folders: config.storages, credentials: this.credentials, files: configurationOf(RED) },
      }),
    );
    if (!opened) return;
    const { host, spec } = opened;
    const { id } = this;
    let told = '';

    const out = (message: RetentionMessage): void => {
      const outputs: (object | null)[] = [null, null, null];
      outputs[OUTPUT[message.type]] = { topic: `retention/${message.type}`, payload: message };
      this.send(outputs as NodeMessage[]);
    };
    const show = (state: RetentionStateMessage): void => {
      this.status(statusOf(state));
      const trouble = state.blocked ? 'the disk is about to be full, and all footage on it is held' : state.problem;
      if (trouble && trouble !== told) this.error(trouble, { topic: 'retention/storage', payload: state });
      told = trouble ?? '';
    };
    const onRetention = (message: RetentionMessage): void => {
      if (message.type === 'storage') show(message);
      if ('phase' in message && message.phase === 'progress') this.status(progressOf(message));
      if ('phase' in message && message.phase === 'end' && message.type !== 'hold') {
        if (host.retentionState) this.status(statusOf(host.retentionState));
        else this.status({ fill: 'grey', shape: 'dot', text: 'retention.status.waiting' });
      }
      // Nobody asked for it just now, so nobody is told by an error of a message.
      if (message.type === 'backup' && message.phase === 'end' && message.error !== null) {
        this.error(`the backup failed: ${message.error}`, { topic: 'retention/backup', payload: message });
      }
      out(withBuffers(message));
    };
    host.on('retention', onRetention);
    this.status({ fill: 'grey', shape: 'dot', text: 'retention.status.waiting' });
    host.setRetention(spec).catch((error: unknown) => refuse(this, textOf(error)));

    const handle = async (msg: NodeMessage, send: (msg: NodeMessage) => void): Promise<void> => {
      const payload = payloadOf(msg);
      const idOf = (): string | null => (typeof payload['id'] === 'string' ? payload['id'] : null);
      switch (commandOf(payload, COMMANDS)) {
        case 'run': {
          const { files, bytes, shares } = await host.runRetention();
          // What was deleted has told itself; an answer comes all the same.
          if (files === 0) out({ type: 'deleted', time: Date.now(), files, bytes, shares });
          return;
        }
        case 'hold':
          await host.hold(readHold(payload));
          return;
        case 'release': {
          const hold = idOf();
          if (hold === null) throw new EngineError('bad-message', 'release needs the id of a hold');
          await host.releaseHold(hold);
          return;
        }
        case 'veto':
          await host.veto(idOf(), cameraOf(payload['camera']), readReason(payload));
          return;
        case 'copy': {
          const { id: announcement, folder } = readCopy(payload);
          await host.copyAnnounced(announcement, folder);
          return;
        }
        case 'check':
          // Progress and result tell themselves.
          if (payload['cancel'] === true) await host.cancelCheck();
          else await host.checkFootage(readCheck(payload));
          return;
        case 'backup':
          await host.backUp();
          return;
        case 'holds':
          Object.assign(msg, { topic: 'retention/holds', payload: { type: 'holds', holds: await host.holds() } });
          send(msg);
      }
    };
    this.on('input', (msg, send, done) => {
      settle(handle(msg, send), done);
    });
    this.on('close', (removed: boolean, done: () => void) => {
      host.off('retention', onRetention);
      host.releaseRetention(id, removed);
      done();
    });
  }
  RED.nodes.registerType('retention', Retention as never, {
    credentials: { accessKey: { type: 'password' }, secretKey: { type: 'password' } },
  });

  // What the rules in the edit dialog would do; they need not be deployed.
  adminRoute(RED, 'post', '/nvr/retention/preview/:nvr', 'retention.read', ({ body, param }) => {
    const nvr = RED.nodes.getNode(param('nvr')) as Partial<NvrConfigNode> | null;
    if (!nvr?.host) throw new EngineError('not-found', 'deploy the NVR configuration first');
    return nvr.host.previewRetention(toRuleSet(body as unknown as RetentionProperties, nvr.host.config.storages));
  });
}

/** The flow file, which has no credentials in it; those are in a file of their own. */
function configurationOf({ settings }: NodeAPI): BackupSpec['files'] {
  const { flowFile, userDir = '.' } = settings as { flowFile?: string; userDir?: string };
  const names = flowFile === undefined ? ['flows.json', `flows_${hostname()}.json`] : [flowFile];
  const file = names.map((name) => resolve(userDir, name)).find((path) => existsSync(path));
  return file === undefined ? [] : [{ name: basename(file), file }];
}

/** Pictures as Node-RED has them. */
function withBuffers(message: RetentionMessage): RetentionMessage {
  if (message.type !== 'about-to-delete' || !message.stills) return message;
  return { ...message, stills: message.stills.map((still) => ({ ...still, image: Buffer.from(still.image) })) };
}

function progressOf({ type, done }: { type: string; done: number }): { fill: 'blue'; shape: 'dot'; text: string } {
  return { fill: 'blue', shape: 'dot', text: `${type} ${Math.floor(done * 100)} %` };
}

function statusOf({ blocked, problem, emergency, unmet, storages }: RetentionStateMessage): {
  fill: 'red' | 'green' | 'yellow';
  shape: 'ring' | 'dot';
  text: string;
} {
  if (blocked) return { fill: 'red', shape: 'dot', text: 'retention.status.blocked' };
  if (problem !== null) return { fill: 'red', shape: 'ring', text: short(problem) };
  if (emergency) return { fill: 'yellow', shape: 'dot', text: 'retention.status.emergency' };
  if (unmet.length > 0) return { fill: 'yellow', shape: 'ring', text: 'retention.status.unmet' };
  const gigabytes = storages.reduce((sum, { usedBytes }) => sum + usedBytes, 0) / 1e9;
  return { fill: 'green', shape: 'dot', text: `${gigabytes.toFixed(gigabytes < 100 ? 1 : 0)} GB` };
}
