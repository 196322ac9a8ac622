/** Records the cameras that are wired to it. */
import type { Node, NodeAPI, NodeDef, NodeMessage } from 'node-red';
import type { GapMessage, RecorderState, RecordingMessage, StreamName } from '../../engine/types.ts';
import { cameraOf, commandOf, payloadOf, rangeOf, type Payload } from '../shared/message.ts';
import { openNode, settle, short, textOf } from '../shared/nvr.ts';
import { readTrigger, toRecorderSpec, TRIGGER_TYPES, type RecorderProperties } from './recorder-spec.ts';

const COMMANDS = ['start', 'stop', 'panic', 'release', 'coverage'] as const;

export default function register(RED: NodeAPI): void {
  function Recorder(this: Node, properties: NodeDef & RecorderProperties & { nvr: string }): void {
    RED.nodes.createNode(this, properties);
    const opened = openNode(RED, this, properties.nvr, () => toRecorderSpec(this.id, properties));
    if (!opened) return;
    const { host, spec } = opened;
    const { id } = this;
    const states = new Map<string, RecorderState>();
    const problems = new Map<string, string>();
    const attached = new Set<string>();

    const show = (): void => this.status(statusOf([...states.values()]));
    const onState = (state: RecorderState): void => {
      if (state.recorder !== id) return;
      states.set(state.camera, state);
      const problem = state.problem?.message ?? '';
      if (problem && problem !== problems.get(state.camera)) {
        this.error(problem, { topic: `camera/${state.camera}`, camera: state.camera, payload: state });
      }
      problems.set(state.camera, problem);
      show();
    };
    const onRecording = (recorder: string, message: RecordingMessage): void => {
      if (recorder !== id) return;
      this.send([{ topic: `recording/${message.camera}`, camera: message.camera, payload: message }, null]);
    };
    const onGap = (recorder: string, message: GapMessage): void => {
      if (recorder !== id) return;
      this.send([null, { topic: `gap/${message.camera}`, camera: message.camera, payload: message }]);
    };
    host.on('recorder', onState);
    host.on('recording', onRecording);
    host.on('gap', onGap);
    show();
    host.setRecorder(spec).catch((error: unknown) => this.error(textOf(error)));

    const command = async (payload: Payload, msg: NodeMessage, send: (msg: NodeMessage) => void): Promise<void> => {
      const name = commandOf(payload, COMMANDS);
      const camera = cameraOf(
        payload['camera'] === 'all' ? null : (payload['camera'] ?? (msg as { camera?: unknown }).camera),
      );
      if (name !== 'coverage') {
        await host.commandRecorder(id, name, camera);
        return;
      }
      if (!camera) throw new Error('coverage needs a camera');
      const { start, end } = rangeOf(payload);
      const stream: StreamName = payload['stream'] === 'sub' ? 'sub' : 'main';
      const coverage = await host.coverage(camera, stream, start, end);
      Object.assign(msg, { topic: `coverage/${camera}`, camera, payload: { type: 'coverage', ...coverage } });
      send(msg);
    };
    const handle = async (msg: NodeMessage, send: (msg: NodeMessage) => void): Promise<void> => {
      const payload = payloadOf(msg);
      if (payload['type'] === 'camera') {
        const camera = cameraOf(payload['camera'] ?? (msg as { camera?: unknown }).camera);
        if (!camera) throw new Error('the camera message names no camera');
        if (attached.has(camera)) return;
        await host.attach(id, camera);
        attached.add(camera);
      } else if (TRIGGER_TYPES.includes(payload['type'])) {
        const read = readTrigger(msg as { camera?: unknown }, payload);
        if (!read) return;
        const { cameras, ...trigger } = read;
        await Promise.all(cameras.map((camera) => host.trigger({ recorder: id, camera, ...trigger })));
      } else {
        await command(payload, msg, send);
      }
    };
    this.on('input', (msg, send, done) => {
      settle(handle(msg, send), done);
    });
    this.on('close', (removed: boolean, done: () => void) => {
      host.off('recorder', onState);
      host.off('recording', onRecording);
      host.off('gap', onGap);
      host.releaseRecorder(id, removed);
      done();
    });
  }
  RED.nodes.registerType('recorder', Recorder as never);
}

function statusOf(states: readonly RecorderState[]): {
  fill: 'red' | 'green' | 'grey' | 'yellow';
  shape: 'ring' | 'dot';
  text: string;
} {
  const trouble = states.find((state) => state.problem);
  if (trouble) return { fill: 'red', shape: 'ring', text: short(`${trouble.camera}: ${trouble.problem!.message}`) };
  if (states.length === 0) return { fill: 'yellow', shape: 'ring', text: 'recorder.status.waiting' };
  const recording = states.filter((state) => state.recording).length;
  if (states.some((state) => state.panic)) return { fill: 'red', shape: 'dot', text: 'recorder.status.panic' };
  if (recording === 0) return { fill: 'grey', shape: 'dot', text: 'recorder.status.idle' };
  return { fill: 'green', shape: 'dot', text: `● ${recording}/${states.length}` };
}
