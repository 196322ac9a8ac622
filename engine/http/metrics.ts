/** Metrics in Prometheus' text format (version 0.0.4). */
import type { monitorEventLoopDelay } from 'node:perf_hooks';
import { EngineError } from '../types.ts';
import type { NvrService } from './service.ts';

/** How often the event loop is looked at: each time it is woken up for that. Node counts this as part of the delay. */
export const LOOP_RESOLUTION_MS = 250;

type Labels = Record<string, string>;

class Page {
  private readonly lines: string[] = [];

  add(name: string, type: 'gauge' | 'counter', help: string, values: readonly [Labels, number | null][]): void {
    this.lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of values) {
      if (value === null) continue;
      const escape = (text: string): string =>
        text.replace(/[\\"\n]/g, (char) => (char === '\n' ? '\\n' : `\\${char}`));
      const inside = Object.entries(labels).map(([label, text]) => `${label}="${escape(text)}"`);
      this.lines.push(`${name}${inside.length > 0 ? `{${inside.join(',')}}` : ''} ${value}`);
    }
  }

  get text(): string {
    return `${this.lines.join('\n')}\n`;
  }
}

export async function metricsText(nvr: NvrService, delay: ReturnType<typeof monitorEventLoopDelay>): Promise<string> {
  const page = new Page();
  const cameras = nvr.host.cameraMessages;
  const streams = cameras.flatMap(({ camera, metrics }) =>
    Object.entries(metrics).map(([stream, of]) => ({ labels: { camera, stream }, of })),
  );
  page.add(
    'flow_nvr_camera_up',
    'gauge',
    'Whether the camera is online.',
    cameras.map(({ camera, state }) => [{ camera }, state === 'online' ? 1 : 0]),
  );
  page.add(
    'flow_nvr_stream_fps',
    'gauge',
    'Frames a second.',
    streams.map(({ labels, of }) => [labels, of.fps]),
  );
  page.add(
    'flow_nvr_stream_bits_per_second',
    'gauge',
    'Bitrate.',
    streams.map(({ labels, of }) => [labels, of.bitsPerSecond]),
  );
  page.add(
    'flow_nvr_stream_bytes_total',
    'counter',
    'Bytes taken from the camera.',
    streams.map(({ labels, of }) => [labels, of.bytes]),
  );
  page.add(
    'flow_nvr_stream_reconnects_total',
    'counter',
    'Times the stream was lost.',
    streams.map(({ labels, of }) => [labels, of.reconnects]),
  );
  const viewers = nvr.live.viewers();
  page.add(
    'flow_nvr_viewers',
    'gauge',
    'Live viewers.',
    cameras.map(({ camera }) => [{ camera }, viewers.get(camera) ?? 0]),
  );
  const analyses = nvr.host.motionStates.map((state) => ({
    labels: { camera: state.camera, node: state.node },
    state,
  }));
  page.add(
    'flow_nvr_motion_active',
    'gauge',
    'Whether something moves.',
    analyses.map(({ labels, state }) => [labels, state.active ? 1 : 0]),
  );
  page.add(
    'flow_nvr_motion_pictures_per_second',
    'gauge',
    'Pictures analysed.',
    analyses.map(({ labels, state }) => [labels, state.fps]),
  );
  page.add(
    'flow_nvr_motion_slow',
    'gauge',
    'Whether the machine is too slow to look at every picture.',
    analyses.map(({ labels, state }) => [labels, state.slow ? 1 : 0]),
  );
  page.add(
    'flow_nvr_motion_lag_seconds',
    'gauge',
    'Time from the arrival of a picture to its result.',
    analyses.map(({ labels, state }) => [labels, state.lagMs / 1000]),
  );
  const players = nvr.audience.counts(Date.now());
  page.add(
    'flow_nvr_playback_viewers',
    'gauge',
    'Viewers of what was recorded.',
    cameras.map(({ camera }) => [{ camera }, players.get(camera) ?? 0]),
  );
  page.add('flow_nvr_live_skipped_fragments_total', 'counter', 'Live fragments that slow viewers have missed.', [
    [{}, nvr.live.skippedFragments],
  ]);
  try {
    const now = Date.now();
    const [gaps, storage] = await Promise.all([nvr.query.call('gapSeconds', now), nvr.storage(now)]);
    page.add(
      'flow_nvr_gap_seconds_total',
      'counter',
      'Seconds that should have been recorded and were not.',
      gaps.map(({ camera, cause, seconds }) => [{ camera, cause }, seconds]),
    );
    page.add(
      'flow_nvr_recorded_bytes',
      'gauge',
      'Bytes in files.',
      storage.flatMap(({ cameras: of }, i) =>
        of.map(({ camera, bytes }): [Labels, number] => [{ camera, storage: `${i + 1}` }, bytes]),
      ),
    );
    page.add(
      'flow_nvr_storage_free_bytes',
      'gauge',
      'Room left.',
      storage.map(({ freeBytes }, i) => [{ storage: `${i + 1}` }, freeBytes]),
    );
    page.add(
      'flow_nvr_storage_total_bytes',
      'gauge',
      'Size of the disk.',
      storage.map(({ totalBytes }, i) => [{ storage: `${i + 1}` }, totalBytes]),
    );
  } catch (error) {
    if (!(error instanceof EngineError && error.code === 'catalog')) throw error; // nothing was recorded yet
  }
  const tiers = nvr.host.retentionState?.tiers ?? [];
  const place = (i: number): Labels => ({ tier: `${i + 1}` });
  page.add(
    'flow_nvr_tier_up',
    'gauge',
    'Whether the tier is there and takes files.',
    tiers.map(({ state, problem }, i) => [place(i), state === 'ok' && problem === null ? 1 : 0]),
  );
  page.add(
    'flow_nvr_tier_waiting_files',
    'gauge',
    'Files that wait to move to the tier.',
    tiers.map(({ waitingFiles }, i) => [place(i), waitingFiles]),
  );
  page.add(
    'flow_nvr_tier_moved_bytes_total',
    'counter',
    'Bytes moved to the tier.',
    tiers.map(({ movedBytes }, i) => [place(i), movedBytes]),
  );
  const { user, system } = process.cpuUsage();
  page.add('flow_nvr_process_cpu_seconds_total', 'counter', 'CPU time of the Node-RED process.', [
    [{}, (user + system) / 1e6],
  ]);
  page.add('flow_nvr_process_resident_bytes', 'gauge', 'Memory of the Node-RED process.', [
    [{}, process.memoryUsage.rss()],
  ]);
  page.add('flow_nvr_event_loop_delay_seconds', 'gauge', 'Delay of the event loop.', [
    [{ quantile: '0.99' }, Math.max(0, delay.percentile(99) / 1e6 - LOOP_RESOLUTION_MS) / 1000],
  ]);
  return page.text;
}
