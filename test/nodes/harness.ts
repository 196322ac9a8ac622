/** node-red-node-test-helper with our nodes and a storage folder of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { NodeMessage } from 'node-red';
import helper, { type TestFlowsItem } from 'node-red-node-test-helper';
import cameraSource from '../../nodes/camera-source/camera-source.ts';
import eventIndex from '../../nodes/event-index/event-index.ts';
import motionDetect from '../../nodes/motion-detect/motion-detect.ts';
import nvrConfig from '../../nodes/nvr-config/nvr-config.ts';
import recorder from '../../nodes/recorder/recorder.ts';
import retention from '../../nodes/retention/retention.ts';

helper.init(createRequire(import.meta.url).resolve('node-red'));

export interface TestNode {
  receive(msg: object): void;
  on(event: string, listener: (...args: never[]) => void): void;
  error: { called: boolean; lastCall: { args: unknown[] } };
  status: { called: boolean; args: { text?: string; fill?: string }[][] };
}

export type TestMessage = NodeMessage & { payload: Record<string, unknown>; camera?: string; time?: number };

export class Harness {
  readonly storage = mkdtempSync(join(tmpdir(), 'flow-nvr-nodes-'));

  /** Loads a flow beside an nvr-config with the id `storage-settings`. */
  async load(
    flow: object[],
    config: object = {},
    credentials: object = {},
    more: (typeof recorder)[] = [],
  ): Promise<void> {
    const nvr = {
      id: 'storage-settings',
      type: 'nvr-config',
      storage: this.storage,
      catalog: '',
      httpPath: 'nvr',
      ffmpegPath: '',
    };
    await helper.load(
      [nvrConfig, cameraSource, recorder, motionDetect, retention, eventIndex, ...more],
      [{ ...nvr, ...config }, ...flow] as TestFlowsItem[],
      credentials,
    );
  }

  node(id: string): TestNode {
    return helper.getNode(id) as unknown as TestNode;
  }

  /** The first message at a helper node for which the test is true. */
  message(id: string, test: (msg: TestMessage) => boolean): Promise<TestMessage> {
    return new Promise((resolve) => {
      helper.getNode(id).on('input', (msg) => {
        if (test(msg as TestMessage)) resolve(msg as TestMessage);
      });
    });
  }

  /** The error that a node's `done` reports for a message. */
  errorOf(id: string, msg: object): Promise<string> {
    const node = this.node(id);
    return new Promise((resolve) => {
      node.on('call:error', (call: { firstArg: unknown }) => resolve(String(call.firstArg)));
      node.receive(msg);
    });
  }

  async dispose(): Promise<void> {
    // As if the user had deleted it: else its engine waits for the next Deploy, and writes into a folder that is gone.
    const nvr = helper.getNode('storage-settings') as unknown as { close(removed: boolean): Promise<void> } | null;
    await nvr?.close(true);
    await helper.unload();
    rmSync(this.storage, { recursive: true, force: true });
  }
}

export const CAMERA = {
  ...{
    id: 'camera',
    type: 'camera-source',
    name: 'Yard',
    nvr: 'storage-settings',
    camera: '',
    subUrl: '',
    transport: 'tcp',
    audio: true,
  },
  url: 'lavfi:testsrc2=size=160x90:rate=10',
};

export const RECORDER = {
  ...{
    id: 'recorder-node',
    type: 'recorder',
    name: '',
    nvr: 'storage-settings',
    mode: 'continuous',
    streams: 'main',
    preRoll: 5,
  },
  ...{ postRoll: 10, segment: 60, schedule: [] as unknown[] },
};
