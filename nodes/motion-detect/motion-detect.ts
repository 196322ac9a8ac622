/** Finds motion in the cameras that are wired to it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import type { Node, NodeAPI, NodeDef, NodeMessage } from 'node-red';
import type { EngineHost } from '../../engine/engine-host.ts';
import { drawBoxes, greyJpeg } from '../../engine/motion/pictures.ts';
import type { MotionSettings } from '../../engine/motion/types.ts';
import { GRID_HEIGHT, GRID_WIDTH } from '../../engine/motion/types.ts';
import { EngineError, type MotionLevels, type MotionMessage, type MotionState } from '../../engine/types.ts';
import { adminRoute } from '../shared/admin-routes.ts';
import { cameraOf, payloadOf, type Payload } from '../shared/message.ts';
import { openNode, settle, short, textOf, type NvrConfigNode } from '../shared/nvr.ts';
import {
  commanded,
  NO_OVERRIDES,
  settingsAt,
  toMotionConfig,
  type MotionConfig,
  type MotionProperties,
  type Overrides,
} from './motion-spec.ts';

/** Timed commands and schedules are looked at so often. */
const CHECK_MS = 5000;
/** The message of a start does not wait longer for its picture, which follows then: a PLC should not wait for a JPEG. */
const STILL_MS = 120;
const LATE_STILL_MS = 5000;
/** Settings that are tried out end when their dialog has gone. */
const ATTEMPT_MS = 10_000;
const MAX_EXTERNAL = 1000;
/** Of ONVIF events, what is motion. Others (a door, tampering) are left to the flow. */
const isMotion = (kind: unknown): boolean => kind === 'motion' || kind === 'line-crossing' || kind === 'object';
const CONTEXT_KEY = 'flow-nvr-motion';

type Motion = Extract<MotionMessage, { type: 'motion' }>;

interface MotionNode extends Node {
  tuning?: Tuning;
}

/** What the edit dialog may ask a deployed node. */
interface Tuning {
  host: EngineHost;
  attached: ReadonlySet<string>;
  /** Asked for by a dialog that is open. */
  stateOf(camera: string): MotionState | undefined;
  /** Tries settings out until {@link restore}, or until no dialog asks any more. */
  attempt(camera: string, settings: MotionSettings): Promise<void>;
  restore(camera: string): Promise<void>;
  config: MotionConfig;
}

export default function register(RED: NodeAPI): void {
  function MotionDetect(this: MotionNode, properties: NodeDef & MotionProperties & { nvr: string }): void {
    RED.nodes.createNode(this, properties);
    const opened = openNode(RED, this, properties.nvr, () => toMotionConfig(properties));
    if (!opened) return;
    const { host, spec: config } = opened;
    const { id } = this;
    const attached = new Set<string>();
    const states = new Map<string, MotionState>();
    /** What was last sent to the engine for a camera, so that nothing is sent twice. */
    const sent = new Map<string, string>();
    const attempts = new Map<string, { settings: MotionSettings; seenMs: number }>();
    const external = new Map<string, { camera: string; eventId: string; start: number }>();
    let overrides = { ...NO_OVERRIDES, ...(this.context().get(CONTEXT_KEY) as Partial<Overrides> | undefined) };

    const show = (): void => this.status(statusOf([...states.values()], attached.size, sent));
    const out = (message: MotionMessage): void =>
      this.send([{ topic: `motion/${message.camera}`, camera: message.camera, payload: message }, null]);

    /** Makes the engine do for a camera what is in force now. */
    const apply = async (camera: string): Promise<void> => {
      const settings = attempts.get(camera)?.settings ?? settingsAt(config, overrides, camera, Date.now());
      const text = JSON.stringify(settings);
      if (sent.get(camera) === text) return;
      sent.set(camera, text);
      if (settings) await host.setMotion({ node: id, camera, mode: config.mode, settings, frames: properties.levels });
      else host.releaseMotion(id, camera, true);
      if (!settings) states.delete(camera);
      show();
    };
    // After a Deploy new settings are in force at once; a camera that is not wired any more is let go a little later.
    for (const camera of host.analysedBy(id)) {
      const settings = settingsAt(config, overrides, camera, Date.now());
      if (!settings) continue;
      host.setMotion({ node: id, camera, mode: config.mode, settings, frames: properties.levels }).then(
        () => {
          if (!attached.has(camera)) host.releaseMotion(id, camera, false);
        },
        (error: unknown) => this.error(textOf(error)),
      );
    }
    const applyAll = (): Promise<unknown> => Promise.all([...attached].map(apply));

    const stillOf = async ({ camera, time, boxes }: Motion): Promise<Buffer | null> => {
      try {
        const { image } = await within(LATE_STILL_MS, host.still(camera, time));
        return properties.drawBoxes ? await drawBoxes(image, boxes) : Buffer.from(image);
      } catch (error) {
        this.debug(`no still of ${camera}: ${textOf(error)}`);
        return null;
      }
    };
    /** The last thing told of each camera's motion. */
    const newest = new Map<string, Motion>();
    const withStill = async (message: Motion): Promise<void> => {
      const making = stillOf(message);
      const still = await Promise.race([making, wait(STILL_MS, undefined, { ref: false })]);
      out(still ? { ...message, still } : message);
      if (still !== undefined) return;
      void making.then((late) => {
        // Of an event that has ended meanwhile, too: with its end, or it would go on for whoever hears it.
        const last = newest.get(message.camera);
        if (late) out({ ...(last?.eventId === message.eventId ? last : message), phase: 'update', still: late });
      });
    };
    /** What follows a start waits for it, so that messages keep their order. */
    const starting = new Map<string, Promise<void>>();
    const onMotion = (node: string, message: MotionMessage): void => {
      if (node !== id) return;
      const { camera } = message;
      if (message.type === 'motion') newest.set(camera, message);
      if (message.type === 'motion' && message.phase === 'start' && properties.stills) {
        const ready = withStill(message).finally(() => {
          if (starting.get(camera) === ready) starting.delete(camera);
        });
        starting.set(camera, ready);
        return;
      }
      const before = starting.get(camera);
      if (before) void before.then(() => out(message));
      else out(message);
    };
    const onLevels = (node: string, message: MotionLevels): void => {
      if (node !== id || !properties.levels) return;
      this.send([null, { topic: `motion-levels/${message.camera}`, camera: message.camera, payload: message }]);
    };
    const onState = (state: MotionState): void => {
      if (state.node !== id) return;
      const before = states.get(state.camera);
      states.set(state.camera, state);
      if (state.problem && state.problem !== before?.problem) {
        this.error(`${state.camera}: ${state.problem}`, {
          topic: `camera/${state.camera}`,
          camera: state.camera,
        });
      }
      if (state.slow && !before?.slow) {
        this.warn(`${state.camera}: this machine is too slow to look at every picture; keyframes only for a while`);
      }
      show();
    };
    host.on('motion', onMotion);
    host.on('motion-levels', onLevels);
    host.on('motion-state', onState);
    const timer = setInterval(() => {
      for (const [camera, { seenMs }] of attempts) if (Date.now() - seenMs > ATTEMPT_MS) attempts.delete(camera);
      applyAll().catch((error: unknown) => this.error(textOf(error)));
    }, CHECK_MS);
    show();

    /** Motion that the camera itself, or something else, has noticed: an event as our own are. */
    const enter = async (payload: Payload, msg: NodeMessage): Promise<void> => {
      const camera = cameraOf(payload['camera'] ?? (msg as { camera?: unknown }).camera);
      if (!camera) throw new EngineError('bad-message', 'the motion message names no camera');
      if (!settingsAt(config, overrides, camera, Date.now())) return;
      const { phase = null } = payload;
      if (phase !== null && phase !== 'start' && phase !== 'update' && phase !== 'end') {
        throw new EngineError('bad-message', 'phase must be start, update or end');
      }
      const key = `${camera} ${typeof payload['eventId'] === 'string' ? payload['eventId'].slice(0, 200) : ''}`;
      const now = Date.now();
      const known = external.get(key);
      const of = known ?? { camera, eventId: randomUUID(), start: now };
      const tell = (phase: 'start' | 'update' | 'end'): void =>
        onMotion(id, {
          ...{ type: 'motion', camera, time: now, phase, eventId: of.eventId, start: of.start },
          ...{ end: phase === 'end' ? now : null, score: 1, boxes: [], zones: [] },
        });
      const ends = phase === 'end' || phase === null;
      if (!known && phase === 'end') return;
      // Before anything is waited for: the next message may be here already.
      if (ends) external.delete(key);
      else external.set(key, of);
      if (external.size > MAX_EXTERNAL) external.delete(external.keys().next().value!);
      tell(known ? (ends ? 'end' : 'update') : 'start');
      if (!known && ends) tell('end');
      await host.putEvent({
        ...{ id: of.eventId, type: 'motion', camera, source: id, start: of.start, end: ends ? now : null },
        data: { score: 1, zones: [], boxes: [], last: now, external: true },
      });
    };

    const handle = async (msg: NodeMessage): Promise<void> => {
      const payload = payloadOf(msg);
      if (payload['type'] === 'camera') {
        const camera = cameraOf(payload['camera'] ?? (msg as { camera?: unknown }).camera);
        if (!camera) throw new EngineError('bad-message', 'the camera message names no camera');
        if (attached.has(camera)) return;
        attached.add(camera);
        await apply(camera).catch((error: unknown) => {
          attached.delete(camera); // the next heartbeat tries again
          sent.delete(camera);
          throw error;
        });
      } else if (payload['type'] === 'motion' || (payload['type'] === 'onvif-event' && isMotion(payload['kind']))) {
        await enter(payload, msg);
      } else if (payload['type'] === 'onvif-event') {
        return; // wired along with the others
      } else {
        overrides = commanded(overrides, payload, config.zones, Date.now());
        this.context().set(CONTEXT_KEY, overrides);
        await applyAll();
      }
    };
    this.on('input', (msg, _send, done) => {
      settle(handle(msg), done);
    });
    this.tuning = {
      ...{ host, attached, config },
      stateOf: (camera) => {
        const attempt = attempts.get(camera);
        if (attempt) attempt.seenMs = Date.now();
        return states.get(camera);
      },
      attempt: (camera, settings) => {
        attempts.set(camera, { settings, seenMs: Date.now() });
        return apply(camera);
      },
      restore: (camera) => {
        attempts.delete(camera);
        return apply(camera);
      },
    };
    this.on('close', (removed: boolean, done: () => void) => {
      clearInterval(timer);
      host.off('motion', onMotion);
      host.off('motion-levels', onLevels);
      host.off('motion-state', onState);
      for (const camera of attached) host.releaseMotion(id, camera, removed);
      done();
    });
  }
  RED.nodes.registerType('motion-detect', MotionDetect as never);
  registerTuning(RED);
}

/** The routes of the edit dialog. */
function registerTuning(RED: NodeAPI): void {
  const tuningOf = (param: (name: string) => string): { tuning: Tuning; node: string; camera: string } => {
    const node = RED.nodes.getNode(param('node')) as Partial<MotionNode> | null;
    const camera = cameraOf(param('camera'));
    if (!node?.tuning) throw new EngineError('not-found', 'deploy this node first');
    if (!camera || !node.tuning.attached.has(camera)) {
      throw new EngineError('not-found', 'wire this camera to the node and deploy first');
    }
    return { tuning: node.tuning, node: param('node'), camera };
  };
  // All of them show pictures, or change what is detected: not for an account that may only read.
  const permission = 'motion-detect.write';

  adminRoute(RED, 'get', '/nvr/motion/still/:nvr/:camera', permission, async ({ param, response }) => {
    const nvr = RED.nodes.getNode(param('nvr')) as Partial<NvrConfigNode> | null;
    const camera = cameraOf(param('camera'));
    if (!nvr?.host || !camera) throw new EngineError('not-found', 'deploy the camera first');
    const { image } = await nvr.host.snapshot(camera);
    response.type('image/jpeg').end(image);
    return undefined;
  });
  const address = '/nvr/motion/tuning/:node/:camera';
  adminRoute(RED, 'get', address, permission, async ({ param }) => {
    const { tuning, node, camera } = tuningOf(param);
    const picture = await tuning.host.motionPicture(node, camera);
    if (!picture) throw new EngineError('not-found', 'the first picture has not come yet');
    const { width, height, motion, learned } = picture;
    const state = tuning.stateOf(camera);
    const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
    return {
      ...{ time: motion.time, width, height, image: text(await greyJpeg(picture)) },
      ...{ score: motion.score, boxes: motion.boxes, zones: motion.zones, scene: motion.scene },
      ...{ active: state?.active ?? false, mode: state?.mode, fps: state?.fps, slow: state?.slow ?? false },
      grid: {
        ...{ width: GRID_WIDTH, height: GRID_HEIGHT, cells: text(motion.cells) },
        ...{ noise: text(learned.noise), threshold: text(learned.threshold) },
        ignored: text(learned.ignored.map((share) => share * 255)),
      },
    };
  });
  adminRoute(RED, 'post', address, permission, async ({ body, param }) => {
    const { tuning, camera } = tuningOf(param);
    const { sensitivity, minSize, maxSize, zones } = body as unknown as MotionProperties;
    const hold = tuning.config.settings.holdMs / 1000;
    const all = { mode: tuning.config.mode, hold, sensitivity, minSize, maxSize, zones };
    const config = toMotionConfig({ ...all, stills: false, drawBoxes: false, levels: false });
    const settings = settingsAt(config, NO_OVERRIDES, camera, Date.now());
    if (settings) await tuning.attempt(camera, settings);
    return {};
  });
  adminRoute(RED, 'post', `${address}/restore`, permission, async ({ param }) => {
    const { tuning, camera } = tuningOf(param);
    await tuning.restore(camera);
    return {};
  });
}

function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not within ${ms} ms`)), ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

function statusOf(
  states: readonly MotionState[],
  attached: number,
  sent: ReadonlyMap<string, string>,
): { fill: 'red' | 'green' | 'grey' | 'yellow' | 'blue'; shape: 'ring' | 'dot'; text: string } {
  const trouble = states.find(({ problem }) => problem);
  if (trouble) return { fill: 'red', shape: 'ring', text: short(`${trouble.camera}: ${trouble.problem}`) };
  if (attached === 0) return { fill: 'yellow', shape: 'ring', text: 'motion-detect.status.waiting' };
  if ([...sent.values()].every((text) => text === 'null')) {
    return { fill: 'grey', shape: 'ring', text: 'motion-detect.status.disabled' };
  }
  const active = states.filter((state) => state.active).map(({ camera }) => camera);
  if (active.length > 0) return { fill: 'blue', shape: 'dot', text: short(active.join(', ')) };
  if (states.some(({ slow }) => slow)) return { fill: 'yellow', shape: 'dot', text: 'motion-detect.status.slow' };
  if (states.length > 0 && states.every(({ scene }) => scene === 'learning')) {
    return { fill: 'green', shape: 'ring', text: 'motion-detect.status.learning' };
  }
  return { fill: 'green', shape: 'dot', text: 'motion-detect.status.quiet' };
}
